//! Failed dials and the pauses after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redigo::testing::MemoryStream;
use redigo::{Conn, Context, Dialer, Error, Mux, Result};

use crate::support::redis_server::RedisServer;
use crate::support::sharing::{LONG, dialer, texts};
use crate::support::wait::wait_until;

/// A mux with a counter of its dials.
fn counted(
    dial: impl Fn(usize) -> Result<Conn> + Send + Sync + 'static,
) -> (Mux, Arc<AtomicUsize>) {
    let dials = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dials);
    (Mux::with(move |_| dial(count.fetch_add(1, Ordering::SeqCst))), dials)
}

fn refused() -> Result<Conn> {
    Err(Error::other("no such host"))
}

/// A mux that is in a pause of at least 80 ms.
fn in_a_long_pause() -> (Mux, Arc<AtomicUsize>) {
    let (mux, dials) = counted(|_| refused());
    for _ in 0..5 {
        mux.call("PING", ()).unwrap_err();
    }
    (mux, dials)
}

#[test]
fn outage_costs_few_dials_however_often_callers_call() {
    let (mux, dials) = counted(|_| refused());
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while start.elapsed() < Duration::from_millis(300) {
                    let error = mux.call("PING", ()).unwrap_err();
                    assert_eq!(error.to_string(), "no such host");
                }
            });
        }
    });
    // The pauses are 10, 20, 40, 80, 160 … ms, or half of that.
    let dials = dials.load(Ordering::SeqCst);
    assert!((2..=10).contains(&dials), "{dials} dials");
}

#[test]
fn server_that_hangs_up_before_a_good_reply_costs_few_dials() {
    let (mux, dials) = counted(|_| {
        let stream = MemoryStream::new("-ERR max number of clients reached\r\n");
        Ok(Dialer::tcp(":6379").wrap(stream))
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        mux.call("PING", ()).unwrap_err();
    }
    let dials = dials.load(Ordering::SeqCst);
    assert!((2..=10).contains(&dials), "{dials} dials");
}

#[test]
fn call_during_a_pause_waits_for_the_next_dial() {
    let (mux, dials) = counted(|dial| match dial {
        0 => refused(),
        _ => dialer(RedisServer::shared()).dial(),
    });
    mux.call("PING", ()).unwrap_err();
    assert_eq!(mux.err().unwrap().to_string(), "no such host");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(texts(mux.call_timeout(LONG, "PING", ()).unwrap()), "PONG");
            });
        }
    });
    assert_eq!(dials.load(Ordering::SeqCst), 2);
}

#[test]
fn call_too_short_for_the_pause_fails_with_the_dial_error() {
    let (mux, dials) = in_a_long_pause();
    let error = mux.call_timeout(Duration::from_millis(1), "PING", ()).unwrap_err();
    assert_eq!(error.to_string(), "no such host");
    let ctx = Context::background().with_timeout(Duration::from_millis(1));
    let error = mux.call_context(&ctx, "PING", ()).unwrap_err();
    assert_eq!(error.to_string(), "no such host");
    assert_eq!(dials.load(Ordering::SeqCst), 5);
    assert_eq!(mux.stats().waiting, 0);
}

#[test]
fn cancellation_and_close_end_the_wait_for_a_pause() {
    let (mux, dials) = in_a_long_pause();
    let (ctx, cancel) = Context::background().with_cancel();
    thread::scope(|scope| {
        let canceled = scope.spawn(|| mux.call_context(&ctx, "PING", ()));
        wait_until("the call to wait", || mux.stats().waiting == 1);
        cancel.cancel();
        assert!(canceled.join().unwrap().unwrap_err().is_canceled());
        let closed = scope.spawn(|| mux.call("PING", ()));
        wait_until("the call to wait", || mux.stats().waiting == 1);
        mux.close();
        assert!(matches!(closed.join().unwrap(), Err(Error::ConnClosed)));
    });
    assert_eq!(dials.load(Ordering::SeqCst), 5);
}
