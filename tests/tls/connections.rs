//! TLS on a real server, in versions 1.2 and 1.3: all features of a TCP connection.
//!
//! Tests with an R number are redigo's dial tests.

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use redigo::native_tls::{Certificate, Protocol, TlsConnector};
use redigo::{
    Conn, Context, Dialer, Mux, Pool, PubSubConn, PubSubEvent, Stream, TimeoutKind, TlsErrorKind,
    Value, check, reply,
};

use crate::support::certs::{cert, folder};
use crate::support::fake_server::FakeServer;
use crate::support::redis_server::RedisServer;
use crate::support::streams::Tapped;
use crate::support::threads::join;
use crate::support::tls_server::{VERSIONS, builder, conn, dialer, server, strict_server};
use crate::support::wait::{LONG, SHORT, promptly, wait_until};

fn ping(conn: &mut Conn) -> String {
    reply::string(conn.call("PING", ())).unwrap()
}

fn id(conn: &mut Conn) -> i64 {
    conn.query("CLIENT", "ID").unwrap()
}

/// Returns the kind of a TLS error.
#[track_caller]
fn kind<T: std::fmt::Debug>(outcome: redigo::Result<T>) -> TlsErrorKind {
    match outcome.unwrap_err() {
        redigo::Error::Tls(error) => error.kind(),
        other => panic!("not a TLS error: {other:?}"),
    }
}

// Dialing

#[test]
fn r096_a_url_enables_tls() {
    for version in VERSIONS {
        let port = server(version).port();
        for scheme in ["rediss", "RedisS", "valkeys"] {
            let url = format!("{scheme}://localhost:{port}/3");
            let dialer = Dialer::url(url).unwrap().tls_ca_file(cert("ca.pem"));
            let mut conn = dialer.client_name("me").dial().unwrap();
            assert_eq!(ping(&mut conn), "PONG");
            let info: String = conn.query("CLIENT", "INFO").unwrap();
            assert!(info.contains(" db=3 ") && info.contains(" name=me "), "{info}");
        }
    }
}

#[test]
fn r097_an_option_enables_tls() {
    for version in VERSIONS {
        let dialer = Dialer::tcp(server(version).addr()).use_tls(true);
        assert_eq!(ping(&mut dialer.tls_ca_file(cert("ca.pem")).dial().unwrap()), "PONG");
    }
    // An option set after the URL overrides it.
    let plain = Dialer::url(format!("rediss://{}", RedisServer::shared().addr())).unwrap();
    assert_eq!(ping(&mut plain.use_tls(false).dial().unwrap()), "PONG");
}

#[test]
fn r098_skip_verify_accepts_any_certificate() {
    let expired = builder("expired").arg("--tls-auth-clients", "no").start();
    let dialer = Dialer::url(expired.url()).unwrap();
    assert_eq!(kind(dialer.dial()), TlsErrorKind::UnknownAuthority);
    assert_eq!(ping(&mut dialer.tls_skip_verify(true).dial().unwrap()), "PONG");
}

#[test]
fn r099_an_endless_handshake_times_out() {
    let silent = FakeServer::silent();
    let dialer = silent.dialer().use_tls(true).tls_handshake_timeout(Duration::from_millis(1));
    let error = promptly("the handshake", || dialer.dial()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::TlsHandshake));
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: timed out after ", silent.address())), "{text}");
    let hint = "in the TLS handshake (a Redis port without TLS? then use redis://)";
    assert!(text.ends_with(hint), "{text}");
}

#[test]
fn mutual_tls_works_with_every_form_of_identity() {
    for version in VERSIONS {
        let dialer = dialer(strict_server(version));
        let pem = dialer.clone().tls_client_identity(cert("client.pem"), cert("client.key"));
        let p12 = dialer.clone().tls_client_identity_pkcs12(cert("client.p12"), "sesame");
        for dialer in [pem, p12] {
            assert_eq!(ping(&mut dialer.dial().unwrap()), "PONG");
        }
        let identity = redigo::native_tls::Identity::from_pkcs8(
            &fs::read(cert("client.pem")).unwrap(),
            &fs::read(cert("client.key")).unwrap(),
        );
        let authority = Certificate::from_pem(&fs::read(cert("ca.pem")).unwrap()).unwrap();
        let connector = TlsConnector::builder()
            .add_root_certificate(authority)
            .identity(identity.unwrap())
            .build()
            .unwrap();
        let url = strict_server(version).url();
        let mut conn = Dialer::url(url).unwrap().tls_connector(connector).dial().unwrap();
        assert_eq!(ping(&mut conn), "PONG");
    }
}

#[test]
fn a_key_file_can_begin_with_other_text() {
    let commented = folder().path().join("commented.key");
    let key = fs::read_to_string(cert("client.key")).unwrap();
    fs::write(&commented, format!("Bag Attributes\n    friendlyName: client\n{key}")).unwrap();
    let dialer = dialer(strict_server(Protocol::Tlsv13));
    let dialer = dialer.tls_client_identity(cert("client.pem"), commented);
    assert_eq!(ping(&mut dialer.dial().unwrap()), "PONG");
}

#[test]
fn tls_server_name_replaces_the_host() {
    let ghost = builder("ghost").arg("--tls-auth-clients", "no").start();
    let dialer = dialer(&ghost);
    assert_eq!(kind(dialer.dial()), TlsErrorKind::WrongHost);
    let dialer = dialer.tls_server_name("only.by.name");
    assert_eq!(ping(&mut dialer.dial().unwrap()), "PONG");
    assert_eq!(kind(dialer.tls_server_name("other.name").dial()), TlsErrorKind::WrongHost);
}

/// A fully qualified name ends with a dot, which no certificate has.
#[test]
fn a_final_dot_is_not_a_part_of_the_tls_name() {
    let port = server(Protocol::Tlsv13).port();
    let dialer = Dialer::url(format!("rediss://localhost.:{port}")).unwrap();
    let dialer = dialer.tls_ca_file(cert("ca.pem"));
    // The resolver can refuse the name, so the test connects itself.
    let dialer = dialer.connector(move |_, address| {
        assert_eq!(address.to_string(), format!("localhost.:{port}"));
        Ok(Box::new(TcpStream::connect(("127.0.0.1", port))?) as Box<dyn Stream>)
    });
    assert_eq!(ping(&mut dialer.dial().unwrap()), "PONG");
    let named = dialer.tls_server_name("localhost.");
    assert_eq!(ping(&mut named.dial().unwrap()), "PONG");
}

#[test]
fn the_server_receives_the_name() {
    let (sent, greeting) = std::sync::mpsc::channel();
    let server = FakeServer::start(move |mut stream| {
        let mut bytes = vec![0; 4096];
        let count = std::io::Read::read(&mut stream, &mut bytes).unwrap();
        bytes.truncate(count);
        let _ = sent.send(bytes);
    });
    let dialer = server.dialer().use_tls(true);
    let has = |bytes: Vec<u8>, name: &str| {
        bytes.windows(name.len()).any(|window| window == name.as_bytes())
    };
    dialer.clone().tls_server_name("redis.example").dial().unwrap_err();
    assert!(has(greeting.recv().unwrap(), "redis.example"));
    // An IP address is not sent as a name.
    dialer.dial().unwrap_err();
    assert!(!has(greeting.recv().unwrap(), "127.0.0.1"));
}

#[test]
fn the_minimum_version_is_enforced() {
    let old = dialer(server(Protocol::Tlsv12));
    assert_eq!(kind(old.tls_min_version(Protocol::Tlsv13).dial()), TlsErrorKind::Version);
    let new = dialer(server(Protocol::Tlsv13));
    assert_eq!(ping(&mut new.tls_min_version(Protocol::Tlsv13).dial().unwrap()), "PONG");
}

#[test]
fn tls_runs_over_a_custom_stream() {
    for version in VERSIONS {
        // With one byte per read, a record arrives in many pieces.
        for (piece, length) in [(1, 3_000), (1_000, 300_000)] {
            let address = server(version).addr();
            let dialer = dialer(server(version)).connector(move |_, _| {
                let stream = TcpStream::connect(&address)?;
                Ok(Box::new(Tapped::in_pieces(stream, piece)) as Box<dyn Stream>)
            });
            let mut conn = dialer.dial().unwrap();
            assert_eq!(ping(&mut conn), "PONG");
            assert!(conn.is_alive());
            let value = "v".repeat(length);
            assert_eq!(conn.query::<String>("ECHO", &value).unwrap(), value);
        }
    }
}

#[test]
fn tls_over_a_unix_socket_needs_a_name() {
    // Stands for a TLS proxy behind a Unix socket: a tunnel to the server's port.
    let address = server(Protocol::Tlsv13).addr();
    let tunnel = Dialer::unix("/nonexistent").use_tls(true).tls_ca_file(cert("ca.pem"));
    let tunnel = tunnel
        .connector(move |_, _| Ok(Box::new(TcpStream::connect(&address)?) as Box<dyn Stream>));
    let nameless = tunnel.dial().unwrap_err().to_string();
    assert!(nameless.contains("tls_server_name"), "{nameless}");
    assert_eq!(ping(&mut tunnel.tls_server_name("localhost").dial().unwrap()), "PONG");
}

#[test]
fn the_next_dial_uses_renewed_files() {
    let folder = folder().path().join("renewed");
    fs::create_dir(&folder).unwrap();
    // Files written in quick succession can have equal times, so each gets a distinct time.
    let mut time = std::time::SystemTime::now();
    let mut put = |from: &str, to: &str| {
        fs::copy(cert(from), folder.join(to)).unwrap();
        let file = fs::File::options().append(true).open(folder.join(to)).unwrap();
        time += LONG;
        file.set_modified(time).unwrap();
    };
    put("strangers/client.pem", "client.pem");
    put("strangers/client.key", "client.key");
    let dialer = dialer(strict_server(Protocol::Tlsv12))
        .tls_client_identity(folder.join("client.pem"), folder.join("client.key"));
    assert_eq!(kind(dialer.dial()), TlsErrorKind::ClientCertificateRejected);
    put("client.pem", "client.pem");
    // The key does not belong to the new certificate, so the previous pair remains in use.
    assert_eq!(kind(dialer.dial()), TlsErrorKind::ClientCertificateRejected);
    put("client.key", "client.key");
    assert_eq!(ping(&mut dialer.dial().unwrap()), "PONG");
}

// A connection

#[test]
fn a_value_of_64_mib_is_unchanged() {
    for version in VERSIONS {
        let mut conn = conn(version);
        let value: Vec<u8> = (0..64 << 20).map(|at: usize| ((at * 31) >> 7) as u8).collect();
        conn.call("SET", ("64 MiB", &value)).unwrap();
        assert!(conn.query::<Vec<u8>>("GET", "64 MiB").unwrap() == value);
        conn.call("DEL", "64 MiB").unwrap();
        assert!(conn.is_alive());
    }
}

#[test]
fn values_around_the_length_of_a_record_are_unchanged() {
    for version in VERSIONS {
        let mut conn = conn(version);
        for length in [1, 16_000, 16_383, 16_384, 16_385, 32_768, 65_535, 65_537, 262_145] {
            let value = "v".repeat(length);
            assert_eq!(conn.query::<String>("ECHO", &value).unwrap(), value, "{length}");
        }
    }
}

/// The server stops reading while its replies are not read, so this ends only if one thread reads
/// while the other writes.
#[test]
fn a_thread_sends_beyond_all_buffers_while_another_receives() {
    const COMMANDS: usize = 3_000;
    for version in VERSIONS {
        let mut conn = conn(version);
        let value = "v".repeat(10_000);
        let (mut sender, mut receiver) = conn.split();
        promptly("a long exchange", || {
            thread::scope(|scope| {
                let received = scope.spawn(move || {
                    for _ in 0..COMMANDS {
                        assert_eq!(receiver.receive().unwrap().as_bytes().unwrap().len(), 10_000);
                    }
                });
                for _ in 0..COMMANDS {
                    sender.send("ECHO", &value).unwrap();
                }
                sender.flush().unwrap();
                received.join().unwrap();
            });
        });
        assert_eq!(ping(&mut conn), "PONG");
    }
}

#[test]
fn a_thread_sends_while_another_waits() {
    for version in VERSIONS {
        let mut conn = conn(version);
        let (mut sender, mut receiver) = conn.split();
        thread::scope(|scope| {
            let (waits, is_waiting) = std::sync::mpsc::channel();
            let waiting = scope.spawn(move || {
                waits.send(()).unwrap();
                receiver.receive()
            });
            is_waiting.recv().unwrap();
            // Usually enough for the other thread to block in its read. The test does not need it.
            thread::sleep(SHORT);
            promptly("a send", || sender.send("PING", ()).and_then(|()| sender.flush())).unwrap();
            assert_eq!(waiting.join().unwrap().unwrap().as_str(), Some("PONG"));
        });
    }
}

#[test]
fn a_pipeline_runs_over_tls() {
    for version in VERSIONS {
        let mut conn = conn(version);
        let value = "v".repeat(1000);
        let mut pipeline = conn.pipeline();
        for _ in 0..5_000 {
            pipeline.push("ECHO", &value);
        }
        let replies = promptly("a pipeline", || pipeline.run()).unwrap();
        assert_eq!(replies.len(), 5_000);
        assert!(replies.iter().all(|reply| matches!(reply, Ok(Value::Bulk(v)) if v.len() == 1000)));
    }
}

#[test]
fn timeouts_and_canceling_work_over_tls() {
    for version in VERSIONS {
        let begin = || dialer(server(version)).dial().unwrap();
        let blocked = |conn: &mut Conn, call: &dyn Fn(&mut Conn) -> redigo::Result<Value>| {
            let error = promptly("a call with a limit", || call(conn)).unwrap_err();
            assert_eq!(conn.err().unwrap().to_string(), error.to_string());
            error
        };
        let late = blocked(&mut begin(), &|conn| conn.call_timeout(SHORT, "BLPOP", ("none", 0)));
        assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
        let ctx = Context::background().with_timeout(SHORT);
        let late = blocked(&mut begin(), &|conn| conn.call_context(&ctx, "BLPOP", ("none", 0)));
        assert_eq!(late.timeout_kind(), Some(TimeoutKind::Context));

        let (ctx, cancel) = Context::background().with_cancel();
        let mut waiting = begin();
        let thread = thread::spawn(move || waiting.call_context(&ctx, "BLPOP", ("none", 0)));
        thread::sleep(SHORT);
        cancel.cancel();
        assert!(join(thread).unwrap_err().is_canceled());

        let mut waiting = begin();
        let handle = waiting.shutdown_handle();
        let thread = thread::spawn(move || waiting.call("BLPOP", ("none", 0)));
        thread::sleep(SHORT);
        handle.shutdown();
        assert!(join(thread).unwrap_err().is_canceled());
    }
}

/// A TLS 1.3 server sends session tickets after the handshake. They are not replies.
#[test]
fn a_poll_ignores_session_tickets() {
    for version in VERSIONS {
        let mut conn = conn(version);
        assert!(conn.poll(Duration::ZERO).unwrap().is_none());
        assert!(conn.poll(SHORT).unwrap().is_none());
        assert!(conn.poll(Duration::ZERO).unwrap().is_none());
        conn.send("PING", ()).unwrap();
        conn.flush().unwrap();
        assert_eq!(conn.poll(LONG).unwrap().unwrap().as_str(), Some("PONG"));
        assert!(conn.poll(SHORT).unwrap().is_none());

        // A poll without waiting also finds the reply once it has arrived.
        conn.send("ECHO", "v".repeat(50_000)).unwrap();
        conn.flush().unwrap();
        let mut found = None;
        wait_until("the reply", || {
            found = conn.poll(Duration::ZERO).unwrap();
            found.is_some()
        });
        assert_eq!(found.unwrap().as_bytes().unwrap().len(), 50_000);
        assert_eq!(ping(&mut conn), "PONG");
    }
}

/// Two replies are in one record: the second is in the session and not on the socket.
#[test]
fn a_poll_sees_decrypted_unread_bytes() {
    for version in VERSIONS {
        let mut conn = conn(version);
        let long = "v".repeat(20_000);
        conn.call("SET", ("long", &long)).unwrap();
        for _ in 0..2 {
            conn.send("GET", "long").unwrap();
        }
        conn.flush().unwrap();
        assert_eq!(conn.receive().unwrap().as_bytes().unwrap().len(), 20_000);
        assert!(conn.poll(LONG).unwrap().is_some());
        assert!(conn.poll(Duration::ZERO).unwrap().is_none());
    }
}

#[test]
fn is_alive_ignores_session_tickets() {
    for version in VERSIONS {
        let mut server = {
            let name = if matches!(version, Protocol::Tlsv12) { "TLSv1.2" } else { "TLSv1.3" };
            builder("redis").args(["--tls-auth-clients", "no", "--tls-protocols", name]).start()
        };
        let mut conn = dialer(&server).dial().unwrap();
        // Before the tickets arrive, after that, and after they are read.
        for _ in 0..20 {
            assert!(conn.is_alive());
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(ping(&mut conn), "PONG");
        assert!(conn.is_alive());
        // Unexpected bytes.
        let mut stray = dialer(&server).dial().unwrap();
        conn.call("CLIENT", ("TRACKING", "ON", "REDIRECT", id(&mut stray))).unwrap();
        stray.send("SUBSCRIBE", "__redis__:invalidate").unwrap();
        stray.flush().unwrap();
        stray.receive().unwrap();
        conn.call("GET", "k").unwrap();
        conn.call("SET", ("k", 1)).unwrap();
        wait_until("the invalidation arrives", || !stray.is_alive());
        assert!(conn.is_alive());
        server.stop();
        wait_until("the close is seen", || !conn.is_alive());
    }
}

// Pool, mux and subscriptions

#[test]
fn a_thread_subscribes_while_another_receives() {
    for version in VERSIONS {
        let mut publisher = conn(version);
        let mut sub = PubSubConn::new(conn(version));
        let (mut sender, mut receiver) = sub.split();
        thread::scope(|scope| {
            let received = scope.spawn(move || {
                let (mut channels, mut messages) = (0, 0);
                while messages < 100 {
                    match receiver.receive().unwrap() {
                        PubSubEvent::Subscription { .. } => channels += 1,
                        PubSubEvent::Message { .. } => messages += 1,
                        other => panic!("{other:?}"),
                    }
                }
                channels
            });
            for number in 0..100 {
                let channel = format!("tls:{number}");
                sender.subscribe(&channel).unwrap();
                wait_until("the subscription is active", || {
                    publisher.query::<i64>("PUBLISH", (&channel, "x")).unwrap() == 1
                });
            }
            assert_eq!(received.join().unwrap(), 100);
        });
    }
}

#[test]
fn a_pool_that_peeks_keeps_good_connections() {
    for version in VERSIONS {
        let pool = Pool::builder(dialer(server(version)))
            .max_active(1)
            .test_on_borrow(check::peek())
            .build()
            .unwrap();
        // Returned before any reply or ticket was read.
        drop(pool.acquire().unwrap());
        let first = id(&mut pool.acquire().unwrap());
        for _ in 0..50 {
            let mut conn = pool.acquire().unwrap();
            assert_eq!(id(&mut conn), first, "a good connection was closed as stale");
            conn.close().unwrap();
        }
    }
}

#[test]
fn a_pool_survives_a_restart_of_the_server() {
    let mut server = builder("redis").arg("--tls-auth-clients", "no").start();
    let builder = Pool::builder(dialer(&server)).max_active(8).test_on_borrow(check::peek());
    let pool = builder.build().unwrap();
    let in_use: Vec<_> = (0..8).map(|_| pool.acquire().unwrap()).collect();
    drop(in_use);
    assert_eq!(pool.idle_count(), 8);
    server.restart();
    for _ in 0..8 {
        let mut conn = pool.acquire().unwrap();
        assert_eq!(reply::string(conn.call("PING", ())).unwrap(), "PONG");
    }
}

#[test]
fn a_mux_runs_over_tls() {
    for version in VERSIONS {
        let mux = Mux::new(dialer(server(version)));
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..16)
            .map(|number| {
                let (mux, done) = (mux.clone(), Arc::clone(&done));
                thread::spawn(move || {
                    for turn in 0..200 {
                        let word = format!("{number}:{turn}:{}", "v".repeat(turn * 10));
                        assert_eq!(mux.query::<String>("ECHO", &word).unwrap(), word);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            join(thread);
        }
        assert_eq!(done.load(Ordering::Relaxed), 3200);
    }
}
