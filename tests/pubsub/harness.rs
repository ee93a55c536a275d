//! Helpers for the pub/sub tests.

use std::sync::mpsc;
use std::thread;

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Pool, PubSubConn, PubSubEvent, SubscriptionKind};

use crate::support::redis_server::RedisServer;
use crate::support::wait::LONG;

pub(crate) fn dialer() -> Dialer {
    Dialer::url(RedisServer::shared().url()).unwrap().read_timeout(LONG)
}

pub(crate) fn subscriber() -> PubSubConn {
    PubSubConn::new(dialer().dial().unwrap())
}

pub(crate) fn publisher() -> Conn {
    dialer().dial().unwrap()
}

pub(crate) fn pool_of_one() -> Pool {
    Pool::builder(dialer()).max_active(1).cleanup_timeout(LONG).build().unwrap()
}

pub(crate) fn over(stream: &MemoryStream) -> PubSubConn {
    PubSubConn::new(Dialer::tcp(":6379").read_timeout(LONG).wrap(stream.clone()))
}

pub(crate) fn playing(input: &str) -> PubSubConn {
    over(&MemoryStream::new(input))
}

pub(crate) fn message(channel: &str, data: &str) -> PubSubEvent {
    PubSubEvent::Message { channel: channel.into(), pattern: None, data: data.into() }
}

pub(crate) fn confirmed(kind: SubscriptionKind, channel: &str, count: u64) -> PubSubEvent {
    PubSubEvent::Subscription { kind, channel: Some(channel.into()), count }
}

pub(crate) fn pong(data: &str) -> PubSubEvent {
    PubSubEvent::Pong { data: data.into() }
}

/// Encodes a list of bulk strings.
pub(crate) fn pushed(items: &[&str]) -> String {
    let bulks = items.iter().map(|item| format!("${}\r\n{item}\r\n", item.len()));
    format!("*{}\r\n{}", items.len(), bulks.collect::<String>())
}

/// Decodes the commands that were written to a server.
pub(crate) fn commands(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let mut commands = Vec::new();
    while let Some(count) = lines.next().and_then(|head| head.strip_prefix('*')) {
        let count: usize = count.parse().unwrap();
        commands.push((0..count).map(|_| lines.by_ref().nth(1).unwrap().to_owned()).collect());
    }
    commands
}

/// Runs the work on another thread. Fails if it is not done in time, instead of hanging.
#[track_caller]
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    outcome.recv_timeout(LONG).expect("the work hangs or has panicked")
}
