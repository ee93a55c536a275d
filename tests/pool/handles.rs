//! Shutdown handles belong to one checkout, and a connection to the pool that dialed it.

use std::sync::{Arc, Mutex};
use std::thread;

use redigo::testing::MemoryStream;
use redigo::{CloseReason, Conn, Dialer, Pool, PooledConn, ShutdownHandle};

use crate::support::fake_conn::{number, setup};
use crate::support::wait::{PATIENCE, SHORT, promptly, wait_until};

#[test]
fn connection_that_was_shut_down_is_not_checked_out_again() {
    for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
        let (dialer, pool, _) = setup(|options| options.max_active(1));
        let conn = pool.acquire().unwrap();
        conn.shutdown_handle().shutdown();
        give_back(conn);
        dialer.check(&pool, (1, 0, 0));
        assert_eq!(pool.stats().closed.of(CloseReason::Io), 1);
    }
}

#[test]
fn handle_of_the_last_borrower_does_nothing() {
    for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
        let (_, pool, _) = setup(|options| options.max_active(1));
        let conn = pool.acquire().unwrap();
        let old = conn.shutdown_handle();
        give_back(conn);
        old.shutdown();
        let mut conn = pool.acquire().unwrap();
        old.shutdown();
        assert_eq!(number(&mut conn), 1, "the connection still works");
        // Its own handle works.
        let own = conn.shutdown_handle();
        own.shutdown();
        assert!(conn.call("PING", ()).unwrap_err().is_canceled());
    }
}

#[test]
fn handle_of_a_dropped_connection_that_was_cleaned_does_nothing() {
    let (_, pool, _) = setup(|options| options.max_active(1));
    let mut conn = pool.acquire().unwrap();
    conn.call("MULTI", ()).unwrap();
    let old = conn.shutdown_handle();
    drop(conn);
    wait_until("it is clean", || pool.stats().cleaning == 0);
    old.shutdown();
    assert_eq!(number(&mut pool.acquire().unwrap()), 1);
}

#[test]
fn handle_of_the_dial_function_does_nothing() {
    let handles: Arc<Mutex<Vec<ShutdownHandle>>> = Arc::default();
    let kept = Arc::clone(&handles);
    let pool = Pool::builder_with(move |_| {
        let conn = Dialer::tcp(":6379").wrap(MemoryStream::new("+PONG\r\n"));
        kept.lock().unwrap().push(conn.shutdown_handle());
        Ok(conn)
    });
    let pool = pool.build().unwrap();
    let mut conn = pool.acquire().unwrap();
    handles.lock().unwrap()[0].shutdown();
    assert!(conn.call("PING", ()).is_ok());
}

#[test]
fn handle_stays_valid_for_a_detached_connection() {
    let pool =
        Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent()))).build();
    let conn = pool.unwrap().acquire().unwrap();
    let handle = conn.shutdown_handle();
    let mut detached = conn.detach();
    let waiting = thread::spawn(move || detached.call("BLPOP", ("queue", 0)));
    handle.shutdown();
    assert!(promptly("a call", || waiting.join().unwrap()).unwrap_err().is_canceled());
}

/// Either the handle ends the connection, and it is closed; or it comes too late and does nothing.
#[test]
fn shutdown_during_a_check_in_never_reaches_the_next_borrower() {
    let (_, pool, _) = setup(|options| options.max_active(1).wait(true));
    for _ in 0..500 {
        let conn = pool.acquire().unwrap();
        let handle = conn.shutdown_handle();
        let other = thread::spawn(move || handle.shutdown());
        drop(conn);
        let mut next = pool.get_timeout(PATIENCE).unwrap();
        next.call("PING", ()).unwrap();
        other.join().unwrap();
        next.call("PING", ()).unwrap();
    }
}

/// Replaces the pool's connection by one that the pool has not dialed.
fn replace(conn: &mut PooledConn) -> Conn {
    let foreign = Dialer::tcp(":6379").wrap(MemoryStream::new("$7\r\nforeign\r\n"));
    std::mem::replace(&mut **conn, foreign)
}

#[test]
fn foreign_connection_does_not_get_into_the_pool() {
    for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
        let (dialer, pool, _) = setup(|options| options.max_active(1));
        let mut conn = pool.acquire().unwrap();
        let mut own = replace(&mut conn);
        give_back(conn);
        assert_eq!((pool.active_count(), pool.stats().closed.of(CloseReason::Discarded)), (0, 1));
        assert_eq!(number(&mut pool.acquire().unwrap()), 2);
        // Like a detached connection, it is the borrower's.
        assert_eq!(number(&mut own), 1);
        drop(own);
        wait_until("it is closed", || dialer.open() == 1);
    }
}

#[test]
fn foreign_connection_that_is_unclean_is_closed_without_cleaning() {
    let (_, pool, _) = setup(|options| options.max_active(1).cleanup_timeout(SHORT));
    for give_back in [|conn: PooledConn| drop(conn.close()), drop] {
        let mut conn = pool.acquire().unwrap();
        let _own = replace(&mut conn);
        conn.send("GET", "key").unwrap();
        give_back(conn);
        assert_eq!((pool.active_count(), pool.stats().cleaning), (0, 0));
    }
}

#[test]
fn swapped_connections_of_one_pool_are_both_closed() {
    let (dialer, pool, _) = setup(|options| options.max_active(2));
    let (mut first, mut second) = (pool.acquire().unwrap(), pool.acquire().unwrap());
    std::mem::swap(&mut *first, &mut *second);
    drop((first, second));
    dialer.check(&pool, (2, 0, 0));
}
