//! One connection for many threads, when time runs out and connections come and go.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use redigo::testing::{MemoryStream, ScriptedServer};
use redigo::{
    Conn, Context, Dialer, Error, Mux, Result, ShutdownHandle, TimeoutKind, ToArgs, Value, args,
    raw::{RawConn, RawReceive, RawSend},
};

use crate::support::redis_server::RedisServer;
use crate::support::sharing::{LONG, dialer, kind, over, shared, texts, wait_until_written};
use crate::support::wait::wait_until;

// Time.

#[test]
fn who_leaves_in_the_middle_of_a_reply_leaves_a_good_connection() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    stream.push("*2\r\n$5\r\nhel");
    let outcome = mux.call_timeout(Duration::from_millis(20), "GET", "a");
    assert_eq!(kind(&outcome), Some(TimeoutKind::Read));
    stream.push("lo\r\n:1\r\n+PONG\r\n");
    assert_eq!(texts(mux.call_timeout(LONG, "PING", ()).unwrap()), "PONG");
    let stats = mux.stats();
    assert_eq!((stats.dials, stats.abandoned, stats.in_flight), (1, 1, 0));
}

#[test]
fn a_reader_whose_time_is_over_hands_over_to_another() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    thread::scope(|scope| {
        let short = scope.spawn(|| mux.call_timeout(Duration::from_millis(100), "GET", "short"));
        wait_until("the first to read", || mux.stats().in_flight == 1);
        let long = scope.spawn(|| mux.call_timeout(LONG, "GET", "long"));
        wait_until("both to wait", || mux.stats().in_flight == 2);
        assert_eq!(kind(&short.join().unwrap()), Some(TimeoutKind::Read));
        wait_until_written(&stream, "long", 1);
        stream.push("$5\r\nshort\r\n$4\r\nlong\r\n");
        assert_eq!(texts(long.join().unwrap().unwrap()), "long");
    });
}

#[test]
fn no_time_at_all_sends_nothing() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    let outcome = mux.call_timeout(Duration::ZERO, "PING", ());
    assert_eq!(kind(&outcome), Some(TimeoutKind::Read));
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(mux.call_context(&ctx, "PING", ()).unwrap_err().is_canceled());
    let ctx = Context::background().with_deadline(Instant::now());
    assert_eq!(kind(&mux.call_context(&ctx, "PING", ())), Some(TimeoutKind::Context));
    assert!(stream.written().is_empty());
    assert_eq!(mux.stats().dials, 0);
}

#[test]
fn timeouts_on_a_frozen_server_leave_the_connection_to_the_others() {
    let server = RedisServer::start();
    let mux = Mux::new(dialer(&server));
    mux.call("PING", ()).unwrap();
    server.freeze();
    thread::scope(|scope| {
        let patient = scope.spawn(|| mux.call_timeout(LONG, "ECHO", "patient"));
        let hasty: Vec<_> = (0..16)
            .map(|thread| {
                let mux = &mux;
                scope.spawn(move || {
                    for _ in 0..5 {
                        let short = Duration::from_millis(10 + thread);
                        let outcome = mux.call_timeout(short, "ECHO", thread);
                        assert_eq!(kind(&outcome), Some(TimeoutKind::Read), "{outcome:?}");
                        let ctx = Context::background().with_timeout(short);
                        let outcome = mux.call_context(&ctx, "ECHO", thread);
                        assert_eq!(kind(&outcome), Some(TimeoutKind::Context), "{outcome:?}");
                    }
                })
            })
            .collect();
        hasty.into_iter().for_each(|thread| thread.join().unwrap());
        server.thaw();
        assert_eq!(texts(patient.join().unwrap().unwrap()), "patient");
    });
    for turn in 0..10 {
        assert_eq!(mux.query::<i64>("ECHO", turn).unwrap(), turn);
    }
    let stats = mux.stats();
    assert_eq!((stats.dials, stats.lost), (1, 0), "{stats:?}");
    assert!((1..=160).contains(&stats.abandoned), "{stats:?}");
}

#[test]
fn a_server_that_is_silent_for_the_read_timeout_is_given_up() {
    let server = RedisServer::start();
    let timeout = Duration::from_millis(200);
    let mux = Mux::new(dialer(&server).read_timeout(timeout));
    mux.call("PING", ()).unwrap();
    server.freeze();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert_eq!(kind(&mux.call("PING", ())), Some(TimeoutKind::Read));
            });
        }
    });
    assert!(mux.stats().lost >= 1, "{:?}", mux.stats());
    server.thaw();
    wait_until("the server to answer", || mux.call("PING", ()).is_ok());
    assert_eq!(mux.query::<i64>("ECHO", 5).unwrap(), 5);
}

#[test]
fn callers_with_little_time_find_a_dead_server_too() {
    let stream = MemoryStream::silent();
    let timeout = Duration::from_millis(50);
    let connection = stream.clone();
    let mux =
        Mux::with(move |_| Ok(Dialer::tcp(":6379").read_timeout(timeout).wrap(connection.clone())));
    wait_until("the connection to be given up", || {
        let outcome = mux.call_timeout(Duration::from_millis(5), "PING", ());
        assert_eq!(kind(&outcome), Some(TimeoutKind::Read));
        mux.stats().lost == 1
    });
    assert!(stream.is_closed());
}

#[test]
fn a_long_patience_keeps_a_silent_connection() {
    let stream = MemoryStream::silent();
    let connection = stream.clone();
    let mux = Mux::with(move |_| {
        let dialer = Dialer::tcp(":6379").read_timeout(Duration::from_millis(20));
        // On a busy machine a short one might pass before the write gets its turn.
        Ok(dialer.write_timeout(LONG).wrap(connection.clone()))
    });
    thread::scope(|scope| {
        let slow = scope.spawn(|| mux.call_timeout(LONG, "EVAL", ("slow script", 0)));
        wait_until("it to be sent", || mux.stats().in_flight == 1);
        for _ in 0..5 {
            assert_eq!(kind(&mux.call("PING", ())), Some(TimeoutKind::Read));
        }
        wait_until_written(&stream, "EVAL", 1);
        stream.push("$4\r\ndone\r\n");
        assert_eq!(texts(slow.join().unwrap().unwrap()), "done");
    });
    assert_eq!((mux.stats().lost, mux.stats().abandoned), (0, 5));
}

#[test]
fn cancelling_reaches_those_who_sleep_and_the_one_who_reads() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    thread::scope(|scope| {
        let (ctx, cancel) = Context::background().with_cancel();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let (mux, ctx) = (&mux, ctx.clone());
                scope.spawn(move || mux.call_context(&ctx, "GET", "a"))
            })
            .collect();
        wait_until("all to wait", || mux.stats().in_flight == 5);
        let stays = scope.spawn(|| mux.call_timeout(LONG, "GET", "b"));
        wait_until("the last to wait", || mux.stats().in_flight == 6);
        cancel.cancel();
        for thread in waiting {
            assert!(thread.join().unwrap().unwrap_err().is_canceled());
        }
        wait_until_written(&stream, "GET", 6);
        stream.push(":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n");
        assert_eq!(stays.join().unwrap().unwrap().as_int(), Some(6));
    });
    assert!(!stream.is_closed());
    assert_eq!((mux.stats().abandoned, mux.stats().dials), (5, 1));
}

#[test]
fn a_handle_that_gives_a_reply_up_gets_the_next_ones_own() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    let mut conn = mux.get();
    for key in ["a", "b", "c"] {
        conn.send("GET", key).unwrap();
    }
    conn.flush().unwrap();
    assert!(conn.receive_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
    let ctx = Context::background().with_timeout(Duration::from_millis(5));
    assert_eq!(kind(&conn.receive_context(&ctx)), Some(TimeoutKind::Context));
    stream.push(":1\r\n:2\r\n:3\r\n");
    assert_eq!(conn.receive_timeout(LONG).unwrap().as_int(), Some(3));
    conn.close().unwrap();
}

// Connections that come and go.

#[test]
fn a_server_killed_under_load_fails_only_what_is_under_way() {
    let mut server = RedisServer::start();
    let mux = Mux::new(dialer(&server));
    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (mux, stop, served) = (&mux, &stop, &served);
            scope.spawn(move || {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let nonce = format!("{thread}:{turn}");
                    match mux.call_timeout(LONG, "ECHO", &nonce) {
                        Ok(reply) => {
                            assert_eq!(texts(reply), nonce);
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::Io(_)) => thread::yield_now(),
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        for round in 0..3 {
            let before = served.load(Ordering::Relaxed);
            wait_until("calls to be served", || served.load(Ordering::Relaxed) > before + 500);
            server.kill();
            wait_until("the loss to be noticed", || mux.stats().lost > round);
            wait_until("a dial to fail", || mux.err().is_some());
            server.restart();
        }
        let before = served.load(Ordering::Relaxed);
        wait_until("calls to be served again", || served.load(Ordering::Relaxed) > before + 500);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(mux.err().is_none());
    let stats = mux.stats();
    assert!(stats.lost >= 3 && stats.failed_dials >= 3, "{stats:?}");
    assert_eq!(stats.dials - stats.failed_dials, stats.lost + 1, "{stats:?}");
}

#[test]
fn a_connection_that_died_idle_costs_nobody_a_call() {
    let mut server = RedisServer::start();
    let mux = Mux::new(dialer(&server));
    mux.call("PING", ()).unwrap();
    for round in 1..4 {
        server.restart();
        mux.call("PING", ()).unwrap();
        assert_eq!((mux.stats().dials, mux.stats().lost), (1 + round, round));
    }
    server.kill();
    let refused = mux.call("PING", ()).unwrap_err();
    assert!(
        matches!(&refused, Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    );
    assert_eq!(mux.err().unwrap().to_string(), refused.to_string());
}

#[test]
fn what_is_under_way_fails_with_the_error_that_ended_the_connection() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| mux.call("GET", "a"))).collect();
        wait_until("all to wait", || mux.stats().in_flight == 4);
        stream.push(":1\r\n!no reply\r\n");
        let outcomes: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(served, 1, "{outcomes:?}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        }
    });
    assert!(stream.is_closed());
    assert!(matches!(mux.err(), Some(Error::Protocol(_))));
    let mut handle = mux.get();
    assert!(handle.receive().is_err());
}

#[test]
fn replies_that_nobody_asked_for_end_the_connection() {
    // Behind a reply, and before a command.
    for (early, late) in [("+PONG\r\n+PONG\r\n", ""), ("", "+PONG\r\n")] {
        let first = MemoryStream::silent();
        first.push(if early.is_empty() { "+PONG\r\n" } else { early });
        let streams = Mutex::new(vec![MemoryStream::new("+SECOND\r\n"), first.clone()]);
        let mux = Mux::with(move |_| {
            let stream = streams.lock().unwrap().pop().ok_or(Error::other("no more streams"))?;
            Ok(Dialer::tcp(":6379").wrap(stream))
        });
        assert_eq!(texts(mux.call("PING", ()).unwrap()), "PONG");
        first.push(late);
        assert_eq!(texts(mux.call("PING", ()).unwrap()), "SECOND");
        assert_eq!(mux.stats().lost, 1);
        assert!(first.is_closed());
    }
}

#[test]
fn one_dials_for_all_who_wait() {
    const CALLERS: usize = 8;
    let (gate, dials) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let mux = {
        let (gate, dials) = (Arc::clone(&gate), Arc::clone(&dials));
        Mux::with(move |_| {
            let dial = dials.fetch_add(1, Ordering::SeqCst);
            if dial < 3 {
                gate.wait();
            }
            match dial {
                0 => Err(Error::other("no such host")),
                1 => panic!("a bug in the dial function"),
                2 => dialer(RedisServer::shared()).dial(),
                _ => Err(Error::other("one dial too many")),
            }
        })
    };
    for round in 0..3 {
        let outcomes = thread::scope(|scope| {
            let calls: Vec<_> =
                (0..CALLERS).map(|_| scope.spawn(|| mux.call("PING", ()))).collect();
            wait_until("all to wait", || mux.stats().waiting == CALLERS - 1);
            gate.wait();
            calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(dials.load(Ordering::SeqCst), round + 1);
        for outcome in outcomes {
            match round {
                0 => assert_eq!(outcome.unwrap_err().to_string(), "no such host"),
                1 => {
                    let text = outcome.unwrap_err().to_string();
                    assert!(text.contains("a bug in the dial function"), "{text}");
                }
                _ => assert_eq!(texts(outcome.unwrap()), "PONG"),
            }
        }
        assert_eq!(mux.err().is_some(), round < 2);
    }
    assert_eq!((mux.stats().dials, mux.stats().failed_dials), (3, 2));
}

#[test]
fn who_dials_and_leaves_leaves_the_dial_to_the_others() {
    let (begun, dials) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let mux = {
        let (begun, dials) = (Arc::clone(&begun), Arc::clone(&dials));
        Mux::with(move |ctx| {
            if dials.fetch_add(1, Ordering::SeqCst) == 0 {
                begun.wait();
                // As a dial does that nobody answers.
                assert_eq!(ctx.done().recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
                return Err(ctx.err().expect("its end"));
            }
            Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n")))
        })
    };
    let (ctx, cancel) = Context::background().with_cancel();
    thread::scope(|scope| {
        let hasty = scope.spawn(|| mux.call_context(&ctx, "PING", ()));
        begun.wait();
        let patient = scope.spawn(|| mux.call_timeout(LONG, "PING", ()));
        let brief = mux.call_timeout(Duration::from_millis(1), "PING", ());
        assert!(brief.unwrap_err().is_timeout());
        wait_until("the patient one to wait", || mux.stats().waiting == 1);
        cancel.cancel();
        assert!(hasty.join().unwrap().unwrap_err().is_canceled());
        assert_eq!(texts(patient.join().unwrap().unwrap()), "PONG");
    });
    assert_eq!(dials.load(Ordering::SeqCst), 2);
}

#[test]
fn a_dial_lasts_no_longer_than_its_caller() {
    let mux = Mux::with(|ctx| {
        let remaining = ctx.remaining().expect("the caller's deadline");
        assert_eq!(ctx.done().recv_timeout(remaining), Err(RecvTimeoutError::Timeout));
        Err(ctx.err().expect("its end"))
    });
    let short = Duration::from_millis(10);
    assert_eq!(kind(&mux.call_timeout(short, "PING", ())), Some(TimeoutKind::Connect));
    let ctx = Context::background().with_timeout(short);
    assert_eq!(kind(&mux.call_context(&ctx, "PING", ())), Some(TimeoutKind::Context));
    assert_eq!(mux.stats().failed_dials, 2);
}

#[test]
fn a_connection_with_something_under_way_cannot_be_shared() {
    let mux = Mux::with(|_| {
        let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
        conn.send("PING", ())?;
        Ok(conn)
    });
    assert!(matches!(mux.call("PING", ()).unwrap_err(), Error::Unsupported(_)));
    let mux = Mux::with(|_| {
        let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(""));
        let _ = conn.call("PING", ());
        Ok(conn)
    });
    assert!(matches!(mux.call("PING", ()).unwrap_err(), Error::Io(_)));
}

// Closing.

#[test]
fn closing_wakes_everybody() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..8)
            .map(|thread| {
                let mux = mux.clone();
                scope.spawn(move || match thread % 2 {
                    0 => mux.call("GET", "a"),
                    _ => mux.call_timeout(LONG, "GET", "a"),
                })
            })
            .collect();
        wait_until("all to wait", || mux.stats().in_flight == 8);
        let mut handle = mux.get();
        handle.send("GET", "b").unwrap();
        mux.close();
        for call in calls {
            assert!(matches!(call.join().unwrap(), Err(Error::ConnClosed)));
        }
        assert!(matches!(handle.receive(), Err(Error::ConnClosed)));
        assert!(matches!(handle.send("GET", "c"), Err(Error::ConnClosed)));
        assert!(matches!(handle.call("GET", "c"), Err(Error::ConnClosed)));
        handle.flush().unwrap();
    });
    assert!(stream.is_closed() && mux.is_closed());
    mux.close();
    assert!(matches!(mux.call("PING", ()), Err(Error::ConnClosed)));
    assert!(matches!(mux.err(), Some(Error::ConnClosed)));
    assert_eq!((mux.stats().dials, mux.stats().in_flight), (1, 0));
}

#[test]
fn closing_ends_a_dial_and_those_who_wait_for_it() {
    let mux = Mux::with(|ctx| {
        assert!(ctx.done().recv_timeout(LONG).is_err());
        Err(ctx.err().unwrap_or(Error::other("not cancelled")))
    });
    thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| mux.call("PING", ()))).collect();
        wait_until("all to wait", || mux.stats().waiting == 3);
        mux.close();
        for call in calls {
            assert!(matches!(call.join().unwrap(), Err(Error::ConnClosed)));
        }
    });
}

#[test]
fn the_last_handle_closes_the_connection() {
    let stream = MemoryStream::silent();
    stream.push("+PONG\r\n");
    let mux = {
        let streams = Mutex::new(Some(stream.clone()));
        Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(streams.lock().unwrap().take().unwrap())))
    };
    let handle = mux.get();
    mux.call("PING", ()).unwrap();
    drop(mux);
    assert!(!stream.is_closed());
    drop(handle);
    assert!(stream.is_closed());
}

// Connections of another kind.

/// Answers every command with its arguments' number; panics when told to.
struct Odd {
    replies: Vec<Value>,
    panics: &'static str,
}

impl RawSend for Odd {
    fn send(&mut self, command: &str, args: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        assert!(!(command == "BOOM" && self.panics == "send"), "boom");
        self.replies.insert(0, Value::Int(args![args].len() as i64));
        Ok(())
    }
    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Ok(())
    }
}

impl RawReceive for Odd {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        assert!(self.panics != "receive", "boom");
        self.replies.pop().ok_or(Error::Timeout(TimeoutKind::Read))
    }
    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Ok(!self.replies.is_empty())
    }
}

impl RawConn for Odd {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        unreachable!("the halves share their state")
    }
    fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle::new(|| {})
    }
    fn close(&mut self) {}
}

#[test]
fn a_connection_that_cannot_be_parted_is_shared_all_the_same() {
    let mux = Mux::with(|_| Ok(Conn::new(Odd { replies: Vec::new(), panics: "" })));
    thread::scope(|scope| {
        for thread in 0..8 {
            let mux = &mux;
            scope.spawn(move || {
                for _ in 0..200 {
                    let reply = mux.call_timeout(LONG, "COUNT", vec!["x"; thread]).unwrap();
                    assert_eq!(reply.as_int(), Some(thread as i64));
                }
            });
        }
    });
}

#[test]
fn a_panic_of_the_connections_own_code_leaves_nobody_waiting() {
    for panics in ["send", "receive"] {
        let mux = Mux::with(move |_| Ok(Conn::new(Odd { replies: Vec::new(), panics })));
        thread::scope(|scope| {
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    let mux = mux.clone();
                    scope.spawn(move || mux.call_timeout(LONG, "BOOM", ()))
                })
                .collect();
            let outcomes: Vec<_> = calls.into_iter().map(|call| call.join()).collect();
            assert!(outcomes.iter().any(|outcome| outcome.is_err()), "who ran it panics");
            for outcome in outcomes.into_iter().flatten() {
                assert!(outcome.unwrap_err().to_string().contains("panicked"));
            }
        });
        assert!(mux.err().unwrap().to_string().contains("panicked"));
    }
}

#[test]
fn a_panic_while_arguments_are_made_is_the_callers_own() {
    struct Panics;
    impl ToArgs for Panics {
        fn write_args(&self, _: &mut redigo::ArgWriter<'_>) {
            panic!("no argument");
        }
    }
    let mux = shared();
    mux.call("PING", ()).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mux.call("GET", Panics)));
    assert!(caught.is_err());
    mux.call("PING", ()).unwrap();
    assert_eq!(mux.stats().dials, 1);
}

#[test]
fn handles_go_to_other_threads() {
    fn shared_by_threads<T: Clone + Send + Sync + 'static>() {}
    fn sent_to_a_thread<T: Send + 'static>() {}
    shared_by_threads::<Mux>();
    sent_to_a_thread::<redigo::MuxConn>();
}

#[test]
fn a_timeout_that_a_script_gives_ends_the_connection_at_once() {
    let server = ScriptedServer::new();
    server.expect("GET", "a").timeout();
    server.expect("GET", "b").reply("c");
    let mux = {
        let server = server.clone();
        Mux::with(move |_| Ok(server.conn()))
    };
    assert_eq!(kind(&mux.call_timeout(LONG, "GET", "a")), Some(TimeoutKind::Read));
    assert_eq!(texts(mux.call("GET", "b").unwrap()), "c");
    assert_eq!((mux.stats().dials, mux.stats().lost), (2, 1));
    server.verify();
}
