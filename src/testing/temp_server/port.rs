//! Unused TCP ports.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;

/// Returns a port of 127.0.0.1 that is not in use at the moment.
///
/// The port is below the range that systems use for outgoing connections. A client that dials a
/// port of that range repeatedly while no server listens can get it as its own port, and then
/// connects to itself. Another process can take the port at any time.
///
/// ```
/// let port = redigo::testing::unused_port()?;
/// assert!(redigo::Dialer::tcp(format!("127.0.0.1:{port}")).dial().is_err());
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if no port between 20000 and 29999 is free.
pub fn unused_port() -> Result<u16> {
    find(|_| true)
}

/// Returns an unused port whose cluster bus port, which is 10000 higher, is unused too.
pub(super) fn unused_cluster_port() -> Result<u16> {
    find(|port| is_free(port + 10_000))
}

fn find(fits: impl Fn(u16) -> bool) -> Result<u16> {
    for _ in 0..1000 {
        let port = 20_000 + (arbitrary() % 10_000) as u16;
        if is_free(port) && fits(port) {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port on 127.0.0.1 between 20000 and 29999").into())
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns a number that usually differs between calls, processes and runs. Callers retry on a
/// collision.
pub(super) fn arbitrary() -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let seed = clock ^ process::id().rotate_left(16) ^ CALLS.fetch_add(1, Ordering::Relaxed);
    // Knuth's multiplicative hash spreads neighboring seeds; its high bits are the best.
    seed.wrapping_mul(2_654_435_769) >> 8
}
