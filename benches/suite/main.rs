//! Measures the crate beside the alternatives of its users (redis-rs, with r2d2 where a pool is
//! needed) and beside the limit (an exchange on a bare socket, written by hand).
//!
//! ```text
//! make bench                         all lines; writes the files below
//! make bench LINES="get_1t dial"     lines whose names start so; prints only
//! make bench LINES=chart             draws the chart from the last summary
//! ```
//!
//! The files: `docs/benchmarks.json` (also `target/bench/summary.json`) and `docs/benchmarks.svg`.

mod chart;
mod checkout;
mod commands;
mod contended;
mod large;
mod line;
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
    // Cargo itself passes `--bench`.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if wanted == ["chart"] {
        return report::redraw_chart().expect("docs/benchmarks.json can be read");
    }
    let setup = Setup { server: RedisServer::start() };
    let mut report = Report::new(wanted);
    checkout::run(&mut report);
    commands::run(&mut report, &setup);
    contended::run(&mut report, &setup);
    pipelines::run(&mut report, &setup);
    large::run(&mut report, &setup);
    mux::run(&mut report, &setup);
    scan::run(&mut report);
    #[cfg(feature = "tls")]
    tls::run(&mut report);
    report.finish();
}

/// A private redis-server on loopback, and connections to it.
struct Setup {
    server: RedisServer,
}

impl Setup {
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
