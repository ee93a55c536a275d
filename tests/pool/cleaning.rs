//! Connections that are dropped in an unclean state: threads of the pool clean them, as `close`
//! does. On fakes, on a stream that records its threads, and on a real server.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{CloseReason, Dialer, Error, Peek, Pool, PooledConn, Stream};

use crate::support::fake_conn::{FakeDialer, number, setup};
use crate::support::live;
use crate::support::log_lines::{listen, own_warnings_with};
use crate::support::threads::{join, start, start_waiting};
use crate::support::wait::{MILLI, PATIENCE, SECOND, SHORT, promptly, wait_until};

/// Waits until no dropped connection is being cleaned.
#[track_caller]
fn wait_for_cleaners(pool: &Pool) {
    wait_until("dropped connections are clean", || pool.stats().cleaning == 0);
}

/// A pool whose only connection waits for a reply of this server before it is clean.
fn pool_that_cleans() -> (Pool, MemoryStream) {
    let server = MemoryStream::silent();
    let stream = server.clone();
    let pool = Pool::builder_with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())))
        .max_active(1)
        .wait(true)
        .cleanup_timeout(PATIENCE)
        .build()
        .unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.send("GET", "k").unwrap();
    drop(conn);
    wait_until("the command is sent", || !server.written().is_empty());
    (pool, server)
}

/// A stream that records which threads read, write and peek.
struct Recorded(MemoryStream, Arc<Mutex<Vec<ThreadId>>>);

impl Recorded {
    fn record(&self) {
        self.1.lock().unwrap().push(thread::current().id());
    }
}

impl Stream for Recorded {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.record();
        Stream::read(&self.0, buffer)
    }
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.record();
        Stream::write(&self.0, bytes)
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }
    fn shutdown(&self) {
        Stream::shutdown(&self.0);
    }
    fn peek(&self) -> io::Result<Peek> {
        self.record();
        Stream::peek(&self.0)
    }
}

#[test]
fn dropping_thread_does_no_io() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let (server, recorded) = (MemoryStream::silent(), Arc::clone(&threads));
    let stream = server.clone();
    let pool = Pool::builder_with(move |_| {
        Ok(Dialer::tcp(":6379").wrap(Recorded(stream.clone(), Arc::clone(&recorded))))
    });
    let pool = pool.build().unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.send("SET", ("key", "value")).unwrap();
    drop(conn);
    assert_eq!((pool.stats().in_use, pool.idle_count()), (1, 0), "it keeps its slot");
    server.push("+OK\r\n");
    wait_for_cleaners(&pool);
    assert_eq!((pool.idle_count(), pool.stats().closed.total()), (1, 0));
    let threads = threads.lock().unwrap();
    assert!(!threads.is_empty() && !threads.contains(&thread::current().id()));
}

#[test]
fn every_kind_of_state_is_cleaned_after_a_drop() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(1).wait(true).build().unwrap();
    let leave: [(fn(&mut PooledConn), &[&str]); 5] = [
        (|conn| conn.send("SET", ("k", 1)).unwrap(), &["SET"]),
        (|conn| drop(conn.call("MULTI", ()).unwrap()), &["MULTI", "DISCARD"]),
        (|conn| drop(conn.call("WATCH", "key").unwrap()), &["WATCH", "UNWATCH"]),
        (|conn| drop(conn.call("SELECT", 5).unwrap()), &["SELECT", "SELECT"]),
        (
            |conn| conn.send("SUBSCRIBE", "channel").unwrap(),
            &["SUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "ECHO"],
        ),
    ];
    for (leave_unclean, expected) in leave {
        let before = dialer.commands().len();
        let mut conn = pool.acquire().unwrap();
        leave_unclean(&mut conn);
        drop(conn);
        wait_for_cleaners(&pool);
        assert_eq!(dialer.commands()[before..], *expected);
        dialer.check(&pool, (1, 1, 0));
    }
    assert_eq!(pool.stats().closed.total(), 0);
}

/// redigo's `defer conn.Close()` sends the queued commands and receives their replies.
#[test]
fn queued_commands_of_dropped_connections_are_sent() {
    let pool = Pool::builder(live::dialer()).max_active(4).build().unwrap();
    for key in 0..1000 {
        let mut conn = pool.acquire().unwrap();
        conn.send("SET", (key, "value")).unwrap();
    }
    wait_for_cleaners(&pool);
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<usize>("DBSIZE", ()).unwrap(), 1000);
    let stats = pool.stats();
    assert!(stats.dialed.total() <= 4 && stats.closed.total() == 0, "{stats:?}");
}

/// As after an early return with `?`.
#[test]
fn drop_in_the_middle_of_a_sequence_keeps_the_connection() {
    fn sequence(pool: &Pool) -> redigo::Result<()> {
        let mut conn = pool.acquire()?;
        conn.call("WATCH", "key")?;
        conn.call("MULTI", ())?;
        conn.call("INCR", ())?; // the wrong number of arguments
        conn.call("EXEC", ())?;
        conn.close()
    }
    let pool = Pool::builder(live::dialer()).max_active(1).build().unwrap();
    for _ in 0..20 {
        assert!(matches!(sequence(&pool), Err(Error::Server(_))));
    }
    wait_for_cleaners(&pool);
    let stats = pool.stats();
    assert_eq!((stats.dialed.total(), stats.idle, stats.closed.total()), (1, 1, 0), "{stats:?}");
}

/// Also without `wait`: redigo's `Close` would have returned the connection by now.
#[test]
fn next_caller_waits_for_a_connection_that_is_being_cleaned() {
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(1).wait(false).build().unwrap();
    for _ in 0..200 {
        let mut conn = pool.acquire().unwrap();
        conn.send("SET", ("key", "value")).unwrap();
    }
    assert_eq!(dialer.dialed(), 1);
    let _conn = pool.acquire().unwrap();
    assert!(pool.acquire().unwrap_err().is_pool_exhausted());
}

#[test]
fn waiter_gets_a_connection_when_it_is_clean() {
    let (pool, server) = pool_that_cleans();
    let waiter = start_waiting(&pool, |pool| pool.acquire().map(|mut conn| conn.call("PING", ())));
    server.push("+value\r\n");
    wait_until("the waiter has it", || pool.stats().waiting == 0);
    server.push("+PONG\r\n");
    assert_eq!(join(waiter).unwrap().unwrap().as_str(), Some("PONG"));
    assert_eq!(pool.stats().dialed.total(), 1);
}

/// More connections than there can be cleaners, on a server that does not answer.
#[test]
fn all_slots_can_be_cleaned_at_the_same_time() {
    let (_, pool, _) =
        setup(|options| options.max_active(40).wait(true).cleanup_timeout(SHORT).max_idle(40));
    let mut conns: Vec<_> = (0..40).map(|_| pool.acquire().unwrap()).collect();
    conns.iter_mut().for_each(|conn| conn.send("SILENT", ()).unwrap());
    drop(conns);
    let waiter = start(&pool, |pool| pool.get_timeout(PATIENCE).map(drop));
    join(waiter).unwrap();
    wait_for_cleaners(&pool);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.dialing), (0, 0), "{stats:?}");
    let all: Vec<_> = (0..40).map(|_| pool.get_timeout(PATIENCE).unwrap()).collect();
    assert_eq!((all.len(), pool.stats().open), (40, 40));
    assert!(stats.closed.total() >= 40, "{stats:?}");
}

#[test]
fn connection_that_cannot_be_cleaned_in_time_is_closed() {
    let (dialer, pool, _) = setup(|options| options.max_active(1).cleanup_timeout(SHORT));
    let mut conn = pool.acquire().unwrap();
    conn.send("SILENT", ()).unwrap();
    promptly("a drop", || drop(conn));
    wait_for_cleaners(&pool);
    dialer.check(&pool, (1, 0, 0));
    assert_eq!(pool.stats().closed.of(CloseReason::Io), 1);
}

#[test]
fn connection_that_panics_while_it_is_cleaned_is_closed() {
    let (dialer, pool, _) = setup(|options| options.max_active(1));
    let mut conn = pool.acquire().unwrap();
    conn.call("MULTI", ()).unwrap();
    conn.call("TRAP", ()).unwrap();
    drop(conn);
    wait_for_cleaners(&pool);
    dialer.check(&pool, (1, 0, 0));
    assert_eq!(number(&mut pool.acquire().unwrap()), 2);
}

#[test]
fn on_return_runs_after_a_drop_too() {
    let returned = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&returned);
    let (dialer, pool, _) = setup(|options| {
        options.max_active(1).on_return(move |_| match counter.fetch_add(1, SeqCst) {
            0 => Ok(()),
            _ => Err(Error::other("the hook says no")),
        })
    });
    for (idle, refused) in [(1, 0), (0, 1)] {
        let mut conn = pool.acquire().unwrap();
        conn.call("MULTI", ()).unwrap();
        drop(conn);
        wait_for_cleaners(&pool);
        dialer.check(&pool, (1, idle, 0));
        assert_eq!(pool.stats().closed.of(CloseReason::Hook), refused);
    }
}

#[test]
fn dropped_connection_of_a_closed_pool_sends_its_commands() {
    let dialer = live::dialer();
    let pool = Pool::builder(dialer.clone()).build().unwrap();
    let mut control = dialer.dial().unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.send("SET", ("key", "value")).unwrap();
    // The last handle of the pool.
    drop(pool);
    drop(conn);
    wait_until("the command is carried out", || control.query::<bool>("EXISTS", "key").unwrap());
}

#[test]
fn close_and_wait_waits_for_cleaners() {
    let (pool, server) = pool_that_cleans();
    let closing = start(&pool, |pool| pool.close_and_wait(PATIENCE));
    wait_until("the pool is closed", || pool.is_closed());
    assert!(!closing.is_finished());
    server.push("+value\r\n");
    let report = join(closing);
    assert_eq!((report.returned, report.aborted), (1, 0), "{report}");
    assert_eq!(pool.stats().closed.of(CloseReason::PoolClosed), 1);
}

#[test]
fn close_and_wait_aborts_cleaners_at_its_timeout() {
    let (dialer, pool, _) = setup(|options| options.cleanup_timeout(PATIENCE));
    let mut conn = pool.acquire().unwrap();
    conn.send("SILENT", ()).unwrap();
    drop(conn);
    let report = promptly("closing", || pool.close_and_wait(20 * MILLI));
    assert_eq!((report.returned, report.aborted), (0, 1), "{report}");
    wait_until("the connection is closed", || dialer.open() == 0);
}

#[test]
fn many_discarded_drops_are_logged_once_a_minute() {
    listen();
    let (_, pool, clock) = setup(|options| options);
    let drop_lost = |times| {
        for _ in 0..times {
            let mut conn = pool.acquire().unwrap();
            conn.call("MONITOR", ()).unwrap();
        }
    };
    let said = || own_warnings_with(&["were dropped and could not be cleaned"]).len();
    drop_lost(19);
    assert_eq!(said(), 0);
    drop_lost(100);
    assert_eq!(said(), 1);
    clock.advance(60 * SECOND);
    drop_lost(20);
    assert_eq!(said(), 2);
    assert_eq!(pool.stats().closed.of(CloseReason::Dirty), 139);
}
