//! Many threads under random faults of the network and the server. Every command carries a nonce,
//! and every reply is checked against it.
//!
//! With the other tests it runs a few seconds; `make soak` runs a minute, or `SOAK_SECONDS`. The
//! faults come from a seed, which is printed and can be set with `SOAK_SEED`. The order of the
//! threads also depends on the system's scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redigo::{Dialer, Mux, Pool, check};

mod chaos;
#[path = "../support/memory.rs"]
mod memory;
mod resources;
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod worker;

use chaos::Chaos;
use resources::Resources;
use tally::Tally;
use worker::{Site, Worker};

use support::redis_server::RedisServer;
use support::wait;

const THREADS: u64 = 32;
pub(crate) const MAX_ACTIVE: usize = 16;
/// How long the throughput is measured before and after the faults.
const CALM: Duration = Duration::from_secs(1);
/// The part of the earlier throughput that counts as recovered, since measurements vary.
const FULL: f64 = 0.75;
/// The timeout of one reply, one dial or one cleanup.
pub(crate) const LIMIT: Duration = Duration::from_millis(250);
/// How late a deadline may be noticed on a busy machine.
const GRACE: Duration = Duration::from_secs(5);

#[test]
fn soak() {
    let asked = std::env::var("SOAK_SECONDS").ok().map(|text| {
        text.parse().unwrap_or_else(|_| panic!("SOAK_SECONDS={text:?} is not a number of seconds"))
    });
    let seed = match std::env::var("SOAK_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("SOAK_SEED={text:?} is not a number")),
        Err(_) => {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64)
        }
    };
    println!("seed {seed}");
    let server = RedisServer::start();
    let before = Resources::now();
    run(server, asked.unwrap_or(3), asked.is_some(), seed);
    // The server's process has ended, and its resources in this process are released.
    before.wait_until_back();
}

fn run(server: RedisServer, seconds: u64, is_strict: bool, seed: u64) {
    let mut chaos = Chaos::new(server, seed);
    let dialer = |address: String| {
        Dialer::tcp(address).connect_timeout(LIMIT).read_timeout(LIMIT).write_timeout(LIMIT)
    };
    // The name makes the dial send a command, so that dials can fail. Not behind the repeater: a
    // repeated reply to the dial would be taken for the first command's.
    let named = || dialer(chaos.proxy.address()).client_name("soak");
    let pool = |dialer: Dialer| {
        Pool::builder(dialer)
            .max_active(MAX_ACTIVE)
            .wait(true)
            .max_conn_lifetime(Duration::from_secs(2))
            .cleanup_timeout(LIMIT)
    };
    // All background options of a pool.
    let busy = pool(named())
        .min_idle(2)
        .peek_after(Duration::from_millis(20))
        .keepalive(Duration::from_millis(100))
        .max_conn_lifetime_jitter(Duration::from_secs(1))
        .background_prune(true)
        .dial_retries(1)
        .dial_backoff(Duration::from_millis(5), Duration::from_millis(100))
        .breaker(3)
        .leak_threshold(2 * LIMIT)
        .reclaim_leaked(true);
    // Only a peek at each checkout sees a repeated reply.
    let echoing = pool(dialer(chaos.repeater.address())).test_on_borrow(check::peek());
    let site = Arc::new(Site {
        pool: busy.build().unwrap(),
        echoing: echoing.build().unwrap(),
        mux: Mux::new(named()),
        tally: Tally::default(),
        is_over: AtomicBool::new(false),
    });
    let mut threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let mut worker = Worker::new(number, seed, Arc::clone(&site));
            thread::spawn(move || worker.run())
        })
        .collect();
    let watched = Arc::clone(&site);
    threads.push(thread::spawn(move || watch(&watched)));

    thread::sleep(CALM);
    let at_first = site.tally.rate(CALM);
    let end = Instant::now() + Duration::from_secs(seconds);
    // Every event at least once, however short the time.
    while Instant::now() < end || chaos.rounds() == 0 {
        chaos.strike(&site);
    }
    let faults = chaos.calm_down();
    let calm = Instant::now();
    // Time for running calls to end. After it, no call may fail.
    thread::sleep(if is_strict { Duration::from_secs(2) } else { CALM + LIMIT });
    let recovered = site.tally.last_failure().map_or(Duration::ZERO, |at| at.duration_since(calm));
    // Measured again on a busy machine.
    let mut at_last = site.tally.rate(CALM);
    for _ in 0..10 {
        if is_strict && at_last <= FULL * at_first {
            at_last = site.tally.rate(CALM);
        }
    }
    site.is_over.store(true, SeqCst);
    for thread in threads {
        thread.join().unwrap();
    }
    println!("{faults}");
    println!("{}", site.tally);
    println!("recovered {recovered:?} after the last fault");
    println!("replies a second: {at_first:.0} before the faults, {at_last:.0} after");

    assert_eq!(site.tally.mismatches(), Vec::<String>::new(), "seed {seed}");
    assert!(site.tally.slowest() < LIMIT * 8 + GRACE, "a call ended long after its deadline");
    let allowed = if is_strict { Duration::from_secs(2) } else { GRACE };
    assert!(recovered <= allowed, "still failing {recovered:?} after the last fault, seed {seed}");
    if is_strict {
        assert!(at_last > FULL * at_first, "the throughput did not recover, seed {seed}");
    }
    for (name, pool) in [("pool", &site.pool), ("echoing pool", &site.echoing)] {
        check_counters(name, pool);
    }
    site.mux.close();
}

/// Checks that the counters of an unused pool add up.
fn check_counters(name: &str, pool: &Pool) {
    let mut stats = pool.stats();
    wait::wait_until("the last dial and the last ping end", || {
        stats = pool.stats();
        (stats.dialing, stats.in_use) == (0, 0)
    });
    println!("{name}: {stats:?}");
    assert_eq!((stats.waiting, stats.open), (0, stats.idle), "{stats:?}");
    let closed = stats.closed.total() + stats.detached;
    assert_eq!(stats.dialed.total(), closed + stats.open as u64, "{name}: {stats:?}");
    let report = pool.close_and_wait(GRACE);
    assert_eq!((report.aborted, pool.active_count()), (0, 0), "{name}: {report}");
}

/// Checks the invariants of the pools every millisecond.
fn watch(site: &Site) {
    while !site.is_over.load(SeqCst) {
        for pool in [&site.pool, &site.echoing] {
            let stats = pool.stats();
            if stats.open != stats.idle + stats.in_use + stats.dialing || stats.open > MAX_ACTIVE {
                site.tally.mismatch(format!("the counters: {stats:?}"));
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}
