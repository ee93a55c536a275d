//! The upkeep thread: one for all pools, and only while an option needs it. A single test, because it
//! counts the threads of the process.

// It finds the threads in /proc.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use redigo::Pool;
use redigo::testing::ManualClock;

mod support;

use support::fake_conn::FakeDialer;
use support::wait::wait_until;

fn threads_named(name: &str) -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread that ends meanwhile has no name.
    let names = threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
    names.filter(|comm| comm.trim_end() == name).count()
}

fn upkeep_threads() -> usize {
    threads_named("redigo-upkeep")
}

/// A thread gets its name only when it begins to run.
fn wait_for_the_thread() {
    wait_until("there is a thread", || upkeep_threads() > 0);
    assert_eq!(upkeep_threads(), 1);
}

/// A pool with an upkeep task: it closes a connection after an hour.
fn pool_in_need(dialer: &FakeDialer) -> Pool {
    let hour = Duration::from_secs(3600);
    let pool = dialer.pool().idle_timeout(hour).background_prune(true).build().unwrap();
    drop(pool.acquire().unwrap());
    pool
}

/// Otherwise regular pings would keep a thread of each pool alive.
fn many_pools_share_one_thread(dialer: &FakeDialer) {
    let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
    let pools: Vec<_> = (0..100)
        .map(|_| dialer.pool().keepalive(second).clock(clock.clone()).build().unwrap())
        .collect();
    pools.iter().for_each(|pool| drop(pool.acquire().unwrap()));
    let pings = || dialer.commands().iter().filter(|command| *command == "PING").count();
    // The threads that have dialed end after five seconds.
    let (mut rounds, mut last) = (0, Instant::now());
    wait_until("only the upkeep thread is left", || {
        if pings() < rounds * pools.len() {
            return false;
        }
        if rounds > 3 && threads_named("redigo-dial") <= 3 {
            return true;
        }
        // Threads that have just pinged end meanwhile; others would wait for 5 seconds.
        if last.elapsed() > second / 2 {
            rounds += 1;
            clock.advance(second);
            last = Instant::now();
        }
        false
    });
    assert_eq!(upkeep_threads(), 1);
    drop(pools);
    wait_until("the thread ends", || upkeep_threads() <= 1);
}

#[test]
fn upkeep_thread_exists_only_while_a_pool_needs_it() {
    let dialer = FakeDialer::new();
    let plain = dialer.pool().idle_timeout(Duration::from_secs(1)).max_active(2).build().unwrap();
    drop(plain.acquire().unwrap());
    assert_eq!(upkeep_threads(), 0, "no pool needs one");
    wait_until("the dial thread ends", || threads_named("redigo-dial") == 0);

    for round in 1..=3 {
        let pools: Vec<_> = (0..10).map(|_| pool_in_need(&dialer)).collect();
        wait_for_the_thread();
        assert_eq!(dialer.open(), 11, "round {round}");
        let mut left = pools.into_iter();
        let last = left.next_back().unwrap();
        // Some pools are closed, some dropped; the thread keeps none of them alive.
        left.by_ref().take(4).for_each(|pool| pool.close());
        drop(left);
        assert_eq!((upkeep_threads(), dialer.open()), (1, 2));
        drop(last);
        assert_eq!(dialer.open(), 1);
        wait_until("the thread ends with the last pool", || upkeep_threads() == 0);
    }

    // The thread also ends after the last task.
    let clock = ManualClock::new();
    let second = Duration::from_secs(1);
    let options = dialer.pool().idle_timeout(second).background_prune(true).clock(clock.clone());
    let pool = options.build().unwrap();
    assert_eq!(upkeep_threads(), 0, "no task is scheduled");
    drop(pool.acquire().unwrap());
    wait_for_the_thread();
    clock.advance(2 * second);
    wait_until("the task is done", || pool.active_count() == 0 && upkeep_threads() == 0);
    drop(pool.acquire().unwrap());
    wait_for_the_thread();

    many_pools_share_one_thread(&dialer);

    // A connection in use keeps neither the pool open nor the thread alive.
    let conn = pool.acquire().unwrap();
    drop(pool);
    wait_until("the thread ends", || upkeep_threads() == 0);
    drop(conn);
    assert_eq!((dialer.open(), upkeep_threads()), (1, 0));
    drop(plain);
}
