//! What a mux has done and what it looks like now.

/// A consistent look at a [`Mux`](crate::Mux), taken under its lock. The counters begin with the
/// mux and go on across its connections.
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
    /// True while there is a connection.
    pub connected: bool,
    /// Commands that are queued or sent and whose reply has not come, those of callers who have
    /// left included.
    pub in_flight: usize,
    /// Callers that wait for a connection, or for room in front of one that does not move.
    pub waiting: usize,
    /// Commands queued so far.
    pub calls: u64,
    /// How many times what was queued was taken and written, all of it at once.
    pub writes: u64,
    /// Commands whose callers left before the reply.
    pub abandoned: u64,
    /// Connections dialled.
    pub dials: u64,
    /// Dials that failed.
    pub failed_dials: u64,
    /// Connections lost.
    pub lost: u64,
}
