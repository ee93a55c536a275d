//! Closing a pool in good order: those who hold connections may finish, for a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Borrow;
use crate::pool::inner::{PoolInner, cut};
use crate::pool::waiter::Parker;
use crate::sync;

/// How the closing of a pool went; see [`Pool::close_and_wait`](crate::Pool::close_and_wait).
///
/// ```
/// use std::time::Duration;
/// use redigo::{Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder_with(ScriptedServer::new().dialer()).track_borrows(true).build()?;
/// let conn = pool.acquire()?;
/// let report = pool.close_and_wait(Duration::ZERO);
/// for borrow in &report.aborted_borrows {
///     println!("was still at work: {borrow}");
/// }
/// assert_eq!((report.aborted, report.aborted_borrows.len()), (1, 1));
/// # drop(conn);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Connections that were in use and came back in time.
    pub returned: usize,
    /// Connections that did not, and were shut down.
    pub aborted: usize,
    /// Where these had been borrowed, in a pool that tracks its borrows.
    pub aborted_borrows: Vec<Borrow>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CloseReport { returned, aborted, took, .. } = self;
        write!(f, "closed in {took:.1?}: {returned} returned, {aborted} aborted")?;
        self.aborted_borrows.iter().try_for_each(|borrow| write!(f, "; {borrow}"))
    }
}

impl PoolInner {
    pub(crate) fn close_and_wait(self: &Arc<Self>, timeout: Duration) -> CloseReport {
        let began = sync::now();
        let deadline = began.checked_add(timeout);
        let now = self.now();
        let parker = Parker::of_this_thread();
        let in_use = self.core().in_use();
        self.close();
        let mut core = self.core();
        while !core.is_drained() && deadline.is_none_or(|deadline| sync::now() < deadline) {
            core.watch(parker.clone());
            parker.park(&mut core, deadline);
        }
        let left: Vec<_> = core
            .registry()
            .handles()
            .map(|(handle, loan)| (handle.clone(), loan.map(|loan| loan.told(now))))
            .collect();
        drop(core);
        left.iter().for_each(|(handle, _)| cut(handle));
        let report = CloseReport {
            returned: in_use.saturating_sub(left.len()),
            aborted: left.len(),
            aborted_borrows: left.into_iter().filter_map(|(_, borrow)| borrow).collect(),
            took: began.elapsed(),
        };
        log::debug!(target: "redigo::pool", "pool {report}");
        report
    }
}
