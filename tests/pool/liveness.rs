//! Which connections are alive: error replies are answers, a server announces that it closes a
//! connection, and error replies that show the wrong server.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use redigo::testing::{ManualClock, MemoryStream, ScriptedServer};
use redigo::{CloseReason, Conn, Dialer, Error, Pool, PooledConn, check};

use crate::support::fake_conn::setup;
use crate::support::fake_server::{FakeServer, await_request, hold};
use crate::support::pooled::unnamed as to;
use crate::support::redis_server::{RedisServer, free_port};
use crate::support::wait::{PATIENCE, SECOND, promptly, wait_until};

/// Error replies to `PING`, and whether they close the connection.
const REPLIES: [(&str, bool); 6] = [
    ("NOPERM this user has no permissions to run the 'ping' command", false),
    ("MISCONF Redis is configured to save RDB snapshots", false),
    ("BUSY Redis is busy running a script", false),
    ("ERR unknown command 'PING'", false),
    ("LOADING Redis is loading the dataset in memory", true),
    ("ERR max number of clients reached", true),
];

#[test]
fn keepalive_keeps_a_connection_that_answers_with_an_error() {
    for (reply, closes) in REPLIES {
        let (server, clock) = (ScriptedServer::new(), ManualClock::new());
        let ping = server.expect("PING", ()).error(reply).any_times();
        let options = Pool::builder(server.dialer()).keepalive(SECOND).clock(clock.clone());
        let pool = options.build().unwrap();
        pool.acquire().unwrap().close().unwrap();
        for round in 1..=3 {
            if closes && round > 1 {
                break;
            }
            clock.advance(SECOND);
            wait_until("the ping is answered", || {
                ping.calls() == round && pool.stats().in_use == 0
            });
        }
        let stats = pool.stats();
        assert_eq!((stats.idle, stats.closed.total()), (1 - usize::from(closes), closes.into()));
        assert_eq!(stats.dialed.total(), 1, "{reply}");
    }
}

#[test]
fn ping_if_idle_keeps_a_connection_that_answers_with_an_error() {
    for (reply, closes) in REPLIES {
        let server = ScriptedServer::new();
        let ping = server.expect("PING", ()).error(reply).any_times();
        let options = Pool::builder(server.dialer());
        let pool = options.test_on_borrow(check::ping_if_idle(Duration::ZERO)).build().unwrap();
        (0..3).for_each(|_| pool.acquire().unwrap().close().unwrap());
        assert_eq!(ping.calls(), 2, "{reply}");
        assert_eq!(pool.stats().closed.of(CloseReason::Health), 2 * u64::from(closes), "{reply}");
    }
}

#[test]
fn ping_if_idle_uses_the_clock_of_the_pool() {
    let (server, clock) = (ScriptedServer::new(), ManualClock::new());
    let ping = server.expect("PING", ()).reply("PONG").any_times();
    let options = Pool::builder(server.dialer()).clock(clock.clone());
    let pool = options.test_on_borrow(check::ping_if_idle(60 * SECOND)).build().unwrap();
    pool.acquire().unwrap().close().unwrap();
    clock.advance(59 * SECOND);
    pool.acquire().unwrap().close().unwrap();
    assert_eq!(ping.calls(), 0);
    clock.advance(60 * SECOND);
    pool.acquire().unwrap().close().unwrap();
    assert_eq!(ping.calls(), 1);
}

#[test]
fn error_reply_followed_by_a_close_is_noticed_at_return() {
    for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
        let server = FakeServer::closing_after("-ERR the server has had enough\r\n");
        let pool = Pool::builder(server.dialer().read_timeout(PATIENCE)).build().unwrap();
        let mut conn = pool.acquire().unwrap();
        assert!(matches!(conn.call("GET", "key"), Err(Error::Server(_))));
        wait_until("the server has closed it", || !conn.is_alive());
        assert!(conn.err().is_none(), "only a look at the socket shows it");
        give_back(conn);
        assert_eq!((pool.active_count(), pool.stats().closed.of(CloseReason::Io)), (0, 1));
    }
}

#[test]
fn connection_is_closed_after_a_reply_that_announces_it() {
    for reply in [
        "ERR max number of clients reached",
        "DENIED Redis is running in protected mode",
        "ERR Protocol error: too big mbulk count string",
        "UNBLOCKED force unblock from blocking operation, instance state changed",
    ] {
        for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
            // This server keeps the connection open; a real one closes it a moment later.
            let (dialer, pool, _) = setup(|options| options.retire_on([""; 0]));
            let mut conn = pool.acquire().unwrap();
            conn.call("FAIL", reply).unwrap_err();
            give_back(conn);
            dialer.check(&pool, (1, 0, 0));
            assert_eq!(pool.stats().closed.of(CloseReason::Io), 1, "{reply}");
        }
    }
    let (dialer, pool, _) = setup(|options| options.retire_on([""; 0]));
    let mut conn = pool.acquire().unwrap();
    conn.call("FAIL", "UNBLOCKED client unblocked via CLIENT UNBLOCK").unwrap_err();
    conn.close().unwrap();
    dialer.check(&pool, (1, 1, 0));
}

#[test]
fn full_server_does_not_get_into_the_pool() {
    let server = RedisServer::builder().arg("--maxclients", "2").start();
    let pool = Pool::builder(to(&server)).max_active(4).build().unwrap();
    let _full = [to(&server).dial().unwrap(), to(&server).dial().unwrap()];
    for _ in 0..8 {
        // Connects, and then has a reply that no command has asked for.
        if let Ok(mut conn) = pool.acquire() {
            let _ = conn.call("GET", "key");
        }
    }
    assert_eq!((pool.idle_count(), pool.active_count()), (0, 0));
}

/// A surplus reply that comes after the return is found only by a look at the socket.
#[test]
fn surplus_reply_in_its_own_packet_is_found_by_peek_always() {
    let (send_it, told) = mpsc::channel::<()>();
    let (sent, is_sent) = mpsc::channel::<()>();
    let told = Mutex::new((told, sent));
    let server = FakeServer::start(move |mut stream| {
        await_request(&mut stream);
        stream.write_all(b"+OK\r\n").unwrap();
        if let Ok(channels) = told.try_lock() {
            if channels.0.recv().is_ok() {
                stream.write_all(b"+FORGED\r\n").unwrap();
                let _ = channels.1.send(());
            }
        }
        hold(stream);
    });
    let dialer = server.dialer().read_timeout(PATIENCE);
    let pool = Pool::builder(dialer).peek_always(true).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.call("PING", ()).unwrap().as_str(), Some("OK"));
    conn.close().unwrap();
    assert_eq!(pool.idle_count(), 1, "nothing was wrong yet");
    send_it.send(()).unwrap();
    is_sent.recv().unwrap();
    drop(send_it);
    let mut next = pool.acquire().unwrap();
    assert_eq!(next.call("PING", ()).unwrap().as_str(), Some("OK"));
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
}

#[test]
fn new_connection_with_a_surplus_reply_is_found_by_peek_always() {
    let pool =
        Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new("+FORGED\r\n"))));
    let pool = pool.peek_always(true).build().unwrap();
    let error = promptly("a refusal", || pool.acquire().unwrap_err());
    assert!(error.to_string().contains("unexpected data"), "{error}");
    assert_eq!(pool.active_count(), 0);
}

fn retired(pool: &Pool) -> u64 {
    pool.stats().closed.of(CloseReason::Retired)
}

#[test]
fn retiring_error_in_any_part_of_a_reply_closes_the_connection() {
    let error = "-READONLY You can't write against a read only replica.\r\n";
    let list = format!("*2\r\n$1\r\n1\r\n{error}");
    let quoted = "-EXECABORT Transaction discarded because of: READONLY You can't write.\r\n";
    let uses: [(&str, fn(&mut Conn)); 5] = [
        (&list, |conn| drop(conn.call("EXEC", ()).unwrap())),
        (&list, |conn| drop(conn.query::<(String, String)>("EXEC", ()).unwrap_err())),
        (&list, |conn| drop(conn.query::<Vec<Option<String>>>("EXEC", ()).unwrap_err())),
        (&list, |conn| drop(conn.pipeline().cmd("EXEC", ()).run().unwrap())),
        (quoted, |conn| drop(conn.call("EXEC", ()).unwrap_err())),
    ];
    for (at, (reply, use_it)) in uses.into_iter().enumerate() {
        let reply = reply.to_owned();
        let pool =
            Pool::builder_with(move |_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::new(&reply))));
        let pool = pool.build().unwrap();
        use_it(&mut pool.acquire().unwrap());
        assert_eq!((retired(&pool), pool.idle_count()), (1, 0), "use {at}");
    }
}

fn fail_with(pool: &Pool, reply: &str) {
    let mut conn = pool.acquire().unwrap();
    conn.call("FAIL", reply).unwrap_err();
    conn.close().unwrap();
}

/// They lead to the same server, and each would fail one caller.
#[test]
fn retiring_error_closes_the_other_idle_connections() {
    let (dialer, pool, clock) = setup(|options| options.max_active(9));
    let leave_idle = |connections: usize| {
        drop((0..connections).map(|_| pool.acquire().unwrap()).collect::<Vec<_>>());
    };
    leave_idle(8);
    let in_use = pool.acquire().unwrap();
    fail_with(&pool, "READONLY You can't write");
    dialer.check(&pool, (8, 1, 1));
    assert_eq!(retired(&pool), 7);
    in_use.close().unwrap();
    assert_eq!((pool.active_count(), retired(&pool)), (0, 8), "it was dialed before");

    // A server that stays the wrong one does not cost all connections each time.
    leave_idle(8);
    fail_with(&pool, "READONLY You can't write");
    assert_eq!((pool.idle_count(), retired(&pool)), (7, 9));
    clock.advance(SECOND);
    fail_with(&pool, "READONLY You can't write");
    assert_eq!((pool.idle_count(), retired(&pool)), (0, 16));
}

#[test]
fn other_errors_keep_the_other_idle_connections() {
    let (dialer, pool, _) = setup(|options| options.max_active(3));
    drop([pool.acquire().unwrap(), pool.acquire().unwrap(), pool.acquire().unwrap()]);
    fail_with(&pool, "WRONGTYPE Operation");
    dialer.check(&pool, (3, 3, 0));
}

#[test]
fn failover_fails_one_command_and_not_one_for_each_connection() {
    let (before, after) = (RedisServer::start(), RedisServer::start());
    let has_moved = Arc::new(AtomicBool::new(false));
    let (old, new, moved) = (to(&before), to(&after), Arc::clone(&has_moved));
    let pool = Pool::builder_with(move |ctx| match moved.load(SeqCst) {
        false => old.dial_context(ctx),
        true => new.dial_context(ctx),
    });
    let pool = pool.max_active(8).build().unwrap();
    drop((0..8).map(|_| pool.acquire().unwrap()).collect::<Vec<_>>());
    let mut control = to(&before).dial().unwrap();
    control.call("REPLICAOF", ("127.0.0.1", free_port().unwrap())).unwrap();
    has_moved.store(true, SeqCst);
    let set = || {
        let mut conn = pool.acquire().unwrap();
        let set = conn.call("SET", ("key", "value")).map(drop);
        conn.close().unwrap();
        set
    };
    let failed = (0..20).filter(|_| set().is_err()).count();
    assert_eq!((failed, pool.idle_count()), (1, 1));
}
