//! Panics in the user's code: no call hangs, and the next call works.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Context, Dialer, Error, FromValue, Mux, Peek, Result, Stream, Value};

use crate::logger;
use crate::support::redis_server::RedisServer;
use crate::support::sharing::{LONG, dialer, texts};
use crate::support::wait::{promptly, wait_until};

/// A mux whose first dial is `first` and whose further dials reach a server.
fn recovering(first: impl Fn(&Context) -> Result<Conn> + Send + Sync + 'static) -> Mux {
    let dials = AtomicUsize::new(0);
    Mux::with(move |ctx| match dials.fetch_add(1, Ordering::SeqCst) {
        0 => first(ctx),
        _ => dialer(RedisServer::shared()).dial_context(ctx),
    })
}

/// Checks that a call on another thread, without a deadline, gets its reply.
fn assert_live(mux: &Mux) {
    let call = || texts(mux.call("ECHO", "alive").unwrap());
    let reply = promptly("a call", || thread::scope(|scope| scope.spawn(call).join().unwrap()));
    assert_eq!(reply, "alive");
}

/// A stream that panics in one place.
struct Explosive {
    stream: MemoryStream,
    place: &'static str,
}

impl Explosive {
    fn conn(stream: &MemoryStream, place: &'static str) -> Conn {
        Dialer::tcp(":6379").wrap(Explosive { stream: stream.clone(), place })
    }
}

impl Stream for Explosive {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(self.place != "read", "the read panics");
        Stream::read(&self.stream, buffer)
    }
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        assert!(self.place != "write", "the write panics");
        Stream::write(&self.stream, bytes)
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }
    fn shutdown(&self) {
        Stream::shutdown(&self.stream);
        assert!(self.place != "shutdown", "the shutdown panics");
    }
    fn peek(&self) -> io::Result<Peek> {
        Stream::peek(&self.stream)
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        Stream::shutdown(&self.stream);
        // A second panic would end the process.
        assert!(self.place != "drop" || thread::panicking(), "the destructor panics");
    }
}

// Dials.

#[test]
fn logger_that_panics_during_a_dial_strands_no_call() {
    let mux = recovering(|_| Err(Error::other("refused")));
    logger::while_it_panics(|| {
        assert_eq!(mux.call("PING", ()).unwrap_err().to_string(), "refused");
        assert_live(&mux);
        mux.call("PING", ()).unwrap();
    });
    let mux = recovering(|ctx| dialer(RedisServer::shared()).dial_context(ctx));
    logger::while_it_panics(|| mux.call("PING", ())).unwrap();
    assert_live(&mux);
}

#[test]
fn dial_that_panics_with_an_explosive_payload_strands_no_call() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            assert!(thread::panicking(), "the payload's destructor panics");
        }
    }
    let mux = recovering(|_| panic_any(Payload));
    let error = mux.call("PING", ()).unwrap_err();
    assert!(error.to_string().contains("the dial function panicked"), "{error}");
    assert_live(&mux);
}

#[test]
fn dial_error_whose_destructor_panics_strands_no_call() {
    #[derive(Debug)]
    struct Explosive;
    impl fmt::Display for Explosive {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("explosive")
        }
    }
    impl StdError for Explosive {}
    impl Drop for Explosive {
        fn drop(&mut self) {
            assert!(thread::panicking(), "the error's destructor panics");
        }
    }
    let mux = recovering(|_| Err(Error::other(Explosive)));
    let _ = catch_unwind(AssertUnwindSafe(|| drop(mux.call("PING", ()))));
    assert_live(&mux);
}

#[test]
fn dial_that_returns_a_connection_with_pending_replies_and_panics_in_its_drop() {
    let mux = recovering(|_| {
        let mut conn = Explosive::conn(&MemoryStream::silent(), "drop");
        conn.send("PING", ())?;
        Ok(conn)
    });
    mux.call("PING", ()).unwrap_err();
    assert_live(&mux);
}

// Connections.

/// Four callers wait on a connection with an explosive stream, which then ends.
fn lose_under_four_callers(place: &'static str) {
    let stream = MemoryStream::silent();
    let explosive = stream.clone();
    let mux = recovering(move |_| Ok(Explosive::conn(&explosive, place)));
    promptly(place, || {
        thread::scope(|scope| {
            let calls: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| catch_unwind(AssertUnwindSafe(|| mux.call("GET", "a")))))
                .collect();
            wait_until("all to wait or fail", || {
                let stats = mux.stats();
                stats.in_flight == 4 || stats.lost > 0
            });
            stream.end();
            for call in calls {
                if let Ok(outcome) = call.join().unwrap() {
                    // A caller that comes late gets the next connection.
                    assert!(outcome.is_err() || mux.stats().dials > 1, "{place}: {outcome:?}");
                }
            }
        });
    });
    assert_live(&mux);
    assert!(stream.is_closed());
}

#[test]
fn panic_in_a_read_or_write_strands_no_call() {
    ["read", "write"].into_iter().for_each(lose_under_four_callers);
}

#[test]
fn panic_in_a_shutdown_strands_no_call() {
    lose_under_four_callers("shutdown");
}

#[test]
fn panic_in_a_connections_destructor_strands_no_call() {
    lose_under_four_callers("drop");
}

#[test]
fn panic_in_a_connections_destructor_does_not_reach_close_or_drop() {
    for closes in [true, false] {
        let stream = MemoryStream::silent();
        stream.push("+PONG\r\n");
        let explosive = stream.clone();
        let mux = Mux::with(move |_| Ok(Explosive::conn(&explosive, "drop")));
        mux.call("PING", ()).unwrap();
        if closes {
            mux.close();
            assert!(matches!(mux.call("PING", ()), Err(Error::ConnClosed)));
        }
        drop(mux);
        assert!(stream.is_closed());
    }
}

#[test]
fn connection_dialed_after_close_may_panic_in_its_destructor() {
    let (stream, gate) = (MemoryStream::silent(), Arc::new(Barrier::new(2)));
    let (explosive, dial_gate) = (stream.clone(), Arc::clone(&gate));
    let mux = Mux::with(move |_| {
        // The second wait ends after the mux was closed.
        dial_gate.wait();
        dial_gate.wait();
        Ok(Explosive::conn(&explosive, "drop"))
    });
    thread::scope(|scope| {
        let call = scope.spawn(|| mux.call("PING", ()));
        gate.wait();
        mux.close();
        gate.wait();
        assert!(matches!(call.join().unwrap(), Err(Error::ConnClosed)));
    });
    assert!(stream.is_closed());
}

// Logs.

#[test]
fn logger_that_panics_when_a_connection_is_lost_strands_no_call() {
    let stream = MemoryStream::silent();
    let first = stream.clone();
    let mux =
        recovering(move |_| Ok(redigo::logging(Dialer::tcp(":6379").wrap(first.clone()), "lost")));
    promptly("the callers", || {
        thread::scope(|scope| {
            let call = || {
                logger::while_it_panics(|| {
                    catch_unwind(AssertUnwindSafe(|| mux.call_timeout(LONG, "GET", "a")))
                })
            };
            let calls: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
            wait_until("all to wait or fail", || {
                let stats = mux.stats();
                stats.in_flight == 4 || stats.lost > 0
            });
            stream.end();
            calls.into_iter().for_each(|call| drop(call.join().unwrap()));
        });
    });
    assert_live(&mux);
}

#[test]
fn log_filter_that_panics_strands_no_call() {
    let calls = AtomicUsize::new(0);
    let skip = Arc::new(move |_: &str| {
        assert!(calls.fetch_add(1, Ordering::SeqCst) != 2, "the filter panics");
        false
    });
    logger::install();
    let mux = Mux::with(move |ctx| {
        let skip = Arc::clone(&skip);
        let conn = dialer(RedisServer::shared()).dial_context(ctx)?;
        Ok(redigo::logging_filtered(conn, "filter", move |command| skip(command)))
    });
    let outcomes: Vec<_> =
        (0..5).map(|_| catch_unwind(AssertUnwindSafe(|| mux.call("ECHO", "a").is_ok()))).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    assert_live(&mux);
}

// Conversions.

#[test]
fn conversion_that_panics_ends_only_its_own_call() {
    #[derive(Debug)]
    struct Explosive;
    impl FromValue for Explosive {
        const WANTED: &'static str = "nothing";
        fn from_value(_: Value) -> Result<Explosive> {
            panic!("the conversion panics");
        }
    }
    let mux = Mux::new(dialer(RedisServer::shared()));
    let mut handle = mux.get();
    handle.send("ECHO", "before").unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| mux.query::<Explosive>("ECHO", "a"))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| handle.query::<Explosive>("ECHO", "a"))).is_err());
    assert_eq!(texts(handle.call("ECHO", "after").unwrap()), "after");
    assert_live(&mux);
    assert_eq!((mux.stats().dials, mux.stats().in_flight), (1, 0));
}
