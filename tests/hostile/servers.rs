//! Hostile servers: whatever they send, every kind of client returns an error within its deadline
//! and in little memory, and the pool does not reuse the connection.
//!
//! Received bytes take memory, up to `max_bulk_len` for a string. Announced lengths take none.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Error, Mux, Pool, PubSubConn, PubSubEvent, Result, Value, check};

use crate::memory::peak_of;
use crate::support::fake_server::{FakeServer, await_request, hold};
use crate::support::streams::Tapped;
use crate::support::wait::{SHORT, alone, promptly, wait_until};

/// A timeout that must not pass.
const LONG: Duration = Duration::from_secs(20);
/// The most memory that a client may take.
const MEMORY: usize = 64 << 20;

/// Returns a server that sends the head and then the piece without end.
fn endless(head: &'static [u8], piece: &[u8]) -> FakeServer {
    let piece = piece.repeat((64 << 10) / piece.len());
    FakeServer::start(move |mut stream| {
        await_request(&mut stream);
        let mut sent = stream.write_all(head);
        while sent.is_ok() {
            sent = stream.write_all(&piece);
        }
    })
}

/// Each kind of client. All of them end with the dialer's read timeout.
const CLIENTS: [(&str, fn(&Dialer) -> Result<()>); 8] = [
    ("call", |dialer| dialer.dial()?.call("GET", "key").map(drop)),
    ("query", |dialer| dialer.dial()?.query::<String>("GET", "key").map(drop)),
    ("receive", |dialer| {
        let mut conn = dialer.dial()?;
        conn.send("GET", "key")?;
        conn.flush()?;
        conn.receive().map(drop)
    }),
    ("pipeline", |dialer| {
        let mut conn = dialer.dial()?;
        let replies = conn.pipeline().cmd("GET", "a").cmd("GET", "b").run()?;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }),
    ("transaction", |dialer| {
        let mut conn = dialer.dial()?;
        conn.transaction("key", |tx| tx.cmd("INCR", "key").exec::<(i64,)>()).map(drop)
    }),
    ("subscriber", |dialer| {
        let mut sub = PubSubConn::new(dialer.dial()?);
        sub.subscribe("channel")?;
        sub.receive().map(drop)
    }),
    ("mux", |dialer| Mux::new(dialer.clone()).call("GET", "key").map(drop)),
    ("pool", |dialer| {
        let pool = Pool::builder(dialer.clone()).build()?;
        let mut conn = pool.acquire()?;
        let outcome = conn.call("GET", "key").map(drop);
        drop(conn);
        assert_eq!(
            (pool.active_count(), pool.idle_count()),
            (0, 0),
            "the connection is not reused"
        );
        outcome
    }),
];

/// Dials with a password. The connect timeout limits the whole dial.
fn handshake(dialer: &Dialer, limit: Duration) -> Result<()> {
    dialer.clone().password("secret").read_timeout(None).connect_timeout(limit).dial().map(drop)
}

#[track_caller]
fn attack(what: &str, server: &FakeServer, limit: Duration, is_expected: fn(&Error) -> bool) {
    let dialer = server.dialer().read_timeout(limit);
    let check = |client: &str, talk: &dyn Fn() -> Result<()>| {
        let what = format!("{client}: {what}");
        let (outcome, taken) = peak_of(|| promptly(&what, talk));
        let error = outcome.expect_err(&what);
        assert!(is_expected(&error), "{what}: {error:?}");
        assert!(taken < MEMORY, "{what}: {} MiB", taken >> 20);
    };
    for (client, talk) in CLIENTS {
        check(client, &|| talk(&dialer));
    }
    check("handshake", &|| handshake(&dialer, limit));
}

#[test]
fn invalid_replies_fail_immediately_in_little_memory() {
    let _alone = alone();
    let nested_announcements = "*2147483648\r\n".repeat(100_000);
    let attacks: [(&str, FakeServer); 15] = [
        ("2^63 bytes", FakeServer::saying("$9223372036854775808\r\n")),
        ("2^63 - 1 bytes", FakeServer::saying("$9223372036854775807\r\n")),
        ("2^64 bytes", FakeServer::saying("$18446744073709551616\r\n")),
        ("one byte too many", FakeServer::saying("$536870913\r\n")),
        ("2^63 elements", FakeServer::saying("*9223372036854775808\r\n")),
        ("2^31 elements in each of 2^31", FakeServer::saying(nested_announcements)),
        ("a million deep", FakeServer::saying("*1\r\n".repeat(1_000_000))),
        ("deep and wide", FakeServer::saying("*2\r\n:1\r\n".repeat(1_000_000))),
        ("a status without end", endless(b"+", b"x")),
        ("an error without end", endless(b"-ERR ", b"x")),
        ("a number without end", endless(b":", b"1")),
        ("a length without end", endless(b"$", b"0")),
        ("line ends without end", endless(b"", b"\r\n")),
        ("zeros without end", endless(b"", b"\0")),
        ("maps of the other protocol without end", endless(b"", b"%1\r\n+a\r\n+b\r\n")),
    ];
    for (what, server) in &attacks {
        attack(what, server, LONG, |error| matches!(error, Error::Protocol(_)));
    }
}

#[test]
fn incomplete_replies_time_out_in_little_memory() {
    let _alone = alone();
    let attacks: [(&str, FakeServer); 6] = [
        ("all bytes allowed, and none sent", FakeServer::saying("$536870912\r\n")),
        ("all bytes allowed, and few sent", FakeServer::saying("$536870912\r\nabc")),
        ("2^31 elements", FakeServer::saying("*2147483648\r\n")),
        ("2^31 elements, and few sent", FakeServer::saying("*2147483648\r\n:1\r\n:2\r\n")),
        ("nothing at all", FakeServer::silent()),
        ("a byte now and then", FakeServer::dripping("+", "x")),
    ];
    for (what, server) in &attacks {
        attack(what, server, SHORT, Error::is_timeout);
    }
}

/// A subscriber receives pushed messages one at a time, and buffers no more than one read.
#[test]
fn endless_pushes_take_no_memory() {
    let _alone = alone();
    let subscribed = b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n";
    let message = b"*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$5\r\nhello\r\n";
    let server = endless(subscribed, message);
    let ((), taken) = peak_of(|| {
        promptly("subscriber", || {
            let mut sub = PubSubConn::new(server.dialer().read_timeout(10 * SHORT).dial().unwrap());
            sub.subscribe("channel").unwrap();
            let messages = sub.iter().skip(1).take(20_000);
            assert!(messages.into_iter().all(|event| {
                matches!(event, Ok(PubSubEvent::Message { data, .. }) if data == b"hello")
            }));
        });
    });
    assert!(taken < 1 << 20, "{} KiB", taken >> 10);
}

/// The cleanup of a subscriber reads until the reply to its ECHO. A server that pushes without end
/// must not make it read forever.
#[test]
fn endless_pushes_do_not_delay_the_return_to_the_pool() {
    let _alone = alone();
    let message = b"*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$5\r\nhello\r\n";
    let server = endless(b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n", message);
    let pool = Pool::builder(server.dialer()).cleanup_timeout(SHORT).build().unwrap();
    let (outcome, taken) = peak_of(|| {
        promptly("close", || {
            let mut sub = PubSubConn::new(pool.acquire().unwrap());
            sub.subscribe("channel").unwrap();
            sub.receive().unwrap();
            sub.close()
        })
    });
    assert!(outcome.unwrap_err().is_timeout());
    assert_eq!(pool.active_count(), 0);
    assert!(taken < 1 << 20, "{} KiB", taken >> 10);
}

/// A surplus reply looks like the reply to the next command. It is detected before another
/// borrower gets the connection.
#[test]
fn surplus_reply_never_reaches_the_next_borrower() {
    let _alone = alone();
    for (what, answer) in [
        ("a reply too many", "+OK\r\n+FORGED\r\n"),
        ("half a reply too many", "+OK\r\n+FOR"),
        ("a reply too many, of many", &"+OK\r\n".repeat(5000)),
    ] {
        let server = FakeServer::saying(answer);
        let pool = Pool::builder(server.dialer().read_timeout(SHORT)).build().unwrap();
        let mut conn = pool.acquire().unwrap();
        assert_eq!(conn.call("PING", ()).unwrap(), Value::simple("OK"), "{what}");
        // It arrived together with the reply, so a peek sees it.
        assert!(!conn.is_alive(), "{what}");
        let _ = conn.close();
        assert_eq!(pool.active_count(), 0, "{what}");
    }
}

#[test]
fn reply_to_an_idle_connection_is_seen_by_the_peek() {
    let _alone = alone();
    let server = FakeServer::start(|mut stream| {
        // A reply without a command, sent as soon as the client connects.
        let _ = stream.write_all(b"+FORGED\r\n");
        hold(stream);
    });
    let pool = Pool::builder(server.dialer().read_timeout(SHORT))
        .test_on_borrow(check::peek())
        .build()
        .unwrap();
    let conn = pool.acquire().unwrap();
    wait_until("the forged reply has arrived", || !conn.is_alive());
    drop(conn);
    let again = promptly("acquire", || pool.acquire().unwrap());
    let stats = pool.stats();
    // Nothing was read, so the connection was returned, and no other borrower got it.
    assert_eq!(
        (stats.dialed.total(), stats.closed.of(redigo::CloseReason::Health), stats.in_use),
        (2, 1, 1),
        "{stats:?}"
    );
    drop(again);
}

/// The mux knows that it has sent no command.
#[test]
fn mux_ends_a_connection_with_an_unexpected_reply() {
    let _alone = alone();
    let server = endless(b"", b"+FORGED\r\n");
    let mux = Mux::new(server.dialer().read_timeout(SHORT));
    let (_, taken) = peak_of(|| {
        promptly("the forged reply is detected", || {
            // The first call may get the forged reply, which looks like its own.
            let _ = mux.call("GET", "key");
            wait_until("the mux detects it", || mux.err().is_some());
        });
    });
    assert!(taken < 1 << 20, "{} KiB", taken >> 10);
}

/// Each byte in its own packet, and two packets split at each byte.
#[test]
fn reply_can_be_split_at_every_byte() {
    let _alone = alone();
    let reply = "*4\r\n$5\r\nhello\r\n:-42\r\n*2\r\n$-1\r\n+PONG\r\n-ERR no\r\n";
    let expected = Dialer::tcp(":6379").wrap(MemoryStream::new(reply)).receive().unwrap();
    for at in 1..reply.len() {
        let server = FakeServer::start(move |mut stream: TcpStream| {
            stream.set_nodelay(true).unwrap();
            await_request(&mut stream);
            let (head, tail) = reply.as_bytes().split_at(at);
            let _ = stream.write_all(head);
            // Usually the client reads the head now. Either way the reply is the same.
            std::thread::yield_now();
            let _ = stream.write_all(tail);
            hold(stream);
        });
        let mut conn = server.dialer().read_timeout(50 * SHORT).dial().unwrap();
        assert_eq!(conn.call("GET", "key").unwrap(), expected, "split at {at}");
    }
    let in_pieces = |piece| {
        let stream = Tapped::in_pieces(MemoryStream::new(reply.repeat(3)), piece);
        let mut conn: Conn = Dialer::tcp(":6379").wrap(stream);
        (0..3).map(|_| conn.receive().unwrap()).collect::<Vec<_>>()
    };
    for piece in 1..=reply.len() {
        assert_eq!(in_pieces(piece), vec![expected.clone(); 3], "pieces of {piece}");
    }
}
