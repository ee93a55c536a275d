//! Connections that are dialed, lost and closed, and connections of other kinds.

use std::collections::VecDeque;
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
use crate::support::sharing::{LONG, dialer, kind, over, shared, texts};
use crate::support::wait::wait_until;

#[test]
fn server_killed_under_load_fails_only_calls_in_flight() {
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
fn connection_that_died_idle_fails_no_call() {
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
fn calls_in_flight_fail_with_the_error_of_the_connection() {
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
fn unexpected_reply_ends_the_connection() {
    // After a reply, and before a command.
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
fn waiting_callers_share_one_dial() {
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
            wait_until("all to wait for the dial", || {
                dials.load(Ordering::SeqCst) == round + 1 && mux.stats().waiting == CALLERS - 1
            });
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
fn next_waiter_dials_after_the_dialing_caller_leaves() {
    let (begun, dials) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let mux = {
        let (begun, dials) = (Arc::clone(&begun), Arc::clone(&dials));
        Mux::with(move |ctx| {
            if dials.fetch_add(1, Ordering::SeqCst) == 0 {
                begun.wait();
                // Like a dial that gets no answer.
                assert_eq!(ctx.done().recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
                return Err(ctx.err().expect("the context has ended"));
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
        wait_until("the patient caller to wait", || mux.stats().waiting == 1);
        cancel.cancel();
        assert!(hasty.join().unwrap().unwrap_err().is_canceled());
        assert_eq!(texts(patient.join().unwrap().unwrap()), "PONG");
    });
    assert_eq!(dials.load(Ordering::SeqCst), 2);
}

#[test]
fn dial_ends_with_the_deadline_of_its_caller() {
    let mux = Mux::with(|ctx| {
        let remaining = ctx.remaining().expect("the caller's deadline");
        assert_eq!(ctx.done().recv_timeout(remaining), Err(RecvTimeoutError::Timeout));
        Err(ctx.err().expect("the context has ended"))
    });
    let short = Duration::from_millis(10);
    assert_eq!(kind(&mux.call_timeout(short, "PING", ())), Some(TimeoutKind::Connect));
    let ctx = Context::background().with_timeout(short);
    assert_eq!(kind(&mux.call_context(&ctx, "PING", ())), Some(TimeoutKind::Context));
    assert_eq!(mux.stats().failed_dials, 2);
}

#[test]
fn connection_with_pending_replies_is_unsupported() {
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
fn close_fails_all_calls_immediately() {
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
fn close_ends_a_dial_and_its_waiters() {
    let mux = Mux::with(|ctx| {
        assert!(ctx.done().recv_timeout(LONG).is_err());
        Err(ctx.err().unwrap_or(Error::other("not canceled")))
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
fn last_handle_closes_the_connection() {
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

// Connections of other kinds.

/// Answers every command with the number of its arguments. Can panic.
#[derive(Clone)]
struct Counter {
    replies: Arc<Mutex<VecDeque<Value>>>,
    panics: &'static str,
    has_halves: bool,
}

impl Counter {
    fn new(panics: &'static str) -> Counter {
        Counter { replies: Arc::default(), panics, has_halves: true }
    }
}

impl RawSend for Counter {
    fn send(&mut self, _: &str, args: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        assert!(self.panics != "send", "boom");
        self.replies.lock().unwrap().push_back(Value::Int(args![args].len() as i64));
        Ok(())
    }
    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Ok(())
    }
}

impl RawReceive for Counter {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        assert!(self.panics != "receive", "boom");
        self.replies.lock().unwrap().pop_front().ok_or(TimeoutKind::Read.into())
    }
    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Ok(!self.replies.lock().unwrap().is_empty())
    }
}

impl RawConn for Counter {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        unreachable!("a mux uses the halves")
    }
    fn halves(&mut self) -> Option<(Box<dyn RawSend>, Box<dyn RawReceive>)> {
        self.has_halves.then(|| -> (Box<dyn RawSend>, Box<dyn RawReceive>) {
            (Box::new(self.clone()), Box::new(self.clone()))
        })
    }
    fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle::new(|| {})
    }
    fn close(&mut self) {}
}

#[test]
fn connection_of_another_kind_is_shared_by_its_halves() {
    let mux = Mux::with(|_| Ok(Conn::new(Counter::new(""))));
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
fn connection_without_halves_is_unsupported() {
    let mux = Mux::with(|_| Ok(Conn::new(Counter { has_halves: false, ..Counter::new("") })));
    let error = mux.call("COUNT", ()).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    assert!(error.to_string().contains("RawConn::halves"), "{error}");
}

#[test]
fn panic_in_a_connection_strands_no_caller() {
    for panics in ["send", "receive"] {
        let mux = Mux::with(move |_| Ok(Conn::new(Counter::new(panics))));
        thread::scope(|scope| {
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    let mux = mux.clone();
                    scope.spawn(move || mux.call_timeout(LONG, "BOOM", ()))
                })
                .collect();
            let outcomes: Vec<_> = calls.into_iter().map(|call| call.join()).collect();
            assert!(outcomes.iter().any(|outcome| outcome.is_err()), "the worker panics");
            for outcome in outcomes.into_iter().flatten() {
                assert!(outcome.unwrap_err().to_string().contains("panicked"));
            }
        });
        assert!(mux.err().unwrap().to_string().contains("panicked"));
    }
}

#[test]
fn panic_in_arguments_ends_only_its_own_call() {
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
fn handles_can_move_to_other_threads() {
    fn shared_by_threads<T: Clone + Send + Sync + 'static>() {}
    fn sent_to_a_thread<T: Send + 'static>() {}
    shared_by_threads::<Mux>();
    sent_to_a_thread::<redigo::MuxConn>();
}

#[test]
fn scripted_timeout_ends_the_connection_immediately() {
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
