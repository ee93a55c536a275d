//! TLS errors: their kinds, their texts, and their timing.

use std::error::Error as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use redigo::native_tls::Protocol;
use redigo::{Context, Dialer, Error, TimeoutKind, TlsErrorKind};

use crate::support::certs::cert;
use crate::support::fake_server::{FakeServer, await_request, hold};
use crate::support::redis_server::RedisServer;
use crate::support::tls_server::{
    self, VERSIONS, builder, dialer, fake, fake_dialer, server, strict_server,
};
use crate::support::wait::{LONG, SHORT, promptly, wait_until};

/// Returns the kind and the text of a TLS error.
#[track_caller]
fn tls_error<T: std::fmt::Debug>(outcome: redigo::Result<T>) -> (TlsErrorKind, String) {
    match outcome.unwrap_err() {
        Error::Tls(error) => {
            assert!(Error::Tls(error.clone()).is_fatal());
            (error.kind(), error.to_string())
        }
        other => panic!("not a TLS error: {other:?}"),
    }
}

/// A dialer for the strict server without any set-up after the handshake.
fn bare(version: Protocol) -> Dialer {
    Dialer::tcp(strict_server(version).addr()).use_tls(true).tls_ca_file(cert("ca.pem"))
}

// Certificates

#[test]
fn each_fault_of_a_server_certificate_has_a_kind() {
    let serving = |name: &str| builder(name).arg("--tls-auth-clients", "no").start();
    let ours = server(Protocol::Tlsv13);
    let (expired, other) = (serving("expired"), serving("other"));
    let strangers = dialer(ours).tls_ca_file(cert("strangers/ca.pem"));
    let systems = Dialer::url(ours.url()).unwrap();
    let unknown = "was issued by an authority that the client does not trust";
    for (dialer, kind, words) in [
        (strangers, TlsErrorKind::UnknownAuthority, unknown),
        (systems, TlsErrorKind::UnknownAuthority, unknown),
        (dialer(&expired), TlsErrorKind::Expired, "has expired"),
        (dialer(&other), TlsErrorKind::WrongHost, "is for another name"),
        (
            dialer(ours).tls_server_name("redis.example"),
            TlsErrorKind::WrongHost,
            "is for another name",
        ),
        // A certificate only for clients.
        (dialer(&serving("client")), TlsErrorKind::InvalidCertificate, "is not valid: "),
    ] {
        let (found, text) = tls_error(dialer.dial());
        assert_eq!(found, kind, "{text}");
        let whole = format!("the server's certificate {words}");
        assert!(text.contains(&whole), "{text}");
        assert!(text.starts_with("127.0.0.1:"), "{text}");
        let name = if text.contains("redis.example") { "TLS with redis.example" } else { "TLS" };
        assert!(text.contains(&format!(": {name}: ")), "{text}");
        let cause = dialer.dial().unwrap_err();
        let chain = cause.source().map(ToString::to_string).unwrap_or_default();
        assert!(text.contains("verify failed") || chain.contains("verify failed"), "{chain}");
    }
}

/// TLS 1.2 reports the error in the handshake, 1.3 at the first reply after it.
#[test]
fn each_fault_of_a_client_certificate_has_a_kind() {
    for version in VERSIONS {
        let none = bare(version);
        let with = |name: &str| {
            let file = |extension| cert(&format!("{name}.{extension}"));
            none.clone().tls_client_identity(file("pem"), file("key"))
        };
        for (dialer, kind, words) in [
            (&none, TlsErrorKind::ClientCertificateRequired, "requires a client certificate"),
            (
                &with("strangers/client"),
                TlsErrorKind::ClientCertificateRejected,
                "does not accept the client certificate",
            ),
            (
                &with("expired_client"),
                TlsErrorKind::ClientCertificateRejected,
                "does not accept the client certificate",
            ),
        ] {
            // With a command of the set-up, and with a command long after the dial.
            let in_dial =
                promptly("a dial", || tls_error(dialer.clone().password("sesame").dial()));
            let later = promptly("a dial and a call", || {
                tls_error(dialer.dial().and_then(|mut conn| {
                    thread::sleep(SHORT);
                    conn.call("PING", ())
                }))
            });
            for (found, text) in [in_dial, later] {
                assert_eq!(found, kind, "{text}");
                assert!(text.contains(words), "{text}");
            }
        }
    }
}

/// The second write fails. The reason is in the bytes received before.
#[test]
fn a_failed_write_reports_the_tls_reason() {
    for _ in 0..10 {
        let Ok(mut conn) = bare(Protocol::Tlsv13).dial() else {
            unreachable!("TLS 1.3 does not report it in the handshake")
        };
        let mut outcome = Ok(());
        wait_until("a write fails", || {
            outcome = conn.send("PING", ()).and_then(|()| conn.flush());
            outcome.is_err()
        });
        assert_eq!(tls_error(outcome).0, TlsErrorKind::ClientCertificateRequired);
    }
}

/// The system's authorities are read once in a process. So this test runs itself in a second
/// process in which the test's authority is the system's.
#[test]
#[cfg(target_os = "linux")]
fn system_authorities_apply_only_without_a_file() {
    const SERVER: &str = "REDIGO_TEST_TLS_SERVER";
    const STRANGERS: &str = "REDIGO_TEST_TLS_STRANGERS";
    let Ok(url) = std::env::var(SERVER) else {
        let program = std::env::current_exe().unwrap();
        let mut again = std::process::Command::new(program);
        again.args(["--exact", "faults::system_authorities_apply_only_without_a_file"]);
        again.env(SERVER, server(Protocol::Tlsv13).url());
        again.env(STRANGERS, cert("strangers/ca.pem")).env("SSL_CERT_FILE", cert("ca.pem"));
        let outcome = again.output().unwrap();
        let output = String::from_utf8_lossy(&outcome.stdout);
        assert!(outcome.status.success() && output.contains("1 passed"), "{output}");
        return;
    };
    let dialer = Dialer::url(url).unwrap();
    dialer.dial().unwrap().call("PING", ()).unwrap();
    let others = dialer.tls_ca_file(std::env::var_os(STRANGERS).unwrap());
    assert_eq!(tls_error(others.dial()).0, TlsErrorKind::UnknownAuthority);
}

// The handshake

/// So the server's log has the reason too.
#[test]
fn an_untrusted_server_receives_an_alert() {
    let (hears, heard) = std::sync::mpsc::channel();
    let acceptor = tls_server::acceptor(Protocol::Tlsv12);
    let server = FakeServer::start(move |stream| {
        let error = acceptor.accept(stream).unwrap_err();
        hears.send(error.to_string()).unwrap();
    });
    let dialer = server.dialer().use_tls(true).tls_ca_file(cert("strangers/ca.pem"));
    assert_eq!(tls_error(dialer.dial()).0, TlsErrorKind::UnknownAuthority);
    let heard = heard.recv_timeout(LONG).unwrap();
    assert!(heard.contains("alert unknown ca"), "{heard}");
}

#[test]
fn a_plain_redis_port_times_the_handshake_out() {
    let dialer = Dialer::tcp(RedisServer::shared().addr()).use_tls(true);
    let dialer = dialer.tls_handshake_timeout(SHORT);
    let error = promptly("a handshake with a plain server", || dialer.dial()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::TlsHandshake));
}

#[test]
fn a_plaintext_answer_is_quoted() {
    for answer in ["-ERR unknown command\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0"] {
        for server in [FakeServer::saying(answer), FakeServer::closing_after(answer)] {
            let dialer = server.dialer().use_tls(true);
            let error = promptly("the handshake", || dialer.dial()).unwrap_err();
            assert!(error.source().is_none());
            let (kind, text) = tls_error::<()>(Err(error));
            let answer = answer.escape_debug().to_string().replace("\\0", "\\x00");
            let why = format!("TLS: the peer does not speak TLS: it sent \"{answer}\"");
            assert_eq!(text, format!("{}: {why}", server.address()));
            assert_eq!(kind, TlsErrorKind::NotTls);
        }
    }
}

#[test]
fn garbage_in_the_handshake_fails_the_dial() {
    let records: [&[u8]; 6] = [
        // Handshake records: nonsense, empty, too long, another version. A truncated alert, an
        // unknown alert.
        b"\x16\x03\x03\x00\x04\xff\xff\xff\xff",
        b"\x16\x03\x03\x00\x00\x16\x03\x03\x00\x00",
        b"\x16\x03\x03\xff\xff",
        b"\x16\x63\x63\x00\x01\x00",
        b"\x15\x03\x03\x00\x01\x02",
        b"\x15\x03\x03\x00\x02\x02\xee",
    ];
    for record in records {
        let server = FakeServer::saying(record);
        let dialer = server.dialer().use_tls(true).tls_handshake_timeout(Duration::from_secs(2));
        let error = promptly("the handshake", || dialer.dial()).unwrap_err();
        let waits = error.timeout_kind() == Some(TimeoutKind::TlsHandshake);
        assert!(waits || matches!(error, Error::Tls(_)), "{record:x?}: {error:?}");
        let server = FakeServer::closing_after(record);
        let error = promptly("the handshake", || server.dialer().use_tls(true).dial());
        assert!(matches!(error.as_ref(), Err(Error::Tls(_))), "{record:x?}: {error:?}");
    }
}

#[test]
fn a_handshake_cut_by_the_peer_is_closed() {
    let immediately = FakeServer::start(drop);
    let after_the_greeting = FakeServer::closing_after("");
    let reset = FakeServer::start(|stream| {
        // Closing with unread bytes sends a reset.
        let _ = stream.peek(&mut [0]);
    });
    for server in [immediately, after_the_greeting, reset] {
        let dialer = server.dialer().use_tls(true);
        let (kind, text) = promptly("the handshake", || tls_error(dialer.dial()));
        assert_eq!(kind, TlsErrorKind::Closed);
        let end = "the peer closed the connection during the handshake";
        assert_eq!(text, format!("{}: TLS: {end}", server.address()));
    }
}

/// The server sends nothing, reads nothing, or sends so slowly that each wait is short.
#[test]
fn a_stalled_handshake_times_out() {
    let dripping = || {
        FakeServer::start(|mut stream| {
            await_request(&mut stream);
            // A record of 16 KiB, byte by byte.
            let mut sent = stream.write_all(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc");
            while sent.is_ok() {
                thread::sleep(Duration::from_millis(5));
                sent = stream.write_all(&[0]);
            }
        })
    };
    for server in [FakeServer::silent(), FakeServer::deaf(), dripping()] {
        let dialer = server.dialer().use_tls(true);
        let own = dialer.clone().tls_handshake_timeout(SHORT);
        let off = dialer.clone().tls_handshake_timeout(None).connect_timeout(SHORT);
        let both = dialer.clone().connect_timeout(SHORT);
        for dialer in [own, off, both] {
            let error = promptly("the handshake", || dialer.dial()).unwrap_err();
            assert_eq!(error.timeout_kind(), Some(TimeoutKind::TlsHandshake));
        }
        let ctx = Context::background().with_timeout(SHORT);
        let error = promptly("a dial with a deadline", || dialer.dial_context(&ctx)).unwrap_err();
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));

        for limited in [true, false] {
            let (ctx, cancel) = Context::background().with_cancel();
            let mut dialer = dialer.clone();
            if !limited {
                dialer = dialer.tls_handshake_timeout(None).connect_timeout(None);
            }
            let dialing = thread::spawn(move || dialer.dial_context(&ctx).map(drop));
            thread::sleep(SHORT);
            cancel.cancel();
            let error = promptly("a canceled dial", || dialing.join().unwrap());
            assert!(error.unwrap_err().is_canceled());
        }
    }
}

// After the handshake

/// A tunnel to a server. The test can inject bytes.
struct Tunnel {
    listener: FakeServer,
    clients: Arc<Mutex<Vec<TcpStream>>>,
    /// Sends replies byte by byte, with a pause after each byte.
    drips: Arc<AtomicBool>,
}

impl Tunnel {
    fn to(address: String) -> Tunnel {
        let (clients, drips): (Arc<Mutex<Vec<_>>>, Arc<AtomicBool>) = Default::default();
        let (known, slowly) = (Arc::clone(&clients), Arc::clone(&drips));
        let listener = FakeServer::start(move |mut client| {
            let mut server = TcpStream::connect(&address).unwrap();
            known.lock().unwrap().push(client.try_clone().unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = server.read(&mut buffer) {
                let slowly = slowly.load(Ordering::SeqCst);
                let pieces = buffer[..count].chunks(if slowly { 1 } else { count });
                for piece in pieces {
                    if client.write_all(piece).is_err() {
                        let _ = server.shutdown(Shutdown::Both);
                        return;
                    }
                    if slowly {
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            }
            let _ = client.shutdown(Shutdown::Both);
        });
        Tunnel { listener, clients, drips }
    }

    fn dialer(&self) -> Dialer {
        fake_dialer(&self.listener)
    }

    /// Sends bytes to the last client.
    fn inject(&self, bytes: &[u8]) {
        self.clients.lock().unwrap().last_mut().unwrap().write_all(bytes).unwrap();
    }
}

#[test]
fn garbage_after_the_handshake_ends_the_connection() {
    for version in VERSIONS {
        let tunnel = Tunnel::to(server(version).addr());
        let garbage: [&[u8]; 5] = [
            b"-ERR in plain text\r\n",
            // Records that are not encrypted: data, an alert, a handshake, another version.
            b"\x17\x03\x03\x00\x30________________________________________________",
            b"\x15\x03\x03\x00\x02\x02\x28",
            b"\x16\x03\x03\x00\x04\x00\x00\x00\x00",
            b"\x17\x03\x03\xff\xff",
        ];
        for bytes in garbage {
            let mut conn = tunnel.dialer().read_timeout(LONG).dial().unwrap();
            conn.call("PING", ()).unwrap();
            assert!(conn.is_alive());
            tunnel.inject(bytes);
            wait_until("the garbage is seen", || !conn.is_alive());
            let error = promptly("a call", || conn.call("PING", ())).unwrap_err();
            assert!(matches!(error, Error::Tls(_)), "{}: {error:?}", bytes.escape_ascii());
            assert_eq!(conn.err().unwrap().to_string(), error.to_string());
            let expected = format!("{}: TLS: failed: ", tunnel.listener.address());
            assert!(error.to_string().starts_with(&expected), "{error}");

            // The same for a call that waits.
            let mut conn = tunnel.dialer().dial().unwrap();
            conn.call("PING", ()).unwrap();
            thread::scope(|scope| {
                let waiting = scope.spawn(move || conn.call("BLPOP", ("none", 0)));
                thread::sleep(SHORT);
                tunnel.inject(bytes);
                let error = promptly("a call", || waiting.join().unwrap()).unwrap_err();
                assert!(matches!(error, Error::Tls(_)), "{}: {error:?}", bytes.escape_ascii());
            });
        }
    }
}

/// A deadline applies to the whole reply, even if a record arrives in small pieces.
#[test]
fn a_deadline_applies_to_slow_records() {
    for version in VERSIONS {
        let tunnel = Tunnel::to(server(version).addr());
        let (mut calling, mut polling) =
            (tunnel.dialer().dial().unwrap(), tunnel.dialer().dial().unwrap());
        // Consumes the session tickets of TLS 1.3.
        for conn in [&mut calling, &mut polling] {
            conn.call("PING", ()).unwrap();
        }
        tunnel.drips.store(true, Ordering::SeqCst);
        let value = "v".repeat(1 << 20);
        let late = promptly("a call", || calling.call_timeout(4 * SHORT, "ECHO", &value));
        assert_eq!(late.unwrap_err().timeout_kind(), Some(TimeoutKind::Read));
        // The shortest record takes longer, and a part of a record is not a reply.
        polling.send("PING", ()).and_then(|()| polling.flush()).unwrap();
        assert!(promptly("a poll", || polling.poll(4 * SHORT)).unwrap().is_none());
        assert_eq!(
            promptly("a poll", || polling.poll(LONG)).unwrap().unwrap().as_str(),
            Some("PONG")
        );
    }
}

#[test]
fn a_write_to_a_server_that_does_not_read_times_out() {
    for limit in [Some(4 * SHORT), None] {
        let server = fake(Protocol::Tlsv12, |stream| {
            // Keeps the connection open and reads nothing.
            thread::sleep(LONG);
            drop(stream);
        });
        let mut conn = fake_dialer(&server).write_timeout(limit).dial().unwrap();
        let value = "v".repeat(32 << 20);
        let ctx = Context::background().with_timeout(4 * SHORT);
        let error = promptly("a write", || match limit {
            Some(_) => conn.call("SET", ("k", &value)),
            None => conn.call_context(&ctx, "SET", ("k", &value)),
        });
        let kind = if limit.is_some() { TimeoutKind::Write } else { TimeoutKind::Context };
        assert_eq!(error.unwrap_err().timeout_kind(), Some(kind));
    }
}

#[test]
fn a_server_that_closes_is_reported() {
    // With and without `close_notify`, between replies and within a reply.
    for (answer, notify) in
        [("", true), ("", false), ("$100\r\nhalf", true), ("$100\r\nhalf", false)]
    {
        let server = fake(Protocol::Tlsv12, move |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
            if notify {
                let _ = stream.shutdown();
            }
        });
        let mut conn = fake_dialer(&server).dial().unwrap();
        let error = promptly("a call", || conn.call("PING", ())).unwrap_err();
        let place = if answer.is_empty() { "" } else { " in the middle of a reply" };
        let told = error.to_string();
        let (address, cause) = told.split_once(": ").unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{told}");
        assert_eq!(cause, format!("the server closed the connection{place}"));

        let server = fake(Protocol::Tlsv12, move |mut stream| {
            if notify {
                let _ = stream.shutdown();
                hold(stream.get_ref().try_clone().unwrap());
            }
        });
        let conn = fake_dialer(&server).dial().unwrap();
        wait_until("the close is seen", || !conn.is_alive());
    }
}

/// A write that times out within a record continues from there: the mux keeps its connection, and
/// the server gets every byte once.
#[test]
fn a_write_continues_after_a_deadline() {
    let value = "v".repeat(16 << 20);
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n", value.len());
    let ping = "*1\r\n$4\r\nPING\r\n";
    let (first, all) = (set.len(), set.len() + ping.len());

    let (go, goes) = std::sync::mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let received: Arc<Mutex<Vec<u8>>> = Arc::default();
    let receives = Arc::clone(&received);
    let server = fake(Protocol::Tlsv12, move |mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        let _ = stream.read(&mut buffer);
        stream.write_all(b"+OK\r\n").unwrap();
        // Reads nothing more until the first caller has timed out.
        let _ = goes.lock().unwrap().recv();
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut receives = receives.lock().unwrap();
            let before = receives.len();
            receives.extend_from_slice(&buffer[..count]);
            // On a very slow machine the time limit passes before the first byte.
            let ends = if receives.starts_with(b"*3") { [first, all] } else { [ping.len(); 2] };
            if ends.iter().any(|&end| before < end && receives.len() >= end) {
                let answers = if before < ends[0] && receives.len() >= all { 2 } else { 1 };
                stream.write_all("+OK\r\n".repeat(answers).as_bytes()).unwrap();
            }
        }
    });
    // `Mux::new` would send a PING first.
    let dialer = fake_dialer(&server);
    let mux = redigo::Mux::with(move |ctx| dialer.dial_context(ctx));
    promptly("a dial", || mux.call("PING", ())).unwrap();
    let late = promptly("a call", || mux.call_timeout(10 * SHORT, "SET", ("k", &value)));
    assert!(late.unwrap_err().is_timeout());
    drop(go);
    let next = promptly("the next call", || mux.call("PING", ())).unwrap();
    assert_eq!(next.as_str(), Some("OK"));
    let received = received.lock().unwrap();
    let both = format!("{set}{ping}").into_bytes();
    assert!(*received == both || *received == ping.as_bytes(), "{} bytes", received.len());
}
