//! Pipelines and transactions, on a real server and on misbehaving peers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Context, Dialer, Error, Pool, Result, ServerError, TimeoutKind, Value};

use crate::support::live::{shared_conn as dial, shared_dialer as dialer};
use crate::support::streams::{command, over, written};
use crate::support::wait::LONG;

/// The most bytes that the client may leave unanswered, with a margin.
const WINDOW: usize = 64 * 1024;

fn wire(commands: &[&[&str]]) -> String {
    commands.iter().map(|words| command(words)).collect()
}

fn server_error(error: &Error) -> &ServerError {
    error.as_server().unwrap_or_else(|| panic!("{error:?}"))
}

/// Checks that the connection is in step, in no transaction, and watches no key.
#[track_caller]
fn assert_clean(conn: &mut Conn, watched: &str) {
    assert!(conn.err().is_none(), "{:?}", conn.err());
    assert_eq!(conn.query::<String>("ECHO", "in step").unwrap(), "in step");
    dial().call("APPEND", (watched, "x")).unwrap();
    conn.call("MULTI", ()).unwrap();
    conn.call("PING", ()).unwrap();
    let replies: Option<Vec<String>> = conn.query("EXEC", ()).unwrap();
    assert_eq!(replies, Some(vec!["PONG".to_string()]), "still watching");
}

// Pipelines.

#[test]
fn r040_to_r054_pipeline_of_thirteen_commands() {
    let mut conn = dial();
    conn.call("SELECT", 5).unwrap();
    let replies = conn
        .pipeline()
        .cmd("PING", ())
        .cmd("SET", ("foo", "bar"))
        .cmd("GET", "foo")
        .cmd("GET", "nokey")
        .cmd("MGET", ("nokey", "foo"))
        .cmd("INCR", "mycounter")
        .cmd("LPUSH", ("mylist", "foo"))
        .cmd("LPUSH", ("mylist", "bar"))
        .cmd("LRANGE", ("mylist", 0, -1))
        .cmd("MULTI", ())
        .cmd("LRANGE", ("mylist", 0, -1))
        .cmd("PING", ())
        .cmd("EXEC", ())
        .run()
        .unwrap();
    let replies: Vec<Value> = replies.into_iter().map(Result::unwrap).collect();
    let list = || Value::from(vec![Value::from("bar"), Value::from("foo")]);
    let expected = [
        Value::simple("PONG"),
        Value::simple("OK"),
        Value::from("bar"),
        Value::Nil,
        Value::from(vec![Value::Nil, Value::from("bar")]),
        Value::Int(1),
        Value::Int(1),
        Value::Int(2),
        list(),
        Value::simple("OK"),
        Value::simple("QUEUED"),
        Value::simple("QUEUED"),
        Value::from(vec![list(), Value::simple("PONG")]),
    ];
    assert_eq!(replies, expected);
}

#[test]
fn fault_29_each_command_has_its_own_result() {
    let mut conn = dial();
    let replies = conn
        .pipeline()
        .cmd("SET", ("p:own", "text"))
        .cmd("HSET", ("p:own", "f", 1))
        .cmd("NONSENSE", ())
        .cmd("", ())
        .cmd("GET", "p:own")
        .run()
        .unwrap();
    assert_eq!(replies.len(), 5);
    assert!(replies[0].is_ok());
    let refused: Vec<_> = replies[1..4]
        .iter()
        .map(|reply| server_error(reply.as_ref().unwrap_err()))
        .map(|error| (error.code(), error.command().unwrap()))
        .collect();
    assert_eq!(refused, [("WRONGTYPE", (1, "HSET")), ("ERR", (2, "NONSENSE")), ("ERR", (3, ""))]);
    let text = replies[1].as_ref().unwrap_err().to_string();
    assert!(text.starts_with("command [1] HSET: WRONGTYPE "), "{text}");
    assert_eq!(replies[4].as_ref().unwrap().as_str(), Some("text"));
    assert!(conn.err().is_none());
}

#[test]
fn query_converts_all_replies_to_one_type() {
    let mut conn = dial();
    let (_, count, missing, text): ((), u8, Option<i64>, String) = conn
        .pipeline()
        .cmd("SET", ("p:typed", 7))
        .cmd("INCR", "p:typed")
        .cmd("GET", "p:none")
        .cmd("GET", "p:typed")
        .query()
        .unwrap();
    assert_eq!((count, missing, text.as_str()), (8, None, "8"));

    let mut pipeline = conn.pipeline();
    (0..3).for_each(|_| pipeline.push("INCR", "p:typed"));
    assert_eq!(pipeline.len(), 3);
    assert_eq!(pipeline.query::<Vec<i64>>().unwrap(), [9, 10, 11]);
}

#[test]
fn conversion_error_names_the_command() {
    let mut conn = dial();
    let refused = conn
        .pipeline()
        .cmd("SET", ("p:unfit", "text"))
        .cmd("INCR", "p:unfit")
        .cmd("LPUSH", ("p:unfit", 1))
        .query::<()>()
        .unwrap_err();
    assert_eq!(server_error(&refused).command(), Some((1, "INCR")), "the first error");

    let cases: [(Error, &str); 3] = [
        (
            conn.pipeline().cmd("PING", ()).cmd("GET", "p:none").query::<((), i64)>().unwrap_err(),
            "expected an integer, found nil at element [1]",
        ),
        (
            conn.pipeline().cmd("GET", "p:unfit").query::<(i64,)>().unwrap_err(),
            "expected an integer that fits i64, found \"text\" at element [0]",
        ),
        (
            conn.pipeline().cmd("PING", ()).query::<((), ())>().unwrap_err(),
            "expected length 2, found length 1",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
    assert!(conn.err().is_none());
}

#[test]
fn short_pipeline_is_one_write_and_dropped_one_none() {
    let stream = MemoryStream::new("+OK\r\n:1\r\n");
    let mut conn = over(&stream);
    let pipeline = conn.pipeline().cmd("SET", ("secret", 0));
    assert_eq!(format!("{pipeline:?}"), "Pipeline { commands: 1, .. }");
    drop(pipeline);
    assert!(conn.pipeline().is_empty());
    assert!(conn.pipeline().run().unwrap().is_empty());
    assert_eq!(stream.writes(), 0);

    conn.pipeline().cmd("SET", ("k", 0)).cmd("INCR", "k").run().unwrap();
    assert_eq!(stream.writes(), 1);
    assert_eq!(written(&stream), wire(&[&["SET", "k", "0"], &["INCR", "k"]]));
}

#[test]
fn ten_thousand_commands_are_answered_in_order() {
    let mut conn = dial();
    let value = |number: usize| format!("{number:0100}");
    let mut sets = conn.pipeline();
    for number in 0..10_000 {
        sets.push("SET", (format!("p:many:{number}"), value(number)));
    }
    let replies = sets.run().unwrap();
    assert_eq!(replies.len(), 10_000);
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().as_str() == Some("OK")));

    let mut gets = conn.pipeline();
    (0..10_000).for_each(|number| gets.push("GET", format!("p:many:{number}")));
    let values: Vec<String> = gets.query().unwrap();
    assert!((0..10_000).all(|number| values[number] == value(number)));
    let mut dels = conn.pipeline();
    (0..10_000).for_each(|number| dels.push("DEL", format!("p:many:{number}")));
    assert_eq!(dels.query::<Vec<usize>>().unwrap().iter().sum::<usize>(), 10_000);
}

/// Answers each command of `asked` bytes with a string of `answer` bytes, and reads the next
/// command only when that is written. It blocks while the client does not read.
#[cfg(unix)]
fn blocking_peer(asked: usize, answer: usize, count: usize) -> (Dialer, thread::JoinHandle<()>) {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use crate::support::redis_server::RedisServer;

    let path = RedisServer::shared().dir().join("blocking.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let reply = format!("${answer}\r\n{}\r\n", "y".repeat(answer));
        let mut command = vec![0; asked];
        for _ in 0..count {
            // A client that has given up has failed the test.
            if stream.read_exact(&mut command).is_err() {
                return;
            }
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    });
    (Dialer::unix(path), peer)
}

#[cfg(unix)]
#[test]
fn peer_that_stops_reading_does_not_block_a_pipeline() {
    const COUNT: usize = 3000;
    let argument = "x".repeat(1000);
    let asked = wire(&[&["ECHO", &argument]]).len();
    // Both directions carry many times the size of socket buffers.
    let (dialer, peer) = blocking_peer(asked, 5000, COUNT);
    let mut conn = dialer.dial().unwrap();
    let mut pipeline = conn.pipeline();
    (0..COUNT).for_each(|_| pipeline.push("ECHO", &argument));
    let replies = pipeline.run_timeout(LONG).unwrap();
    assert_eq!(replies.len(), COUNT);
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().as_bytes().unwrap().len() == 5000));
    peer.join().unwrap();
}

#[test]
fn unanswered_bytes_never_exceed_the_window() {
    let stream = MemoryStream::silent();
    let mut conn = over(&stream);
    let mut pipeline = conn.pipeline();
    (0..10_000).for_each(|_| pipeline.push("SET", ("key", "x".repeat(100))));
    let late = pipeline.run_timeout(Duration::from_millis(50)).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
    let sent = stream.written().len();
    assert!((WINDOW / 2..=WINDOW).contains(&sent), "{sent} bytes");
}

#[test]
fn long_command_waits_for_all_replies_before_it() {
    let long = "x".repeat(1 << 20);
    let stream = MemoryStream::silent();
    let mut conn = over(&stream);
    let pipeline = conn.pipeline().cmd("PING", ()).cmd("SET", ("k", &long));
    pipeline.run_timeout(Duration::from_millis(50)).unwrap_err();
    assert_eq!(written(&stream), wire(&[&["PING"]]));

    let mut conn = dial();
    let pipeline = conn.pipeline().cmd("SET", ("p:long", &long)).cmd("PING", ());
    let pipeline = pipeline.cmd("GET", "p:long").cmd("SET", ("p:long", &long)).cmd("DEL", "p:long");
    let (_, pong, back, _, gone): ((), String, String, (), i64) = pipeline.query().unwrap();
    assert_eq!((pong.as_str(), back.len(), gone), ("PONG", 1 << 20, 1));
}

#[test]
fn pending_replies_are_received_before_a_pipeline() {
    let mut conn = dial();
    conn.send("ECHO", "earlier").unwrap();
    conn.send("ECHO", "earlier, flushed").unwrap();
    conn.flush().unwrap();
    conn.send("ECHO", "earlier").unwrap();
    let own: Vec<String> = conn.pipeline().cmd("ECHO", "a").cmd("ECHO", "b").query().unwrap();
    assert_eq!(own, ["a", "b"]);
    assert!(conn.drain().unwrap().is_empty(), "nothing is pending");

    conn.send("NONSENSE", ()).unwrap();
    conn.send("ECHO", "earlier").unwrap();
    let error = conn.pipeline().cmd("SET", ("p:owed", 1)).run().unwrap_err();
    assert_eq!(server_error(&error).command(), None);
    assert!(error.to_string().contains("NONSENSE"), "{error}");
    assert_eq!(conn.query::<i64>("EXISTS", "p:owed").unwrap(), 0, "nothing was sent");
}

#[test]
fn read_timeout_limits_all_replies_together() {
    // All commands fit into the window.
    for length in [1, 6000] {
        let stream = MemoryStream::silent();
        let dialer = Dialer::tcp(":6379").read_timeout(Duration::from_millis(200));
        let mut conn = dialer.wrap(stream.clone());
        let mut pipeline = conn.pipeline();
        (0..1000).for_each(|_| pipeline.push("ECHO", "x".repeat(length)));
        let over = &AtomicBool::new(false);
        let outcome = thread::scope(|scope| {
            // Each reply arrives soon; all of them take many times the timeout.
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    stream.push("+x\r\n");
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let outcome = pipeline.run();
            over.store(true, Ordering::Relaxed);
            outcome
        });
        let late = outcome.expect_err("all came within the timeout");
        assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
        assert!(conn.err().is_some());
    }
}

#[test]
fn run_timeout_replaces_the_read_timeout() {
    let stream = MemoryStream::silent();
    let dialer = Dialer::tcp(":6379").read_timeout(Duration::from_millis(20));
    let mut conn = dialer.wrap(stream.clone());
    let answer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        stream.push("+PONG\r\n");
    });
    assert!(conn.pipeline().cmd("PING", ()).run_timeout(None).is_ok());
    answer.join().unwrap();
    let over = conn.pipeline().cmd("PING", ()).run_timeout(Duration::ZERO).unwrap_err();
    assert!(over.is_timeout());
    assert!(conn.pipeline().cmd("PING", ()).run().unwrap_err().is_timeout(), "it sticks");
}

#[test]
fn context_limits_a_pipeline() {
    let stream = MemoryStream::silent();
    let mut conn = over(&stream);
    let soon = Context::background().with_timeout(Duration::from_millis(20));
    let late = conn.pipeline().cmd("PING", ()).run_context(&soon).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Context));

    let stream = MemoryStream::silent();
    let mut conn = over(&stream);
    let (ctx, cancel) = Context::background().with_cancel();
    let canceler = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        cancel.cancel();
    });
    assert!(conn.pipeline().cmd("PING", ()).run_context(&ctx).unwrap_err().is_canceled());
    canceler.join().unwrap();
    assert!(conn.err().unwrap().is_canceled());

    let stream = MemoryStream::silent();
    let mut conn = over(&stream);
    assert!(conn.pipeline().cmd("PING", ()).run_context(&ctx).unwrap_err().is_canceled());
    assert_eq!(stream.writes(), 0, "a context that has ended sends nothing");

    let mut conn = dial();
    let live = Context::background().with_timeout(LONG);
    assert_eq!(conn.pipeline().cmd("PING", ()).run_context(&live).unwrap().len(), 1);
}

#[test]
fn connection_that_ends_in_a_pipeline_is_the_outer_error() {
    let stream = MemoryStream::new("+OK\r\n-ERR no\r\n$5\r\nbr");
    let mut conn = over(&stream);
    let pipeline = conn.pipeline().cmd("SET", ("a", 1)).cmd("NO", ()).cmd("GET", "a");
    assert!(matches!(pipeline.run().unwrap_err(), Error::Io(_)));
    assert!(matches!(conn.err(), Some(Error::Io(_))));
    assert!(matches!(conn.pipeline().cmd("PING", ()).run(), Err(Error::Io(_))));
    assert!(matches!(conn.pipeline().run(), Err(Error::Io(_))));
}

#[test]
fn pool_undoes_state_left_by_a_pipeline() {
    let pool = Pool::builder(dialer()).max_active(1).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    let id: i64 = conn.query("CLIENT", "ID").unwrap();
    conn.pipeline()
        .cmd("SELECT", 3)
        .cmd("CLIENT", ("SETNAME", "pipeline"))
        .cmd("WATCH", "p:leak")
        .cmd("MULTI", ())
        .run()
        .unwrap();
    conn.close().unwrap();

    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<i64>("CLIENT", "ID").unwrap(), id, "the same connection");
    let info: String = conn.query("CLIENT", "INFO").unwrap();
    assert!(info.contains(" db=0 ") && info.contains(" name= ") && info.contains(" flags=N "));
    assert_clean(&mut conn, "p:leak");
    conn.pipeline().cmd("SELECT", 3).run().unwrap();
    drop(conn);
    assert_eq!(pool.idle_count(), 0, "drop does no I/O, so the connection is closed");
}

// Transactions.

#[test]
fn r060_refused_command_is_the_cause_of_execabort() {
    let mut conn = dial();
    conn.call("DEL", "t:k0").unwrap();
    conn.call("ZADD", ("t:k0", 0, 0)).unwrap();
    let error = conn
        .transaction((), |tx| {
            tx.cmd("ZINCRBY", ("t:k0", 1, 0))
                .cmd("NOTACOMMAND", ("t:k0", 0, 0))
                .cmd("ZINCRBY", "too few")
                .exec::<Vec<Value>>()
        })
        .unwrap_err();
    let abort = server_error(&error);
    assert_eq!(abort.code(), "EXECABORT");
    let cause = abort.cause().unwrap();
    assert_eq!((cause.code(), cause.command()), ("ERR", Some((1, "NOTACOMMAND"))));
    let text = error.to_string();
    assert!(text.starts_with("EXECABORT ") && text.contains("unknown command"), "{text}");
    assert_eq!(conn.query::<f64>("ZSCORE", ("t:k0", 0)).unwrap(), 0.0, "nothing was changed");
    assert_clean(&mut conn, "t:k0:other");
}

#[test]
fn r061_r062_failed_command_leaves_the_others_done() {
    let mut conn = dial();
    for (key, refused, first) in [("t:k1", 0, "HSET"), ("t:k2", 1, "ZINCRBY")] {
        conn.call("DEL", key).unwrap();
        conn.call("ZADD", (key, 0, 0)).unwrap();
        let second = if first == "HSET" { "ZINCRBY" } else { "HSET" };
        let replies = conn
            .transaction((), |tx| tx.cmd(first, (key, 0, 0)).cmd(second, (key, 0, 0)).run())
            .unwrap();
        assert_eq!(replies.len(), 2);
        let error = server_error(replies[refused].as_ref().unwrap_err());
        assert_eq!((error.code(), error.command()), ("WRONGTYPE", Some((refused, "HSET"))));
        assert_eq!(replies[1 - refused].as_ref().unwrap(), &Value::from("0"));

        let typed = conn
            .transaction((), |tx| tx.cmd(first, (key, 0, 0)).cmd(second, (key, 0, 0)).exec::<()>())
            .unwrap_err();
        assert_eq!(server_error(&typed).command(), Some((refused, "HSET")));
        assert_eq!(server_error(&typed).cause(), None);
    }
    assert_clean(&mut conn, "t:k1:other");
}

#[test]
fn transaction_without_keys_is_one_write() {
    let stream = MemoryStream::new("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\n1\r\n");
    let mut conn = over(&stream);
    let (count, text): (i64, String) =
        conn.transaction((), |tx| tx.cmd("INCR", "n").cmd("GET", "n").exec()).unwrap();
    assert_eq!((count, text.as_str()), (1, "1"));
    assert_eq!(stream.writes(), 1);
    let commands: [&[&str]; 4] = [&["MULTI"], &["INCR", "n"], &["GET", "n"], &["EXEC"]];
    assert_eq!(written(&stream), wire(&commands));
}

#[test]
fn changed_key_runs_the_body_again() {
    let (mut conn, mut other) = (dial(), dial());
    conn.call("MSET", ("t:retry:a", 1, "t:retry:b", 1)).unwrap();
    let mut attempts = Vec::new();
    let sum = conn
        .transaction(["t:retry:a", "t:retry:b"], |mut tx| {
            attempts.push(tx.attempt());
            let (a, b): (i64, i64) = tx.query("MGET", ("t:retry:a", "t:retry:b"))?;
            if tx.attempt() < 4 {
                // The first key changes, then the second key twice.
                let key = if tx.attempt() == 1 { "t:retry:a" } else { "t:retry:b" };
                other.call("INCR", key)?;
            }
            tx.cmd("SET", ("t:retry:sum", a + b)).exec::<()>()?;
            Ok(a + b)
        })
        .unwrap();
    assert_eq!(attempts, [1, 2, 3, 4]);
    assert_eq!(sum, 5);
    assert_eq!(conn.query::<i64>("GET", "t:retry:sum").unwrap(), 5);
    assert_clean(&mut conn, "t:retry:a");
}

#[test]
fn transaction_fails_after_a_hundred_attempts() {
    let (mut conn, mut other) = (dial(), dial());
    let mut runs = 0;
    let error = conn
        .transaction("t:never", |tx| {
            runs += 1;
            other.call("INCR", "t:never")?;
            tx.cmd("SET", ("t:never:done", 1)).exec::<()>()
        })
        .unwrap_err();
    assert!(matches!(error, Error::TransactionAborted { attempts: 100 }), "{error:?}");
    assert!(error.is_transaction_aborted() && !error.is_fatal());
    assert_eq!(error.to_string(), "the transaction was aborted 100 times: a watched key changed");
    assert_eq!(runs, 100);
    assert_eq!(conn.query::<i64>("EXISTS", "t:never:done").unwrap(), 0);
    assert_clean(&mut conn, "t:never");
}

#[test]
fn body_that_hides_an_abort_runs_again() {
    let (mut conn, mut other) = (dial(), dial());
    let attempt = conn
        .transaction("t:swallow", |tx| {
            let attempt = tx.attempt();
            if attempt == 1 {
                other.call("INCR", "t:swallow")?;
            }
            let _ = tx.cmd("PING", ()).exec::<()>();
            Ok(attempt)
        })
        .unwrap();
    assert_eq!(attempt, 2);

    let give_up = conn
        .transaction("t:swallow", |tx| {
            if tx.attempt() > 3 {
                return Err(Error::other("enough"));
            }
            other.call("INCR", "t:swallow")?;
            tx.cmd("PING", ()).exec::<()>()
        })
        .unwrap_err();
    assert_eq!(give_up.to_string(), "enough");
    assert_clean(&mut conn, "t:swallow");
}

#[test]
fn concurrent_transactions_lose_no_increment() {
    const THREADS: i64 = 4;
    const EACH: i64 = 50;
    dial().call("DEL", "t:shared").unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut conn = dial();
                for _ in 0..EACH {
                    conn.transaction("t:shared", |mut tx| {
                        let count: Option<i64> = tx.query("GET", "t:shared")?;
                        tx.cmd("SET", ("t:shared", count.unwrap_or(0) + 1)).exec::<()>()
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(dial().query::<i64>("GET", "t:shared").unwrap(), THREADS * EACH);
}

#[test]
fn connection_is_clean_whatever_the_body_does() {
    type Body = fn(redigo::Transaction<'_>) -> Result<i64>;
    let bodies: [(&str, Body, Result<i64, &str>); 9] = [
        ("returns without exec", |_| Ok(1), Ok(1)),
        ("queues without exec", |tx| Ok(tx.cmd("SET", ("t:any", "no")).len() as i64), Ok(1)),
        ("fails", |_| Err(Error::other("my own")), Err("my own")),
        ("fails in a read", |mut tx| tx.query("LLEN", "t:any"), Err("WRONGTYPE")),
        ("opens one by hand", |mut tx| tx.call("MULTI", ()).map(|_| 1), Ok(1)),
        (
            "opens one by hand and executes",
            |mut tx| tx.call("MULTI", ()).and_then(|_| tx.cmd("SET", ("t:any", "no")).exec()),
            Err("not supported: a transaction within a transaction"),
        ),
        (
            "lets the keys go",
            |mut tx| tx.call("UNWATCH", ()).and_then(|_| tx.cmd("SET", ("t:any", "no")).exec()),
            Err("not supported: a transaction whose keys are no longer watched"),
        ),
        ("leaves replies", |mut tx| tx.send("PING", ()).map(|()| 1), Ok(1)),
        (
            "leaves an error",
            |mut tx| tx.send("NONSENSE", ()).and_then(|()| tx.cmd("SET", ("t:any", "no")).exec()),
            Err("ERR unknown command"),
        ),
    ];
    let pool = Pool::builder(dialer()).max_active(1).build().unwrap();
    for (what, body, expected) in bodies {
        let mut conn = pool.acquire().unwrap();
        conn.call("SET", ("t:any", "yes")).unwrap();
        let outcome = conn.transaction("t:any", body);
        match expected {
            Ok(value) => assert_eq!(outcome.unwrap(), value, "{what}"),
            Err(text) => {
                let error = outcome.unwrap_err().to_string();
                assert!(error.starts_with(text), "{what}: {error}");
            }
        }
        assert_eq!(conn.query::<String>("GET", "t:any").unwrap(), "yes", "{what}");
        drop(conn);
        assert_eq!(pool.idle_count(), 1, "{what}: not clean");
        assert_clean(&mut pool.acquire().unwrap(), "t:any");
    }
}

#[test]
fn connection_is_clean_after_a_panic_in_the_body() {
    let mut conn = dial();
    let ctx = Context::background().with_timeout(LONG);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        conn.transaction_context(&ctx, "t:panic", |tx| -> Result<()> {
            let _queued = tx.cmd("SET", ("t:panic", 1));
            panic!("in the body")
        })
    }));
    assert_eq!(*panicked.unwrap_err().downcast_ref::<&str>().unwrap(), "in the body");
    assert_clean(&mut conn, "t:panic");
}

#[test]
fn panic_restores_the_deadline_before_the_context() {
    let stream = MemoryStream::silent();
    stream.push("+OK\r\n+OK\r\n");
    let mut conn = over(&stream);
    let ctx = Context::background().with_timeout(LONG);
    catch_unwind(AssertUnwindSafe(|| {
        conn.transaction_context(&ctx, "k", |_| -> Result<()> { panic!("in the body") })
    }))
    .unwrap_err();
    assert!(stream.read_timeout().is_some());
    stream.push("+PONG\r\n");
    conn.call("PING", ()).unwrap();
    assert_eq!(stream.read_timeout(), None);
    assert_eq!(written(&stream), wire(&[&["WATCH", "k"], &["UNWATCH"], &["PING"]]));
}

#[test]
fn nested_transaction_is_refused() {
    let mut conn = dial();
    conn.call("MULTI", ()).unwrap();
    conn.send("SET", ("t:outer", 1)).unwrap();
    conn.flush().unwrap();
    let error = conn.transaction("t:nested", |_| -> Result<()> { panic!("not to run") });
    assert!(matches!(error, Err(Error::Unsupported(_))), "{error:?}");
    assert_eq!(
        conn.receive().unwrap().as_str(),
        Some("QUEUED"),
        "the outer transaction is unchanged"
    );
    assert_eq!(conn.query::<Vec<String>>("EXEC", ()).unwrap(), ["OK"]);

    // An inner transaction ends the watch of the outer, which must not run unguarded.
    let error = conn
        .transaction("t:nested", |mut tx| {
            tx.transaction("t:inner", |inner| inner.cmd("SET", ("t:inner", 1)).exec::<()>())?;
            tx.cmd("SET", ("t:nested", 1)).exec::<()>()
        })
        .unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    let exist: (i64, i64) =
        conn.pipeline().cmd("EXISTS", "t:inner").cmd("EXISTS", "t:nested").query().unwrap();
    assert_eq!(exist, (1, 0));
    assert_clean(&mut conn, "t:nested");
}

#[test]
fn pending_replies_are_received_before_a_transaction() {
    let mut conn = dial();
    conn.send("ECHO", "earlier").unwrap();
    let pong: (String,) = conn.transaction("t:owed", |tx| tx.cmd("PING", ()).exec()).unwrap();
    assert_eq!(pong.0, "PONG");

    conn.send("NONSENSE", ()).unwrap();
    let error = conn.transaction("t:owed", |_| -> Result<()> { panic!("not to run") });
    assert_eq!(server_error(&error.unwrap_err()).code(), "ERR");
    assert_clean(&mut conn, "t:owed");
}

#[test]
fn keys_watched_before_allow_one_attempt() {
    let (mut conn, mut other) = (dial(), dial());
    conn.call("WATCH", "t:before").unwrap();
    other.call("INCR", "t:before").unwrap();
    let mut runs = 0;
    let error = conn
        .transaction((), |tx| {
            runs += 1;
            tx.cmd("SET", ("t:before", "lost")).exec::<()>()
        })
        .unwrap_err();
    assert!(matches!(error, Error::TransactionAborted { attempts: 1 }), "{error:?}");
    assert_eq!(error.to_string(), "the transaction was aborted 1 time: a watched key changed");
    assert_eq!(runs, 1);
    assert_clean(&mut conn, "t:before");
}

#[test]
fn long_transaction_is_still_atomic() {
    let mut conn = dial();
    let counts: Vec<i64> = conn
        .transaction("t:long", |mut tx| {
            for _ in 0..5000 {
                tx = tx.cmd("INCRBY", ("t:long", format!("{:050}", 1).len() - 49));
            }
            tx.exec()
        })
        .unwrap();
    assert_eq!(counts, (1..=5000).collect::<Vec<i64>>());
    assert_eq!(conn.query::<i64>("DEL", "t:long").unwrap(), 1);

    let nothing = conn.transaction("t:long", |tx| tx.exec::<Vec<Value>>()).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn refused_multi_leaves_no_key_watched() {
    let replies = [
        "+OK\r\n", // WATCH
        "-NOPERM no permission to run 'multi'\r\n",
        ":1\r\n",
        "-ERR EXEC without MULTI\r\n",
        "+OK\r\n", // UNWATCH
        "+PONG\r\n",
    ];
    let stream = MemoryStream::new(replies.concat());
    let mut conn = over(&stream);
    let error = conn.transaction("k", |tx| tx.cmd("INCR", "k").exec::<()>()).unwrap_err();
    assert_eq!(error.to_string(), "ERR EXEC without MULTI: NOPERM no permission to run 'multi'");
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
    assert!(written(&stream).ends_with(&wire(&[&["EXEC"], &["UNWATCH"], &["PING"]])));
}

#[test]
fn unexpected_exec_reply_is_an_error() {
    let cases = [
        ("+OK\r\n", "expected 2 replies from EXEC, found a simple string"),
        ("*1\r\n:1\r\n", "expected 2 replies from EXEC, found length 1"),
        ("*3\r\n:1\r\n:1\r\n:1\r\n", "expected 2 replies from EXEC, found length 3"),
        ("*2\r\n:1\r\n$-1\r\n", "expected an integer, found nil at element [1]"),
    ];
    for (exec, text) in cases {
        let stream = MemoryStream::new(format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n{exec}+PONG\r\n"));
        let mut conn = over(&stream);
        let error = conn
            .transaction((), |tx| tx.cmd("INCR", "a").cmd("INCR", "b").exec::<(i64, i64)>())
            .unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
    }
}

#[test]
fn context_limits_a_transaction() {
    let stream = MemoryStream::new("+OK\r\n");
    let mut conn = over(&stream);
    let (ctx, cancel) = Context::background().with_cancel();
    let outcome = conn.transaction_context(&ctx, "k", |mut tx| {
        cancel.cancel();
        tx.call("GET", "k")
    });
    assert!(outcome.unwrap_err().is_canceled());
    assert!(conn.err().unwrap().is_canceled());

    let mut conn = dial();
    let outcome = conn.transaction_context(&ctx, "k", |_| -> Result<()> { panic!("not to run") });
    assert!(outcome.unwrap_err().is_canceled());

    // The deadline also ends a series of attempts, unless their number does.
    let mut conn = over(&MemoryStream::silent());
    let soon = Context::background().with_timeout(Duration::from_millis(20));
    let late = conn.transaction_context(&soon, "k", |tx| tx.exec::<()>()).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Context));
}

#[test]
fn dead_connection_runs_no_body() {
    let mut conn = over(&MemoryStream::new(""));
    conn.call("PING", ()).unwrap_err();
    let outcome = conn.transaction((), |_| -> Result<()> { panic!("not to run") });
    assert!(matches!(outcome, Err(Error::Io(_))), "{outcome:?}");

    // The connection ends after EXEC: it is unknown whether the commands ran.
    let mut conn = over(&MemoryStream::new("+OK\r\n+QUEUED\r\n"));
    let outcome = conn.transaction((), |tx| tx.cmd("INCR", "k").exec::<()>());
    assert!(matches!(outcome, Err(Error::Io(_))), "{outcome:?}");
    assert!(conn.err().is_some());
}
