//! Ready-made tests for [`PoolBuilder::test_on_borrow`](crate::PoolBuilder::test_on_borrow).

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::sync::{self, thread_local};

thread_local! {
    /// The time of the pool whose tests run on this thread, if it has its own clock.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns a test that sends a `PING` to connections that have been idle for at least this long.
///
/// It costs one round trip, and also detects states that only the server knows. It waits as long as
/// the connection's read timeout, so set one.
///
/// An error reply is an answer too. It fails the test only if its code is one of
/// [`retire_on`](crate::PoolBuilder::retire_on), or if the server closes the connection after it.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Pool, check, testing::ScriptedServer};
///
/// let server = ScriptedServer::new();
/// let ping = server.expect("PING", ()).reply("PONG").any_times();
/// let pool = Pool::builder(server.dialer())
///     .test_on_borrow(check::ping_if_idle(Duration::from_secs(60)))
///     .build()?;
/// pool.acquire()?.close()?;
/// pool.acquire()?.close()?; // idle for less
/// assert_eq!(ping.calls(), 0);
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "TestOnBorrow")]
pub fn ping_if_idle(idle: Duration) -> impl Fn(&mut Conn, Instant) -> Result<()> + Send + Sync {
    move |conn, last_used| {
        let now = NOW.try_with(Cell::get).ok().flatten().unwrap_or_else(sync::now);
        match now.saturating_duration_since(last_used) < idle {
            true => Ok(()),
            false => ping(conn, None),
        }
    }
}

/// Sends a `PING`, within `timeout` if there is one. An error reply is an answer, unless the server
/// closes the connection after it.
///
/// # Errors
/// The error that has ended the connection.
pub(crate) fn ping(conn: &mut Conn, timeout: Option<Duration>) -> Result<()> {
    let answer = match timeout {
        Some(timeout) => conn.call_timeout(timeout, "PING", ()),
        None => conn.call("PING", ()),
    };
    match answer {
        Err(Error::Server(_)) if conn.is_alive() => Ok(()),
        Err(Error::Server(_)) => Err(dead()),
        answer => answer.map(drop),
    }
}

/// Runs borrow tests in a pool whose clock shows this time.
pub(crate) fn with_now<T>(now: Instant, tests: impl FnOnce() -> T) -> T {
    /// Restores the value of before, also after a panic.
    struct Restore(Option<Instant>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = NOW.try_with(|cell| cell.set(self.0));
        }
    }
    let _restore = Restore(NOW.try_with(|cell| cell.replace(Some(now))).ok().flatten());
    tests()
}

/// Returns a test that checks the socket, without a round trip. It fails if the server has closed
/// the connection or has sent unexpected data.
///
/// Most pools should use [`PoolBuilder::peek_after`](crate::PoolBuilder::peek_after) instead: the
/// same check, but only for connections that were idle for a time or are suspect.
///
/// ```
/// use redigo::{CloseReason, Pool, check, testing::ScriptedServer};
///
/// let server = ScriptedServer::new();
/// let pool = Pool::builder(server.dialer()).test_on_borrow(check::peek()).build()?;
/// pool.acquire()?.close()?;
/// server.disconnect();
/// pool.acquire()?.close()?; // a new connection
/// assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "TestOnBorrow")]
pub fn peek() -> impl Fn(&mut Conn, Instant) -> Result<()> + Send + Sync {
    |conn, _| match conn.is_alive() {
        true => Ok(()),
        false => Err(dead()),
    }
}

/// The error of a connection that failed the check of its socket.
pub(crate) fn dead() -> Error {
    let reason = "the server closed the idle connection or sent unexpected data";
    Error::from(io::Error::new(io::ErrorKind::ConnectionAborted, reason))
}
