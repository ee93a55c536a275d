//! `redis-server` with a TLS port, and a TLS server that behaves as the test says.

use std::fs;
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

use redigo::native_tls::{Identity, Protocol, TlsAcceptor, TlsStream};
use redigo::{Conn, Dialer};

use super::certs::cert;
use super::fake_server::FakeServer;
use super::redis_server::{Builder, RedisServer};

/// The TLS versions that the tests use.
pub(crate) const VERSIONS: [Protocol; 2] = [Protocol::Tlsv12, Protocol::Tlsv13];

/// Returns a server of this TLS version that accepts clients with or without a certificate.
pub(crate) fn server(version: Protocol) -> &'static RedisServer {
    static SERVERS: [OnceLock<RedisServer>; 2] = [const { OnceLock::new() }; 2];
    let (at, name) = named(version);
    SERVERS[at].get_or_init(|| {
        builder("redis").args(["--tls-auth-clients", "optional", "--tls-protocols", name]).start()
    })
}

/// Returns a server of this TLS version that accepts only clients with a certificate.
pub(crate) fn strict_server(version: Protocol) -> &'static RedisServer {
    static SERVERS: [OnceLock<RedisServer>; 2] = [const { OnceLock::new() }; 2];
    let (at, name) = named(version);
    SERVERS[at].get_or_init(|| {
        let strict = builder("redis").args(["--tls-auth-clients", "yes"]);
        strict.args(["--tls-protocols", name, "--requirepass", "sesame"]).start()
    })
}

fn named(version: Protocol) -> (usize, &'static str) {
    match version {
        Protocol::Tlsv12 => (0, "TLSv1.2"),
        _ => (1, "TLSv1.3"),
    }
}

/// Returns the options of a server with the certificate of this name.
pub(crate) fn builder(name: &str) -> Builder {
    let file = |extension: &str| cert(&format!("{name}.{extension}")).display().to_string();
    RedisServer::builder()
        .tls()
        .arg("--tls-cert-file", &file("pem"))
        .arg("--tls-key-file", &file("key"))
        .arg("--tls-ca-cert-file", &cert("ca.pem").display().to_string())
}

/// Returns a dialer that trusts the test authority and has a read timeout.
pub(crate) fn dialer(server: &RedisServer) -> Dialer {
    let dialer = Dialer::url(server.url()).unwrap().tls_ca_file(cert("ca.pem"));
    dialer.read_timeout(Duration::from_secs(30))
}

pub(crate) fn conn(version: Protocol) -> Conn {
    dialer(server(version)).dial().unwrap()
}

/// Like [`FakeServer::start`], but after a TLS handshake.
pub(crate) fn fake(
    version: Protocol,
    serve: impl Fn(TlsStream<TcpStream>) + Send + Sync + 'static,
) -> FakeServer {
    let acceptor = acceptor(version);
    FakeServer::start(move |stream| {
        if let Ok(stream) = acceptor.accept(stream) {
            serve(stream);
        }
    })
}

/// Returns the server's side of a handshake, which has no TLS 1.3.
pub(crate) fn acceptor(version: Protocol) -> TlsAcceptor {
    let (pem, key) = (fs::read(cert("redis.pem")).unwrap(), fs::read(cert("redis.key")).unwrap());
    let identity = Identity::from_pkcs8(&pem, &key).unwrap();
    let mut acceptor = TlsAcceptor::builder(identity);
    acceptor.min_protocol_version(Some(version)).max_protocol_version(Some(version));
    acceptor.build().unwrap()
}

/// Returns a dialer to a fake TLS server.
pub(crate) fn fake_dialer(server: &FakeServer) -> Dialer {
    server.dialer().use_tls(true).tls_ca_file(cert("ca.pem"))
}
