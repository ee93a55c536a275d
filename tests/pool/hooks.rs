//! Hooks: when they run, and that a failure or panic in one costs one connection and no slot.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};

use redigo::testing::ManualClock;
use redigo::{CloseReason, Conn, Error, Pool, PoolBuilder, PooledConn, Result};

use crate::support::fake_conn::{FakeDialer, Verdict, number};
use crate::support::pooled::unnamed as to;
use crate::support::redis_server::{self, RedisServer};
use crate::support::wait::{PATIENCE, SECOND, promptly, wait_until};

type Hook = Box<dyn Fn(&mut Conn) -> Result<()> + Send + Sync>;

/// The calls of the hooks, in order.
#[derive(Debug, Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: &'static str) -> Hook {
        let diary = self.clone();
        Box::new(move |conn| {
            diary.write(format!("{what} {}", number(conn)));
            Ok(())
        })
    }

    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn setup(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = options(dialer.pool().max_active(4)).build().unwrap();
    (dialer, pool)
}

fn noted(options: impl FnOnce(PoolBuilder) -> PoolBuilder) -> (FakeDialer, Pool, Diary) {
    let diary = Diary::default();
    let closes = diary.clone();
    let (dialer, pool) = setup(|builder| {
        let builder = builder.on_dial(diary.note("dial")).on_borrow(diary.note("borrow"));
        let builder = builder.on_return(diary.note("return"));
        options(builder.on_close(move |reason| closes.write(format!("close: {reason}"))))
    });
    (dialer, pool, diary)
}

#[test]
fn hooks_run_in_the_order_of_a_connections_life() {
    let (_, pool, diary) = noted(|options| options.max_idle(1));
    let first = pool.acquire().unwrap();
    assert_eq!(diary.take(), ["dial 1", "borrow 1"]);
    first.close().unwrap();
    assert_eq!(diary.take(), ["return 1"]);
    let [first, second] = [pool.acquire().unwrap(), pool.get_timeout(PATIENCE).unwrap()];
    assert_eq!(diary.take(), ["borrow 1", "dial 2", "borrow 2"]);
    drop(second);
    drop(first);
    assert_eq!(diary.take(), ["return 2", "return 1", "close: overflow"]);
    let mut conn = pool.acquire().unwrap();
    conn.call("ERR", "broken").unwrap_err();
    drop(conn);
    // A broken connection is not returned, and a detached one is not closed.
    assert_eq!(diary.take(), ["borrow 1", "close: io"]);
    let conn = pool.acquire().unwrap().detach();
    assert_eq!(diary.take(), ["dial 3", "borrow 3"]);
    drop(conn);
    pool.acquire().unwrap().discard();
    assert_eq!(diary.take(), ["dial 4", "borrow 4", "close: discarded"]);
    drop(pool.acquire().unwrap());
    pool.close();
    assert_eq!(diary.take(), ["dial 5", "borrow 5", "return 5", "close: pool_closed"]);
}

/// Two hooks that fail for every connection except this one: with an error, and with a panic.
fn fails(but: usize) -> [Hook; 2] {
    let fails = move |conn: &mut Conn| match number(conn) {
        number if number == but => Ok(()),
        _ => Err(Error::other("the hook says no")),
    };
    let panics = move |conn: &mut Conn| match number(conn) {
        number if number == but => Ok(()),
        _ => resume_unwind(Box::new("a trap in the hook")),
    };
    [Box::new(fails), Box::new(panics)]
}

/// Every dialed connection is open, closed or detached, and none is in use.
#[track_caller]
fn check_at_rest(dialer: &FakeDialer, pool: &Pool) {
    // Connections that a checkout finds dead are closed on another thread.
    wait_until("connections are closed", || dialer.open() <= pool.idle_count());
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.waiting, stats.dialing), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.open, dialer.open()), (stats.idle, stats.idle), "{stats:?}");
    let gone = stats.closed.total() + stats.detached;
    assert_eq!(stats.dialed.total() - gone, stats.open as u64, "{stats:?}");
}

#[test]
fn failing_on_dial_is_a_failed_dial() {
    for (hook, told) in fails(3).into_iter().zip(["the hook says no", "a trap in the hook"]) {
        let (dialer, pool) = setup(|options| options.on_dial(hook));
        for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
            let error = promptly("a dial", || get(&pool).unwrap_err());
            assert!(error.to_string().contains(told), "{error}");
        }
        assert_eq!((pool.stats().dial_errors, dialer.open()), (2, 0));
        assert_eq!(number(&mut pool.acquire().unwrap()), 3);
        check_at_rest(&dialer, &pool);
    }
}

#[test]
fn failing_on_borrow_replaces_idle_but_not_new_connections() {
    for (hook, told) in fails(3).into_iter().zip(["the hook says no", "a trap in the hook"]) {
        let allows = Arc::new(AtomicUsize::new(1));
        let allowed = Arc::clone(&allows);
        let (dialer, pool) = setup(|options| {
            options
                .on_borrow(move |conn| if allowed.load(SeqCst) > 0 { Ok(()) } else { hook(conn) })
        });
        // The first two are idle, and fail from now on.
        drop([pool.acquire().unwrap(), pool.acquire().unwrap()]);
        allows.store(0, SeqCst);
        assert_eq!(number(&mut pool.acquire().unwrap()), 3, "failing idle connections are skipped");
        assert_eq!((pool.stats().closed.of(CloseReason::Hook), pool.idle_count()), (2, 1));
        check_at_rest(&dialer, &pool);

        let third = pool.acquire().unwrap();
        // A failing new connection is not replaced.
        for get in [Pool::acquire, |pool: &Pool| pool.get_timeout(PATIENCE)] {
            let error = promptly("a refusal", || get(&pool).unwrap_err());
            assert!(error.to_string().contains(told), "{error}");
        }
        drop(third);
        assert_eq!(pool.stats().closed.of(CloseReason::Hook), 4);
        check_at_rest(&dialer, &pool);
    }
}

#[test]
fn failing_on_return_closes_the_connection() {
    for give_back in [|conn: PooledConn| conn.close().unwrap(), drop] {
        for hook in fails(2) {
            let (dialer, pool) = setup(|options| options.on_return(hook));
            let conns = [pool.acquire().unwrap(), pool.acquire().unwrap()];
            conns.into_iter().for_each(give_back);
            assert_eq!((pool.idle_count(), pool.stats().closed.of(CloseReason::Hook)), (1, 1));
            check_at_rest(&dialer, &pool);
        }
    }
}

#[test]
fn hook_that_leaves_a_connection_unclean_has_failed() {
    let (dialer, pool) = setup(|options| options.on_return(|conn| conn.send("PING", ())));
    drop(pool.acquire().unwrap());
    assert_eq!(pool.stats().closed.of(CloseReason::Hook), 1);
    check_at_rest(&dialer, &pool);
    let (dialer, pool) = setup(|options| {
        options.on_borrow(|conn| {
            // It breaks the connection but returns no error.
            let _ = conn.call("ERR", "broken");
            Ok(())
        })
    });
    assert!(pool.acquire().unwrap_err().to_string().contains("broken"));
    check_at_rest(&dialer, &pool);
}

#[test]
fn panic_in_on_close_has_no_effect() {
    let (dialer, pool) = setup(|options| {
        options.max_idle(1).on_close(|_| resume_unwind(Box::new("a trap in the hook")))
    });
    drop([pool.acquire().unwrap(), pool.acquire().unwrap()]);
    pool.acquire().unwrap().discard();
    drop([pool.acquire().unwrap(), pool.acquire().unwrap()]);
    pool.close();
    assert_eq!(pool.stats().closed.total(), 4);
    check_at_rest(&dialer, &pool);
}

#[test]
fn hooks_can_use_their_pool() {
    static POOL: OnceLock<Pool> = OnceLock::new();
    let looks = |_: &mut Conn| {
        let stats = POOL.get().expect("the pool is built").stats();
        assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing);
        Ok(())
    };
    let (_, pool) = setup(|options| {
        let options = options.on_dial(looks).on_borrow(looks).on_return(looks);
        options.on_close(|_| drop(POOL.get().expect("the pool is built").acquire()))
    });
    let pool = POOL.get_or_init(|| pool);
    promptly("a life", || {
        drop(pool.acquire().unwrap());
        drop(pool.get_timeout(PATIENCE).unwrap());
        pool.acquire().unwrap().discard();
    });
    assert_eq!((pool.idle_count(), pool.stats().closed.total()), (1, 1));
}

/// Closes connections for every reason: each close is reported once and counted once.
#[test]
fn on_close_runs_once_for_each_counted_close() {
    let told: Arc<[AtomicU64; 14]> = Arc::default();
    let (counts, clock, returns) =
        (Arc::clone(&told), ManualClock::new(), Arc::new(AtomicUsize::new(1)));
    let refuses = Arc::clone(&returns);
    let (dialer, pool) = setup(|options| {
        let options = options.max_idle(2).clock(clock.clone()).idle_timeout(10 * SECOND);
        let options = options.max_conn_lifetime(60 * SECOND).peek_after(SECOND);
        let options = options.leak_threshold(30 * SECOND).reclaim_leaked(true);
        let options = options.on_return(move |_| match refuses.load(SeqCst) {
            0 => Err(Error::other("the hook says no")),
            _ => Ok(()),
        });
        options.on_close(move |reason| {
            let at = CloseReason::ALL.iter().position(|other| *other == reason).unwrap();
            counts[at].fetch_add(1, SeqCst);
        })
    });
    let take = || pool.acquire().unwrap();
    // Overflow, idle timeout, lifetime, evicted.
    drop([take(), take(), take()]);
    clock.advance(11 * SECOND);
    drop(take());
    let old = take();
    clock.advance(29 * SECOND);
    drop(old);
    let old = take();
    clock.advance(20 * SECOND);
    drop(old);
    let old = take();
    clock.advance(20 * SECOND);
    drop(old);
    drop(take());
    pool.evict_all();
    // Health, I/O, dirty, retired, hook, discarded.
    drop(take());
    dialer.hang_up();
    clock.advance(2 * SECOND);
    drop(take());
    let mut conn = take();
    conn.call("ERR", "broken").unwrap_err();
    drop(conn);
    let mut conn = take();
    conn.call("MONITOR", ()).unwrap();
    drop(conn);
    let mut conn = take();
    conn.call("FAIL", "LOADING").unwrap_err();
    drop(conn);
    returns.store(0, SeqCst);
    drop(take());
    returns.store(1, SeqCst);
    take().discard();
    // Reclaimed, with and without an error before its return.
    for uses in [false, true] {
        let mut leaked = take();
        clock.advance(30 * SECOND);
        wait_until("the connection is reclaimed", || pool.stats().in_use == 0);
        if uses {
            leaked.call("PING", ()).unwrap_err();
        }
        drop(leaked);
    }
    // A thread that panics, and the closing of the pool.
    let conn = take();
    let panicked = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let _conn = conn;
            resume_unwind(Box::new("a trap in the borrower"))
        });
        let outcome: std::thread::Result<()> = thread.join();
        outcome.is_err()
    });
    assert!(panicked);
    drop(take());
    pool.close();

    let closed = pool.stats().closed;
    let calls = || told.iter().map(|calls| calls.load(SeqCst)).sum::<u64>();
    wait_until("the hook has run", || calls() == closed.total());
    for (at, reason) in CloseReason::ALL.into_iter().enumerate() {
        assert_eq!(told[at].load(SeqCst), closed.of(reason), "{reason}: {closed:?}");
        // Fakes send no invalid data.
        assert!(closed.of(reason) > 0 || reason == CloseReason::Protocol, "{reason}: {closed:?}");
    }
    assert_eq!(closed.of(CloseReason::Leak), 2);
    check_at_rest(&dialer, &pool);
    // A connection that on_dial refuses never belonged to the pool.
    dialer.set(Verdict::Connect);
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let (_, pool) = setup(|options| {
        let options = options.on_dial(|_| Err(Error::other("the hook says no")));
        options.on_close(move |_| {
            counter.fetch_add(1, SeqCst);
        })
    });
    pool.acquire().unwrap_err();
    assert_eq!((told.load(SeqCst), pool.stats().closed.total()), (0, 0));
}

#[test]
fn hooks_run_on_a_real_server() {
    let mut server = RedisServer::start();
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&closed);
    let options = Pool::builder(to(&server))
        .on_dial(|conn| conn.call("CLIENT", ("SETNAME", "hooked")).map(drop))
        .on_borrow(|conn| conn.call("PING", ()).map(drop))
        .on_return(|conn| conn.call("INCR", "returned").map(drop))
        .on_close(move |_| {
            counter.fetch_add(1, SeqCst);
        });
    let pool = options.max_active(3).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    // State set by on_dial is kept.
    conn.call("CLIENT", ("SETNAME", "borrowed")).unwrap();
    conn.close().unwrap();
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<String>("CLIENT", "GETNAME").unwrap(), "hooked");
    assert_eq!(conn.query::<i64>("GET", "returned").unwrap(), 1);
    conn.close().unwrap();

    drop([pool.acquire().unwrap(), pool.acquire().unwrap()]);
    server.restart();
    // The hook fails for both dead connections, and the caller gets a third.
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<String>("CLIENT", "GETNAME").unwrap(), "hooked");
    wait_until("both are closed", || closed.load(SeqCst) == 2);
    assert_eq!(pool.stats().closed.of(CloseReason::Hook), 2);

    // The hook refuses a connection to a replica at its return.
    conn.call("REPLICAOF", ("127.0.0.1", redis_server::free_port().unwrap())).unwrap();
    conn.close().unwrap();
    assert_eq!((pool.active_count(), closed.load(SeqCst)), (0, 3));
}
