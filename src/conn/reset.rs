//! The conversation that brings a connection back to the state it was dialled in.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::time::Duration;

use crate::conn::Conn;
use crate::conn::deadline::Deadline;
use crate::conn::session::{Dirt, SUBSCRIBED, TRANSACTION};
use crate::error::Result;
use crate::value::Value;

impl Conn {
    /// True when the next borrower would find nothing of the last one's: no error, no reply
    /// owed or left over, no state to undo, and no sign that the server is not the one wanted.
    pub(crate) fn is_clean(&mut self) -> bool {
        self.status().pending() == 0
            && self.session().dirt().is_empty()
            && self.err().is_none()
            && !self.is_retired()
            && !self.has_unread()
    }

    /// Undoes what can be undone, within the budget. Ask [`Conn::is_clean`] for the outcome.
    ///
    /// # Errors
    /// The error that ended the connection on the way. Error replies are none: a DISCARD that
    /// was not needed is refused, and all is well.
    #[doc(alias = "Close")]
    pub(crate) fn reset(&mut self, budget: Duration) -> Result<()> {
        if self.session().dirt().has(Dirt::LOST) {
            return Ok(());
        }
        self.run_with_deadline(Deadline::after(Some(budget)), |conn| {
            conn.leave_transaction()?;
            if conn.session().dirt().has(SUBSCRIBED) {
                conn.unsubscribe()?;
            }
            conn.go_home()
        })
    }

    fn leave_transaction(&mut self) -> Result<()> {
        let dirt = self.session().dirt();
        if dirt.has(Dirt::MULTI) {
            self.send("DISCARD", ())?;
        } else if dirt.has(Dirt::WATCH) {
            self.send("UNWATCH", ())?;
        }
        self.session().clear(TRANSACTION);
        Ok(())
    }

    /// Unsubscribes, and reads until the echo of a text that no message can be: whatever was
    /// pushed in between is gone then.
    fn unsubscribe(&mut self) -> Result<()> {
        self.send("UNSUBSCRIBE", ())?;
        self.send("PUNSUBSCRIBE", ())?;
        if self.session().dirt().has(Dirt::SHARD_SUBSCRIBE) {
            self.send("SUNSUBSCRIBE", ())?;
        }
        let sentinel = sentinel();
        self.send("ECHO", sentinel)?;
        self.flush()?;
        while self.receive()?.as_bytes() != Some(sentinel.as_bytes()) {}
        // A subscription is answered once for each channel, so the count was off; the echo shows
        // that nothing is left.
        self.status().take_pending();
        self.session().clear(SUBSCRIBED);
        Ok(())
    }

    /// Restores database, name and mode, and receives all that is owed.
    fn go_home(&mut self) -> Result<()> {
        let dirt = self.session().dirt();
        let home = self.session().home().clone();
        let mut restoring = 0;
        if dirt.has(Dirt::DATABASE) {
            let database = if home.database.is_empty() { "0" } else { &home.database };
            self.send("SELECT", database)?;
            restoring += 1;
        }
        if dirt.has(Dirt::READONLY) {
            self.send("READWRITE", ())?;
            restoring += 1;
        }
        if dirt.has(Dirt::CLIENT_NAME) {
            self.send("CLIENT", ("SETNAME", home.client_name))?;
            restoring += 1;
        }
        let replies = self.drain()?;
        let restored = &replies[replies.len().saturating_sub(restoring)..];
        if restored.iter().any(|reply| matches!(reply, Value::Error(_))) {
            self.session().add(Dirt::LOST);
        } else {
            self.session().clear(Dirt::DATABASE.and(Dirt::READONLY).and(Dirt::CLIENT_NAME));
        }
        Ok(())
    }
}

/// 64 characters that are different in every process.
fn sentinel() -> &'static str {
    static SENTINEL: OnceLock<String> = OnceLock::new();
    SENTINEL.get_or_init(|| {
        let mut text = String::with_capacity(64);
        for _ in 0..4 {
            // The standard library's hash keys are the one source of randomness it has.
            let _ = write!(text, "{:016x}", RandomState::new().build_hasher().finish());
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinel_is_long_and_does_not_change() {
        assert_eq!(sentinel().len(), 64);
        assert_eq!(sentinel(), sentinel());
        let (first, rest) = sentinel().split_at(16);
        assert_ne!(&rest[..16], first);
    }
}
