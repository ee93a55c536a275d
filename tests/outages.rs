//! A thousand threads and a server that freezes or stops: every checkout ends in time, the pool
//! never opens too many connections, and afterwards everything works again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redigo::{Dialer, Error, Pool, Result};

mod support;

use support::redis_server::RedisServer;
use support::threads::{join, join_all, start};
use support::wait::{MILLI, PATIENCE, alone, wait_until};

const MAX_ACTIVE: usize = 16;
/// How long each thread waits for a connection.
const LIMIT: Duration = Duration::from_millis(250);

/// Many threads that use a pool until [`Load::end`].
struct Load {
    pool: Pool,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Duration>>>,
}

impl Load {
    fn start(pool: &Pool, threads: usize) -> Load {
        let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let caller = || {
            let (pool, stop, served) = (pool.clone(), Arc::clone(&stop), Arc::clone(&served));
            let caller = move || {
                let mut late = Vec::new();
                while !stop.load(SeqCst) {
                    let began = Instant::now();
                    let conn = pool.get_timeout(LIMIT);
                    // How much later than its limit the checkout ended.
                    late.extend(began.elapsed().checked_sub(LIMIT));
                    let used = conn.and_then(|mut conn| {
                        conn.call("INCR", "served")?;
                        conn.close()
                    });
                    match used {
                        Ok(()) => drop(served.fetch_add(1, SeqCst)),
                        // A pause, so that immediate refusals do not make a busy loop.
                        Err(Error::BreakerOpen(_) | Error::Io(_)) => thread::sleep(5 * MILLI),
                        Err(_) => {}
                    }
                }
                late
            };
            thread::Builder::new().stack_size(256 * 1024).spawn(caller).unwrap()
        };
        let threads = (0..threads).map(|_| caller()).collect();
        Load { pool: pool.clone(), stop, served, threads }
    }

    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }

    /// Measures the served calls per second, for this time.
    fn rate(&self, time: Duration) -> f64 {
        let (began, before) = (Instant::now(), self.served());
        thread::sleep(time);
        (self.served() - before) as f64 / began.elapsed().as_secs_f64()
    }

    /// Stops the threads and returns how late the late checkouts were, sorted.
    fn end(self) -> Vec<Duration> {
        self.stop.store(true, SeqCst);
        let mut late: Vec<_> = join_all(self.threads).into_iter().flatten().collect();
        late.sort();
        let stats = self.pool.stats();
        assert_eq!((stats.in_use, stats.waiting), (0, 0), "{stats:?}");
        late
    }
}

/// Counts this program's sockets, connected or connecting, which are all connections of the pool. A
/// frozen server cannot report its clients.
fn sockets() -> usize {
    let look = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        // Ignores a descriptor that was closed in the meantime.
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    // The listing is not atomic, so it can count both a closed socket and its successor. Twice in a
    // row is unlikely.
    look().min(look())
}

/// Checks the pool and its connections every millisecond. The returned function stops it and
/// returns the number of checks and the highest number of connections.
fn watch(pool: &Pool) -> impl FnOnce() -> (usize, usize) {
    let stop = Arc::<AtomicBool>::default();
    let stopped = Arc::clone(&stop);
    let watcher = start(pool, move |pool| {
        let (mut looks, mut most) = (0, 0);
        while !stopped.load(SeqCst) {
            let stats = pool.stats();
            assert!(stats.open <= MAX_ACTIVE, "{stats:?}");
            assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing, "{stats:?}");
            most = most.max(sockets());
            looks += 1;
            thread::sleep(MILLI);
        }
        (looks, most)
    });
    move || {
        stop.store(true, SeqCst);
        join(watcher)
    }
}

fn to(server: &RedisServer) -> Dialer {
    let dialer = Dialer::url(server.url()).unwrap().connect_timeout(500 * MILLI);
    dialer.read_timeout(500 * MILLI).write_timeout(500 * MILLI)
}

/// The bounds here only detect defects, because the machine may be busy. The figures are printed.
#[test]
fn server_frozen_for_five_seconds() {
    let _alone = alone();
    let server = RedisServer::start();
    let options = Pool::builder(to(&server)).max_active(MAX_ACTIVE).wait(true);
    let pool = options.build().unwrap();
    let watched = watch(&pool);
    let load = Load::start(&pool, 1000);
    wait_until("the load is on", || load.served() > 5000);
    let before = load.rate(500 * MILLI);

    server.freeze();
    thread::sleep(Duration::from_secs(5));
    let stuck = load.served();
    thread::sleep(50 * MILLI);
    assert_eq!(load.served(), stuck, "a frozen server serves no call");
    server.thaw();
    let thawed = Instant::now();
    // Half of the rate, because the machine may be slower now.
    wait_until("the rate is back", || load.rate(100 * MILLI) > before / 2.0);
    let recovered = thawed.elapsed();

    let late = load.end();
    let (looks, most) = watched();
    let beyond = late.iter().filter(|late| **late > 50 * MILLI).count();
    println!(
        "{before:.0} served a second before; the rate was back {recovered:.1?} after the thaw; {} \
         checkouts were late, at most by {:.1?}, {beyond} by more than 50 ms; at most {most} \
         connections in {looks} checks",
        late.len(),
        late.last().copied().unwrap_or_default(),
    );
    assert!(late.len() > 1000, "no checkout timed out");
    // The promise is 50 ms; a thousand threads on a busy machine exceed it by far.
    assert!(late.iter().all(|late| *late < 2000 * MILLI), "{:?}", late.last());
    assert!(recovered < Duration::from_secs(5), "{recovered:?}");
    assert!(looks > 100 && most <= MAX_ACTIVE, "{most} connections");
}

/// With an open breaker no caller waits, and dials are rare.
#[test]
fn server_killed_under_load_with_a_breaker() {
    let _alone = alone();
    let mut server = RedisServer::start();
    let options = Pool::builder(to(&server)).max_active(MAX_ACTIVE).wait(true);
    let pool = options.breaker(5).dial_backoff(10 * MILLI, 50 * MILLI).build().unwrap();
    let load = Load::start(&pool, 200);
    wait_until("the load is on", || load.served() > 2000);
    server.kill();
    wait_until("the breaker is open", || pool.stats().breaker_refusals > 1000);
    let stats = pool.stats();
    // The dials that ran when it opened, and one per pause since.
    let dials = stats.dial_errors;
    assert!(dials < stats.breaker_refusals / 4, "{dials} dials: {stats:?}");
    server.restart();
    let served = load.served();
    wait_until("calls are served again", || load.served() > served + 2000);
    load.end();
    assert!(pool.stats().dialed.probe >= 1);
}

/// The server is frozen, killed and restarted in turn, and every option of the pool is set.
#[test]
fn repeated_outages_with_every_option() {
    let _alone = alone();
    let mut server = RedisServer::start();
    let names = Arc::new(Mutex::new(0_usize));
    let counter = Arc::clone(&names);
    let options = Pool::builder(to(&server).read_timeout(50 * MILLI).connect_timeout(50 * MILLI))
        .max_active(MAX_ACTIVE)
        .wait(true)
        .min_idle(2)
        .max_idle(8)
        .idle_timeout(200 * MILLI)
        .max_conn_lifetime(500 * MILLI)
        .max_conn_lifetime_jitter(100 * MILLI)
        .background_prune(true)
        .peek_after(5 * MILLI)
        .keepalive(20 * MILLI)
        .dial_retries(1)
        .dial_backoff(MILLI, 20 * MILLI)
        .breaker(20)
        .leak_threshold(400 * MILLI)
        .reclaim_leaked(true)
        .detect_deadlock(true)
        .on_dial(move |_| {
            *counter.lock().unwrap() += 1;
            Ok(())
        });
    let pool = options.build().unwrap();
    let watched = watch(&pool);
    let load = Load::start(&pool, 100);
    for round in 0..6 {
        let served = load.served();
        wait_until("calls are served", || load.served() > served + 300);
        match round % 3 {
            0 => {
                let timeouts = pool.stats().closed.total();
                server.freeze();
                wait_until("the pool notices", || pool.stats().closed.total() > timeouts + 5);
                server.thaw();
            }
            1 => {
                server.kill();
                let errors = pool.stats().dial_errors;
                wait_until("the pool notices", || pool.stats().dial_errors > errors + 5);
                server.restart();
            }
            _ => server.restart(),
        }
    }
    let served = load.served();
    wait_until("calls are served", || load.served() > served + 300);
    load.end();
    // An expired connection is closed shortly after its slot was reused, so one socket more is fine.
    watched();
    // At rest, `min_idle` holds and no connection is in use.
    wait_until("the pool is at rest", || {
        let stats = pool.stats();
        (stats.in_use, stats.dialing) == (0, 0) && stats.idle >= 2
    });
    let usable: Result<String> =
        pool.get_timeout(PATIENCE).and_then(|mut conn| conn.query("PING", ()));
    assert_eq!(usable.unwrap(), "PONG");
    let stats = pool.stats();
    assert!(*names.lock().unwrap() as u64 >= stats.dialed.total(), "{stats:?}");
    pool.close();
    wait_until("all are closed", || sockets() == 0);
}
