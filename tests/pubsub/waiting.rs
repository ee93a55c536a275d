//! Waiting: timeouts that end the connection, and polls that do not.

use std::thread;
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Context, Dialer, Pool, PooledConn, PubSubConn, PubSubEvent, Result, TimeoutKind};

use crate::harness::{dialer, in_time, message, over, pong, publisher, pushed, subscriber};
use crate::support::redis_server::RedisServer;
use crate::support::wait::{LONG, SHORT};

type Wait = fn(&mut PubSubConn) -> Result<()>;

#[test]
fn silence_ends_a_receive_but_not_a_poll() {
    let short = Duration::from_millis(10);
    let rows: &[(&str, Wait)] = &[
        ("read timeout", |sub| sub.receive().map(drop)),
        ("read timeout of iter", |sub| sub.iter().next().unwrap().map(drop)),
        ("per call", |sub| sub.receive_timeout(Duration::from_millis(5)).map(drop)),
        ("nothing left", |sub| sub.receive_timeout(Duration::ZERO).map(drop)),
    ];
    for (name, wait) in rows {
        let stream = MemoryStream::silent();
        let conn = Dialer::tcp(":6379").read_timeout(short).wrap(stream.clone());
        let mut sub = PubSubConn::new(conn);
        for pause in [short, Duration::ZERO] {
            assert_eq!(sub.poll(pause).unwrap(), None, "{name}");
            assert_eq!(sub.timeout_iter(pause).count(), 0, "{name}");
        }
        stream.push(pushed(&["pong", "1"]));
        assert_eq!(sub.receive().unwrap(), pong("1"), "{name}: polling is harmless");

        let error = wait(&mut sub).unwrap_err();
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read), "{name}");
        // A late event is never received.
        stream.push(pushed(&["pong", "2"]));
        assert!(sub.receive().unwrap_err().is_timeout(), "{name}");
        assert!(sub.poll(short).unwrap_err().is_timeout(), "{name}");
        assert!(stream.is_closed(), "{name}");
    }
}

#[test]
fn receive_without_timeout_outlasts_the_read_timeout() {
    let stream = MemoryStream::silent();
    let conn = Dialer::tcp(":6379").read_timeout(Duration::from_millis(1)).wrap(stream.clone());
    let mut sub = PubSubConn::new(conn);
    let event = in_time(move || {
        thread::scope(|scope| {
            let waiting = scope.spawn(move || sub.receive_timeout(None));
            thread::sleep(Duration::from_millis(30));
            stream.push(pushed(&["pong", "1"]));
            waiting.join().unwrap()
        })
    });
    assert_eq!(event.unwrap(), pong("1"));
}

#[test]
fn timeout_iter_continues_after_a_pause() {
    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    for round in ["a", "b"] {
        stream.push(pushed(&["pong", round]).repeat(3));
        stream.push("-ERR between\r\n");
        let mut errors = 0;
        let events: Vec<_> = sub
            .timeout_iter(Duration::ZERO)
            .filter_map(|event| event.inspect_err(|_| errors += 1).ok())
            .collect();
        assert_eq!((events, errors), (vec![pong(round); 3], 1));
    }
    assert!(sub.err().is_none());
}

#[test]
fn poll_receives_messages_of_a_real_server() {
    let mut sub = subscriber();
    sub.subscribe("poll").unwrap();
    assert!(sub.poll(LONG).unwrap().is_some());
    assert_eq!(sub.poll(Duration::ZERO).unwrap(), None);
    publisher().call("PUBLISH", ("poll", "hi")).unwrap();
    assert_eq!(sub.poll(LONG).unwrap(), Some(message("poll", "hi")));
}

#[test]
fn poll_context_timeout_loses_nothing() {
    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    let (ctx, _cancel) = Context::background().with_cancel();
    for round in ["a", "b"] {
        assert_eq!(sub.poll_context(&ctx, Duration::from_millis(5)).unwrap(), None);
        assert_eq!(sub.poll_context(&ctx, Duration::ZERO).unwrap(), None);
        stream.push(pushed(&["pong", round]));
        assert_eq!(sub.poll_context(&ctx, LONG).unwrap(), Some(pong(round)));
        stream.push(pushed(&["pong", round]));
        assert_eq!(sub.poll_context(&ctx, None).unwrap(), Some(pong(round)));
    }
    assert!(sub.err().is_none());
}

#[test]
fn poll_context_timeout_keeps_a_half_received_event() {
    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    let event = pushed(&["pong", "whole"]);
    let (head, tail) = (event[..10].to_owned(), event[10..].to_owned());
    stream.push(head);
    let (ctx, _cancel) = Context::background().with_cancel();
    let received = in_time(move || {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| sub.poll_context(&ctx, Duration::from_millis(5)));
            thread::sleep(Duration::from_millis(30));
            stream.push(tail);
            waiting.join().unwrap()
        })
    });
    // The timeout is for the beginning of the event only.
    assert_eq!(received.unwrap(), Some(pong("whole")));
}

#[test]
fn poll_context_is_canceled_while_the_server_is_frozen() {
    let server = RedisServer::start();
    let mut sub = PubSubConn::new(Dialer::url(server.url()).unwrap().dial().unwrap());
    sub.subscribe("frozen").unwrap();
    assert!(sub.poll(LONG).unwrap().is_some());
    server.freeze();
    let (ctx, cancel) = Context::background().with_cancel();
    let error = in_time(move || {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| sub.poll_context(&ctx, 10 * LONG).unwrap_err());
            cancel.cancel();
            waiting.join().unwrap()
        })
    });
    server.thaw();
    assert!(error.is_canceled());
}

#[test]
fn poll_context_ends_at_the_deadline_of_the_context() {
    let mut sub = over(&MemoryStream::silent());
    let ctx = Context::background().with_timeout(Duration::from_millis(20));
    assert_eq!(sub.poll_context(&ctx, Duration::from_millis(1)).unwrap(), None);
    let error = sub.poll_context(&ctx, LONG).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
    assert!(sub.err().is_some());

    // The receiving half does the same.
    let mut sub = over(&MemoryStream::silent());
    let (_sender, mut receiver) = sub.split();
    let ctx = Context::background().with_timeout(Duration::from_millis(20));
    assert_eq!(receiver.poll_context(&ctx, Duration::from_millis(1)).unwrap(), None);
    let error = receiver.poll_context(&ctx, None).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
    assert!(receiver.poll(Duration::ZERO).is_err());
}

/// A pool whose connections time out after a silence that the tests exceed.
fn pool_with_short_read_timeout() -> Pool {
    Pool::builder(dialer().read_timeout(SHORT)).cleanup_timeout(LONG).build().unwrap()
}

#[test]
fn pooled_subscriber_survives_silence() {
    let pool = pool_with_short_read_timeout();
    let mut sub = PubSubConn::new(pool.acquire().unwrap());
    sub.subscribe("silence").unwrap();
    sub.receive().unwrap();
    let waits: [(&str, fn(&mut PubSubConn<PooledConn>) -> Result<PubSubEvent>); 5] = [
        ("receive", |sub| sub.receive()),
        ("iter", |sub| sub.iter().next().unwrap()),
        ("receive_context", |sub| sub.receive_context(&Context::background().with_cancel().0)),
        ("half", |sub| sub.split().1.receive()),
        ("iter of a half", |sub| sub.split().1.iter().next().unwrap()),
    ];
    for (name, wait) in waits {
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(2 * SHORT);
                publisher().call("PUBLISH", ("silence", name)).unwrap();
            });
            assert_eq!(wait(&mut sub).unwrap(), message("silence", name), "{name}");
        });
    }
    sub.close().unwrap();
    assert_eq!(pool.idle_count(), 1);

    // As an ordinary connection, it has the pool's read timeout again.
    let mut conn = pool.acquire().unwrap();
    assert!(conn.call("BLPOP", ("silence:none", 5)).unwrap_err().is_timeout());
    // A detached connection no longer belongs to the pool.
    let mut sub = PubSubConn::new(pool.acquire().unwrap().detach());
    assert!(sub.receive().unwrap_err().is_timeout());
}

#[test]
fn silence_timeout_ends_a_subscriber() {
    let pool = pool_with_short_read_timeout();
    let mut sub = PubSubConn::new(pool.acquire().unwrap()).silence_timeout(3 * SHORT);
    let began = Instant::now();
    assert_eq!(sub.receive().unwrap_err().timeout_kind(), Some(TimeoutKind::Read));
    assert!(began.elapsed() >= 3 * SHORT);
    assert!(sub.err().unwrap().is_timeout());

    let stream = MemoryStream::silent();
    let conn = Dialer::tcp(":6379").read_timeout(SHORT).wrap(stream.clone());
    let mut sub = PubSubConn::new(conn).silence_timeout(None);
    assert_eq!(sub.poll(2 * SHORT).unwrap(), None);
    stream.push(pushed(&["pong", "1"]));
    assert_eq!(sub.receive().unwrap(), pong("1"));
    // The read timeout still limits an event that has begun.
    stream.push(&pushed(&["pong", "2"])[..10]);
    assert_eq!(sub.receive().unwrap_err().timeout_kind(), Some(TimeoutKind::Read));
    assert!(stream.is_closed());
}
