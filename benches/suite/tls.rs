//! TLS against a private redis-server: one command and large values beside a hand-written exchange on
//! native-tls, and the pool's checkout beside one over TCP.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use redigo::native_tls::{Certificate, TlsConnector, TlsStream};
use redigo::{Dialer, Pool};

use crate::certs::cert;
use crate::redis_server::RedisServer;
use crate::report::Report;
use crate::rounds::{rounds, time};

const SHORT: usize = 40;
const LONG: usize = 1 << 20;

pub(crate) fn run(report: &mut Report) {
    let names = ["get_tls", "get_tls_1mb", "set_tls_1mb", "checkout_tls"];
    if !names.iter().any(|name| report.wants(name)) {
        return;
    }
    let file = |name| cert(name).display().to_string();
    let server = RedisServer::builder()
        .tls()
        .args(["--tls-auth-clients", "no", "--tls-cert-file", &file("redis.pem")])
        .args(["--tls-key-file", &file("redis.key"), "--tls-ca-cert-file", &file("ca.pem")])
        .start();
    let dialer = Dialer::url(server.url()).expect("a URL").tls_ca_file(cert("ca.pem"));
    get(report, names[0], &server, &dialer, SHORT, 500);
    get(report, names[1], &server, &dialer, LONG, 10);
    set(report, names[2], &server, &dialer, LONG, 10);
    checkout(report, names[3], &dialer);
}

fn get(
    report: &mut Report,
    name: &str,
    server: &RedisServer,
    dialer: &Dialer,
    length: usize,
    operations: usize,
) {
    report.beside_raw(name, || {
        let mut ours = dialer.dial().expect("a connection");
        ours.call("SET", ("k", vec![b'x'; length])).expect("SET");
        let reply = format!("${length}\r\n").len() + length + 2;
        let mut raw = Raw::connect(server, &["GET", "k"], reply);
        rounds(
            operations,
            vec![
                Box::new(|| time(operations, || ours.call("GET", "k").expect("GET"))),
                Box::new(|| time(operations, || raw.exchange().to_vec())),
            ],
        )
    });
}

fn set(
    report: &mut Report,
    name: &str,
    server: &RedisServer,
    dialer: &Dialer,
    length: usize,
    operations: usize,
) {
    report.beside_raw(name, || {
        let value = "x".repeat(length);
        let mut ours = dialer.dial().expect("a connection");
        let mut raw = Raw::connect(server, &["SET", "k", &value], "+OK\r\n".len());
        rounds(
            operations,
            vec![
                Box::new(|| time(operations, || ours.call("SET", ("k", &value)).expect("SET"))),
                Box::new(|| time(operations, || raw.exchange().to_vec())),
            ],
        )
    });
}

/// An exchange on bare native-tls. The command is encoded beforehand and the reply's length is known.
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

/// The pool does not look into connections, so TLS must not change the cost of a checkout.
fn checkout(report: &mut Report, name: &str, dialer: &Dialer) {
    const OPERATIONS: usize = 50_000;
    let pool = |dialer: &Dialer| {
        let pool = Pool::builder(dialer.clone()).max_active(8).build().expect("valid options");
        pool.get().call("PING", ()).expect("PING");
        pool
    };
    report.beside(name, "on TCP", || {
        let plain = RedisServer::start();
        let (over_tls, over_tcp) = (pool(dialer), pool(&Dialer::url(plain.url()).expect("a URL")));
        rounds(
            OPERATIONS,
            vec![
                Box::new(|| time(OPERATIONS, || over_tls.get().close())),
                Box::new(|| time(OPERATIONS, || over_tcp.get().close())),
            ],
        )
    });
}
