//! The scripted server, used as in the tests of a user's program.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use redigo::testing::{Arg, ScriptedServer, message, pmessage, pong, subscription};
use redigo::{
    Args, CancelHandle, CloseReason, Conn, Context, Dialer, Error, Mux, Pool, Result, Script,
    TimeoutKind, Value, check,
};

use crate::support::wait::{PATIENCE, wait_until};

fn unexpected(outcome: Result<Value>) -> String {
    let error = outcome.unwrap_err();
    let error = error.as_server().expect("an error reply");
    assert_eq!(error.code(), "UNEXPECTED");
    error.message()["UNEXPECTED ".len()..].to_owned()
}

#[test]
fn ordered_commands_get_their_answers() {
    let server = ScriptedServer::new();
    server.expect("SET", ("k", 1)).ok();
    server.expect("get", "k").reply("1");
    server.expect("GET", "nothing");
    server.expect("INCR", "k").reply(2).reply(3);
    server.expect("LRANGE", ("l", 0, -1)).reply_list(["a", "b"]);
    server.expect("HGETALL", "h").reply_map([("name", "Ada")]);
    let mut conn = server.conn();
    assert_eq!(conn.call("SET", ("k", "1")).unwrap(), Value::simple("OK"));
    assert_eq!(conn.query::<String>("GET", "k").unwrap(), "1");
    assert!(conn.call("GET", "nothing").unwrap().is_nil());
    assert_eq!(conn.query::<i64>("INCR", "k").unwrap(), 2);
    assert_eq!(conn.query::<i64>("INCR", "k").unwrap(), 3);
    assert_eq!(conn.query::<Vec<String>>("LRANGE", ("l", 0, -1)).unwrap(), ["a", "b"]);
    let pairs: Vec<String> = conn.query("HGETALL", "h").unwrap();
    assert_eq!(pairs, ["name", "Ada"]);
    server.verify();
    assert_eq!(server.received().len(), 7);
}

#[test]
fn unexpected_command_is_an_error_that_names_the_expected() {
    let server = ScriptedServer::new();
    server.expect("GET", "a").reply("x");
    server.expect("GET", "b");
    let mut conn = server.conn();
    let other = unexpected(conn.call("GET", "z"));
    assert_eq!(other, r#"GET("z") was not expected: expected GET("a") next"#);
    // A command that comes too early is still expected, and the connection is usable.
    assert!(unexpected(conn.call("GET", "b")).ends_with(r#"expected GET("a") next"#));
    assert_eq!(conn.query::<String>("GET", "a").unwrap(), "x");
    assert!(unexpected(conn.call("GET", "a")).ends_with(r#"expected GET("b") next"#));
    conn.call("GET", "b").unwrap();
    assert!(unexpected(conn.call("PING", ())).ends_with("nothing more was expected"));
    assert!(conn.err().is_none());
    assert_eq!(server.problems().len(), 4);
}

#[test]
fn unordered_server_prefers_exact_expectations() {
    let server = ScriptedServer::unordered();
    let generic = server.expect_any("GET").reply("any").at_least_once();
    let exact = server.expect("GET", "k").reply("exact");
    let set = server.expect("SET", ("k", 1)).ok();
    let mut conn = server.conn();
    conn.call("SET", ("k", 1)).unwrap();
    assert_eq!(conn.query::<String>("GET", "k").unwrap(), "exact");
    assert_eq!(conn.query::<String>("GET", "k").unwrap(), "any");
    assert_eq!(conn.query::<String>("GET", "other").unwrap(), "any");
    assert_eq!((generic.calls(), exact.calls(), set.calls()), (2, 1, 1));
    server.verify();

    let again = unexpected(conn.call("SET", ("k", 1)));
    assert!(
        again.ends_with(r#"SET("k", "1") was already received as often as expected"#),
        "{again}"
    );
    let other = unexpected(conn.call("SET", ("k", 2)));
    assert!(other.ends_with(r#"expected by that name: SET("k", "1")"#), "{other}");
    server.expect("PING", ());
    let unknown = unexpected(conn.call("ECHO", "x"));
    assert!(unknown.ends_with("expected: PING()"), "{unknown}");
}

#[test]
fn argument_patterns_match() {
    let server = ScriptedServer::unordered();
    let pattern = [
        Arg::is("k"),
        Arg::any(),
        Arg::int(),
        Arg::float(),
        Arg::fits(|arg| arg.starts_with(b"x")),
    ];
    server.expect_args("SET", pattern).any_times();
    server.expect_where("DEL", |keys| keys.len() > 1).reply(2).any_times();
    let mut conn = server.conn();
    conn.call("SET", ("k", "", -1, 1.5, "xyz")).unwrap();
    assert_eq!(conn.query::<i64>("DEL", ["a", "b"]).unwrap(), 2);
    for wrong in [
        redigo::args!["other", "", -1, 1.5, "xyz"],
        redigo::args!["k", "", "1x", 1.5, "xyz"],
        redigo::args!["k", "", 1, "one", "xyz"],
        redigo::args!["k", "", 1, 1.5, "zyx"],
        redigo::args!["k", "", 1, 1.5],
        redigo::args!["k", "", 1, 1.5, "xyz", "more"],
        Args::new(),
    ] {
        assert!(unexpected(conn.call("SET", &wrong)).contains("SET(\"k\", any, an integer"));
    }
    assert!(unexpected(conn.call("DEL", "a")).contains("DEL(arguments that fit)"));
}

#[test]
fn scripts_are_expected_by_hash() {
    let server = ScriptedServer::new();
    let script = Script::new(1, "return redis.call('GET', KEYS[1])");
    server.expect_script(&script, ("k", 1)).reply("v");
    server.expect_script(&script, "k").error("NOSCRIPT No matching script.");
    server.expect("EVAL", script.eval_args("k")).reply("w");
    server.expect_script(&script.clone().read_only(), "k").reply("x");
    let mut conn = server.conn();
    assert_eq!(script.query::<String>(&mut conn, ("k", 1)).unwrap(), "v");
    assert_eq!(script.query::<String>(&mut conn, "k").unwrap(), "w");
    assert_eq!(script.read_only().query::<String>(&mut conn, "k").unwrap(), "x");
    server.verify();
}

#[test]
fn expected_number_of_calls_is_checked() {
    let server = ScriptedServer::new();
    server.expect("PING", ()).any_times();
    server.expect("INCR", "a").times(2).reply(1);
    server.expect("INCR", "b").reply(1).reply(2).at_least_once();
    server.expect("INCR", "c").reply(7).any_times();
    server.expect("QUIT", ()).ok();
    let mut conn = server.conn();
    let mut incr = |key: &str| conn.query::<i64>("INCR", key);
    assert_eq!((incr("a").unwrap(), incr("a").unwrap()), (1, 1));
    assert!(incr("a").is_err());
    assert_eq!((incr("b").unwrap(), incr("b").unwrap(), incr("b").unwrap()), (1, 2, 2));
    conn.call("QUIT", ()).unwrap();
    assert_eq!(server.problems().len(), 1);
}

#[test]
fn missing_commands_are_reported_with_their_location() {
    let server = ScriptedServer::new();
    server.expect("GET", "a").reply(1).reply(2);
    server.expect_any("SET").at_least_once();
    server.expect("AUTH", "secret");
    server.conn().call("GET", "a").unwrap();
    let problems = server.problems();
    assert!(problems[0].starts_with(r#"GET("a") was expected 2 times and received once (tests/"#));
    assert!(
        problems[1].starts_with("SET(any arguments) was expected at least once and received never")
    );
    assert!(problems[2].starts_with("AUTH(***)"), "{problems:?}");
    let said = catch_unwind(AssertUnwindSafe(|| server.verify())).unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert!(problems.iter().all(|problem| said.contains(problem)), "{said}");
    // Dropping the server checks nothing.
    drop(server);
}

#[test]
fn server_errors_are_replies_and_others_end_the_connection() {
    let server = ScriptedServer::new();
    server.expect("INCR", "k").error("ERR not a number");
    server.expect("INCR", "k").fail(Error::from(redigo::ServerError::new("WRONGTYPE no")));
    server.expect("INCR", "k").fail(io::Error::from(io::ErrorKind::ConnectionReset));
    let mut conn = server.conn();
    let code = |outcome: Result<Value>| outcome.unwrap_err().as_server().unwrap().code().to_owned();
    assert_eq!(code(conn.call("INCR", "k")), "ERR");
    assert_eq!(code(conn.call("INCR", "k")), "WRONGTYPE");
    assert!(conn.err().is_none());
    assert!(matches!(conn.call("INCR", "k"), Err(Error::Io(_))));
    assert!(conn.err().is_some());
    // The error is final, and the server receives no more commands.
    assert!(matches!(conn.call("INCR", "k"), Err(Error::Io(_))));
    assert_eq!(server.received().len(), 3);
    assert_eq!(server.open_conns(), 0);
    server.verify();

    server.expect("GET", "k").timeout();
    let mut conn = server.conn();
    let late = conn.call("GET", "k").unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
    assert!(conn.err().is_some());

    server.expect("GET", "k").disconnect();
    let gone = server.conn().call("GET", "k").unwrap_err();
    assert!(matches!(gone, Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));

    // An error that is not fatal is wrapped into one that is.
    server.expect("GET", "k").fail(Error::other("simulated"));
    let mut conn = server.conn();
    assert_eq!(conn.call("GET", "k").unwrap_err().to_string(), "simulated");
    assert!(conn.err().is_some());
}

#[test]
fn handler_sees_arguments_and_can_panic() {
    let server = ScriptedServer::unordered();
    let own = server.clone();
    server.expect_any("ECHO").any_times().reply_with(move |args| {
        // The handler can use the server.
        own.push(args[0]);
        Ok(args[0].into())
    });
    server.expect_any("BOOM").reply_with(|_| panic!("as told"));
    server.expect_any("FAIL").reply_with(|_| Err(Error::Canceled));
    let mut conn = server.conn();
    assert_eq!(conn.query::<String>("ECHO", "hello").unwrap(), "hello");
    assert_eq!(conn.receive().unwrap(), Value::from("hello"));
    assert!(catch_unwind(AssertUnwindSafe(|| conn.call("BOOM", ()))).is_err());
    let mut conn = server.conn();
    assert!(conn.call("FAIL", ()).unwrap_err().is_canceled());
    assert!(conn.err().is_some());
}

#[test]
fn pipeline_is_answered_in_order_with_errors() {
    let server = ScriptedServer::new();
    server.expect("SET", ("a", 1)).ok();
    server.expect("INCR", "b").error("ERR no");
    server.expect("GET", "a").reply("1");
    let mut conn = server.conn();
    conn.send("SET", ("a", 1)).unwrap();
    conn.send("INCR", "b").unwrap();
    conn.send("NONSENSE", ()).unwrap();
    conn.send("GET", "a").unwrap();
    assert!(server.received().is_empty(), "nothing is sent before a flush");
    conn.flush().unwrap();
    assert_eq!(server.received().len(), 4);
    assert_eq!(conn.receive().unwrap(), Value::simple("OK"));
    assert_eq!(conn.receive().unwrap_err().to_string(), "ERR no");
    assert!(unexpected(conn.receive()).starts_with("NONSENSE()"));
    assert_eq!(conn.receive().unwrap(), Value::from("1"));
    assert!(conn.drain().unwrap().is_empty());

    server.clear();
    server.expect("MULTI", ()).ok();
    server.expect("INCR", "a").queued();
    server.expect("EXEC", ()).reply_list([2]);
    conn.send("MULTI", ()).unwrap();
    conn.send("INCR", "a").unwrap();
    assert_eq!(conn.call("EXEC", ()).unwrap(), Value::from(vec![Value::Int(2)]));
    server.verify();
}

#[test]
fn flush_fails_on_request() {
    let server = ScriptedServer::new();
    server.expect("PING", ());
    server.fail_flush(io::Error::from(io::ErrorKind::BrokenPipe));
    let mut conn = server.conn();
    conn.send("PING", ()).unwrap();
    assert!(conn.flush().is_err());
    assert!(conn.err().is_some());
    assert!(server.received().is_empty());
    server.conn().call("PING", ()).unwrap();
    server.verify();
}

#[test]
fn pushes_follow_their_answers() {
    let server = ScriptedServer::new();
    server
        .expect("SUBSCRIBE", ["a", "b"])
        .reply(subscription("subscribe", "a", 1))
        .then_push(subscription("subscribe", "b", 2))
        .then_push(message("a", "one"));
    server.expect("PING", "x").reply(pong("x"));
    server.push(pmessage("p*", "pa", "two"));
    let mut conn = server.conn();
    conn.send("SUBSCRIBE", ["a", "b"]).unwrap();
    conn.send("PING", "x").unwrap();
    conn.flush().unwrap();
    let received: Vec<Value> = (0..5).map(|_| conn.receive().unwrap()).collect();
    let expected = [
        subscription("subscribe", "a", 1),
        subscription("subscribe", "b", 2),
        message("a", "one"),
        pong("x"),
        pmessage("p*", "pa", "two"),
    ];
    assert_eq!(received, expected);
    // There is nothing more, and a test must not hang: a poll returns `None`, a deadline passes
    // immediately, and without a deadline the connection is closed.
    assert_eq!(conn.poll(Duration::from_secs(3600)).unwrap(), None);
    let outcome = server.conn().receive_timeout(Duration::from_secs(3600));
    assert!(outcome.unwrap_err().is_timeout());
    assert!(matches!(conn.receive(), Err(Error::Io(_))));
}

#[test]
fn stay_open_lets_receivers_wait() {
    let server = ScriptedServer::new();
    server.stay_open();
    server.expect("SUBSCRIBE", "news").no_reply();
    let mut conn = server.conn();
    assert_eq!(conn.poll(Duration::from_millis(1)).unwrap(), None);
    conn.send("SUBSCRIBE", "news").unwrap();
    conn.flush().unwrap();
    let (tell, first) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        tell.send(conn.receive_timeout(PATIENCE).unwrap()).unwrap();
        conn.receive_timeout(PATIENCE)
    });
    server.push(message("news", "hello"));
    assert_eq!(first.recv_timeout(PATIENCE).unwrap(), message("news", "hello"));
    server.disconnect();
    assert!(matches!(listener.join().unwrap(), Err(Error::Io(_))));
}

#[test]
fn context_handle_and_timeout_end_a_waiting_receive() {
    let server = ScriptedServer::new();
    server.stay_open();
    let (ctx, cancel): (Context, CancelHandle) = Context::background().with_cancel();
    let mut conn = server.conn();
    let waiting = std::thread::spawn(move || conn.receive_context(&ctx));
    cancel.cancel();
    assert!(waiting.join().unwrap().unwrap_err().is_canceled());

    let mut conn = server.conn();
    let handle = conn.shutdown_handle();
    let waiting = std::thread::spawn(move || conn.receive());
    handle.shutdown();
    assert!(waiting.join().unwrap().unwrap_err().is_canceled());

    let mut conn = server.conn();
    let late = conn.receive_timeout(Duration::from_millis(1)).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
    // A timeout of zero passes before anything is sent.
    let late = server.conn().call_timeout(Duration::ZERO, "PING", ()).unwrap_err();
    assert!(late.is_timeout());
    assert!(server.received().is_empty());
}

#[test]
fn one_thread_sends_while_another_receives() {
    let server = ScriptedServer::new();
    server.stay_open();
    server.expect("PING", ()).reply("PONG");
    let mut conn = server.conn();
    let (mut sender, mut receiver) = conn.split();
    std::thread::scope(|scope| {
        let reply = scope.spawn(move || receiver.receive());
        sender.send("PING", ()).unwrap();
        sender.flush().unwrap();
        assert_eq!(reply.join().unwrap().unwrap(), Value::from("PONG"));
    });
    assert!(conn.drain().unwrap().is_empty());
}

#[test]
fn pool_uses_a_scripted_server() {
    let server = ScriptedServer::new();
    let pool =
        Pool::builder(server.dialer()).max_active(2).test_on_borrow(check::peek()).build().unwrap();
    server.fail_dial(io::Error::from(io::ErrorKind::ConnectionRefused));
    assert!(matches!(pool.acquire(), Err(Error::Io(_))));

    server.expect("WATCH", "k").ok();
    server.expect("UNWATCH", ()).ok();
    let mut conn = pool.acquire().unwrap();
    conn.call("WATCH", "k").unwrap();
    conn.close().unwrap();
    server.verify();
    assert_eq!((pool.idle_count(), server.open_conns()), (1, 1));

    // A closed idle connection is detected at the checkout.
    server.disconnect();
    server.expect("PING", ()).reply("PONG");
    pool.acquire().unwrap().call("PING", ()).unwrap();
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
    pool.close();
    // The connection that failed its test is closed on another thread.
    wait_until("all are closed", || server.open_conns() == 0);
    server.verify();
}

#[test]
fn mux_shares_a_scripted_connection() {
    let server = ScriptedServer::unordered();
    server.stay_open();
    let echo = server.expect_any("ECHO").reply_with(|args| Ok(args[0].into())).any_times();
    let mux = Mux::new(server.dialer());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mux = &mux;
            scope.spawn(move || {
                for number in 0..10 {
                    let text = format!("{thread}-{number}");
                    assert_eq!(mux.query::<String>("ECHO", &text).unwrap(), text);
                }
            });
        }
    });
    assert_eq!((echo.calls(), server.open_conns()), (40, 1));
    drop(mux);
    assert_eq!(server.open_conns(), 0);
}

#[test]
fn connection_with_surplus_replies_is_not_returned() {
    let server = ScriptedServer::new();
    server.expect("GET", "k").reply("v").then_push("too much");
    let pool = Pool::builder(server.dialer()).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.call("GET", "k").unwrap();
    assert!(!conn.is_alive());
    drop(conn);
    assert_eq!(pool.idle_count(), 0);
}

#[test]
fn clear_forgets_everything_but_connections() {
    let server = ScriptedServer::new();
    let expectation = server.expect("GET", "k").reply("v");
    server.push("x");
    server.fail_flush(Error::Canceled);
    server.fail_dial(Error::Canceled);
    server.clear();
    assert!(server.problems().is_empty());
    let mut conn: Conn = server.dialer().dial().unwrap();
    assert!(conn.call("GET", "k").is_err());
    assert!(conn.err().is_none());
    assert_eq!(expectation.reply("ignored").calls(), 0);
    assert_eq!(server.received().len(), 1);
    server.clear();
    assert!(server.received().is_empty());
    assert_eq!(server.open_conns(), 1);
}

#[test]
fn dialer_works_wherever_a_dialer_is_accepted() {
    /// Code of a program: it accepts a dialer, and changes its options.
    fn increment(dialer: &Dialer) -> Result<i64> {
        let dialer = dialer.clone().read_timeout(PATIENCE).client_name("counter");
        dialer.dial_context(&Context::background())?.query("INCR", "visits")
    }
    let server = ScriptedServer::new();
    server.expect("AUTH", ("app", "secret")).ok();
    server.expect("CLIENT", ("SETNAME", "counter")).ok();
    server.expect("SELECT", 3).ok();
    server.expect("INCR", "visits").reply(7);
    let dialer = server.dialer().username("app").password("secret").database(3);
    assert_eq!(increment(&dialer).unwrap(), 7);
    server.verify();
    assert_eq!(server.open_conns(), 0);

    // A refusal while dialing is reported like that of a real server.
    server.expect("AUTH", "wrong").error("WRONGPASS invalid password");
    let refused = server.dialer().password("wrong").dial().unwrap_err();
    assert_eq!(refused.as_server().unwrap().code(), "WRONGPASS");
    server.fail_dial(io::Error::from(io::ErrorKind::ConnectionRefused));
    assert!(matches!(server.dialer().dial(), Err(Error::Io(_))));
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(server.dialer().dial_context(&ctx).unwrap_err().is_canceled());
}

#[test]
fn dialer_options_apply_to_scripted_connections() {
    let server = ScriptedServer::new();
    server.stay_open();
    let mut conn = server.dialer().read_timeout(Duration::from_millis(1)).dial().unwrap();
    assert_eq!(conn.receive().unwrap_err().timeout_kind(), Some(TimeoutKind::Read));
    // The same dialer in a pool, and instead of another.
    let other = ScriptedServer::new();
    let pool = Pool::builder(server.dialer()).build().unwrap();
    pool.acquire().unwrap().close().unwrap();
    pool.replace_dialer(other.dialer());
    let conn = pool.acquire().unwrap();
    assert_eq!(other.open_conns(), 1);
    drop(conn);
}
