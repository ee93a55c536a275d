//! What the tests of the mux have in common.

// Neither of them uses all of it.
#![allow(dead_code)]

use std::thread;
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Dialer, Error, Mux, Result, TimeoutKind, Value};

use crate::redis_server::RedisServer;

/// What hangs would hang for ever; this is how long a test looks on.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn dialer(server: &RedisServer) -> Dialer {
    Dialer::url(server.url()).unwrap()
}

pub(crate) fn shared() -> Mux {
    Mux::new(dialer(RedisServer::shared()))
}

/// A mux over a stream in memory, dialled as often as need be.
pub(crate) fn over(stream: &MemoryStream) -> Mux {
    let stream = stream.clone();
    Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())))
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::yield_now();
    }
}

/// A reply that comes before its command would be one that nobody asked for.
pub(crate) fn wait_until_written(stream: &MemoryStream, word: &str, times: usize) {
    wait_until(word, || {
        let written = stream.written();
        written.windows(word.len()).filter(|bytes| *bytes == word.as_bytes()).count() == times
    });
}

pub(crate) fn kind(outcome: &Result<Value>) -> Option<TimeoutKind> {
    outcome.as_ref().err().and_then(Error::timeout_kind)
}

pub(crate) fn texts(reply: Value) -> String {
    reply.to().unwrap()
}
