//! Dialing: every option on a real server and in memory, the bytes sent, the errors and their
//! timing.
//!
//! Tests with an R number are redigo's dial tests and examples.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Context, DialStep, Dialer, Error, Stream, TimeoutKind};

#[cfg(unix)]
use crate::support::fake_server::FullUnixQueue;
use crate::support::fake_server::{self, FakeServer, FullQueue, refused_address};
use crate::support::redis_server::RedisServer;
use crate::support::streams::{Recorder, command};
use crate::support::wait::{self, LONG, SHORT, promptly, wait_until};

/// A server with a password and a user `ursula`.
fn guarded() -> &'static RedisServer {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let builder = RedisServer::builder().arg("--requirepass", "sesame");
        builder.args(["--user", "ursula", "on", ">tentacle", "~*", "&*", "+@all"]).start()
    })
}

fn guarded_dialer() -> Dialer {
    // A missing reply must fail the test, not block it.
    Dialer::tcp(guarded().addr()).password("sesame").read_timeout(LONG / 2)
}

/// Returns a field of the connection's `CLIENT INFO`: `field(&mut conn, "db")`.
fn field(conn: &mut Conn, name: &str) -> String {
    let line: String = conn.query("CLIENT", "INFO").unwrap();
    let fields = line.split_whitespace().filter_map(|field| field.split_once('='));
    fields.into_iter().find(|(field, _)| *field == name).unwrap().1.to_owned()
}

// Options, on a real server

#[test]
fn r103_dial_with_password_or_user() {
    let mut conn = guarded_dialer().dial().unwrap();
    assert_eq!(field(&mut conn, "user"), "default");
    let dialer = Dialer::tcp(guarded().addr()).username("ursula").password("tentacle");
    let mut conn = dialer.dial_context(&Context::background()).unwrap();
    assert_eq!(field(&mut conn, "user"), "ursula");
    let mut conn = Dialer::url(guarded().url()).unwrap().dial().unwrap();
    assert_eq!(field(&mut conn, "user"), "default");
    assert_eq!(field(&mut conn, "db"), "0");
}

#[test]
fn r102_client_name_is_set() {
    let mut conn = guarded_dialer().client_name("test-connection").dial().unwrap();
    assert_eq!(conn.query::<String>("CLIENT", "GETNAME").unwrap(), "test-connection");
}

#[test]
fn a_dial_selects_the_database() {
    let mut third = guarded_dialer().database(3).dial().unwrap();
    assert_eq!(field(&mut third, "db"), "3");
    third.call("SET", ("the_database", "x")).unwrap();
    let mut none = guarded_dialer().database(0).dial().unwrap();
    assert!(none.call("GET", "the_database").unwrap().is_nil());
}

#[cfg(unix)]
#[test]
fn a_unix_socket_takes_every_option() {
    let dialer = Dialer::unix(guarded().socket_path()).username("ursula").password("tentacle");
    let mut conn = dialer.client_name("me").database(5).dial().unwrap();
    for (name, expected) in [("user", "ursula"), ("name", "me"), ("db", "5")] {
        assert_eq!(field(&mut conn, name), expected);
    }
    assert!(field(&mut conn, "addr").contains("redis.sock"));
    let url = format!("unix://ursula:tentacle@{}?db=6", guarded().socket_path().display());
    let mut conn = Dialer::url(url).unwrap().dial().unwrap();
    assert_eq!(field(&mut conn, "db"), "6");
    assert!(conn.is_alive());
}

#[test]
fn one_dialer_makes_many_connections() {
    let dialer = guarded_dialer().database(2);
    let mut conns: Vec<Conn> = (0..20).map(|_| dialer.clone().dial().unwrap()).collect();
    let mut ids: Vec<String> = conns.iter_mut().map(|conn| field(conn, "id")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

#[test]
fn limits_apply_to_the_connection() {
    let mut conn = guarded_dialer().max_bulk_len(100).dial().unwrap();
    conn.call("ECHO", "x".repeat(100)).unwrap();
    assert!(matches!(conn.call("ECHO", "x".repeat(101)), Err(Error::Protocol(_))));

    let mut conn = guarded_dialer().connect_timeout(LONG).read_timeout(SHORT).dial().unwrap();
    let late = promptly("BLPOP", || conn.call("BLPOP", ("queue", LONG.as_secs()))).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
}

/// No time limit is too short or too long.
#[test]
fn extreme_timeouts_are_accepted() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    for time in
        [SHORT, 12 * 60 * 60 * Duration::from_secs(1), 30 * DAY, 36_500 * DAY, Duration::MAX]
    {
        let long = time.max(LONG);
        let tcp = guarded_dialer().database(1).keep_alive(time).tcp_user_timeout(time);
        let unix = || Dialer::unix(guarded().socket_path()).password("sesame").database(1);
        for dialer in [tcp].into_iter().chain(cfg!(unix).then(unix)) {
            let dialer = dialer.connect_timeout(long).read_timeout(long).write_timeout(long);
            let mut conn = dialer.dial().unwrap_or_else(|error| panic!("{time:?}: {error}"));
            conn.call("PING", ()).unwrap();
            conn.call_timeout(long, "PING", ()).unwrap();
            conn.call_context(&Context::background().with_timeout(long), "PING", ()).unwrap();
        }
    }
}

// The bytes sent, in memory

#[test]
fn r068_a_connector_makes_the_stream() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let dialer = Dialer::tcp("").connect_timeout(LONG).connector(move |ctx, address| {
        assert_eq!(address.to_string(), "localhost:6379");
        let left = ctx.remaining().expect("the context has the connect timeout");
        assert!(ctx.err().is_none() && left <= LONG);
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(MemoryStream::new("+PONG\r\n")) as Box<dyn Stream>)
    });
    let mut conn = dialer.dial_context(&Context::background()).unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
}

#[test]
fn a_dial_returns_the_error_of_its_connector() {
    let dialer = Dialer::tcp(":6379").connector(|_, _| Err(Error::other("no tunnel")));
    let error = dialer.dial().unwrap_err();
    assert!(matches!(error, Error::Other(_)), "{error:?}");
    assert_eq!(error.to_string(), "no tunnel");
}

#[test]
fn r100_r101_the_set_up_is_one_write() {
    let auth = "*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$8\r\npassword\r\n".to_owned();
    let name = "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$16\r\nredis-connection\r\n".to_owned();
    let select = command(&["SELECT", "4"]);
    let plain = || Dialer::tcp(":6379");
    let user = |dialer: Dialer| dialer.username("user").password("password");
    let named = |dialer: Dialer| dialer.client_name("redis-connection");
    let rows = [
        ("nothing", plain(), String::new()),
        ("empty", plain().username("").password("").client_name("").database(0), String::new()),
        ("R100", user(plain()), auth.clone()),
        ("R101", named(plain()), name.clone()),
        ("password", plain().password("password"), command(&["AUTH", "password"])),
        ("database", plain().database(4), select.clone()),
        ("negative", plain().database(-1), command(&["SELECT", "-1"])),
        ("all", user(named(plain().database(4))), auth + &name + &select),
    ];
    for (row, dialer, expected) in rows {
        let recorder = Recorder::answering("+OK\r\n".repeat(3));
        let conn = recorder.behind(dialer).dial().unwrap();
        assert_eq!(recorder.written(), expected, "{row}");
        assert_eq!(recorder.stream.writes(), usize::from(!expected.is_empty()), "{row}");
        assert!(conn.err().is_none(), "{row}");
    }
}

#[test]
fn a_wrapped_stream_gets_no_set_up() {
    let stream = MemoryStream::new("+PONG\r\n");
    let dialer = Dialer::tcp(":6379").password("secret").database(4).client_name("me");
    assert_eq!(dialer.wrap(stream.clone()).query::<String>("PING", ()).unwrap(), "PONG");
    assert_eq!(stream.written(), command(&["PING"]).as_bytes());
}

#[test]
fn contradicting_options_fail_before_dialing() {
    let recorder = Recorder::answering("");
    let rows = [
        (Dialer::tcp(":6379").username("me"), "invalid configuration: username without a password"),
        (Dialer::tcp("::1"), {
            "invalid configuration: address \"::1\": \
             more than one ':'; put an IPv6 address in brackets"
        }),
    ];
    for (dialer, expected) in rows {
        let error = recorder.behind(dialer).dial().unwrap_err();
        assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
    assert!(recorder.dialed().is_empty());
}

#[test]
fn a_set_up_reply_other_than_ok_fails_the_dial() {
    let dialer = Dialer::tcp(":6379").password("secret").client_name("me").database(4);
    for (replies, step) in [
        // The echo of a connection with itself, a proxy that confirms everything, a nil.
        ("*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n", "AUTH (default user)"),
        ("+OK\r\n+PONG\r\n", "CLIENT SETNAME"),
        ("+OK\r\n+OK\r\n$-1\r\n", "SELECT 4"),
        ("+OK\r\n+OK\r\n+QUEUED\r\n", "SELECT 4"),
    ] {
        let error = Recorder::answering(replies).behind(dialer.clone()).dial().unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        let expected = format!("localhost:6379: protocol error in the reply to {step}: ");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

// The failed step

#[test]
fn an_error_names_the_refused_step() {
    let auth = "AUTH (default user) failed: WRONGPASS ";
    let name = "CLIENT SETNAME failed: ERR ";
    let rows = [
        (guarded_dialer().password("wrong"), DialStep::Auth, auth),
        (
            guarded_dialer().username("ursula").password("wrong"),
            DialStep::Auth,
            "AUTH failed: WRONGPASS ",
        ),
        (guarded_dialer().client_name("a b"), DialStep::ClientSetName, name),
        (guarded_dialer().database(99), DialStep::Select, "SELECT 99 failed: ERR DB index is out"),
        // If every step fails, the error names the first.
        (guarded_dialer().password("wrong").client_name("a b").database(99), DialStep::Auth, auth),
        (
            Dialer::tcp(guarded().addr()).database(1),
            DialStep::Select,
            "the server requires a password and the dialer has none (SELECT 1: NOAUTH ",
        ),
    ];
    for (dialer, step, text) in rows {
        let error = dialer.dial().unwrap_err();
        assert_eq!(error.as_server().and_then(|refusal| refusal.step()), Some(step), "{error:?}");
        let expected = format!("{}: {text}", guarded().addr());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

/// A server without the command AUTH quotes its arguments, truncated and with different line ends.
#[test]
fn a_password_in_a_refusal_is_not_shown() {
    let server = RedisServer::builder().args(["--rename-command", "AUTH", ""]).start();
    for password in ["hunter2".to_owned(), "hunter2\r\nhunter2".to_owned(), "hunter2".repeat(40)] {
        let dialer = Dialer::tcp(server.addr()).username("ursula").password(password);
        let error = dialer.dial().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("AUTH") && text.contains("unknown command"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

// Time

#[test]
fn a_silent_server_times_the_dial_out() {
    let server = FakeServer::silent();
    let rows = [
        (server.dialer().password("x").client_name("me").database(1), DialStep::Auth),
        (server.dialer().client_name("me").database(1), DialStep::ClientSetName),
        (server.dialer().database(1), DialStep::Select),
    ];
    for (dialer, step) in rows {
        let expected = Some(TimeoutKind::Handshake(step));
        // By the connect timeout, by the read timeout, and by the caller's deadline.
        let error = promptly("dial", || dialer.clone().connect_timeout(SHORT).dial()).unwrap_err();
        assert_eq!(error.timeout_kind(), expected);
        let (address, text) = (server.address(), error.to_string());
        assert!(text.starts_with(&format!("{address}: timed out after ")), "{text}");
        assert!(text.ends_with(&format!(" waiting for the reply to {step}")), "{text}");
        let error = promptly("dial", || dialer.clone().read_timeout(SHORT).dial()).unwrap_err();
        assert_eq!(error.timeout_kind(), expected);
        let ctx = Context::background().with_timeout(SHORT);
        let error = promptly("dial", || dialer.dial_context(&ctx)).unwrap_err();
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
    }
}

#[test]
fn slow_replies_do_not_extend_the_connect_timeout() {
    let server = FakeServer::dripping("+", "x");
    let dialer = server.dialer().password("x").connect_timeout(SHORT).read_timeout(LONG);
    let error = promptly("dial", || dialer.dial()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Handshake(DialStep::Auth)));
}

#[test]
fn without_a_set_up_the_first_call_times_out() {
    let server = FakeServer::silent();
    let mut conn = server.dialer().connect_timeout(LONG).read_timeout(SHORT).dial().unwrap();
    let error = promptly("call", || conn.call("PING", ())).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
}

#[test]
fn the_connect_timeout_ends_with_the_dial() {
    let recorder = Recorder::answering("+OK\r\n+PONG\r\n");
    let dialer = recorder.behind(Dialer::tcp(":6379").database(1)).connect_timeout(LONG);
    let mut conn = dialer.dial().unwrap();
    conn.call("PING", ()).unwrap();
    assert_eq!(recorder.stream.write_timeout(), None);
    // The first reply was in the buffer, so only a second read sets the timeout.
    conn.call("PING", ()).unwrap_err();
    assert_eq!(recorder.stream.read_timeout(), None);
}

#[test]
fn an_unaccepted_connect_times_out() {
    let full = FullQueue::new();
    let dialer = Dialer::tcp(full.address.to_string());
    let error = promptly("dial", || dialer.clone().connect_timeout(SHORT).dial()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect));
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: timed out after ", full.address)), "{text}");
    assert!(text.ends_with(" while connecting"), "{text}");
    let ctx = Context::background().with_timeout(SHORT);
    let error = promptly("dial", || dialer.dial_context(&ctx)).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
}

/// A socket can take a timeout below its resolution for no timeout.
#[cfg(unix)]
#[test]
fn a_timeout_below_a_microsecond_times_out() {
    let full = FullUnixQueue::new();
    let dialer = Dialer::unix(&full.path);
    for nanos in (0..10_000).step_by(10) {
        let ctx = Context::background().with_timeout(Duration::from_nanos(nanos));
        let error = promptly("dial", || dialer.dial_context(&ctx)).unwrap_err();
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context), "{nanos} ns");
    }
}

/// `localhost` can have two addresses. A server on either one is found.
#[test]
fn all_addresses_of_a_name_are_tried() {
    let listeners =
        [TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), TcpListener::bind((Ipv6Addr::LOCALHOST, 0))];
    let mut tried = 0;
    for listener in listeners.into_iter().flatten() {
        let address = listener.local_addr().unwrap();
        let known = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1)).unwrap();
        if known.into_iter().any(|known| known.ip() == address.ip()) {
            let dialer = Dialer::tcp(format!("localhost:{}", address.port()));
            dialer.connect_timeout(LONG).dial().unwrap();
            tried += 1;
        }
    }
    assert!(tried > 0, "localhost is neither 127.0.0.1 nor ::1");
    let port = refused_address().port();
    let error = Dialer::tcp(format!("localhost:{port}")).dial().unwrap_err().to_string();
    let expected = format!("localhost:{port}: cannot connect");
    assert!(error.starts_with(&expected) && error.contains("127.0.0.1"), "{error}");
}

/// A stopped process that continues finds its connect interrupted (EINTR). The program starts
/// itself again for that process.
#[cfg(unix)]
#[test]
#[cfg(target_os = "linux")]
fn a_stopped_process_continues_its_unix_connect() {
    use std::io::{BufRead, BufReader};
    const SOCKET: &str = "REDIGO_TEST_FULL_SOCKET";
    const OUTCOME: &str = "outcome: ";
    if let Some(path) = std::env::var_os(SOCKET) {
        println!("ready");
        let dialer = Dialer::unix(path).connect_timeout(20 * SHORT);
        println!("{OUTCOME}{:?}", dialer.dial().unwrap_err().timeout_kind());
        return;
    }
    let full = FullUnixQueue::new();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "dial::a_stopped_process_continues_its_unix_connect"])
        .env(SOCKET, &full.path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("ready")), "the process has not begun");
    for _ in 0..5 {
        thread::sleep(SHORT);
        for signal in ["-STOP", "-CONT"] {
            let id = child.id().to_string();
            let sent = std::process::Command::new("kill").args([signal, &id]).status();
            assert!(sent.unwrap().success());
        }
    }
    let outcome = lines.find(|line| line.contains(OUTCOME)).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(outcome.ends_with("Some(Connect)"), "{outcome}");
}

#[test]
fn a_file_that_is_not_a_socket_is_named() {
    let path = std::env::temp_dir().join(format!("redigo-plain-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let error = Dialer::unix(&path).dial().unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    assert!(error.starts_with(&format!("{}: cannot connect: ", path.display())), "{error}");
    assert!(error.ends_with("no server listens there, or it is not a socket"), "{error}");
}

#[test]
fn a_unix_path_with_a_nul_byte_is_invalid() {
    let error = Dialer::unix("/run/redis.sock\0.old").dial().unwrap_err();
    assert!(matches!(error, Error::InvalidConfig(_)), "{error:?}");
    assert!(error.to_string().contains("NUL"), "{error}");
}

#[test]
fn a_timeout_lists_the_addresses_of_a_name() {
    let full = FullQueue::new();
    let dialer = Dialer::tcp(format!("localhost:{}", full.address.port()));
    let error = promptly("dial", || dialer.connect_timeout(4 * SHORT).dial()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect));
    let text = error.to_string();
    assert!(text.starts_with(&format!("localhost:{}: timed out after ", full.address.port())));
    assert!(
        text.contains(" while connecting") && text.contains(&full.address.to_string()),
        "{text}"
    );
    assert!(error.is_unavailable());
}

// Canceling

#[test]
fn r069_a_canceled_context_does_not_dial() {
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(guarded_dialer().dial_context(&ctx).unwrap_err().is_canceled());
    let called = Recorder::answering("");
    assert!(called.behind(guarded_dialer()).dial_context(&ctx).unwrap_err().is_canceled());
    assert!(called.dialed().is_empty());
}

#[test]
fn canceling_ends_a_dial_that_awaits_a_reply() {
    let (accepted, is_accepted) = mpsc::channel();
    let server = FakeServer::start(move |mut stream| {
        fake_server::await_request(&mut stream);
        accepted.send(()).unwrap();
        fake_server::hold(stream);
    });
    let (ctx, cancel) = Context::background().with_cancel();
    let dialer = server.dialer().connect_timeout(LONG).password("secret");
    let dialing = thread::spawn(move || dialer.dial_context(&ctx).unwrap_err());
    is_accepted.recv_timeout(wait::PATIENCE).unwrap();
    let error = promptly("cancel", || {
        cancel.cancel();
        dialing.join().unwrap()
    });
    assert!(error.is_canceled(), "{error:?}");
}

/// Cancels dials at different moments: before, during and after the connect.
fn cancel_dials(dialer: &Dialer, rounds: u64) {
    for delay in (0..rounds).map(|round| Duration::from_micros(round % 100 * 2)) {
        let (ctx, cancel) = Context::background().with_cancel();
        let start = Barrier::new(2);
        let error = thread::scope(|scope| {
            let dialing = scope.spawn(|| {
                start.wait();
                dialer.dial_context(&ctx).unwrap_err()
            });
            start.wait();
            thread::sleep(delay);
            promptly("canceled dial", || {
                cancel.cancel();
                dialing.join().unwrap()
            })
        });
        assert!(error.is_canceled(), "{error:?}");
    }
}

#[test]
fn canceling_ends_an_unaccepted_tcp_dial() {
    let full = FullQueue::new();
    let dialer = Dialer::tcp(full.address.to_string()).connect_timeout(LONG);
    cancel_dials(&dialer, 300);
    cancel_dials(&dialer.connect_timeout(None), 300);
}

#[cfg(unix)]
#[test]
fn canceling_ends_an_unaccepted_unix_dial() {
    let full = FullUnixQueue::new();
    let error = Dialer::unix(&full.path).connect_timeout(SHORT).dial().unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect));
    cancel_dials(&Dialer::unix(&full.path).connect_timeout(2 * wait::PATIENCE), 3);
}

#[test]
fn a_failed_dial_closes_its_connection() {
    let mut watcher = guarded_dialer().dial().unwrap();
    let dialer = Dialer::tcp(guarded().addr()).username("ursula").password("tentacle");
    dialer.client_name("failing").database(99).dial().unwrap_err();
    wait_until("the server sees the close", || {
        !watcher.query::<String>("CLIENT", "LIST").unwrap().contains("name=failing")
    });
}
