//! Calls that end before their reply: timeouts, cancellation and shutdown handles.
//!
//! The rows with an R number are those of redigo's TestReadTimeout.

use std::thread;
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Conn, Context, Dialer, Error, Result, TimeoutKind, Value};

use crate::support::errors::assert_ended;
use crate::support::fake_server::FakeServer;
use crate::support::live;
use crate::support::streams::over as in_memory;
use crate::support::wait::{LONG, SHORT, promptly, wait_until};

#[track_caller]
fn kind(error: &Error) -> TimeoutKind {
    error.timeout_kind().unwrap_or_else(|| panic!("no timeout: {error:?}"))
}

fn ping_and_receive(conn: &mut Conn) -> Result<Value> {
    conn.send("PING", ())?;
    conn.flush()?;
    conn.receive()
}

type Exchange = fn(&mut Conn) -> Result<Value>;

// Waiting for a reply

#[test]
fn r058_r059_silent_server_times_out() {
    let server = FakeServer::silent();
    let rows: [(&str, Exchange, &str); 2] = [
        ("R058", |conn| conn.call("PING", ()), "timed out waiting for the reply to PING"),
        ("R059", ping_and_receive, "timed out waiting for a reply"),
    ];
    for (row, exchange, expected) in rows {
        let mut conn = server.dialer().read_timeout(Duration::from_millis(1)).dial().unwrap();
        let error = promptly(row, || exchange(&mut conn)).unwrap_err();
        assert_eq!(kind(&error), TimeoutKind::Read, "{row}");
        assert_eq!(error.to_string(), format!("{}: {expected}", server.address()), "{row}");
        assert_ended(&mut conn, &error);
    }
}

#[test]
fn call_ends_at_the_sooner_limit_with_its_kind() {
    const READ: TimeoutKind = TimeoutKind::Read;
    const CONTEXT: TimeoutKind = TimeoutKind::Context;
    let soon = || Context::background().with_timeout(SHORT);
    let late = || Context::background().with_timeout(LONG);
    type Row<'a> = (&'a str, Duration, TimeoutKind, &'a dyn Fn(&mut Conn) -> Result<Value>);
    let rows: [Row<'_>; 8] = [
        ("call_timeout", LONG, READ, &|conn| conn.call_timeout(SHORT, "PING", ())),
        ("receive_timeout", LONG, READ, &|conn| conn.receive_timeout(SHORT)),
        ("call_context", LONG, CONTEXT, &|conn| conn.call_context(&soon(), "PING", ())),
        ("receive_context", LONG, CONTEXT, &|conn| conn.receive_context(&soon())),
        ("late call_context", SHORT, READ, &|conn| conn.call_context(&late(), "PING", ())),
        ("late receive_context", SHORT, READ, &|conn| conn.receive_context(&late())),
        ("half.receive_timeout", LONG, READ, &|conn| conn.split().1.receive_timeout(SHORT)),
        ("half.receive_context", LONG, CONTEXT, &|conn| conn.split().1.receive_context(&soon())),
    ];
    let server = FakeServer::silent();
    for (row, read_timeout, expected, exchange) in rows {
        let mut conn = server.dialer().read_timeout(read_timeout).dial().unwrap();
        let error = promptly(row, || exchange(&mut conn)).unwrap_err();
        assert_eq!(kind(&error), expected, "{row}");
        assert_ended(&mut conn, &error);
    }
}

#[test]
fn ended_context_writes_nothing_and_ends_connection() {
    let (canceled, cancel) = Context::background().with_cancel();
    cancel.cancel();
    let expired = Context::background().with_deadline(Instant::now());
    for (ctx, expected) in [(canceled, "canceled"), (expired, "the context's deadline has passed")]
    {
        let rows: [&dyn Fn(&mut Conn) -> Result<Value>; 3] = [
            &|conn| conn.call_context(&ctx, "PING", ()),
            &|conn| conn.receive_context(&ctx),
            &|conn| conn.split().1.receive_context(&ctx),
        ];
        for exchange in rows {
            // A reply that has arrived is not received either.
            let stream = MemoryStream::new("+OK\r\n+PONG\r\n");
            let mut conn = in_memory(&stream);
            conn.receive().unwrap();
            let error = exchange(&mut conn).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_ended(&mut conn, &error);
            assert!(stream.written().is_empty() && stream.is_closed(), "{expected}");
        }
    }
    // A timeout of zero fails immediately, too.
    let stream = MemoryStream::new("+PONG\r\n");
    let mut conn = in_memory(&stream);
    let error = conn.call_timeout(Duration::ZERO, "PING", ()).unwrap_err();
    assert!(error.is_timeout() && stream.written().is_empty(), "{error}");
    assert_ended(&mut conn, &error);
}

#[test]
fn call_timeout_of_none_outlasts_the_read_timeout() {
    let rows: [Exchange; 3] = [
        |conn| conn.call_timeout(None, "PING", ()),
        |conn| conn.receive_timeout(None),
        |conn| conn.receive_timeout(LONG),
    ];
    for exchange in rows {
        let stream = MemoryStream::silent();
        let mut conn = Dialer::tcp(":6379").read_timeout(SHORT).wrap(stream.clone());
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(2 * SHORT);
                stream.push("+PONG\r\n");
            });
            assert_eq!(
                promptly("the call", || exchange(&mut conn)).unwrap(),
                Value::simple("PONG")
            );
        });
    }
}

#[test]
fn slow_reply_does_not_extend_the_deadline() {
    let rows = [
        ("a line", "+", "x"),
        ("a string", "$1000000\r\n", "x"),
        ("a long string", "$100000000\r\n", "x"),
        ("a list", "*1000000\r\n", ":1\r\n"),
    ];
    for (row, head, piece) in rows {
        let server = FakeServer::dripping(head, piece);
        let dial = || server.dialer().read_timeout(LONG).dial().unwrap();
        let mut conn = server.dialer().read_timeout(SHORT).dial().unwrap();
        let error = promptly(row, || conn.call("GET", "k")).unwrap_err();
        assert_eq!(kind(&error), TimeoutKind::Read, "{row}");
        let mut conn = dial();
        let error = promptly(row, || conn.call_timeout(SHORT, "GET", "k")).unwrap_err();
        assert_eq!(kind(&error), TimeoutKind::Read, "{row}, for one call");
        let ctx = Context::background().with_timeout(SHORT);
        let mut conn = dial();
        let error = promptly(row, || conn.call_context(&ctx, "GET", "k")).unwrap_err();
        assert_eq!(kind(&error), TimeoutKind::Context, "{row}, in a context");
        assert_ended(&mut conn, &error);
    }
}

#[test]
fn pending_replies_share_the_deadline_of_the_call() {
    let server = FakeServer::dripping("", "+OK\r\n");
    let rows: [Exchange; 2] = [|conn| conn.call("PING", ()), |conn| conn.drain().map(Value::from)];
    for exchange in rows {
        let mut conn = server.dialer().read_timeout(SHORT).dial().unwrap();
        // Few enough for the socket buffers while the server does not read.
        (0..4000).for_each(|_| conn.send("PING", ()).unwrap());
        let error = promptly("a call with replies pending", || exchange(&mut conn)).unwrap_err();
        assert_eq!(kind(&error), TimeoutKind::Read);
        assert_ended(&mut conn, &error);
    }
}

#[test]
fn poll_without_reply_leaves_connection_unchanged() {
    let mut conn = live::conn();
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        assert!(conn.poll(timeout).unwrap().is_none());
        assert!(conn.split().1.poll(timeout).unwrap().is_none());
    }
    assert_eq!(conn.call("PING", ()).unwrap(), Value::simple("PONG"));
    conn.send("PING", ()).unwrap();
    conn.flush().unwrap();
    let reply = promptly("poll", || conn.poll(LONG)).unwrap();
    assert_eq!(reply, Some(Value::simple("PONG")));
    // An error reply is an error, as with receive.
    conn.send("NONSENSE", ()).unwrap();
    conn.flush().unwrap();
    wait_until("the reply", || match conn.poll(Duration::ZERO) {
        Ok(reply) => reply.is_some(),
        Err(error) => error.as_server().is_some(),
    });
    assert!(conn.drain().unwrap().is_empty() && conn.err().is_none());
}

#[test]
fn poll_receives_a_begun_reply_within_read_timeout() {
    let stream = MemoryStream::silent();
    let mut conn = in_memory(&stream);
    stream.push("$6\r\nfoo");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(SHORT);
            stream.push("bar\r\n");
        });
        assert_eq!(conn.poll(LONG).unwrap(), Some("foobar".into()));
    });

    let stream = MemoryStream::silent();
    let mut conn = Dialer::tcp(":6379").read_timeout(SHORT).wrap(stream.clone());
    stream.push("$6\r\nfoo");
    let error = promptly("poll", || conn.poll(LONG)).unwrap_err();
    assert_eq!(kind(&error), TimeoutKind::Read);
    assert_ended(&mut conn, &error);
}

// Cancellation

/// True while the connection is in a blocking command, according to the server.
fn is_blocked(watcher: &mut Conn, id: i64) -> bool {
    let line: String = watcher.query("CLIENT", ("LIST", "ID", id)).unwrap();
    line.split(' ').any(|field| field.starts_with("flags=") && field.contains('b'))
}

#[test]
fn cancel_ends_a_waiting_call() {
    let queue_for = LONG.as_secs();
    type Wait<'a> = (&'a str, &'a (dyn Fn(&mut Conn, &Context) -> Result<Value> + Sync));
    let rows: [Wait<'_>; 3] = [
        ("call_context", &|conn, ctx| conn.call_context(ctx, "BLPOP", ("queue", queue_for))),
        ("receive_context", &|conn, ctx| {
            conn.send("BLPOP", ("queue", queue_for))?;
            conn.flush()?;
            conn.receive_context(ctx)
        }),
        ("half.receive_context", &|conn, ctx| {
            let (mut sender, mut receiver) = conn.split();
            sender.send("BLPOP", ("queue", queue_for))?;
            sender.flush()?;
            receiver.receive_context(ctx)
        }),
    ];
    for (row, wait) in rows {
        let mut conn = live::conn();
        let id = conn.query("CLIENT", "ID").unwrap();
        let (ctx, cancel) = Context::background().with_timeout(LONG).with_cancel();
        let error = thread::scope(|scope| {
            let conn = &mut conn;
            let waiting = scope.spawn(move || wait(conn, &ctx).unwrap_err());
            let mut watcher = live::conn();
            wait_until("the command waits", || is_blocked(&mut watcher, id));
            promptly(row, || {
                cancel.cancel();
                waiting.join().unwrap()
            })
        });
        assert!(error.is_canceled(), "{row}: {error:?}");
        assert_ended(&mut conn, &error);
    }
}

#[test]
fn cancel_after_the_call_has_no_effect() {
    let mut conn = live::conn();
    let (ctx, cancel) = Context::background().with_cancel();
    assert_eq!(conn.call_context(&ctx, "PING", ()).unwrap(), Value::simple("PONG"));
    conn.send("PING", ()).unwrap();
    conn.flush().unwrap();
    assert_eq!(conn.receive_context(&ctx).unwrap(), Value::simple("PONG"));
    cancel.cancel();
    assert_eq!(conn.call("PING", ()).unwrap(), Value::simple("PONG"));
    assert!(conn.call_context(&ctx, "PING", ()).unwrap_err().is_canceled());
}

#[test]
fn shutdown_handle_ends_a_waiting_call() {
    let mut conn = live::conn();
    let id = conn.query("CLIENT", "ID").unwrap();
    let handle = conn.shutdown_handle();
    let error = thread::scope(|scope| {
        let conn = &mut conn;
        let waiting = scope.spawn(move || conn.call("BLPOP", ("queue", LONG.as_secs())));
        let mut watcher = live::conn();
        wait_until("the command waits", || is_blocked(&mut watcher, id));
        promptly("shutdown", || {
            handle.shutdown();
            waiting.join().unwrap().unwrap_err()
        })
    });
    assert!(error.is_canceled(), "{error:?}");
    assert_ended(&mut conn, &error);
    drop(conn);
    handle.shutdown();

    let mut idle = live::conn();
    idle.shutdown_handle().shutdown();
    assert!(!idle.is_alive());
    assert!(idle.call("PING", ()).unwrap_err().is_canceled());
}

// Writing to a server that does not read

#[test]
fn blocked_write_ends_at_every_kind_of_limit() {
    const WRITE: Option<TimeoutKind> = Some(TimeoutKind::Write);
    let server = FakeServer::deaf();
    let plain = || server.dialer();
    let much = vec![b'x'; 32 << 20];
    let soon = || Context::background().with_timeout(SHORT);
    type Row<'a> = (&'a str, Dialer, Option<TimeoutKind>, &'a dyn Fn(&mut Conn) -> Result<Value>);
    let rows: [Row<'_>; 7] = [
        ("write_timeout", plain().write_timeout(SHORT), WRITE, &|conn| conn.call("ECHO", &much)),
        ("read_timeout", plain().read_timeout(SHORT), WRITE, &|conn| conn.call("ECHO", &much)),
        ("call_timeout", plain(), WRITE, &|conn| conn.call_timeout(SHORT, "ECHO", &much)),
        ("call_context", plain(), Some(TimeoutKind::Context), &|conn| {
            conn.call_context(&soon(), "ECHO", &much)
        }),
        ("send", plain().write_timeout(SHORT), WRITE, &|conn| {
            conn.send("ECHO", &much).map(|()| Value::Nil)
        }),
        ("many sends", plain().write_timeout(SHORT), WRITE, &|conn| {
            (0..1_000_000).try_for_each(|_| conn.send("ECHO", &much[..1000]))?;
            Ok(Value::Nil)
        }),
        ("half.send", plain().write_timeout(SHORT), WRITE, &|conn| {
            conn.split().0.send("ECHO", &much).map(|()| Value::Nil)
        }),
    ];
    for (row, dialer, expected, exchange) in rows {
        let mut conn = dialer.dial().unwrap();
        let error = promptly(row, || exchange(&mut conn)).unwrap_err();
        assert_eq!(error.timeout_kind(), expected, "{row}: {error:?}");
        assert_ended(&mut conn, &error);
    }
}

#[test]
fn cancel_ends_a_blocked_write() {
    let server = FakeServer::deaf();
    let much = vec![b'x'; 32 << 20];
    for by_context in [true, false] {
        let mut conn = server.dialer().dial().unwrap();
        let handle = conn.shutdown_handle();
        let (ctx, cancel) = Context::background().with_cancel();
        let error = promptly("the call", || {
            thread::scope(|scope| {
                scope.spawn(|| {
                    // The thread is most likely in the write by now; earlier is fine, too.
                    thread::sleep(SHORT);
                    if by_context { cancel.cancel() } else { handle.shutdown() }
                });
                conn.call_context(&ctx, "ECHO", &much).unwrap_err()
            })
        });
        assert!(error.is_canceled(), "{error:?}");
        assert_ended(&mut conn, &error);
    }
}

#[test]
fn failure_of_one_half_ends_the_other() {
    let server = FakeServer::deaf();
    let mut conn = server.dialer().write_timeout(SHORT).dial().unwrap();
    let (mut sender, mut receiver) = conn.split();
    let (sent, received) = promptly("both halves", || {
        thread::scope(|scope| {
            let receiving = scope.spawn(move || receiver.receive().unwrap_err());
            let sent = sender.send("ECHO", vec![b'x'; 32 << 20]).unwrap_err();
            (sent, receiving.join().unwrap())
        })
    });
    assert_eq!(kind(&sent), TimeoutKind::Write);
    assert_eq!(kind(&received), TimeoutKind::Write);
    assert_ended(&mut conn, &sent);
}
