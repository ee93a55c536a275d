//! What the pool itself costs: lending and taking back a connection in memory, beside r2d2.
//!
//! `cargo bench --bench checkout`

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Pool};
use support::{Contender, ROUNDS, compare, time, time_threads};

fn main() {
    println!("get + close, connections in memory; medians of {ROUNDS} rounds in turns");
    one_thread();
    eight_threads();
    many_idle();
    many_waiting();
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

/// The peer's pool over the same connections, with its test on checkout switched off.
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

fn peer(size: u32) -> r2d2::Pool<Manager> {
    r2d2::Pool::builder()
        .max_size(size)
        .test_on_check_out(false)
        .build(Manager)
        .expect("valid options")
}

fn one_thread() {
    const OPERATIONS: usize = 100_000;
    let (ours, theirs) = (pool(8), peer(8));
    compare(
        "checkout_1t",
        OPERATIONS,
        vec![
            Contender::new("redigo", || time(OPERATIONS, || ours.get().close())),
            Contender::new("r2d2", || time(OPERATIONS, || drop(theirs.get()))),
        ],
    );
}

fn eight_threads() {
    const THREADS: usize = 8;
    const OPERATIONS: usize = 20_000;
    let (ours, theirs) = (pool(THREADS), peer(THREADS as u32));
    compare(
        "checkout_8t",
        THREADS * OPERATIONS,
        vec![
            Contender::new("redigo", || {
                time_threads(THREADS, OPERATIONS, || (), |()| ours.get().close())
            }),
            Contender::new("r2d2", || {
                time_threads(THREADS, OPERATIONS, || (), |()| drop(theirs.get()))
            }),
        ],
    );
}

/// The same with few and with many idle connections: the ratio should be 1.
fn many_idle() {
    const OPERATIONS: usize = 100_000;
    let filled = |idle: usize| {
        let pool = pool(idle);
        let lent: Vec<_> = (0..idle).map(|_| pool.get()).collect();
        drop(lent);
        assert_eq!(pool.idle_count(), idle);
        pool
    };
    let (few, many) = (filled(8), filled(10_000));
    compare(
        "checkout_1t, 10,000 idle",
        OPERATIONS,
        vec![
            Contender::new("10,000", || time(OPERATIONS, || many.get().close())),
            Contender::new("8", || time(OPERATIONS, || few.get().close())),
        ],
    );
}

/// One connection handed from waiter to waiter: what a hand-over costs does not depend on how
/// many are in the queue.
fn many_waiting() {
    const HAND_OVERS: usize = 2_000;
    let pass_on = |waiters: usize| {
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
            // The first of the queue, while the rest is still in it.
            while handed.load(Ordering::Relaxed) < HAND_OVERS.min(waiters) {
                std::thread::sleep(Duration::from_micros(200));
            }
            began.elapsed()
        });
        taken / HAND_OVERS as u32
    };
    let (mut few, mut many): (Vec<_>, Vec<_>) =
        (0..5).map(|_| (pass_on(HAND_OVERS), pass_on(10_000))).unzip();
    let (few, many) = (support::median(&mut few), support::median(&mut many));
    println!(
        "hand-over, 10,000 waiting     10,000 {:>6} ns      2,000 {:>6} ns  vs 2,000 {:.2}",
        many.as_nanos(),
        few.as_nanos(),
        many.as_secs_f64() / few.as_secs_f64(),
    );
}
