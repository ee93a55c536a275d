//! One command over TCP and many threads on few connections, against a private redis-server:
//! beside a hand-written exchange on a socket, and beside redis-rs with r2d2.
//!
//! `cargo bench --bench roundtrip`

mod support;

#[path = "../tests/support/redis_server.rs"]
mod redis_server;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redigo::{Dialer, Pool, Value};
use redis_server::RedisServer;
use support::{Contender, ROUNDS, compare, median, percentile, time, time_threads};

const KEY: &str = "k";
const VALUE: &str = "a value of forty bytes, as in a session.";

fn main() {
    let server = RedisServer::start();
    let mut conn = Dialer::url(server.url()).and_then(|dialer| dialer.dial()).expect("a server");
    conn.call("SET", (KEY, VALUE)).expect("SET");
    println!("a private redis-server on loopback; medians of {ROUNDS} rounds in turns");
    get_on_one_connection(&server);
    sixty_four_threads_on_eight_connections(&server);
}

fn get_on_one_connection(server: &RedisServer) {
    const OPERATIONS: usize = 2_000;
    let dialer = Dialer::url(server.url()).expect("a URL");
    let mut ours = dialer.dial().expect("a connection");
    let mut bounded = dialer.clone().read_timeout(Duration::from_secs(1)).dial().expect("another");
    let mut theirs = redis::Client::open(server.url())
        .and_then(|client| client.get_connection())
        .expect("a connection");
    let mut raw = RawSocket::connect(&server.addr());
    compare(
        "get_1t",
        OPERATIONS,
        vec![
            Contender::new("redigo", || time(OPERATIONS, || ours.call("GET", KEY).expect("GET"))),
            Contender::new("raw", || time(OPERATIONS, || raw.get())),
            Contender::new("redis-rs", || {
                time(OPERATIONS, || -> redis::Value {
                    redis::cmd("GET").arg(KEY).query(&mut theirs).expect("GET")
                })
            }),
            Contender::new("1 s limit", || {
                time(OPERATIONS, || bounded.call("GET", KEY).expect("GET"))
            }),
        ],
    );
}

/// The exchange by hand, with what it must do and nothing else: the reply's length is known.
struct RawSocket {
    stream: TcpStream,
    command: Vec<u8>,
    reply: Vec<u8>,
}

impl RawSocket {
    fn connect(address: &str) -> RawSocket {
        let stream = TcpStream::connect(address).expect("a server");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        RawSocket {
            stream,
            command: format!("*2\r\n$3\r\nGET\r\n$1\r\n{KEY}\r\n").into_bytes(),
            reply: vec![0; format!("${}\r\n{VALUE}\r\n", VALUE.len()).len()],
        }
    }

    fn get(&mut self) -> Vec<u8> {
        self.stream.write_all(&self.command).expect("write");
        self.stream.read_exact(&mut self.reply).expect("read");
        self.reply[5..self.reply.len() - 2].to_vec()
    }
}

/// What 64 threads saw that shared 8 connections: each wait for one, and the time for all.
struct Contended {
    waits: Vec<Duration>,
    taken: Duration,
}

fn sixty_four_threads_on_eight_connections(server: &RedisServer) {
    const THREADS: usize = 64;
    const CONNECTIONS: usize = 8;
    const TURN: Duration = Duration::from_secs(1);
    const TURNS: usize = 7;

    let ours = Pool::builder(Dialer::url(server.url()).expect("a URL"))
        .max_active(CONNECTIONS)
        .wait(true)
        .build()
        .expect("valid options");
    let theirs = r2d2::Pool::builder()
        .max_size(CONNECTIONS as u32)
        .test_on_check_out(false)
        .build(redis::Client::open(server.url()).expect("a URL"))
        .expect("a pool");
    // Each gives the time that the checkout took, of checkout, GET and giving back.
    let with_ours = || {
        let began = Instant::now();
        let mut conn = ours.get();
        let waited = began.elapsed();
        let value = conn.call("GET", KEY).expect("GET");
        conn.close().expect("a clean connection");
        assert!(matches!(value, Value::Bulk(_)));
        waited
    };
    let with_theirs = || {
        let began = Instant::now();
        let mut conn = theirs.get().expect("a connection");
        let waited = began.elapsed();
        let value: redis::Value = redis::cmd("GET").arg(KEY).query(&mut *conn).expect("GET");
        drop(conn);
        assert!(matches!(value, redis::Value::BulkString(_)));
        waited
    };
    let (mut our_turns, mut their_turns) = (Vec::new(), Vec::new());
    for turn in 0..=TURNS {
        let one = contend(THREADS, TURN, with_ours);
        let other = contend(THREADS, TURN, with_theirs);
        // The first turn is for warming up.
        if turn > 0 {
            our_turns.push(one);
            their_turns.push(other);
        }
    }
    println!("pool_contended: {THREADS} threads on {CONNECTIONS} connections, GET");
    let ours = summary("redigo", our_turns);
    let theirs = summary("r2d2", their_turns);
    println!(
        "  p99 / median of the wait {:.2}; p99 vs r2d2 {:.3}; longest vs r2d2 {:.3}; throughput vs r2d2 {:.2}",
        ours.p99 / ours.p50,
        ours.p99 / theirs.p99,
        ours.longest / theirs.longest,
        ours.a_second / theirs.a_second,
    );
}

/// All threads do the same until the time is over, so that they contend from beginning to end.
fn contend(threads: usize, turn: Duration, with: impl Fn() -> Duration + Sync) -> Contended {
    let waits = Mutex::new(Vec::new());
    let taken = time_threads(
        threads,
        1,
        || Vec::with_capacity(1 << 14),
        |own| {
            let end = Instant::now() + turn;
            while Instant::now() < end {
                own.push(with());
            }
            waits.lock().expect("no panic").append(own);
        },
    );
    Contended { waits: waits.into_inner().expect("no panic"), taken }
}

/// The medians over the turns.
struct Summary {
    /// In microseconds.
    p50: f64,
    p99: f64,
    longest: f64,
    a_second: f64,
}

fn summary(name: &str, mut turns: Vec<Contended>) -> Summary {
    let mut at = |percent| {
        let mut times: Vec<_> =
            turns.iter_mut().map(|turn| percentile(&mut turn.waits, percent)).collect();
        median(&mut times).as_secs_f64() * 1e6
    };
    let (p50, p99, longest) = (at(50.0), at(99.0), at(100.0));
    let mut a_second: Vec<_> =
        turns.iter().map(|turn| turn.waits.len() as f64 / turn.taken.as_secs_f64()).collect();
    a_second.sort_by(f64::total_cmp);
    let a_second = a_second[a_second.len() / 2];
    println!(
        "  {name:<8} wait p50 {p50:>8.0} us  p99 {p99:>8.0} us  longest {longest:>8.0} us  \
         {a_second:>8.0} operations a second"
    );
    Summary { p50, p99, longest, a_second }
}
