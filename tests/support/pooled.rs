//! Connections of a pool to a real server, which knows them by their name.
//!
//! The program includes `redis_server.rs` and `wait.rs` beside this file.

// Included with #[path] by many programs, none of which uses all of it.
#![allow(dead_code)]

use redigo::{Conn, Dialer};

use crate::redis_server::RedisServer;
use crate::wait::PATIENCE;

pub(crate) fn to(server: &RedisServer) -> Dialer {
    Dialer::url(server.url()).unwrap().client_name("pooled").read_timeout(PATIENCE)
}

/// How many of them the server knows.
pub(crate) fn known(control: &mut Conn) -> usize {
    let clients: String = control.query("CLIENT", "LIST").unwrap();
    clients.lines().filter(|line| line.contains(" name=pooled ")).count()
}
