//! 64 threads on 8 connections: the throughput, and the time that a checkout waits.
//!
//! A fourth contender, raw sockets behind a bare queue, shows what a fair pool can reach at best.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use redigo::{Pool, Value};

use crate::Setup;
use crate::commands::{Get, KEY};
use crate::raw::Socket;
use crate::report::Report;
use crate::rounds::{Measured, percentile, time_threads};

const THREADS: usize = 64;
const CONNECTIONS: usize = 8;
const TURN: Duration = Duration::from_secs(1);
const TURNS: usize = 7;

/// The lines, in order: time for one GET, p99 of the waits, longest wait.
const NAMES: [&str; 3] = ["pool_contended", "wait_p99", "wait_max"];

pub(crate) fn run(report: &mut Report, setup: &Setup) {
    if !NAMES.iter().any(|name| report.wants(name)) {
        return;
    }
    let [mut each, mut p99, mut longest] = NAMES.map(|_| vec![Vec::new(); 4]);
    let ours = Pool::builder(setup.dialer()).max_active(CONNECTIONS).wait(true).build();
    let ours = ours.expect("valid options");
    let theirs = r2d2::Pool::builder()
        .max_size(CONNECTIONS as u32)
        .test_on_check_out(false)
        .build(setup.peer_client())
        .expect("a pool");
    // Each does checkout, GET and return, and gives the time that the checkout took.
    let with_ours = |(): &mut ()| {
        let began = Instant::now();
        let mut conn = ours.get();
        let waited = began.elapsed();
        let value = conn.call("GET", KEY).expect("GET");
        conn.close().expect("a clean connection");
        assert!(matches!(value, Value::Bulk(_)));
        waited
    };
    let with_theirs = |(): &mut ()| {
        let began = Instant::now();
        let mut conn = theirs.get().expect("a connection");
        let waited = began.elapsed();
        let value: redis::Value = redis::cmd("GET").arg(KEY).query(&mut *conn).expect("GET");
        drop(conn);
        assert!(matches!(value, redis::Value::BulkString(_)));
        waited
    };
    // Each thread has its own socket, so no thread waits.
    let with_raw = |(socket, get): &mut (_, Get)| {
        get.run(socket);
        Duration::ZERO
    };
    let sockets = Sockets::new((0..CONNECTIONS).map(|_| setup.raw()).collect());
    let with_queue = |(get, waiter): &mut (Get, _)| {
        let began = Instant::now();
        let mut socket = sockets.take(waiter);
        let waited = began.elapsed();
        get.run(&mut socket);
        sockets.put(socket);
        waited
    };
    // The first turn is a warm-up.
    for turn in 0..=TURNS {
        let turns = [
            contend(THREADS, || (), with_ours),
            contend(THREADS, || (), with_theirs),
            contend(CONNECTIONS, || (setup.raw(), Get::new()), with_raw),
            contend(THREADS, || (Get::new(), Arc::default()), with_queue),
        ];
        for (contender, result) in turns.into_iter().enumerate().filter(|_| turn > 0) {
            each[contender].push(result.elapsed.as_nanos() as f64 / result.waits.len() as f64);
            p99[contender].push(percentile(result.waits.clone(), 99.0));
            longest[contender].push(percentile(result.waits, 100.0));
        }
    }
    let [each_name, p99_name, longest_name] = NAMES;
    let ours_and_queue = |all: &[Vec<f64>]| Measured::of(vec![all[0].clone(), all[3].clone()]);
    report.beside(each_name, "a bare queue", || ours_and_queue(&each));
    report.beside(p99_name, "a bare queue", || ours_and_queue(&p99));
    report.beside(longest_name, "a bare queue", || ours_and_queue(&longest));
    report.beside_both(each_name, || Measured::of(each));
    report.beside_peer(p99_name, || Measured::of(p99));
    report.beside_peer(longest_name, || Measured::of(longest));
}

/// Sockets that go to the oldest waiter.
struct Sockets(Mutex<Queue>);

struct Queue {
    free: Vec<Socket>,
    waiting: VecDeque<Arc<Waiter>>,
}

/// One waiting thread.
#[derive(Default)]
struct Waiter {
    socket: Mutex<Option<Socket>>,
    ready: Condvar,
}

impl Sockets {
    fn new(free: Vec<Socket>) -> Sockets {
        Sockets(Mutex::new(Queue { free, waiting: VecDeque::new() }))
    }

    fn take(&self, waiter: &Arc<Waiter>) -> Socket {
        let mut queue = self.0.lock().expect("no panic");
        if let Some(socket) = queue.free.pop() {
            return socket;
        }
        queue.waiting.push_back(Arc::clone(waiter));
        drop(queue);
        let socket = waiter.socket.lock().expect("no panic");
        let mut socket =
            waiter.ready.wait_while(socket, |socket| socket.is_none()).expect("no panic");
        socket.take().expect("a socket")
    }

    fn put(&self, socket: Socket) {
        let mut queue = self.0.lock().expect("no panic");
        let Some(waiter) = queue.waiting.pop_front() else { return queue.free.push(socket) };
        drop(queue);
        *waiter.socket.lock().expect("no panic") = Some(socket);
        waiter.ready.notify_one();
    }
}

/// Each wait for a connection, in nanoseconds, and the total time.
struct TurnResult {
    waits: Vec<f64>,
    elapsed: Duration,
}

/// Runs all threads until the time is over, so that they contend during the whole turn.
fn contend<S>(
    threads: usize,
    start: impl Fn() -> S + Sync,
    with: impl Fn(&mut S) -> Duration + Sync,
) -> TurnResult {
    let waits = Mutex::new(Vec::new());
    let start = || (start(), Vec::with_capacity(1 << 14));
    let elapsed = time_threads(threads, 1, start, |(state, own)| {
        let end = Instant::now() + TURN;
        while Instant::now() < end {
            own.push(with(state).as_nanos() as f64);
        }
        waits.lock().expect("no panic").append(own);
    });
    TurnResult { waits: waits.into_inner().expect("no panic"), elapsed }
}
