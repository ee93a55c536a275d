//! The inputs and answers of the mux core.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::error::Error;
use crate::net::stream::ShutdownHandle;

/// A command in the send queue.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: Box<str>,
    pub(crate) args: Args,
    /// Its approximate size on the wire, in bytes.
    pub(super) weight: usize,
}

/// The sequence number of a command. A mux never uses a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(pub(super) u64);

/// A new connection as two halves.
#[derive(Debug)]
pub(crate) struct SplitConn<S, R> {
    pub(crate) writer: S,
    pub(crate) reader: R,
    pub(crate) shutdown: ShutdownHandle,
    /// The server, for errors.
    pub(crate) address: Option<Arc<str>>,
    pub(crate) read_timeout: Option<Duration>,
}

/// One half of a connection while a caller uses it.
#[derive(Debug)]
pub(crate) struct Lease<T> {
    /// The epoch of the connection that the half belongs to.
    pub(super) epoch: u64,
    pub(crate) half: T,
}

/// The answer to a caller that wants to queue a command.
#[derive(Debug)]
pub(crate) enum Admission<S, R, W> {
    /// The command can be queued. Holds the connection's read timeout.
    Open(Option<Duration>),
    /// Nothing is in flight: probe the connection first.
    Probe(Lease<R>),
    /// The send queue is full and the writer is idle: write first.
    Write(Lease<S>),
    /// There is no connection: this caller dials. Holds the error that ended the last connection,
    /// which must be dropped without the lock.
    Dial(Option<Error>),
    /// A dial has failed recently: wait until the pause ends, then ask again.
    Pause {
        waiter: WaiterId,
        waker: W,
        until: Instant,
        /// The error of that dial.
        error: Error,
    },
    /// Another caller dials, the connection is about to end, or the send queue is full: wait.
    Wait(WaiterId, W),
    /// The mux is closed.
    Closed,
}

/// Identifies a caller that waits until it can queue its command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaiterId(pub(super) u64);

/// The next step of a call whose reply has not arrived.
#[derive(Debug)]
pub(crate) enum Step<S, R> {
    /// Write the send queue.
    Write {
        lease: Lease<S>,
        /// No other call is in flight.
        alone: bool,
    },
    /// Read replies.
    Read(Lease<R>),
    /// Park: other callers write and read.
    Park {
        /// Many calls are in flight, so yield a few times first.
        spin: bool,
    },
    /// Wait for the outcome, which another caller is about to store in the slot.
    AwaitOutcome,
}

/// The next step after a write failed because the server hung up.
#[derive(Debug)]
pub(crate) enum WriteFailure<R> {
    /// Read the last replies, then end the connection.
    Drain(Lease<R>),
    /// Cut the connection. The caller that is reading from it will end it.
    Cut(ShutdownHandle),
    /// Nothing: the connection was already lost.
    Stale,
}

/// The answer to a caller that returns the reader.
#[derive(Debug)]
pub(crate) enum ReturnedReader<R, W> {
    /// The reader is idle.
    Idle(Wakeups<W>),
    /// A write failed meanwhile: read the last replies, then end the connection.
    Drain(Lease<R>),
    /// The reader belongs to an earlier connection and must be dropped without the lock.
    Stale(R),
}

/// The callers to wake after a change.
#[derive(Debug)]
#[must_use]
pub(crate) struct Wakeups<W> {
    /// A call that must take its next step.
    pub(crate) call: Option<W>,
    /// Waiters that must ask for admission again.
    pub(crate) waiters: Vec<(u64, W)>,
}

/// The remains of a connection that was lost or closed.
#[derive(Debug)]
#[must_use]
pub(crate) struct Teardown<S, R, W> {
    pub(crate) shutdown: Option<ShutdownHandle>,
    /// Calls that fail with the error.
    pub(crate) calls: Vec<W>,
    /// Waiters that must ask for admission again.
    pub(crate) waiters: Vec<(u64, W)>,
    /// The halves, the queue and the error must be dropped without the lock.
    pub(crate) writer: Option<S>,
    pub(crate) reader: Option<R>,
    pub(crate) send_queue: VecDeque<Command>,
    pub(crate) last_error: Option<Error>,
}

/// How a batch of replies matches the commands in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Each reply answers a command.
    Expected,
    /// There are more replies than commands that were written.
    Surplus,
    /// The replies belong to an earlier connection.
    Stale,
}

impl Command {
    pub(crate) fn new(name: &str, args: Args) -> Command {
        /// The approximate size of the lengths and line ends of a command, in bytes.
        const OVERHEAD: usize = 32;
        let weight = OVERHEAD + name.len() + args.iter().map(<[u8]>::len).sum::<usize>();
        Command { name: name.into(), args, weight }
    }
}

impl<T> Lease<T> {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl<W> Wakeups<W> {
    pub(crate) fn none() -> Wakeups<W> {
        Wakeups { call: None, waiters: Vec::new() }
    }
}

impl<S, R, W> Teardown<S, R, W> {
    pub(super) fn none() -> Teardown<S, R, W> {
        Teardown {
            shutdown: None,
            calls: Vec::new(),
            waiters: Vec::new(),
            writer: None,
            reader: None,
            send_queue: VecDeque::new(),
            last_error: None,
        }
    }
}
