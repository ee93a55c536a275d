//! The two sides of a shared connection, with what their users leave in them for the next.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::args::ToArgs;
use crate::conn::observer::Observer;
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::conn::session::ReplyTo;
use crate::conn::{Conn, Parts};
use crate::error::{Error, Result, TimeoutKind};
use crate::mux::core::{Command, Line};
use crate::mux::slot::Slot;
use crate::sync::Mutex;
use crate::value::Value;

/// At most this many replies are taken from what was read before they are handed out.
const HANDFUL: usize = 256;

type Watcher = Arc<Option<Box<dyn Observer>>>;

/// What the writer holds.
pub(crate) struct SendSide {
    raw: Box<dyn RawSend>,
    /// Taken from the queue and not yet encoded.
    pub(crate) backlog: VecDeque<Command>,
    /// Whether something may still be in the write buffer.
    unflushed: bool,
    /// How long the server may leave a batch unread.
    limit: Option<Duration>,
    stuck_after: Option<Instant>,
    sent: usize,
    watcher: Watcher,
}

/// What the reader holds.
pub(crate) struct ReceiveSide {
    raw: Box<dyn RawReceive>,
    /// Replies that were read and not yet handed out, and room for whose they are.
    pub(crate) replies: Vec<Value>,
    pub(crate) owners: Vec<Option<Arc<Slot>>>,
    received: usize,
    watcher: Watcher,
}

/// Parts a connection that is ready for use into its sides.
///
/// # Errors
/// The error of a connection that has failed, or is in the middle of something.
pub(crate) fn part(mut conn: Conn) -> Result<Line<Box<SendSide>, Box<ReceiveSide>>> {
    if let Some(error) = conn.err() {
        return Err(error.clone());
    }
    if conn.status().pending() > 0 || conn.has_unread() {
        let what = "sharing a connection on which replies are due";
        return Err(Error::Unsupported(what.into()));
    }
    let Parts { mut raw, shutdown, observer, read_timeout, write_timeout } = conn.into_parts();
    let (sender, receiver) = raw.halves().unwrap_or_else(|| Whole::halves(raw));
    let watcher = Arc::new(observer);
    Ok(Line {
        sender: Box::new(SendSide {
            raw: sender,
            backlog: VecDeque::new(),
            unflushed: false,
            limit: write_timeout.or(read_timeout),
            stuck_after: None,
            sent: 0,
            watcher: Arc::clone(&watcher),
        }),
        receiver: Box::new(ReceiveSide {
            raw: receiver,
            replies: Vec::new(),
            owners: Vec::new(),
            received: 0,
            watcher,
        }),
        shutdown,
        read_timeout,
    })
}

impl SendSide {
    /// Writes the backlog. When `until` comes first the answer is false, and the next attempt
    /// goes on where this one stopped.
    ///
    /// # Errors
    /// Those that end the connection; that the server reads nothing for too long is one.
    pub(crate) fn write(&mut self, until: Option<Instant>) -> Result<bool> {
        if self.stuck_after.is_none() {
            self.stuck_after = self.limit.and_then(|limit| Instant::now().checked_add(limit));
        }
        let until = match (until, self.stuck_after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        match self.write_until(until) {
            Ok(()) => {
                self.stuck_after = None;
                Ok(true)
            }
            Err(Error::Timeout(_)) if has_passed(until) && !has_passed(self.stuck_after) => {
                Ok(false)
            }
            Err(error) => {
                self.watcher.failed(&error);
                Err(error)
            }
        }
    }

    /// True when it has to be continued.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unflushed || !self.backlog.is_empty()
    }

    fn write_until(&mut self, until: Option<Instant>) -> Result<()> {
        while let Some(Command { name, args, .. }) = self.backlog.pop_front() {
            self.unflushed = true;
            self.watcher.sending(self.sent, &name, &args);
            self.sent = self.sent.wrapping_add(1);
            self.raw.send(&name, &args, until)?;
        }
        self.raw.flush(until)?;
        self.unflushed = false;
        Ok(())
    }
}

impl ReceiveSide {
    /// Waits for a reply, and takes those that have come with it. When `until` comes first there
    /// are none, and the next attempt goes on where this one stopped. `past` is any instant that
    /// is over.
    ///
    /// # Errors
    /// Those that end the connection. There may be replies nevertheless.
    pub(crate) fn read(&mut self, until: Option<Instant>, past: Instant) -> Result<()> {
        let mut until = until;
        while self.replies.len() < HANDFUL {
            match self.raw.receive(until) {
                Ok(reply) => {
                    // A mux refuses commands whose replies would not be one for each command.
                    self.watcher.received(ReplyTo::Command(self.received), &reply);
                    self.received = self.received.wrapping_add(1);
                    self.replies.push(reply);
                }
                Err(Error::Timeout(TimeoutKind::Read)) if has_passed(until) => break,
                Err(error) => {
                    self.watcher.failed(&error);
                    return Err(error);
                }
            }
            // What has been read already, without waiting.
            until = Some(past);
        }
        Ok(())
    }

    /// Looks without waiting whether something has come.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn has_something(&mut self, past: Instant) -> Result<bool> {
        self.raw.poll(Some(past))
    }
}

/// A timeout that comes before its time is an error of the connection's own.
fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Both halves of a connection that cannot be parted: one at a time uses it.
struct Whole(Arc<Mutex<Box<dyn RawConn>>>);

impl Whole {
    fn halves(raw: Box<dyn RawConn>) -> (Box<dyn RawSend>, Box<dyn RawReceive>) {
        let whole = Arc::new(Mutex::new(raw));
        (Box::new(Whole(Arc::clone(&whole))), Box::new(Whole(whole)))
    }
}

impl RawSend for Whole {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.0.lock().send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.0.lock().flush(deadline)
    }
}

impl RawReceive for Whole {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.0.lock().receive(deadline)
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.0.lock().poll(deadline)
    }
}

impl fmt::Debug for SendSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendSide").field("backlog", &self.backlog.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReceiveSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveSide").field("replies", &self.replies.len()).finish_non_exhaustive()
    }
}
