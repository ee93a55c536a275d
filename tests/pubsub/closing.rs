//! Closing a pooled connection that is still subscribed.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Error, Pool, PooledConn, PubSubConn, Result, Stream};

use crate::harness::{commands, dialer, in_time, pool_of_one, publisher, pushed};
use crate::support::redis_server::RedisServer;
use crate::support::wait::LONG;

/// A stream to the server that records the written bytes.
struct Recorded(TcpStream, Arc<Mutex<Vec<u8>>>);

impl Stream for Recorded {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Stream::read(&self.0, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = Stream::write(&self.0, bytes)?;
        self.1.lock().unwrap().extend(&bytes[..written]);
        Ok(written)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }

    fn shutdown(&self) {
        Stream::shutdown(&self.0);
    }
}

#[test]
fn r145_r146_close_ends_live_subscriptions() {
    let shards = RedisServer::shared().has("shard channels", (7, 0, 0));
    type Subscribe = fn(&mut PubSubConn<PooledConn>) -> Result<()>;
    let mut rows: Vec<(&str, Subscribe, &[&str])> = vec![
        ("R145", |sub| sub.get_mut().send("SUBSCRIBE", "x"), &["SUBSCRIBE"]),
        ("R146", |sub| sub.get_mut().send("PSUBSCRIBE", "x*"), &["PSUBSCRIBE"]),
        ("flushed", |sub| sub.subscribe(("x", "y", "z")), &["SUBSCRIBE"]),
        (
            "one of three confirmed",
            |sub| sub.subscribe(("x", "y", "z")).and_then(|()| sub.receive().map(drop)),
            &["SUBSCRIBE"],
        ),
        ("through a half", |sub| sub.split().0.psubscribe(("x*", "y*")), &["PSUBSCRIBE"]),
        (
            "already unsubscribed",
            |sub| sub.subscribe("x").and_then(|()| sub.unsubscribe_all()),
            &["SUBSCRIBE", "UNSUBSCRIBE"],
        ),
        (
            "with a ping unanswered",
            |sub| sub.subscribe("x").and_then(|()| sub.ping("p")),
            &["SUBSCRIBE", "PING"],
        ),
    ];
    if shards {
        rows.push(("shards", |sub| sub.ssubscribe("x"), &["SSUBSCRIBE"]));
    } else {
        let mut sub = PubSubConn::new(pool_of_one().acquire().unwrap());
        sub.ssubscribe("x").unwrap();
        assert!(sub.receive().unwrap_err().to_string().contains("unknown command"));
        sub.close().unwrap();
    }
    for (name, subscribe, sent) in rows {
        let written = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&written);
        let pool = Pool::builder_with(move |_| {
            let stream = TcpStream::connect(RedisServer::shared().addr())?;
            Ok(Dialer::tcp(":6379").wrap(Recorded(stream, Arc::clone(&record))))
        });
        let pool = pool.cleanup_timeout(LONG).build().unwrap();

        let mut sub = PubSubConn::new(pool.acquire().unwrap());
        subscribe(&mut sub).unwrap();
        sub.close().unwrap();

        let mut expected = sent.to_vec();
        expected.extend(["UNSUBSCRIBE", "PUNSUBSCRIBE"]);
        if name == "shards" {
            expected.push("SUNSUBSCRIBE");
        }
        expected.push("ECHO");
        let log = commands(&written.lock().unwrap());
        let names: Vec<_> = log.iter().map(|command| command[0].as_str()).collect();
        assert_eq!(names, expected, "{name}");
        assert_eq!(log.last().unwrap()[1].len(), 64, "{name}");

        // The next borrower gets the same connection, and its replies match.
        assert_eq!((pool.idle_count(), pool.active_count()), (1, 1), "{name}");
        let mut conn = pool.acquire().unwrap();
        assert_eq!(conn.query::<String>("ECHO", "next").unwrap(), "next", "{name}");
        assert_eq!(pool.stats().dialed.total(), 1, "{name}");
    }
}

#[test]
fn fault_12_events_never_reach_the_next_borrower() {
    in_time(|| {
        let pool = pool_of_one();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut conn = publisher();
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..100 {
                            conn.send("PUBLISH", ("flood:a", "x".repeat(1000))).unwrap();
                        }
                        conn.drain().unwrap();
                    }
                });
            }
            // Also stops the publishers if an assertion fails.
            let _stop = RunOnDrop(|| stop.store(true, Ordering::Relaxed));
            for round in 0..20 {
                let mut sub = PubSubConn::new(pool.acquire().unwrap());
                sub.subscribe(("flood:a", "flood:b", "flood:c")).unwrap();
                sub.psubscribe("flood:*").unwrap();
                // Closed before the first event, between confirmations, or amid the messages.
                let events = sub.iter().take(round * 5).collect::<Result<Vec<_>>>().unwrap();
                assert_eq!(events.len(), round * 5);
                sub.close().unwrap();

                let mut conn = pool.acquire().unwrap();
                assert_eq!(conn.query::<usize>("ECHO", round).unwrap(), round);
                conn.close().unwrap();
            }
        });
        assert_eq!((pool.stats().dialed.total(), pool.idle_count()), (1, 1));
    });
}

struct RunOnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for RunOnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A server that sends messages without end, whatever it receives.
struct Flood;

impl Stream for Flood {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let event = pushed(&["message", "c", "again"]);
        let bytes = event.repeat(buffer.len() / event.len());
        assert!(!bytes.is_empty(), "the buffer is smaller than one message");
        buffer[..bytes.len()].copy_from_slice(bytes.as_bytes());
        Ok(bytes.len())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn shutdown(&self) {}
}

#[test]
fn close_ends_in_time_on_any_server() {
    type Dial = fn() -> Conn;
    let rows: &[(&str, Dial)] = &[
        ("silent", || Dialer::tcp(":6379").wrap(MemoryStream::silent())),
        ("silent after a confirmation", || {
            let stream = MemoryStream::silent();
            stream.push("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
            Dialer::tcp(":6379").wrap(stream)
        }),
        ("flooding", || Dialer::tcp(":6379").wrap(Flood)),
        // A longer read timeout does not extend the cleanup.
        ("silent, long read timeout", || {
            Dialer::tcp(":6379").read_timeout(10 * LONG).wrap(MemoryStream::silent())
        }),
    ];
    for (name, dial) in rows {
        let dial = *dial;
        let pool = Pool::builder_with(move |_| Ok(dial()));
        let pool = pool.max_active(1).cleanup_timeout(Duration::from_millis(50)).build().unwrap();
        let lender = pool.clone();
        let closed = in_time(move || {
            let mut sub = PubSubConn::new(lender.acquire().unwrap());
            sub.subscribe("c").unwrap();
            sub.close()
        });
        assert!(closed.unwrap_err().is_timeout(), "{name}");
        assert_eq!((pool.active_count(), pool.idle_count()), (0, 0), "{name}");
        assert!(pool.acquire().is_ok(), "{name}: the slot is free");
    }
}

#[test]
fn close_ends_in_time_on_a_frozen_server() {
    let server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap();
    let pool = Pool::builder(dialer.clone());
    let pool = pool.cleanup_timeout(Duration::from_millis(50)).build().unwrap();
    let mut sub = PubSubConn::new(pool.acquire().unwrap());
    sub.subscribe("hang").unwrap();
    sub.receive().unwrap();
    let mut publisher = dialer.dial().unwrap();
    for _ in 0..1000 {
        publisher.send("PUBLISH", ("hang", "x")).unwrap();
    }
    publisher.drain().unwrap();
    server.freeze();
    let closed = in_time(move || sub.close());
    server.thaw();
    assert!(closed.unwrap_err().is_timeout());
    assert_eq!(pool.active_count(), 0);
    assert!(pool.acquire().is_ok());
}

#[test]
fn dropped_subscriber_is_unsubscribed_on_a_pool_thread() {
    let pool = Pool::builder(dialer()).max_active(1).build().unwrap();
    let mut sub = PubSubConn::new(pool.acquire().unwrap());
    sub.subscribe("dropped").unwrap();
    drop(sub);
    let mut next = pool.get_timeout(LONG).unwrap();
    assert_eq!(next.query::<String>("PING", ()).unwrap(), "PONG");
    assert_eq!((pool.stats().dialed.total(), pool.stats().closed.total()), (1, 0));
}

#[test]
fn failed_checkout_returns_errors_without_a_panic() {
    let pool = Pool::builder(dialer()).build().unwrap();
    pool.close();
    let mut sub = PubSubConn::new(pool.get());
    assert!(matches!(sub.err(), Some(Error::PoolClosed)));
    assert!(matches!(sub.subscribe("a"), Err(Error::PoolClosed)));
    assert!(matches!(sub.receive(), Err(Error::PoolClosed)));
    assert!(matches!(sub.poll(Duration::ZERO), Err(Error::PoolClosed)));
    assert_eq!(sub.iter().take(10).count(), 1);
    let (mut sender, mut receiver) = sub.split();
    assert!(sender.ping("a").is_err() && receiver.receive().is_err());
    sub.close().unwrap();
}
