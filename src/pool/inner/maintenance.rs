//! The pool's work without callers: expiry, keepalive, leaks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::conn::Conn;
use crate::error::Error;
use crate::pool::check;
use crate::pool::core::actions::Overdue;
use crate::pool::core::types::Entry;
use crate::pool::inner::{PoolInner, shut_down};
use crate::pool::timer::{Clock, Due};

/// When maintenance is tried again if no thread can be started.
const NO_THREAD_DELAY: Duration = Duration::from_secs(1);

impl Due for PoolInner {
    /// Starts maintenance on a thread of the pool's own, because it runs the user's code.
    fn on_alarm(self: Arc<Self>) {
        let pool = Arc::downgrade(&self);
        let started = self.threads().start_brief(move || {
            if let Some(pool) = pool.upgrade() {
                pool.run_maintenance();
            }
        });
        if let Err(error) = started {
            log::warn!(target: "redigo::pool", "{}the upkeep is delayed: {error}", self.prefix());
            let later = self.now() + NO_THREAD_DELAY;
            let actions = self.core().reschedule(later);
            self.perform(actions);
        }
    }

    fn is_over(&self) -> bool {
        self.lifetime().is_canceled()
    }

    fn clock(&self) -> &Clock {
        &self.settings().clock
    }
}

impl PoolInner {
    pub(crate) fn as_due(self: &Arc<Self>) -> Arc<dyn Due> {
        Arc::<PoolInner>::clone(self)
    }

    /// Starts the dials for `min_idle`.
    pub(crate) fn begin(self: &Arc<Self>) {
        if self.core().settings().min_idle > 0 {
            self.prune();
        }
    }

    /// Closes expired idle connections and returns their number.
    pub(crate) fn prune(self: &Arc<Self>) -> usize {
        let now = self.now();
        let actions = self.core().prune(now);
        let pruned = actions.deferred.as_ref().map_or(0, |deferred| deferred.close.len());
        self.perform(actions);
        pruned
    }

    /// Does what is due, and pings idle connections one by one while any has been silent too long.
    fn run_maintenance(self: &Arc<Self>) {
        loop {
            let now = self.now();
            let mut actions = self.core().run_due(now);
            let pinged = actions.deferred.as_mut().and_then(|deferred| deferred.ping.take());
            self.perform(actions);
            let Some(mut entry) = pinged else { return };
            let alive = self.ping(&mut entry);
            let now = self.now();
            let actions = self.core().ping_ended(entry, alive, now);
            self.perform(actions);
        }
    }

    fn ping(&self, entry: &mut Entry<Conn>) -> bool {
        let conn = &mut entry.conn;
        let answered = catch_unwind(AssertUnwindSafe(|| {
            check::ping(conn, Some(self.settings().cleanup_timeout))?;
            conn.status().take_saw_error();
            Ok(conn.is_clean())
        }));
        let answered =
            answered.unwrap_or_else(|panic| Err(Error::panicked("a keepalive", &*panic)));
        if let Err(error) = &answered {
            log::debug!(
                target: "redigo::pool",
                "{}an idle connection does not answer: {error}", self.prefix()
            );
        }
        matches!(answered, Ok(true))
    }

    pub(super) fn report_overdue(&self, overdue: Overdue) {
        let borrow = overdue.checkout.to_borrow(self.now());
        match overdue.shutdown {
            None => {
                log::warn!(
                    target: "redigo::pool",
                    "{}a connection may have leaked: {borrow}", self.prefix()
                )
            }
            Some(handle) => {
                log::warn!(
                    target: "redigo::pool",
                    "{}a leaked connection is taken back: {borrow}", self.prefix()
                );
                shut_down(&handle);
            }
        }
    }

    /// Warns if many dropped connections are closed instead of cleaned.
    pub(super) fn note_discard(&self) {
        let now = self.now();
        let warning = self.discards.lock().discarded(now);
        if let Some(warning) = warning {
            log::warn!(
                target: "redigo::pool",
                "{}{} connections were dropped and could not be cleaned within {:.0} s: their threads \
                 panicked, their state cannot be undone, or no thread could clean them",
                self.prefix(),
                warning.discarded, warning.within.as_secs_f64(),
            );
        }
    }

    /// Warns if connections are closed and dialed again all the time.
    pub(super) fn note_overflow(&self, closed: u64) {
        let (dialed, open, max_idle) = {
            let core = self.core();
            (core.counters.dialed.total(), core.open(), core.settings().max_idle)
        };
        // `max_idle(0)` asks for it.
        if max_idle == 0 {
            return;
        }
        let now = self.now();
        let warning = self.churn.lock().closed(closed, dialed, open, now);
        if let Some(warning) = warning {
            log::warn!(
                target: "redigo::pool",
                "{}{} connections were closed because more than max_idle({max_idle}) were idle, and {} \
                 dialed, within {:.0} s: max_idle({}) would keep them", self.prefix(),
                warning.closed, warning.dialed, warning.within.as_secs_f64(), warning.enough,
            );
        }
    }
}
