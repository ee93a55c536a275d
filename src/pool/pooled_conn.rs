//! A connection in use.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::pool::inner::check_in::{is_own, unclean_reason};
use crate::pool::inner::{PoolEntry, PoolInner};
use crate::pool::stats::close_reason::CloseReason;

/// A connection checked out from a [`Pool`](crate::Pool).
///
/// It dereferences to [`Conn`]. [`close`](PooledConn::close) cleans the connection and returns it to
/// the pool. Dropping it does the same, but without I/O on the dropping thread: a thread of the pool
/// cleans the connection, within [`cleanup_timeout`](crate::PoolBuilder::cleanup_timeout), and its
/// slot stays taken meanwhile. Other connections can see the effect of its queued commands a moment
/// later. If the thread panics, the connection is closed, because its state is unknown. When the
/// process exits, queued commands of dropped connections may be lost.
///
/// If the program puts another `Conn` in the place of this one, for example with
/// [`std::mem::replace`], the pool closes it instead of taking it back.
///
/// ```
/// # use redigo::{Dialer, Pool, testing::MemoryStream};
/// # let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("+OK\r\n"))))
/// #     .build()?;
/// let mut conn = pool.acquire()?;
/// conn.call("SET", ("key", "value"))?;
/// drop(conn); // clean, so it is returned
/// assert_eq!(pool.idle_count(), 1);
/// # Ok::<(), redigo::Error>(())
/// ```
pub struct PooledConn {
    state: State,
}

enum State {
    InUse {
        pool: Arc<PoolInner>,
        entry: PoolEntry,
    },
    /// The checkout failed; the connection carries the error.
    Failed(Box<Conn>),
    /// Only while the value is consumed.
    CheckedIn,
}

impl PooledConn {
    pub(crate) fn new(pool: Arc<PoolInner>, entry: PoolEntry) -> PooledConn {
        PooledConn { state: State::InUse { pool, entry } }
    }

    pub(crate) fn failed(error: Error) -> PooledConn {
        PooledConn { state: State::Failed(Box::new(Conn::failed(error))) }
    }

    /// Cleans the connection and returns it to the pool.
    ///
    /// Cleaning discards an open transaction, unwatches keys, ends subscriptions, receives pending
    /// replies and restores the database, client name and modes, all within the pool's
    /// [`cleanup_timeout`](crate::PoolBuilder::cleanup_timeout). If the connection has failed or is
    /// still not clean, the pool closes it.
    ///
    /// # Errors
    /// The error that ended the connection, now or before. The pool has already removed the
    /// connection, so the caller has nothing left to do. Closing the result of a failed
    /// [`get`](crate::Pool::get) is no error.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("MULTI", ()).ok();
    /// server.expect("DISCARD", ()).ok();
    /// let pool = Pool::builder(server.dialer()).build()?;
    /// let mut conn = pool.acquire()?;
    /// conn.call("MULTI", ())?;
    /// conn.close()?; // sends DISCARD first
    /// assert_eq!(pool.idle_count(), 1);
    /// server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "Close")]
    pub fn close(mut self) -> Result<()> {
        // Still in use while it is cleaned, so that a panic does not lose the slot.
        let State::InUse { pool, entry } = &mut self.state else { return Ok(()) };
        let mut cleaned = Ok(());
        let clean = entry.conn.is_clean()
            || is_own(entry) && {
                cleaned = entry.conn.reset(pool.settings().cleanup_timeout);
                entry.conn.is_clean()
            };
        let State::InUse { pool, mut entry } = self.take() else { return Ok(()) };
        if clean {
            pool.return_conn(entry);
            return Ok(());
        }
        let error = entry.conn.err().cloned();
        let reason = unclean_reason(&mut entry.conn);
        log_unclean(error.as_ref().or(cleaned.as_ref().err()));
        pool.close_conn(entry, reason);
        error.map_or(Ok(()), Err)
    }

    /// Closes the connection instead of returning it to the pool, for example because its server is
    /// about to shut down.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let pool = Pool::builder(ScriptedServer::new().dialer()).build()?;
    /// pool.acquire()?.discard();
    /// assert_eq!(pool.active_count(), 0);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "evictConnection")]
    pub fn discard(mut self) {
        if let State::InUse { pool, entry } = self.take() {
            pool.close_conn(entry, CloseReason::Discarded);
        }
    }

    /// Removes the connection from the pool and returns it. The pool can dial another one instead.
    ///
    /// ```
    /// use redigo::{Pool, testing::ScriptedServer};
    ///
    /// let server = ScriptedServer::new();
    /// server.expect("PING", ()).reply("PONG");
    /// let pool = Pool::builder(server.dialer()).max_active(1).build()?;
    /// let mut conn = pool.acquire()?.detach();
    /// assert_eq!((pool.active_count(), pool.stats().detached), (0, 1));
    /// conn.call("PING", ())?; // still usable
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn detach(mut self) -> Conn {
        match self.take() {
            State::InUse { pool, entry } => pool.detach(entry),
            State::Failed(conn) => *conn,
            State::CheckedIn => Conn::failed(Error::ConnClosed),
        }
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::CheckedIn)
    }
}

impl Deref for PooledConn {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.state {
            State::InUse { entry, .. } => &entry.conn,
            State::Failed(conn) => conn,
            // Only methods that consume `self` leave this state behind.
            State::CheckedIn => unreachable!("the connection is checked in"),
        }
    }
}

impl DerefMut for PooledConn {
    fn deref_mut(&mut self) -> &mut Conn {
        match &mut self.state {
            State::InUse { entry, .. } => &mut entry.conn,
            State::Failed(conn) => conn,
            State::CheckedIn => unreachable!("the connection is checked in"),
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
        if let State::InUse { pool, entry } = self.take() {
            pool.return_dropped(entry);
        }
    }
}

impl fmt::Debug for PooledConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::InUse { entry, .. } => f.debug_tuple("PooledConn").field(&entry.conn).finish(),
            State::Failed(conn) => f.debug_tuple("PooledConn").field(conn).finish(),
            State::CheckedIn => f.write_str("PooledConn(checked in)"),
        }
    }
}

fn log_unclean(error: Option<&Error>) {
    if let Some(error) = error {
        log::debug!(target: "redigo::pool", "a connection cannot be returned: {error}");
    }
}
