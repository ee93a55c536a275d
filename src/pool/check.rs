//! Ready-made tests for [`PoolBuilder::test_on_borrow`](crate::PoolBuilder::test_on_borrow).

use std::io;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::error::{Error, Result};

/// Returns a test that sends a `PING` to connections that have been idle for at least this long.
///
/// It costs one round trip, and also detects states that only the server knows. It waits as long as
/// the connection's read timeout, so set one.
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
        if last_used.elapsed() < idle {
            return Ok(());
        }
        conn.call("PING", ()).map(drop)
    }
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
