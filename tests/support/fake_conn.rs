//! Connections without a server, and a dialler that counts them: what redigo's own pool tests use.
//!
//! A fake answers at once: `PING` with PONG, `ECHO` with its argument, `CLIENT ID` with the number of the
//! dial that made it (from 1 on), anything else with OK. Four commands are made up:
//! `ERR text` breaks the connection, `FAIL text` is answered with this error, `SILENT` is never
//! answered, and after `TRAP` whatever is done with the connection panics.

use std::collections::VecDeque;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, select, unbounded};
use redigo::testing::ManualClock;
use redigo::{
    Args, Conn, Context, Error, Peek, Pool, PoolBuilder, Result, ServerError, ShutdownHandle,
    TimeoutKind, ToArgs, Value,
    raw::{RawConn, RawReceive, RawSend},
};

/// A pool of fakes on a clock that is set by hand.
pub(crate) fn setup(
    options: impl FnOnce(PoolBuilder) -> PoolBuilder,
) -> (FakeDialer, Pool, ManualClock) {
    let (dialer, clock) = (FakeDialer::new(), ManualClock::new());
    let pool = options(dialer.pool().clock(clock.clone())).build().unwrap();
    (dialer, pool, clock)
}

/// The same on the system's clock.
pub(crate) fn setup_unclocked(
    options: impl FnOnce(PoolBuilder) -> PoolBuilder,
) -> (FakeDialer, Pool) {
    let dialer = FakeDialer::new();
    let pool = options(dialer.pool()).build().unwrap();
    (dialer, pool)
}

/// How a dial is to end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    Connect,
    /// With the error `connection refused`.
    Refuse,
    Panic,
    /// Does not end before the test says how, with [`FakeDialer::decide`], or its context ends.
    Hang,
    /// Hangs, and does not notice the end of its context.
    HangDeaf,
}

/// Dials fakes. Clones are the same dialler.
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
    /// How many dials are to be refused before the verdict counts.
    refusals: AtomicUsize,
    /// The numbers up to which the server has closed the connections.
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

    /// The options of a pool over this dialler.
    pub(crate) fn pool(&self) -> PoolBuilder {
        let dialer = self.clone();
        Pool::builder_with(move |ctx| dialer.dial(ctx))
    }

    /// How dials end that begin from now on.
    pub(crate) fn set(&self, verdict: Verdict) {
        *lock(&self.0.verdict) = verdict;
    }

    /// The next so many dials are refused, whatever was set.
    pub(crate) fn refuse_next(&self, dials: usize) {
        self.0.refusals.store(dials, SeqCst);
    }

    /// The server closes all connections there are; what is dialled from now on is well.
    pub(crate) fn hang_up(&self) {
        self.0.hung_up.store(self.dialed(), SeqCst);
    }

    /// Ends one of the dials that hang.
    pub(crate) fn decide(&self, verdict: Verdict) {
        self.0.decisions.0.send(verdict).expect("the dialler holds the other end");
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
                recv(decisions) -> decided => decided.expect("the dialler holds the other end"),
                recv(ctx.done()) -> _ => return Err(Error::Canceled),
            },
            Verdict::HangDeaf => decisions.recv().expect("the dialler holds the other end"),
            verdict => verdict,
        };
        match verdict {
            Verdict::Connect => Ok(Conn::new(FakeConn::new(self.clone(), number))),
            Verdict::Refuse => Err(refused()),
            // Without the message that a panic prints, and its backtrace.
            Verdict::Panic => resume_unwind(Box::new("a trap in the dial function")),
            Verdict::Hang | Verdict::HangDeaf => unreachable!("no decision"),
        }
    }

    /// How many dials have begun, whatever became of them.
    pub(crate) fn dialed(&self) -> usize {
        self.0.dialed.load(SeqCst)
    }

    /// How many dials are under way.
    pub(crate) fn dialing(&self) -> usize {
        self.0.dialing.load(SeqCst)
    }

    /// The most dials that were ever under way at a time.
    pub(crate) fn most_dialing(&self) -> usize {
        self.0.most_dialing.load(SeqCst)
    }

    /// How many connections have not been closed.
    pub(crate) fn open(&self) -> usize {
        self.0.open.load(SeqCst)
    }

    /// The most connections that were ever open at a time.
    pub(crate) fn most_open(&self) -> usize {
        self.0.most_open.load(SeqCst)
    }

    /// The names of all commands that were sent, in order.
    pub(crate) fn commands(&self) -> Vec<String> {
        lock(&self.0.commands).clone()
    }

    /// The numbers of the connections that were closed, in order.
    pub(crate) fn closed(&self) -> Vec<usize> {
        lock(&self.0.closed).clone()
    }

    /// redigo's check: dials begun, connections open, connections in use.
    #[track_caller]
    pub(crate) fn check(&self, pool: &Pool, (dialed, open, in_use): (usize, usize, usize)) {
        let stats = pool.stats();
        assert_eq!((self.dialed(), self.open(), stats.in_use), (dialed, open, in_use), "{stats:?}");
        assert_eq!((pool.active_count(), pool.idle_count()), (open, open - in_use), "{stats:?}");
    }
}

/// What a dial gets with [`Verdict::Refuse`].
pub(crate) fn refused() -> Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused").into()
}

/// The number of the dial that made this fake.
#[track_caller]
pub(crate) fn number(conn: &mut Conn) -> usize {
    conn.query("CLIENT", "ID").expect("a fake that works")
}

/// One more for as long as it lives.
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
    /// The replies to what has not been flushed.
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
            None => Err(Error::Timeout(TimeoutKind::Read)),
        }
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        Ok(!self.inbox.wait(deadline)?.replies.is_empty())
    }
}

/// What the fake server has answered.
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
    /// Waits for a reply. None is there when the deadline has passed.
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

/// Tests panic on purpose, and nothing here is left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
