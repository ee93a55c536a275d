//! The two halves of a subscriber, on different threads.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Context, PooledConn, PubSubConn, PubSubEvent, TimeoutKind};

use crate::harness::{in_time, over, pong, pushed, subscriber};
use crate::support::wait::LONG;

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
    is_send::<redigo::PubSubSender<'_>>();
    is_send::<redigo::PubSubReceiver<'_>>();
    is_send::<PubSubEvent>();
}
