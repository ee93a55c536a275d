//! Replies as iterators over events.

use std::time::Duration;

use super::event::PubSubEvent;
use crate::conn::Conn;
use crate::conn::split::ReceiveHalf;
use crate::error::Result;
use crate::value::Value;

/// The source of the replies: a whole connection, or its receiving half.
pub(super) trait Replies: Send {
    fn receive(&mut self) -> Result<Value>;
    fn poll(&mut self, timeout: Duration) -> Result<Option<Value>>;
    fn has_ended(&self) -> bool;
}

impl Replies for Conn {
    fn receive(&mut self) -> Result<Value> {
        Conn::receive(self)
    }

    fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        Conn::poll(self, timeout)
    }

    fn has_ended(&self) -> bool {
        self.err().is_some()
    }
}

impl Replies for ReceiveHalf<'_> {
    fn receive(&mut self) -> Result<Value> {
        ReceiveHalf::receive(self)
    }

    fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        ReceiveHalf::poll(self, timeout)
    }

    fn has_ended(&self) -> bool {
        self.err().is_some()
    }
}

pub(super) fn blocking<'a>(
    replies: &'a mut (dyn Replies + 'a),
) -> impl Iterator<Item = Result<PubSubEvent>> {
    events(replies, |replies| replies.receive().map(Some))
}

pub(super) fn timeout<'a>(
    replies: &'a mut (dyn Replies + 'a),
    timeout: Duration,
) -> impl Iterator<Item = Result<PubSubEvent>> {
    events(replies, move |replies| replies.poll(timeout))
}

/// The error that ends the connection is the last item.
fn events<'a>(
    replies: &'a mut (dyn Replies + 'a),
    next: impl Fn(&mut (dyn Replies + 'a)) -> Result<Option<Value>>,
) -> impl Iterator<Item = Result<PubSubEvent>> {
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let event = next(replies).and_then(|reply| reply.map(Value::convert).transpose());
        ended = event.is_err() && replies.has_ended();
        event.transpose()
    })
}
