//! Limits of calls: timeouts, contexts and blocking commands.

use std::thread;
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Context, Dialer, Error, Mux, Pool, Script, TimeoutKind};

use crate::support::live::{conn, dialer};
use crate::support::wait::{LONG, MILLI, SECOND, SHORT, wait_until};

/// A connection to a server that does not answer.
fn silent() -> redigo::Conn {
    Dialer::tcp(":6379").read_timeout(LONG).wrap(MemoryStream::silent())
}

#[test]
fn timeout_limits_every_call_of_a_connection() {
    static ONE: Script = Script::new(0, "return 1");
    let calls: &[(&str, fn(&mut redigo::Conn) -> redigo::Result<()>)] = &[
        ("call", |conn| conn.with_timeout(SHORT).call("PING", ()).map(drop)),
        ("query", |conn| conn.with_timeout(SHORT).query("PING", ())),
        ("run", |conn| conn.with_timeout(SHORT).pipeline().cmd("PING", ()).run().map(drop)),
        ("pipeline", |conn| conn.with_timeout(SHORT).pipeline().cmd("PING", ()).query()),
        ("script", |conn| ONE.query(&mut conn.with_timeout(SHORT), ())),
        ("receive", |conn| {
            conn.send("PING", ())?;
            conn.flush()?;
            conn.with_timeout(SHORT).receive().map(drop)
        }),
        ("transaction", |conn| {
            conn.with_timeout(SHORT).transaction((), |tx| tx.cmd("INCR", "a").exec())
        }),
        ("call_blocking", |conn| {
            conn.with_timeout(SHORT).call_blocking(LONG, "BLPOP", ("q", 60)).map(drop)
        }),
    ];
    for (name, call) in calls {
        let mut conn = silent();
        let begin = Instant::now();
        let error = call(&mut conn).unwrap_err();
        assert!(error.is_timeout(), "{name}: {error}");
        assert!(begin.elapsed() < LONG / 6, "{name}");
        assert!(conn.err().is_some(), "{name}");
    }
}

#[test]
fn context_limits_every_call_of_a_connection() {
    let (ended, cancel) = Context::background().with_cancel();
    cancel.cancel();
    let mut conn = silent();
    assert!(conn.with_context(&ended).query::<i64>("INCR", "a").unwrap_err().is_canceled());
    let mut conn = silent();
    let pipeline = conn.with_context(&ended).pipeline().cmd("INCR", "a").run().unwrap_err();
    assert!(pipeline.is_canceled());
    let mut conn = silent();
    let body = |tx: redigo::Transaction<'_>| tx.cmd("INCR", "a").exec::<()>();
    assert!(conn.with_context(&ended).transaction((), body).unwrap_err().is_canceled());

    let soon = Context::background().with_timeout(SHORT);
    let mut conn = silent();
    let error = conn.with_context(&soon).call("PING", ()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Context));
}

#[test]
fn timeout_replaces_a_shorter_read_timeout_for_its_calls_only() {
    let stream = MemoryStream::silent();
    let mut conn = Dialer::tcp(":6379").read_timeout(SHORT).wrap(stream.clone());
    let answer = thread::spawn(move || {
        thread::sleep(4 * SHORT);
        stream.push("+PONG\r\n");
    });
    assert_eq!(conn.with_timeout(LONG).query::<String>("PING", ()).unwrap(), "PONG");
    answer.join().unwrap();
    let begin = Instant::now();
    assert!(conn.call("PING", ()).unwrap_err().is_timeout());
    assert!(begin.elapsed() < LONG / 6);
}

#[test]
fn timeouts_are_restored_after_a_panic() {
    let mut conn = conn();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let body = |_: redigo::Transaction<'_>| -> redigo::Result<()> { panic!("in the body") };
        let _ = conn.with_timeout(LONG).transaction((), body);
    }));
    assert!(panicked.is_err());
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
}

#[test]
fn timeout_starts_anew_with_each_call() {
    let mut conn = conn();
    let mut limited = conn.with_timeout(SECOND);
    let begin = Instant::now();
    while begin.elapsed() < SECOND + SHORT {
        limited.call("PING", ()).unwrap();
        thread::sleep(50 * MILLI);
    }
}

#[test]
fn timeout_of_a_pool_covers_checkout_and_reply() {
    let pool = Pool::builder(dialer()).max_active(1).wait(true).build().unwrap();
    let held = pool.acquire().unwrap();
    let error = pool.with_timeout(SHORT).call("PING", ()).unwrap_err();
    assert!(error.is_timeout() && error.pool_report().is_some(), "{error}");
    drop(held);
    let begin = Instant::now();
    let error = pool.with_timeout(SHORT).call("BLPOP", ("none", 0)).unwrap_err();
    assert!(error.is_timeout() && error.pool_report().is_none(), "{error}");
    assert!(begin.elapsed() < LONG / 6);
    assert_eq!(pool.with_timeout(LONG).query::<String>("PING", ()).unwrap(), "PONG");
    assert_eq!(pool.active_count(), 1);
}

#[test]
fn ended_context_does_not_cost_a_pool_its_connection() {
    let pool = Pool::builder(dialer()).build().unwrap();
    pool.call("PING", ()).unwrap();
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(pool.with_context(&ctx).call("PING", ()).unwrap_err().is_canceled());
    let past = Context::background().with_timeout(Duration::ZERO);
    assert!(pool.with_context(&past).call("PING", ()).unwrap_err().is_timeout());
    assert!(pool.with_timeout(Duration::ZERO).call("PING", ()).unwrap_err().is_timeout());
    assert_eq!(pool.stats().dialed.demand, 1);
    assert_eq!(pool.idle_count(), 1);
}

#[test]
fn limit_of_a_mux_leaves_its_connection_usable() {
    let mux = Mux::new(dialer());
    mux.call("PING", ()).unwrap();
    assert!(mux.with_timeout(Duration::ZERO).call("PING", ()).unwrap_err().is_timeout());
    let (ctx, cancel) = Context::background().with_cancel();
    assert_eq!(mux.with_context(&ctx).query::<String>("PING", ()).unwrap(), "PONG");
    cancel.cancel();
    assert!(mux.with_context(&ctx).call("PING", ()).unwrap_err().is_canceled());
    let pipeline = mux.with_context(&ctx).pipeline().cmd("INCR", "a").run();
    assert!(pipeline.unwrap_err().is_canceled());
    assert_eq!(mux.query::<Option<i64>>("GET", "a").unwrap(), None);
    assert_eq!(mux.stats().dials, 1);
}

#[test]
fn batch_on_a_silent_mux_ends_with_its_timeout() {
    let mux = Mux::with(|_| Ok(silent()));
    let begin = Instant::now();
    let mut limited = mux.with_timeout(SHORT);
    let error = limited.pipeline().cmd("PING", ()).cmd("PING", ()).run().unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(begin.elapsed() < LONG / 6);
    assert_eq!(mux.stats().abandoned, 2);
}

#[test]
fn blocking_call_outlasts_the_read_timeout_of_a_pool() {
    let pool = Pool::builder(dialer().read_timeout(SECOND)).build().unwrap();
    let block = Duration::from_millis(1500);
    let begin = Instant::now();
    let reply = pool.call_blocking(block, "BLPOP", ("none", 1.5)).unwrap();
    assert!(reply.is_nil());
    assert!(begin.elapsed() >= block);
    assert_eq!(pool.idle_count(), 1); // the connection is still good

    let taken = thread::scope(|scope| {
        let taken = scope.spawn(|| pool.call_blocking(Duration::ZERO, "BLPOP", ("queue", 0)));
        thread::sleep(block);
        pool.call("RPUSH", ("queue", "job")).unwrap();
        taken.join().unwrap().unwrap()
    });
    assert_eq!(taken.convert::<(String, String)>().unwrap().1, "job");
    assert!(pool.call("BLPOP", ("none", 3)).unwrap_err().is_timeout());
}

#[test]
fn blocking_call_notices_a_server_that_is_gone() {
    let mut conn = Dialer::tcp(":6379").read_timeout(SHORT).wrap(MemoryStream::silent());
    let begin = Instant::now();
    let error = conn.call_blocking(2 * SHORT, "BLPOP", ("q", 0.1)).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
    assert!(begin.elapsed() >= 3 * SHORT && begin.elapsed() < LONG / 6);
}

#[test]
fn blocking_call_is_canceled_by_its_context() {
    let pool = Pool::builder(dialer().read_timeout(SECOND)).build().unwrap();
    let (ctx, cancel) = Context::background().with_cancel();
    thread::scope(|scope| {
        let worker = scope
            .spawn(|| pool.with_context(&ctx).call_blocking(Duration::ZERO, "BLPOP", ("none", 0)));
        wait_until("the connection is in use", || pool.stats().in_use == 1);
        cancel.cancel();
        assert!(matches!(worker.join().unwrap(), Err(Error::Canceled)));
    });
    assert_eq!(pool.query::<String>("PING", ()).unwrap(), "PONG");
}
