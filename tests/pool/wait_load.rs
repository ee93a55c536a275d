//! Many threads together, on fakes that fail in every way and on a real server that restarts. At the end
//! every connection is accounted for.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use redigo::{CancelHandle, CloseReason, Context, Dialer, Error, Pool, PoolStats, Result, check};

use crate::support::fake_conn::{FakeDialer, refused};
use crate::support::redis_server::RedisServer;
use crate::support::threads::{self, join_all, start};
use crate::support::wait::{PATIENCE, promptly, wait_until};

const THREADS: usize = 8;
const MAX_ACTIVE: usize = 5;

/// Random numbers that depend only on the seed.
struct Dice(u64);

impl Dice {
    fn new(seed: usize) -> Dice {
        Dice((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }

    fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.roll(most))
    }
}

/// A pool whose dials and tests fail or panic once in a while.
fn unreliable_pool(dialer: &FakeDialer) -> Pool {
    let (dialer, dials, tests) = (dialer.clone(), AtomicUsize::new(0), AtomicUsize::new(0));
    let options =
        Pool::builder_with(move |ctx| match Dice::new(dials.fetch_add(1, SeqCst)).roll(30) {
            0 => resume_unwind(Box::new("a trap in the dial function")),
            1..4 => Err(refused()),
            _ => dialer.dial(ctx),
        });
    let options = options.max_idle(3).max_active(MAX_ACTIVE).wait(true).max_concurrent_dials(3);
    let options = options.test_on_borrow(move |conn, _| {
        match Dice::new(tests.fetch_add(1, SeqCst)).roll(60) {
            0 => resume_unwind(Box::new("a trap in the test")),
            1..4 => Err(Error::other("the test failed")),
            _ => conn.call("PING", ()).map(drop),
        }
    });
    options.build().unwrap()
}

/// One thread that uses a pool in every way.
struct Borrower {
    pool: Pool,
    dice: Dice,
    /// The cancel handles of all borrowers; each can cancel the others.
    cancels: Arc<Mutex<Vec<CancelHandle>>>,
}

impl Borrower {
    fn new(pool: &Pool, seed: usize, cancels: &Arc<Mutex<Vec<CancelHandle>>>) -> Borrower {
        Borrower { pool: pool.clone(), dice: Dice::new(seed), cancels: Arc::clone(cancels) }
    }

    fn borrow(&mut self) -> Result<()> {
        let conn = match self.dice.roll(8) {
            0..2 => self.pool.acquire()?,
            2..5 => self.pool.get_timeout(self.dice.micros(300))?,
            5 => {
                let ctx = Context::background().with_timeout(self.dice.micros(300));
                self.pool.get_context(&ctx)?
            }
            _ => {
                let (ctx, cancel) = Context::background().with_cancel();
                self.cancels.lock().unwrap().push(cancel);
                self.pool.get_context(&ctx)?
            }
        };
        self.use_up(conn);
        Ok(())
    }

    fn use_up(&mut self, mut conn: redigo::PooledConn) {
        if self.dice.roll(4) == 0 {
            thread::yield_now();
        }
        match self.dice.roll(16) {
            0 => conn.discard(),
            1 => drop(conn.detach()),
            2 => drop(conn.call("ERR", "broken")),
            3 => {
                let _ = conn.call("ERR", "broken");
                let _ = conn.close();
            }
            4 => drop(conn.call("MULTI", ())),
            5 => {
                conn.call("WATCH", "key").unwrap();
                conn.close().unwrap();
            }
            6 => {
                let borrower = AssertUnwindSafe(move || {
                    let _conn = conn;
                    resume_unwind(Box::new("a trap in the borrower"))
                });
                let _: thread::Result<()> = catch_unwind(borrower);
            }
            7..10 => drop(conn),
            _ => {
                conn.call("PING", ()).unwrap();
                conn.close().unwrap();
            }
        }
        match self.dice.roll(6) {
            0 => drop(self.pool.prune()),
            1..4 => {
                let cancel = self.cancels.lock().unwrap().pop();
                cancel.into_iter().for_each(|cancel| cancel.cancel());
            }
            _ => check_bounds(&self.pool.stats()),
        }
    }
}

#[track_caller]
fn check_bounds(stats: &PoolStats) {
    assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing, "{stats:?}");
    assert!(stats.open <= stats.max_active.unwrap(), "{stats:?}");
    assert!(stats.waiting == 0 || stats.idle == 0, "{stats:?}");
}

/// Returns true when the pool's threads have no more work.
fn is_quiet(dialer: &FakeDialer, pool: &Pool) -> bool {
    let stats = pool.stats();
    (stats.dialing, stats.cleaning, dialer.open()) == (0, 0, stats.open)
}

/// After the last borrower, every dialed connection is idle or closed.
#[track_caller]
fn check_at_rest(dialer: &FakeDialer, pool: &Pool) {
    wait_until("the last dials and clean-ups end", || is_quiet(dialer, pool));
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.waiting, stats.open), (0, 0, stats.idle), "{stats:?}");
    let gone = stats.closed.total() + stats.detached;
    assert_eq!(stats.dialed.total() - gone, stats.open as u64, "{stats:?}");
    assert_eq!(
        (dialer.open(), dialer.dialed() as u64),
        (stats.open, stats.dialed.total()),
        "{stats:?}"
    );
}

#[test]
fn pool_under_random_load_accounts_for_every_connection() {
    const OPERATIONS: usize = 2000;
    let dialer = FakeDialer::new();
    let pool = unreliable_pool(&dialer);
    let cancels = Arc::default();
    let threads = (0..THREADS).map(|seed| {
        let mut borrower = Borrower::new(&pool, seed, &cancels);
        start(&pool, move |_| {
            let served = (0..OPERATIONS).filter(|_| borrower.borrow().is_ok());
            served.count()
        })
    });
    let threads: Vec<_> = threads.collect();
    let served: usize = join_all(threads).into_iter().sum();
    check_at_rest(&dialer, &pool);

    let stats = pool.stats();
    assert!(served > THREADS * OPERATIONS / 10, "only {served} were served: {stats:?}");
    for (what, times) in [
        ("wait_timeouts", stats.wait_timeouts),
        ("wait_cancels", stats.wait_cancels),
        ("dial_errors", stats.dial_errors),
        ("closed_test", stats.closed.of(CloseReason::Health)),
        ("closed_broken", stats.closed.of(CloseReason::Io)),
        ("discarded", stats.closed.of(CloseReason::Discarded)),
    ] {
        assert!(times > 0, "nothing was tried of {what}: {stats:?}");
    }
    // The pool still works.
    let conns: Vec<_> =
        std::iter::from_fn(|| Some(pool.acquire())).flatten().take(MAX_ACTIVE).collect();
    assert_eq!((pool.stats().in_use, dialer.open()), (MAX_ACTIVE, MAX_ACTIVE));
    drop(conns);
    pool.close();
    assert_eq!((pool.active_count(), dialer.open()), (0, 0));
}

#[test]
fn closing_under_load_leaves_no_connection_open() {
    for round in 0..60 {
        let dialer = FakeDialer::new();
        let pool = unreliable_pool(&dialer);
        let (cancels, served) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let threads = (0..THREADS).map(|seed| {
            let mut borrower = Borrower::new(&pool, THREADS * round + seed, &cancels);
            let served = Arc::clone(&served);
            start(&pool, move |_| {
                loop {
                    match borrower.borrow() {
                        Ok(()) => drop(served.fetch_add(1, SeqCst)),
                        Err(Error::PoolClosed) => break,
                        Err(_) => {}
                    }
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        wait_until("some are served", || served.load(SeqCst) > 4 * round);
        pool.close();
        join_all(threads);
        wait_until("the last dials and clean-ups end", || is_quiet(&dialer, &pool));
        let stats = pool.stats();
        assert_eq!((stats.open, stats.waiting, dialer.open()), (0, 0, 0), "{stats:?}");
    }
}

/// Samples a number of the server until it stops, and returns the highest.
fn sample(
    server: &RedisServer,
    mut number: impl FnMut(&mut redigo::Conn) -> usize + Send + 'static,
) -> impl FnOnce() -> usize {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut conn = Dialer::url(server.url()).unwrap().dial().unwrap();
    let sampler = thread::spawn(move || {
        let mut highest = 0;
        while !stopped.load(SeqCst) {
            highest = highest.max(number(&mut conn));
        }
        highest
    });
    move || {
        stop.store(true, SeqCst);
        threads::join(sampler)
    }
}

fn info(conn: &mut redigo::Conn, field: &str) -> usize {
    let info: String = conn.query("INFO", ()).unwrap();
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| *name == field).expect("a field of INFO").1.trim().parse().unwrap()
}

/// Five hundred threads ask an empty pool for a connection at the same moment.
fn cold_start(get: fn(&Pool) -> Result<redigo::PooledConn>) {
    const CALLERS: usize = 500;
    const MOST: usize = 32;
    let server = RedisServer::start();
    let named = Dialer::url(server.url()).unwrap().client_name("cold");
    let pool = Pool::builder(named).max_active(MOST).wait(true).build().unwrap();
    let mut control = Dialer::url(server.url()).unwrap().dial().unwrap();

    let most_named = sample(&server, |conn| {
        let clients: String = conn.query("CLIENT", "LIST").unwrap();
        clients.lines().filter(|line| line.contains(" name=cold ")).count()
    });
    let most_connected = sample(&server, |conn| info(conn, "connected_clients"));
    let others = info(&mut control, "connected_clients");
    let connections_before = info(&mut control, "total_connections_received");

    let gate = Arc::new(Barrier::new(CALLERS));
    let callers = (0..CALLERS).map(|_| {
        let (pool, gate) = (pool.clone(), Arc::clone(&gate));
        let caller = move || {
            gate.wait();
            let mut conn = get(&pool)?;
            for _ in 0..3 {
                conn.call("INCR", "served")?;
            }
            conn.close()
        };
        thread::Builder::new().stack_size(256 * 1024).spawn(caller).unwrap()
    });
    for outcome in join_all(callers.collect::<Vec<_>>()) {
        outcome.unwrap();
    }
    assert_eq!(control.query::<usize>("GET", "served").unwrap(), 3 * CALLERS);
    assert!(most_named() <= MOST);
    assert!(most_connected() <= MOST + others);
    let connections = info(&mut control, "total_connections_received") - connections_before;
    let stats = pool.stats();
    check_bounds(&stats);
    assert!(connections <= MOST, "{connections} connections: {stats:?}");
    assert_eq!((stats.in_use, stats.waiting, stats.dial_errors), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.hits + stats.misses, CALLERS as u64, "{stats:?}");
}

#[test]
fn cold_start_of_500_threads_dials_within_max_active() {
    cold_start(Pool::acquire);
}

#[test]
fn cold_start_of_500_threads_with_a_deadline() {
    cold_start(|pool| pool.get_timeout(PATIENCE));
}

#[test]
fn first_command_after_a_restart_succeeds() {
    let mut server = RedisServer::start();
    let options = Pool::builder(Dialer::url(server.url()).unwrap()).max_active(4);
    let pool = options.test_on_borrow(check::peek()).build().unwrap();
    for restart in [RedisServer::restart, |server: &mut RedisServer| {
        server.kill();
        server.restart();
    }] {
        let dials = pool.stats().dialed.total();
        let mut conns: [_; 4] = std::array::from_fn(|_| pool.acquire().unwrap());
        conns.iter_mut().for_each(|conn| drop(conn.call("PING", ()).unwrap()));
        assert_eq!(pool.stats().dialed.total(), if dials == 0 { 4 } else { dials + 3 });
        drop(conns);
        // The server closes its connections in the order in which they came, so this is the last.
        let mut last = Dialer::url(server.url()).unwrap().dial().unwrap();
        last.call("PING", ()).unwrap();
        restart(&mut server);
        promptly("the end of the last connection", || last.receive().unwrap_err());
        let mut conn = promptly("the first after a restart", || pool.acquire().unwrap());
        assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
        assert_eq!((pool.active_count(), pool.stats().closed.of(CloseReason::Health) % 4), (1, 0));
    }
}

#[test]
fn pool_under_load_recovers_from_a_restart() {
    let mut server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(PATIENCE);
    let options = Pool::builder(dialer).max_active(MAX_ACTIVE).wait(true);
    let pool = options.test_on_borrow(check::peek()).build().unwrap();
    let restarted = Arc::new(AtomicBool::new(false));
    let (served, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads = (0..THREADS).map(|_| {
        let (restarted, served, failed) =
            (Arc::clone(&restarted), Arc::clone(&served), Arc::clone(&failed));
        start(&pool, move |pool| {
            let use_once = || -> Result<()> {
                let mut conn = pool.get_timeout(PATIENCE)?;
                conn.call("INCR", "served")?;
                conn.close()
            };
            while !restarted.load(SeqCst) {
                match use_once() {
                    Ok(()) => served.fetch_add(1, SeqCst),
                    Err(_) => failed.fetch_add(1, SeqCst),
                };
            }
            (0..100).filter(|_| use_once().is_err()).count()
        })
    });
    let threads: Vec<_> = threads.collect();
    wait_until("the load is on", || served.load(SeqCst) > 500);
    server.kill();
    wait_until("the restart is noticed", || failed.load(SeqCst) > 0);
    server.restart();
    restarted.store(true, SeqCst);
    let failures: usize = join_all(threads).into_iter().sum();
    // New callers find a server. Only dials that were refused before can still fail, each for one
    // caller.
    assert!(failures <= MAX_ACTIVE, "{failures} failures after the restart");
    let stats = pool.stats();
    check_bounds(&stats);
    assert_eq!((stats.in_use, stats.waiting, stats.dialing), (0, 0, 0), "{stats:?}");
    assert!(stats.dial_errors > 0, "no dial failed: {stats:?}");
}
