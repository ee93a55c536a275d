//! Events: what the server sends, and replies that are not events.

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Error, PubSubConn, PubSubEvent, Result, SubscriptionKind, Value};

use crate::harness::{confirmed, message, over, playing, pong, publisher, pushed, subscriber};
use crate::support::redis_server::RedisServer;
use crate::support::wait::LONG;

#[test]
fn pattern_message_names_the_pattern_and_keeps_bytes() {
    let mut sub = subscriber();
    sub.psubscribe("pattern:*").unwrap();
    sub.receive().unwrap();
    let (channel, data) = (b"pattern:\xff\0".to_vec(), b"\r\n\xfe".to_vec());
    publisher().call("PUBLISH", (&channel, &data)).unwrap();
    let pattern = Some(b"pattern:*".to_vec());
    assert_eq!(sub.receive().unwrap(), PubSubEvent::Message { channel, pattern, data });
}

#[test]
fn shard_channels_are_separate_from_channels() {
    let mut sub = subscriber();
    sub.ssubscribe(("shard:a", "shard:b")).unwrap();
    if !RedisServer::shared().has("shard channels", (7, 0, 0)) {
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
    sub.sunsubscribe_all().unwrap();
    assert_eq!(receive(&mut sub), confirmed(SubscriptionKind::SUnsubscribe, "shard:a", 0));
}

#[test]
fn invalidation_lists_the_keys_that_were_changed() {
    let server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(LONG);
    let (mut tracked, mut other) = (dialer.dial().unwrap(), dialer.dial().unwrap());
    let mut sub = PubSubConn::new(dialer.dial().unwrap());
    let id: i64 = sub.get_mut().query("CLIENT", "ID").unwrap();
    sub.subscribe("__redis__:invalidate").unwrap();
    sub.receive().unwrap();
    tracked.call("CLIENT", ("TRACKING", "ON", "REDIRECT", id)).unwrap();

    tracked.call("MGET", ("key:\0", "key:2")).unwrap();
    other.call("SET", ("key:\0", 1)).unwrap();
    let keys = Some(vec![b"key:\0".to_vec()]);
    assert_eq!(sub.receive().unwrap(), PubSubEvent::Invalidation { keys });
    other.call("FLUSHALL", ()).unwrap();
    assert_eq!(sub.receive().unwrap(), PubSubEvent::Invalidation { keys: None });
    // Any client can publish an ordinary message to the channel.
    other.call("PUBLISH", ("__redis__:invalidate", "text")).unwrap();
    assert_eq!(sub.receive().unwrap(), message("__redis__:invalidate", "text"));
}

#[test]
fn unsubscribe_without_subscriptions_has_no_channel() {
    let mut sub = subscriber();
    sub.unsubscribe_all().unwrap();
    sub.punsubscribe_all().unwrap();
    for kind in [SubscriptionKind::Unsubscribe, SubscriptionKind::PUnsubscribe] {
        let none = PubSubEvent::Subscription { kind, channel: None, count: 0 };
        assert_eq!(sub.receive().unwrap(), none);
    }
}

#[test]
fn ping_without_subscription_is_a_harmless_error() {
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
fn refused_command_leaves_the_connection_usable() {
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
fn after_the_last_subscription_commands_work_again() {
    let mut sub = subscriber();
    sub.subscribe(("end:a", "end:b")).unwrap();
    sub.unsubscribe_all().unwrap();
    let events = sub.iter().map(Result::unwrap);
    let over = |event: &PubSubEvent| matches!(event, PubSubEvent::Subscription { count: 0, .. });
    assert_eq!(events.take_while(|event| !over(event)).count(), 3);
    let mut conn: Conn = sub.into_inner();
    assert_eq!(conn.query::<String>("ECHO", "hi").unwrap(), "hi");
    conn.close().unwrap();
}

#[test]
fn reply_that_is_no_event_is_an_error_and_the_next_arrives() {
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
        ("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n:1\r\n", "expected a message, found an integer at element [2]"),
        ("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n:1\r\n", "expected a key, found an integer at element [0]"),
        ("*1\r\n$4\r\npong\r\n", "expected the data of the ping, found the end of the list"),
        ("*2\r\n$4\r\npong\r\n*0\r\n", "expected the data of the ping, found a list at element [1]"),
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
fn events_of_simple_strings_or_with_surplus_are_accepted() {
    let input = "*3\r\n+message\r\n+c\r\n+hi\r\n*3\r\n$4\r\npong\r\n$1\r\nx\r\n:7\r\n";
    let mut sub = playing(input);
    assert_eq!(sub.receive().unwrap(), message("c", "hi"));
    assert_eq!(sub.receive().unwrap(), pong("x"));
}

#[test]
fn invalid_resp_ends_the_connection_and_the_iterator() {
    let stream = MemoryStream::new(format!("{}-ERR no\r\n?\r\n", pushed(&["pong", "1"])));
    let mut sub = over(&stream);
    let items: Vec<_> = sub.iter().take(10).collect();
    assert_eq!(items.len(), 3, "{items:?}");
    assert_eq!(items[0].as_ref().unwrap(), &pong("1"));
    assert!(matches!(items[1], Err(Error::Server(_))));
    assert!(matches!(items[2], Err(Error::Protocol(_))));
    assert!(matches!(sub.err(), Some(Error::Protocol(_))));
    // On an ended connection, an iterator returns the error once.
    assert_eq!(sub.iter().take(10).count(), 1);
    assert_eq!(sub.timeout_iter(LONG).take(10).count(), 1);
    assert!(matches!(sub.subscribe("a"), Err(Error::Protocol(_))));
    assert!(matches!(sub.ping("a"), Err(Error::Protocol(_))));
    assert!(stream.is_closed());
    assert!(matches!(sub.close(), Err(Error::Protocol(_))));
}

#[test]
fn reply_of_a_plain_connection_converts_to_an_event() {
    let reply = Value::from(vec![Value::from("message"), Value::from("c"), Value::from("hi")]);
    assert_eq!(reply.convert::<PubSubEvent>().unwrap(), message("c", "hi"));
    let mut conn = publisher();
    conn.send("SUBSCRIBE", "typed").unwrap();
    conn.flush().unwrap();
    let event: PubSubEvent = conn.receive().unwrap().convert().unwrap();
    assert_eq!(event, confirmed(SubscriptionKind::Subscribe, "typed", 1));
}
