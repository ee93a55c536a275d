//! The caller's code panics in the middle of an exchange, and the panic is caught: the connection
//! must not be used again, neither by this caller nor by the next borrower.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redigo::testing::MemoryStream;
use redigo::{ArgWriter, Conn, Dialer, FromValue, Pool, PooledConn, Result, ToArgs, Value};

use crate::support::live;
use crate::support::streams::{Tapped, over};

const POISONED: &str = "the caller's code panicked while it used the connection";

/// Arguments that panic while they are written.
struct Bomb;

impl ToArgs for Bomb {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        out.bytes(b"half");
        panic!("on purpose");
    }
}

/// A type that panics while it is converted.
struct BombValue;

impl FromValue for BombValue {
    fn from_value(_: Value) -> Result<BombValue> {
        panic!("on purpose");
    }
}

fn panics(action: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(action)).is_err());
}

#[track_caller]
fn assert_poisoned(conn: &mut Conn) {
    assert_eq!(conn.err().unwrap().to_string(), POISONED);
    assert_eq!(conn.call("GET", "b").unwrap_err().to_string(), POISONED);
    assert!(!conn.is_alive());
}

type Use = (&'static str, fn(&mut Conn));

/// Ways to panic in the arguments, while a reply is due.
const WITH_ARGUMENTS: [Use; 9] = [
    ("call SELECT", |conn| drop(conn.call("SELECT", Bomb))),
    ("call CLIENT", |conn| drop(conn.call("CLIENT", Bomb))),
    ("call SCRIPT", |conn| drop(conn.call("SCRIPT", Bomb))),
    ("call GET", |conn| drop(conn.call("GET", Bomb))),
    ("query SUBSTR", |conn| drop(conn.query::<Value>("SUBSTR", Bomb))),
    ("send GET", |conn| drop(conn.send("GET", Bomb))),
    ("send SUBSCRIBE", |conn| drop(conn.send("SUBSCRIBE", Bomb))),
    ("split", |conn| drop(conn.split().0.send("CLIENT", Bomb))),
    ("script", |conn| drop(redigo::Script::new(0, "return 1").call(conn, Bomb))),
];

#[test]
fn panic_in_arguments_gives_no_reply_to_the_next_borrower() {
    let dialer = live::dialer();
    let mut other = dialer.dial().unwrap();
    other.call("MSET", ("a", "secret of a", "b", "of b")).unwrap();
    for (way, call) in WITH_ARGUMENTS {
        for logged in [false, true] {
            let dialer = dialer.clone();
            let dial = move |_: &redigo::Context| match logged {
                true => Ok(redigo::logging(dialer.dial()?, "")),
                false => dialer.dial(),
            };
            let pool = Pool::builder_with(dial).max_active(1).build().unwrap();
            let ends: [fn(PooledConn); 2] = [drop, |conn| drop(conn.close())];
            for end in ends {
                let mut conn = pool.acquire().unwrap();
                conn.send("GET", "a").unwrap();
                conn.flush().unwrap();
                panics(|| call(&mut conn));
                assert_poisoned(&mut conn);
                end(conn);
                assert_eq!(pool.idle_count(), 0, "{way}");
                let reply: String = pool.acquire().unwrap().query("GET", "b").unwrap();
                assert_eq!(reply, "of b", "{way}");
            }
        }
    }
}

/// A connection whose read number `fatal` panics, with one byte for each read.
fn bomb_stream(replies: &str, fatal: usize) -> Conn {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let inner = Tapped::in_pieces(MemoryStream::new(replies), 1);
    let stream = Tapped::on_read(inner, move || {
        assert!(count.fetch_add(1, Ordering::Relaxed) + 1 != fatal, "on purpose");
    });
    Dialer::tcp(":6379").wrap(stream)
}

#[test]
fn panic_in_a_read_ends_the_connection() {
    let uses: [Use; 9] = [
        ("call", |conn| drop(conn.call("GET", "b"))),
        ("query", |conn| drop(conn.query::<String>("GET", "b"))),
        ("query of a list", |conn| drop(conn.query::<Vec<String>>("MGET", "b"))),
        ("drain", |conn| drop(conn.drain())),
        ("receive", |conn| drop(conn.receive())),
        ("poll", |conn| drop(conn.poll(std::time::Duration::from_secs(9)))),
        ("pipeline", |conn| drop(conn.pipeline().cmd("GET", "b").run())),
        ("typed pipeline", |conn| drop(conn.pipeline().cmd("GET", "b").query::<Vec<String>>())),
        ("split", |conn| drop(conn.split().1.receive())),
    ];
    for (way, call) in uses {
        // In the first reply, which is due before the call, and for most ways in the second.
        for fatal in [1, 6, 8, 14] {
            if fatal > 7 && ["drain", "receive", "poll", "split"].contains(&way) {
                continue;
            }
            let mut conn = bomb_stream("$1\r\nA\r\n*1\r\n$1\r\nB\r\n", fatal);
            conn.send("GET", "a").unwrap();
            panics(|| call(&mut conn));
            assert_poisoned(&mut conn);
        }
    }
}

#[test]
fn panic_in_a_conversion_keeps_replies_in_step() {
    // A whole reply was received, so the connection stays usable.
    let mut conn = over(&MemoryStream::new("$1\r\na\r\n:1\r\n+OK\r\n"));
    panics(|| drop(conn.query::<BombValue>("GET", "a")));
    panics(|| drop(conn.query::<BombValue>("INCR", "a")));
    assert_eq!(conn.call("SET", ("a", 1)).unwrap().as_str(), Some("OK"));
    // In the middle of a list, or with replies due.
    let mut conn = over(&MemoryStream::new("*2\r\n:1\r\n:2\r\n+OK\r\n"));
    panics(|| drop(conn.query::<Vec<BombValue>>("MGET", ("a", "b"))));
    assert_poisoned(&mut conn);
    let mut conn = over(&MemoryStream::new(":1\r\n:2\r\n+OK\r\n"));
    let pipeline = conn.pipeline().cmd("INCR", "a").cmd("INCR", "a");
    panics(|| drop(pipeline.query::<Vec<BombValue>>()));
    assert_poisoned(&mut conn);
}

#[test]
fn panic_while_unwinding_does_not_poison_an_exchange() {
    /// Uses its connection in a destructor.
    struct Farewell(Conn);
    impl Drop for Farewell {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            let reply: Result<Vec<i64>> = self.0.query("MGET", "a");
            assert_eq!(reply.ok(), Some(vec![1]));
            assert!(self.0.err().is_none());
        }
    }
    let farewell = Farewell(over(&MemoryStream::new("*1\r\n:1\r\n")));
    panics(move || {
        let _farewell = farewell;
        panic!("on purpose");
    });
}
