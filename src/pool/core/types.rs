//! What the core is asked and told, and what it answers.

use std::time::{Duration, Instant};

use super::actions::Actions;
use super::registry::{Borrower, SlotId};
use crate::error::Error;
use crate::pool::core::backoff::Backoff;
use crate::pool::waiter::Ticket;

/// What the core has to know of the pool's options.
#[derive(Debug, Clone)]
pub(crate) struct CoreSettings {
    pub(crate) max_idle: usize,
    /// `usize::MAX`: no limit.
    pub(crate) max_active: usize,
    pub(crate) min_idle: usize,
    /// Whether to wait at `max_active`.
    pub(crate) wait: bool,
    /// How many may wait for what others hold.
    pub(crate) max_waiters: usize,
    /// Lends what has been idle for longest first.
    pub(crate) fifo: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) leak_threshold: Option<Duration>,
    /// Whether a connection out for that long is given up.
    pub(crate) reclaims: bool,
    /// Whether a thread that would wait for itself is told so.
    pub(crate) refuses_deadlock: bool,
    /// How many dials may run that are nobody's own.
    pub(crate) max_jobs: usize,
    /// How many dials in a row may fail before there are no more.
    pub(crate) breaker: Option<u32>,
    pub(crate) backoff: Backoff,
    /// Whether loans are noted.
    pub(crate) tracks: bool,
    /// Whether somebody comes by when the upkeep is due.
    pub(crate) upkeep: bool,
}

/// A connection with what the pool knows of it. The instants are there when a rule needs them.
/// Always boxed, so that it moves through the pool as one pointer.
#[derive(Debug)]
pub(crate) struct Entry<C> {
    pub(crate) conn: C,
    /// Where the registry has it, from when it has become a member.
    pub(crate) place: SlotId,
    /// The generation of the pool when its dial began.
    pub(crate) generation: u64,
    pub(crate) expires: Option<Instant>,
    /// When it came back last; `None` for one that was never lent.
    pub(crate) returned: Option<Instant>,
    /// When it was last asked whether it lives.
    pub(crate) asked: Option<Instant>,
    /// How many had turned out to be dead when it was known to live.
    pub(crate) deaths: u64,
    /// There were more by the time when it was lent.
    pub(crate) doubtful: bool,
    /// Nobody waited for it when it was dialled for somebody.
    pub(crate) late: bool,
}

/// Who asks for a connection, and when if a rule of time is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckoutRequest<'a> {
    pub(crate) caller: Caller,
    pub(crate) now: Option<Instant>,
    /// Where loans are to be noted.
    pub(crate) borrower: Option<&'a Borrower>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Will dial on its own thread when there is nothing to lend.
    Dials,
    /// Has a deadline, or can be cancelled: somebody else has to dial.
    Waits,
}

/// The answer to one who asks for a connection.
#[derive(Debug)]
pub(crate) enum Answer<C> {
    Take(Ticket, Box<Entry<C>>),
    /// Dial, and come back with [`Core::dialed`] or [`Core::dial_failed`].
    Dial(Ticket),
    /// Sleep until woken, then [`Core::collect`].
    Wait(Ticket, Cause),
    Refused(Refusal),
    Closed,
}

/// Why one gets nothing, at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All that may be open is, or enough wait for it already.
    Exhausted,
    /// Dials fail, and no more are made for now.
    BreakerOpen,
    /// Every connection is held by a thread that waits for another.
    Deadlock,
}

/// Why one has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// All that may be open is.
    AtLimit,
    /// For a dial.
    Dialing,
    /// The pool is suspended.
    Suspended,
}

/// What a waiter gets.
#[derive(Debug)]
pub(crate) enum Outcome<C> {
    Take(Box<Entry<C>>),
    /// There is room now: dial.
    Dial,
    Failed(Error),
    BreakerOpen,
    Closed,
}

/// A connection or a place to wait was asked for: the answer, and what it entails.
pub(crate) type Reply<C, W> = (Answer<C>, Actions<C, W>);
