//! Many threads on one shared connection, beside as many threads with a pooled connection each,
//! against a private redis-server. The goal with 64 threads: 1.5 times as many GETs a second.
//!
//! `cargo bench --bench mux`

mod support;

#[path = "../tests/support/redis_server.rs"]
mod redis_server;

use std::time::Duration;

use redigo::{Dialer, Mux, Pool, Value};
use redis_server::RedisServer;
use support::{Contender, compare, time_threads};

const KEY: &str = "k";
const VALUE: &str = "a value of forty bytes, as in a session.";

fn main() {
    let server = RedisServer::start();
    let dialer = Dialer::url(server.url()).expect("a URL");
    dialer.dial().and_then(|mut conn| conn.call("SET", (KEY, VALUE))).expect("SET");
    println!("a private redis-server on loopback; the time for one of all threads' GETs");
    for (what, threads, operations) in
        [("get_1t", 1, 4_000), ("get_4t", 4, 2_000), ("get_16t", 16, 800), ("get_64t", 64, 400)]
    {
        many_threads(what, &dialer, threads, operations);
    }
}

fn many_threads(what: &str, dialer: &Dialer, threads: usize, operations: usize) {
    let mux = Mux::new(dialer.clone());
    let bounded = Mux::new(dialer.clone().read_timeout(Duration::from_secs(1)));
    let pool = Pool::builder(dialer.clone()).max_active(threads).wait(true).build();
    let pool = pool.expect("valid options");
    let shared = |mux: &Mux| {
        time_threads(threads, operations, || mux.clone(), |mux| check(mux.call("GET", KEY)))
    };
    let written = || bounded_free(&mux);
    let before = written();
    compare(
        what,
        threads * operations,
        vec![
            Contender::new("mux", || shared(&mux)),
            Contender::new("pooled", || {
                time_threads(
                    threads,
                    operations,
                    || pool.clone(),
                    |pool| {
                        let mut conn = pool.get();
                        let value = conn.call("GET", KEY);
                        conn.close().expect("a clean connection");
                        check(value);
                    },
                )
            }),
            // The same connections, without going back to the pool each time.
            Contender::new("held", || {
                time_threads(
                    threads,
                    operations,
                    || pool.get(),
                    |conn| check(conn.call("GET", KEY)),
                )
            }),
            Contender::new("1 s limit", || shared(&bounded)),
        ],
    );
    let after = written();
    let batch = (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
    println!("{:<28}  {batch:.1} commands a write", "");
}

fn bounded_free(mux: &Mux) -> (u64, u64) {
    let stats = mux.stats();
    (stats.calls, stats.writes)
}

fn check(reply: redigo::Result<Value>) {
    let right = matches!(&reply, Ok(Value::Bulk(value)) if value.len() == VALUE.len());
    assert!(right, "{reply:?}");
}
