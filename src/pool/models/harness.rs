//! A pool, the connections behind it, and what must hold of both at every instant.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shuttle::thread;

use crate::args::ToArgs;
use crate::conn::Conn;
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::net::stream::ShutdownHandle;
use crate::pool::Pool;
use crate::pool::pooled_conn::PooledConn;
use crate::pool::stats::PoolStats;
use crate::pool::upkeep;
use crate::sync::model;
use crate::value::Value;

/// How long the impatient wait, and the first pause after a dial that failed.
pub(super) const SHORT: Duration = Duration::from_millis(10);
/// When an idle connection is asked whether it lives.
const QUIET: Duration = Duration::from_secs(30);
/// When one that is idle is pruned, and one that is out is taken back.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// No model goes on for so long.
pub(super) const LONG: Duration = Duration::from_secs(1 << 20);

/// What a pool is told to do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: it has no upkeep.
    Plain,
    /// To keep one ready, to ask the idle ones whether they live, and to prune them.
    Kept,
    /// To take back what is out for too long.
    Watched,
    /// To dial no more after one dial that failed.
    Guarded,
}

pub(super) const KINDS: [Kind; 4] = [Kind::Plain, Kind::Kept, Kind::Watched, Kind::Guarded];

#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Refuse,
    Panic,
}

/// The server, so to speak.
#[derive(Default)]
pub(super) struct Outside {
    /// Connections that are not closed.
    open: AtomicUsize,
    dialed: AtomicUsize,
    pings: AtomicUsize,
    /// How the next dials end, before they succeed again.
    pub(super) verdicts: Mutex<VecDeque<Verdict>>,
    /// How many of the next pings are not answered.
    pub(super) deaf: AtomicUsize,
    /// How many of the next tests before lending fail.
    pub(super) unfit: AtomicUsize,
    /// How often it was said that what was dialled before is of no use any more.
    pub(super) generation: AtomicUsize,
}

impl Outside {
    /// Dials in the way number `way`.
    pub(super) fn dial(self: &Arc<Self>, way: usize) -> Result<Conn> {
        let generation = self.generation.load(SeqCst);
        // Here another thread may come in between.
        thread::yield_now();
        match lock(&self.verdicts).pop_front() {
            Some(Verdict::Refuse) => return Err(Error::other("refused")),
            Some(Verdict::Panic) => resume_unwind(Box::new("a trap in the dial function")),
            None => {}
        }
        self.open.fetch_add(1, SeqCst);
        self.dialed.fetch_add(1, SeqCst);
        let says = Value::Int((way.max(1) * 100 + generation) as i64);
        let is_cut = Arc::default();
        Ok(Conn::new(Link { outside: Arc::clone(self), says, asked: false, is_open: true, is_cut }))
    }
}

/// True as often as the number says, which counts down.
fn happens(times: &AtomicUsize) -> bool {
    // No other thread of a model runs in between.
    let left = times.load(SeqCst);
    times.store(left.saturating_sub(1), SeqCst);
    left > 0
}

/// A connection that counts, and says when and how it was dialled.
struct Link {
    outside: Arc<Outside>,
    says: Value,
    asked: bool,
    is_open: bool,
    is_cut: Arc<AtomicBool>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

impl RawSend for Link {
    fn send(&mut self, command: &str, _: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        self.asked = command == "PING";
        Ok(())
    }

    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Ok(())
    }
}

impl RawReceive for Link {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        if self.is_cut.load(SeqCst) {
            return Err(Error::Canceled);
        }
        if self.asked {
            thread::yield_now();
            self.outside.pings.fetch_add(1, SeqCst);
            if happens(&self.outside.deaf) {
                return Err(Error::other("no answer"));
            }
        }
        Ok(self.says.clone())
    }

    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Ok(false)
    }
}

impl RawConn for Link {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        unreachable!("no model splits a connection")
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        let is_cut = Arc::clone(&self.is_cut);
        ShutdownHandle::new(move || is_cut.store(true, SeqCst))
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.outside.open.fetch_sub(1, SeqCst);
        }
    }
}

/// What the deeds are done to.
pub(super) struct World {
    pub(super) pool: Pool,
    pub(super) kind: Kind,
    pub(super) outside: Arc<Outside>,
    /// CheckoutInfo before the model begins, for those who give back.
    lent: Mutex<Vec<PooledConn>>,
    pub(super) may_close: AtomicBool,
    /// Whoever asks from now on gets nothing that was dialled before this generation, or in an older
    /// way than this one.
    pub(super) valid_from: AtomicUsize,
    pub(super) valid_way: AtomicUsize,
    /// How many were open when that was last looked at.
    last_open: model::Mutex<usize>,
    /// One at a time suspends the pool.
    pub(super) suspending: model::Mutex<()>,
}

impl World {
    pub(super) fn new(kind: Kind, max_active: usize, lent: usize, idle: usize) -> World {
        // What all pools share is made now: the checker takes it for poisoned when that happens while
        // any thread unwinds.
        upkeep::clock_was_set();
        let outside = Arc::new(Outside::default());
        let (server, tested) = (Arc::clone(&outside), Arc::clone(&outside));
        let test = move |_: &mut Conn, _| {
            if happens(&tested.unfit) {
                thread::yield_now();
                return Err(Error::other("it has died"));
            }
            Ok(())
        };
        let builder = Pool::builder_with(move |_: &Context| server.dial(0))
            .max_active(max_active)
            .wait(true)
            .idle_timeout(MINUTE)
            .test_on_borrow(test)
            .dial_backoff(SHORT, 2 * SHORT)
            .max_concurrent_dials(1);
        let builder = match kind {
            Kind::Plain => builder,
            Kind::Kept => builder.min_idle(1).keepalive(QUIET).background_prune(true),
            Kind::Watched => builder.leak_threshold(MINUTE).reclaim_leaked(true),
            Kind::Guarded => builder.breaker(1),
        };
        let pool = builder.build().expect("a pool");
        let mut borrowed: Vec<_> =
            (0..lent + idle).map(|_| pool.acquire().expect("a connection")).collect();
        borrowed.truncate(lent);
        World {
            pool,
            kind,
            outside,
            lent: Mutex::new(borrowed),
            may_close: AtomicBool::new(false),
            valid_from: AtomicUsize::new(0),
            valid_way: AtomicUsize::new(0),
            last_open: model::Mutex::new(max_active),
            suspending: model::Mutex::new(()),
        }
    }

    pub(super) fn take_lent(&self) -> PooledConn {
        lock(&self.lent).pop().expect("one that was lent before")
    }

    /// What must hold at each instant. It is about places: a connection that is on its way out has
    /// given up its own before its socket is closed, on the time of nobody who waits for it.
    pub(super) fn check(&self) -> PoolStats {
        let mut last_open = self.last_open.lock();
        let stats = self.pool.stats();
        assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing, "{stats:?}");
        // After the maximum was made smaller there may be more, but never more than before.
        let most = stats.max_active.expect("a maximum").max(*last_open);
        assert!(stats.open <= most, "{most} may be open: {stats:?}");
        assert!(
            stats.waiting == 0 || stats.idle == 0 || stats.suspended,
            "idle while somebody waits: {stats:?}"
        );
        *last_open = stats.open;
        stats
    }

    pub(super) fn resize(&self, size: usize) {
        let mut last_open = self.last_open.lock();
        self.pool.resize(size, size).expect("a size");
        *last_open = self.pool.stats().open;
    }

    /// Asks, and gives back what comes of it. What may fail besides is `may_fail`.
    pub(super) fn get(
        &self,
        ask: impl FnOnce(&Pool) -> Result<PooledConn>,
        may_fail: fn(&Error) -> bool,
    ) {
        let (from, way) = (self.valid_from.load(SeqCst), self.valid_way.load(SeqCst));
        let outcome = ask(&self.pool);
        self.check();
        match outcome {
            Ok(mut conn) => assert_of_use(&mut conn, from, way),
            Err(error) => assert!(self.may_fail(&error) || may_fail(&error), "{error:?}"),
        }
        self.check();
    }

    /// What may become of whoever asks, for what others do.
    fn may_fail(&self, error: &Error) -> bool {
        match error {
            Error::PoolClosed => self.may_close.load(SeqCst),
            Error::BreakerOpen(_) => self.kind == Kind::Guarded,
            // A dial fails one caller, whoever that is.
            error => ["refused", "panicked"].iter().any(|why| error.to_string().contains(why)),
        }
    }

    pub(super) fn close(&self) {
        self.may_close.store(true, SeqCst);
        self.pool.close();
    }

    /// Waits for what the pool's own threads do.
    fn until(&self, what: &str, holds: impl Fn(&PoolStats) -> bool) {
        for _ in 0..10_000 {
            if holds(&self.check()) {
                return;
            }
            thread::yield_now();
        }
        panic!("never: {what}: {:?}", self.pool.stats());
    }

    /// Everything comes to its end, and nothing is left.
    pub(super) fn end(self) {
        lock(&self.lent).clear();
        self.rest();
        match self.pool.is_closed() {
            true => assert_eq!(self.pool.stats().open, 0),
            false => self.works(),
        }
        let outside = Arc::clone(&self.outside);
        drop(self);
        // The pool's threads may be about to close one.
        while outside.open.load(SeqCst) > 0 {
            thread::yield_now();
        }
    }

    /// Nothing is out, and nobody waits.
    fn rest(&self) {
        self.until("nothing is out", |stats| {
            let open = self.outside.open.load(SeqCst);
            (stats.in_use, stats.dialing) == (0, 0) && open == stats.idle
        });
        assert_eq!(self.pool.stats().waiting, 0);
    }

    /// The next one can have all that there is, and what is due is done.
    fn works(&self) {
        lock(&self.outside.verdicts).clear();
        self.outside.deaf.store(0, SeqCst);
        self.outside.unfit.store(0, SeqCst);
        if self.kind == Kind::Kept {
            model::advance(2 * SHORT);
            self.until("one is kept ready", |stats| stats.idle >= 1);
            let heard = || self.outside.pings.load(SeqCst) + self.outside.dialed.load(SeqCst);
            let before = heard();
            model::advance(QUIET);
            self.until("the idle ones are asked", |_| heard() > before);
        }
        let most = self.pool.stats().max_active.expect("a maximum");
        loop {
            let all: Result<Vec<_>> = (0..most).map(|_| self.pool.acquire()).collect();
            match all {
                Ok(mut all) => {
                    let (from, way) = (self.valid_from.load(SeqCst), self.valid_way.load(SeqCst));
                    all.iter_mut().for_each(|conn| assert_of_use(conn, from, way));
                    break;
                }
                // It is closed again when its pause is over, whoever comes by.
                Err(Error::BreakerOpen(_)) if self.kind == Kind::Guarded => {
                    model::advance(2 * SHORT)
                }
                Err(error) => panic!("a place is lost: {error}"),
            }
            thread::yield_now();
        }
        self.rest();
    }
}

/// It was dialled in this generation or later, and in this way or a newer one.
fn assert_of_use(conn: &mut Conn, from: usize, way: usize) {
    match conn.query::<usize>("WHEN", ()) {
        Ok(says) => assert!(says % 100 >= from && says / 100 >= way, "{says}: it is of no use"),
        Err(error) => assert!(error.is_canceled(), "{error:?}"),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
