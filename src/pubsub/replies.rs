//! Waiting for replies, and converting them to events.

use std::time::Duration;

use super::event::PubSubEvent;
use crate::conn::Conn;
use crate::conn::deadline::Deadline;
use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};
use crate::value::Value;

/// The source of the replies: a whole connection, or a receiving half.
pub(super) trait Replies: Send {
    fn receive(&mut self) -> Result<Value>;
    fn receive_context(&mut self, ctx: &Context) -> Result<Value>;
    fn poll(&mut self, timeout: Option<Duration>) -> Result<Option<Value>>;
    fn poll_context(&mut self, ctx: &Context, timeout: Option<Duration>) -> Result<Option<Value>>;
    fn fail(&mut self, error: Error) -> Error;
    fn has_ended(&self) -> bool;
}

/// How long a subscriber waits for the next event to begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum Silence {
    /// The read timeout, which also limits the rest of the event.
    ReadTimeout,
    /// Its own limit. The read timeout limits the rest of the event.
    AtMost(Option<Duration>),
}

impl Silence {
    pub(super) fn default_for(conn: &Conn) -> Silence {
        if conn.is_pooled() { Silence::AtMost(None) } else { Silence::ReadTimeout }
    }

    pub(super) fn receive(self, replies: &mut (dyn Replies + '_)) -> Result<PubSubEvent> {
        let reply = match self {
            Silence::ReadTimeout => replies.receive()?,
            Silence::AtMost(limit) => begun(replies.poll(limit)?, replies)?,
        };
        reply.convert()
    }

    pub(super) fn receive_context(
        self,
        replies: &mut (dyn Replies + '_),
        ctx: &Context,
    ) -> Result<PubSubEvent> {
        let reply = match self {
            Silence::ReadTimeout => replies.receive_context(ctx)?,
            Silence::AtMost(limit) => begun(replies.poll_context(ctx, limit)?, replies)?,
        };
        reply.convert()
    }
}

fn begun(polled: Option<Value>, replies: &mut (dyn Replies + '_)) -> Result<Value> {
    polled.ok_or_else(|| replies.fail(TimeoutKind::Read.into()))
}

impl Replies for Conn {
    fn receive(&mut self) -> Result<Value> {
        Conn::receive(self)
    }

    fn receive_context(&mut self, ctx: &Context) -> Result<Value> {
        Conn::receive_context(self, ctx)
    }

    fn poll(&mut self, timeout: Option<Duration>) -> Result<Option<Value>> {
        self.poll_until(Deadline::after(timeout))
    }

    fn poll_context(&mut self, ctx: &Context, timeout: Option<Duration>) -> Result<Option<Value>> {
        Conn::poll_context(self, ctx, timeout)
    }

    fn fail(&mut self, error: Error) -> Error {
        Conn::fail(self, error)
    }

    fn has_ended(&self) -> bool {
        self.err().is_some()
    }
}

pub(super) fn blocking<'a>(
    replies: &'a mut (dyn Replies + 'a),
    silence: Silence,
) -> impl Iterator<Item = Result<PubSubEvent>> {
    events(replies, move |replies| silence.receive(replies).map(Some))
}

pub(super) fn timeout<'a>(
    replies: &'a mut (dyn Replies + 'a),
    timeout: Duration,
) -> impl Iterator<Item = Result<PubSubEvent>> {
    events(replies, move |replies| event(replies.poll(Some(timeout))))
}

pub(super) fn event(polled: Result<Option<Value>>) -> Result<Option<PubSubEvent>> {
    polled?.map(Value::convert).transpose()
}

/// The error that ends the connection is the last item.
fn events<'a>(
    replies: &'a mut (dyn Replies + 'a),
    next: impl Fn(&mut (dyn Replies + 'a)) -> Result<Option<PubSubEvent>>,
) -> impl Iterator<Item = Result<PubSubEvent>> {
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let event = next(replies);
        ended = event.is_err() && replies.has_ended();
        event.transpose()
    })
}
