//! The core on plain values: the sides are lists, the wakers numbers, the threads pretended.

use super::*;
use crate::args::Args;

type Id = (usize, u64);
type Pretended = Core<VecDeque<Command>, (), Id>;

fn line() -> Line<VecDeque<Command>, ()> {
    let shutdown = ShutdownHandle::new(|| {});
    Line { sender: VecDeque::new(), receiver: (), shutdown, read_timeout: None }
}

fn connected() -> Pretended {
    let mut core = Pretended::new();
    assert!(matches!(core.knock(false, || (0, 0)), Door::Dial(None)));
    let (stray, _) = core.dialed(line());
    assert!(stray.is_none());
    core
}

fn command() -> Command {
    Command::new("PING", Args::new())
}

#[test]
fn one_dials_and_the_others_wait_for_it_and_share_its_failure() {
    let mut core = Pretended::new();
    assert!(matches!(core.knock(false, || (0, 0)), Door::Dial(None)));
    assert!(matches!(core.knock(false, || (1, 0)), Door::Wait(..)));
    let Door::Wait(leaver, _) = core.knock(false, || (2, 0)) else { panic!("not a wait") };
    assert_eq!(core.leave_lobby(leaver), Some((2, 0)));
    assert_eq!(core.dial_failed(&Error::Nil), [(0, (1, 0))]);
    assert!(matches!(core.err(), Some(Error::Nil)));
    assert!(matches!(core.knock(false, || (3, 0)), Door::Dial(Some(Error::Nil))));
    assert!(core.err().is_none());
    assert_eq!(core.dial_left().lobby, []);
    assert_eq!(core.stats().failed_dials, 2);
}

#[test]
fn a_dial_that_ends_after_the_closing_gives_its_connection_back() {
    let mut core = Pretended::new();
    assert!(matches!(core.knock(false, || (0, 0)), Door::Dial(None)));
    assert!(matches!(core.knock(false, || (1, 0)), Door::Wait(..)));
    assert_eq!(core.close().lobby, [(0, (1, 0))]);
    assert!(core.dialed(line()).0.is_some());
    assert!(matches!(core.knock(false, || (1, 1)), Door::Closed));
}

#[test]
fn a_full_queue_lets_nobody_in_until_it_is_taken() {
    let mut core = connected();
    core.enqueue(Command::new("SET", Args::new().arg(vec![0; FULL])), (0, 0), None, None);
    let Door::Write(held) = core.knock(true, || (1, 0)) else { panic!("nobody writes") };
    assert!(matches!(core.knock(true, || (2, 0)), Door::Wait(..)));
    let nudges = core.take_outbox(&held, &mut VecDeque::new()).unwrap();
    assert_eq!(nudges.lobby, [(0, (2, 0))]);
    assert!(matches!(core.knock(true, || (2, 0)), Door::Open(None)));
}

#[test]
fn a_connection_with_nothing_due_is_inspected_first() {
    let mut core = connected();
    let Door::Inspect(held) = core.knock(false, || (0, 0)) else { panic!("not inspected") };
    assert!(core.is_idle(&held));
    assert!(matches!(core.knock(false, || (1, 0)), Door::Open(None)), "somebody does it already");
    core.enqueue(command(), (1, 0), None, None);
    assert!(!core.is_idle(&held));
}

#[test]
fn more_replies_than_commands_are_noticed() {
    let mut core = connected();
    let ticket = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { held, alone: true }, _) = core.step(ticket) else { panic!("no write") };
    let _ = core.take_outbox(&held, &mut VecDeque::new());
    let _ = core.sender_home(held, false, Some(ticket));
    let unsent = core.enqueue(command(), (1, 0), None, None);
    let (Step::Write { held, alone: false }, _) = core.step(unsent) else { panic!("no write") };
    let (Step::Read(eye), _) = core.step(ticket) else { panic!("no read") };
    let mut calls = Vec::new();
    assert_eq!(core.arrived(&eye, 2, None, &mut calls).0, Arrival::Surplus);
    assert_eq!(calls, [Some((0, 0))], "and the other's command has not even left");
    assert_eq!(core.lost(eye.line(), Error::Nil).calls, [(1, 0)]);
    assert_eq!(core.arrived(&eye, 1, None, &mut calls).0, Arrival::Stray);
    assert!(core.take_outbox(&held, &mut VecDeque::new()).is_none());
    assert!(core.sender_home(held, false, None).0.is_some(), "of a connection of before");
    assert!(matches!(core.step(unsent).0, Step::Arriving));
}

#[test]
fn a_connection_is_dead_when_its_oldest_reply_is_overdue_and_nothing_came() {
    let (begin, second) = (Instant::now(), Duration::from_secs(1));
    let mut core = Pretended::new();
    core.knock(false, || (0, 0));
    let _ = core.dialed(Line { read_timeout: Some(second), ..line() });
    assert_eq!(core.silent_line(begin + 9 * second), None, "nothing is due");
    let patient = core.enqueue(command(), (0, 0), Some(begin), Some(begin + 5 * second));
    core.enqueue(command(), (1, 0), Some(begin), Some(begin + second));
    assert_eq!(core.silent_line(begin + 2 * second), None, "the oldest has time");
    assert_eq!(core.silent_line(begin + 5 * second), Some(1));
    core.abandon(patient);
    assert_eq!(core.silent_line(begin + 5 * second), Some(1), "who leaves changes nothing");
    let (Step::Write { held, .. }, _) = core.step(Ticket(1)) else { panic!("no write") };
    let _ = core.take_outbox(&held, &mut VecDeque::new());
    let _ = core.sender_home(held, false, Some(Ticket(1)));
    let (Step::Read(eye), _) = core.step(Ticket(1)) else { panic!("no read") };
    let _ = core.arrived(&eye, 1, Some(begin + 4 * second), &mut Vec::new());
    assert_eq!(core.silent_line(begin + 4 * second), None, "something came");
    assert_eq!(core.silent_line(begin + 5 * second), Some(1));
}

#[test]
fn a_nudge_to_one_who_is_served_before_it_comes_goes_to_the_next() {
    let mut core = connected();
    let reader = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { held, .. }, _) = core.step(reader) else { panic!("no write") };
    let _ = core.take_outbox(&held, &mut VecDeque::new());
    let _ = core.sender_home(held, false, Some(reader));
    let (Step::Read(eye), _) = core.step(reader) else { panic!("no read") };
    let writer = core.enqueue(command(), (1, 0), None, None);
    let (Step::Write { held, .. }, _) = core.step(writer) else { panic!("no write") };
    let sleeper = core.enqueue(command(), (2, 0), None, None);
    assert!(matches!(core.step(sleeper).0, Step::Park { crowded: false }));
    // It gets no further than its own command, and is expected to go on in some way.
    let _ = core.take_outbox(&held, &mut VecDeque::new());
    assert_eq!(core.sender_home(held, true, Some(writer)).1.one, None);
    let (_, nudges) = core.arrived(&eye, 2, None, &mut Vec::new());
    assert_eq!(nudges.one, Some((2, 0)));
}

#[test]
fn sleepers_are_told_when_many_calls_are_under_way() {
    let mut core = connected();
    let writer = core.enqueue(command(), (0, 0), None, None);
    let (Step::Write { .. }, _) = core.step(writer) else { panic!("no write") };
    for count in 2..=CROWD + 1 {
        let sleeper = core.enqueue(command(), (count, 0), None, None);
        let (Step::Park { crowded }, _) = core.step(sleeper) else { panic!("no sleep") };
        assert_eq!(crowded, count >= CROWD, "{count} under way");
    }
}

/// Threads that use the core as the shell does, in an order drawn by lot. A wake-up or a reply
/// arrives some time after the core has said so. Nobody may be left waiting when nothing more
/// can happen, and every reply goes to its command's caller.
#[test]
fn whatever_the_order_nobody_waits_for_ever_and_replies_do_not_cross() {
    for seed in 0..600 {
        World::new(seed, 2 + seed as usize % 6).run();
    }
}

struct World {
    lot: Lot,
    core: Pretended,
    threads: Vec<Thread>,
    /// Nudges and replies on their way to their slots.
    nudges: Vec<Id>,
    outcomes: Vec<Id>,
    /// What the server has been sent and not answered.
    server: VecDeque<Id>,
    abandoned: Vec<Id>,
}

struct Thread {
    doing: Doing,
    /// Calls still to make.
    calls: u64,
    id: Id,
    ticket: Ticket,
    nudged: bool,
    finished: bool,
}

enum Doing {
    Nothing,
    Awake,
    Writing(Held<VecDeque<Command>>),
    Reading(Held<()>),
    Sleeping,
    /// For an outcome that is on its way.
    Collecting,
}

impl World {
    fn new(seed: u64, threads: usize) -> World {
        let thread = |index| Thread {
            doing: Doing::Nothing,
            calls: 30,
            id: (index, 0),
            ticket: Ticket(0),
            nudged: false,
            finished: false,
        };
        World {
            lot: Lot(seed),
            core: connected(),
            threads: (0..threads).map(thread).collect(),
            nudges: Vec::new(),
            outcomes: Vec::new(),
            server: VecDeque::new(),
            abandoned: Vec::new(),
        }
    }

    fn run(mut self) {
        loop {
            let able: Vec<usize> =
                (0..self.threads.len()).filter(|thread| self.is_able(*thread)).collect();
            let choices = able.len() + self.nudges.len() + self.outcomes.len();
            if choices == 0 {
                break;
            }
            let choice = self.lot.below(choices);
            match choice.checked_sub(able.len()) {
                None => self.act(able[choice]),
                Some(at) if at < self.nudges.len() => {
                    let (index, call) = self.nudges.swap_remove(at);
                    let thread = &mut self.threads[index];
                    thread.nudged |= thread.id == (index, call);
                }
                Some(at) => {
                    let (index, call) = self.outcomes.swap_remove(at - self.nudges.len());
                    let thread = &mut self.threads[index];
                    thread.finished |= thread.id == (index, call);
                }
            }
        }
        for (index, thread) in self.threads.iter().enumerate() {
            assert!(thread.calls == 0, "thread {index} waits for ever: {:?}", self.core);
        }
    }

    /// Whether a thread can go on: not while it sleeps in vain or reads what does not come.
    fn is_able(&self, index: usize) -> bool {
        let thread = &self.threads[index];
        match &thread.doing {
            Doing::Nothing => thread.calls > 0,
            Doing::Awake | Doing::Writing(_) => true,
            Doing::Reading(_) => !self.server.is_empty(),
            Doing::Sleeping => thread.nudged || thread.finished,
            Doing::Collecting => thread.finished,
        }
    }

    fn act(&mut self, index: usize) {
        let doing = std::mem::replace(&mut self.threads[index].doing, Doing::Nothing);
        match doing {
            Doing::Nothing => self.begin(index),
            Doing::Awake => self.step(index),
            Doing::Sleeping if self.threads[index].finished => self.end(index),
            Doing::Sleeping if self.lot.below(8) == 0 => self.leave(index),
            Doing::Sleeping => {
                self.threads[index].nudged = false;
                self.threads[index].doing = Doing::Awake;
            }
            Doing::Collecting => self.end(index),
            Doing::Writing(held) => self.write(index, held),
            Doing::Reading(held) => self.read(index, held),
        }
    }

    fn begin(&mut self, index: usize) {
        let thread = &mut self.threads[index];
        thread.id.1 += 1;
        (thread.nudged, thread.finished) = (false, false);
        let command = Command::new(&format!("{} {}", index, thread.id.1), Args::new());
        thread.ticket = self.core.enqueue(command, thread.id, None, None);
        self.step(index);
    }

    fn end(&mut self, index: usize) {
        self.threads[index].calls -= 1;
    }

    fn step(&mut self, index: usize) {
        let (step, nudges) = self.core.step(self.threads[index].ticket);
        self.nudges.extend(nudges.one);
        self.threads[index].doing = match step {
            Step::Write { held, .. } => Doing::Writing(held),
            Step::Read(held) => Doing::Reading(held),
            Step::Park { .. } => Doing::Sleeping,
            Step::Arriving => Doing::Collecting,
        };
    }

    fn leave(&mut self, index: usize) {
        let thread = &self.threads[index];
        match self.core.abandon(thread.ticket) {
            None => self.threads[index].doing = Doing::Collecting,
            Some((waker, nudges)) => {
                assert_eq!(waker, thread.id);
                self.abandoned.push(thread.id);
                self.nudges.extend(nudges.one);
                self.end(index);
            }
        }
    }

    fn write(&mut self, index: usize, mut held: Held<VecDeque<Command>>) {
        let own = self.threads[index].ticket;
        if held.side.is_empty() {
            let mut batch = VecDeque::new();
            let nudges = self.core.take_outbox(&held, &mut batch).unwrap();
            self.nudges.extend(nudges.one);
            if batch.is_empty() {
                let (_, nudges) = self.core.sender_home(held, false, Some(own));
                self.nudges.extend(nudges.one);
                self.after_work(index);
            } else {
                held.side = batch;
                self.threads[index].doing = Doing::Writing(held);
            }
            return;
        }
        for _ in 0..=self.lot.below(held.side.len()) {
            let command = held.side.pop_front().unwrap();
            let (thread, call) = command.name.split_once(' ').unwrap();
            self.server.push_back((thread.parse().unwrap(), call.parse().unwrap()));
        }
        let written = held.side.is_empty();
        let gives_up = !written && self.lot.below(3) == 0;
        if gives_up || written && self.threads[index].finished {
            let (_, nudges) = self.core.sender_home(held, !written, Some(own));
            self.nudges.extend(nudges.one);
            if gives_up {
                self.leave(index);
            } else {
                self.after_work(index);
            }
        } else {
            self.threads[index].doing = Doing::Writing(held);
        }
    }

    fn read(&mut self, index: usize, held: Held<()>) {
        let count = 1 + self.lot.below(self.server.len());
        let mut owners = Vec::new();
        let (arrival, nudges) = self.core.arrived(&held, count, None, &mut owners);
        assert_eq!(arrival, Arrival::Expected);
        self.nudges.extend(nudges.one);
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
        let gives_up = self.lot.below(8) == 0;
        if self.threads[index].finished || gives_up {
            let (_, nudges) = self.core.receiver_home(held);
            self.nudges.extend(nudges.one);
            if self.threads[index].finished {
                self.end(index);
            } else {
                self.leave(index);
            }
        } else {
            self.threads[index].doing = Doing::Reading(held);
        }
    }

    fn after_work(&mut self, index: usize) {
        if self.threads[index].finished {
            self.end(index);
        } else {
            self.threads[index].doing = Doing::Awake;
        }
    }
}

/// Numbers that look random and are the same in every run.
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
