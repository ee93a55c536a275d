//! A connection on loan.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::pool::core::Entry;
use crate::pool::inner::PoolInner;
use crate::pool::stats::close_reason::CloseReason;

/// A connection that goes back to its pool.
///
/// It is used like the [`Conn`] that it derefs to. [`close`](PooledConn::close) gives it back in
/// good order. Dropping it gives it back too if it is clean, and closes it otherwise: a
/// destructor does no I/O. A thread that panics loses it, as nobody knows what it was doing.
///
/// ```
/// # use redigo::{Dialer, Pool, testing::MemoryStream};
/// # let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n"))))
/// #     .build()?;
/// let mut conn = pool.acquire()?;
/// conn.call("SET", ("key", "value"))?;
/// drop(conn); // clean, so it goes back without a word
/// assert_eq!(pool.idle_count(), 1);
/// # Ok::<(), redigo::Error>(())
/// ```
pub struct PooledConn {
    loan: Checkout,
}

enum Checkout {
    Out {
        pool: Arc<PoolInner>,
        member: Box<Entry<Conn>>,
    },
    /// There was none to be had.
    None(Box<Conn>),
    /// Given back: only while it is being consumed.
    Over,
}

impl PooledConn {
    pub(crate) fn new(pool: Arc<PoolInner>, member: Box<Entry<Conn>>) -> PooledConn {
        PooledConn { loan: Checkout::Out { pool, member } }
    }

    pub(crate) fn failed(error: Error) -> PooledConn {
        PooledConn { loan: Checkout::None(Box::new(Conn::failed(error))) }
    }

    /// Gives the connection back.
    ///
    /// An open transaction is discarded, watched keys and subscriptions are let go, pending
    /// replies are received, and another database, name or mode is set back: all within the
    /// pool's [`cleanup_timeout`](crate::PoolBuilder::cleanup_timeout). A connection that is not
    /// clean after that, or that failed, is closed and does not go back.
    ///
    /// # Errors
    /// The error that ended the connection, if one did, now or before. It is out of the pool
    /// then, and there is nothing left to do about it. A `PooledConn` that never was one closes
    /// without an error.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("MULTI", ()).ok();
    /// server.expect("DISCARD", ()).ok();
    /// let pool = Pool::builder_with(server.dialer()).build()?;
    /// let mut conn = pool.acquire()?;
    /// conn.call("MULTI", ())?;
    /// conn.close()?; // says DISCARD first
    /// assert_eq!(pool.idle_count(), 1);
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Close")]
    pub fn close(mut self) -> Result<()> {
        // Still on loan while it is cleaned, so that a panic on the way loses no place.
        let Checkout::Out { pool, member } = &mut self.loan else { return Ok(()) };
        let mut cleaned = Ok(());
        let clean = member.conn.is_clean() || {
            cleaned = member.conn.reset(pool.settings().cleanup_timeout);
            member.conn.is_clean()
        };
        let Checkout::Out { pool, mut member } = self.take() else { return Ok(()) };
        if clean {
            pool.give_back(member);
            return Ok(());
        }
        let error = member.conn.err().cloned();
        let reason = why_unclean(&mut member.conn);
        log_discard(reason, error.as_ref().or(cleaned.as_ref().err()));
        pool.close_lent(member, reason);
        error.map_or(Ok(()), Err)
    }

    /// Closes the connection instead of giving it back: for a server that is going away, say.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder_with(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.discard();
    /// assert_eq!(pool.active_count(), 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "evictConnection")]
    pub fn discard(mut self) {
        if let Checkout::Out { pool, member } = self.take() {
            pool.close_lent(member, CloseReason::Discarded);
        }
    }

    /// Takes the connection out of the pool for good. The pool may dial another in its place.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).reply("PONG");
    /// let pool = Pool::builder_with(server.dialer()).max_active(1).build()?;
    /// let mut conn = pool.acquire()?.detach();
    /// assert_eq!((pool.active_count(), pool.stats().detached), (0, 1));
    /// conn.call("PING", ())?; // it works as before
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn detach(mut self) -> Conn {
        match self.take() {
            Checkout::Out { pool, member } => pool.detach(member),
            Checkout::None(conn) => *conn,
            Checkout::Over => Conn::failed(Error::ConnClosed),
        }
    }

    /// Gives it back if that takes no I/O, and closes it otherwise.
    fn end_without_a_word(&mut self) {
        let Checkout::Out { pool, mut member } = self.take() else { return };
        if std::thread::panicking() {
            log_discard(CloseReason::Panicked, None);
            return pool.close_lent(member, CloseReason::Panicked);
        }
        // The connection may be of the user's making, and its place must not be lost.
        let conn = &mut member.conn;
        let unclean = catch_unwind(AssertUnwindSafe(|| match conn.is_clean() {
            true => None,
            false => Some(why_unclean(conn)),
        }));
        match unclean.unwrap_or(Some(CloseReason::Dirty)) {
            None => pool.give_back(member),
            Some(reason) => {
                log_discard(reason, member.conn.err());
                pool.close_lent(member, reason);
            }
        }
    }

    fn take(&mut self) -> Checkout {
        std::mem::replace(&mut self.loan, Checkout::Over)
    }
}

impl Deref for PooledConn {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.loan {
            Checkout::Out { member, .. } => &member.conn,
            Checkout::None(conn) => conn,
            // Only what consumes `self` leaves it like that.
            Checkout::Over => unreachable!("a connection that was given back"),
        }
    }
}

impl DerefMut for PooledConn {
    fn deref_mut(&mut self) -> &mut Conn {
        match &mut self.loan {
            Checkout::Out { member, .. } => &mut member.conn,
            Checkout::None(conn) => conn,
            Checkout::Over => unreachable!("a connection that was given back"),
        }
    }
}

impl AsRef<Conn> for PooledConn {
    fn as_ref(&self) -> &Conn {
        self
    }
}

impl AsMut<Conn> for PooledConn {
    fn as_mut(&mut self) -> &mut Conn {
        self
    }
}

impl Drop for PooledConn {
    #[inline]
    fn drop(&mut self) {
        if let Checkout::Out { .. } = self.loan {
            self.end_without_a_word();
        }
    }
}

fn why_unclean(conn: &mut Conn) -> CloseReason {
    match conn.err() {
        Some(Error::Protocol(_)) => CloseReason::Protocol,
        Some(_) => CloseReason::Io,
        None if conn.is_retired() => CloseReason::Retired,
        None => CloseReason::Dirty,
    }
}

impl fmt::Debug for PooledConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.loan {
            Checkout::Out { member, .. } => {
                f.debug_tuple("PooledConn").field(&member.conn).finish()
            }
            Checkout::None(conn) => f.debug_tuple("PooledConn").field(conn).finish(),
            Checkout::Over => f.write_str("PooledConn(given back)"),
        }
    }
}

fn log_discard(reason: CloseReason, error: Option<&Error>) {
    match error {
        Some(error) => {
            log::debug!(target: "redigo::pool", "a connection is closed, {reason}: {error}")
        }
        None => log::debug!(target: "redigo::pool", "a connection is closed: {reason}"),
    }
}
