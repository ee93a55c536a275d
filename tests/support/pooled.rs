//! Pooled connections to a real server, which the server lists under one name.

use redigo::{Conn, Dialer};

use super::redis_server::RedisServer;
use super::wait::PATIENCE;

/// Returns a dialer whose connections have the name `pooled`.
pub(crate) fn to(server: &RedisServer) -> Dialer {
    Dialer::url(server.url()).unwrap().client_name("pooled").read_timeout(PATIENCE)
}

/// Returns a dialer whose connections have no name.
pub(crate) fn unnamed(server: &RedisServer) -> Dialer {
    Dialer::url(server.url()).unwrap().read_timeout(PATIENCE)
}

/// Returns the number of connections that the server lists as `pooled`.
pub(crate) fn known(control: &mut Conn) -> usize {
    let clients: String = control.query("CLIENT", "LIST").unwrap();
    clients.lines().filter(|line| line.contains(" name=pooled ")).count()
}
