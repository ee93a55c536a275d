//! The conversation that restores the state in which a connection was dialed.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::time::Duration;

use crate::conn::Conn;
use crate::conn::deadline::Deadline;
use crate::conn::session::{Dirty, SUBSCRIBED, TRANSACTION};
use crate::error::Result;
use crate::value::Value;

impl Conn {
    /// Returns true when the next borrower would find no trace of the last: no error, no reply
    /// due or left over, no state to undo, and no sign that this is the wrong server.
    pub(crate) fn is_clean(&mut self) -> bool {
        self.status().pending() == 0
            && self.session().dirty().is_empty()
            && self.err().is_none()
            && !self.is_retired()
            && !self.has_unread()
    }

    /// Returns true if [`Conn::reset`] has something to do and can succeed.
    pub(crate) fn can_be_cleaned(&mut self) -> bool {
        let dirty = self.session().dirty();
        self.err().is_none()
            && !dirty.has(Dirty::UNRECOVERABLE)
            && (self.status().pending() > 0 || !dirty.is_empty())
    }

    /// Undoes the state that can be undone, within the budget. [`Conn::is_clean`] tells whether
    /// that was enough.
    ///
    /// # Errors
    /// The error that ended the connection during the conversation. Error replies are not errors:
    /// the server refuses a DISCARD that was not needed.
    #[doc(alias = "Close")]
    pub(crate) fn reset(&mut self, budget: Duration) -> Result<()> {
        if self.session().dirty().has(Dirty::UNRECOVERABLE) {
            return Ok(());
        }
        self.run_until(Deadline::after(Some(budget)), |conn| {
            conn.leave_transaction()?;
            if conn.session().dirty().has(SUBSCRIBED) {
                conn.unsubscribe()?;
            }
            conn.restore_session()
        })
    }

    fn leave_transaction(&mut self) -> Result<()> {
        let dirty = self.session().dirty();
        if dirty.has(Dirty::MULTI) {
            self.send("DISCARD", ())?;
        } else if dirty.has(Dirty::WATCH) {
            self.send("UNWATCH", ())?;
        }
        self.session().clear(TRANSACTION);
        Ok(())
    }

    /// Unsubscribes, and receives until the echo of a text that no message can be. All messages
    /// published before are dropped.
    fn unsubscribe(&mut self) -> Result<()> {
        self.send("UNSUBSCRIBE", ())?;
        self.send("PUNSUBSCRIBE", ())?;
        if self.session().dirty().has(Dirty::SHARD_SUBSCRIBE) {
            self.send("SUNSUBSCRIBE", ())?;
        }
        let sentinel = sentinel();
        self.send("ECHO", sentinel)?;
        self.flush()?;
        while self.receive()?.as_bytes() != Some(sentinel.as_bytes()) {}
        // The server confirms a subscription once for each channel, so the count was wrong. After
        // the echo nothing is due.
        self.status().take_pending();
        self.session().clear(SUBSCRIBED);
        Ok(())
    }

    /// Restores database, name and mode, and receives all pending replies.
    fn restore_session(&mut self) -> Result<()> {
        let dirty = self.session().dirty();
        let baseline = self.session().baseline().clone();
        let mut restoring = 0;
        if dirty.has(Dirty::DATABASE) {
            let database = if baseline.database.is_empty() { "0" } else { &baseline.database };
            self.send("SELECT", database)?;
            restoring += 1;
        }
        if dirty.has(Dirty::READONLY) {
            self.send("READWRITE", ())?;
            restoring += 1;
        }
        if dirty.has(Dirty::CLIENT_NAME) {
            self.send("CLIENT", ("SETNAME", baseline.client_name))?;
            restoring += 1;
        }
        let replies = self.drain()?;
        let restored = &replies[replies.len().saturating_sub(restoring)..];
        if restored.iter().any(|reply| matches!(reply, Value::Error(_))) {
            self.session().add(Dirty::UNRECOVERABLE);
        } else {
            self.session().clear(Dirty::DATABASE.and(Dirty::READONLY).and(Dirty::CLIENT_NAME));
        }
        Ok(())
    }
}

/// 64 characters that differ in every process.
fn sentinel() -> &'static str {
    static SENTINEL: OnceLock<String> = OnceLock::new();
    SENTINEL.get_or_init(|| {
        let mut text = String::with_capacity(64);
        for _ in 0..4 {
            // The keys of its hash maps are the only randomness in the standard library.
            let _ = write!(text, "{:016x}", RandomState::new().build_hasher().finish());
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinel_is_long_and_does_not_change() {
        assert_eq!(sentinel().len(), 64);
        assert_eq!(sentinel(), sentinel());
        let (first, rest) = sentinel().split_at(16);
        assert_ne!(&rest[..16], first);
    }
}
