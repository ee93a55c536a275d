//! Broken connections are not checked out: the peek at the socket, the lifetime, and error replies
//! that retire a connection. On a manual clock, and on a real server that is restarted, frozen and
//! made a replica.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use redigo::testing::ManualClock;
use redigo::{CloseReason, Conn, Dialer, Pool, PoolBuilder, PooledConn};

use crate::support::fake_conn::{number, setup};
use crate::support::pooled::unnamed as to;
use crate::support::redis_server::{RedisServer, free_port};
use crate::support::threads::{join, start_waiting};
use crate::support::wait::{self, MILLI, PATIENCE, SECOND, promptly};

/// Leaves this many connections idle.
fn leave_idle(pool: &Pool, connections: usize) {
    let mut conns: Vec<_> = (0..connections).map(|_| pool.acquire().unwrap()).collect();
    conns.iter_mut().for_each(|conn| drop(conn.call("PING", ()).unwrap()));
}

fn closed(pool: &Pool, reason: CloseReason) -> u64 {
    let closed = pool.stats().closed;
    assert_eq!(closed.total(), closed.of(reason), "for other reasons than {reason}");
    closed.of(reason)
}

#[test]
fn connection_idle_for_long_is_peeked_at() {
    let (dialer, pool, clock) = setup(|options| options.peek_after(SECOND));
    leave_idle(&pool, 3);
    clock.advance(SECOND);
    dialer.hang_up();
    let mut conn = pool.acquire().unwrap();
    assert_eq!((number(&mut conn), closed(&pool, CloseReason::Health)), (4, 3));
    dialer.check(&pool, (4, 1, 1));
}

#[test]
fn recently_used_connection_is_suspect_after_a_dead_one() {
    let (dialer, pool, clock) = setup(|options| options.peek_after(SECOND));
    leave_idle(&pool, 3);
    clock.advance(SECOND - MILLI);
    dialer.hang_up();
    let mut conn = pool.acquire().unwrap();
    conn.call("PING", ()).unwrap_err();
    conn.close().unwrap_err();
    // Now the others are suspect, although they were used a moment ago.
    let mut conn = pool.acquire().unwrap();
    assert_eq!(number(&mut conn), 4);
    let closed = pool.stats().closed;
    assert_eq!((closed.of(CloseReason::Io), closed.of(CloseReason::Health)), (1, 2));
    conn.close().unwrap();
    assert_eq!(number(&mut pool.acquire().unwrap()), 4, "this one is alive");
}

/// It was in use when the other turned out to be dead, and its borrower did not use it.
#[test]
fn connection_in_use_becomes_suspect_after_a_dead_one() {
    let (dialer, pool, _clock) = setup(|options| options.peek_after(SECOND));
    let [mut first, second] = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    dialer.hang_up();
    first.call("PING", ()).unwrap_err();
    drop(first);
    second.close().unwrap();
    assert_eq!(number(&mut pool.acquire().unwrap()), 3);
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
}

#[test]
fn suspect_connection_that_is_alive_is_kept() {
    let (dialer, pool, _clock) = setup(|options| options.peek_after(SECOND));
    leave_idle(&pool, 3);
    let mut conn = pool.acquire().unwrap();
    conn.call("ERR", "broken").unwrap_err();
    drop(conn);
    leave_idle(&pool, 2);
    dialer.check(&pool, (3, 2, 0));
    assert_eq!(closed(&pool, CloseReason::Io), 1);
}

#[test]
fn without_peek_after_the_first_command_fails() {
    let (dialer, pool, clock) = setup(|options| options);
    leave_idle(&pool, 1);
    clock.advance(3600 * SECOND);
    dialer.hang_up();
    pool.acquire().unwrap().call("PING", ()).unwrap_err();
}

/// The idle time continues while the pool is suspended and a caller waits.
#[test]
fn connection_idle_in_a_suspended_pool_is_peeked_at() {
    let (dialer, pool, clock) = setup(|options| options.peek_after(SECOND));
    leave_idle(&pool, 1);
    pool.suspend();
    let waiter = start_waiting(&pool, |pool| number(&mut pool.acquire().unwrap()));
    dialer.hang_up();
    clock.advance(60 * SECOND);
    pool.resume();
    assert_eq!((join(waiter), closed(&pool, CloseReason::Health)), (2, 1));
}

#[test]
fn retiring_error_reply_closes_the_connection_at_return() {
    let all = ["READONLY You can't", "LOADING Redis is", "MASTERDOWN Link", "NOAUTH Auth"];
    for (reply, retires) in all.map(|reply| (reply, true)).into_iter().chain([
        ("ERR unknown command", false),
        ("WRONGTYPE Operation", false),
        ("READONLYISH no such code", false),
        ("MOVED 1 127.0.0.1:6379", false),
    ]) {
        for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
            let (dialer, pool, _) = setup(|options| options);
            let mut conn = pool.acquire().unwrap();
            conn.call("FAIL", reply).unwrap_err();
            conn.call("PING", ()).unwrap();
            assert!(conn.err().is_none(), "the connection still works");
            give_back(conn);
            dialer.check(&pool, (1, usize::from(!retires), 0));
            assert_eq!(closed(&pool, CloseReason::Retired), u64::from(retires), "{reply}");
        }
    }
}

#[test]
fn retire_on_sets_the_retiring_error_codes() {
    let retired = |options: fn(PoolBuilder) -> PoolBuilder, reply: &str| {
        let (_, pool, _) = setup(options);
        pool.acquire().unwrap().call("FAIL", reply).unwrap_err();
        closed(&pool, CloseReason::Retired)
    };
    assert_eq!(retired(|options| options.retire_on(["TRYAGAIN"]), "TRYAGAIN later"), 1);
    assert_eq!(retired(|options| options.retire_on(["TRYAGAIN"]), "READONLY You can't"), 0);
    assert_eq!(retired(|options| options.retire_on([]), "READONLY You can't"), 0);
}

/// The error can be one of many replies.
#[test]
fn retiring_reply_in_a_pipeline_closes_the_connection() {
    let (_, pool, _) = setup(|options| options);
    let mut conn = pool.acquire().unwrap();
    conn.send("PING", ()).unwrap();
    conn.send("FAIL", "LOADING Redis is").unwrap();
    conn.send("PING", ()).unwrap();
    conn.flush().unwrap();
    (0..3).for_each(|_| drop(conn.receive()));
    conn.close().unwrap();
    assert_eq!(closed(&pool, CloseReason::Retired), 1);
}

#[test]
fn connection_that_expires_in_use_is_closed_at_return() {
    for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
        let (dialer, pool, clock) =
            setup(|options| options.max_conn_lifetime(SECOND).max_active(1));
        let mut conn = pool.acquire().unwrap();
        clock.advance(SECOND);
        conn.call("PING", ()).unwrap();
        give_back(conn);
        dialer.check(&pool, (1, 0, 0));
        assert_eq!(closed(&pool, CloseReason::Lifetime), 1);
    }
}

/// The lifetime is checked before the test, because a test can cost a round trip.
#[test]
fn expired_connection_is_not_tested() {
    let (dialer, pool, clock) = setup(|options| {
        options.max_conn_lifetime(SECOND).test_on_borrow(|conn, _| conn.call("ECHO", "").map(drop))
    });
    leave_idle(&pool, 2);
    clock.advance(SECOND);
    leave_idle(&pool, 1);
    assert!(!dialer.commands().contains(&"ECHO".to_owned()));
    assert_eq!(closed(&pool, CloseReason::Lifetime), 2);
}

fn control(server: &RedisServer) -> Conn {
    to(server).dial().unwrap()
}

#[test]
fn first_command_after_a_restart_succeeds() {
    let mut server = RedisServer::start();
    let clock = ManualClock::new();
    let options = Pool::builder(to(&server)).peek_after(SECOND).clock(clock.clone());
    let pool = options.build().unwrap();
    for restarts in 1..=2 {
        leave_idle(&pool, 4);
        // The server closes its connections in the order in which they came, so this is the last.
        let mut last = control(&server);
        server.restart();
        promptly("the end of the last connection", || last.receive().unwrap_err());
        clock.advance(SECOND);
        let mut conn = promptly("the first", || pool.acquire().unwrap());
        assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
        assert_eq!(closed(&pool, CloseReason::Health), 4 * restarts);
    }
}

#[test]
fn restart_within_peek_after_fails_only_one_command() {
    let mut server = RedisServer::start();
    let pool = Pool::builder(to(&server)).peek_after(3600 * SECOND).build().unwrap();
    leave_idle(&pool, 4);
    let mut last = control(&server);
    server.restart();
    promptly("the end of the last connection", || last.receive().unwrap_err());
    let failures = (0..10).filter(|_| pool.acquire().unwrap().call("PING", ()).is_err()).count();
    let closed = pool.stats().closed;
    assert_eq!((failures, closed.of(CloseReason::Io), closed.of(CloseReason::Health)), (1, 1, 3));
}

/// A peek sends nothing, so it cannot detect a server that hangs.
#[test]
fn peek_at_a_frozen_server_takes_no_time() {
    let server = RedisServer::start();
    let clock = ManualClock::new();
    let options = Pool::builder(to(&server)).peek_after(SECOND).clock(clock.clone());
    let pool = options.build().unwrap();
    leave_idle(&pool, 3);
    server.freeze();
    clock.advance(SECOND);
    promptly("a look", || drop(pool.get_timeout(PATIENCE).unwrap()));
    server.thaw();
    pool.acquire().unwrap().call("PING", ()).unwrap();
    assert_eq!((pool.stats().dialed.total(), pool.idle_count()), (3, 3));
}

/// A later command would take the unexpected bytes for its reply.
#[test]
fn connection_with_unexpected_bytes_is_not_checked_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let mut request = [0; 64];
        assert!(first.read(&mut request).unwrap() > 0);
        first.write_all(b"+PONG\r\n").unwrap();
        first.write_all(b"+unexpected data\r\n").unwrap();
        let (mut second, _) = listener.accept().unwrap();
        assert!(second.read(&mut request).unwrap() > 0);
        second.write_all(b"+second\r\n").unwrap();
        drop(first);
    });
    let dialer = Dialer::tcp(address).read_timeout(PATIENCE);
    let clock = ManualClock::new();
    let pool = Pool::builder(dialer).peek_after(SECOND).clock(clock.clone()).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.call("PING", ()).unwrap();
    wait::wait_until("the bytes have arrived", || !conn.is_alive());
    drop(conn);
    clock.advance(SECOND);
    let reply: String = pool.acquire().unwrap().query("PING", ()).unwrap();
    assert_eq!((reply.as_str(), pool.stats().dialed.total()), ("second", 2));
    join(server);
}

#[test]
fn connection_to_a_new_replica_is_retired() {
    let server = RedisServer::start();
    let pool = Pool::builder(to(&server)).max_active(1).build().unwrap();
    let mut control = control(&server);
    let set = || {
        let mut conn = pool.acquire().unwrap();
        let set = conn.call("SET", ("key", "value"));
        conn.close().unwrap();
        set
    };
    set().unwrap();
    assert_eq!(pool.idle_count(), 1);
    // Its master does not exist, and need not.
    control.call("REPLICAOF", ("127.0.0.1", free_port().unwrap())).unwrap();
    let error = set().unwrap_err();
    assert_eq!(error.as_server().map(|error| error.code()), Some("READONLY"), "{error}");
    assert_eq!((pool.idle_count(), closed(&pool, CloseReason::Retired)), (0, 1));

    control.call("CONFIG", ("SET", "replica-serve-stale-data", "no")).unwrap();
    let error = pool.acquire().unwrap().call("GET", "key").unwrap_err();
    assert_eq!(error.as_server().map(|error| error.code()), Some("MASTERDOWN"), "{error}");
    assert_eq!((pool.idle_count(), closed(&pool, CloseReason::Retired)), (0, 2));

    control.call("REPLICAOF", ("NO", "ONE")).unwrap();
    set().unwrap();
    assert_eq!((pool.idle_count(), pool.stats().dialed.total()), (1, 3));
}

#[test]
fn connection_that_now_needs_a_password_is_retired() {
    let server = RedisServer::start();
    let pool = Pool::builder(to(&server)).max_active(1).build().unwrap();
    let mut control = control(&server);
    control.call("CONFIG", ("SET", "requirepass", "summer")).unwrap();
    // Dialed without a password, which only a command detects.
    for retired in 1..=2 {
        let error = pool.acquire().unwrap().call("GET", "key").unwrap_err();
        assert_eq!(error.as_server().map(|error| error.code()), Some("NOAUTH"), "{error}");
        assert_eq!(closed(&pool, CloseReason::Retired), retired);
    }
}
