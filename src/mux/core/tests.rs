//! Tests of the core with plain values: halves are lists, wakers are numbers, threads are simulated.

use std::time::Duration;

use super::*;
use crate::args::Args;
use crate::error::Error;
use crate::net::stream::ShutdownHandle;

/// A simulated thread and the number of its call.
type Id = (usize, u64);
type TestCore = Core<VecDeque<Command>, (), Id>;

fn split_conn() -> SplitConn<VecDeque<Command>, ()> {
    let shutdown = ShutdownHandle::new(|| {});
    SplitConn { writer: VecDeque::new(), reader: (), shutdown, address: None, read_timeout: None }
}

fn connected() -> TestCore {
    let mut core = TestCore::new();
    assert!(matches!(core.admit(false, now, || (0, 0)), Admission::Dial(None)));
    let (stale, _) = core.dialed(split_conn());
    assert!(stale.is_none());
    core
}

fn now() -> Instant {
    Instant::now()
}

/// The end of a pause that is over.
fn past() -> Instant {
    Instant::now()
}

fn command() -> Command {
    Command::new("PING", Args::new())
}

#[test]
fn waiters_share_the_failure_of_a_dial() {
    let mut core = TestCore::new();
    assert!(matches!(core.admit(false, now, || (0, 0)), Admission::Dial(None)));
    assert!(matches!(core.admit(false, now, || (1, 0)), Admission::Wait(..)));
    let Admission::Wait(leaving, _) = core.admit(false, now, || (2, 0)) else {
        panic!("not a wait")
    };
    assert_eq!(core.remove_waiter(leaving), Some((2, 0)));
    assert_eq!(core.dial_failed(&Error::Nil, |_| past()), [(0, (1, 0))]);
    assert!(matches!(core.err(), Some(Error::Nil)));
    assert!(matches!(core.admit(false, now, || (3, 0)), Admission::Dial(Some(Error::Nil))));
    assert!(core.err().is_none());
    assert_eq!(core.dial_abandoned().waiters, []);
    assert_eq!(core.stats().failed_dials, 2);
}

#[test]
fn connection_dialed_after_close_comes_back() {
    let mut core = TestCore::new();
    assert!(matches!(core.admit(false, now, || (0, 0)), Admission::Dial(None)));
    assert!(matches!(core.admit(false, now, || (1, 0)), Admission::Wait(..)));
    assert_eq!(core.close().waiters, [(0, (1, 0))]);
    assert!(core.dialed(split_conn()).0.is_some());
    assert!(matches!(core.admit(false, now, || (1, 1)), Admission::Closed));
}

#[test]
fn full_queue_admits_no_command_until_it_is_taken() {
    let mut core = connected();
    core.enqueue(Command::new("SET", Args::new().arg(vec![0; QUEUE_LIMIT])), (0, 0), None, None);
    let Admission::Write(lease) = core.admit(true, now, || (1, 0)) else { panic!("no write") };
    assert!(matches!(core.admit(true, now, || (2, 0)), Admission::Wait(..)));
    let wakeups = core.take_send_queue(&lease, &mut VecDeque::new()).unwrap();
    assert_eq!(wakeups.waiters, [(0, (2, 0))]);
    assert!(matches!(core.admit(true, now, || (2, 0)), Admission::Open(None)));
}

#[test]
fn connection_with_nothing_in_flight_is_probed_first() {
    let mut core = connected();
    let Admission::Probe(lease) = core.admit(false, now, || (0, 0)) else { panic!("no probe") };
    assert!(core.is_idle(&lease));
    assert!(
        matches!(core.admit(false, now, || (1, 0)), Admission::Open(None)),
        "a probe is running"
    );
    core.enqueue(command(), (1, 0), None, None);
    assert!(!core.is_idle(&lease));
}

#[test]
fn surplus_replies_are_reported() {
    let mut core = connected();
    let ticket = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { lease, alone: true }, _) = core.step(ticket) else { panic!("no write") };
    let _ = core.take_send_queue(&lease, &mut VecDeque::new());
    let _ = core.return_writer(lease, false, Some(ticket));
    let unsent = core.enqueue(command(), (1, 0), None, None);
    let (Step::Write { lease, alone: false }, _) = core.step(unsent) else { panic!("no write") };
    let (Step::Read(reader), _) = core.step(ticket) else { panic!("no read") };
    let mut calls = Vec::new();
    assert_eq!(core.arrived(&reader, 2, true, None, &mut calls).0, Arrival::Surplus);
    assert_eq!(calls, [Some((0, 0))], "the other command was not written yet");
    assert_eq!(core.lost(reader.epoch(), Error::Nil, |_| past()).calls, [(1, 0)]);
    assert_eq!(core.arrived(&reader, 1, true, None, &mut calls).0, Arrival::Stale);
    assert!(core.take_send_queue(&lease, &mut VecDeque::new()).is_none());
    assert!(core.return_writer(lease, false, None).0.is_some(), "of an earlier connection");
    assert!(matches!(core.step(unsent).0, Step::AwaitOutcome));
}

#[test]
fn connection_is_silent_after_an_overdue_reply_without_arrivals() {
    let (begin, second) = (Instant::now(), Duration::from_secs(1));
    let mut core = TestCore::new();
    core.admit(false, now, || (0, 0));
    let _ = core.dialed(SplitConn { read_timeout: Some(second), ..split_conn() });
    assert_eq!(core.silent_epoch(begin + 9 * second), None, "nothing is in flight");
    let patient = core.enqueue(command(), (0, 0), Some(begin), Some(begin + 5 * second));
    core.enqueue(command(), (1, 0), Some(begin), Some(begin + second));
    assert_eq!(core.silent_epoch(begin + 2 * second), None, "the oldest is not overdue");
    assert_eq!(core.silent_epoch(begin + 5 * second), Some(1));
    core.abandon(patient);
    assert_eq!(core.silent_epoch(begin + 5 * second), Some(1), "an abandoned call still counts");
    let (Step::Write { lease, .. }, _) = core.step(Ticket(1)) else { panic!("no write") };
    let _ = core.take_send_queue(&lease, &mut VecDeque::new());
    let _ = core.return_writer(lease, false, Some(Ticket(1)));
    let (Step::Read(reader), _) = core.step(Ticket(1)) else { panic!("no read") };
    let _ = core.arrived(&reader, 1, true, Some(begin + 4 * second), &mut Vec::new());
    assert_eq!(core.silent_epoch(begin + 4 * second), None, "a reply arrived");
    assert_eq!(core.silent_epoch(begin + 5 * second), Some(1));
}

#[test]
fn wakeup_of_an_answered_call_passes_to_the_next() {
    let mut core = connected();
    let reader = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { lease, .. }, _) = core.step(reader) else { panic!("no write") };
    let _ = core.take_send_queue(&lease, &mut VecDeque::new());
    let _ = core.return_writer(lease, false, Some(reader));
    let (Step::Read(read_lease), _) = core.step(reader) else { panic!("no read") };
    let writer = core.enqueue(command(), (1, 0), None, None);
    let (Step::Write { lease, .. }, _) = core.step(writer) else { panic!("no write") };
    let sleeper = core.enqueue(command(), (2, 0), None, None);
    assert!(matches!(core.step(sleeper).0, Step::Park { spin: false }));
    // The writer writes only its own command and is expected to take another step.
    let _ = core.take_send_queue(&lease, &mut VecDeque::new());
    assert_eq!(core.return_writer(lease, true, Some(writer)).1.call, None);
    let (_, wakeups) = core.arrived(&read_lease, 2, true, None, &mut Vec::new());
    assert_eq!(wakeups.call, Some((2, 0)));
}

#[test]
fn callers_spin_when_many_calls_are_in_flight() {
    let mut core = connected();
    let writer = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { .. }, _) = core.step(writer) else { panic!("no write") };
    for count in 2..=SPIN_THRESHOLD + 1 {
        let sleeper = core.enqueue(command(), (count, 0), None, None);
        let (Step::Park { spin }, _) = core.step(sleeper) else { panic!("no park") };
        assert_eq!(spin, count >= SPIN_THRESHOLD, "{count} in flight");
    }
}

#[test]
fn dial_waits_for_the_pause_after_a_failure() {
    let begin = Instant::now();
    let pause = |failures: u32| begin + Duration::from_secs(1 << failures);
    let mut core = TestCore::new();
    for (failures, seconds) in [(0, 1), (1, 2), (2, 4)] {
        let end = begin + Duration::from_secs(seconds);
        assert!(matches!(core.admit(false, || end, || (0, 0)), Admission::Dial(_)), "{failures}");
        assert_eq!(core.dial_failed(&Error::Nil, pause), []);
        let early = pause(failures) - Duration::from_millis(1);
        let paused = core.admit(false, || early, || (0, 0));
        let Admission::Pause { waiter, until, error: Error::Nil, .. } = paused else {
            panic!("no pause: {paused:?}")
        };
        assert_eq!(until, pause(failures));
        assert!(core.remove_waiter(waiter).is_some());
    }
}

#[test]
fn only_a_good_reply_ends_the_pauses() {
    let begin = Instant::now();
    let pause = |failures: u32| begin + Duration::from_secs(1 << failures);
    let later = || begin + Duration::from_secs(100);
    let mut core = TestCore::new();
    let mut lose = |replies: &[bool]| {
        assert!(matches!(core.admit(false, later, || (0, 0)), Admission::Dial(_)));
        let _ = core.dialed(split_conn());
        let ticket = core.enqueue(command(), (0, 0), None, None);
        let (Step::Write { lease, .. }, _) = core.step(ticket) else { panic!("no write") };
        let _ = core.take_send_queue(&lease, &mut VecDeque::new());
        let _ = core.return_writer(lease, false, Some(ticket));
        let (Step::Read(lease), _) = core.step(ticket) else { panic!("no read") };
        for good in replies {
            let _ = core.arrived(&lease, 1, *good, None, &mut Vec::new());
        }
        let _ = core.lost(lease.epoch(), Error::Nil, pause);
        match core.admit(false, || begin, || (0, 0)) {
            Admission::Pause { until, .. } => Some((until - begin).as_secs()),
            _ => core.dial_failed(&Error::Nil, |_| begin).is_empty().then_some(0),
        }
    };
    assert_eq!(lose(&[]), Some(1), "the server accepts and hangs up");
    assert_eq!(lose(&[false]), Some(2), "with an error reply");
    assert_eq!(lose(&[true]), Some(0), "a connection that was good is dialed again immediately");
}

#[test]
fn failed_write_leaves_the_end_of_the_connection_to_the_reader() {
    let mut core = connected();
    let reading = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { lease: writer, .. }, _) = core.step(reading) else { panic!("no write") };
    let _ = core.take_send_queue(&writer, &mut VecDeque::new());
    let _ = core.return_writer(writer, false, Some(reading));
    let (Step::Read(reader), _) = core.step(reading) else { panic!("no read") };
    let writing = core.enqueue(command(), (1, 0), None, None);
    let (Step::Write { lease: writer, .. }, _) = core.step(writing) else { panic!("no write") };
    let epoch = writer.epoch();
    assert!(matches!(core.write_failed(epoch, &Error::Nil), WriteFailure::Cut(_)));
    assert!(!core.is_connected());
    assert!(matches!(core.admit(true, now, || (2, 0)), Admission::Wait(..)));
    assert!(matches!(core.step(writing).0, Step::Park { .. }));
    let _ = core.arrived(&reader, 1, true, None, &mut Vec::new());
    let ReturnedReader::Drain(reader) = core.return_reader(reader) else { panic!("not drained") };
    assert!(matches!(core.take_write_fault(epoch), Some(Error::Nil)));
    let teardown = core.lost(reader.epoch(), Error::Nil, |_| past());
    assert_eq!((teardown.calls, teardown.waiters), (vec![(1, 0)], vec![(0, (2, 0))]));
    assert!(matches!(core.write_failed(epoch, &Error::Nil), WriteFailure::Stale));
}

#[test]
fn failed_write_drains_an_idle_reader() {
    let mut core = connected();
    let writing = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { lease: writer, .. }, _) = core.step(writing) else { panic!("no write") };
    let failure = core.write_failed(writer.epoch(), &Error::Nil);
    assert!(matches!(failure, WriteFailure::Drain(_)), "{failure:?}");
}

/// Simulated threads use the core as the shell does, in a random order. Wakeups and replies arrive
/// with a delay. No thread may wait forever, and each reply must reach its own caller.
#[test]
fn random_orders_strand_no_caller_and_cross_no_reply() {
    for seed in 0..600 {
        Harness::new(seed, 2 + seed as usize % 6).run();
    }
}

struct Harness {
    random: Random,
    core: TestCore,
    threads: Vec<Thread>,
    /// Wakeups and outcomes that have not reached their slots.
    wakeups: Vec<Id>,
    outcomes: Vec<Id>,
    /// Commands that the server has received and not answered.
    server: VecDeque<Id>,
    abandoned: Vec<Id>,
}

struct Thread {
    activity: Activity,
    /// The number of calls that are left to make.
    calls: u64,
    id: Id,
    ticket: Ticket,
    woken: bool,
    finished: bool,
}

enum Activity {
    Idle,
    Awake,
    Writing(Lease<VecDeque<Command>>),
    Reading(Lease<()>),
    Parked,
    /// Waits for an outcome that is being stored.
    AwaitingOutcome,
}

impl Harness {
    fn new(seed: u64, threads: usize) -> Harness {
        let thread = |index| Thread {
            activity: Activity::Idle,
            calls: 30,
            id: (index, 0),
            ticket: Ticket(0),
            woken: false,
            finished: false,
        };
        Harness {
            random: Random(seed),
            core: connected(),
            threads: (0..threads).map(thread).collect(),
            wakeups: Vec::new(),
            outcomes: Vec::new(),
            server: VecDeque::new(),
            abandoned: Vec::new(),
        }
    }

    fn run(mut self) {
        loop {
            let able: Vec<usize> =
                (0..self.threads.len()).filter(|thread| self.is_able(*thread)).collect();
            let choices = able.len() + self.wakeups.len() + self.outcomes.len();
            if choices == 0 {
                break;
            }
            let choice = self.random.below(choices);
            match choice.checked_sub(able.len()) {
                None => self.act(able[choice]),
                Some(at) if at < self.wakeups.len() => {
                    let (index, call) = self.wakeups.swap_remove(at);
                    let thread = &mut self.threads[index];
                    thread.woken |= thread.id == (index, call);
                }
                Some(at) => {
                    let (index, call) = self.outcomes.swap_remove(at - self.wakeups.len());
                    let thread = &mut self.threads[index];
                    thread.finished |= thread.id == (index, call);
                }
            }
        }
        for (index, thread) in self.threads.iter().enumerate() {
            assert!(thread.calls == 0, "thread {index} waits forever: {:?}", self.core);
        }
    }

    /// Returns true if a thread can continue.
    fn is_able(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        match &thread.activity {
            Activity::Idle => thread.calls > 0,
            Activity::Awake | Activity::Writing(_) => true,
            Activity::Reading(_) => !self.server.is_empty(),
            Activity::Parked => thread.woken || thread.finished,
            Activity::AwaitingOutcome => thread.finished,
        }
    }

    fn act(&mut self, index: usize) {
        let activity = std::mem::replace(&mut self.threads[index].activity, Activity::Idle);
        match activity {
            Activity::Idle => self.begin(index),
            Activity::Awake => self.step(index),
            Activity::Parked if self.threads[index].finished => self.end(index),
            Activity::Parked if self.random.below(8) == 0 => self.leave(index),
            Activity::Parked => {
                self.threads[index].woken = false;
                self.threads[index].activity = Activity::Awake;
            }
            Activity::AwaitingOutcome => self.end(index),
            Activity::Writing(lease) => self.write(index, lease),
            Activity::Reading(lease) => self.read(index, lease),
        }
    }

    fn begin(&mut self, index: usize) {
        let thread = &mut self.threads[index];
        thread.id.1 += 1;
        (thread.woken, thread.finished) = (false, false);
        let command = Command::new(&format!("{} {}", index, thread.id.1), Args::new());
        thread.ticket = self.core.enqueue(command, thread.id, None, None);
        self.step(index);
    }

    fn end(&mut self, index: usize) {
        self.threads[index].calls -= 1;
    }

    fn step(&mut self, index: usize) {
        let (step, wakeups) = self.core.step(self.threads[index].ticket);
        self.wakeups.extend(wakeups.call);
        self.threads[index].activity = match step {
            Step::Write { lease, .. } => Activity::Writing(lease),
            Step::Read(lease) => Activity::Reading(lease),
            Step::Park { .. } => Activity::Parked,
            Step::AwaitOutcome => Activity::AwaitingOutcome,
        };
    }

    fn leave(&mut self, index: usize) {
        let thread = &self.threads[index];
        match self.core.abandon(thread.ticket) {
            None => self.threads[index].activity = Activity::AwaitingOutcome,
            Some((waker, wakeups)) => {
                assert_eq!(waker, thread.id);
                self.abandoned.push(thread.id);
                self.wakeups.extend(wakeups.call);
                self.end(index);
            }
        }
    }

    fn write(&mut self, index: usize, mut lease: Lease<VecDeque<Command>>) {
        let own = self.threads[index].ticket;
        if lease.half.is_empty() {
            let mut batch = VecDeque::new();
            let wakeups = self.core.take_send_queue(&lease, &mut batch).unwrap();
            self.wakeups.extend(wakeups.call);
            if batch.is_empty() {
                let (_, wakeups) = self.core.return_writer(lease, false, Some(own));
                self.wakeups.extend(wakeups.call);
                self.after_work(index);
            } else {
                lease.half = batch;
                self.threads[index].activity = Activity::Writing(lease);
            }
            return;
        }
        if self.random.below(4) == 0 {
            // The write makes no progress.
            self.read_slice(index, lease.epoch());
        } else {
            self.write_some(&mut lease);
        }
        let written = lease.half.is_empty();
        let finished = self.threads[index].finished;
        let leaves = !written && !finished && self.random.below(3) == 0;
        if leaves || finished {
            let (_, wakeups) = self.core.return_writer(lease, !written, Some(own));
            self.wakeups.extend(wakeups.call);
            if leaves {
                self.leave(index);
            } else {
                self.after_work(index);
            }
        } else {
            self.threads[index].activity = Activity::Writing(lease);
        }
    }

    fn write_some(&mut self, lease: &mut Lease<VecDeque<Command>>) {
        for _ in 0..=self.random.below(lease.half.len()) {
            let command = lease.half.pop_front().unwrap();
            let (thread, call) = command.name.split_once(' ').unwrap();
            self.server.push_back((thread.parse().unwrap(), call.parse().unwrap()));
        }
    }

    fn read_slice(&mut self, index: usize, epoch: u64) {
        let Some(lease) = self.core.lease_reader(epoch) else { return };
        if !self.server.is_empty() {
            self.dispatch(index, &lease);
        }
        self.return_reader(lease);
    }

    fn dispatch(&mut self, index: usize, lease: &Lease<()>) {
        let count = 1 + self.random.below(self.server.len());
        let mut owners = Vec::new();
        let (arrival, wakeups) = self.core.arrived(lease, count, true, None, &mut owners);
        assert_eq!(arrival, Arrival::Expected);
        self.wakeups.extend(wakeups.call);
        for (owner, replied) in owners.into_iter().zip(self.server.drain(..count)) {
            match owner {
                Some(owner) => {
                    assert_eq!(owner, replied, "a reply has crossed");
                    if owner == self.threads[index].id {
                        self.threads[index].finished = true;
                    } else {
                        self.outcomes.push(owner);
                    }
                }
                None => assert!(self.abandoned.contains(&replied)),
            }
        }
    }

    fn return_reader(&mut self, lease: Lease<()>) {
        let ReturnedReader::Idle(wakeups) = self.core.return_reader(lease) else {
            panic!("the reader did not become idle")
        };
        self.wakeups.extend(wakeups.call);
    }

    fn read(&mut self, index: usize, lease: Lease<()>) {
        self.dispatch(index, &lease);
        let leaves = self.random.below(8) == 0;
        if self.threads[index].finished || leaves {
            self.return_reader(lease);
            if self.threads[index].finished {
                self.end(index);
            } else {
                self.leave(index);
            }
        } else {
            self.threads[index].activity = Activity::Reading(lease);
        }
    }

    fn after_work(&mut self, index: usize) {
        if self.threads[index].finished {
            self.end(index);
        } else {
            self.threads[index].activity = Activity::Awake;
        }
    }
}

/// A reproducible sequence of pseudorandom numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
