//! Giving back: `close`, `drop`, `discard` and `detach`, and what is undone before the next
//! borrower comes.
//!
//! The rows with an R number are those of redigo's tests (commit 57c8b99).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use redigo::{CloseReason, Error, Pool, PooledConn, TimeoutKind};

use crate::support::fake_conn::{FakeDialer, Verdict, number};
use crate::support::wait::promptly;

/// redigo's: room for two.
fn setup() -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(2).max_active(2).build().unwrap();
    (dialer, pool)
}

/// The commands that go over a connection when these are called and it is given back.
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

/// The commands that go over a connection when this one is sent and it is given back.
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
fn r144_a_monitor_is_not_lent_again() {
    let (dialer, pool) = setup();
    let mut conn = pool.get();
    conn.send("MONITOR", ()).unwrap();
    conn.close().unwrap();
    dialer.check(&pool, (1, 0, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Dirty), 1);
}

#[test]
fn r145_r146_subscriptions_are_let_go() {
    let undone = ["UNSUBSCRIBE", "PUNSUBSCRIBE", "ECHO"];
    for (command, arg) in [("SUBSCRIBE", "x"), ("PSUBSCRIBE", "x*")] {
        let commands = commands_after_sending(command, arg);
        assert_eq!((&commands[0][..], &commands[1..]), (command, &undone.map(String::from)[..]));
    }
    // redigo knows no shard channels.
    let commands = commands_after_sending("SSUBSCRIBE", "x");
    assert_eq!(commands, ["SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "ECHO"]);
}

#[test]
fn r147_a_watch_is_undone() {
    let commands = commands_of(&[("WATCH", "key"), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "PING", "UNWATCH"]);
}

#[test]
fn r148_a_watch_that_is_over_is_not_undone() {
    let commands = commands_of(&[("WATCH", "key"), ("UNWATCH", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "UNWATCH", "PING"]);
}

#[test]
fn r149_an_open_transaction_is_discarded() {
    let commands = commands_of(&[("WATCH", "key"), ("MULTI", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "MULTI", "PING", "DISCARD"]);
}

#[test]
fn r150_a_discarded_transaction_leaves_nothing_to_undo() {
    let commands = commands_of(&[("WATCH", "key"), ("MULTI", ""), ("DISCARD", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "MULTI", "DISCARD", "PING"]);
}

#[test]
fn r151_an_executed_transaction_leaves_nothing_to_undo() {
    let commands = commands_of(&[("WATCH", "key"), ("MULTI", ""), ("EXEC", ""), ("PING", "")]);
    assert_eq!(commands, ["WATCH", "MULTI", "EXEC", "PING"]);
}

#[test]
fn replies_that_are_owed_are_received() {
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
fn a_reply_that_does_not_come_costs_the_connection_and_a_bounded_time() {
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
fn what_close_returns() {
    let (dialer, pool) = setup();
    pool.get().close().unwrap();
    let mut conn = pool.get();
    let _ = conn.call("ERR", "broken");
    let error = conn.err().cloned().unwrap();
    assert_eq!(conn.close().unwrap_err().to_string(), error.to_string());
    // That a connection is of no more use to the pool is no error of the borrower's.
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
fn dropping_a_clean_connection_gives_it_back_without_a_word() {
    let (dialer, pool) = setup();
    drop(pool.get());
    dialer.check(&pool, (1, 1, 0));
    assert!(dialer.commands().is_empty());
    assert_eq!(pool.stats().closed.of(CloseReason::Discarded), 0);
}

#[test]
fn dropping_a_connection_that_is_not_clean_closes_it_without_a_word() {
    let (dialer, pool) = setup();
    let leave: [fn(&mut PooledConn); 6] = [
        |conn| conn.send("PING", ()).unwrap(),
        |conn| drop(conn.call("MULTI", ()).unwrap()),
        |conn| drop(conn.call("WATCH", "key").unwrap()),
        |conn| drop(conn.call("SELECT", 5).unwrap()),
        |conn| conn.send("SUBSCRIBE", "channel").unwrap(),
        |conn| drop(conn.call("ERR", "broken").unwrap_err()),
    ];
    for (closed, leave_unclean) in leave.iter().enumerate() {
        let mut conn = pool.get();
        leave_unclean(&mut conn);
        let said = dialer.commands();
        drop(conn);
        dialer.check(&pool, (closed + 1, 0, 0));
        assert_eq!((dialer.commands(), pool.stats().closed.total()), (said, closed as u64 + 1));
    }
    let closed = pool.stats().closed;
    assert_eq!((closed.of(CloseReason::Dirty), closed.of(CloseReason::Io)), (5, 1));
}

#[test]
fn a_thread_that_panics_loses_its_connection() {
    let (dialer, pool) = setup();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _clean = pool.get();
        panic!("a trap in the borrower");
    }));
    assert!(panicked.is_err());
    dialer.check(&pool, (1, 0, 0));
    let closed = pool.stats().closed;
    assert_eq!((closed.of(CloseReason::Panicked), closed.total()), (1, 1));
    // The thread has got over it, so what it borrows from now on comes back.
    drop(pool.get());
    dialer.check(&pool, (2, 1, 0));
}

#[test]
fn discarding_closes_a_clean_connection() {
    let (dialer, pool) = setup();
    pool.get().discard();
    dialer.check(&pool, (1, 0, 0));
    let closed = pool.stats().closed;
    assert_eq!((closed.of(CloseReason::Discarded), closed.total()), (1, 1));
}

#[test]
fn a_detached_connection_is_the_callers_and_its_place_is_free() {
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
fn what_comes_back_after_the_pool_was_closed_is_closed() {
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

/// Rule 12 for the user's code that is a connection: its place is free, whatever it does.
#[test]
fn a_connection_that_panics_while_it_is_given_back_is_lost_and_its_place_is_free() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_idle(1).max_active(1).build().unwrap();
    for give_back in [|conn: PooledConn| drop(conn.close()), |conn| drop(conn)] {
        for before in ["PING", "MULTI"] {
            let mut conn = pool.acquire().unwrap();
            conn.call(before, ()).unwrap();
            conn.call("TRAP", ()).unwrap();
            let _ = catch_unwind(AssertUnwindSafe(|| give_back(conn)));
            assert_eq!((dialer.open(), pool.active_count()), (0, 0));
        }
    }
    pool.acquire().unwrap();
}
