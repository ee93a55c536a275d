//! What the core is told and what it answers.

use std::collections::VecDeque;
use std::time::Duration;

use crate::args::Args;
use crate::error::Error;
use crate::net::stream::ShutdownHandle;

/// A command on its way.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: Box<str>,
    pub(crate) args: Args,
    pub(super) weight: usize,
}

/// A command's place in the order of all commands of a mux. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(pub(super) u64);

/// A new connection, before it is shared.
#[derive(Debug)]
pub(crate) struct Line<S, R> {
    pub(crate) sender: S,
    pub(crate) receiver: R,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) read_timeout: Option<Duration>,
}

/// One side of a connection, in the hands of the one who uses it.
#[derive(Debug)]
pub(crate) struct Held<T> {
    /// Which connection; there may be a newer one by now.
    pub(super) line: u64,
    pub(crate) side: T,
}

/// What somebody with a command finds.
#[derive(Debug)]
pub(crate) enum Door<S, R, W> {
    /// The command can be queued. Gives the connection's read timeout.
    Open(Option<Duration>),
    /// Nothing is under way: see whether the connection still lives.
    Inspect(Held<R>),
    /// The queue is full and nobody writes.
    Write(Held<S>),
    /// There is no connection, and this caller is the one to dial. Comes with what ended the last
    /// one, only to be dropped.
    Dial(Option<Error>),
    /// Somebody dials, or the queue is full. Comes with a place in the lobby.
    Wait(Visitor, W),
    Closed,
}

/// A place in the lobby.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor(pub(super) u64);

/// What a call whose reply has not come can do.
#[derive(Debug)]
pub(crate) enum Step<S, R> {
    /// Write what is queued; `alone` when no other call is under way.
    Write {
        held: Held<S>,
        alone: bool,
    },
    Read(Held<R>),
    /// Sleep: others do the work; `crowded` when there are many of them.
    Park {
        crowded: bool,
    },
    /// The outcome is on its way to the slot.
    Arriving,
}

/// Who has to be woken up to look for work.
#[derive(Debug)]
#[must_use]
pub(crate) struct Nudges<W> {
    pub(crate) one: Option<W>,
    pub(crate) lobby: Vec<(u64, W)>,
}

/// What is left of a connection that is lost or closed.
#[derive(Debug)]
#[must_use]
pub(crate) struct Wreck<S, R, W> {
    pub(crate) shutdown: Option<ShutdownHandle>,
    /// Calls that end with the error.
    pub(crate) calls: Vec<W>,
    /// Those who look again.
    pub(crate) lobby: Vec<(u64, W)>,
    /// Only to be dropped, without the lock.
    pub(crate) _remains: (Option<S>, Option<R>, VecDeque<Command>, Option<Error>),
}

/// Whether replies that were read are anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Expected,
    /// There were more than commands had been written.
    Surplus,
    /// Their connection is not the present one.
    Stray,
}

impl Command {
    pub(crate) fn new(name: &str, args: Args) -> Command {
        /// What the numbers and line ends of a command take, about.
        const HEAD: usize = 32;
        let weight = HEAD + name.len() + args.iter().map(<[u8]>::len).sum::<usize>();
        Command { name: name.into(), args, weight }
    }
}

impl<T> Held<T> {
    pub(crate) fn line(&self) -> u64 {
        self.line
    }
}

impl<W> Nudges<W> {
    pub(crate) fn nobody() -> Nudges<W> {
        Nudges { one: None, lobby: Vec::new() }
    }
}

impl<S, R, W> Wreck<S, R, W> {
    pub(super) fn none() -> Wreck<S, R, W> {
        Wreck {
            shutdown: None,
            calls: Vec::new(),
            lobby: Vec::new(),
            _remains: (None, None, VecDeque::new(), None),
        }
    }
}
