//! The values that pass between the core and its shell.

use std::time::{Duration, Instant};

use super::registry::{Borrower, SlotId};
use crate::error::Error;
use crate::net::stream::ShutdownHandle;
use crate::pool::core::backoff::Backoff;
use crate::pool::stats::close_reason::CloseReason;

/// A caller's position in the order of arrival. A caller keeps it until its checkout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// The pool's options as far as the core needs them.
#[derive(Debug, Clone)]
pub(crate) struct CoreSettings {
    pub(crate) max_idle: usize,
    /// The limit on open connections, if there is one.
    pub(crate) max_active: Option<usize>,
    pub(crate) min_idle: usize,
    /// Whether callers wait at `max_active`.
    pub(crate) wait: bool,
    /// The limit on callers that wait at `max_active`, if there is one.
    pub(crate) max_waiters: Option<usize>,
    /// Whether the connection that has been idle longest is checked out first.
    pub(crate) fifo: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) leak_threshold: Option<Duration>,
    /// Whether a connection in use for longer than `leak_threshold` is taken back.
    pub(crate) reclaim_leaked: bool,
    /// Whether a checkout that would wait for its own thread fails.
    pub(crate) detect_deadlock: bool,
    pub(crate) max_concurrent_dials: usize,
    /// The limit on connections that are cleaned at the same time.
    pub(crate) max_cleaners: usize,
    /// The number of failed dials in a row that opens the breaker.
    pub(crate) breaker: Option<u32>,
    pub(crate) backoff: Backoff,
    /// Whether the registry records checkouts.
    pub(crate) track_borrows: bool,
    /// Whether a timer calls [`Core::run_due`](super::Core::run_due).
    pub(crate) has_timer: bool,
}

/// A connection and the pool's data about it. The instants are set only if an option needs them.
/// Always boxed, so that it moves through the pool as one pointer.
#[derive(Debug)]
pub(crate) struct Entry<C> {
    pub(crate) conn: C,
    /// The connection's slot in the registry.
    pub(crate) slot: SlotId,
    /// The number of the connection that was dialed: a borrower can put another one in its place.
    pub(crate) conn_id: usize,
    /// The pool's generation when the dial began.
    pub(crate) generation: u64,
    pub(crate) expires: Option<Instant>,
    /// When the connection was last returned; `None` if it was never checked out.
    pub(crate) returned: Option<Instant>,
    /// When the connection last answered a keepalive `PING`.
    pub(crate) last_ping: Option<Instant>,
    /// Value of the core's failure counter when this connection was last known to be alive.
    pub(crate) failures: u64,
    /// Whether other connections have failed since then, as of the last checkout.
    pub(crate) suspect: bool,
    /// Whether its dial ended after its caller had left.
    pub(crate) late: bool,
    /// The value of the core's count of sweeps when the connection was dialed.
    pub(crate) sweeps: u64,
}

/// A newly dialed connection, before the core makes an [`Entry`] of it.
#[derive(Debug)]
pub(crate) struct Dialed<C> {
    pub(crate) conn: C,
    pub(crate) handle: ShutdownHandle,
    pub(crate) expires: Option<Instant>,
}

/// A caller that wants a connection, and the time if an option needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckoutRequest<'a> {
    pub(crate) now: Option<Instant>,
    /// Set if checkouts are recorded.
    pub(crate) borrower: Option<&'a Borrower>,
}

/// A caller that has to wait.
pub(crate) struct NewWaiter<W> {
    pub(crate) waker: W,
    /// The system's time, which measures the age of dials.
    pub(crate) now: Instant,
}

/// The core's answer to a caller, immediately or after a wait.
#[derive(Debug)]
pub(crate) enum Grant<C> {
    Conn(Ticket, Box<Entry<C>>),
    /// The caller must sleep until it is woken, then call [`Core::collect`](super::Core::collect).
    Wait(Ticket, WaitReason),
    Failed(Error),
    Refused(Refusal),
    Closed,
}

/// Why a caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitReason {
    /// `max_active` connections are open.
    AtLimit,
    /// A connection is being dialed.
    Dialing,
    /// The pool is suspended.
    Suspended,
}

/// Why a caller fails without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `max_active` connections are open and the caller cannot wait.
    Exhausted,
    BreakerOpen,
    /// Every connection is held by a thread that waits for another one.
    Deadlock,
}

/// How a borrow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// The connection is clean and can be checked out again.
    Return,
    /// The connection was dropped at this time, by the system's clock, and must be cleaned first.
    Clean {
        dropped: Instant,
    },
    Close(CloseReason),
    /// The borrower keeps the connection.
    Detach,
}

/// Why a connection is dialed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialReason {
    /// A caller waits.
    Demand,
    /// Fewer than `min_idle` connections are idle, or the pool is warming up.
    MinIdle,
    /// The breaker is open and checks whether dials succeed again.
    Probe,
}
