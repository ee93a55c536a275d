//! redigo's behavior, rows 2.10: TestPushed, TestPubSubReceiveContext and ExamplePubSubConn.

use std::thread;
use std::time::Duration;

use redigo::{Conn, Context, PubSubConn, PubSubEvent, Result, SubscriptionKind, TimeoutKind};

use crate::harness::{confirmed, in_time, message, pong, pool_of_one, publisher, subscriber};

/// Runs TestPushed row by row. Leaves the subscriber subscribed to `c1` and `c2`.
fn push<C: AsRef<Conn> + AsMut<Conn>>(name: &str, sub: &mut PubSubConn<C>) -> Result<()> {
    use SubscriptionKind::{PSubscribe, PUnsubscribe, Subscribe};
    let [c1, c2, p1, p2] = ["c1", "c2", "p1", "p2"].map(|channel| format!("{name}:{channel}"));
    let mut publisher = publisher();

    sub.subscribe(&c1)?;
    assert_eq!(sub.receive()?, confirmed(Subscribe, &c1, 1), "R177");
    sub.subscribe(&c2)?;
    assert_eq!(sub.receive()?, confirmed(Subscribe, &c2, 2), "R178");
    sub.psubscribe(&p1)?;
    assert_eq!(sub.receive()?, confirmed(PSubscribe, &p1, 3), "R179");
    sub.psubscribe(&p2)?;
    assert_eq!(sub.receive()?, confirmed(PSubscribe, &p2, 4), "R180");

    sub.punsubscribe_all()?;
    let mut ended = Vec::new();
    for expected in [3, 2] {
        match sub.receive()? {
            PubSubEvent::Subscription { kind: PUnsubscribe, channel, count } => {
                assert_eq!(count, expected, "R181");
                ended.push(String::from_utf8(channel.unwrap()).unwrap());
            }
            other => panic!("R181: {other:?}"),
        }
    }
    ended.sort();
    assert_eq!(ended, [p1, p2], "R181");

    publisher.call("PUBLISH", (&c1, "hello"))?;
    assert_eq!(sub.receive()?, message(&c1, "hello"), "R182");
    sub.ping("hello")?;
    assert_eq!(sub.receive()?, pong("hello"), "R183");
    let conn = sub.get_mut().as_mut();
    conn.send("PING", ())?;
    conn.flush()?;
    assert_eq!(sub.receive()?, pong(""), "R184");
    sub.ping("timeout")?;
    assert_eq!(sub.receive_timeout(Duration::from_secs(60))?, pong("timeout"), "R185");
    Ok(())
}

#[test]
fn r177_to_r185_over_tcp() {
    let mut sub = subscriber();
    push("tcp", &mut sub).unwrap();
    sub.close().unwrap();
}

#[cfg(unix)]
#[test]
fn r177_to_r185_over_a_unix_socket() {
    use crate::support::{redis_server::RedisServer, wait::LONG};

    let path = RedisServer::shared().socket_path();
    let unix = redigo::Dialer::unix(path).read_timeout(LONG);
    let mut sub = PubSubConn::new(unix.dial().unwrap());
    push("unix", &mut sub).unwrap();
    sub.close().unwrap();
}

#[test]
fn r177_to_r185_on_a_pooled_connection() {
    let pool = pool_of_one();
    let mut sub = PubSubConn::new(pool.acquire().unwrap());
    push("pooled", &mut sub).unwrap();
    sub.close().unwrap();
    assert_eq!(pool.idle_count(), 1);
    // The next borrower gets the same connection, without any of these subscriptions.
    for round in 0..2 {
        let mut conn = pool.acquire().unwrap();
        push(&format!("borrowed{round}"), &mut PubSubConn::new(&mut conn)).unwrap();
        conn.close().unwrap();
    }
    assert_eq!((pool.active_count(), pool.stats().dialed.total()), (1, 1));
}

#[test]
fn r186_canceled_context_ends_the_wait() {
    let mut sub = subscriber();
    sub.subscribe("r186").unwrap();
    let first = sub.receive().unwrap();
    assert_eq!(first, confirmed(SubscriptionKind::Subscribe, "r186", 1));
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(sub.receive_context(&ctx).unwrap_err().is_canceled());
    assert!(sub.err().unwrap().is_canceled());
}

#[test]
fn context_canceled_while_waiting_ends_the_wait() {
    let (ctx, cancel) = Context::background().with_cancel();
    let outcome = in_time(move || {
        let mut sub = subscriber();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| sub.receive_context(&ctx));
            cancel.cancel();
            waiting.join().unwrap()
        })
    });
    assert!(outcome.unwrap_err().is_canceled());
}

#[test]
fn context_deadline_ends_the_wait() {
    let mut sub = subscriber();
    let ctx = Context::background().with_timeout(Duration::from_millis(20));
    let error = sub.receive_context(&ctx).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
}

#[test]
fn r187_redigo_example() {
    /// Listens until the last subscription ends. Calls `on_start` once and `on_message` for each
    /// message.
    fn listen(
        mut sub: PubSubConn,
        channels: [&str; 2],
        on_start: impl FnOnce(),
        mut on_message: impl FnMut(&[u8], &[u8]) + Send,
        end: &Context,
    ) -> Result<()> {
        sub.subscribe(channels)?;
        for _ in channels {
            sub.receive()?;
        }
        on_start();
        let (mut sender, mut receiver) = sub.split();
        thread::scope(|scope| {
            let listening = scope.spawn(move || {
                for event in receiver.iter() {
                    match event? {
                        PubSubEvent::Message { channel, data, .. } => on_message(&channel, &data),
                        PubSubEvent::Subscription { count: 0, .. } => return Ok(()),
                        _ => {}
                    }
                }
                panic!("the iterator ended without an error");
            });
            let _ = end.done().recv();
            sender.unsubscribe_all()?;
            listening.join().unwrap()
        })
    }

    let output = in_time(|| {
        let (ctx, cancel) = Context::background().with_cancel();
        let mut output = Vec::new();
        let publish = || {
            let mut conn = publisher();
            for (channel, data) in [("c1", "hello"), ("c2", "world"), ("c1", "goodbye")] {
                conn.call("PUBLISH", (format!("r187:{channel}"), data)).unwrap();
            }
        };
        let on_message = |channel: &[u8], data: &[u8]| {
            output.push((channel.to_vec(), data.to_vec()));
            if data == b"goodbye" {
                cancel.cancel();
            }
        };
        listen(subscriber(), ["r187:c1", "r187:c2"], publish, on_message, &ctx).unwrap();
        output
    });
    let expected = [("r187:c1", "hello"), ("r187:c2", "world"), ("r187:c1", "goodbye")];
    assert_eq!(output, expected.map(|(channel, data)| (channel.into(), data.into())));
}
