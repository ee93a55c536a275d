//! Calls of many threads and their replies. Tests r322 to r329 are rows of the conformance matrix.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Context, Error, Mux, Pool, Value};

use crate::logger;
use crate::support::redis_server::RedisServer;
use crate::support::sharing::{LONG, dialer, over, shared, texts};

// Commands.

#[test]
fn r322_unshareable_commands_are_refused_before_any_io() {
    let refused: &[(&str, &str, &str)] = &[
        ("WATCH", "k", "transaction"),
        ("watch", "k", "transaction"),
        ("wAtch", "k", "transaction"),
        ("UNWATCH", "", "transaction"),
        ("MULTI", "", "transaction"),
        ("EXEC", "", "transaction"),
        ("DISCARD", "", "transaction"),
        ("SUBSCRIBE", "c", "stream"),
        ("PSUBSCRIBE", "c", "stream"),
        ("SSUBSCRIBE", "c", "stream"),
        ("UNSUBSCRIBE", "c", "stream"),
        ("PUNSUBSCRIBE", "c", "stream"),
        ("SUNSUBSCRIBE", "c", "stream"),
        ("MONITOR", "", "stream"),
        ("SYNC", "", "stream"),
        ("PSYNC", "? -1", "stream"),
        ("REPLCONF", "ack 1", "stream"),
        ("SELECT", "1", "all callers"),
        ("SELECT", "0", "all callers"),
        ("AUTH", "secret", "all callers"),
        ("HELLO", "3", "all callers"),
        ("RESET", "", "all callers"),
        ("QUIT", "", "all callers"),
        ("READONLY", "", "all callers"),
        ("READWRITE", "", "all callers"),
        ("ASKING", "", "all callers"),
        ("CLIENT", "REPLY OFF", "all callers"),
        ("client", "reply skip", "all callers"),
        ("CLIENT", "TRACKING on", "all callers"),
        ("CLIENT", "SETNAME x", "all callers"),
        ("CLIENT", "NO-EVICT on", "all callers"),
        ("CLIENT", "", "all callers"),
        ("CLIENT", "CAPA redirect", "all callers"),
        ("SCRIPT", "DEBUG YES", "all callers"),
        ("POST", "/", "ends the connection"),
        ("Host:", "localhost", "ends the connection"),
        ("SHUTDOWN", "NOSAVE", "ends the connection"),
        ("CLIENT", "PAUSE 1000", "blocks"),
        ("client", "pause 1000 WRITE", "blocks"),
        ("DEBUG", "SLEEP 1", "blocks"),
        ("BLPOP", "k 0", "blocks"),
        ("brpop", "k 0", "blocks"),
        ("BLMOVE", "a b LEFT RIGHT 0", "blocks"),
        ("BRPOPLPUSH", "a b 0", "blocks"),
        ("BLMPOP", "0 1 k LEFT", "blocks"),
        ("BZPOPMIN", "k 0", "blocks"),
        ("BZPOPMAX", "k 0", "blocks"),
        ("BZMPOP", "0 1 k MIN", "blocks"),
        ("WAIT", "1 0", "blocks"),
        ("WAITAOF", "1 0 0", "blocks"),
        ("XREAD", "BLOCK 0 STREAMS s $", "blocks"),
        ("xread", "COUNT 1 block 0 streams s $", "blocks"),
        ("XREADGROUP", "GROUP g c BLOCK 0 STREAMS s >", "blocks"),
        ("XREADGROUP", "BLOCK 0 GROUP g c STREAMS s >", "blocks"),
        ("XREADGROUP", "COUNT 1 BLOCK 0 GROUP g c STREAMS s >", "blocks"),
        ("", "", "without a name"),
    ];
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    for (command, line, why) in refused {
        let words: Vec<&str> = line.split_whitespace().collect();
        for error in [
            mux.call(command, &words[..]).unwrap_err(),
            mux.get().send(command, &words[..]).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Unsupported(_)), "{command} {line}: {error:?}");
            let text = error.to_string();
            let named = text.contains(&command.to_ascii_uppercase()) && text.contains(why);
            assert!(named, "{command} {line}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
    assert_eq!((mux.stats().dials, mux.stats().calls), (0, 0));
    assert!(stream.written().is_empty());
}

#[test]
fn commands_that_resemble_refused_commands_are_sent() {
    let mux = shared();
    mux.call("DEL", "mux:stream").unwrap();
    mux.call("XADD", ("mux:stream", "*", "field", "value")).unwrap();
    assert!(!mux.call("XREAD", ("STREAMS", "mux:stream", "0")).unwrap().is_nil());
    // BLOCK after STREAMS is the name of a stream.
    mux.call("XREAD", ("COUNT", 1, "STREAMS", "BLOCK", "0")).unwrap();
    mux.call("CLIENT", "ID").unwrap();
    mux.call("CLIENT", "UNPAUSE").unwrap();
    mux.call("SCRIPT", ("EXISTS", "0000000000000000000000000000000000000000")).unwrap();
    mux.call("WATCHING", ()).unwrap_err().as_server().expect("the server answers");
}

// Tests of redigo.

#[test]
fn r323_two_handles_on_a_connection_get_their_own_replies() {
    let mux = shared();
    let (mut c1, mut c2) = (mux.get(), mux.get());
    c1.send("ECHO", "hello").unwrap();
    c2.send("ECHO", "world").unwrap();
    c1.flush().unwrap();
    c2.flush().unwrap();
    assert_eq!(texts(c1.receive().unwrap()), "hello");
    assert_eq!(texts(c2.receive().unwrap()), "world");
    c1.close().unwrap();
    c2.close().unwrap();
    assert_eq!(mux.stats().dials, 1);
}

#[test]
fn r324_closing_a_handle_receives_pending_replies() {
    let mux = shared();
    let (mut c1, mut c2) = (mux.get(), mux.get());
    c1.send("ECHO", "hello").unwrap();
    c1.close().unwrap();
    assert_eq!(mux.stats().in_flight, 0, "its reply was received");
    c2.send("ECHO", "world").unwrap();
    c2.flush().unwrap();
    assert_eq!(texts(c2.receive().unwrap()), "world");
    let mut c3 = mux.get();
    c3.send("NONSENSE", ()).unwrap();
    c3.send("PING", ()).unwrap();
    assert_eq!(c3.close().unwrap_err().as_server().unwrap().code(), "ERR");
    mux.get().close().unwrap();
}

#[test]
fn r325_ping_on_a_connection_and_on_a_pooled_connection() {
    let dialer = dialer(RedisServer::shared());
    let mut conn = dialer.dial().unwrap();
    let pool = Pool::builder(dialer).max_idle(1).build().unwrap();
    for _ in 0..1000 {
        conn.call("PING", ()).unwrap();
        let mut pooled = pool.get();
        pooled.call("PING", ()).unwrap();
        pooled.close().unwrap();
    }
    assert_eq!(pool.stats().open, 1);
}

#[test]
fn r326_get_ping_close_over_a_mux() {
    let mux = shared();
    for _ in 0..1000 {
        let mut conn = mux.get();
        assert_eq!(texts(conn.call("PING", ()).unwrap()), "PONG");
        conn.close().unwrap();
    }
    assert_eq!((mux.stats().dials, mux.stats().calls), (1, 1000));
}

#[test]
fn r327_ten_threads_get_ping_close_over_a_mux() {
    let mux = shared();
    thread::scope(|scope| {
        for thread in 0..10 {
            let mux = &mux;
            scope.spawn(move || {
                for turn in 0..500 {
                    let mut conn = mux.get();
                    let word = format!("{thread}:{turn}");
                    assert_eq!(texts(conn.call("PING", &word).unwrap()), word);
                    conn.close().unwrap();
                }
            });
        }
    });
    assert_eq!((mux.stats().dials, mux.stats().calls, mux.stats().in_flight), (1, 5000, 0));
}

#[test]
fn r328_ten_threads_on_a_pool_that_keeps_ten() {
    let pool = Pool::builder(dialer(RedisServer::shared())).max_idle(10).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut conn = pool.get();
                    conn.call("PING", ()).unwrap();
                    conn.close().unwrap();
                }
            });
        }
    });
    assert!(pool.stats().open <= 10);
}

#[test]
fn r329_ten_threads_take_turns_sending_and_receiving() {
    let mut conn = dialer(RedisServer::shared()).dial().unwrap();
    let (sender, receiver) = conn.split();
    let (sender, receiver) = (Mutex::new((0, sender)), Mutex::new((0, receiver)));
    let turn = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut sending = sender.lock().unwrap();
                    let ticket = sending.0;
                    sending.0 += 1;
                    sending.1.send("ECHO", ticket).unwrap();
                    sending.1.flush().unwrap();
                    drop(sending);
                    let receiving = receiver.lock().unwrap();
                    let mut receiving =
                        turn.wait_while(receiving, |receiving| receiving.0 != ticket).unwrap();
                    assert_eq!(texts(receiving.1.receive().unwrap()), ticket.to_string());
                    receiving.0 += 1;
                    turn.notify_all();
                }
            });
        }
    });
}

// Replies and their callers.

#[test]
fn replies_never_cross_when_callers_leave_early() {
    // Few callers park immediately; many callers spin first.
    for (threads, turns) in [(12, 1500), (64, 400)] {
        let mux = shared();
        mux.call("PING", ()).unwrap();
        let left = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..threads {
                let (mux, left) = (&mux, &left);
                scope.spawn(move || (0..turns).for_each(|turn| echo(mux, thread, turn, left)));
            }
        });
        assert!(left.into_inner() > 0, "no caller left early");
        mux.call("PING", ()).unwrap();
        let stats = mux.stats();
        assert_eq!((stats.dials, stats.lost, stats.in_flight), (1, 0, 0), "{stats:?}");
    }
}

/// Checks the echo of its nonce. Two of seven calls end early, at some point on the way.
fn echo(mux: &Mux, thread: usize, turn: usize, left: &AtomicUsize) {
    let nonce = format!("{thread}:{turn}:{}", "x".repeat(turn % 50));
    let outcome = match turn % 7 {
        0 => mux.call_timeout(Duration::from_micros(turn as u64 % 90), "ECHO", &nonce),
        1 => {
            let (ctx, cancel) = Context::background().with_cancel();
            let canceler = (turn % 49 == 1).then(|| thread::spawn(move || cancel.cancel()));
            let outcome = mux.call_context(&ctx, "ECHO", &nonce);
            canceler.into_iter().for_each(|thread| thread.join().unwrap());
            outcome
        }
        _ => mux.call_timeout(LONG, "ECHO", &nonce),
    };
    match outcome {
        Ok(reply) => assert_eq!(texts(reply), nonce),
        Err(error) => {
            assert!(turn % 7 < 2, "{error}");
            assert!(error.is_timeout() || error.is_canceled(), "{error}");
            left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn pipelines_of_many_threads_keep_their_order() {
    let mux = shared();
    thread::scope(|scope| {
        for thread in 0..8 {
            let mux = &mux;
            scope.spawn(move || {
                let mut conn = mux.get();
                for turn in 0..20 {
                    for item in 0..100 {
                        conn.send("ECHO", format!("{thread}:{turn}:{item}")).unwrap();
                    }
                    conn.flush().unwrap();
                    assert_eq!(conn.pending(), 100);
                    for item in 0..100 {
                        let reply = conn.receive_timeout(LONG).unwrap();
                        assert_eq!(texts(reply), format!("{thread}:{turn}:{item}"));
                    }
                }
                conn.close().unwrap();
            });
        }
    });
}

#[test]
fn unread_replies_of_a_handle_delay_no_other_caller() {
    let mux = shared();
    let mut slow = mux.get();
    slow.send("ECHO", "slow").unwrap();
    slow.flush().unwrap();
    let mut gone = mux.get();
    gone.send("ECHO", "gone").unwrap();
    drop(gone);
    for turn in 0..100 {
        assert_eq!(mux.query::<i64>("ECHO", turn).unwrap(), turn);
    }
    assert_eq!(texts(slow.receive().unwrap()), "slow");
    assert_eq!((mux.stats().abandoned, mux.stats().in_flight), (1, 0));
}

#[test]
fn error_reply_reaches_only_its_own_caller() {
    let mux = shared();
    mux.call("SET", ("mux:text", "abc")).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let mux = &mux;
            scope.spawn(move || {
                for _ in 0..200 {
                    if thread % 2 == 0 {
                        let error = mux.call("INCR", "mux:text").unwrap_err();
                        assert!(error.as_server().is_some(), "{error:?}");
                    } else {
                        assert_eq!(mux.query::<String>("GET", "mux:text").unwrap(), "abc");
                    }
                }
            });
        }
    });
    assert!(mux.query::<i64>("GET", "mux:text").is_err());
    assert!(mux.err().is_none());
}

#[test]
fn call_on_a_handle_returns_the_reply_to_its_command() {
    let mux = shared();
    let mut conn = mux.get();
    assert!(matches!(conn.receive().unwrap_err(), Error::Unsupported(_)));
    conn.send("ECHO", "first").unwrap();
    assert_eq!(texts(conn.call("ECHO", "second").unwrap()), "second");
    assert_eq!(conn.pending(), 0);
    conn.send("NONSENSE", ()).unwrap();
    assert!(conn.call("PING", ()).unwrap_err().as_server().is_some());
    conn.send("PING", ()).unwrap();
    conn.send("NONSENSE", ()).unwrap();
    conn.send("MULTI", ()).unwrap_err();
    let Value::Array(replies) = conn.call("", ()).unwrap() else { panic!("not a list") };
    assert!(matches!(replies[..], [Value::Simple(_), Value::Error(_)]), "{replies:?}");
    assert!(conn.call("", ()).unwrap().is_nil());
    assert_eq!(conn.query::<i64>("ECHO", 7).unwrap(), 7);
}

#[test]
fn logging_connection_logs_the_commands_of_a_mux() {
    logger::install();
    let dialer = dialer(RedisServer::shared());
    let mux = Mux::with(move |ctx| Ok(redigo::logging(dialer.dial_context(ctx)?, "web")));
    mux.call("ECHO", "a").unwrap();
    mux.call("ECHO", "b").unwrap();
    let lines = logger::LINES.lock().unwrap();
    let lines: Vec<_> = lines.iter().filter(|line| line.starts_with("web.")).collect();
    assert_eq!(lines, [r#"web.ECHO("a") -> "a""#, r#"web.ECHO("b") -> "b""#]);
}
