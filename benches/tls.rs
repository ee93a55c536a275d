//! TLS against a private redis-server: one command beside a hand-written exchange on native-tls,
//! long values, and the pool's checkout beside the same on TCP.
//!
//! `cargo bench --features tls --bench tls`

mod support;

#[path = "../tests/support/certs.rs"]
mod certs;
#[path = "../tests/support/redis_server.rs"]
mod redis_server;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use certs::cert;
use redigo::native_tls::{Certificate, TlsConnector, TlsStream};
use redigo::{Dialer, Pool};
use redis_server::RedisServer;
use support::{Contender, ROUNDS, compare, time};

const SHORT: usize = 40;
const LONG: usize = 1 << 20;

fn main() {
    let file = |name| cert(name).display().to_string();
    let server = RedisServer::builder()
        .tls()
        .args(["--tls-auth-clients", "no", "--tls-cert-file", &file("redis.pem")])
        .args(["--tls-key-file", &file("redis.key"), "--tls-ca-cert-file", &file("ca.pem")])
        .start();
    let dialer = Dialer::url(server.url()).expect("a URL").tls_ca_file(cert("ca.pem"));
    println!("TLS to a private redis-server; medians of {ROUNDS} rounds in turns");
    get("get_tls", &server, &dialer, SHORT, 2_000);
    get("get_tls, 1 MiB", &server, &dialer, LONG, 20);
    set("set_tls, 1 MiB", &server, &dialer, LONG, 20);
    checkout(&dialer);
}

fn get(what: &str, server: &RedisServer, dialer: &Dialer, length: usize, operations: usize) {
    let mut ours = dialer.dial().expect("a connection");
    ours.call("SET", ("k", vec![b'x'; length])).expect("SET");
    let mut raw = Raw::connect(server, &["GET", "k"], format!("${length}\r\n").len() + length + 2);
    compare(
        what,
        operations,
        vec![
            Contender::new("redigo", || time(operations, || ours.call("GET", "k").expect("GET"))),
            Contender::new("raw", || time(operations, || raw.exchange().to_vec())),
        ],
    );
}

fn set(what: &str, server: &RedisServer, dialer: &Dialer, length: usize, operations: usize) {
    let value = "x".repeat(length);
    let mut ours = dialer.dial().expect("a connection");
    let mut raw = Raw::connect(server, &["SET", "k", &value], "+OK\r\n".len());
    compare(
        what,
        operations,
        vec![
            Contender::new("redigo", || {
                time(operations, || ours.call("SET", ("k", &value)).expect("SET"))
            }),
            Contender::new("raw", || time(operations, || raw.exchange().to_vec())),
        ],
    );
}

/// The exchange by hand, with what it must do and nothing else: the reply's length is known.
struct Raw {
    stream: TlsStream<TcpStream>,
    command: Vec<u8>,
    reply: Vec<u8>,
}

impl Raw {
    fn connect(server: &RedisServer, words: &[&str], reply: usize) -> Raw {
        let socket = TcpStream::connect(server.addr()).expect("a server");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        let authority = fs::read(cert("ca.pem")).expect("a certificate");
        let connector = TlsConnector::builder()
            .disable_built_in_roots(true)
            .add_root_certificate(Certificate::from_pem(&authority).expect("a certificate"))
            .build()
            .expect("a connector");
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        Raw {
            stream: connector.connect("localhost", socket).expect("a handshake"),
            command: command.into_bytes(),
            reply: vec![0; reply],
        }
    }

    fn exchange(&mut self) -> &[u8] {
        self.stream.write_all(&self.command).expect("write");
        self.stream.read_exact(&mut self.reply).expect("read");
        &self.reply
    }
}

/// The pool moves connections without looking inside, so it should not matter what they are.
fn checkout(dialer: &Dialer) {
    const OPERATIONS: usize = 100_000;
    let tcp = RedisServer::start();
    let tcp = Dialer::url(tcp.url()).map(|dialer| (dialer, tcp)).expect("a URL");
    let pool = |dialer: &Dialer| {
        let pool = Pool::builder(dialer.clone()).max_active(8).build().expect("valid options");
        pool.get().call("PING", ()).expect("PING");
        pool
    };
    let (over_tls, over_tcp) = (pool(dialer), pool(&tcp.0));
    compare(
        "checkout_tls",
        OPERATIONS,
        vec![
            Contender::new("TLS", || time(OPERATIONS, || over_tls.get().close())),
            Contender::new("TCP", || time(OPERATIONS, || over_tcp.get().close())),
        ],
    );
}
