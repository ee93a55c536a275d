//! The cost of the pool itself: checkout and return of a connection in memory, beside r2d2.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Pool};

use crate::report::Report;
use crate::rounds::{Measured, rounds, time, time_threads};

pub(crate) fn run(report: &mut Report) {
    one_thread(report);
    eight_threads(report);
    with_features(report);
    many_idle(report);
    many_waiting(report);
}

fn conn() -> Conn {
    Dialer::tcp(":6379").wrap(MemoryStream::silent())
}

fn pool(max_active: usize) -> Pool {
    Pool::builder_with(|_| Ok(conn()))
        .max_active(max_active)
        .wait(true)
        .build()
        .expect("valid options")
}

/// r2d2 over the same connections. Its test on checkout does nothing here.
struct Manager;

impl r2d2::ManageConnection for Manager {
    type Connection = Conn;
    type Error = redigo::Error;

    fn connect(&self) -> Result<Conn, redigo::Error> {
        Ok(conn())
    }

    fn is_valid(&self, _: &mut Conn) -> Result<(), redigo::Error> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Conn) -> bool {
        false
    }
}

fn peer(size: usize) -> r2d2::Pool<Manager> {
    r2d2::Pool::builder().max_size(size as u32).build(Manager).expect("valid options")
}

fn one_thread(report: &mut Report) {
    const OPERATIONS: usize = 100_000;
    report.beside_peer("checkout_1t", || {
        let (ours, theirs) = (pool(8), peer(8));
        rounds(
            OPERATIONS,
            vec![
                Box::new(|| time(OPERATIONS, || ours.get().close())),
                Box::new(|| time(OPERATIONS, || drop(theirs.get()))),
            ],
        )
    });
}

fn eight_threads(report: &mut Report) {
    const THREADS: usize = 8;
    const OPERATIONS: usize = 20_000;
    report.beside_peer("checkout_8t", || {
        let (ours, theirs) = (pool(THREADS), peer(THREADS));
        let threads =
            |work: &(dyn Fn() + Sync)| time_threads(THREADS, OPERATIONS, || (), |()| work());
        rounds(
            THREADS * OPERATIONS,
            vec![
                Box::new(|| threads(&|| ours.get().close().expect("a clean connection"))),
                Box::new(|| threads(&|| drop(theirs.get()))),
            ],
        )
    });
}

/// The cost of the options that are not free: a peek after one idle second, jittered lifetimes, and
/// tracked borrows with a leak threshold and a histogram.
fn with_features(report: &mut Report) {
    const OPERATIONS: usize = 100_000;
    let second = Duration::from_secs(1);
    let options = || Pool::builder_with(|_| Ok(conn())).max_active(8).wait(true);
    let all = || {
        options()
            .peek_after(second)
            .max_conn_lifetime(3600 * second)
            .max_conn_lifetime_jitter(60 * second)
            .leak_threshold(30 * second)
    };
    for (name, builder) in [
        ("checkout_1t, all features", all()),
        ("checkout_1t, peek_after", options().peek_after(second)),
    ] {
        report.beside(name, "none", || {
            let (with, without) = (builder.build().expect("valid options"), pool(8));
            rounds(
                OPERATIONS,
                vec![
                    Box::new(|| time(OPERATIONS, || with.get().close())),
                    Box::new(|| time(OPERATIONS, || without.get().close())),
                ],
            )
        });
    }
}

/// A checkout with 10,000 idle connections beside one with 8.
fn many_idle(report: &mut Report) {
    const OPERATIONS: usize = 100_000;
    let filled = |idle: usize| {
        let pool = pool(idle);
        let in_use: Vec<_> = (0..idle).map(|_| pool.get()).collect();
        drop(in_use);
        assert_eq!(pool.idle_count(), idle);
        pool
    };
    report.beside("checkout_1t, 10,000 idle", "8 idle", || {
        let (few, many) = (filled(8), filled(10_000));
        rounds(
            OPERATIONS,
            vec![
                Box::new(|| time(OPERATIONS, || many.get().close())),
                Box::new(|| time(OPERATIONS, || few.get().close())),
            ],
        )
    });
}

/// One connection handed from waiter to waiter. The cost does not depend on the length of the queue.
fn many_waiting(report: &mut Report) {
    report.beside("handoff, 10,000 waiting", "2,000 waiting", || {
        let (many, few) = (0..5).map(|_| (time_handoff(10_000), time_handoff(HANDOFFS))).unzip();
        Measured::of(vec![many, few])
    });
}

const HANDOFFS: usize = 2_000;

/// Returns the time of one handoff in nanoseconds.
fn time_handoff(waiters: usize) -> f64 {
    let pool = pool(1);
    let held = pool.get();
    let handed = AtomicUsize::new(0);
    let taken = std::thread::scope(|scope| {
        for _ in 0..waiters {
            std::thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn_scoped(scope, || {
                    let conn = pool.get();
                    handed.fetch_add(1, Ordering::Relaxed);
                    conn.close()
                })
                .expect("a thread");
        }
        while pool.stats().waiting < waiters {
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = Instant::now();
        held.close().expect("a connection in memory");
        // Only the first handoffs are timed, while the rest of the queue still waits.
        while handed.load(Ordering::Relaxed) < HANDOFFS.min(waiters) {
            std::thread::sleep(Duration::from_micros(200));
        }
        began.elapsed()
    });
    taken.as_nanos() as f64 / HANDOFFS as f64
}
