//! 64 threads on 8 connections: how much gets done, and how long one waits for a connection.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use redigo::{Pool, Value};

use crate::Place;
use crate::commands::{Get, KEY};
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
    let [mut each, mut p99, mut longest] = NAMES.map(|_| vec![Vec::new(); 3]);
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
    // The first turn is for warming up.
    for turn in 0..=TURNS {
        let seen = [
            contend(THREADS, || (), with_ours),
            contend(THREADS, || (), with_theirs),
            contend(CONNECTIONS, || (place.raw(), Get::new()), with_raw),
        ];
        for (contender, seen) in seen.into_iter().enumerate().filter(|_| turn > 0) {
            each[contender].push(seen.taken.as_nanos() as f64 / seen.waits.len() as f64);
            p99[contender].push(percentile(seen.waits.clone(), 99.0));
            longest[contender].push(percentile(seen.waits, 100.0));
        }
    }
    let [each_name, p99_name, longest_name] = NAMES;
    report.beside_both(each_name, || Measured::of(each));
    report.beside_peer(p99_name, || Measured::of(p99));
    report.beside_peer(longest_name, || Measured::of(longest));
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
