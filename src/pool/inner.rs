//! The shell around the core: one mutex, and everything that must not happen under it.

pub(crate) mod check_in;
pub(crate) mod checkout;
pub(crate) mod cleaning;
pub(crate) mod dialing;
pub(crate) mod lifecycle;
pub(crate) mod maintenance;
mod outage;
pub(crate) mod thread_tag;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::context::{CancelHandle, Context};
use crate::error::{Borrow, Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::pool::core::Core;
use crate::pool::core::actions::{Actions, Closing, Deferred};
use crate::pool::core::backoff::Jitter;
use crate::pool::core::dials::DialId;
use crate::pool::core::types::{CoreSettings, Entry};
use crate::pool::parker::Parker;
use crate::pool::settings::{Dial, Settings};
use crate::pool::stats::churn::ChurnDetector;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::stats::discards::DiscardDetector;
use crate::pool::threads::Threads;
use crate::pool::timer;
use crate::sync::{Mutex, MutexGuard, random_seed};

pub(crate) type PoolCore = Core<Conn, Parker>;
pub(crate) type PoolActions = Actions<Conn, Parker>;
pub(crate) type PoolEntry = Box<Entry<Conn>>;

/// The part of a pool that its handles, its threads and the connections in use share.
pub(crate) struct PoolInner {
    core: Mutex<PoolCore>,
    settings: Settings,
    dial: Mutex<Dial>,
    threads: Threads,
    /// The context of every dial. It ends when the pool is closed.
    lifetime: Context,
    end_lifetime: CancelHandle,
    last_dial_error: Mutex<Option<DialFailure>>,
    outage: Mutex<outage::Outage>,
    jitter: Mutex<Jitter>,
    churn: Mutex<ChurnDetector>,
    discards: Mutex<DiscardDetector>,
}

/// The pool's name, for log lines.
pub(crate) struct Prefix<'a>(Option<&'a str>);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, "{name}: "))
    }
}

/// The failure of the last dial.
#[derive(Debug, Clone)]
pub(crate) struct DialFailure {
    pub(crate) error: Error,
    pub(crate) at: Instant,
}

impl PoolInner {
    pub(crate) fn new(core_settings: CoreSettings, settings: Settings, dial: Dial) -> PoolInner {
        let (lifetime, end_lifetime) = Context::background().with_cancel();
        PoolInner {
            core: Mutex::new(Core::new(core_settings, Jitter::seeded(random_seed()))),
            threads: Threads::new(settings.name.as_deref()),
            settings,
            dial: Mutex::new(dial),
            lifetime,
            end_lifetime,
            last_dial_error: Mutex::new(None),
            outage: Mutex::new(outage::Outage::default()),
            jitter: Mutex::new(Jitter::seeded(random_seed())),
            churn: Mutex::new(ChurnDetector::default()),
            discards: Mutex::new(DiscardDetector::default()),
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, PoolCore> {
        self.core.lock()
    }

    /// Returns the mutex of the core, for [`Parker::unpark_through`].
    pub(crate) fn core_mutex(&self) -> &Mutex<PoolCore> {
        &self.core
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the beginning of the pool's log lines: its name, if it has one.
    pub(crate) fn prefix(&self) -> Prefix<'_> {
        Prefix(self.settings.name.as_deref())
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    pub(crate) fn lifetime(&self) -> &Context {
        &self.lifetime
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.core().is_closed()
    }

    pub(crate) fn now(&self) -> Instant {
        self.settings.clock.now()
    }

    pub(crate) fn now_on_check_out(&self) -> Option<Instant> {
        self.settings.clock_on_check_out.then(|| self.now())
    }

    pub(crate) fn now_on_check_in(&self) -> Option<Instant> {
        self.settings.clock_on_check_in.then(|| self.now())
    }

    pub(crate) fn dial_function(&self) -> Dial {
        Arc::clone(&self.dial.lock())
    }

    /// Returns a random part of the duration.
    pub(crate) fn jitter(&self, max: Duration) -> Duration {
        if max.is_zero() { max } else { self.jitter.lock().part_of(max) }
    }

    pub(crate) fn pause_after(&self, failure: u32) -> Duration {
        self.settings.backoff.pause(failure, &mut self.jitter.lock())
    }

    /// Records the error of the last dial, or that it succeeded.
    pub(crate) fn note_dial_error(&self, error: Option<Error>) {
        let failure = error.map(|error| DialFailure { error, at: self.now() });
        let before = std::mem::replace(&mut *self.last_dial_error.lock(), failure);
        // The error may be the user's, so its destructor must run without the lock.
        drop(before);
    }

    pub(crate) fn last_dial_error(&self) -> Option<DialFailure> {
        self.last_dial_error.lock().clone()
    }

    /// Returns the recorded checkouts, the longest first.
    pub(crate) fn outstanding(&self) -> Vec<Borrow> {
        let now = self.now();
        let mut borrows: Vec<_> =
            self.core().registry().checkouts().map(|checkout| checkout.to_borrow(now)).collect();
        borrows.sort_by_key(|borrow| std::cmp::Reverse(borrow.age));
        borrows
    }

    /// Performs the core's actions. Waiters are woken before sockets are closed, which can take
    /// time.
    #[inline]
    pub(crate) fn perform(self: &Arc<Self>, actions: PoolActions) {
        let Actions { wake, deferred } = actions;
        if let Some(parker) = wake {
            parker.unpark();
        }
        if let Some(deferred) = deferred {
            let close = self.perform_deferred(*deferred);
            self.close_conns(close);
        }
    }

    /// Like [`PoolInner::perform`], for a caller that waits for a connection: another thread closes
    /// the connections.
    #[inline]
    pub(crate) fn perform_for_caller(self: &Arc<Self>, actions: PoolActions) {
        let Actions { wake, deferred } = actions;
        if let Some(parker) = wake {
            parker.unpark();
        }
        if let Some(deferred) = deferred {
            let close = self.perform_deferred(*deferred);
            self.close_on_thread(close);
        }
    }

    /// Performs the less common actions. Returns the connections to close.
    #[cold]
    fn perform_deferred(
        self: &Arc<Self>,
        mut deferred: Deferred<Conn, Parker>,
    ) -> Vec<Closing<Conn>> {
        deferred.wake.iter().for_each(Parker::unpark);
        let mut dials = VecDeque::from(std::mem::take(&mut deferred.dials));
        while let Some(id) = dials.pop_front() {
            let Err(error) = self.start_dial(id) else { continue };
            // Without a thread the dial has failed, and the core may want another one.
            self.note_dial_error(Some(error.clone()));
            self.log_failed_dial(&error);
            let now = self.now();
            let actions = self.core().dial_failed(id, &error, now);
            actions.wake.iter().for_each(Parker::unpark);
            if let Some(more) = actions.deferred {
                more.wake.iter().for_each(Parker::unpark);
                dials.extend(more.dials);
                deferred.close.extend(more.close);
                deferred.alarm = more.alarm.or(deferred.alarm);
            }
        }
        if let Some(due) = deferred.alarm {
            timer::set_alarm(self.as_due(), due);
        }
        if let Some(unclean) = deferred.clean.take() {
            self.start_cleaning(unclean);
        }
        deferred.overdue.drain(..).for_each(|overdue| self.report_overdue(overdue));
        if let Some(checkout) = deferred.late_return.take() {
            let borrow = checkout.to_borrow(self.now());
            log::warn!(
                target: "redigo::pool", "{}an overdue connection came back: {borrow}", self.prefix()
            );
        }
        deferred.close
    }

    fn start_dial(self: &Arc<Self>, id: DialId) -> Result<()> {
        let pool = Arc::downgrade(self);
        self.threads.start(move || {
            if let Some(pool) = pool.upgrade() {
                pool.run_dial(id);
            }
        })
    }

    /// Closes connections on a thread of the pool, or here if none can be started.
    fn close_on_thread(self: &Arc<Self>, conns: Vec<Closing<Conn>>) {
        if conns.is_empty() {
            return;
        }
        let batch = ClosingBatch { pool: Arc::clone(self), conns };
        if let Err(error) = self.threads.start_brief(move || drop(batch)) {
            log::debug!(
                target: "redigo::pool",
                "{}a caller closes connections itself: {error}", self.prefix()
            );
        }
    }

    fn close_conns(&self, conns: Vec<Closing<Conn>>) {
        let overflow = conns.iter().filter(|conn| conn.reason == CloseReason::Overflow).count();
        for Closing { entry, reason } in conns {
            log::debug!(
                target: "redigo::pool", "{}a connection is closed: {reason}", self.prefix()
            );
            self.settings.hooks.closed(reason);
            // The connection's type may be the user's, and a panic must not spare the others.
            if catch_unwind(AssertUnwindSafe(|| drop(entry))).is_err() {
                log::warn!(
                    target: "redigo::pool", "{}closing a connection has panicked", self.prefix()
                );
            }
        }
        if overflow > 0 {
            self.note_overflow(overflow as u64);
        }
    }
}

/// Connections that are closed on the thread that drops this.
struct ClosingBatch {
    pool: Arc<PoolInner>,
    conns: Vec<Closing<Conn>>,
}

impl Drop for ClosingBatch {
    fn drop(&mut self) {
        self.pool.close_conns(std::mem::take(&mut self.conns));
    }
}

/// Shuts down a connection that another thread uses. Its shutdown function may be the user's, and
/// panic.
pub(crate) fn shut_down(handle: &ShutdownHandle) {
    if catch_unwind(AssertUnwindSafe(|| handle.shutdown())).is_err() {
        log::warn!(target: "redigo::pool", "shutting a connection down has panicked");
    }
}
