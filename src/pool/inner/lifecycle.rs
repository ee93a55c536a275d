//! Operations on the pool as a whole: resize, evict, warm up, close.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Borrow, Error, Result};
use crate::pool::builder::check_sizes;
use crate::pool::inner::checkout::CheckoutLimit;
use crate::pool::inner::{PoolInner, shut_down};
use crate::pool::parker::Parker;
use crate::pool::settings::Dial;
use crate::pool::timer;
use crate::sync;

/// The outcome of [`Pool::close_and_wait`](crate::Pool::close_and_wait).
///
/// ```
/// use std::time::Duration;
/// use redigo::{Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder(ScriptedServer::new().dialer()).track_borrows(true).build()?;
/// let conn = pool.acquire()?;
/// let report = pool.close_and_wait(Duration::ZERO);
/// for borrow in &report.aborted_borrows {
///     println!("still in use: {borrow}");
/// }
/// assert_eq!((report.aborted, report.aborted_borrows.len()), (1, 1));
/// # drop(conn);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Number of connections in use that were returned in time.
    pub returned: usize,
    /// Number of connections that were not returned in time and were shut down.
    pub aborted: usize,
    /// The borrows of the aborted connections, in a pool that tracks its borrows.
    pub aborted_borrows: Vec<Borrow>,
    /// How long closing took.
    pub took: Duration,
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CloseReport { returned, aborted, took, .. } = self;
        write!(f, "closed in {took:.1?}: {returned} returned, {aborted} aborted")?;
        self.aborted_borrows.iter().try_for_each(|borrow| write!(f, "; {borrow}"))
    }
}

/// How long a closed pool without connections in use waits for its dials, which end with its context
/// unless a dial function ignores it.
const DIAL_GRACE: Duration = Duration::from_millis(100);

/// The end of a warm-up.
enum WarmUp {
    Done,
    TimedOut,
    PoolClosed,
}

impl PoolInner {
    /// Replaces the dial function and evicts the connections that the old one has dialed.
    pub(crate) fn replace_dial(self: &Arc<Self>, dial: Dial) {
        let before = std::mem::replace(&mut *self.dial.lock(), dial);
        // The function is the user's, so its destructor must run without the lock.
        drop(before);
        self.evict_all();
    }

    /// # Errors
    /// [`Error::InvalidConfig`] for limits that contradict the pool's other options.
    pub(crate) fn resize(
        self: &Arc<Self>,
        max_active: Option<usize>,
        max_idle: usize,
    ) -> Result<()> {
        let mut core = self.core();
        let needs_limit = self.settings().needs_limit.as_deref();
        check_sizes(core.settings(), needs_limit, max_active, max_idle)?;
        let actions = core.resize(max_active, max_idle);
        drop(core);
        self.perform(actions);
        Ok(())
    }

    pub(crate) fn resume(self: &Arc<Self>) {
        let now = self.now();
        let actions = self.core().resume(now);
        self.perform(actions);
    }

    pub(crate) fn evict_all(self: &Arc<Self>) {
        let actions = self.core().evict_all();
        self.perform(actions);
    }

    /// Waits until this many connections are open and not being dialed.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::PoolTimeout`] or [`Error::PoolClosed`].
    pub(crate) fn warm_up(self: &Arc<Self>, connections: usize, timeout: Duration) -> Result<()> {
        let (max_active, max_idle) = {
            let core = self.core();
            (core.settings().max_active, core.settings().max_idle)
        };
        let max_active = max_active.filter(|&max| max < max_idle);
        if connections > max_active.unwrap_or(max_idle) {
            let max_active = max_active.map_or(String::new(), |max| format!(", max_active {max}"));
            return Err(Error::InvalidConfig(
                format!(
                    "warm_up({connections}) wants more than are kept: \
                     max_idle is {max_idle}{max_active}"
                )
                .into(),
            ));
        }
        let limit = CheckoutLimit::timeout(Some(timeout), None);
        let actions = self.core().begin_warm_up(connections);
        self.perform(actions);
        let end = self.wait_for_conns(connections, sync::now().checked_add(timeout));
        self.core().end_warm_up(connections);
        match end {
            WarmUp::Done => Ok(()),
            WarmUp::TimedOut => Err(Error::PoolTimeout(Arc::new(self.report(None, &limit)))),
            WarmUp::PoolClosed => Err(Error::PoolClosed),
        }
    }

    fn wait_for_conns(self: &Arc<Self>, connections: usize, deadline: Option<Instant>) -> WarmUp {
        let parker = Parker::of_this_thread();
        loop {
            let now = self.now();
            let mut core = self.core();
            if core.is_closed() {
                return WarmUp::PoolClosed;
            }
            if core.idle() + core.in_use() >= connections {
                return WarmUp::Done;
            }
            if deadline.is_some_and(|deadline| sync::now() >= deadline) {
                return WarmUp::TimedOut;
            }
            // A pool without a timer does not redial by itself.
            let pause = core.paused_until().map(|at| at.saturating_duration_since(now));
            if pause.is_some_and(|pause| pause.is_zero()) {
                let actions = core.redial(now);
                drop(core);
                self.perform(actions);
                continue;
            }
            let system_now = sync::now();
            let actions = core.check_dials(system_now);
            if !actions.is_none() {
                drop(core);
                self.perform(actions);
                continue;
            }
            core.watch(parker.clone());
            let retry = pause.and_then(|pause| system_now.checked_add(pause));
            let wake = [deadline, retry, core.next_dial_check(system_now)];
            parker.park(&mut core, wake.into_iter().flatten().min());
        }
    }

    pub(crate) fn close(self: &Arc<Self>) {
        let actions = self.core().close();
        self.end_lifetime.cancel();
        timer::cancel_alarm(self.as_due());
        log::debug!(target: "redigo::pool", "{}pool closed", self.prefix());
        self.perform(actions);
    }

    /// Closes the pool, waits for the connections in use, and shuts down those that are still in use
    /// after the timeout.
    pub(crate) fn close_and_wait(self: &Arc<Self>, timeout: Duration) -> CloseReport {
        let began = sync::now();
        let deadline = began.checked_add(timeout);
        let now = self.now();
        let parker = Parker::of_this_thread();
        let in_use = self.core().in_use();
        self.close();
        let give_up_dials = began.checked_add(DIAL_GRACE);
        let mut core = self.core();
        loop {
            let until = match (core.is_drained(), core.dialing()) {
                (true, 0) => break,
                (true, _) => give_up_dials.into_iter().chain(deadline).min(),
                (false, _) => deadline,
            };
            if until.is_some_and(|until| sync::now() >= until) {
                break;
            }
            core.watch(parker.clone());
            parker.park(&mut core, until);
        }
        let mut handles = Vec::new();
        let mut aborted_borrows = Vec::new();
        for conn in core.registry().open_conns() {
            handles.push(conn.handle.clone());
            aborted_borrows.extend(conn.checkout.map(|checkout| checkout.to_borrow(now)));
        }
        drop(core);
        handles.iter().for_each(shut_down);
        let report = CloseReport {
            returned: in_use.saturating_sub(handles.len()),
            aborted: handles.len(),
            aborted_borrows,
            took: began.elapsed(),
        };
        log::debug!(target: "redigo::pool", "{}pool {report}", self.prefix());
        report
    }
}
