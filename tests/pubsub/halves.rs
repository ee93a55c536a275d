//! The two halves of a subscriber, on different threads.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{
    Conn, Context, Error, PooledConn, PubSubConn, PubSubEvent, PubSubReceiver, PubSubSender,
    TimeoutKind,
};

use crate::harness::{in_time, over, pong, pool_of_one, publisher, pushed, subscriber};
use crate::support::fake_conn::FakeDialer;
use crate::support::wait::{LONG, wait_until};

#[test]
fn many_threads_send_while_one_receives() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 50;
    let (subscribed, pongs, left) = in_time(|| {
        let mut sub = subscriber();
        let (sender, mut receiver) = sub.split();
        let sender = Mutex::new(sender);
        let counts = thread::scope(|scope| {
            let listening = scope.spawn(move || {
                let (mut subscribed, mut pongs) = (0, 0);
                for event in receiver.iter() {
                    match event.unwrap() {
                        PubSubEvent::Pong { data } if data == b"end" => break,
                        PubSubEvent::Pong { .. } => pongs += 1,
                        PubSubEvent::Subscription { .. } => subscribed += 1,
                        other => panic!("{other:?}"),
                    }
                }
                (subscribed, pongs)
            });
            // Stays subscribed, so that the answer to each ping is an event.
            sender.lock().unwrap().subscribe("many").unwrap();
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    let sender = &sender;
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            let name = format!("many:{thread}:{round}");
                            sender.lock().unwrap().subscribe(&name).unwrap();
                            sender.lock().unwrap().ping(&name).unwrap();
                            sender.lock().unwrap().unsubscribe(&name).unwrap();
                        }
                    });
                }
            });
            sender.lock().unwrap().ping("end").unwrap();
            listening.join().unwrap()
        });
        (counts.0, counts.1, sub.subscriptions().len())
    });
    assert_eq!((subscribed, pongs, left), (1 + 2 * THREADS * ROUNDS, THREADS * ROUNDS, 1));
}

#[test]
fn failure_of_one_half_ends_the_other() {
    let mut sub = subscriber();
    let handle = sub.get_ref().shutdown_handle();
    let sent = in_time(move || {
        let (mut sender, mut receiver) = sub.split();
        thread::scope(|scope| {
            let listening = scope.spawn(move || {
                let last = receiver.iter().last().unwrap().unwrap_err();
                assert!(receiver.err().is_some());
                last
            });
            handle.shutdown();
            assert!(listening.join().unwrap().is_canceled());
            assert!(sender.err().unwrap().is_canceled());
            sender.subscribe("a").and(sender.ping("b"))
        })
    });
    assert!(sent.unwrap_err().is_canceled());
}

#[test]
fn receiving_half_has_every_wait() {
    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    let (mut sender, mut receiver) = sub.split();
    sender.psubscribe("p").unwrap();
    sender.ssubscribe("s").unwrap();
    sender.punsubscribe_all().unwrap();
    sender.sunsubscribe_all().unwrap();
    sender.subscribe("c").unwrap();
    assert_eq!(sender.subscriptions().len(), 1);
    stream.push(pushed(&["pong", "1"]).repeat(4));
    assert_eq!(receiver.receive().unwrap(), pong("1"));
    assert_eq!(receiver.receive_timeout(LONG).unwrap(), pong("1"));
    assert_eq!(receiver.poll(LONG).unwrap(), Some(pong("1")));
    assert_eq!(receiver.timeout_iter(Duration::ZERO).count(), 1);
    assert_eq!(receiver.poll(Duration::from_millis(1)).unwrap(), None);
    let ctx = Context::background().with_timeout(Duration::from_millis(1));
    let kind = receiver.receive_context(&ctx).unwrap_err().timeout_kind();
    assert_eq!(kind, Some(TimeoutKind::Context));
    assert!(sender.resubscribe(&sender.subscriptions().clone()).is_err());
}

#[test]
fn subscriber_and_halves_are_send() {
    fn is_send<T: Send>() {}
    is_send::<PubSubConn>();
    is_send::<PubSubConn<PooledConn>>();
    is_send::<PubSubSender<'static>>();
    is_send::<PubSubReceiver<'static>>();
    is_send::<PubSubEvent>();
}

/// Receives until the last subscription has ended, and returns the data of the messages.
fn listen(mut receiver: PubSubReceiver<'_>) -> (PubSubReceiver<'_>, Vec<Vec<u8>>) {
    let mut messages = Vec::new();
    loop {
        match receiver.receive().unwrap() {
            PubSubEvent::Message { data, .. } => messages.push(data),
            PubSubEvent::Subscription { count: 0, .. } => return (receiver, messages),
            _ => {}
        }
    }
}

#[test]
fn owned_halves_move_to_other_threads_and_reunite() {
    let pool = pool_of_one();
    let mut sub = PubSubConn::new(pool.acquire().unwrap());
    sub.subscribe("owned:a").unwrap();
    let (mut sender, receiver) = sub.into_split().unwrap();
    let listening = thread::spawn(move || listen(receiver));
    let sending = thread::spawn(move || {
        sender.subscribe("owned:b").unwrap();
        sender.ping("").unwrap();
        sender
    });
    let mut sender = sending.join().unwrap();
    assert_eq!(sender.subscriptions().len(), 2);
    publisher().call("PUBLISH", ("owned:a", "hi")).unwrap();
    sender.unsubscribe_all().unwrap();
    let (receiver, messages) = in_time(move || listening.join().unwrap());
    assert_eq!(messages, [b"hi"]);

    // Whole again, and as usable as before.
    let mut sub: PubSubConn<PooledConn> = PubSubConn::reunite(sender, receiver).unwrap();
    sub.subscribe("owned:c").unwrap();
    assert!(sub.receive().is_ok());
    let (sender, receiver) = sub.into_split().unwrap();
    let sub: PubSubConn<PooledConn> = PubSubConn::reunite(sender, receiver).unwrap();
    assert_eq!(sub.subscriptions().channels().collect::<Vec<_>>(), [b"owned:c"]);
    sub.close().unwrap();
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<String>("ECHO", "next").unwrap(), "next");
    assert_eq!((pool.stats().dialed.total(), pool.active_count()), (1, 1));
}

#[test]
fn dropped_owned_halves_drop_a_pooled_connection() {
    let pool = pool_of_one();
    for sender_first in [true, false] {
        let sub = PubSubConn::new(pool.acquire().unwrap());
        let (sender, receiver) = sub.into_split().unwrap();
        if sender_first {
            drop(sender);
            assert_eq!(pool.stats().in_use, 1);
            drop(receiver);
        } else {
            drop(receiver);
            assert_eq!(pool.stats().in_use, 1);
            drop(sender);
        }
        assert_eq!((pool.stats().in_use, pool.idle_count()), (0, 1));
    }
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<String>("ECHO", "next").unwrap(), "next");
    assert_eq!(pool.stats().dialed.total(), 1);

    // Still subscribed, it is not given to another borrower as it is.
    let (mut sender, receiver) = PubSubConn::new(conn).into_split().unwrap();
    sender.subscribe("dropped").unwrap();
    drop((sender, receiver));
    wait_until("the slot is free", || pool.stats().in_use == 0);
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<String>("ECHO", "other").unwrap(), "other");
}

#[test]
fn dropped_owned_halves_close_a_connection() {
    let stream = MemoryStream::silent();
    let (mut sender, receiver) = over(&stream).into_split().unwrap();
    sender.subscribe("a").unwrap();
    assert!(!stream.is_closed());
    drop(receiver);
    sender.subscribe("b").unwrap();
    drop(sender);
    assert!(stream.is_closed());
}

#[test]
fn owned_halves_of_different_subscribers_do_not_reunite() {
    let (first, second) = (MemoryStream::silent(), MemoryStream::silent());
    let (sender, other_receiver) = over(&first).into_split().unwrap();
    let (other_sender, receiver) = over(&second).into_split().unwrap();
    let (sender, receiver) = PubSubConn::<Conn>::reunite(sender, receiver).unwrap_err();
    // Nor as a subscriber of another type, or with a borrowed half.
    let (sender, other_receiver) =
        PubSubConn::<PooledConn>::reunite(sender, other_receiver).unwrap_err();
    let mut sub = PubSubConn::<Conn>::reunite(sender, other_receiver).unwrap();
    sub.subscribe("a").unwrap();
    assert!(!first.written().is_empty());
    PubSubConn::<Conn>::reunite(other_sender, receiver).unwrap().subscribe("b").unwrap();
    assert!(!second.written().is_empty());
}

#[test]
fn owned_halves_share_the_end_of_their_connection() {
    let sub = subscriber();
    let handle = sub.get_ref().shutdown_handle();
    let (mut sender, mut receiver) = sub.into_split().unwrap();
    let listening = thread::spawn(move || {
        let error = receiver.receive().unwrap_err();
        assert_eq!(receiver.iter().take(10).count(), 1);
        (receiver, error)
    });
    handle.shutdown();
    let (receiver, error) = in_time(move || listening.join().unwrap());
    assert!(error.is_canceled());
    assert!(sender.err().unwrap().is_canceled());
    assert!(sender.subscribe("a").unwrap_err().is_canceled());
    let sub = PubSubConn::<Conn>::reunite(sender, receiver).unwrap();
    assert!(sub.err().unwrap().is_canceled());
    assert!(sub.close().unwrap_err().is_canceled());
}

#[test]
fn into_split_fails_without_halves_or_connection() {
    let mut sub = over(&MemoryStream::silent());
    sub.receive_timeout(Duration::ZERO).unwrap_err();
    assert!(sub.into_split().unwrap_err().is_timeout());
    let without_halves = FakeDialer::new().dial(&Context::background()).unwrap();
    let error = PubSubConn::new(without_halves).into_split().unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
}
