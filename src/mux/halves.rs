//! The two halves of a shared connection, with the state that one user leaves for the next.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::observer::Observer;
use crate::conn::raw::{RawReceive, RawSend};
use crate::conn::session::ReplyTo;
use crate::conn::{Conn, Parts};
use crate::error::{Error, Result, ServerError, TimeoutKind};
use crate::mux::core::{Command, SplitConn};
use crate::mux::slot::Slot;
use crate::value::Value;

/// The reader takes at most this many replies before it dispatches them.
const BATCH_LIMIT: usize = 256;

type SharedObserver = Arc<Option<Box<dyn Observer>>>;

/// The half that sends.
pub(crate) struct WriteHalf {
    raw: Box<dyn RawSend>,
    /// Commands that were taken from the send queue and are not encoded yet.
    pub(crate) backlog: VecDeque<Command>,
    /// The write buffer may hold bytes.
    unflushed: bool,
    /// How long the server may leave a batch unread.
    limit: Option<Duration>,
    stuck_after: Option<Instant>,
    /// The number of commands sent.
    sent: usize,
    pub(crate) observer: SharedObserver,
}

/// The half that receives.
pub(crate) struct ReadHalf {
    raw: Box<dyn RawReceive>,
    /// Replies that are not dispatched yet.
    pub(crate) replies: Vec<Value>,
    /// The slots of the calls that `replies` answer. Kept to reuse the memory.
    pub(crate) owners: Vec<Option<Arc<Slot>>>,
    /// The last reply, if it was an error.
    pub(crate) last_error: Option<ServerError>,
    /// The number of replies received.
    received: usize,
    pub(crate) observer: SharedObserver,
}

/// Splits a dialed connection into its halves.
///
/// # Errors
/// The error of a failed connection. [`Error::Unsupported`] if replies are due on it or if it has
/// no halves.
pub(crate) fn split(mut conn: Conn) -> Result<SplitConn<Box<WriteHalf>, Box<ReadHalf>>> {
    if let Some(error) = conn.err() {
        return Err(error.clone());
    }
    if conn.status().pending() > 0 || conn.has_unread() {
        let what = "sharing a connection on which replies are due";
        return Err(Error::Unsupported(what.into()));
    }
    let Parts { mut raw, shutdown, address, observer, read_timeout, write_timeout } =
        conn.into_parts();
    let Some((writer, reader)) = raw.halves() else {
        let what = "sharing a connection whose RawConn::halves returns None";
        return Err(Error::Unsupported(what.into()));
    };
    let observer = Arc::new(observer);
    Ok(SplitConn {
        writer: Box::new(WriteHalf {
            raw: writer,
            backlog: VecDeque::new(),
            unflushed: false,
            limit: write_timeout.or(read_timeout),
            stuck_after: None,
            sent: 0,
            observer: Arc::clone(&observer),
        }),
        reader: Box::new(ReadHalf {
            raw: reader,
            replies: Vec::new(),
            owners: Vec::new(),
            last_error: None,
            received: 0,
            observer,
        }),
        shutdown,
        address,
        read_timeout,
    })
}

impl WriteHalf {
    /// Writes the backlog. Returns false if `until` passes first; the next attempt continues where
    /// this one stopped.
    ///
    /// # Errors
    /// Errors that end the connection, including a timeout if the server has read nothing for the
    /// write timeout.
    pub(crate) fn write(&mut self, until: Option<Instant>) -> Result<bool> {
        if self.stuck_after.is_none() {
            self.stuck_after = self.limit.and_then(|limit| Instant::now().checked_add(limit));
        }
        let until = match (until, self.stuck_after) {
            (Some(call), Some(stuck)) => Some(call.min(stuck)),
            (call, stuck) => call.or(stuck),
        };
        match self.write_until(until) {
            Ok(()) => {
                self.stuck_after = None;
                Ok(true)
            }
            Err(Error::Timeout(_)) if has_passed(until) && !has_passed(self.stuck_after) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns true if a write must be continued.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unflushed || !self.backlog.is_empty()
    }

    fn write_until(&mut self, until: Option<Instant>) -> Result<()> {
        while let Some(Command { name, args, .. }) = self.backlog.pop_front() {
            self.unflushed = true;
            self.observer.sending(self.sent, &name, &args);
            self.sent = self.sent.wrapping_add(1);
            self.raw.send(&name, &args, until)?;
        }
        self.raw.flush(until)?;
        self.unflushed = false;
        Ok(())
    }
}

impl ReadHalf {
    /// Waits for a reply and takes all replies that came with it. Takes none if `until` passes
    /// first; the next attempt continues where this one stopped. `past` is any time in the past.
    ///
    /// # Errors
    /// Errors that end the connection. `replies` may hold replies all the same.
    pub(crate) fn read(&mut self, until: Option<Instant>, past: Instant) -> Result<()> {
        let mut until = until;
        while self.replies.len() < BATCH_LIMIT {
            match self.raw.receive(until) {
                Ok(reply) => {
                    // A mux refuses commands whose replies would not be one for each command.
                    self.observer.received(ReplyTo::Command(self.received), &reply);
                    self.received = self.received.wrapping_add(1);
                    self.last_error = match &reply {
                        Value::Error(error) => Some(error.clone()),
                        _ => None,
                    };
                    self.replies.push(reply);
                }
                Err(Error::Timeout(error))
                    if error.kind() == TimeoutKind::Read && has_passed(until) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
            // The next replies must be in the buffer already.
            until = Some(past);
        }
        Ok(())
    }

    /// Returns true if one of the replies that are not dispatched is not an error.
    pub(crate) fn has_good_reply(&self) -> bool {
        self.replies.iter().any(|reply| !matches!(reply, Value::Error(_)))
    }

    /// Checks without waiting whether bytes have arrived or a reply is incomplete.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn has_unread(&mut self, past: Instant) -> Result<bool> {
        self.raw.poll(Some(past))
    }
}

/// Tells the end of a caller's time from a timeout of the connection itself.
fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").field("backlog", &self.backlog.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").field("replies", &self.replies.len()).finish_non_exhaustive()
    }
}
