//! Events as iterators.

use std::time::Duration;

use super::event::PubSubEvent;
use crate::conn::Conn;
use crate::conn::split::ReceiveHalf;
use crate::error::Result;
use crate::value::Value;

/// Where events come from: a whole connection, or its receiving half.
pub(super) trait Replies: Send {
    fn receive(&mut self) -> Result<Value>;
    fn poll(&mut self, timeout: Duration) -> Result<Option<Value>>;
    fn is_over(&self) -> bool;
}

impl Replies for Conn {
    fn receive(&mut self) -> Result<Value> {
        Conn::receive(self)
    }

    fn poll(&mut self, timeout: Duration) -> Result<Option<Value>> {
        Conn::poll(self, timeout)
    }

    fn is_over(&self) -> bool {
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

    fn is_over(&self) -> bool {
        self.err().is_some()
    }
}

pub(super) fn blocking<'a>(
    replies: &'a mut (dyn Replies + 'a),
) -> impl Iterator<Item = Result<PubSubEvent>> {
    until_over(replies, |replies| replies.receive().map(Some))
}

pub(super) fn timeout<'a>(
    replies: &'a mut (dyn Replies + 'a),
    timeout: Duration,
) -> impl Iterator<Item = Result<PubSubEvent>> {
    until_over(replies, move |replies| replies.poll(timeout))
}

/// Gives what ended the connection once, and nothing after.
fn until_over<'a>(
    replies: &'a mut (dyn Replies + 'a),
    next: impl Fn(&mut (dyn Replies + 'a)) -> Result<Option<Value>>,
) -> impl Iterator<Item = Result<PubSubEvent>> {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let event = next(replies).and_then(|reply| reply.map(Value::convert).transpose());
        over = event.is_err() && replies.is_over();
        event.transpose()
    })
}
