//! A thousand threads, and a server that stops answering under them or goes away: nobody is kept
//! beyond their time, there are never too many connections, and afterwards all is as before.

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
/// How long each is willing to wait for a connection.
const LIMIT: Duration = Duration::from_millis(250);

/// Many threads that use a pool until they are told to stop.
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
                    // How much later than it was willing to, if at all.
                    late.extend(began.elapsed().checked_sub(LIMIT));
                    let used = conn.and_then(|mut conn| {
                        conn.call("INCR", "served")?;
                        conn.close()
                    });
                    match used {
                        Ok(()) => drop(served.fetch_add(1, SeqCst)),
                        // So that a refusal at once is no busy loop.
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

    /// How many are served a second, measured for so long.
    fn rate(&self, time: Duration) -> f64 {
        let (began, before) = (Instant::now(), self.served());
        thread::sleep(time);
        (self.served() - before) as f64 / began.elapsed().as_secs_f64()
    }

    /// How much too late each was that was late at all, the latest last.
    fn end(self) -> Vec<Duration> {
        self.stop.store(true, SeqCst);
        let mut late: Vec<_> = join_all(self.threads).into_iter().flatten().collect();
        late.sort();
        let stats = self.pool.stats();
        assert_eq!((stats.in_use, stats.waiting), (0, 0), "{stats:?}");
        late
    }
}

/// The sockets of this program, connected or about to be: its connections, for it has no others. The
/// server cannot be asked while it is frozen.
fn sockets() -> usize {
    let look = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        // What is closed in the meantime is none.
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    // Which is no look at one instant: one that was closed behind its back and one that was opened
    // ahead of it are one too many. Not twice running, though.
    look().min(look())
}

/// Looks at the pool and at its connections until it is told to stop: how many looks, and the most
/// connections that it saw.
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

/// The issue's own scenario, with its numbers. What it promises there holds on a machine of its own;
/// here the bounds only catch what is wrong, and the figures are printed.
#[test]
fn a_server_that_stops_answering_for_five_seconds() {
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
    assert_eq!(load.served(), stuck, "a frozen server serves nobody");
    server.thaw();
    let thawed = Instant::now();
    // Half of it, for the machine may have become slower meanwhile.
    wait_until("it serves as before", || load.rate(100 * MILLI) > before / 2.0);
    let recovered = thawed.elapsed();

    let late = load.end();
    let (looks, most) = watched();
    let beyond = late.iter().filter(|late| **late > 50 * MILLI).count();
    println!(
        "{before:.0} served a second before; as before within {recovered:.1?} of the thaw; {} \
         gave up, the latest {:.1?} after its time, {beyond} by more than 50 ms; at most {most} \
         connections in {looks} looks",
        late.len(),
        late.last().copied().unwrap_or_default(),
    );
    assert!(late.len() > 1000, "nobody gave up");
    // Fifty milliseconds are promised; a thousand threads on a machine that is busy with other
    // things too get far more than that.
    assert!(late.iter().all(|late| *late < 2000 * MILLI), "{:?}", late.last());
    assert!(recovered < Duration::from_secs(5), "{recovered:?}");
    assert!(looks > 100 && most <= MAX_ACTIVE, "{most} connections");
}

/// With a breaker nobody waits at all, and the dials that are made can be counted.
#[test]
fn a_server_that_is_away_under_load() {
    let _alone = alone();
    let mut server = RedisServer::start();
    let options = Pool::builder(to(&server)).max_active(MAX_ACTIVE).wait(true);
    let pool = options.breaker(5).dial_backoff(10 * MILLI, 50 * MILLI).build().unwrap();
    let load = Load::start(&pool, 200);
    wait_until("the load is on", || load.served() > 2000);
    server.kill();
    wait_until("the breaker is open", || pool.stats().breaker_refusals > 1000);
    let stats = pool.stats();
    // Those that ran when it opened, and one a pause since.
    let dials = stats.dial_errors;
    assert!(dials < stats.breaker_refusals / 4, "{dials} dials: {stats:?}");
    server.restart();
    let served = load.served();
    wait_until("they are served again", || load.served() > served + 2000);
    load.end();
    assert!(pool.stats().dialed.probe >= 1);
}

/// Whatever befalls them: frozen, thawed, killed and started again, with everything switched on.
#[test]
fn one_outage_after_the_other_with_every_option() {
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
        wait_until("they are served", || load.served() > served + 300);
        match round % 3 {
            0 => {
                let timeouts = pool.stats().closed.total();
                server.freeze();
                wait_until("it is noticed", || pool.stats().closed.total() > timeouts + 5);
                server.thaw();
            }
            1 => {
                server.kill();
                let errors = pool.stats().dial_errors;
                wait_until("it is noticed", || pool.stats().dial_errors > errors + 5);
                server.restart();
            }
            _ => server.restart(),
        }
    }
    let served = load.served();
    wait_until("they are served", || load.served() > served + 300);
    load.end();
    // What is too old is closed a moment after its place was given on, so a socket more may be seen.
    watched();
    // At rest, what was promised is there, and nothing else is out.
    wait_until("it is at rest", || {
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
