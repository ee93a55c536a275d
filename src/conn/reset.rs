//! The conversation that restores the state in which a connection was dialed.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::time::Duration;

use crate::conn::Conn;
use crate::conn::deadline::Deadline;
use crate::conn::session::{Dirty, SUBSCRIBED};
use crate::error::Result;

impl Conn {
    /// Returns true when the next borrower would find no trace of the last: no error, no reply
    /// due or left over, no state to undo, no shutdown, and no sign that this is the wrong server.
    pub(crate) fn is_clean(&mut self) -> bool {
        self.status().pending() == 0
            && self.session().dirty().is_empty()
            && self.err().is_none()
            && !self.is_retired()
            && !self.status().is_closing()
            && !self.is_shut_down()
            && !self.has_unread()
    }

    /// Returns true if [`Conn::reset`] has something to do and can succeed.
    pub(crate) fn can_be_cleaned(&mut self) -> bool {
        let dirty = self.session().dirty();
        self.err().is_none()
            && !self.is_shut_down()
            && !dirty.has(Dirty::UNRECOVERABLE)
            && (self.status().pending() > 0 || !dirty.is_empty())
    }

    /// Undoes the state that can be undone, within the budget. [`Conn::is_clean`] tells whether
    /// that was enough.
    ///
    /// # Errors
    /// The error that ended the connection during the conversation. Error replies are not errors:
    /// the connection is not clean then.
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
            conn.restore_session()?;
            conn.unwatch()
        })
    }

    /// Sends the commands that leave a transaction and stop watching keys.
    pub(super) fn leave_transaction(&mut self) -> Result<()> {
        let dirty = self.session().dirty();
        if dirty.has(Dirty::MULTI) {
            self.send("DISCARD", ())?;
        }
        // DISCARD ends both, too, unless the server refuses it because no transaction is open.
        if dirty.has(UNWATCHABLE) && !self.session().is_in_transaction() {
            self.send("UNWATCH", ())?;
        }
        Ok(())
    }

    /// Stops watching keys, unless that is done.
    pub(super) fn unwatch(&mut self) -> Result<()> {
        let dirty = self.session().dirty();
        if dirty.has(UNWATCHABLE) && !dirty.has(Dirty::MULTI) {
            self.send("UNWATCH", ())?;
        }
        self.drain().map(drop)
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
        loop {
            match self.receive() {
                Ok(reply) if reply.as_bytes() == Some(sentinel.as_bytes()) => break,
                Err(error) if error.is_fatal() => return Err(error),
                // A refusal ahead of the echo does no harm: while a connection is subscribed, the
                // server refuses ECHO.
                _ if self.status().pending() > 0 => {}
                _ => {
                    self.session().set_unrecoverable();
                    return Ok(());
                }
            }
        }
        self.status().end_subscriptions();
        Ok(())
    }

    /// Restores database, name and mode, and receives all pending replies. These decide whether
    /// the connection is clean.
    fn restore_session(&mut self) -> Result<()> {
        let dirty = self.session().dirty();
        if dirty.has(RESTORABLE) {
            let baseline = self.session().baseline().clone();
            if dirty.has(Dirty::DATABASE) {
                match baseline.database.is_empty() {
                    true => self.send("SELECT", 0)?,
                    false => self.send("SELECT", &baseline.database)?,
                }
            }
            if dirty.has(Dirty::READONLY) {
                self.send(if baseline.readonly { "READONLY" } else { "READWRITE" }, ())?;
            }
            if dirty.has(Dirty::CLIENT_NAME) {
                self.send("CLIENT", ("SETNAME", &baseline.client_name))?;
            }
        }
        self.drain().map(drop)
    }
}

/// The state that UNWATCH ends: any command ends ASKING.
const UNWATCHABLE: Dirty = Dirty::WATCH.and(Dirty::ASKING);
/// The state that one command restores.
const RESTORABLE: Dirty = Dirty::DATABASE.and(Dirty::READONLY).and(Dirty::CLIENT_NAME);

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
