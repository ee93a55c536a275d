//! All measurements, beside what a user would pick instead (redis-rs, with r2d2 where a pool is
//! meant) and beside the limit (a hand-written exchange on a socket).
//!
//! `cargo bench --features tls --bench suite` runs all of them, prints a table, writes `target/bench/summary.json`
//! (and `docs/benchmarks.json`) and draws `docs/benchmarks.svg`. `cargo bench --bench suite -- get_1t dial` runs those whose
//! names begin so, and only prints.

mod chart;
mod checkout;
mod commands;
mod contended;
mod large;
mod mux;
mod pipelines;
mod raw;
mod report;
mod rounds;
mod scan;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
#[path = "../../tests/support/certs.rs"]
mod certs;
#[path = "../../tests/support/redis_server.rs"]
mod redis_server;

use redigo::Dialer;
use redis_server::RedisServer;
use report::Report;

fn main() {
    // Cargo adds `--bench`.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let place = Place { server: RedisServer::start() };
    let mut report = Report::new(wanted);
    checkout::run(&mut report);
    commands::run(&mut report, &place);
    contended::run(&mut report, &place);
    pipelines::run(&mut report, &place);
    large::run(&mut report, &place);
    mux::run(&mut report, &place);
    scan::run(&mut report);
    #[cfg(feature = "tls")]
    tls::run(&mut report);
    report.finish();
}

/// A private redis-server on loopback, and the ways to it.
struct Place {
    server: RedisServer,
}

impl Place {
    fn dialer(&self) -> Dialer {
        Dialer::url(self.server.url()).expect("a URL")
    }

    fn ours(&self) -> redigo::Conn {
        self.dialer().dial().expect("a connection")
    }

    fn peer_client(&self) -> redis::Client {
        redis::Client::open(self.server.url()).expect("a URL")
    }

    fn peer(&self) -> redis::Connection {
        self.peer_client().get_connection().expect("a connection")
    }

    fn raw(&self) -> raw::Socket {
        raw::Socket::connect(&self.server.addr())
    }
}
