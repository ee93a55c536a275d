//! Shared helpers of the mux tests.

use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Dialer, Error, Mux, Result, TimeoutKind, Value};

use super::redis_server::RedisServer;
use super::wait::wait_until;

/// How long a test waits before it reports a hang.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn dialer(server: &RedisServer) -> Dialer {
    Dialer::url(server.url()).unwrap()
}

pub(crate) fn shared() -> Mux {
    Mux::new(dialer(RedisServer::shared()))
}

/// Returns a mux whose every dial connects to the same stream in memory.
pub(crate) fn over(stream: &MemoryStream) -> Mux {
    let stream = stream.clone();
    Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())))
}

/// Waits until the word was written this often. A reply pushed before its command is written would
/// be a reply without a command.
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
