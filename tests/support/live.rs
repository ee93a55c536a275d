//! Connections to a real server: one for the whole program, a database of its own for each test.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redigo::{Conn, Dialer};

use super::redis_server::RedisServer;
use super::wait::LONG;

const DATABASES: i64 = 1000;

/// The server without a password.
pub(crate) fn server() -> &'static RedisServer {
    // Not dropped at the end, but it ends with this process all the same.
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(|| RedisServer::builder().arg("--databases", &DATABASES.to_string()).start())
}

/// A dialler to a database that nobody else uses.
pub(crate) fn dialer() -> Dialer {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let database = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(database < DATABASES, "more databases are needed");
    // A reply that never comes is to fail the test, not to stop it.
    Dialer::tcp(server().addr()).database(database).read_timeout(Duration::from_secs(30))
}

/// A connection to a database that nobody else uses.
pub(crate) fn conn() -> Conn {
    dialer().dial().unwrap()
}

/// A dialler to the server that all share, and to its first database.
pub(crate) fn shared_dialer() -> Dialer {
    Dialer::url(RedisServer::shared().url()).unwrap().read_timeout(LONG)
}

/// A connection to the server that all share.
pub(crate) fn shared_conn() -> Conn {
    shared_dialer().dial().unwrap()
}
