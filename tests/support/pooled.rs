//! Connections of a pool to a real server, which knows them by their name.

use redigo::{Conn, Dialer};

use super::redis_server::RedisServer;
use super::wait::PATIENCE;

pub(crate) fn to(server: &RedisServer) -> Dialer {
    Dialer::url(server.url()).unwrap().client_name("pooled").read_timeout(PATIENCE)
}

/// Without the name.
pub(crate) fn unnamed(server: &RedisServer) -> Dialer {
    Dialer::url(server.url()).unwrap().read_timeout(PATIENCE)
}

/// How many of them the server knows.
pub(crate) fn known(control: &mut Conn) -> usize {
    let clients: String = control.query("CLIENT", "LIST").unwrap();
    clients.lines().filter(|line| line.contains(" name=pooled ")).count()
}
