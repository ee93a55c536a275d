//! The statistics of a mux.

/// A snapshot of a [`Mux`](crate::Mux), from [`Mux::stats`](crate::Mux::stats). Its values are
/// consistent with each other. The counters cover all connections of the mux.
///
/// ```
/// use redigo::{Dialer, Mux, testing::MemoryStream};
///
/// let mux = Mux::with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n"))));
/// mux.call("PING", ())?;
/// let stats = mux.stats();
/// assert_eq!((stats.dials, stats.calls, stats.writes, stats.in_flight), (1, 1, 1, 0));
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MuxStats {
    /// Whether there is a connection.
    pub connected: bool,
    /// Commands that are queued or sent and have no reply yet. Includes abandoned commands.
    pub in_flight: usize,
    /// Callers that wait for a dial, for the pause after a failed dial, or for space in a full send
    /// queue.
    pub waiting: usize,
    /// Commands queued so far.
    pub calls: u64,
    /// Writes so far. A write takes all queued commands.
    pub writes: u64,
    /// Commands whose callers left before the reply.
    pub abandoned: u64,
    /// Dials so far, including failed dials.
    pub dials: u64,
    /// Failed dials so far, including dials whose caller left.
    pub failed_dials: u64,
    /// Connections lost so far.
    pub lost: u64,
}
