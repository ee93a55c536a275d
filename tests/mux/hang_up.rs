//! A server that hangs up while a command is written: its last reply is in the errors.

use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::thread;

use redigo::{Dialer, Error, Mux, Result, Value};

use crate::support::fake_server::{FakeServer, await_request};
use crate::support::redis_server::RedisServer;
use crate::support::sharing::LONG;
use crate::support::wait::wait_until;

/// More than the buffers between client and server hold.
const LARGE: usize = 16 << 20;

/// Checks that a write that the server refuses fails with the server's reason.
fn assert_reason(dialer: Dialer, reason: &str) {
    for _ in 0..4 {
        let dialer = dialer.clone();
        // Without the PING of a dial by `Mux::new`.
        let mux = Mux::with(move |ctx| dialer.dial_context(ctx));
        let refused = mux.call_timeout(LONG, "SET", ("large", vec![b'x'; LARGE])).unwrap_err();
        let server = refused.as_server().unwrap_or_else(|| panic!("{refused:?}"));
        assert!(server.message().contains(reason), "{refused}");
        let fault = mux.err().expect("the connection has ended");
        assert!(matches!(fault, Error::Io(_)), "{fault:?}");
    }
}

#[test]
fn refused_value_fails_with_the_reason_over_tcp() {
    let server = RedisServer::builder().arg("--proto-max-bulk-len", "1mb").start();
    assert_reason(Dialer::url(server.url()).unwrap(), "invalid bulk length");
}

#[cfg(unix)]
#[test]
fn refused_value_fails_with_the_reason_over_a_unix_socket() {
    let server = RedisServer::builder().arg("--proto-max-bulk-len", "1mb").start();
    assert_reason(Dialer::unix(server.socket_path()), "invalid bulk length");
}

#[cfg(feature = "tls")]
#[test]
fn refused_value_fails_with_the_reason_over_tls() {
    use crate::support::tls_server;
    let server = tls_server::builder("redis");
    let server = server.args(["--tls-auth-clients", "optional", "--proto-max-bulk-len", "1mb"]);
    let server = server.start();
    assert_reason(tls_server::dialer(&server), "invalid bulk length");
}

#[test]
fn unauthenticated_value_fails_with_the_reason() {
    let server = RedisServer::builder().arg("--requirepass", "secret").start();
    assert_reason(Dialer::tcp(server.addr()), "unauthenticated");
}

#[test]
fn all_calls_in_flight_learn_why_the_server_hung_up() {
    let (hang_up, hangs_up) = mpsc::channel::<()>();
    let hangs_up = Mutex::new(hangs_up);
    let server = FakeServer::start(move |mut stream| {
        await_request(&mut stream);
        let _ = hangs_up.lock().unwrap().recv();
        let _ = stream.write_all(b"+first\r\n-ERR Protocol error: too large\r\n");
        // The end of the thread closes the socket. Unread bytes make that a reset.
    });
    for _ in 0..4 {
        let dialer = server.dialer();
        let mux = Mux::with(move |ctx| dialer.dial_context(ctx));
        let outcomes: Vec<Result<Value>> = thread::scope(|scope| {
            let first = scope.spawn(|| mux.call_timeout(LONG, "GET", "first"));
            wait_until("the first call to be written", || mux.stats().writes == 1);
            let large = vec![b'x'; LARGE];
            let second = scope.spawn(|| mux.call_timeout(LONG, "SET", ("second", large)));
            wait_until("the second call to be written", || mux.stats().writes == 2);
            let third = scope.spawn(|| mux.call_timeout(LONG, "GET", "third"));
            wait_until("the third call to be queued", || mux.stats().in_flight == 3);
            hang_up.send(()).unwrap();
            [first, second, third].into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert_eq!(outcomes[0].as_ref().unwrap().as_str(), Some("first"));
        let second = outcomes[1].as_ref().unwrap_err();
        assert!(second.as_server().is_some(), "{second:?}");
        let third = outcomes[2].as_ref().unwrap_err();
        assert!(matches!(third, Error::Io(_)), "{third:?}");
        assert!(third.to_string().contains("Protocol error: too large"), "{third}");
    }
}

#[test]
fn dial_of_a_mux_fails_at_a_server_that_wants_a_password() {
    let server = RedisServer::builder().arg("--requirepass", "secret").start();
    let mux = Mux::new(Dialer::tcp(server.addr()));
    let error = mux.call("GET", "key").unwrap_err().to_string();
    assert!(error.contains("the server requires a password and the dialer has none"), "{error}");
    assert_eq!((mux.stats().failed_dials, mux.stats().lost), (1, 0));
}
