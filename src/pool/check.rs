//! Ready-made tests for [`PoolBuilder::test_on_borrow`](crate::PoolBuilder::test_on_borrow).

use std::io;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::error::{Error, Result};

/// A `PING` for connections that have been idle for longer than this; younger ones are trusted.
///
/// One round trip, but it also finds what only the server knows. It waits as long as the
/// connection's read timeout, so set one.
///
/// ```
/// use std::time::Duration;
/// use redigo::{Dialer, Pool, check};
///
/// let dialer = Dialer::tcp(":6379").read_timeout(Duration::from_secs(1));
/// let pool = Pool::builder(dialer)
///     .test_on_borrow(check::ping_if_idle(Duration::from_secs(60)))
///     .build()?;
/// # drop(pool);
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

/// A look at the socket, without a round trip: fails when the server has closed the connection
/// or has sent something that nobody asked for. So the first command after a restart of the
/// server succeeds.
///
/// ```
/// use redigo::{Dialer, Pool, check};
///
/// let pool = Pool::builder(Dialer::tcp(":6379")).test_on_borrow(check::peek()).build()?;
/// # drop(pool);
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "TestOnBorrow")]
pub fn peek() -> impl Fn(&mut Conn, Instant) -> Result<()> + Send + Sync {
    |conn, _| match conn.is_alive() {
        true => Ok(()),
        false => Err(dead()),
    }
}

/// What a look at the socket came to.
pub(crate) fn dead() -> Error {
    let why = "the server closed the idle connection, or sent what nobody asked for";
    Error::from(io::Error::new(io::ErrorKind::ConnectionAborted, why))
}
