//! Callers whose time ends while others use the connection.

use std::thread;
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Context, Dialer, Mux, TimeoutKind, Value};

use crate::support::redis_server::RedisServer;
use crate::support::sharing::{LONG, dialer, kind, over, texts, wait_until_written};
use crate::support::wait::wait_until;

#[test]
fn caller_that_leaves_in_mid_reply_keeps_the_connection_usable() {
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
fn reader_past_its_deadline_hands_over_to_another() {
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
fn expired_deadline_sends_nothing() {
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
fn timeouts_on_a_frozen_server_keep_the_connection() {
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
fn server_silent_for_the_read_timeout_is_lost() {
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
fn short_call_timeouts_detect_a_dead_server_too() {
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
fn long_call_timeout_keeps_a_silent_connection() {
    let stream = MemoryStream::silent();
    let connection = stream.clone();
    let mux = Mux::with(move |_| {
        let dialer = Dialer::tcp(":6379").read_timeout(Duration::from_millis(20));
        // On a busy machine a short write timeout could pass before the write runs.
        Ok(dialer.write_timeout(LONG).wrap(connection.clone()))
    });
    thread::scope(|scope| {
        let slow = scope.spawn(|| mux.call_timeout(LONG, "EVAL", ("slow script", 0)));
        wait_until("the script to be sent", || mux.stats().in_flight == 1);
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
fn cancellation_reaches_parked_callers_and_the_reader() {
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
fn call_of_a_handle_has_one_read_timeout_for_all_replies() {
    let stream = MemoryStream::silent();
    let connection = stream.clone();
    let mux = Mux::with(move |_| {
        let dialer = Dialer::tcp(":6379").read_timeout(Duration::from_millis(200));
        Ok(dialer.write_timeout(LONG).wrap(connection.clone()))
    });
    for drains in [false, true] {
        let mut conn = mux.get();
        (0..40).for_each(|key| conn.send("GET", key).unwrap());
        thread::scope(|scope| {
            let call = scope.spawn(|| match drains {
                false => conn.call("GET", "last"),
                true => conn.drain().map(Value::Array),
            });
            // Each reply comes in time, all of them do not.
            for reply in 0..40 {
                if call.is_finished() {
                    break;
                }
                wait_until_written(&stream, "GET", 40 * (1 + usize::from(drains)) + 1);
                stream.push(format!(":{reply}\r\n"));
                thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(kind(&call.join().unwrap()), Some(TimeoutKind::Read));
        });
        assert_eq!(conn.pending(), 0);
        if mux.stats().lost > 0 {
            // The machine was so busy that no reply came for the read timeout.
            return;
        }
    }
}

#[test]
fn call_of_a_handle_ends_with_its_timeout_or_context() {
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    let short = Duration::from_millis(5);
    let mut conn = mux.get();
    conn.send("GET", "a").unwrap();
    assert_eq!(kind(&conn.call_timeout(short, "GET", "b")), Some(TimeoutKind::Read));
    assert_eq!(conn.pending(), 0);
    let ctx = Context::background().with_timeout(short);
    assert_eq!(kind(&conn.call_context(&ctx, "GET", "c")), Some(TimeoutKind::Context));
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(conn.call_context(&ctx, "GET", "never").unwrap_err().is_canceled());
    assert_eq!(kind(&conn.call_timeout(Duration::ZERO, "GET", "never")), Some(TimeoutKind::Read));
    wait_until_written(&stream, "GET", 3);
    stream.push(":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n");
    conn.send("GET", "d").unwrap();
    assert_eq!(conn.call_timeout(LONG, "GET", "e").unwrap().as_int(), Some(5));
    assert_eq!((mux.stats().dials, mux.stats().abandoned), (1, 3));
}

#[test]
fn handle_that_abandons_a_reply_receives_the_next() {
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
