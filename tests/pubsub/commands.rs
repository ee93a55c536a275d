//! Commands: what a subscriber sends and which subscriptions it records.

use redigo::testing::MemoryStream;
use redigo::{Dialer, Error, PubSubConn, PubSubEvent, Result, SubscriptionKind};

use crate::harness::{commands, confirmed, over, publisher};
use crate::support::redis_server::RedisServer;
use crate::support::wait::LONG;

#[test]
fn each_command_is_sent_immediately_with_its_arguments() {
    type Send = fn(&mut PubSubConn) -> Result<()>;
    let rows: &[(Send, &[&str])] = &[
        (|sub| sub.subscribe("a"), &["SUBSCRIBE", "a"]),
        (|sub| sub.subscribe(("a", vec!["b", "c"], 4)), &["SUBSCRIBE", "a", "b", "c", "4"]),
        (|sub| sub.unsubscribe(["a", "b"]), &["UNSUBSCRIBE", "a", "b"]),
        (|sub| sub.unsubscribe_all(), &["UNSUBSCRIBE"]),
        (|sub| sub.psubscribe("a*"), &["PSUBSCRIBE", "a*"]),
        (|sub| sub.punsubscribe(b"a*"), &["PUNSUBSCRIBE", "a*"]),
        (|sub| sub.punsubscribe_all(), &["PUNSUBSCRIBE"]),
        (|sub| sub.ssubscribe(&["s".to_string()]), &["SSUBSCRIBE", "s"]),
        (|sub| sub.sunsubscribe(("s", None::<&str>)), &["SUNSUBSCRIBE", "s"]),
        (|sub| sub.sunsubscribe_all(), &["SUNSUBSCRIBE"]),
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
fn subscriptions_record_commands() {
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

    // All subscriptions of one kind, and none of another.
    sub.unsubscribe_all().unwrap();
    assert_eq!((sub.subscriptions().channels().count(), sub.subscriptions().len()), (0, 2));
    sub.punsubscribe_all().unwrap();
    sub.sunsubscribe_all().unwrap();
    assert!(sub.subscriptions().is_empty());
    // The copy has not changed.
    assert_eq!(wanted.len(), 4);
}

#[test]
fn unsubscribe_from_an_empty_list_does_nothing() {
    let stream = MemoryStream::silent();
    let mut sub = over(&stream);
    sub.subscribe("a").unwrap();
    sub.psubscribe("a*").unwrap();
    sub.ssubscribe("s").unwrap();
    let written = stream.written();
    sub.unsubscribe(()).unwrap();
    sub.unsubscribe(Vec::<String>::new()).unwrap();
    sub.punsubscribe(None::<&str>).unwrap();
    sub.sunsubscribe(&[] as &[&str]).unwrap();
    let (mut sender, _receiver) = sub.split();
    sender.unsubscribe(()).unwrap();
    assert_eq!(stream.written(), written);
    assert_eq!(sub.subscriptions().len(), 3);

    // On a connection that has failed, it is an error like any other call.
    stream.end();
    sub.receive().unwrap_err();
    assert!(sub.unsubscribe(()).is_err());
}

#[test]
fn resubscribe_sends_everything_in_one_write() {
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
fn resubscribe_works_after_a_server_restart() {
    let mut server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(LONG);
    let mut sub = PubSubConn::new(dialer.dial().unwrap());
    sub.subscribe(("again:a", "again:b")).unwrap();
    sub.psubscribe("again*").unwrap();
    for count in 1..=3 {
        let event = sub.receive().unwrap();
        assert!(matches!(event, PubSubEvent::Subscription { count: c, .. } if c == count));
    }
    // The server is killed before it confirms this.
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
