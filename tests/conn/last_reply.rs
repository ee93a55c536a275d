//! The server refuses a command while it is being written, says why, and closes. The reason is in
//! the socket's buffer; it belongs into the error.

use redigo::{Conn, Dialer, Error, Result};

use crate::support::redis_server::RedisServer;
use crate::support::wait::promptly;

const REFUSALS: [(&str, &str, &str); 2] = [
    ("--proto-max-bulk-len", "1mb", "ERR Protocol error: invalid bulk length"),
    ("--requirepass", "pw", "ERR Protocol error: unauthenticated bulk length"),
];

type Write = fn(&mut Conn, &[u8]) -> Result<()>;

const WRITES: [(&str, Write); 5] = [
    ("call", |conn, big| conn.call("SET", ("big", big)).map(drop)),
    ("query", |conn, big| conn.query::<()>("SET", ("big", big))),
    ("send", |conn, big| conn.send("SET", ("big", big)).and_then(|()| conn.flush())),
    ("pipeline", |conn, big| {
        conn.pipeline().cmd("SET", ("big", big)).cmd("PING", ()).run().map(drop)
    }),
    ("pending", |conn, big| {
        conn.send("PING", ())?;
        conn.flush()?;
        conn.call("SET", ("big", big)).map(drop)
    }),
];

fn check(how: &str, dialer: &Dialer, reason: &str) {
    let big = vec![b'x'; 32 << 20];
    for (way, write) in WRITES {
        let mut conn = dialer.dial().unwrap();
        let error = promptly("write", || write(&mut conn, &big)).unwrap_err();
        assert!(error.to_string().contains(reason), "{way} over {how}: {error}");
        assert!(matches!(error, Error::Io(_)) && error.is_fatal(), "{way} over {how}");
        assert_eq!(conn.err().unwrap().to_string(), error.to_string(), "{way} over {how}");
    }
}

#[test]
fn refused_write_reports_the_reason_over_tcp_and_unix() {
    for (option, value, reason) in REFUSALS {
        let server = RedisServer::builder().arg(option, value).start();
        check("TCP", &Dialer::tcp(server.addr()), reason);
        #[cfg(unix)]
        check("a Unix socket", &Dialer::unix(server.socket_path()), reason);
    }
}

#[cfg(feature = "tls")]
#[test]
fn refused_write_reports_the_reason_over_tls() {
    use crate::support::tls_server::{builder, dialer};

    for (option, value, reason) in REFUSALS {
        let server = builder("redis").arg(option, value).arg("--tls-auth-clients", "no").start();
        // The URL has the password, so it is left out.
        let dialer = dialer(&server).password("");
        check("TLS", &dialer, reason);
    }
}
