//! A private `redis-server` for tests, benches and examples. Needs only the standard library.
//!
//! Each server has its own temporary folder, a free TCP port on 127.0.0.1 and a Unix socket. It ends when its
//! [`RedisServer`] is dropped, and also when this process ends or is killed.
//!
//! ```ignore
//! #[path = "support/redis_server.rs"]
//! mod redis_server;
//!
//! let server = redis_server::RedisServer::start();
//! let pool = redigo::Pool::builder(redigo::Dialer::url(&server.url())?).build()?;
//! ```

// Included with #[path] by many programs; none uses all of it.
#![allow(dead_code, unused_imports)]

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(unix)]
#[path = "local_server.rs"]
mod server;
// Windows has no redis-server: the servers run on another system, for which tests/windows/broker.rs starts them.
#[cfg(not(unix))]
#[path = "remote_server.rs"]
mod server;

#[cfg(unix)]
pub(crate) use server::Folder;
pub(crate) use server::{Builder, RedisServer};

/// Major, minor, patch.
pub(crate) type Version = (u32, u32, u32);

/// Returns a port of 127.0.0.1 that is not in use at the moment.
///
/// The port is below the range that systems use for outgoing connections. A client that dials a port of that range
/// repeatedly while the server is down can get it as its own port: it connects to itself, and the server cannot start.
pub(crate) fn free_port() -> io::Result<u16> {
    for _ in 0..1000 {
        let port = 20_000 + (arbitrary() % 10_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port on 127.0.0.1 between 20000 and 29999"))
}

/// Returns a number that usually differs between calls, processes and runs. Callers retry on a collision.
fn arbitrary() -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let seed = clock ^ std::process::id().rotate_left(16) ^ CALLS.fetch_add(1, Ordering::Relaxed);
    // Knuth's multiplicative hash spreads neighboring seeds; its high bits are the best.
    seed.wrapping_mul(2_654_435_769) >> 8
}
