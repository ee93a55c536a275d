//! One command at a time over TCP, on one connection and through a pool; and the dial.

use redigo::{Pool, Value};

use crate::Setup;
use crate::raw::{self, Socket};
use crate::report::Report;
use crate::rounds::{rounds, time, time_threads};

pub(crate) const KEY: &str = "k";
/// The size of a small session.
pub(crate) const VALUE: &str = "a value of forty bytes, as in a session.";

pub(crate) fn run(report: &mut Report, setup: &Setup) {
    setup.ours().call("SET", (KEY, VALUE)).expect("SET");
    ping(report, setup);
    get(report, setup);
    get_with_timeout(report, setup);
    pool_get(report, setup, "pool_get_8t", 8, 400);
    pool_get(report, setup, "pool_get_64t", 64, 60);
    dial(report, setup);
}

const OPERATIONS: usize = 500;

fn ping(report: &mut Report, setup: &Setup) {
    report.beside_both("ping_1t", || {
        let (mut ours, mut theirs, mut raw) = (setup.ours(), setup.peer(), setup.raw());
        let (command, mut reply) = (raw::command(["PING"]), *b"+PONG\r\n");
        rounds(
            OPERATIONS,
            vec![
                Box::new(|| time(OPERATIONS, || ours.call("PING", ()).expect("PING"))),
                Box::new(|| {
                    time(OPERATIONS, || -> redis::Value {
                        redis::cmd("PING").query(&mut theirs).expect("PING")
                    })
                }),
                Box::new(|| time(OPERATIONS, || raw.exchange(&command, &mut reply, 1))),
            ],
        )
    });
}

fn get(report: &mut Report, setup: &Setup) {
    report.beside_both("get_1t", || {
        let (mut ours, mut theirs, mut raw) = (setup.ours(), setup.peer(), setup.raw());
        let mut by_hand = Get::new();
        rounds(
            OPERATIONS,
            vec![
                Box::new(|| time(OPERATIONS, || ours.call("GET", KEY).expect("GET"))),
                Box::new(|| {
                    time(OPERATIONS, || -> redis::Value {
                        redis::cmd("GET").arg(KEY).query(&mut theirs).expect("GET")
                    })
                }),
                Box::new(|| time(OPERATIONS, || by_hand.run(&mut raw))),
            ],
        )
    });
}

fn get_with_timeout(report: &mut Report, setup: &Setup) {
    report.beside("get_1t, timeout of 1 s", "no timeout", || {
        let timeout = std::time::Duration::from_secs(1);
        let mut bounded = setup.dialer().read_timeout(timeout).dial().expect("a connection");
        let mut unbounded = setup.ours();
        rounds(
            OPERATIONS,
            vec![
                Box::new(|| time(OPERATIONS, || bounded.call("GET", KEY).expect("GET"))),
                Box::new(|| time(OPERATIONS, || unbounded.call("GET", KEY).expect("GET"))),
            ],
        )
    });
}

/// A GET on a bare socket.
pub(crate) struct Get {
    command: Vec<u8>,
    head: usize,
    reply: Vec<u8>,
}

impl Get {
    pub(crate) fn new() -> Get {
        let head = format!("${}\r\n", VALUE.len()).len();
        Get { command: raw::command(["GET", KEY]), head, reply: vec![0; head + VALUE.len() + 2] }
    }

    pub(crate) fn run(&mut self, socket: &mut Socket) -> Vec<u8> {
        socket.exchange(&self.command, &mut self.reply, self.head)
    }
}

/// As many connections as threads, checked out for each command. r2d2's PING on checkout is off,
/// because ours has none. The raw threads keep their sockets.
fn pool_get(report: &mut Report, setup: &Setup, name: &str, threads: usize, operations: usize) {
    report.beside_both(name, || {
        let ours = Pool::builder(setup.dialer()).max_active(threads).wait(true).build();
        let ours = ours.expect("valid options");
        let theirs = r2d2::Pool::builder()
            .max_size(threads as u32)
            .test_on_check_out(false)
            .build(setup.peer_client())
            .expect("a pool");
        rounds(
            threads * operations,
            vec![
                Box::new(|| {
                    time_threads(
                        threads,
                        operations,
                        || (),
                        |()| {
                            let mut conn = ours.get();
                            let value = conn.call("GET", KEY).expect("GET");
                            conn.close().expect("a clean connection");
                            assert!(matches!(value, Value::Bulk(_)));
                        },
                    )
                }),
                Box::new(|| {
                    time_threads(
                        threads,
                        operations,
                        || (),
                        |()| {
                            let mut conn = theirs.get().expect("a connection");
                            let value: redis::Value =
                                redis::cmd("GET").arg(KEY).query(&mut *conn).expect("GET");
                            drop(conn);
                            assert!(matches!(value, redis::Value::BulkString(_)));
                        },
                    )
                }),
                Box::new(|| {
                    let start = || (setup.raw(), Get::new());
                    time_threads(threads, operations, start, |(raw, get)| get.run(raw))
                }),
            ],
        )
    });
}

/// Connect, AUTH, SELECT and CLIENT SETNAME. redis-rs has no option for the name, so its user sends
/// that command.
fn dial(report: &mut Report, setup: &Setup) {
    const OPERATIONS: usize = 100;
    let rules = ["on", "allkeys", "allchannels", "allcommands", ">secret"];
    setup.ours().call("ACL", ("SETUSER", "bench", rules)).expect("ACL");
    report.beside_both("dial", || {
        let ours = setup.dialer().username("bench").password("secret").database(1);
        let ours = ours.client_name("bench");
        let address = setup.server.addr();
        let theirs = format!("redis://bench:secret@{address}/1");
        let theirs = redis::Client::open(theirs).expect("a URL");
        let greeting = [
            raw::command(["AUTH", "bench", "secret"]),
            raw::command(["CLIENT", "SETNAME", "bench"]),
            raw::command(["SELECT", "1"]),
        ]
        .concat();
        rounds(
            OPERATIONS,
            vec![
                Box::new(|| time(OPERATIONS, || ours.dial().expect("a connection"))),
                Box::new(|| {
                    time(OPERATIONS, || {
                        let mut conn = theirs.get_connection().expect("a connection");
                        let name = redis::cmd("CLIENT").arg("SETNAME").arg("bench").clone();
                        name.query::<()>(&mut conn).expect("CLIENT SETNAME");
                        conn
                    })
                }),
                Box::new(|| {
                    time(OPERATIONS, || {
                        let mut raw = Socket::connect(&address);
                        raw.exchange(&greeting, &mut [0; 15], 0);
                        raw
                    })
                }),
            ],
        )
    });
}
