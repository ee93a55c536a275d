//! What the tests of the mux have in common.

use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Dialer, Error, Mux, Result, TimeoutKind, Value};

use super::redis_server::RedisServer;
use super::wait::wait_until;

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
    reply.convert().unwrap()
}
