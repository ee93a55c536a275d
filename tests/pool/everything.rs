//! All options together, on fakes that fail in every way, used by many threads while the pool is
//! resized, suspended and evicted and its clock jumps. At the end every connection is accounted for;
//! the core checks itself after each event.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use redigo::testing::ManualClock;
use redigo::{Context, Error, Pool, PooledConn, Result};

use crate::support::fake_conn::{FakeDialer, refused};
use crate::support::threads::{join, join_all, start};
use crate::support::wait::{MILLI, PATIENCE, SECOND, promptly, wait_until};

const THREADS: usize = 8;
const OPERATIONS: usize = 1000;
const MOST: usize = 6;

/// Random numbers that depend only on the seed.
struct Dice(u64);

impl Dice {
    fn new(seed: usize) -> Dice {
        Dice((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % sides
    }
}

/// Fails or panics once in a while.
fn moody(one_in: usize) -> impl Fn() -> Result<()> + Send + Sync {
    let calls = AtomicUsize::new(0);
    move || match Dice::new(calls.fetch_add(1, SeqCst)).roll(one_in) {
        0 => resume_unwind(Box::new("a trap")),
        1 | 2 => Err(refused()),
        _ => Ok(()),
    }
}

struct World {
    dialer: FakeDialer,
    pool: Pool,
    clock: ManualClock,
    /// How often `on_close` was called.
    told: Arc<AtomicU64>,
}

fn world() -> World {
    let (dialer, clock, told) = (FakeDialer::new(), ManualClock::new(), Arc::default());
    let (dials, dials_with) = (dialer.clone(), moody(20));
    let (on_dial, on_borrow, on_return) = (moody(60), moody(60), moody(60));
    let (tests, counter) = (moody(60), Arc::<AtomicU64>::clone(&told));
    let options = Pool::builder_with(move |ctx| dials_with().and_then(|()| dials.dial(ctx)))
        .max_active(MOST)
        .max_idle(4)
        .min_idle(2)
        .wait(true)
        .max_waiters(6)
        .idle_timeout(10 * SECOND)
        .max_conn_lifetime(60 * SECOND)
        .max_conn_lifetime_jitter(20 * SECOND)
        .background_prune(true)
        .peek_after(SECOND)
        .keepalive(3 * SECOND)
        .cleanup_timeout(5 * MILLI)
        .max_concurrent_dials(3)
        .dial_retries(1)
        .dial_backoff(MILLI, 4 * MILLI)
        .breaker(6)
        .leak_threshold(20 * SECOND)
        .reclaim_leaked(true)
        .detect_deadlock(true)
        .test_on_borrow(move |_, _| tests())
        .on_dial(move |_| on_dial())
        .on_borrow(move |_| on_borrow())
        .on_return(move |_| on_return())
        .on_close(move |_| {
            counter.fetch_add(1, SeqCst);
        });
    let pool = options.clock(clock.clone()).build().unwrap();
    World { dialer, pool, clock, told }
}

fn borrow(pool: &Pool, dice: &mut Dice) -> Result<PooledConn> {
    let time = dice.roll(300) as u32 * Duration::from_micros(1);
    match dice.roll(4) {
        0 => pool.acquire(),
        1 => pool.get_context(&Context::background().with_timeout(time)),
        2 => {
            let (ctx, cancel) = Context::background().with_cancel();
            let conn = pool.get_context(&ctx);
            cancel.cancel();
            conn
        }
        _ => pool.get_timeout(time),
    }
}

fn use_up(mut conn: PooledConn, dice: &mut Dice) {
    if dice.roll(3) == 0 {
        thread::yield_now();
    }
    match dice.roll(20) {
        0 => conn.discard(),
        1 => drop(conn.detach()),
        2 => drop(conn.call("ERR", "broken")),
        3 => drop(conn.call("FAIL", "LOADING")),
        4 => drop(conn.call("MULTI", ())),
        5 => {
            let _ = conn.call("WATCH", "key");
            let _ = conn.close();
        }
        6 => {
            let borrower = AssertUnwindSafe(move || {
                let _conn = conn;
                resume_unwind(Box::new("a trap in the borrower"))
            });
            let _: thread::Result<()> = catch_unwind(borrower);
        }
        7 => {
            let _ = conn.call("SILENT", ()).is_err() || conn.close().is_ok();
        }
        _ => drop(conn.call("PING", ()).and_then(|_| conn.close())),
    }
}

/// Holds a connection and sometimes asks for a second, with a time limit.
fn borrower(pool: &Pool, dice: &mut Dice) {
    for _ in 0..OPERATIONS {
        let Ok(conn) = borrow(pool, dice) else { continue };
        if dice.roll(10) == 0 {
            drop(pool.get_timeout(MILLI));
        }
        use_up(conn, dice);
    }
}

/// Changes the pool while it is in use.
fn disturb(world: &World, dice: &mut Dice) {
    let World { dialer, pool, clock, .. } = world;
    match dice.roll(10) {
        0 => pool.evict_all(),
        1 => pool.resize(2 + dice.roll(MOST - 1), 2 + dice.roll(3)).unwrap(),
        2 => {
            pool.suspend();
            thread::sleep(dice.roll(3) as u32 * MILLI);
            pool.resume();
        }
        3 => drop(pool.prune()),
        4 => drop(pool.warm_up(2, MILLI)),
        5 => dialer.hang_up(),
        6 => {
            assert!(pool.outstanding().len() <= THREADS * 2);
        }
        _ => clock.advance(dice.roll(5000) as u32 * MILLI),
    }
    let stats = pool.stats();
    assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing, "{stats:?}");
    assert!(stats.open <= MOST, "{stats:?}");
    thread::sleep(MILLI / 2);
}

#[test]
fn all_options_under_chaos_account_for_every_connection() {
    let world = Arc::new(world());
    let pool = world.pool.clone();
    let threads =
        (0..THREADS).map(|seed| start(&pool, move |pool| borrower(&pool, &mut Dice::new(seed))));
    let threads: Vec<_> = threads.collect();
    let done = Arc::<AtomicBool>::default();
    let (stop, disturbed) = (Arc::clone(&done), Arc::clone(&world));
    let disturber = thread::spawn(move || {
        let mut dice = Dice::new(THREADS);
        while !stop.load(SeqCst) {
            disturb(&disturbed, &mut dice);
        }
    });
    // A connection without an answer is reclaimed as a leak.
    wait_until("all threads have ended", || threads.iter().all(|thread| thread.is_finished()));
    join_all(threads);
    done.store(true, SeqCst);
    join(disturber);

    pool.resize(MOST, 4).unwrap();
    wait_until("the pool is at rest", || {
        // Past the pauses between dials for min_idle.
        world.clock.advance(MILLI);
        let stats = pool.stats();
        stats.idle >= 2 && (stats.in_use, stats.dialing, stats.waiting) == (0, 0, 0)
    });
    promptly("the last dials and closes", || {
        wait_until("the counts agree", || world.dialer.open() == pool.stats().open);
    });
    pool.close();
    let stats = pool.stats();
    assert_eq!((stats.open, world.dialer.open()), (0, 0), "{stats:?}");
    assert_eq!(stats.dialed.total(), stats.closed.total() + stats.detached, "{stats:?}");
    // Except connections that were detached after they were reclaimed.
    let told = world.told.load(SeqCst);
    assert!(told <= stats.closed.total() && told > 0, "{told}: {stats:?}");
    assert!(pool.outstanding().is_empty());
    assert!(matches!(pool.acquire(), Err(Error::PoolClosed)));
    assert!(pool.get_timeout(PATIENCE).is_err());
}
