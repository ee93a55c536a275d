//! Return: `close`, `drop`, `discard` and `detach`, and the state that is undone for the next borrower.
//!
//! Tests with an R number are rows of redigo's tests (commit 57c8b99).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use redigo::{CloseReason, Error, Pool, PooledConn, TimeoutKind};

use crate::support::fake_conn::{FakeDialer, Verdict, number};
use crate::support::wait::{promptly, wait_until};

/// A pool like in redigo's tests: two idle connections.
fn setup() -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(2).max_active(2).build().unwrap();
    (dialer, pool)
}

/// The commands that a connection sends when these are called and it is returned.
#[track_caller]
fn commands_of(calls: &[(&str, &str)]) -> Vec<String> {
    let (dialer, pool) = setup();
    let mut conn = pool.get();
    for (command, arg) in calls {
        conn.call(command, Some(*arg).filter(|arg| !arg.is_empty())).unwrap();
    }
    conn.close().unwrap();
    dialer.check(&pool, (1, 1, 0));
    dialer.commands()
}

/// The commands that a connection sends when this one is sent without reading its reply.
#[track_caller]
fn commands_after_sending(command: &str, arg: &str) -> Vec<String> {
    let (dialer, pool) = setup();
    let mut conn = pool.get();
    conn.send(command, arg).unwrap();
    conn.close().unwrap();
    dialer.check(&pool, (1, 1, 0));
    dialer.commands()
}

#[test]
fn r144_connection_after_monitor_is_closed() {
    let (dialer, pool) = setup();
    let mut conn = pool.get();
    conn.send("MONITOR", ()).unwrap();
    conn.close().unwrap();
    dialer.check(&pool, (1, 0, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Dirty), 1);
}

#[test]
fn r145_r146_subscriptions_end_at_return() {
    let undone = ["UNSUBSCRIBE", "PUNSUBSCRIBE", "ECHO"];
    for (command, arg) in [("SUBSCRIBE", "x"), ("PSUBSCRIBE", "x*")] {
        let commands = commands_after_sending(command, arg);
        assert_eq!((&commands[0][..], &commands[1..]), (command, &undone.map(String::from)[..]));
    }
    // redigo does not support shard channels.
    let commands = commands_after_sending("SSUBSCRIBE", "x");
    assert_eq!(commands, ["SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "ECHO"]);
}

#[test]
fn r147_watch_is_undone_at_return() {
    let commands = commands_of(&[("WATCH", "key"), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "PING", "UNWATCH"]);
}

#[test]
fn r148_finished_watch_is_not_undone() {
    let commands = commands_of(&[("WATCH", "key"), ("UNWATCH", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "UNWATCH", "PING"]);
}

#[test]
fn r149_open_transaction_is_discarded_at_return() {
    let commands = commands_of(&[("WATCH", "key"), ("MULTI", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "MULTI", "PING", "DISCARD"]);
}

#[test]
fn r150_discarded_transaction_needs_no_cleanup() {
    let commands = commands_of(&[("WATCH", "key"), ("MULTI", ""), ("DISCARD", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "MULTI", "DISCARD", "PING"]);
}

#[test]
fn r151_executed_transaction_needs_no_cleanup() {
    let commands = commands_of(&[("WATCH", "key"), ("MULTI", ""), ("EXEC", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "MULTI", "EXEC", "PING"]);
}

#[test]
fn pending_replies_are_received_at_return() {
    let (dialer, pool) = setup();
    let mut conn = pool.get();
    for _ in 0..3 {
        conn.send("PING", ()).unwrap();
    }
    conn.close().unwrap();
    let mut conn = pool.get();
    assert_eq!(conn.query::<String>("ECHO", "mine").unwrap(), "mine");
    dialer.check(&pool, (1, 1, 1));
}

#[test]
fn missing_reply_closes_the_connection_in_bounded_time() {
    let dialer = FakeDialer::new();
    let options = dialer.pool().max_idle(1).cleanup_timeout(Duration::from_millis(20));
    let pool = options.build().unwrap();
    let mut conn = pool.get();
    conn.send("SILENT", ()).unwrap();
    let error = promptly("giving back", || conn.close()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
    dialer.check(&pool, (1, 0, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Io), 1);
}

#[test]
fn close_returns_the_error_that_ended_the_connection() {
    let (dialer, pool) = setup();
    pool.get().close().unwrap();
    let mut conn = pool.get();
    let _ = conn.call("ERR", "broken");
    let error = conn.err().cloned().unwrap();
    assert_eq!(conn.close().unwrap_err().to_string(), error.to_string());
    // A connection that the pool closes for its own reasons is no error of the borrower.
    let mut conn = pool.get();
    conn.call("CLIENT", ("REPLY", "OFF")).unwrap();
    conn.close().unwrap();
    dialer.check(&pool, (2, 0, 0));
    dialer.set(Verdict::Refuse);
    pool.get().close().unwrap();
    pool.close();
    pool.get().close().unwrap();
}

#[test]
fn dropping_a_clean_connection_returns_it_without_io() {
    let (dialer, pool) = setup();
    drop(pool.get());
    dialer.check(&pool, (1, 1, 0));
    assert!(dialer.commands().is_empty());
    assert_eq!(pool.stats().closed.of(CloseReason::Discarded), 0);
}

#[test]
fn dropping_a_lost_connection_closes_it_without_io() {
    let (dialer, pool) = setup();
    let lose: [(fn(&mut PooledConn), CloseReason); 4] = [
        (|conn| drop(conn.call("MONITOR", ()).unwrap()), CloseReason::Dirty),
        (|conn| drop(conn.call("AUTH", "secret").unwrap()), CloseReason::Dirty),
        (|conn| drop(conn.call("ERR", "broken").unwrap_err()), CloseReason::Io),
        (|conn| drop(conn.call("FAIL", "LOADING").unwrap_err()), CloseReason::Retired),
    ];
    for (closed, (lose, reason)) in lose.into_iter().enumerate() {
        let mut conn = pool.get();
        lose(&mut conn);
        let said = dialer.commands();
        let before = pool.stats().closed.of(reason);
        drop(conn);
        dialer.check(&pool, (closed + 1, 0, 0));
        assert_eq!((dialer.commands(), pool.stats().closed.of(reason)), (said, before + 1));
    }
}

#[test]
fn panicking_thread_closes_its_connection() {
    let (dialer, pool) = setup();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _clean = pool.get();
        panic!("a trap in the borrower");
    }));
    assert!(panicked.is_err());
    dialer.check(&pool, (1, 0, 0));
    let closed = pool.stats().closed;
    assert_eq!((closed.of(CloseReason::Panicked), closed.total()), (1, 1));
    // The thread is no longer panicking, so later borrows are returned.
    drop(pool.get());
    dialer.check(&pool, (2, 1, 0));
}

#[test]
fn discard_closes_a_clean_connection() {
    let (dialer, pool) = setup();
    pool.get().discard();
    dialer.check(&pool, (1, 0, 0));
    let closed = pool.stats().closed;
    assert_eq!((closed.of(CloseReason::Discarded), closed.total()), (1, 1));
}

#[test]
fn detached_connection_frees_its_slot() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(1).max_active(1).build().unwrap();
    let mut conn = pool.get().detach();
    let stats = pool.stats();
    assert_eq!((stats.open, stats.detached, stats.closed.total(), dialer.open()), (0, 1, 0, 1));
    let mut other = pool.acquire().unwrap();
    assert_eq!((number(&mut conn), number(&mut other)), (1, 2));
    pool.close();
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
    drop(conn);
    assert_eq!((dialer.closed(), pool.active_count()), (vec![1], 1));
}

#[test]
fn connection_returned_to_a_closed_pool_is_closed() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(4).build().unwrap();
    let [closed, dropped, discarded, mut dirty] = std::array::from_fn(|_| pool.get());
    dirty.call("MULTI", ()).unwrap();
    pool.close();
    dialer.check(&pool, (4, 4, 4));
    closed.close().unwrap();
    drop(dropped);
    discarded.discard();
    dirty.close().unwrap();
    dialer.check(&pool, (4, 0, 0));
    assert!(matches!(pool.acquire(), Err(Error::PoolClosed)));
}

/// A connection over the user's code can panic; its slot must not be lost.
#[test]
fn connection_that_panics_at_return_frees_its_slot() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(1).max_active(1).build().unwrap();
    for give_back in [|conn: PooledConn| drop(conn.close()), |conn| drop(conn)] {
        for before in ["PING", "MULTI"] {
            let mut conn = pool.acquire().unwrap();
            conn.call(before, ()).unwrap();
            conn.call("TRAP", ()).unwrap();
            let _ = catch_unwind(AssertUnwindSafe(|| give_back(conn)));
            wait_until("its slot is free", || (dialer.open(), pool.active_count()) == (0, 0));
        }
    }
    pool.acquire().unwrap();
}
