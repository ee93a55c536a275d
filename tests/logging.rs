//! The log of a connection: section 2.14 of the conformance matrix, for which redigo has no tests.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Once;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use redigo::testing::{MemoryStream, ScriptedServer, message, subscription};
use redigo::{
    ArgWriter, Context, Dialer, Pool, TimeoutKind, ToArgs, Value, logging, logging_filtered,
};

mod support;

use support::redis_server::RedisServer;

/// Collects the lines of each thread, for threads that have called `listen`.
struct Capture;

thread_local! {
    static LISTENS: Cell<bool> = const { Cell::new(false) };
    static LISTENS_TO_ALL: Cell<bool> = const { Cell::new(false) };
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The number of lines before the logger panics.
    static PANICS_AFTER: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_command = metadata.target() == "redigo::commands" || LISTENS_TO_ALL.get();
        is_command && metadata.level() == Level::Debug && LISTENS.get()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            if let Some(lines) = PANICS_AFTER.get() {
                PANICS_AFTER.set(lines.checked_sub(1));
                assert!(lines > 0, "on purpose");
            }
            LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
    LISTENS.set(true);
}

/// The lines since the last call.
fn lines() -> Vec<String> {
    LINES.take()
}

#[test]
fn each_command_is_a_line_with_its_reply() {
    listen();
    let server = ScriptedServer::new();
    server.expect("SET", ("k", 1)).ok();
    server.expect("GET", "none");
    server.expect("INCR", "k").error("ERR no");
    server.expect("MGET", ["a", "b"]).reply(Value::from(vec![Value::from("x"), Value::Nil]));
    server.expect("DBSIZE", ()).reply(7);
    let mut conn = logging(server.conn(), "web");
    conn.call("SET", ("k", 1)).unwrap();
    conn.call("GET", "none").unwrap();
    conn.call("INCR", "k").unwrap_err();
    conn.call("MGET", ["a", "b"]).unwrap();
    conn.call("DBSIZE", ()).unwrap();
    conn.call("", ()).unwrap();
    conn.close().unwrap();
    let expected = [
        r#"web.SET("k", "1") -> "OK""#,
        r#"web.GET("none") -> nil"#,
        r#"web.INCR("k") -> error: ERR no"#,
        r#"web.MGET("a", "b") -> ["x", nil]"#,
        "web.DBSIZE() -> 7",
        "web.Close()",
    ];
    assert_eq!(lines(), expected);
}

#[test]
fn typed_query_is_logged_like_a_call() {
    listen();
    let server = MemoryStream::new("*2\r\n:1\r\n:2\r\n:3\r\n");
    let mut conn = logging(Dialer::tcp(":6379").wrap(server), "q");
    assert_eq!(conn.query::<Vec<i64>>("BITFIELD", "k").unwrap(), [1, 2]);
    assert_eq!(conn.query::<i64>("INCR", "k").unwrap(), 3);
    assert_eq!(lines(), [r#"q.BITFIELD("k") -> [1, 2]"#, r#"q.INCR("k") -> 3"#]);
}

#[test]
fn empty_prefix_prints_no_dot() {
    listen();
    let server = ScriptedServer::new();
    server.expect("PING", ()).reply(Value::simple("PONG"));
    logging(server.conn(), "").call("PING", ()).unwrap();
    assert_eq!(lines(), [r#"PING() -> "PONG""#, "Close()"]);
}

#[test]
fn replies_of_a_pipeline_match_their_commands() {
    listen();
    let server = ScriptedServer::new();
    server.expect("SET", ("a", 1)).ok();
    server.expect("BAD", ()).error("ERR no");
    server.expect("GET", "a").reply("1");
    server.expect("PING", ()).reply("PONG");
    let mut conn = logging(server.conn(), "p");
    conn.send("SET", ("a", 1)).unwrap();
    conn.send("BAD", ()).unwrap();
    conn.flush().unwrap();
    assert!(lines().is_empty(), "a line is written when the reply arrives");
    conn.receive().unwrap();
    conn.send("GET", "a").unwrap();
    conn.call("PING", ()).unwrap_err();
    assert_eq!(
        lines(),
        [
            r#"p.SET("a", "1") -> "OK""#,
            "p.BAD() -> error: ERR no",
            r#"p.GET("a") -> "1""#,
            r#"p.PING() -> "PONG""#,
        ]
    );
    // Never flushed, so it has no reply.
    conn.send("GET", "b").unwrap();
    drop(conn);
    assert_eq!(lines(), [r#"p.GET("b") -> (not received)"#, "p.Close()"]);
}

#[test]
fn reply_without_command_is_a_receive() {
    listen();
    let server = ScriptedServer::new();
    server
        .expect("SUBSCRIBE", ["a", "b"])
        .reply(subscription("subscribe", "a", 1))
        .then_push(subscription("subscribe", "b", 2));
    // A message ahead of the reply to UNSUBSCRIBE is not taken for that reply.
    server.expect("UNSUBSCRIBE", ()).reply(message("a", "late")).then_push(subscription(
        "unsubscribe",
        "a",
        1,
    ));
    let mut conn = logging(server.conn(), "p");
    conn.send("SUBSCRIBE", ["a", "b"]).unwrap();
    conn.flush().unwrap();
    conn.receive().unwrap();
    conn.receive().unwrap();
    conn.send("UNSUBSCRIBE", ()).unwrap();
    conn.flush().unwrap();
    conn.receive().unwrap();
    conn.receive_timeout(Duration::from_secs(1)).unwrap();
    assert_eq!(
        lines(),
        [
            r#"p.SUBSCRIBE("a", "b") -> ["subscribe", "a", 1]"#,
            r#"p.Receive() -> ["subscribe", "b", 2]"#,
            r#"p.Receive() -> ["message", "a", "late"]"#,
            r#"p.UNSUBSCRIBE() -> ["unsubscribe", "a", 1]"#,
        ]
    );
}

#[test]
fn failures_are_logged_once() {
    listen();
    let server = ScriptedServer::new();
    server.expect("GET", "a").timeout();
    let mut conn = logging(server.conn(), "p");
    conn.call("GET", "a").unwrap_err();
    conn.call("GET", "b").unwrap_err();
    drop(conn);
    assert_eq!(
        lines(),
        [r#"p.GET("a") -> failed: timed out waiting for the reply to GET"#, "p.Close()"]
    );

    server.fail_flush(io::Error::other("broken"));
    let mut conn = logging(server.conn(), "p");
    conn.call("SET", ("k", 1)).unwrap_err();
    assert_eq!(lines(), [r#"p.SET("k", "1") -> failed: broken"#]);

    let mut conn = logging(server.conn(), "p");
    conn.receive().unwrap_err();
    assert_eq!(lines(), ["p.Receive() -> failed: the scripted server closed the connection"]);
}

#[test]
fn filter_gets_the_command_name() {
    listen();
    let server = ScriptedServer::unordered();
    server.expect_any("GET").reply("x").any_times();
    server.expect_any("PING").reply("PONG").any_times();
    server.push("pushed");
    let mut conn =
        logging_filtered(server.conn(), "p", |command| command == "PING" || command.is_empty());
    conn.send("PING", ()).unwrap();
    conn.send("GET", "k").unwrap();
    conn.call("ping", ()).unwrap();
    conn.receive().unwrap();
    // Close is logged whatever the filter returns.
    drop(conn);
    assert_eq!(lines(), [r#"p.GET("k") -> "x""#, r#"p.ping() -> "PONG""#, "p.Close()"]);
}

#[test]
fn long_values_are_cut_after_32() {
    listen();
    let server = ScriptedServer::unordered();
    server.expect_any("SET").reply("y".repeat(33));
    server.expect_any("KEYS").reply_list(vec![1; 33]);
    let mut conn = logging(server.conn(), "");
    conn.call("SET", ("k", "x".repeat(1000))).unwrap();
    conn.call("KEYS", "*").unwrap();
    let lines = lines();
    let (x, y) = ("x".repeat(32), "y".repeat(32));
    assert_eq!(lines[0], format!("SET(\"k\", \"{x}\"...) -> \"{y}\"..."));
    assert_eq!(lines[1], format!("KEYS(\"*\") -> [{}...]", "1, ".repeat(32)));
}

#[test]
fn no_secret_is_logged() {
    listen();
    let secret = "hunter2";
    let server = ScriptedServer::unordered();
    for command in ["AUTH", "hello", "Config", "ACL", "MIGRATE", "SENTINEL"] {
        server.expect_any(command).reply_map([("requirepass", secret)]).any_times();
    }
    let mut conn = logging(server.conn(), "p");
    let commands: &[(&str, &dyn ToArgs)] = &[
        ("AUTH", &secret),
        ("hello", &(3, "AUTH", "default", secret)),
        ("Config", &("set", "RequirePass", secret)),
        ("Config", &("SET", "port", 1, "masterauth", secret)),
        ("ACL", &("SETUSER", "ada", format!(">{secret}"))),
        ("MIGRATE", &("h", 1, "k", 0, 5, "AUTH", secret)),
        ("MIGRATE", &("h", 1, "", 0, 5, "auth2", "u", secret, "KEYS", "k")),
        ("SENTINEL", &("SET", "main", "auth-pass", secret)),
    ];
    for (command, args) in commands {
        conn.call(command, *args).unwrap();
        let line = lines().remove(0);
        let (sent, _) = line.split_once(" -> ").unwrap();
        assert!(!sent.contains(secret) && sent.contains("***"), "{sent}");
    }
    for args in [&("GET", "requirepass"), &("get", "*"), &("GET", "m[a]sterauth")] {
        conn.call("Config", args).unwrap();
        let line = lines().remove(0);
        assert!(line.ends_with("-> ***"), "{line}");
    }
}

#[test]
fn refusal_of_a_secret_shows_only_its_code() {
    listen();
    let server = ScriptedServer::new();
    server.expect_any("ACL").error("ERR Error in ACL SETUSER modifier 'hunter2': Syntax error");
    server.expect_any("SENTINEL").error("ERR unknown command, with args beginning with 'hunter2'");
    server.expect_any("GET").error("WRONGTYPE not a string");
    let mut conn = logging(server.conn(), "p");
    conn.call("ACL", ("SETUSER", "ada", "hunter2")).unwrap_err();
    conn.call("SENTINEL", ("SET", "main", "auth-pass", "hunter2")).unwrap_err();
    conn.call("GET", "k").unwrap_err();
    assert_eq!(
        lines(),
        [
            r#"p.ACL("SETUSER", "ada", ***) -> error: ERR ***"#,
            r#"p.SENTINEL("SET", "main", "auth-pass", ***) -> error: ERR ***"#,
            r#"p.GET("k") -> error: WRONGTYPE not a string"#,
        ]
    );
}

/// A subscription has several replies, so replies cannot be counted.
#[test]
fn secret_reply_is_masked_behind_several_confirmations() {
    listen();
    let confirmed = |channel: &str, count| subscription("subscribe", channel.to_owned(), count);
    let server = ScriptedServer::new();
    server.expect("SUBSCRIBE", ("a", "b")).reply(confirmed("a", 1)).then_push(confirmed("b", 2));
    server
        .expect("UNSUBSCRIBE", ())
        .reply(subscription("unsubscribe", "a", 1))
        .then_push(message("b", "late"))
        .then_push(subscription("unsubscribe", "b", 0));
    server.expect_any("CONFIG").reply_map([("requirepass", "hunter2")]);
    let mut conn = logging(server.conn(), "p");
    conn.send("SUBSCRIBE", ("a", "b")).unwrap();
    conn.send("UNSUBSCRIBE", ()).unwrap();
    conn.send("CONFIG", ("GET", "requirepass")).unwrap();
    conn.flush().unwrap();
    (0..6).for_each(|_| drop(conn.receive().unwrap()));
    let lines = lines();
    assert!(lines.iter().all(|line| !line.contains("hunter2")), "{lines:?}");
    assert_eq!(lines[5], r#"p.CONFIG("GET", "requirepass") -> ***"#);
}

#[test]
fn secret_reply_is_masked_while_the_server_skips_replies() {
    listen();
    let mut conn = logging(
        Dialer::tcp(":6379").wrap(MemoryStream::new("*2\r\n$1\r\np\r\n$7\r\nhunter2\r\n+OK\r\n")),
        "p",
    );
    conn.send("CLIENT", ("REPLY", "SKIP")).unwrap();
    conn.send("PING", ()).unwrap();
    conn.send("CONFIG", ("GET", "requirepass")).unwrap();
    conn.flush().unwrap();
    conn.receive().unwrap();
    assert_eq!(lines(), ["p.Receive() -> ***"]);
}

#[test]
fn filtered_commands_keep_replies_matched() {
    listen();
    let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+1\r\n+2\r\n+3\r\n"));
    conn.send("BEFORE", ()).unwrap();
    let mut conn = logging_filtered(conn, "p", |command| command == "PING");
    conn.send("PING", ()).unwrap();
    conn.send("ECHO", "x").unwrap();
    assert_eq!(conn.drain().unwrap().len(), 3);
    assert_eq!(lines(), [r#"p.ECHO("x") -> "3""#]);
}

/// A filter or a logger that panics is the caller's code, too.
#[test]
fn panic_of_filter_or_logger_ends_the_connection() {
    for calls_before_panic in 0..2 {
        listen();
        let stream = MemoryStream::new("$1\r\na\r\n$1\r\nb\r\n");
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let conn = Dialer::tcp(":6379").wrap(stream.clone());
        let mut conn = logging_filtered(conn, "p", move |_| {
            assert!(calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 1, "on purpose");
            false
        });
        conn.send("GET", "a").unwrap();
        let caught = std::panic::AssertUnwindSafe(|| conn.call("GET", "b"));
        assert!(std::panic::catch_unwind(caught).is_err());
        assert!(conn.call("GET", "b").unwrap_err().to_string().contains("panicked"));

        let stream = MemoryStream::new("$1\r\na\r\n$1\r\nb\r\n");
        let mut conn = logging(Dialer::tcp(":6379").wrap(stream), "p");
        conn.send("GET", "a").unwrap();
        conn.send("GET", "b").unwrap();
        conn.flush().unwrap();
        PANICS_AFTER.set(Some(calls_before_panic));
        let caught = std::panic::AssertUnwindSafe(|| conn.drain());
        assert!(std::panic::catch_unwind(caught).is_err());
        PANICS_AFTER.set(None);
        assert!(conn.call("GET", "b").unwrap_err().to_string().contains("panicked"));
    }
}

#[test]
fn logger_that_panics_finds_the_connection_ended() {
    listen();
    let stream = MemoryStream::new("*x\r\n");
    let mut conn = Dialer::tcp(":6379").wrap(stream.clone());
    LISTENS_TO_ALL.set(true);
    PANICS_AFTER.set(Some(0));
    let caught = std::panic::AssertUnwindSafe(|| conn.call("GET", "a"));
    assert!(std::panic::catch_unwind(caught).is_err());
    PANICS_AFTER.set(None);
    LISTENS_TO_ALL.set(false);
    assert!(matches!(conn.err(), Some(redigo::Error::Protocol(_))));
    assert!(stream.is_closed());
    assert!(matches!(conn.call("GET", "b"), Err(redigo::Error::Protocol(_))));
}

#[test]
fn level_off_formats_nothing() {
    /// An argument that counts how often it is written.
    struct Counting<'a>(&'a Cell<usize>);

    impl ToArgs for Counting<'_> {
        fn write_args(&self, out: &mut ArgWriter<'_>) {
            self.0.set(self.0.get() + 1);
            out.bytes(b"x");
        }
    }

    listen();
    let server = ScriptedServer::new();
    server.expect("GET", "x").reply("1").reply("2").reply("3");
    let mut conn = logging(server.conn(), "p");
    let written = Cell::new(0);
    LISTENS.set(false);
    conn.call("GET", Counting(&written)).unwrap();
    assert_eq!(written.get(), 1, "only for the server");
    // Switched on between a command and its reply: the line of the next command is right.
    conn.send("GET", Counting(&written)).unwrap();
    LISTENS.set(true);
    conn.call("GET", Counting(&written)).unwrap();
    assert_eq!(written.get(), 4);
    assert_eq!(lines(), [r#"p.GET("x") -> "3""#]);
}

#[test]
fn logging_twice_logs_twice() {
    listen();
    let server = ScriptedServer::new();
    server.expect("PING", ()).reply(1);
    let mut conn = logging(logging(server.conn(), "inner"), "outer");
    conn.call("PING", ()).unwrap();
    assert_eq!(lines(), ["inner.PING() -> 1", "outer.PING() -> 1"]);
}

#[test]
fn both_halves_are_logged() {
    listen();
    let server = ScriptedServer::new();
    server.expect("PING", ()).reply("PONG");
    server.push("pushed");
    let mut conn = logging(server.conn(), "p");
    let (mut sender, mut receiver) = conn.split();
    sender.send("PING", ()).unwrap();
    sender.flush().unwrap();
    receiver.receive().unwrap();
    receiver.poll(Duration::ZERO).unwrap();
    receiver.receive().unwrap_err();
    assert_eq!(
        lines(),
        [
            r#"p.PING() -> "PONG""#,
            r#"p.Receive() -> "pushed""#,
            "p.Receive() -> failed: the scripted server closed the connection",
        ]
    );
}

#[test]
fn logging_keeps_timeouts_state_and_error() {
    listen();
    let server = RedisServer::shared();
    let dialer =
        Dialer::url(server.url()).unwrap().read_timeout(Duration::from_millis(20)).database(3);
    let mut conn = logging(dialer.dial().unwrap(), "p");
    let late = conn.call("BLPOP", ("logging:none", 0)).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
    assert!(conn.err().unwrap().is_timeout());
    assert_eq!(conn.call("PING", ()).unwrap_err().timeout_kind(), Some(TimeoutKind::Read));
    // An earlier error is visible, too.
    let mut again = logging(conn, "again");
    assert!(again.call("PING", ()).unwrap_err().is_timeout());

    let mut conn = logging(dialer.dial().unwrap(), "p");
    let ctx = Context::background().with_timeout(Duration::from_millis(1));
    let late = conn.call_context(&ctx, "BLPOP", ("logging:none", 0)).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Context));
    lines();

    // A pool still undoes state, and the log shows the commands.
    let pool =
        Pool::builder_with(move |ctx| Ok(logging(dialer.dial_context(ctx)?, "p"))).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.call("SELECT", 5).unwrap();
    conn.call("WATCH", "k").unwrap();
    conn.close().unwrap();
    assert_eq!(pool.idle_count(), 1);
    assert_eq!(
        lines(),
        [
            r#"p.SELECT("5") -> "OK""#,
            r#"p.WATCH("k") -> "OK""#,
            r#"p.UNWATCH() -> "OK""#,
            r#"p.SELECT("3") -> "OK""#,
        ]
    );
}
