//! The shell around the core: one mutex, and everything that must not happen under it.

pub(crate) mod checkout;
pub(crate) mod dialing;
pub(crate) mod thread_tag;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::context::{CancelHandle, Context};
use crate::error::{Borrow, Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::pool::builder::{Dial, Settings};
use crate::pool::core::backoff::Jitter;
use crate::pool::core::registry::SlotId;
use crate::pool::core::{Actions, Core, CoreSettings, Entry, More, Overdue};
use crate::pool::hooks::{self, Hook};
use crate::pool::meter::Timing;
use crate::pool::stats::churn::ChurnDetector;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::threads::{Job, Threads};
use crate::pool::upkeep;
use crate::pool::waiter::Parker;
use crate::sync::{Mutex, MutexGuard};

pub(crate) type PoolCore = Core<Conn, Parker>;
pub(crate) type PoolActions = Actions<Conn, Parker>;

/// What the handles, the lent connections and the threads of a pool share.
pub(crate) struct PoolInner {
    core: Mutex<PoolCore>,
    settings: Settings,
    /// How to dial; it can be replaced.
    dial: Mutex<Dial>,
    threads: Threads,
    /// Every dial runs under a context that ends when the pool is closed.
    lifetime: Context,
    end_lifetime: CancelHandle,
    last_dial_error: Mutex<Option<(Error, Instant)>>,
    dice: Mutex<Jitter>,
    churn: Mutex<ChurnDetector>,
}

impl PoolInner {
    pub(crate) fn new(core_settings: CoreSettings, settings: Settings, dial: Dial) -> PoolInner {
        let (lifetime, end_lifetime) = Context::background().with_cancel();
        PoolInner {
            core: Mutex::new(Core::new(core_settings, Jitter::random())),
            settings,
            dial: Mutex::new(dial),
            threads: Threads::new(),
            lifetime,
            end_lifetime,
            last_dial_error: Mutex::new(None),
            dice: Mutex::new(Jitter::random()),
            churn: Mutex::new(ChurnDetector::default()),
        }
    }

    /// A pool that wants something before anybody asks begins with it.
    pub(crate) fn begin(self: &Arc<Self>) {
        if self.core().settings().min_idle > 0 {
            self.prune();
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, PoolCore> {
        self.core.lock()
    }

    /// The mutex itself, for those who sleep on it.
    pub(crate) fn core_mutex(&self) -> &Mutex<PoolCore> {
        &self.core
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
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

    pub(crate) fn now_on_put(&self) -> Option<Instant> {
        self.settings.clock_on_put.then(|| self.now())
    }

    pub(crate) fn now_on_get(&self) -> Option<Instant> {
        self.settings.clock_on_get.then(|| self.now())
    }

    pub(crate) fn dial_function(&self) -> Dial {
        Arc::clone(&self.dial.lock())
    }

    /// Dials in another way from now on.
    pub(crate) fn replace_dial(self: &Arc<Self>, dial: Dial) {
        let before = std::mem::replace(&mut *self.dial.lock(), dial);
        // It is a user's, and goes without the lock.
        drop(before);
        self.evict_all();
    }

    /// A random part of this time.
    pub(crate) fn part_of(&self, whole: Duration) -> Duration {
        if whole.is_zero() { whole } else { self.dice.lock().part_of(whole) }
    }

    pub(crate) fn pause_after(&self, failure: u32) -> Duration {
        self.settings.backoff.pause(failure, &mut self.dice.lock())
    }

    /// Remembers why the last dial failed, or that it did not.
    pub(crate) fn note_dial_error(&self, error: Option<Error>) {
        let noted = error.map(|error| (error, self.now()));
        let before = std::mem::replace(&mut *self.last_dial_error.lock(), noted);
        // Its destructor may be a user's, and runs here without the lock.
        drop(before);
    }

    pub(crate) fn last_dial_error(&self) -> Option<(Error, Instant)> {
        self.last_dial_error.lock().clone()
    }

    /// Takes a clean connection back from its borrower, if the user's hook has nothing against it.
    #[inline]
    pub(crate) fn give_back(self: &Arc<Self>, mut member: Box<Entry<Conn>>) {
        if let Some(hook) = &self.settings.hooks.give_back {
            if let Err(error) = run_return_hook(hook, &mut member.conn) {
                log::debug!(target: "redigo::pool", "a connection is closed, hook: {error}");
                return self.close_lent(member, CloseReason::Hook);
            }
        }
        self.put(member);
    }

    /// Takes a clean connection back.
    #[inline]
    pub(crate) fn put(self: &Arc<Self>, member: Box<Entry<Conn>>) {
        self.end_loan(member.place, |core, now| core.put(member, now));
    }

    /// Closes a connection that was lent.
    pub(crate) fn close_lent(self: &Arc<Self>, member: Box<Entry<Conn>>, reason: CloseReason) {
        let counted = self.let_go(member.place, Some(reason));
        self.close_conn(member, counted.unwrap_or(reason));
    }

    /// Closes a connection that was to be lent.
    pub(crate) fn close_unlent(self: &Arc<Self>, member: Box<Entry<Conn>>, reason: CloseReason) {
        let actions = self.core().remove(member.place, Some(reason), None);
        self.carry_out(actions);
        self.close_conn(member, reason);
    }

    /// Lets a connection go that its borrower keeps.
    pub(crate) fn detach(self: &Arc<Self>, member: Box<Entry<Conn>>) -> Conn {
        if let Some(reason) = self.let_go(member.place, None) {
            self.settings.hooks.closed(reason);
        }
        member.conn
    }

    /// What was lent from this place does not come back: as what it is counted, if it is closed. One
    /// that was taken back before has been counted then.
    fn let_go(self: &Arc<Self>, place: SlotId, reason: Option<CloseReason>) -> Option<CloseReason> {
        let mut counted = reason;
        self.end_loan(place, |core, now| {
            if core.registry().is_reclaimed(place) {
                counted = Some(CloseReason::Leak);
            }
            core.remove(place, counted, now)
        });
        counted
    }

    /// The loan from this place ends in this way.
    #[inline]
    fn end_loan(
        self: &Arc<Self>,
        place: SlotId,
        end: impl FnOnce(&mut PoolCore, Option<Instant>) -> PoolActions,
    ) {
        let (now, meter) = (self.now_on_put(), &self.settings.meter);
        let mut core = self.core();
        let metered = now.filter(|_| meter.is_on());
        let used = metered.and_then(|now| core.registry().out_for(place, now));
        let actions = end(&mut core, now);
        drop(core);
        self.carry_out(actions);
        if let Some(used) = used {
            meter.record(Timing::Use, used);
        }
    }

    /// The end of a connection that the core knows no more.
    pub(crate) fn close_conn(&self, member: Box<Entry<Conn>>, reason: CloseReason) {
        self.settings.hooks.closed(reason);
        drop(member);
    }

    pub(crate) fn prune(self: &Arc<Self>) -> usize {
        let now = self.now();
        let actions = self.core().prune(now);
        let pruned = actions.more.as_ref().map_or(0, |more| more.close.len());
        self.carry_out(actions);
        pruned
    }

    pub(crate) fn close(self: &Arc<Self>) {
        let actions = self.core().close();
        self.end_lifetime.cancel();
        upkeep::forget(self);
        log::debug!(target: "redigo::pool", "pool closed");
        self.carry_out(actions);
    }

    pub(crate) fn resize(self: &Arc<Self>, max_active: usize, max_idle: usize) -> Result<()> {
        let mut core = self.core();
        let needs_limit = self.settings().needs_limit.as_deref();
        crate::pool::builder::check_sizes(core.settings(), needs_limit, max_active, max_idle)?;
        let actions = core.resize(max_active, max_idle);
        drop(core);
        self.carry_out(actions);
        Ok(())
    }

    pub(crate) fn resume(self: &Arc<Self>) {
        let now = self.now();
        let actions = self.core().resume(now);
        self.carry_out(actions);
    }

    pub(crate) fn evict_all(self: &Arc<Self>) {
        let actions = self.core().evict_all();
        self.carry_out(actions);
    }

    /// The connections that are out, the longest first, as far as they are tracked.
    pub(crate) fn outstanding(&self) -> Vec<Borrow> {
        let now = self.now();
        let mut loans: Vec<_> = self.core().registry().loans().map(|loan| loan.told(now)).collect();
        loans.sort_by_key(|loan| std::cmp::Reverse(loan.age));
        loans
    }

    /// Does what the core has decided. Waking comes before closing, for nobody is to wait until
    /// a socket is closed.
    #[inline]
    pub(crate) fn carry_out(self: &Arc<Self>, actions: PoolActions) {
        let Actions { wake, more } = actions;
        if let Some(parker) = wake {
            parker.unpark();
        }
        if let Some(more) = more {
            self.carry_out_more(*more);
        }
    }

    #[cold]
    fn carry_out_more(self: &Arc<Self>, mut more: More<Conn, Parker>) {
        more.wake.iter().for_each(Parker::unpark);
        while let Some(cause) = more.jobs.pop() {
            let Err(error) = self.threads.start(self, Job::Dial(cause)) else { continue };
            // No thread to be had is a failed dial, which may ask for another.
            let now = self.now();
            let actions = self.core().job_failed(cause, &error, now);
            self.note_dial_error(Some(error));
            actions.wake.iter().for_each(Parker::unpark);
            if let Some(again) = actions.more {
                again.wake.iter().for_each(Parker::unpark);
                more.jobs.extend(again.jobs);
                more.close.extend(again.close);
                more.alarm = again.alarm.or(more.alarm);
            }
        }
        if let Some(due) = more.alarm {
            upkeep::alarm(self, due);
        }
        more.overdue.drain(..).for_each(|overdue| self.report_overdue(overdue));
        if let Some(loan) = more.came_back.take() {
            let borrow = loan.told(self.now());
            log::warn!(target: "redigo::pool", "a connection that was out for long came back: {borrow}");
        }
        self.close_all(more.close);
    }

    fn close_all(&self, close: Vec<(Box<Entry<Conn>>, CloseReason)>) {
        let overflow = close.iter().filter(|(_, reason)| *reason == CloseReason::Overflow).count();
        for (member, reason) in close {
            log::debug!(target: "redigo::pool", "a connection is closed: {reason}");
            self.close_conn(member, reason);
        }
        if overflow > 0 {
            self.note_overflow(overflow as u64);
        }
    }

    /// Says so when connections are closed and dialled again all the time.
    fn note_overflow(&self, closed: u64) {
        let (dialed, open, max_idle) = {
            let core = self.core();
            (core.counters.dialed.total(), core.open(), core.settings().max_idle)
        };
        // Who keeps none wants none.
        if max_idle == 0 {
            return;
        }
        let now = self.now();
        let warning = self.churn.lock().closed(closed, dialed, open, now);
        if let Some(warning) = warning {
            log::warn!(
                target: "redigo::pool",
                "{} connections were closed because more than max_idle({max_idle}) were idle, and {} \
                 dialled, within {:.0} s: max_idle({}) would keep them",
                warning.closed, warning.dialed, warning.within.as_secs_f64(), warning.enough,
            );
        }
    }

    fn report_overdue(&self, overdue: Overdue) {
        let borrow = overdue.loan.told(self.now());
        match overdue.cut {
            None => log::warn!(target: "redigo::pool", "a connection may have leaked: {borrow}"),
            Some(handle) => {
                log::warn!(target: "redigo::pool", "a connection is taken back: {borrow}");
                cut(&handle);
            }
        }
    }

    /// The upkeep is due. It is done on a thread of the pool's own, for it may run code of users.
    pub(crate) fn on_alarm(self: &Arc<Self>) {
        if let Err(error) = self.threads.start(self, Job::Upkeep) {
            log::warn!(target: "redigo::pool", "no upkeep for now: {error}");
            let later = self.now() + Duration::from_secs(1);
            let actions = self.core().put_off(later);
            self.carry_out(actions);
        }
    }
}

fn run_return_hook(hook: &Hook, conn: &mut Conn) -> Result<()> {
    hooks::run(hook, "on_return", conn)?;
    match conn.is_clean() {
        true => Ok(()),
        false => Err(Error::other("on_return left a connection unclean")),
    }
}

/// Shuts a connection down that somebody else holds. It may be of a user's making, and so may a
/// panic.
pub(crate) fn cut(handle: &ShutdownHandle) {
    if catch_unwind(AssertUnwindSafe(|| handle.shutdown())).is_err() {
        log::warn!(target: "redigo::pool", "shutting a connection down has panicked");
    }
}
