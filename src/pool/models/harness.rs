//! A pool, its fake server, and the invariants of both.

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
use crate::pool::timer;
use crate::sync::model;
use crate::value::Value;

/// A short deadline, and the first pause after a failed dial.
pub(super) const SHORT: Duration = Duration::from_millis(10);
/// The keepalive time.
const QUIET: Duration = Duration::from_secs(30);
/// The idle timeout, and the leak threshold.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Longer than any model.
pub(super) const LONG: Duration = Duration::from_secs(1 << 20);

/// The options of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// None that needs a timer.
    Plain,
    /// `min_idle`, `keepalive` and `background_prune`.
    Maintained,
    /// `reclaim_leaked`.
    LeakCheck,
    /// `breaker`.
    Breaker,
}

pub(super) const KINDS: [Kind; 4] = [Kind::Plain, Kind::Maintained, Kind::LeakCheck, Kind::Breaker];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DialFault {
    Refuse,
    Panic,
    /// The dial takes a minute.
    Hang,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum CleanupFault {
    Error,
    Panic,
}

/// A server that counts.
#[derive(Default)]
pub(super) struct Server {
    /// Open connections.
    open: AtomicUsize,
    dialed: AtomicUsize,
    pings: AtomicUsize,
    /// How the next dials fail.
    pub(super) dial_faults: Mutex<VecDeque<DialFault>>,
    /// The number of hanging dials.
    pub(super) hanging: AtomicUsize,
    /// How the next clean-ups fail.
    pub(super) cleanup_faults: Mutex<VecDeque<CleanupFault>>,
    /// The number of pings that fail from now on.
    pub(super) failing_pings: AtomicUsize,
    /// The number of borrow tests that fail from now on.
    pub(super) failing_tests: AtomicUsize,
    /// The number of evictions.
    pub(super) generation: AtomicUsize,
}

impl Server {
    /// Dials as the dialer with this number.
    pub(super) fn dial(self: &Arc<Self>, dialer: usize) -> Result<Conn> {
        let generation = self.generation.load(SeqCst);
        // Another thread can run here.
        thread::yield_now();
        // A separate statement, so that the lock is not held during a fault.
        let fault = lock(&self.dial_faults).pop_front();
        match fault {
            Some(DialFault::Refuse) => return Err(Error::other("refused")),
            Some(DialFault::Panic) => resume_unwind(Box::new("planned, in the dial function")),
            Some(DialFault::Hang) => {
                self.hanging.fetch_add(1, SeqCst);
                let end = model::now() + MINUTE;
                while model::now() < end {
                    thread::yield_now();
                }
                self.hanging.fetch_sub(1, SeqCst);
            }
            None => {}
        }
        self.open.fetch_add(1, SeqCst);
        self.dialed.fetch_add(1, SeqCst);
        let answer = Value::Int((dialer.max(1) * 100 + generation) as i64);
        Ok(Conn::new(CountingConn {
            server: Arc::clone(self),
            answer,
            pinged: false,
            works: false,
            is_open: true,
            is_shut_down: Arc::default(),
        }))
    }
}

/// Counts down, and returns true until zero is reached.
fn count_down(times: &AtomicUsize) -> bool {
    // No other thread of the model runs between the two steps.
    let left = times.load(SeqCst);
    times.store(left.saturating_sub(1), SeqCst);
    left > 0
}

/// A connection that the server counts. It answers with its dialer and generation.
struct CountingConn {
    server: Arc<Server>,
    answer: Value,
    pinged: bool,
    /// The reply takes time.
    works: bool,
    is_open: bool,
    is_shut_down: Arc<AtomicBool>,
}

impl Drop for CountingConn {
    fn drop(&mut self) {
        self.close();
    }
}

impl RawSend for CountingConn {
    fn send(&mut self, command: &str, _: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        self.pinged = command == "PING";
        self.works = command == "WORK";
        Ok(())
    }

    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Ok(())
    }
}

impl RawReceive for CountingConn {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        if self.is_shut_down.load(SeqCst) {
            return Err(Error::Canceled);
        }
        if self.pinged {
            thread::yield_now();
            self.server.pings.fetch_add(1, SeqCst);
            if count_down(&self.server.failing_pings) {
                return Err(Error::other("no answer"));
            }
        }
        if self.works {
            thread::yield_now();
            match lock(&self.server.cleanup_faults).pop_front() {
                Some(CleanupFault::Error) => return Err(Error::other("no answer")),
                Some(CleanupFault::Panic) => resume_unwind(Box::new("planned, in a clean-up")),
                None => {}
            }
        }
        Ok(self.answer.clone())
    }

    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Ok(false)
    }
}

impl RawConn for CountingConn {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        unreachable!("no model splits a connection")
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        let is_shut_down = Arc::clone(&self.is_shut_down);
        ShutdownHandle::new(move || {
            // Another thread can run before the connection is cut.
            thread::yield_now();
            is_shut_down.store(true, SeqCst);
        })
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.server.open.fetch_sub(1, SeqCst);
        }
    }
}

/// The pool of a model.
pub(super) struct Harness {
    pub(super) pool: Pool,
    pub(super) kind: Kind,
    pub(super) server: Arc<Server>,
    /// Connections in use at the start.
    borrowed: Mutex<Vec<PooledConn>>,
    pub(super) may_close: AtomicBool,
    /// New callers get no connection of an older generation.
    pub(super) valid_generation: AtomicUsize,
    /// New callers get no connection of an older dialer.
    pub(super) valid_dialer: AtomicUsize,
    /// The number of open connections at the last check.
    last_open: model::Mutex<usize>,
    /// Held by the thread that suspends the pool.
    pub(super) suspending: model::Mutex<()>,
}

impl Harness {
    pub(super) fn new(kind: Kind, max_active: usize, borrowed: usize, idle: usize) -> Harness {
        // Creates the shared statics now: created during an unwind, they would count as poisoned.
        timer::clocks_changed();
        let server = Arc::new(Server::default());
        let (dialed, tested) = (Arc::clone(&server), Arc::clone(&server));
        let test = move |_: &mut Conn, _| {
            if count_down(&tested.failing_tests) {
                thread::yield_now();
                return Err(Error::other("the test fails"));
            }
            Ok(())
        };
        let builder = Pool::builder_with(move |_: &Context| dialed.dial(0))
            .max_active(max_active)
            .wait(true)
            .idle_timeout(MINUTE)
            .test_on_borrow(test)
            .dial_backoff(SHORT, 2 * SHORT)
            .max_concurrent_dials(1);
        let builder = match kind {
            Kind::Plain => builder,
            Kind::Maintained => builder.min_idle(1).keepalive(QUIET).background_prune(true),
            Kind::LeakCheck => builder.leak_threshold(MINUTE).reclaim_leaked(true),
            Kind::Breaker => builder.breaker(1),
        };
        let pool = builder.build().expect("a pool");
        let mut conns: Vec<_> =
            (0..borrowed + idle).map(|_| pool.acquire().expect("a connection")).collect();
        conns.truncate(borrowed);
        Harness {
            pool,
            kind,
            server,
            borrowed: Mutex::new(conns),
            may_close: AtomicBool::new(false),
            valid_generation: AtomicUsize::new(0),
            valid_dialer: AtomicUsize::new(0),
            last_open: model::Mutex::new(max_active),
            suspending: model::Mutex::new(()),
        }
    }

    pub(super) fn take_borrowed(&self) -> PooledConn {
        lock(&self.borrowed).pop().expect("a connection in use")
    }

    /// Checks the invariants of slots. A closing connection frees its slot before its socket is closed,
    /// so that no waiter waits for that.
    pub(super) fn check(&self) -> PoolStats {
        let mut last_open = self.last_open.lock();
        let stats = self.pool.stats();
        assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing, "{stats:?}");
        // After a shrink more can be open, but never more than before.
        let most = stats.max_active.expect("a maximum").max(*last_open);
        assert!(stats.open <= most, "more than {most} are open: {stats:?}");
        assert!(
            stats.waiting == 0 || stats.idle == 0 || stats.suspended,
            "a connection is idle while a caller waits: {stats:?}"
        );
        *last_open = stats.open;
        stats
    }

    pub(super) fn resize(&self, size: usize) {
        let mut last_open = self.last_open.lock();
        self.pool.resize(size, size).expect("a size");
        *last_open = self.pool.stats().open;
    }

    /// Checks a connection out and returns it. The checkout can also fail as in `may_fail`.
    pub(super) fn get(
        &self,
        check_out: impl FnOnce(&Pool) -> Result<PooledConn>,
        may_fail: fn(&Error) -> bool,
    ) {
        let (generation, dialer) =
            (self.valid_generation.load(SeqCst), self.valid_dialer.load(SeqCst));
        let outcome = check_out(&self.pool);
        self.check();
        match outcome {
            Ok(mut conn) => self.assert_valid(&mut conn, generation, dialer),
            Err(error) => assert!(self.others_can_cause(&error) || may_fail(&error), "{error:?}"),
        }
        self.check();
    }

    /// Whether another thread's operation can cause this error.
    fn others_can_cause(&self, error: &Error) -> bool {
        match error {
            Error::PoolClosed => self.may_close.load(SeqCst),
            Error::BreakerOpen(_) => self.kind == Kind::Breaker,
            // A failed dial can fail another caller.
            error => ["refused", "panicked"].iter().any(|why| error.to_string().contains(why)),
        }
    }

    pub(super) fn close(&self) {
        self.may_close.store(true, SeqCst);
        self.pool.close();
    }

    /// Waits for the pool's threads.
    fn until(&self, what: &str, holds: impl Fn(&PoolStats) -> bool) {
        for _ in 0..10_000 {
            if holds(&self.check()) {
                return;
            }
            thread::yield_now();
        }
        panic!("never: {what}: {:?}", self.pool.stats());
    }

    /// Ends all borrows and checks that no connection is left.
    pub(super) fn end(self) {
        lock(&self.borrowed).clear();
        self.rest();
        match self.pool.is_closed() {
            true => assert_eq!(self.pool.stats().open, 0),
            false => self.check_that_it_works(),
        }
        let server = Arc::clone(&self.server);
        drop(self);
        // The pool's threads can still be closing one.
        while server.open.load(SeqCst) > 0 {
            thread::yield_now();
        }
    }

    /// Waits until no connection is in use or dialing.
    fn rest(&self) {
        self.until("no connection is in use", |stats| {
            let open = self.server.open.load(SeqCst);
            (stats.in_use, stats.dialing) == (0, 0) && open == stats.idle
        });
        assert_eq!(self.pool.stats().waiting, 0);
    }

    /// Checks that all slots can be used and that maintenance runs.
    fn check_that_it_works(&self) {
        lock(&self.server.dial_faults).clear();
        self.server.failing_pings.store(0, SeqCst);
        self.server.failing_tests.store(0, SeqCst);
        if self.kind == Kind::Maintained {
            model::advance(2 * SHORT);
            self.until("min_idle is kept", |stats| stats.idle >= 1);
            let heard = || self.server.pings.load(SeqCst) + self.server.dialed.load(SeqCst);
            let before = heard();
            model::advance(QUIET);
            self.until("idle connections are pinged", |_| heard() > before);
        }
        let most = self.pool.stats().max_active.expect("a maximum");
        loop {
            let all: Result<Vec<_>> = (0..most).map(|_| self.pool.acquire()).collect();
            match all {
                Ok(mut all) => {
                    let (generation, dialer) =
                        (self.valid_generation.load(SeqCst), self.valid_dialer.load(SeqCst));
                    all.iter_mut().for_each(|conn| self.assert_valid(conn, generation, dialer));
                    break;
                }
                // A probe closes the breaker after the pause.
                Err(Error::BreakerOpen(_)) if self.kind == Kind::Breaker => {
                    model::advance(2 * SHORT)
                }
                Err(error) => panic!("a slot is lost: {error}"),
            }
            thread::yield_now();
        }
        self.rest();
    }

    /// Checks that the connection is of this generation and dialer or newer ones, and works. It can be
    /// reclaimed or aborted, but not shut down through the handle of an earlier borrower.
    fn assert_valid(&self, conn: &mut Conn, generation: usize, dialer: usize) {
        let may_be_canceled = self.kind == Kind::LeakCheck || self.may_close.load(SeqCst);
        match conn.query::<usize>("WHEN", ()) {
            Ok(answer) => {
                assert!(answer % 100 >= generation && answer / 100 >= dialer, "{answer}: outdated");
            }
            Err(error) => assert!(error.is_canceled() && may_be_canceled, "{error:?}"),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
