//! The calls and deadlines that reach a `RawConn`, through a connection and through a pool:
//! section 2.9 of the conformance matrix.
//!
//! redigo checks whether a connection has a method with a timeout or a context, and its tests
//! record the method called. Here one method takes a deadline, and the tests record the deadline.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redigo::{
    Conn, Context, Error, Pool, PooledConn, Result, ShutdownHandle, TimeoutKind, ToArgs, Value,
    raw::{RawConn, RawReceive, RawSend},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A method that was called, with its deadline.
type Called = (&'static str, Option<Instant>);

/// Answers every command, and records the deadlines.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Called>>>);

impl Recorder {
    fn note(&self, what: &'static str, deadline: Option<Instant>) {
        self.0.lock().unwrap().push((what, deadline));
    }

    /// The calls since the last `take`.
    fn take(&self) -> Vec<Called> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Two recorders, one for each half.
#[derive(Clone, Default)]
struct Raw(Recorder, Recorder);

impl RawSend for Recorder {
    fn send(&mut self, _: &str, _: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.note("send", deadline);
        Ok(())
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.note("flush", deadline);
        Ok(())
    }
}

impl RawReceive for Recorder {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.note("receive", deadline);
        match deadline {
            Some(at) if at <= Instant::now() => Err(TimeoutKind::Read.into()),
            _ => Ok(Value::simple("OK")),
        }
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.note("poll", deadline);
        Ok(false)
    }
}

impl RawSend for Raw {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.0.send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.0.flush(deadline)
    }
}

impl RawReceive for Raw {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.1.receive(deadline)
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.1.poll(deadline)
    }
}

impl RawConn for Raw {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        (&mut self.0, &mut self.1)
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle::new(|| {})
    }

    fn close(&mut self) {
        self.0.note("close", None);
    }
}

fn conn() -> (Conn, Raw) {
    let raw = Raw::default();
    (Conn::new(raw.clone()), raw)
}

fn pooled() -> (PooledConn, Raw) {
    let raw = Raw::default();
    let lent = raw.clone();
    let pool = Pool::builder_with(move |_| Ok(Conn::new(lent.clone()))).build().unwrap();
    (pool.acquire().unwrap(), raw)
}

/// Checks the deadlines of all raw calls: all the same, namely none, or `limit` after the start.
#[track_caller]
fn assert_limit(raw: &Raw, began: Instant, limit: Option<Duration>, calls: &[&str]) {
    let mut seen = raw.0.take();
    seen.extend(raw.1.take());
    assert_eq!(seen.iter().map(|(what, _)| *what).collect::<Vec<_>>(), calls);
    for (what, deadline) in seen {
        match (deadline, limit) {
            (None, None) => {}
            (Some(at), Some(limit)) => {
                assert!(at >= began + limit && at <= Instant::now() + limit, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

const CALL: &[&str] = &["send", "flush", "receive"];
const RECEIVE: &[&str] = &["receive"];

fn timeouts(conn: &mut Conn, raw: &Raw) {
    let now = Instant::now();
    assert_eq!(conn.call("PING", ()).unwrap(), Value::simple("OK"));
    assert_limit(raw, now, None, CALL);
    assert_eq!(conn.call_timeout(MINUTE, "PING", ()).unwrap(), Value::simple("OK"));
    assert_limit(raw, now, Some(MINUTE), CALL);
    assert_eq!(conn.receive().unwrap(), Value::simple("OK"));
    assert_limit(raw, now, None, RECEIVE);
    assert_eq!(conn.receive_timeout(MINUTE).unwrap(), Value::simple("OK"));
    assert_limit(raw, now, Some(MINUTE), RECEIVE);
    // `None` is no limit, whatever the calls before had.
    conn.call_timeout(None, "PING", ()).unwrap();
    assert_limit(raw, now, None, CALL);
    assert!(conn.poll(MINUTE).unwrap().is_none());
    assert_limit(raw, now, Some(MINUTE), &["poll"]);
}

fn contexts(conn: &mut Conn, raw: &Raw) {
    let now = Instant::now();
    let ctx = Context::background().with_timeout(MINUTE);
    conn.call("PING", ()).unwrap();
    assert_limit(raw, now, None, CALL);
    conn.call_context(&ctx, "PING", ()).unwrap();
    assert_limit(raw, now, Some(MINUTE), CALL);
    conn.receive().unwrap();
    assert_limit(raw, now, None, RECEIVE);
    conn.receive_context(&ctx).unwrap();
    assert_limit(raw, now, Some(MINUTE), RECEIVE);
    // A context that never ends adds no deadline.
    conn.call_context(&Context::background(), "PING", ()).unwrap();
    assert_limit(raw, now, None, CALL);
}

#[test]
fn r170_to_r173_timeouts_reach_the_raw_connection() {
    let (mut conn, raw) = conn();
    timeouts(&mut conn, &raw);
}

#[test]
fn r174_timeouts_reach_the_raw_connection_through_a_pool() {
    let (mut conn, raw) = pooled();
    timeouts(&mut conn, &raw);
}

#[test]
fn r175_contexts_reach_the_raw_connection() {
    let (mut conn, raw) = conn();
    contexts(&mut conn, &raw);
}

#[test]
fn r176_contexts_reach_the_raw_connection_through_a_pool() {
    let (mut conn, raw) = pooled();
    contexts(&mut conn, &raw);
}

#[test]
fn halves_pass_their_deadlines_on() {
    let (mut conn, raw) = conn();
    let now = Instant::now();
    let (mut sender, mut receiver) = conn.split();
    sender.send("PING", ()).unwrap();
    sender.flush().unwrap();
    receiver.receive().unwrap();
    assert_limit(&raw, now, None, CALL);
    receiver.receive_timeout(MINUTE).unwrap();
    assert_limit(&raw, now, Some(MINUTE), RECEIVE);
    receiver.receive_context(&Context::background().with_timeout(MINUTE)).unwrap();
    assert_limit(&raw, now, Some(MINUTE), RECEIVE);
}

#[test]
fn passed_deadline_names_the_error_and_closes() {
    let (mut conn, raw) = conn();
    let late = conn.receive_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
    assert_eq!(raw.0.take(), [("close", None)]);
    raw.1.take();

    // A context that has ended makes no raw call, and ends the connection.
    let (mut conn, raw) = pooled();
    let ctx = Context::background().with_timeout(Duration::ZERO);
    let late = conn.call_context(&ctx, "PING", ()).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Context));
    assert_eq!((raw.0.take(), raw.1.take()), (vec![("close", None)], vec![]));

    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    let (mut conn, raw) = pooled();
    assert!(conn.receive_context(&ctx).unwrap_err().is_canceled());
    assert_eq!((raw.0.take(), raw.1.take()), (vec![("close", None)], vec![]));
}

/// Returns the given outcomes in order.
struct Scripted(VecDeque<Result<Value>>);

impl RawSend for Scripted {
    fn send(&mut self, _: &str, _: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        Ok(())
    }
}

impl RawReceive for Scripted {
    fn receive(&mut self, _: Option<Instant>) -> Result<Value> {
        self.0.pop_front().unwrap_or(Err(Error::ConnClosed))
    }

    fn poll(&mut self, _: Option<Instant>) -> Result<bool> {
        Ok(!self.0.is_empty())
    }
}

impl RawConn for Scripted {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        unimplemented!("not asked for")
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle::new(|| {})
    }

    fn close(&mut self) {}
}

/// An error that is not fatal ends a pipeline and not the connection. The replies behind it stay
/// pending, and none is taken for the reply to the next command.
#[test]
fn non_fatal_error_in_a_pipeline_keeps_replies_in_step() {
    type Way = fn(redigo::Pipeline<'_>) -> Result<()>;
    let ways: [Way; 2] =
        [|pipeline| pipeline.run().map(drop), |pipeline| pipeline.query::<Vec<Value>>().map(drop)];
    for way in ways {
        let odd = Err(Error::other("odd"));
        let mut conn = Conn::new(Scripted(
            [Ok(1.into()), odd, Ok(3.into()), Ok(4.into()), Ok("next".into())].into(),
        ));
        let pipeline = conn.pipeline().cmd("A", ()).cmd("B", ()).cmd("C", ()).cmd("D", ());
        assert_eq!(way(pipeline).unwrap_err().to_string(), "odd");
        assert!(conn.err().is_none());
        assert_eq!(conn.query::<String>("NEXT", ()).unwrap(), "next");
    }
}

/// Errors that are not fatal take the place of a reply, also among the replies due before a call.
#[test]
fn non_fatal_error_among_pending_replies_keeps_replies_in_step() {
    type Way = fn(&mut Conn) -> Result<()>;
    let ways: [(Way, &[&str]); 5] = [
        (|conn| conn.call("LAST", ()).map(drop), &["next"]),
        (|conn| conn.query::<i64>("LAST", ()).map(drop), &["next"]),
        (|conn| conn.pipeline().cmd("LAST", ()).run().map(drop), &["last", "next"]),
        (|conn| conn.drain().map(drop), &["last", "next"]),
        (|conn| conn.receive().and_then(|_| conn.receive()).map(drop), &["last", "next"]),
    ];
    for (way, left) in ways {
        let outcomes = [Ok(1.into()), Err(Error::other("odd")), Ok(3.into())];
        let left = left.iter().map(|reply| Ok(Value::from(*reply)));
        let mut conn = Conn::new(Scripted(match left.len() {
            1 => outcomes.into_iter().chain([Ok("last".into())]).chain(left).collect(),
            _ => outcomes.into_iter().chain(left).collect(),
        }));
        (0..3).for_each(|_| conn.send("GET", "k").unwrap());
        assert_eq!(way(&mut conn).unwrap_err().to_string(), "odd");
        assert!(conn.err().is_none());
        if conn.query::<String>("NEXT", ()).unwrap() == "last" {
            assert_eq!(conn.query::<String>("NEXT", ()).unwrap(), "next");
        }
    }
}
