//! Servers that are missing, refuse, answer nonsense, hang or close the connection. Each is a
//! distinct error that describes the cause, arrives in time and ends the connection.

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(target_os = "linux")]
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Dialer, Error, TimeoutKind};

use crate::support::errors::assert_ended;
use crate::support::fake_server::{FakeServer, await_request, hold, refused_address};
use crate::support::live;
use crate::support::redis_server::RedisServer;
use crate::support::wait::{self, LONG, SHORT, promptly};

/// Dials and calls. Returns the error of either, and checks that the connection has ended.
#[track_caller]
fn failure(what: &str, dialer: &Dialer) -> Error {
    promptly(what, || {
        let mut conn = match dialer.dial() {
            Ok(conn) => conn,
            Err(error) => return error,
        };
        let error = conn.call("GET", "key").map(|reply| format!("{what}: {reply:?}")).unwrap_err();
        if error.is_fatal() {
            assert_ended(&mut conn, &error);
        }
        error
    })
}

#[track_caller]
fn io_kind(error: &Error) -> ErrorKind {
    match error {
        Error::Io(error) => error.kind(),
        other => panic!("{other:?}"),
    }
}

// No server, or one that refuses

#[test]
fn missing_server_is_a_clear_error() {
    let address = refused_address();
    let error = failure("refused", &Dialer::tcp(address.to_string()));
    assert_eq!(io_kind(&error), ErrorKind::ConnectionRefused);
    let reason = if cfg!(windows) { "" } else { "Connection refused" };
    let expected = format!("{address}: cannot connect: {reason}");
    assert!(error.to_string().starts_with(&expected), "{error}");

    let error = failure("no socket", &Dialer::unix("/nonexistent/redis.sock"));
    let expected = if cfg!(unix) {
        assert_eq!(io_kind(&error), ErrorKind::NotFound);
        "/nonexistent/redis.sock: cannot connect: No such file or directory"
    } else {
        "not supported: Unix sockets on this system"
    };
    assert!(error.to_string().starts_with(expected), "{error}");

    for limit in [Some(LONG), None] {
        let dialer = Dialer::tcp("no-such-host.invalid").connect_timeout(limit);
        let error = failure("unresolvable", &dialer);
        assert!(matches!(error, Error::Io(_)), "{error:?}");
        let expected = "no-such-host.invalid:6379: cannot resolve the name: ";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn refusal_by_the_server_is_its_own_error() {
    let server = RedisServer::builder().arg("--requirepass", "sesame").start();
    let guarded = Dialer::tcp(server.addr()).connect_timeout(LONG);
    let open = Dialer::tcp(live::server().addr());
    let rows = [
        (
            guarded.clone().password("wrong"),
            "AUTH (default user) failed: WRONGPASS invalid username-password pair or user is disabled.",
        ),
        (
            guarded.clone().username("nobody").password("sesame"),
            "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.",
        ),
        (guarded.clone(), "NOAUTH Authentication required."),
        (
            guarded.client_name("me"),
            "the server requires a password and the dialer has none \
             (CLIENT SETNAME: NOAUTH Authentication required.)",
        ),
        (
            open.clone().password("sesame"),
            "AUTH (default user) failed: ERR AUTH <password> called without any password configured for the \
             default user. Are you sure your configuration is correct?",
        ),
        (open.clone().database(100_000), "SELECT 100000 failed: ERR DB index is out of range"),
        (open.database(-1), "SELECT -1 failed: ERR DB index is out of range"),
    ];
    for (dialer, expected) in rows {
        let error = failure(expected, &dialer);
        let text = error.to_string();
        let cause = match error.as_server().and_then(|refusal| refusal.step()) {
            Some(_) => text.split_once(": ").map_or("", |(_address, cause)| cause),
            None => &text,
        };
        assert_eq!(cause, expected);
        assert!(error.as_server().is_some() && !error.is_fatal(), "{error:?}");
    }
}

#[cfg(unix)]
#[test]
fn maxclients_is_reported() {
    let server = RedisServer::builder().arg("--maxclients", "1").unix_only().start();
    let dialer = Dialer::unix(server.socket_path());
    let mut first = dialer.dial().unwrap();
    assert_eq!(first.call("PING", ()).unwrap(), redigo::Value::simple("PONG"));
    let mut second = dialer.dial().unwrap();
    let errors = promptly("calls", || (0..3).map(|_| second.call("PING", ()).unwrap_err()));
    // The server sends the error once and closes, perhaps before the first command.
    let texts: Vec<String> = errors.map(|error| error.to_string()).collect();
    assert!(texts[0].contains("max number of clients") || second.err().is_some(), "{texts:?}");
    assert!(second.err().is_some() && first.is_alive(), "{texts:?}");
}

// No answer

#[test]
fn silent_or_slow_server_times_out() {
    let server = FakeServer::silent();
    let error = failure("silent", &server.dialer().read_timeout(SHORT));
    let expected = "timed out waiting for the reply to GET";
    assert_eq!(error.to_string(), format!("{}: {expected}", server.address()));
    let error = failure("silent to AUTH", &server.dialer().password("x").connect_timeout(SHORT));
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: timed out after ", server.address())), "{text}");
    assert!(text.ends_with(" waiting for the reply to AUTH"), "{text}");
    for begun in ["*2147483647\r\n", "*2\r\n:1\r\n", "$536870912\r\n", "$3\r\nfoo\r", "+O"] {
        let server = FakeServer::saying(begun);
        let error = failure(begun, &server.dialer().read_timeout(SHORT));
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read), "{begun:?}");
    }
}

#[test]
fn late_reply_of_frozen_server_reaches_no_caller() {
    let server = RedisServer::start();
    let dialer = Dialer::tcp(server.addr()).read_timeout(SHORT);
    let mut conn = Dialer::tcp(server.addr()).dial().unwrap();
    conn.call("MSET", ("first", "1st", "second", "2nd")).unwrap();
    let mut conn = dialer.dial().unwrap();
    server.freeze();
    let error = promptly("call", || conn.call("GET", "first")).unwrap_err();
    server.thaw();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
    // The reply to GET first is in flight and must not become the reply to GET second.
    let again = conn.call("GET", "second").unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    let mut conn = dialer.read_timeout(LONG).dial().unwrap();
    assert_eq!(conn.query::<String>("GET", "second").unwrap(), "2nd");
}

// Nonsense

/// Bytes that are no reply, with the text of the error.
const NONSENSE: [(&str, &[u8], &str); 14] = [
    ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", "unexpected first byte 'H'"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", "unexpected first byte 'S'"),
    ("a TLS alert", b"\x15\x03\x01\0\x02\x02\x46", "unexpected first byte '\\x15'"),
    ("MySQL", b"\x4a\0\0\0\x0a8.0.36\0", "unexpected first byte 'J'"),
    ("RESP3", b"%1\r\n+a\r\n:1\r\n", "unexpected first byte '%'"),
    ("an empty line", b"\r\n", "unexpected first byte '\\r'"),
    ("all ones", &[0xff; 100], "unexpected first byte '\\xff'"),
    ("a length beyond all numbers", b"$18446744073709551615\r\n", "number out of range"),
    ("a negative length", b"$-9223372036854775808\r\n", "negative length"),
    ("a list too long by one", b"*4294967296\r\n", "list too long"),
    ("a negative list", b"*-2\r\n", "negative length"),
    ("a number that does not end", b":000000000000000000000000000000", "line too long"),
    ("a number beyond all numbers", b":9223372036854775808\r\n", "number out of range"),
    ("newlines alone", b"+OK\n", "line does not end in \\r\\n"),
];

#[test]
fn nonsense_is_a_protocol_error() {
    for (what, nonsense, expected) in NONSENSE {
        let server = FakeServer::saying(nonsense);
        let error = failure(what, &server.dialer());
        assert!(matches!(error, Error::Protocol(_)), "{what}: {error:?}");
        let hint = match expected.contains("'\\x15'") {
            true => "does the peer speak TLS? then use rediss://",
            false => "is the peer a Redis server?",
        };
        let expected = format!("{expected} ({hint})");
        let text = format!("{}: protocol error: {expected}", server.address());
        assert_eq!(error.to_string(), text, "{what}");
        let error = failure(what, &server.dialer().password("secret"));
        let step = "protocol error in the reply to AUTH (default user)";
        let expected = format!("{}: {step}: {expected}", server.address());
        assert_eq!(error.to_string(), expected, "{what}");
    }
}

#[test]
fn announced_string_over_the_limit_is_refused() {
    for bytes in [u64::MAX >> 1, (512 << 20) + 1] {
        let server = FakeServer::saying(format!("${bytes}\r\n"));
        let error = failure("a string", &server.dialer()).to_string();
        let what = format!("a string of {bytes} bytes exceeds the dialer's max_bulk_len of");
        assert_eq!(error, format!("{}: protocol error: {what} 536870912", server.address()));
        let error = failure("a string", &server.dialer().password("secret")).to_string();
        let step = "protocol error in the reply to AUTH (default user)";
        assert_eq!(error, format!("{}: {step}: {what} 536870912", server.address()));
    }
}

#[test]
fn endless_nesting_is_refused() {
    let server = FakeServer::saying("*1\r\n".repeat(1_000_000));
    let error = failure("nesting", &server.dialer());
    let expected = "protocol error: lists nested too deep (is the peer a Redis server?)";
    assert_eq!(error.to_string(), format!("{}: {expected}", server.address()));
}

#[test]
fn endless_line_is_refused() {
    for head in ["+", "-", "*2\r\n:1\r\n+"] {
        let server = FakeServer::start(move |mut stream| {
            await_request(&mut stream);
            let piece = [b'x'; 64 * 1024];
            let mut sent = stream.write_all(head.as_bytes());
            while sent.is_ok() {
                sent = stream.write_all(&piece);
            }
        });
        let error = failure(head, &server.dialer());
        let expected = "protocol error: line too long (is the peer a Redis server?)";
        assert_eq!(error.to_string(), format!("{}: {expected}", server.address()), "{head:?}");
    }
}

/// Pieces of the protocol in random order. They must end with an error.
#[test]
fn random_protocol_pieces_end_with_an_error() {
    let tokens: [&[u8]; 18] = [
        b"*",
        b"$",
        b":",
        b"+",
        b"-",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"1",
        b"3",
        b"0",
        b"-1",
        b"*2\r\n",
        b"$3\r\nfoo\r\n",
        b"\0\xff",
        b"99999999999",
    ];
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        // The constants are those of Knuth's MMIX.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..5000 {
        let length = random(60);
        let noise: Vec<u8> =
            (0..length).flat_map(|_| tokens[random(tokens.len())].to_vec()).collect();
        let shown = noise.escape_ascii().to_string();
        let stream = MemoryStream::new(noise);
        let mut conn = Dialer::tcp(":6379").wrap(stream.clone());
        let error = loop {
            match conn.receive() {
                Err(error) if error.is_fatal() => break error,
                Ok(_) | Err(Error::Server(_)) => {}
                Err(error) => panic!("{shown}: {error:?}"),
            }
        };
        assert!(matches!(error, Error::Protocol(_) | Error::Io(_)), "{shown}: {error:?}");
        assert!(stream.is_closed(), "{shown}");
        assert_ended(&mut conn, &error);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn announced_length_allocates_no_memory() {
    /// The peak address space of this process in bytes.
    fn peak() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
    const CONNECTIONS: usize = 32;
    for announced in ["$536870912\r\n", "*4294967295\r\n", "*2\r\n$536870912\r\nx"] {
        let server = FakeServer::saying(announced);
        let before = peak();
        let dialer = server.dialer().read_timeout(10 * SHORT);
        let start = Barrier::new(CONNECTIONS);
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut conn = dialer.dial().unwrap();
                    start.wait();
                    // All connections have received the length and wait for the text.
                    assert!(conn.call("GET", "key").unwrap_err().is_timeout());
                });
            }
        });
        // The smallest announced length is 16 GiB; threads and allocators use some memory, too.
        let grown = peak() - before;
        assert!(grown < 6 << 30, "{announced:?}: {} MiB", grown >> 20);
    }
}

// The end

/// The ways a server can close after a command, with the text of the error.
fn ways_to_close() -> [(&'static str, FakeServer, &'static str); 5] {
    let half_closed = FakeServer::start(|mut stream| {
        await_request(&mut stream);
        stream.shutdown(Shutdown::Write).unwrap();
        hold(stream);
    });
    let reset = FakeServer::start(|mut stream| {
        await_request(&mut stream);
        // Without lingering, dropping the socket sends RST.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let cut = "the server closed the connection in the middle of a reply";
    [
        ("before the reply", FakeServer::closing_after(""), "the server closed the connection"),
        ("half", half_closed, "the server closed the connection"),
        ("in a string", FakeServer::closing_after("$100\r\nabc"), cut),
        ("in a list", FakeServer::closing_after("*2\r\n+OK\r\n"), cut),
        ("with a reset", reset, "Connection reset by peer (os error 104)"),
    ]
}

#[test]
fn server_that_closes_is_a_clear_error() {
    for (how, server, expected) in ways_to_close() {
        let error = failure(how, &server.dialer());
        let is_reset = how == "with a reset";
        let kind = if is_reset { ErrorKind::ConnectionReset } else { ErrorKind::UnexpectedEof };
        assert_eq!(io_kind(&error), kind, "{how}");
        if !is_reset || cfg!(target_os = "linux") {
            let text = format!("{}: {expected}", server.address());
            assert_eq!(error.to_string(), text, "{how}");
            let error = failure(how, &server.dialer().password("secret"));
            let expected = match expected.contains("middle of a reply") {
                true => expected,
                false => {
                    "the server closed the connection before its first reply (does it require \
                     TLS? then use rediss://; a proxy without a backend?)"
                }
            };
            let place = format!("{}: AUTH (default user)", server.address());
            assert_eq!(error.to_string(), format!("{place}: {expected}"), "{how}");
        }
    }
}

#[test]
fn server_that_closes_while_idle_is_an_error() {
    let server = FakeServer::start(drop::<TcpStream>);
    let mut conn = server.dialer().dial().unwrap();
    wait::wait_until("the end is seen", || !conn.is_alive());
    let error = conn.call("PING", ()).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    assert_ended(&mut conn, &error);
}

#[test]
fn server_crash_ends_waiting_calls() {
    let mut server = RedisServer::start();
    let mut conn = Dialer::tcp(server.addr()).dial().unwrap();
    conn.call("SET", ("key", "value")).unwrap();
    let id: i64 = conn.query("CLIENT", "ID").unwrap();
    let mut watcher = Dialer::tcp(server.addr()).dial().unwrap();
    let waiting = thread::spawn(move || {
        let error = conn.call("BLPOP", ("queue", LONG.as_secs())).unwrap_err();
        assert_ended(&mut conn, &error);
        error
    });
    wait::wait_until("the command waits", || {
        let line: String = watcher.query("CLIENT", ("LIST", "ID", id)).unwrap();
        line.contains("cmd=blpop")
    });
    let error = promptly("crash", || {
        server.kill();
        waiting.join().unwrap()
    });
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    assert!(matches!(Dialer::tcp(server.addr()).dial(), Err(Error::Io(_))));
    server.restart();
    Dialer::tcp(server.addr()).dial().unwrap().call("PING", ()).unwrap();
}

#[test]
fn each_fault_has_its_own_error() {
    let silent = FakeServer::silent();
    let nonsense = FakeServer::saying("HTTP/1.1 400 Bad Request\r\n\r\n");
    let mut dialers = vec![
        Dialer::tcp(refused_address().to_string()),
        Dialer::tcp("no-such-host.invalid"),
        Dialer::unix("/nonexistent/redis.sock"),
        silent.dialer().read_timeout(SHORT),
        silent.dialer().password("x").connect_timeout(SHORT),
        nonsense.dialer(),
        nonsense.dialer().database(1),
        Dialer::tcp(live::server().addr()).database(100_000),
        Dialer::tcp(live::server().addr()).password("x"),
        Dialer::tcp(live::server().addr()).client_name("a b"),
        Dialer::tcp(":bad"),
        Dialer::tcp(":6379").username("x"),
    ];
    let ways_to_close = ways_to_close();
    // On Windows a reset can look like an end.
    let last = if cfg!(windows) { "in a string" } else { "with a reset" };
    let ends = ["before the reply", "in a string", last];
    let ends = ways_to_close.iter().filter(|(how, ..)| ends.contains(how));
    dialers.extend(ends.map(|(_, server, _)| server.dialer()));
    let texts = dialers.iter().map(|dialer| failure("each", dialer).to_string());
    let texts: HashSet<String> = texts.collect();
    assert_eq!(texts.len(), dialers.len(), "{texts:#?}");
}

/// With and without a pool, in a pipeline, in a script and in a mux.
#[test]
fn read_timeout_names_the_command_and_the_server() {
    let server = FakeServer::silent();
    let dialer = || server.dialer().read_timeout(SHORT);
    let expect = |error: Error, command: &str| {
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read), "{command}");
        let expected =
            format!("{}: timed out waiting for the reply to {command}", server.address());
        assert_eq!(error.to_string(), expected);
    };
    let mut conn = dialer().dial().unwrap();
    expect(conn.call("BLPOP", ("queue", 0)).unwrap_err(), "BLPOP");
    expect(conn.call("GET", "key").unwrap_err(), "BLPOP");
    let mut conn = dialer().dial().unwrap();
    expect(conn.query::<i64>("INCR", "key").unwrap_err(), "INCR");
    let mut conn = dialer().dial().unwrap();
    expect(conn.pipeline().cmd("DECR", "key").query::<()>().unwrap_err(), "DECR");
    let mux = redigo::Mux::with({
        let dialer = dialer();
        move |ctx| dialer.dial_context(ctx)
    });
    expect(mux.call("GET", "key").unwrap_err(), "GET");

    let mut conn = server.dialer().dial().unwrap();
    let ctx = redigo::Context::background().with_timeout(SHORT);
    let error = conn.call_context(&ctx, "GET", "key").unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
    let ended = "the context's deadline has passed while waiting for the reply to GET";
    assert_eq!(error.to_string(), format!("{}: {ended}", server.address()));
}

#[test]
fn later_errors_of_a_mux_name_the_server() {
    let server = FakeServer::start(|mut stream| {
        await_request(&mut stream);
        let _ = stream.write_all(b"+PONG\r\n");
        await_request(&mut stream);
    });
    let mux = redigo::Mux::new(server.dialer());
    let error = mux.call("GET", "key").unwrap_err().to_string();
    assert_eq!(error, format!("{}: the server closed the connection", server.address()));
}
