//! Publish and subscribe: redigo's rows 2.10, what it has no rows for, and closing while subscribed.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{
    Conn, Context, Dialer, Error, Pool, PooledConn, PubSubConn, PubSubEvent, Result, Stream,
    SubscriptionKind, TimeoutKind, Value,
};

use crate::support::redis_server::RedisServer;

/// Long enough for anything that works; only what hangs takes as long.
const PATIENCE: Duration = Duration::from_secs(20);

type Inspect = fn(&mut PubSubConn) -> Result<()>;

fn dialer() -> Dialer {
    Dialer::url(RedisServer::shared().url()).unwrap().read_timeout(PATIENCE)
}

fn subscriber() -> PubSubConn {
    PubSubConn::new(dialer().dial().unwrap())
}

fn publisher() -> Conn {
    dialer().dial().unwrap()
}

fn pool_of_one() -> Pool {
    Pool::builder(dialer()).max_active(1).cleanup_timeout(PATIENCE).build().unwrap()
}

fn over(stream: &MemoryStream) -> PubSubConn {
    PubSubConn::new(Dialer::tcp(":6379").read_timeout(PATIENCE).wrap(stream.clone()))
}

fn playing(input: &str) -> PubSubConn {
    over(&MemoryStream::new(input))
}

fn message(channel: &str, data: &str) -> PubSubEvent {
    PubSubEvent::Message { channel: channel.into(), pattern: None, data: data.into() }
}

fn confirmed(kind: SubscriptionKind, channel: &str, count: u64) -> PubSubEvent {
    PubSubEvent::Subscription { kind, channel: Some(channel.into()), count }
}

fn pong(data: &str) -> PubSubEvent {
    PubSubEvent::Pong { data: data.into() }
}

/// The bytes of a list of bulk strings.
fn pushed(items: &[&str]) -> String {
    let bulks = items.iter().map(|item| format!("${}\r\n{item}\r\n", item.len()));
    format!("*{}\r\n{}", items.len(), bulks.collect::<String>())
}

/// The commands in what was written to a server.
fn commands(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let mut commands = Vec::new();
    while let Some(count) = lines.next().and_then(|head| head.strip_prefix('*')) {
        let count: usize = count.parse().unwrap();
        commands.push((0..count).map(|_| lines.by_ref().nth(1).unwrap().to_owned()).collect());
    }
    commands
}

/// Fails if the work is not done in time, instead of hanging.
#[track_caller]
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    outcome.recv_timeout(PATIENCE).expect("it hangs, or has panicked")
}

// 2.10: TestPushed, TestPubSubReceiveContext, ExamplePubSubConn.

/// TestPushed, row by row, on a connection of any kind. Leaves it subscribed to `c1`, `c2`.
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

    sub.punsubscribe(())?;
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

#[test]
fn r177_to_r185_over_a_unix_socket() {
    let unix = Dialer::unix(RedisServer::shared().socket_path()).read_timeout(PATIENCE);
    let mut sub = PubSubConn::new(unix.dial().unwrap());
    push("unix", &mut sub).unwrap();
    sub.close().unwrap();
}

#[test]
fn r177_to_r185_on_a_pooled_connection_which_goes_back() {
    let pool = pool_of_one();
    let mut sub = PubSubConn::new(pool.acquire().unwrap());
    push("pooled", &mut sub).unwrap();
    sub.close().unwrap();
    assert_eq!(pool.idle_count(), 1);
    // The next borrower gets the same one and finds nothing of all that.
    for round in 0..2 {
        let mut conn = pool.acquire().unwrap();
        push(&format!("borrowed{round}"), &mut PubSubConn::new(&mut conn)).unwrap();
        conn.close().unwrap();
    }
    assert_eq!((pool.active_count(), pool.stats().dialed.total()), (1, 1));
}

#[test]
fn r186_a_canceled_context_ends_the_wait() {
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
fn a_context_that_is_canceled_later_ends_the_wait_too() {
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
fn the_deadline_of_a_context_ends_the_wait() {
    let mut sub = subscriber();
    let ctx = Context::background().with_timeout(Duration::from_millis(20));
    let error = sub.receive_context(&ctx).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
}

#[test]
fn r187_the_example_of_redigo() {
    /// Listens until nothing is subscribed to, with one call for the start and one a message.
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
                panic!("the events have ended without an error");
            });
            let _ = end.done().recv();
            sender.unsubscribe(())?;
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

// What the server says.

#[test]
fn a_message_for_a_pattern_names_the_pattern_and_bytes_stay_bytes() {
    let mut sub = subscriber();
    sub.psubscribe("pattern:*").unwrap();
    sub.receive().unwrap();
    let (channel, data) = (b"pattern:\xff\0".to_vec(), b"\r\n\xfe".to_vec());
    publisher().call("PUBLISH", (&channel, &data)).unwrap();
    let pattern = Some(b"pattern:*".to_vec());
    assert_eq!(sub.receive().unwrap(), PubSubEvent::Message { channel, pattern, data });
}

#[test]
fn shard_channels_are_channels_of_their_own() {
    let mut sub = subscriber();
    sub.ssubscribe(("shard:a", "shard:b")).unwrap();
    if RedisServer::shared().redis_version() < (7, 0, 0) {
        assert!(sub.receive().unwrap_err().as_server().is_some());
        assert!(sub.err().is_none());
        return;
    }
    let receive = |sub: &mut PubSubConn| sub.receive().unwrap();
    assert_eq!(receive(&mut sub), confirmed(SubscriptionKind::SSubscribe, "shard:a", 1));
    assert_eq!(receive(&mut sub), confirmed(SubscriptionKind::SSubscribe, "shard:b", 2));
    let mut publisher = publisher();
    publisher.call("PUBLISH", ("shard:a", "not for shards")).unwrap();
    publisher.call("SPUBLISH", ("shard:a", "for shards")).unwrap();
    assert_eq!(receive(&mut sub), message("shard:a", "for shards"));
    sub.sunsubscribe("shard:b").unwrap();
    assert_eq!(receive(&mut sub), confirmed(SubscriptionKind::SUnsubscribe, "shard:b", 1));
    sub.sunsubscribe(()).unwrap();
    assert_eq!(receive(&mut sub), confirmed(SubscriptionKind::SUnsubscribe, "shard:a", 0));
}

#[test]
fn ending_all_of_no_subscriptions_is_confirmed_without_a_channel() {
    let mut sub = subscriber();
    sub.unsubscribe(()).unwrap();
    sub.punsubscribe(()).unwrap();
    for kind in [SubscriptionKind::Unsubscribe, SubscriptionKind::PUnsubscribe] {
        let none = PubSubEvent::Subscription { kind, channel: None, count: 0 };
        assert_eq!(sub.receive().unwrap(), none);
    }
}

#[test]
fn a_ping_while_subscribed_to_nothing_is_no_event_and_does_no_harm() {
    let mut sub = subscriber();
    sub.ping("a").unwrap();
    let error = sub.receive().unwrap_err();
    assert_eq!(error.to_string(), "expected a pub/sub event, found a bulk string");
    let conn = sub.get_mut();
    conn.send("PING", ()).unwrap();
    conn.flush().unwrap();
    let error = sub.receive().unwrap_err();
    assert_eq!(error.to_string(), "expected a pub/sub event, found a simple string");
    sub.subscribe("ping:now").unwrap();
    sub.ping("b").unwrap();
    sub.receive().unwrap();
    assert_eq!(sub.receive().unwrap(), pong("b"));
}

#[test]
fn what_the_server_refuses_is_an_error_and_the_connection_goes_on() {
    let mut sub = subscriber();
    sub.subscribe(()).unwrap();
    let error = sub.receive().unwrap_err();
    assert!(error.to_string().contains("wrong number of arguments"), "{error}");
    sub.subscribe("refused").unwrap();
    sub.receive().unwrap();
    sub.get_mut().send("GET", "key").unwrap();
    sub.get_mut().flush().unwrap();
    assert_eq!(sub.receive().unwrap_err().as_server().unwrap().code(), "ERR");
    sub.ping("").unwrap();
    assert_eq!(sub.receive().unwrap(), pong(""));
}

#[test]
fn an_ordinary_connection_again_after_the_last_subscription() {
    let mut sub = subscriber();
    sub.subscribe(("end:a", "end:b")).unwrap();
    sub.unsubscribe(()).unwrap();
    let events = sub.iter().map(Result::unwrap);
    let over = |event: &PubSubEvent| matches!(event, PubSubEvent::Subscription { count: 0, .. });
    assert_eq!(events.take_while(|event| !over(event)).count(), 3);
    let mut conn: Conn = sub.into_inner();
    assert_eq!(conn.query::<String>("ECHO", "hi").unwrap(), "hi");
    conn.close().unwrap();
}

#[test]
fn a_reply_that_is_no_event_says_so_and_the_next_is_received() {
    #[rustfmt::skip]
    let rows: &[(&str, &str)] = &[
        (":1\r\n", "expected a pub/sub event, found an integer"),
        ("+OK\r\n", "expected a pub/sub event, found a simple string"),
        ("$-1\r\n", "the reply is nil"),
        ("*-1\r\n", "the reply is nil"),
        ("-ERR no\r\n", "ERR no"),
        ("*0\r\n", "expected a kind of pub/sub event, found the end of the list"),
        ("*1\r\n:1\r\n", "expected a kind of pub/sub event, found an integer at element [0]"),
        ("*1\r\n-ERR in\r\n", "ERR in"),
        ("*2\r\n$3\r\nfoo\r\n$1\r\nc\r\n", r#"expected a kind of pub/sub event, found "foo""#),
        ("*1\r\n$7\r\nMESSAGE\r\n", r#"expected a kind of pub/sub event, found "MESSAGE""#),
        ("*1\r\n$2\r\n\0\n\r\n", r#"expected a kind of pub/sub event, found "\x00\n""#),
        ("*1\r\n$7\r\nmessage\r\n", "expected a channel, found the end of the list"),
        ("*2\r\n$7\r\nmessage\r\n$1\r\nc\r\n", "expected a message, found the end of the list"),
        ("*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nx\r\n", "expected a channel, found an integer at element [1]"),
        ("*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nx\r\n", "expected a channel, found nil at element [1]"),
        ("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n*1\r\n:1\r\n", "expected a message, found a list at element [2]"),
        ("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$-1\r\n", "expected a message, found nil at element [2]"),
        ("*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n:2\r\n", "expected a message, found an integer at element [2]"),
        ("*3\r\n$8\r\npmessage\r\n$1\r\np\r\n$1\r\nc\r\n", "expected a message, found the end of the list"),
        ("*4\r\n$8\r\npmessage\r\n*0\r\n$1\r\nc\r\n$1\r\nx\r\n", "expected a pattern, found a list at element [1]"),
        ("*2\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n", "expected a number of subscriptions, found the end of the list"),
        ("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:-1\r\n", "expected a number of subscriptions, found -1 at element [2]"),
        ("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n$1\r\n1\r\n", "expected a number of subscriptions, found a bulk string at element [2]"),
        ("*3\r\n$9\r\nsubscribe\r\n:1\r\n:1\r\n", "expected a channel, found an integer at element [1]"),
        ("*1\r\n$4\r\npong\r\n", "expected what the ping said, found the end of the list"),
        ("*2\r\n$4\r\npong\r\n*0\r\n", "expected what the ping said, found a list at element [1]"),
    ];
    for (input, expected) in rows {
        let mut sub = playing(&format!("{input}{}", pushed(&["pong", "next"])));
        let error = sub.receive().unwrap_err();
        assert_eq!(error.to_string(), *expected, "{input:?}");
        assert!(!error.is_fatal(), "{input:?}");
        assert_eq!(sub.receive().unwrap(), pong("next"), "{input:?}");
    }
}

#[test]
fn events_of_simple_strings_and_with_more_than_they_need_are_understood() {
    let input = "*3\r\n+message\r\n+c\r\n+hi\r\n*3\r\n$4\r\npong\r\n$1\r\nx\r\n:7\r\n";
    let mut sub = playing(input);
    assert_eq!(sub.receive().unwrap(), message("c", "hi"));
    assert_eq!(sub.receive().unwrap(), pong("x"));
}

#[test]
fn what_is_no_resp_ends_the_connection_and_the_iterator() {
    let stream = MemoryStream::new(format!("{}-ERR no\r\n?\r\n", pushed(&["pong", "1"])));
    let mut sub = over(&stream);
    let items: Vec<_> = sub.iter().take(10).collect();
    assert_eq!(items.len(), 3, "{items:?}");
    assert_eq!(items[0].as_ref().unwrap(), &pong("1"));
    assert!(matches!(items[1], Err(Error::Server(_))));
    assert!(matches!(items[2], Err(Error::Protocol(_))));
    assert!(matches!(sub.err(), Some(Error::Protocol(_))));
    // On one that has ended: why, once, and nothing more.
    assert_eq!(sub.iter().take(10).count(), 1);
    assert_eq!(sub.timeout_iter(PATIENCE).take(10).count(), 1);
    assert!(matches!(sub.subscribe("a"), Err(Error::Protocol(_))));
    assert!(matches!(sub.ping("a"), Err(Error::Protocol(_))));
    assert!(stream.is_closed());
    assert!(matches!(sub.close(), Err(Error::Protocol(_))));
}

// Waiting.

#[test]
fn a_pause_ends_what_waits_with_a_timeout_but_not_a_poll() {
    let short = Duration::from_millis(10);
    let rows: &[(&str, Inspect)] = &[
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
        assert_eq!(sub.receive().unwrap(), pong("1"), "{name}: polling has done no harm");

        let error = wait(&mut sub).unwrap_err();
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read), "{name}");
        // What comes late is never received.
        stream.push(pushed(&["pong", "2"]));
        assert!(sub.receive().unwrap_err().is_timeout(), "{name}");
        assert!(sub.poll(short).unwrap_err().is_timeout(), "{name}");
        assert!(stream.is_closed(), "{name}");
    }
}

#[test]
fn a_wait_without_a_timeout_goes_beyond_the_read_timeout() {
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
fn timeout_iter_gives_what_is_there_and_goes_on_after_a_pause() {
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
fn poll_sees_messages_on_a_real_server() {
    let mut sub = subscriber();
    sub.subscribe("poll").unwrap();
    assert!(sub.poll(PATIENCE).unwrap().is_some());
    assert_eq!(sub.poll(Duration::ZERO).unwrap(), None);
    publisher().call("PUBLISH", ("poll", "hi")).unwrap();
    assert_eq!(sub.poll(PATIENCE).unwrap(), Some(message("poll", "hi")));
}

// What is sent.

#[test]
fn every_command_is_sent_at_once_with_its_arguments() {
    type Send = fn(&mut PubSubConn) -> Result<()>;
    let rows: &[(Send, &[&str])] = &[
        (|sub| sub.subscribe("a"), &["SUBSCRIBE", "a"]),
        (|sub| sub.subscribe(("a", vec!["b", "c"], 4)), &["SUBSCRIBE", "a", "b", "c", "4"]),
        (|sub| sub.unsubscribe(["a", "b"]), &["UNSUBSCRIBE", "a", "b"]),
        (|sub| sub.unsubscribe(()), &["UNSUBSCRIBE"]),
        (|sub| sub.psubscribe("a*"), &["PSUBSCRIBE", "a*"]),
        (|sub| sub.punsubscribe(b"a*"), &["PUNSUBSCRIBE", "a*"]),
        (|sub| sub.punsubscribe(()), &["PUNSUBSCRIBE"]),
        (|sub| sub.ssubscribe(&["s".to_string()]), &["SSUBSCRIBE", "s"]),
        (|sub| sub.sunsubscribe(("s", None::<&str>)), &["SUNSUBSCRIBE", "s"]),
        (|sub| sub.sunsubscribe(()), &["SUNSUBSCRIBE"]),
        (|sub| sub.ping("hello"), &["PING", "hello"]),
        (|sub| sub.ping(""), &["PING", ""]),
        (|sub| sub.ping(7), &["PING", "7"]),
    ];
    for (send, expected) in rows {
        let stream = MemoryStream::silent();
        let mut sub = over(&stream);
        send(&mut sub).unwrap();
        assert_eq!(commands(&stream.written()), [*expected]);
        assert_eq!(stream.writes(), 1, "{expected:?}");
    }
}

#[test]
fn subscriptions_are_what_was_asked_for_and_not_given_up() {
    let mut sub = over(&MemoryStream::silent());
    assert!(sub.subscriptions().is_empty());
    sub.subscribe(("a", "b", "a")).unwrap();
    sub.subscribe("c").unwrap();
    sub.psubscribe(["a*", "b*"]).unwrap();
    sub.ssubscribe(("s", "t")).unwrap();
    assert_eq!(sub.subscriptions().len(), 7);
    sub.unsubscribe(("b", "not there")).unwrap();
    sub.punsubscribe("b*").unwrap();
    sub.sunsubscribe("s").unwrap();
    let wanted = sub.subscriptions().clone();
    assert_eq!(wanted.channels().collect::<Vec<_>>(), [b"a", b"c"]);
    assert_eq!(wanted.patterns().collect::<Vec<_>>(), [b"a*"]);
    assert_eq!(wanted.shard_channels().collect::<Vec<_>>(), [b"t"]);
    let text = r#"Subscriptions { channels: ["a", "c"], patterns: ["a*"], shard_channels: ["t"] }"#;
    assert_eq!(format!("{wanted:?}"), text);

    // All of one kind, and nothing of another.
    sub.unsubscribe(()).unwrap();
    assert_eq!((sub.subscriptions().channels().count(), sub.subscriptions().len()), (0, 2));
    sub.punsubscribe(Vec::<String>::new()).unwrap();
    sub.sunsubscribe(()).unwrap();
    assert!(sub.subscriptions().is_empty());
    // The copy is not touched by that.
    assert_eq!(wanted.len(), 4);
}

#[test]
fn resubscribing_sends_all_of_it_in_one_write() {
    let mut lost = over(&MemoryStream::silent());
    lost.subscribe(("a", "b")).unwrap();
    lost.psubscribe("p*").unwrap();
    lost.ssubscribe(("s", "t")).unwrap();

    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    sub.resubscribe(lost.subscriptions()).unwrap();
    let sent = commands(&stream.written());
    let shards = [["SSUBSCRIBE", "s"], ["SSUBSCRIBE", "t"]];
    assert_eq!(sent[..2], [&["SUBSCRIBE", "a", "b"][..], &["PSUBSCRIBE", "p*"]]);
    assert_eq!(sent[2..], shards);
    assert_eq!(stream.writes(), 1);
    assert_eq!(sub.subscriptions(), lost.subscriptions());

    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    sub.resubscribe(PubSubConn::new(publisher()).subscriptions()).unwrap();
    assert!(stream.written().is_empty(), "nothing to subscribe to");
}

#[test]
fn subscribed_again_after_the_server_has_restarted() {
    let mut server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(PATIENCE);
    let mut sub = PubSubConn::new(dialer.dial().unwrap());
    sub.subscribe(("again:a", "again:b")).unwrap();
    sub.psubscribe("again*").unwrap();
    for count in 1..=3 {
        let event = sub.receive().unwrap();
        assert!(matches!(event, PubSubEvent::Subscription { count: c, .. } if c == count));
    }
    // Asked for, but the server never gets to answer.
    sub.unsubscribe("again:a").unwrap();
    server.kill();
    while sub.receive().is_ok() {}
    assert!(matches!(sub.err(), Some(Error::Io(_))), "{:?}", sub.err());
    assert!(sub.subscribe("again:late").is_err());

    server.restart();
    let wanted = sub.subscriptions().clone();
    let mut sub = PubSubConn::new(dialer.dial().unwrap());
    sub.resubscribe(&wanted).unwrap();
    for (kind, channel, count) in [
        (SubscriptionKind::Subscribe, "again:b", 1),
        (SubscriptionKind::Subscribe, "again:late", 2),
        (SubscriptionKind::PSubscribe, "again*", 3),
    ] {
        assert_eq!(sub.receive().unwrap(), confirmed(kind, channel, count));
    }
    let mut publisher = dialer.dial().unwrap();
    publisher.call("PUBLISH", ("again:a", "by the pattern only")).unwrap();
    assert!(matches!(sub.receive().unwrap(), PubSubEvent::Message { pattern: Some(_), .. }));
}

// Two threads.

#[test]
fn many_threads_subscribe_and_ping_while_one_receives() {
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
            // Subscribed throughout, so that every ping is answered with an event.
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
fn a_failure_of_one_half_ends_the_other() {
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
fn the_receiving_half_waits_in_every_way() {
    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    let (mut sender, mut receiver) = sub.split();
    sender.psubscribe("p").unwrap();
    sender.ssubscribe("s").unwrap();
    sender.punsubscribe(()).unwrap();
    sender.sunsubscribe(()).unwrap();
    sender.subscribe("c").unwrap();
    assert_eq!(sender.subscriptions().len(), 1);
    stream.push(pushed(&["pong", "1"]).repeat(4));
    assert_eq!(receiver.receive().unwrap(), pong("1"));
    assert_eq!(receiver.receive_timeout(PATIENCE).unwrap(), pong("1"));
    assert_eq!(receiver.poll(PATIENCE).unwrap(), Some(pong("1")));
    assert_eq!(receiver.timeout_iter(Duration::ZERO).count(), 1);
    assert_eq!(receiver.poll(Duration::from_millis(1)).unwrap(), None);
    let ctx = Context::background().with_timeout(Duration::from_millis(1));
    let kind = receiver.receive_context(&ctx).unwrap_err().timeout_kind();
    assert_eq!(kind, Some(TimeoutKind::Context));
    assert!(sender.resubscribe(&sender.subscriptions().clone()).is_err());
}

#[test]
fn a_subscriber_and_its_halves_go_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<PubSubConn>();
    is_send::<PubSubConn<PooledConn>>();
    is_send::<redigo::PubSubSender<'_>>();
    is_send::<redigo::PubSubReceiver<'_>>();
    is_send::<PubSubEvent>();
}

// Closing while subscribed.

/// A connection to the server that keeps what is written.
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
fn r145_r146_a_live_subscription_is_ended_when_its_connection_goes_back() {
    let shards = RedisServer::shared().redis_version() >= (7, 0, 0);
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
            "given up already",
            |sub| sub.subscribe("x").and_then(|()| sub.unsubscribe(())),
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
    }
    for (name, subscribe, sent) in rows {
        let written = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&written);
        let pool = Pool::builder_with(move |_| {
            let stream = TcpStream::connect(RedisServer::shared().addr())?;
            Ok(Dialer::tcp(":6379").wrap(Recorded(stream, Arc::clone(&record))))
        });
        let pool = pool.cleanup_timeout(PATIENCE).build().unwrap();

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

        // The same connection, and it answers what it is asked.
        assert_eq!((pool.idle_count(), pool.active_count()), (1, 1), "{name}");
        let mut conn = pool.acquire().unwrap();
        assert_eq!(conn.query::<String>("ECHO", "next").unwrap(), "next", "{name}");
        assert_eq!(pool.stats().dialed.total(), 1, "{name}");
    }
}

#[test]
fn fault_12_confirmations_and_messages_never_reach_the_next_borrower() {
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
            // Also where an assertion fails, or the publishers would go on for ever.
            let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
            for round in 0..20 {
                let mut sub = PubSubConn::new(pool.acquire().unwrap());
                sub.subscribe(("flood:a", "flood:b", "flood:c")).unwrap();
                sub.psubscribe("flood:*").unwrap();
                // Closed before the first event, between confirmations, in the flood.
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

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A server that has taken leave of its senses: whatever it is told, it sends messages.
struct Flood;

impl Stream for Flood {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let event = pushed(&["message", "c", "again"]);
        let bytes = event.repeat(buffer.len() / event.len());
        assert!(!bytes.is_empty(), "a read of less than one message");
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
fn closing_is_bounded_in_time_whatever_the_server_does() {
    type Dial = fn() -> Conn;
    let rows: &[(&str, Dial)] = &[
        ("silent", || Dialer::tcp(":6379").wrap(MemoryStream::silent())),
        ("silent after a confirmation", || {
            let stream = MemoryStream::silent();
            stream.push("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
            Dialer::tcp(":6379").wrap(stream)
        }),
        ("flooding", || Dialer::tcp(":6379").wrap(Flood)),
        // A read timeout of its own makes it no longer.
        ("silent, patient", || {
            Dialer::tcp(":6379").read_timeout(10 * PATIENCE).wrap(MemoryStream::silent())
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
        assert!(pool.acquire().is_ok(), "{name}: the place is free");
    }
}

#[test]
fn closing_does_not_wait_for_a_server_that_hangs_with_messages_on_the_way() {
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
fn a_subscriber_that_is_dropped_does_not_go_back_and_says_nothing() {
    let stream = MemoryStream::silent();
    let dialed = stream.clone();
    let pool = Pool::builder_with(move |_| Ok(Dialer::tcp(":6379").wrap(dialed.clone())));
    let pool = pool.build().unwrap();
    let mut sub = PubSubConn::new(pool.acquire().unwrap());
    sub.subscribe("c").unwrap();
    let before = stream.written();
    drop(sub);
    assert_eq!((pool.active_count(), stream.written()), (0, before));
}

#[test]
fn a_pooled_connection_that_never_was_one_fails_without_a_panic() {
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

#[test]
fn an_event_is_a_reply_like_any_other() {
    let reply = Value::from(vec![Value::from("message"), Value::from("c"), Value::from("hi")]);
    assert_eq!(reply.convert::<PubSubEvent>().unwrap(), message("c", "hi"));
    let mut conn = publisher();
    conn.send("SUBSCRIBE", "typed").unwrap();
    conn.flush().unwrap();
    let event: PubSubEvent = conn.receive().unwrap().convert().unwrap();
    assert_eq!(event, confirmed(SubscriptionKind::Subscribe, "typed", 1));
}
