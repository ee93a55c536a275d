//! Connections to a real server: one server for the program, one database for each test.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redigo::{Conn, Dialer};

use super::redis_server::RedisServer;
use super::wait::LONG;

const DATABASES: i64 = 1000;

/// Returns the program's server, which has no password.
pub(crate) fn server() -> &'static RedisServer {
    // Never dropped, but it ends with this process.
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(|| RedisServer::builder().arg("--databases", &DATABASES.to_string()).start())
}

/// Returns a dialer to a database that no other test uses.
pub(crate) fn dialer() -> Dialer {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let database = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(database < DATABASES, "more databases are needed");
    // A missing reply must fail the test instead of hanging it.
    Dialer::tcp(server().addr()).database(database).read_timeout(Duration::from_secs(30))
}

/// Connects to a database that no other test uses.
pub(crate) fn conn() -> Conn {
    dialer().dial().unwrap()
}

/// Returns a dialer to the first database of the shared server.
pub(crate) fn shared_dialer() -> Dialer {
    Dialer::url(RedisServer::shared().url()).unwrap().read_timeout(LONG)
}

/// Connects to the first database of the shared server.
pub(crate) fn shared_conn() -> Conn {
    shared_dialer().dial().unwrap()
}
