//! Connections to a real server: one for the whole program, a database of its own for each test.
//!
//! The program includes `redis_server.rs` as `redis_server` beside this file.

// Included with #[path] by many programs, none of which uses all of it.
#![allow(dead_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redigo::{Conn, Dialer};

use crate::redis_server::RedisServer;

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
