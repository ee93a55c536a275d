//! Connections without a server, and a dialer that counts them, as in redigo's pool tests.
//!
//! A fake answers immediately: `PING` with PONG, `ECHO` with its argument, `CLIENT ID` with the
//! number of its dial (from 1 on), any other command with OK. Four commands are special:
//! `ERR text` breaks the connection, `FAIL text` is answered with this error, `SILENT` is never
//! answered, and after `TRAP` every use of the connection panics.

use std::collections::VecDeque;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::wait::wait_until;
use crossbeam_channel::{Receiver, Sender, select, unbounded};
use redigo::testing::ManualClock;
use redigo::{
    Args, Conn, Context, Error, Peek, Pool, PoolBuilder, Result, ServerError, ShutdownHandle,
    TimeoutKind, ToArgs, Value,
    raw::{RawConn, RawReceive, RawSend},
};

/// Builds a pool of fakes on a manual clock.
pub(crate) fn setup(
    options: impl FnOnce(PoolBuilder) -> PoolBuilder,
) -> (FakeDialer, Pool, ManualClock) {
    let (dialer, clock) = (FakeDialer::new(), ManualClock::new());
    let pool = options(dialer.pool().clock(clock.clone())).build().unwrap();
    (dialer, pool, clock)
}

/// Builds a pool of fakes on the system's clock.
pub(crate) fn setup_unclocked(
    options: impl FnOnce(PoolBuilder) -> PoolBuilder,
) -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = options(dialer.pool()).build().unwrap();
    (dialer, pool)
}

/// How a dial ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    Connect,
    /// With the error `connection refused`.
    Refuse,
    Panic,
    /// Hangs until [`FakeDialer::decide`] is called or its context ends.
    Hang,
    /// Hangs until [`FakeDialer::decide`] is called, and ignores its context.
    HangDeaf,
}

/// Dials fakes. Clones are the same dialer.
#[derive(Debug, Clone)]
pub(crate) struct FakeDialer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dialed: AtomicUsize,
    dialing: AtomicUsize,
    most_dialing: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    verdict: Mutex<Verdict>,
    /// The number of dials to refuse before the verdict applies.
    refusals: AtomicUsize,
    /// The server has closed the connections up to this number.
    hung_up: AtomicUsize,
    decisions: (Sender<Verdict>, Receiver<Verdict>),
    commands: Mutex<Vec<String>>,
    closed: Mutex<Vec<usize>>,
}

impl FakeDialer {
    pub(crate) fn new() -> FakeDialer {
        FakeDialer(Arc::new(Shared {
            dialed: AtomicUsize::new(0),
            dialing: AtomicUsize::new(0),
            most_dialing: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            verdict: Mutex::new(Verdict::Connect),
            refusals: AtomicUsize::new(0),
            hung_up: AtomicUsize::new(0),
            decisions: unbounded(),
            commands: Mutex::default(),
            closed: Mutex::default(),
        }))
    }

    /// Returns the options of a pool with this dialer.
    pub(crate) fn pool(&self) -> PoolBuilder {
        let dialer = self.clone();
        Pool::builder_with(move |ctx| dialer.dial(ctx))
    }

    /// Sets how dials end that begin from now on.
    pub(crate) fn set(&self, verdict: Verdict) {
        *lock(&self.0.verdict) = verdict;
    }

    /// Refuses the next `dials` dials, whatever the verdict.
    pub(crate) fn refuse_next(&self, dials: usize) {
        self.0.refusals.store(dials, SeqCst);
    }

    /// Closes all open connections, as a server does. Later dials work.
    pub(crate) fn hang_up(&self) {
        self.0.hung_up.store(self.dialed(), SeqCst);
    }

    /// Ends one of the hanging dials.
    pub(crate) fn decide(&self, verdict: Verdict) {
        self.0.decisions.0.send(verdict).expect("the dialer holds the other end");
    }

    pub(crate) fn dial(&self, ctx: &Context) -> Result<Conn> {
        let number = self.0.dialed.fetch_add(1, SeqCst) + 1;
        let _under_way = Counted::new(&self.0.dialing, &self.0.most_dialing);
        let decisions = &self.0.decisions.1;
        let refusals = &self.0.refusals;
        let refuses = refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        let verdict = if refuses { Verdict::Refuse } else { *lock(&self.0.verdict) };
        let verdict = match verdict {
            Verdict::Hang => select! {
                recv(decisions) -> decided => decided.expect("the dialer holds the other end"),
                recv(ctx.done()) -> _ => return Err(Error::Canceled),
            },
            Verdict::HangDeaf => decisions.recv().expect("the dialer holds the other end"),
            verdict => verdict,
        };
        match verdict {
            Verdict::Connect => Ok(Conn::new(FakeConn::new(self.clone(), number))),
            Verdict::Refuse => Err(refused()),
            // Unlike `panic!`, this prints no message and no backtrace.
            Verdict::Panic => resume_unwind(Box::new("a trap in the dial function")),
            Verdict::Hang | Verdict::HangDeaf => unreachable!("no decision"),
        }
    }

    /// Returns the number of dials that have begun, whatever their outcome.
    pub(crate) fn dialed(&self) -> usize {
        self.0.dialed.load(SeqCst)
    }

    /// Returns the number of running dials.
    pub(crate) fn dialing(&self) -> usize {
        self.0.dialing.load(SeqCst)
    }

    /// Returns the highest number of dials that ran at the same time.
    pub(crate) fn most_dialing(&self) -> usize {
        self.0.most_dialing.load(SeqCst)
    }

    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.0.open.load(SeqCst)
    }

    /// Returns the highest number of connections that were open at the same time.
    pub(crate) fn most_open(&self) -> usize {
        self.0.most_open.load(SeqCst)
    }

    /// Returns the names of all commands sent, in order.
    pub(crate) fn commands(&self) -> Vec<String> {
        lock(&self.0.commands).clone()
    }

    /// Returns the numbers of the closed connections, in order.
    pub(crate) fn closed(&self) -> Vec<usize> {
        lock(&self.0.closed).clone()
    }

    /// Does redigo's check of dials begun, connections open and connections in use.
    #[track_caller]
    pub(crate) fn check(&self, pool: &Pool, (dialed, open, in_use): (usize, usize, usize)) {
        // Connections that a checkout finds too old or dead are closed on another thread.
        wait_until("connections are closed", || self.open() <= open);
        let stats = pool.stats();
        assert_eq!((self.dialed(), self.open(), stats.in_use), (dialed, open, in_use), "{stats:?}");
        assert_eq!((pool.active_count(), pool.idle_count()), (open, open - in_use), "{stats:?}");
    }
}

/// The error of a dial with [`Verdict::Refuse`].
pub(crate) fn refused() -> Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused").into()
}

/// Returns the number of the dial that made this fake.
#[track_caller]
pub(crate) fn number(conn: &mut Conn) -> usize {
    conn.query("CLIENT", "ID").expect("a working fake")
}

/// Counts one more until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new<'a>(now: &'a AtomicUsize, most: &AtomicUsize) -> Counted<'a> {
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        Counted(now)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

struct FakeConn {
    sender: FakeSender,
    receiver: FakeReceiver,
    shutdown: ShutdownHandle,
    is_closed: bool,
}

impl FakeConn {
    fn new(dialer: FakeDialer, number: usize) -> FakeConn {
        let shared = &dialer.0;
        shared.most_open.fetch_max(shared.open.fetch_add(1, SeqCst) + 1, SeqCst);
        let inbox = Arc::new(Inbox::default());
        let shut = Arc::downgrade(&inbox);
        let shutdown = ShutdownHandle::new(move || {
            if let Some(inbox) = shut.upgrade() {
                inbox.shut_down();
            }
        });
        let receiver = FakeReceiver { inbox: Arc::clone(&inbox) };
        let sender = FakeSender { dialer, number, inbox, unsent: Vec::new(), is_trapped: false };
        FakeConn { sender, receiver, shutdown, is_closed: false }
    }
}

impl Drop for FakeConn {
    fn drop(&mut self) {
        self.close();
    }
}

impl RawConn for FakeConn {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        (&mut self.sender, &mut self.receiver)
    }

    fn has_unread(&self) -> bool {
        self.sender.spring_trap();
        false
    }

    fn peek(&self) -> Result<Peek> {
        Ok(if self.sender.is_hung_up() { Peek::Closed } else { Peek::Quiet })
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.is_closed, true) {
            let shared = &self.sender.dialer.0;
            shared.open.fetch_sub(1, SeqCst);
            lock(&shared.closed).push(self.sender.number);
        }
    }
}

impl RawSend for FakeConn {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.sender.send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.sender.flush(deadline)
    }
}

impl RawReceive for FakeConn {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.receiver.receive(deadline)
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.receiver.poll(deadline)
    }
}

struct FakeSender {
    dialer: FakeDialer,
    number: usize,
    inbox: Arc<Inbox>,
    /// The replies to the commands that are not flushed yet.
    unsent: Vec<Value>,
    is_trapped: bool,
}

impl FakeSender {
    fn is_hung_up(&self) -> bool {
        self.number <= self.dialer.0.hung_up.load(SeqCst)
    }

    fn spring_trap(&self) {
        if self.is_trapped {
            resume_unwind(Box::new("a trap in the connection"));
        }
    }
}

impl RawSend for FakeSender {
    fn send(&mut self, command: &str, args: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        lock(&self.dialer.0.commands).push(command.to_owned());
        self.spring_trap();
        if self.is_hung_up() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let args = Args::new().args(args);
        let first = args.iter().next().unwrap_or_default();
        match command {
            "ERR" => return Err(io::Error::other(String::from_utf8_lossy(first)).into()),
            "FAIL" => {
                let error = ServerError::new(String::from_utf8_lossy(first));
                self.unsent.push(Value::Error(error));
            }
            "SILENT" => {}
            "TRAP" => {
                self.is_trapped = true;
                self.unsent.push(Value::simple("OK"));
            }
            "PING" => self.unsent.push(Value::simple("PONG")),
            "ECHO" => self.unsent.push(Value::Bulk(first.to_vec())),
            "CLIENT" if first == b"ID" => self.unsent.push(Value::Int(self.number as i64)),
            _ => self.unsent.push(Value::simple("OK")),
        }
        Ok(())
    }

    fn flush(&mut self, _: Option<Instant>) -> Result<()> {
        lock(&self.inbox.state).replies.extend(self.unsent.drain(..));
        self.inbox.changed.notify_all();
        Ok(())
    }
}

struct FakeReceiver {
    inbox: Arc<Inbox>,
}

impl RawReceive for FakeReceiver {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        let mut state = self.inbox.wait(deadline)?;
        match state.replies.pop_front() {
            Some(reply) => Ok(reply),
            None => Err(TimeoutKind::Read.into()),
        }
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        Ok(!self.inbox.wait(deadline)?.replies.is_empty())
    }
}

/// The replies of the fake server.
#[derive(Debug, Default)]
struct Inbox {
    state: Mutex<Answers>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Answers {
    replies: VecDeque<Value>,
    is_shut_down: bool,
}

impl Inbox {
    /// Waits for a reply. After the deadline, returns the answers without one.
    fn wait(&self, deadline: Option<Instant>) -> Result<MutexGuard<'_, Answers>> {
        let mut state = lock(&self.state);
        loop {
            if state.is_shut_down {
                return Err(Error::ConnClosed);
            }
            if !state.replies.is_empty() {
                return Ok(state);
            }
            let Some(deadline) = deadline else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(state);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn shut_down(&self) {
        lock(&self.state).is_shut_down = true;
        self.changed.notify_all();
    }
}

/// Ignores poisoning: tests panic on purpose, and no update here is left incomplete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
