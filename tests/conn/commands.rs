//! One connection to a real server: commands, pipelines, two threads, state.
//!
//! The rows with an R number are those of redigo's TestDoCommands, TestPipelineCommands,
//! TestBlankCommand, TestRecvBeforeSend, TestError and TestExecError, and of its examples.

use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use redigo::args::ToArgs;
use redigo::testing::MemoryStream;
use redigo::{Conn, Context, Dialer, Error, Pool, Result, Value, reply};

use crate::support::live;
use crate::support::streams::{self, Tapped};
use crate::support::values::{bulks, list};
use crate::support::wait::{self, promptly, wait_until};

fn code(error: Error) -> String {
    error.as_server().unwrap_or_else(|| panic!("{error:?}")).code().to_owned()
}

// Redigo's script of 13 commands

/// Row, command, arguments, arguments as words, reply.
type Step = (&'static str, &'static str, &'static [&'static dyn ToArgs], &'static str, Value);

fn script() -> [Step; 13] {
    let names = || bulks(["bar", "foo"]);
    let simple = |text: &'static str| Value::simple(text);
    let found = list([Value::Nil, "bar".into()]);
    [
        ("R040", "PING", &[], "PING", simple("PONG")),
        ("R041", "SET", &[&"foo", &"bar"], "SET foo bar", simple("OK")),
        ("R042", "GET", &[&"foo"], "GET foo", "bar".into()),
        ("R043", "GET", &[&"nokey"], "GET nokey", Value::Nil),
        ("R044", "MGET", &[&"nokey", &"foo"], "MGET nokey foo", found),
        ("R045", "INCR", &[&"mycounter"], "INCR mycounter", 1.into()),
        ("R046", "LPUSH", &[&"mylist", &"foo"], "LPUSH mylist foo", 1.into()),
        ("R047", "LPUSH", &[&"mylist", &"bar"], "LPUSH mylist bar", 2.into()),
        ("R048", "LRANGE", &[&"mylist", &0, &-1], "LRANGE mylist 0 -1", names()),
        ("R049", "MULTI", &[], "MULTI", simple("OK")),
        ("R050", "LRANGE", &[&"mylist", &0, &-1], "LRANGE mylist 0 -1", simple("QUEUED")),
        ("R051", "PING", &[], "PING", simple("QUEUED")),
        ("R052", "EXEC", &[], "EXEC", list([names(), simple("PONG")])),
    ]
}

fn send_script(conn: &mut Conn) {
    for (_, command, args, ..) in script() {
        conn.send(command, args).unwrap();
    }
}

fn script_replies() -> Vec<Value> {
    script().into_iter().map(|(.., reply)| reply).collect()
}

#[test]
fn r040_to_r052_calls_return_their_replies() {
    let mut conn = live::conn();
    for (row, command, args, _, reply) in script() {
        assert_eq!(conn.call(command, args).unwrap(), reply, "{row}");
    }
}

#[test]
fn r040_to_r052_bytes_on_the_wire() {
    for (row, command, args, words, _) in script() {
        let stream = MemoryStream::new("+OK\r\n");
        let mut conn = Dialer::tcp(":6379").wrap(stream.clone());
        conn.call(command, args).unwrap();
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(stream.written(), streams::command(&words).as_bytes(), "{row}");
    }
}

#[test]
fn r053_sent_commands_are_received_in_order() {
    let mut conn = live::conn();
    send_script(&mut conn);
    conn.flush().unwrap();
    for (row, .., reply) in script() {
        assert_eq!(conn.receive().unwrap(), reply, "{row}");
    }
    assert_eq!(conn.drain().unwrap(), [], "nothing is pending");
}

#[test]
fn r054_blank_command_receives_all_replies() {
    let mut conn = live::conn();
    send_script(&mut conn);
    assert_eq!(conn.call("", "ignored").unwrap(), Value::Array(script_replies()));
    let mut conn = live::conn();
    send_script(&mut conn);
    assert_eq!(conn.drain().unwrap(), script_replies());
    assert_eq!(conn.drain().unwrap(), []);
    assert_eq!(conn.call("", ()).unwrap(), Value::Nil);
}

#[test]
fn r055_receive_before_send() {
    let socket = TcpStream::connect(live::server().addr()).unwrap();
    let (reading, is_reading) = mpsc::channel();
    let stream = Tapped::on_read(socket, move || {
        let _ = reading.send(());
    });
    let mut conn = Dialer::tcp(":6379").wrap(stream);
    let (mut sender, mut receiver) = conn.split();
    let reply = thread::scope(|scope| {
        let waiting = scope.spawn(move || receiver.receive());
        is_reading.recv_timeout(wait::PATIENCE).unwrap();
        sender.send("PING", ()).unwrap();
        sender.flush().unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(reply.unwrap(), Value::simple("PONG"));
    assert_eq!(promptly("Do(\"\")", || conn.call("", ())).unwrap(), Value::Nil);
    assert_eq!(conn.call("PING", ()).unwrap(), Value::simple("PONG"));
}

#[test]
fn two_threads_use_the_halves_of_a_connection() {
    const COUNT: i64 = 10_000;
    let mut conn = live::conn();
    let (mut sender, mut receiver) = conn.split();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..COUNT {
                sender.send("ECHO", number).unwrap();
            }
            sender.flush().unwrap();
        });
        for number in 0..COUNT {
            assert_eq!(receiver.receive().unwrap().convert::<i64>().unwrap(), number);
        }
    });
    assert!(conn.drain().unwrap().is_empty() && conn.is_alive());
}

// Error replies

#[test]
fn r056_r057_error_reply_leaves_connection_usable() {
    let mut conn = live::conn();
    conn.call("SET", ("key", "val")).unwrap();
    assert_eq!(code(conn.call("HSET", ("key", "fld", "val")).unwrap_err()), "WRONGTYPE");
    assert!(conn.err().is_none());
    assert_eq!(conn.call("SET", ("key", "val")).unwrap(), Value::simple("OK"));
}

#[test]
fn r060_to_r062_errors_around_a_transaction() {
    let mut conn = live::conn();
    // A command that is refused when queued aborts the transaction; its error comes first.
    conn.call("ZADD", ("k0", 0, 0)).unwrap();
    conn.send("MULTI", ()).unwrap();
    conn.send("NOTACOMMAND", ("k0", 0, 0)).unwrap();
    conn.send("ZINCRBY", ("k0", 0, 0)).unwrap();
    let error = conn.call("EXEC", ()).unwrap_err();
    assert!(error.to_string().contains("NOTACOMMAND"), "R060: {error}");
    assert_eq!(code(error), "ERR");

    // An error of a queued command that runs is an element of the reply.
    for (row, key, commands, wrong) in
        [("R061", "k1", ["HSET", "ZINCRBY"], 0), ("R062", "k2", ["ZINCRBY", "HSET"], 1)]
    {
        conn.call("ZADD", (key, 0, 0)).unwrap();
        conn.send("MULTI", ()).unwrap();
        commands.iter().for_each(|command| conn.send(command, (key, 0, 0)).unwrap());
        let reply = conn.call("EXEC", ()).unwrap();
        let items = reply.as_array().unwrap();
        assert_eq!(items.len(), 2, "{row}: {items:?}");
        assert!(matches!(&items[wrong], Value::Error(e) if e.code() == "WRONGTYPE"), "{row}");
        assert_eq!(items[1 - wrong], "0".into(), "{row}");
    }
    assert!(conn.err().is_none());
}

#[test]
fn call_with_pending_replies_returns_the_first_error() {
    let mut conn = live::conn();
    conn.call("SET", ("text", "x")).unwrap();
    for (last, args) in [("GET", "text"), ("LLEN", "text")] {
        conn.send("INCR", "text").unwrap();
        conn.send("NOTACOMMAND", ()).unwrap();
        conn.send("GET", "text").unwrap();
        let error = conn.call(last, args).unwrap_err();
        assert!(error.to_string().contains("not an integer"), "{error}");
        assert!(conn.drain().unwrap().is_empty());
    }
    // Without an error, the last reply is the reply.
    conn.send("GET", "nokey").unwrap();
    assert_eq!(conn.call("GET", "text").unwrap(), "x".into());
    // `receive` returns an error reply as an error, `drain` as an element.
    conn.send("INCR", "text").unwrap();
    conn.send("GET", "text").unwrap();
    conn.flush().unwrap();
    assert_eq!(code(conn.receive().unwrap_err()), "ERR");
    conn.send("NOTACOMMAND", ()).unwrap();
    let replies = conn.drain().unwrap();
    assert!(matches!(&replies[..], [Value::Bulk(_), Value::Error(_)]), "{replies:?}");
}

#[test]
fn conversion_error_leaves_connection_usable() {
    let mut conn = live::conn();
    conn.call("SET", ("text", "x")).unwrap();
    assert!(matches!(conn.query::<i64>("GET", "text"), Err(Error::Convert(_))));
    assert!(conn.query::<String>("GET", "nokey").unwrap_err().is_nil());
    assert_eq!(conn.query::<Option<String>>("GET", "nokey").unwrap(), None);
    assert!(conn.err().is_none());
    assert_eq!(conn.query::<String>("GET", "text").unwrap(), "x");
}

#[test]
fn calls_refuse_commands_with_several_replies() {
    let stream = MemoryStream::new("+PONG\r\n");
    let mut conn = streams::over(&stream);
    for command in ["SUBSCRIBE", "psubscribe", "SSubscribe", "UNSUBSCRIBE", "sunsubscribe"] {
        let pipeline = conn.pipeline().cmd("PING", ()).cmd(command, ("a", "b"));
        let refused = [
            pipeline.run().map(drop),
            conn.pipeline().cmd(command, "a").query::<()>(),
            conn.call(command, ("a", "b")).map(drop),
            conn.query::<()>(command, "a"),
            conn.call_timeout(wait::PATIENCE, command, "a").map(drop),
            conn.transaction((), |tx| tx.cmd(command, "a").exec::<()>()),
        ];
        for outcome in refused {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::Unsupported(_)), "{error}");
            let name = command.to_uppercase();
            assert!(error.to_string().contains(&name) && error.to_string().contains("PubSubConn"));
        }
    }
    assert_eq!(conn.call("PING", ()).unwrap().as_str(), Some("PONG"));
    assert_eq!(stream.written(), b"*1\r\n$4\r\nPING\r\n");
}

#[test]
fn query_of_nothing_returns_errors_inside_a_list() {
    let mut conn = live::conn();
    conn.call("MULTI", ()).unwrap();
    conn.call("SET", ("k", "text")).unwrap();
    conn.call("INCR", "k").unwrap();
    let error = conn.query::<()>("EXEC", ()).unwrap_err();
    assert!(error.to_string().contains("not an integer"), "{error}");
    let list = "*2\r\n:1\r\n*1\r\n-ERR no\r\n";
    let mut conn = streams::over(&MemoryStream::new(list.repeat(2)));
    assert_eq!(conn.query::<()>("FCALL", "f").unwrap_err().to_string(), "ERR no");
    let nested = conn.pipeline().cmd("FCALL", "f").query::<((),)>();
    assert_eq!(nested.unwrap_err().to_string(), "ERR no");
}

// Volume

#[test]
fn r063_many_calls_in_sequence() {
    let mut conn = live::conn();
    for _ in 0..1000 {
        assert_eq!(conn.call("PING", ()).unwrap(), Value::simple("PONG"));
        assert_eq!(conn.call("", ()).unwrap(), Value::Nil);
    }
}

#[test]
fn ten_thousand_sent_commands_are_answered_in_order() {
    let key = |number: i32| format!("key:{number}");
    let mut conn = live::conn();
    (0..10_000).for_each(|number| conn.send("SET", (key(number), number)).unwrap());
    let replies = conn.drain().unwrap();
    assert_eq!(replies.len(), 10_000);
    assert!(replies.iter().all(|reply| *reply == Value::simple("OK")));
    (0..10_000).for_each(|number| conn.send("GET", key(number)).unwrap());
    conn.flush().unwrap();
    for number in 0..10_000 {
        assert_eq!(conn.receive().unwrap().convert::<i32>().unwrap(), number);
    }
    assert_eq!(conn.query::<usize>("DBSIZE", ()).unwrap(), 10_000);
}

#[test]
fn large_values_arrive_complete_in_both_directions() {
    let mut conn = live::conn();
    let value: Vec<u8> = (0..8 << 20).map(|at: u32| (at % 251) as u8).collect();
    conn.call("SET", ("large", &value)).unwrap();
    assert!(conn.query::<Vec<u8>>("GET", "large").unwrap() == value);
    // Several large values in one list, followed by another reply.
    conn.send("MGET", ("large", "nokey", "large")).unwrap();
    conn.send("STRLEN", "large").unwrap();
    conn.flush().unwrap();
    let values: Vec<Option<Vec<u8>>> = conn.receive().unwrap().convert().unwrap();
    assert!(values == [Some(value.clone()), None, Some(value)]);
    assert_eq!(conn.receive().unwrap(), (8 << 20).into());
}

// Redigo's examples

#[test]
fn r212_to_r215_examples() {
    let mut conn = live::conn();
    conn.call("SET", ("foo", 1)).unwrap();
    assert!(reply::bool(conn.call("EXISTS", "foo")).unwrap(), "R212");

    conn.call("SET", ("k1", 1)).unwrap();
    assert_eq!(reply::int(conn.call("GET", "k1")).unwrap(), 1, "R213");
    assert_eq!(reply::int(conn.call("INCR", "k1")).unwrap(), 2, "R213");

    conn.call("SADD", ("set_with_integers", 4, 5, 6)).unwrap();
    let members = reply::ints(conn.call("SMEMBERS", "set_with_integers")).unwrap();
    assert_eq!(members, [4, 5, 6], "R214");

    conn.call("SET", ("hello", "world")).unwrap();
    assert_eq!(reply::string(conn.call("GET", "hello")).unwrap(), "world", "R215");
}

// The end of a connection

#[test]
fn killed_connection_is_not_alive() {
    let mut conn = live::conn();
    let id: i64 = conn.query("CLIENT", "ID").unwrap();
    assert!(conn.is_alive());
    live::conn().call("CLIENT", ("KILL", "ID", id)).unwrap();
    wait_until("the end is seen", || !conn.is_alive());
    assert!(conn.err().is_none(), "is_alive changes nothing");
    let error = conn.call("PING", ()).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
    assert_eq!(conn.close().unwrap_err().to_string(), error.to_string());
}

#[test]
fn unexpected_reply_makes_connection_not_alive() {
    let mut conn = live::conn();
    conn.send("PING", ()).unwrap();
    conn.flush().unwrap();
    let reply = promptly("poll", || conn.poll(wait::PATIENCE)).unwrap();
    assert_eq!(reply, Some(Value::simple("PONG")));
    assert!(conn.is_alive());

    let mut listener = live::conn();
    listener.send("SUBSCRIBE", "news").unwrap();
    listener.flush().unwrap();
    listener.receive().unwrap();
    assert!(listener.is_alive(), "the confirmation was the reply");
    assert_eq!(live::conn().query::<i32>("PUBLISH", ("news", "hello")).unwrap(), 1);
    wait_until("the message is there", || !listener.is_alive());
    let message = listener.poll(Duration::ZERO).unwrap();
    assert_eq!(message, Some(bulks(["message", "news", "hello"])));
    assert!(listener.is_alive());
}

#[test]
fn close_and_drop_end_the_connection_at_the_server() {
    let mut watcher = live::conn();
    let ends: [(&str, fn(Conn)); 2] = [("close", |conn| conn.close().unwrap()), ("drop", drop)];
    for (how, end) in ends {
        let mut conn = live::conn();
        let id: i64 = conn.query("CLIENT", "ID").unwrap();
        let mut is_listed =
            || !watcher.query::<String>("CLIENT", ("LIST", "ID", id)).unwrap().is_empty();
        assert!(is_listed(), "{how}");
        end(conn);
        wait_until(&format!("the server sees the end after {how}"), || !is_listed());
    }
}

// State

/// One way to send a command through a pooled connection and to receive its reply.
type Way = fn(&mut Conn, &str, &[&str]) -> Result<()>;

#[test]
fn pool_undoes_state_set_by_any_way_to_send() {
    let ways: [(&str, Way); 6] = [
        ("call", |conn, command, args| conn.call(command, args).map(drop)),
        ("query", |conn, command, args| conn.query::<Value>(command, args).map(drop)),
        ("call_timeout", |conn, command, args| {
            conn.call_timeout(wait::PATIENCE, command, args).map(drop)
        }),
        ("call_context", |conn, command, args| {
            conn.call_context(&Context::background(), command, args).map(drop)
        }),
        ("send", |conn, command, args| {
            conn.send(command, args).and_then(|()| conn.drain()).map(drop)
        }),
        ("split", |conn, command, args| {
            let (mut sender, mut receiver) = conn.split();
            sender.send(command, args)?;
            sender.flush()?;
            receiver.receive().map(drop)
        }),
    ];
    let commands: [(&str, &[&str], bool); 8] = [
        ("GET", &["k"], false),
        ("CLIENT", &["ID"], false),
        ("MULTI", &[], true),
        ("watch", &["k"], true),
        ("SELECT", &["3"], false),
        ("SELECT", &["0"], true),
        ("Client", &["SETNAME", "other"], true),
        ("HELLO", &[], true),
    ];
    let dialer = live::dialer().database(3);
    let pool = Pool::builder(dialer).max_active(1).build().unwrap();
    for (way, run) in ways {
        for (command, args, dirty) in commands {
            let mut conn = pool.acquire().unwrap();
            // Through the plain connection, without a wrapper.
            run(&mut conn, command, args).unwrap();
            drop(conn);
            // A drop does no I/O, so a connection with state to undo is closed.
            assert_eq!(pool.idle_count(), usize::from(!dirty), "{command} by {way}");
        }
    }
}

/// An incomplete command in the write buffer must never be followed by another.
#[test]
fn arguments_that_panic_end_the_connection() {
    struct Trap;
    impl ToArgs for Trap {
        fn write_args(&self, out: &mut redigo::ArgWriter<'_>) {
            out.bytes(b"half");
            std::panic::resume_unwind(Box::new("a trap in the arguments"));
        }
    }
    type Way = fn(&mut Conn);
    let ways: [Way; 3] = [
        |conn| drop(conn.call("SET", Trap)),
        |conn| drop(conn.send("SET", Trap)),
        |conn| drop(conn.split().0.send("SET", Trap)),
    ];
    for way in ways {
        let mut conn = live::dialer().dial().unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| way(&mut conn)));
        assert!(caught.is_err());
        let error = conn.call("PING", ()).unwrap_err();
        assert_eq!(error.to_string(), "the caller's code panicked while it used the connection");
    }
}
