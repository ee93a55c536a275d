//! 64 threads on 8 connections: how much gets done, and how long one waits for a connection.
//!
//! What a pool can reach that serves everybody in turn shows a fourth contender: raw sockets behind
//! a queue, and nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use redigo::{Pool, Value};

use crate::Place;
use crate::commands::{Get, KEY};
use crate::raw::Socket;
use crate::report::Report;
use crate::rounds::{Measured, percentile, time_threads};

const THREADS: usize = 64;
const CONNECTIONS: usize = 8;
const TURN: Duration = Duration::from_secs(1);
const TURNS: usize = 7;

/// The names of what comes out, in order: time for one GET, p99 and longest of the waits.
const NAMES: [&str; 3] = ["pool_contended", "wait_p99", "wait_max"];

pub(crate) fn run(report: &mut Report, place: &Place) {
    if !NAMES.iter().any(|name| report.wants(name)) {
        return;
    }
    let [mut each, mut p99, mut longest] = NAMES.map(|_| vec![Vec::new(); 4]);
    let ours = Pool::builder(place.dialer()).max_active(CONNECTIONS).wait(true).build();
    let ours = ours.expect("valid options");
    let theirs = r2d2::Pool::builder()
        .max_size(CONNECTIONS as u32)
        .test_on_check_out(false)
        .build(place.peer_client())
        .expect("a pool");
    // Each does checkout, GET and giving back, and tells the time that the checkout took.
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
    // Each thread has a socket of its own, and nobody waits.
    let with_raw = |(socket, get): &mut (_, Get)| {
        get.run(socket);
        Duration::ZERO
    };
    let sockets = Sockets::new((0..CONNECTIONS).map(|_| place.raw()).collect());
    let with_queue = |(get, seat): &mut (Get, _)| {
        let began = Instant::now();
        let mut socket = sockets.take(seat);
        let waited = began.elapsed();
        get.run(&mut socket);
        sockets.give_back(socket);
        waited
    };
    // The first turn is for warming up.
    for turn in 0..=TURNS {
        let seen = [
            contend(THREADS, || (), with_ours),
            contend(THREADS, || (), with_theirs),
            contend(CONNECTIONS, || (place.raw(), Get::new()), with_raw),
            contend(THREADS, || (Get::new(), Arc::default()), with_queue),
        ];
        for (contender, seen) in seen.into_iter().enumerate().filter(|_| turn > 0) {
            each[contender].push(seen.taken.as_nanos() as f64 / seen.waits.len() as f64);
            p99[contender].push(percentile(seen.waits.clone(), 99.0));
            longest[contender].push(percentile(seen.waits, 100.0));
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

/// Sockets that are handed to whoever has waited longest, by hand.
struct Sockets(Mutex<Queue>);

struct Queue {
    free: Vec<Socket>,
    waiting: VecDeque<Arc<Seat>>,
}

/// Where one thread waits.
#[derive(Default)]
struct Seat {
    handed: Mutex<Option<Socket>>,
    called: Condvar,
}

impl Sockets {
    fn new(free: Vec<Socket>) -> Sockets {
        Sockets(Mutex::new(Queue { free, waiting: VecDeque::new() }))
    }

    fn take(&self, seat: &Arc<Seat>) -> Socket {
        let mut queue = self.0.lock().expect("no panic");
        if let Some(socket) = queue.free.pop() {
            return socket;
        }
        queue.waiting.push_back(Arc::clone(seat));
        drop(queue);
        let handed = seat.handed.lock().expect("no panic");
        let mut handed =
            seat.called.wait_while(handed, |handed| handed.is_none()).expect("no panic");
        handed.take().expect("a socket")
    }

    fn give_back(&self, socket: Socket) {
        let mut queue = self.0.lock().expect("no panic");
        let Some(seat) = queue.waiting.pop_front() else { return queue.free.push(socket) };
        drop(queue);
        *seat.handed.lock().expect("no panic") = Some(socket);
        seat.called.notify_one();
    }
}

/// Each wait for a connection, in nanoseconds, and the time for all.
struct Seen {
    waits: Vec<f64>,
    taken: Duration,
}

/// All threads do the same until the time is over, so that they contend from beginning to end.
fn contend<S>(
    threads: usize,
    start: impl Fn() -> S + Sync,
    with: impl Fn(&mut S) -> Duration + Sync,
) -> Seen {
    let waits = Mutex::new(Vec::new());
    let start = || (start(), Vec::with_capacity(1 << 14));
    let taken = time_threads(threads, 1, start, |(state, own)| {
        let end = Instant::now() + TURN;
        while Instant::now() < end {
            own.push(with(state).as_nanos() as f64);
        }
        waits.lock().expect("no panic").append(own);
    });
    Seen { waits: waits.into_inner().expect("no panic"), taken }
}
