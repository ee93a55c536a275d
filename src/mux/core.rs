//! The bookkeeping of a mux: which call gets which reply, and which call writes and reads for all.
//! It has no locks, clocks, threads or sockets.
//!
//! A connection has two halves, a writer and a reader. A caller leases a half and uses it for all
//! callers: the writer takes the whole send queue, and the reader dispatches replies in the order
//! in which the commands were queued. A half that is not leased is *idle*.
//!
//! Two rules prevent a stall:
//!
//! - While an idle half has work, some call is awake and will take a [`Step`], or is being
//!   [woken](Wakeups) to take one. If that call is answered first, the next call is woken.
//! - Only a call whose command was written can read. A caller blocked in a read cannot be woken, so
//!   it must not wait for a reply to a command that has not left.

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use crate::mux::stats::MuxStats;

mod lifecycle;
mod link;
mod types;

use link::{Failure, Link};
pub(crate) use types::{
    Admission, Arrival, Command, Lease, ReturnedReader, SplitConn, Step, Teardown, Ticket,
    WaiterId, Wakeups, WriteFailure,
};

/// A send queue of this size is full, in bytes. A writer must take it before more is queued.
const QUEUE_LIMIT: usize = 1 << 20;

/// With this many calls in flight, the processors are busy until the next replies arrive.
const SPIN_THRESHOLD: usize = 16;

/// The state of a mux. `S` is the write half, `R` the read half, and `W` wakes a caller.
#[derive(Debug)]
pub(crate) struct Core<S, R, W> {
    link: Link<S, R>,
    /// The number of connections so far. Identifies the current one.
    epoch: u64,
    /// Calls without a reply, in the order of their commands. The last of them are the calls of
    /// `send_queue`.
    in_flight: VecDeque<Call<W>>,
    /// The ticket of the first call in flight.
    first: u64,
    /// The number of calls in flight that are parked.
    parked: usize,
    /// A writer has taken all commands with a lower ticket.
    taken: u64,
    /// All commands with a lower ticket were written.
    written: u64,
    /// Commands that no writer has taken.
    send_queue: VecDeque<Command>,
    queued_bytes: usize,
    /// Callers that cannot queue their command yet.
    waiters: Vec<(u64, W)>,
    next_waiter: u64,
    /// The last time that a reply arrived or that the first command became due.
    quiet_since: Option<Instant>,
    /// Failed dials in a row. A connection that is lost before a good reply counts as well.
    failures: u32,
    counters: MuxStats,
}

#[derive(Debug)]
struct Call<W> {
    /// `None` after the caller has left.
    waker: Option<W>,
    state: CallState,
    /// The time at which the reply is overdue, if it can be.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallState {
    /// The caller holds a lease, or does not wait for its reply yet.
    Busy,
    /// The caller sleeps until it is woken.
    Parked,
    /// The caller is about to take a step.
    Woken,
}

impl<S, R, W: Clone> Core<S, R, W> {
    pub(crate) fn new() -> Core<S, R, W> {
        Core {
            link: Link::Down(None),
            epoch: 0,
            in_flight: VecDeque::new(),
            first: 0,
            parked: 0,
            taken: 0,
            written: 0,
            send_queue: VecDeque::new(),
            queued_bytes: 0,
            waiters: Vec::new(),
            next_waiter: 0,
            quiet_since: None,
            failures: 0,
            counters: MuxStats::default(),
        }
    }

    /// Asks whether a caller can queue a command. `probed` is true if the caller has just seen the
    /// connection alive. `now` is called only during a pause before a dial.
    pub(crate) fn admit(
        &mut self,
        probed: bool,
        now: impl FnOnce() -> Instant,
        waker: impl FnOnce() -> W,
    ) -> Admission<S, R, W> {
        let full = self.queued_bytes >= QUEUE_LIMIT;
        match &mut self.link {
            Link::Closed => Admission::Closed,
            Link::Down(failure) => {
                if let Some(Failure { error, retry_at: Some(until) }) = failure {
                    if now() < *until {
                        let (until, error) = (*until, error.clone());
                        let (waiter, waker) = self.add_waiter(waker());
                        return Admission::Pause { waiter, waker, until, error };
                    }
                }
                let last_error = failure.take().map(|failure| failure.error);
                self.link = Link::Dialing;
                Admission::Dial(last_error)
            }
            Link::Up(up) if up.write_fault.is_some() => self.wait(waker()),
            Link::Up(up) if full => match up.writer.take() {
                Some(half) => Admission::Write(Lease { epoch: self.epoch, half }),
                None => self.wait(waker()),
            },
            Link::Up(up) if self.in_flight.is_empty() && !probed => match up.reader.take() {
                Some(half) => Admission::Probe(Lease { epoch: self.epoch, half }),
                None => Admission::Open(up.read_timeout),
            },
            Link::Up(up) => Admission::Open(up.read_timeout),
            Link::Dialing => self.wait(waker()),
        }
    }

    fn wait(&mut self, waker: W) -> Admission<S, R, W> {
        let (waiter, waker) = self.add_waiter(waker);
        Admission::Wait(waiter, waker)
    }

    fn add_waiter(&mut self, waker: W) -> (WaiterId, W) {
        let id = self.next_waiter;
        self.next_waiter += 1;
        self.waiters.push((id, waker.clone()));
        (WaiterId(id), waker)
    }

    /// Removes a waiter that no longer waits.
    pub(crate) fn remove_waiter(&mut self, waiter: WaiterId) -> Option<W> {
        let index = self.waiters.iter().position(|(id, _)| *id == waiter.0)?;
        Some(self.waiters.swap_remove(index).1)
    }

    /// Queues a command after [`Admission::Open`]. `now` is needed only with a read timeout.
    pub(crate) fn enqueue(
        &mut self,
        command: Command,
        waker: W,
        now: Option<Instant>,
        due: Option<Instant>,
    ) -> Ticket {
        if self.in_flight.is_empty() {
            self.quiet_since = now;
        }
        let ticket = self.next_ticket();
        self.queued_bytes += command.weight;
        self.send_queue.push_back(command);
        self.in_flight.push_back(Call { waker: Some(waker), state: CallState::Busy, due });
        self.counters.calls += 1;
        Ticket(ticket)
    }

    /// Returns the next step of a call that waits for its reply.
    pub(crate) fn step(&mut self, ticket: Ticket) -> (Step<S, R>, Wakeups<W>) {
        let Some(index) = self.index(ticket) else { return (Step::AwaitOutcome, Wakeups::none()) };
        self.set_state(index, CallState::Busy);
        let alone = self.in_flight.len() == 1;
        let is_written = ticket.0 < self.written;
        let has_to_write = self.has_to_write();
        let Link::Up(up) = &mut self.link else { return (Step::AwaitOutcome, Wakeups::none()) };
        if has_to_write {
            if let Some(half) = up.writer.take() {
                // The reader must not wait until this caller has written.
                let wakeups = self.wake();
                return (Step::Write { lease: Lease { epoch: self.epoch, half }, alone }, wakeups);
            }
        }
        if is_written {
            if let Some(half) = up.reader.take() {
                return (Step::Read(Lease { epoch: self.epoch, half }), Wakeups::none());
            }
        }
        self.set_state(index, CallState::Parked);
        (Step::Park { spin: self.in_flight.len() >= SPIN_THRESHOLD }, Wakeups::none())
    }

    /// Leases the writer to a caller that flushes without waiting for a reply.
    pub(crate) fn lease_writer(&mut self) -> Option<Lease<S>> {
        let has_to_write = self.has_to_write();
        let Link::Up(up) = &mut self.link else { return None };
        let half = up.writer.take_if(|_| has_to_write)?;
        Some(Lease { epoch: self.epoch, half })
    }

    /// Leases the reader to the writer of the same connection if it is idle.
    pub(crate) fn lease_reader(&mut self, epoch: u64) -> Option<Lease<R>> {
        let half = self.up(epoch)?.reader.take()?;
        Some(Lease { epoch, half })
    }

    /// Returns true if more replies are due than the one to the last command that was taken.
    pub(crate) fn has_earlier_replies_due(&self) -> bool {
        self.in_flight.len() - self.send_queue.len() > 1
    }

    /// Gives the writer the send queue in exchange for an empty one, and admits the waiters.
    /// Returns `None` if the writer belongs to an earlier connection.
    pub(crate) fn take_send_queue(
        &mut self,
        lease: &Lease<S>,
        spare: &mut VecDeque<Command>,
    ) -> Option<Wakeups<W>> {
        if !self.is_current(lease.epoch) {
            return None;
        }
        self.written = self.taken;
        self.taken = self.next_ticket();
        if !self.send_queue.is_empty() {
            mem::swap(&mut self.send_queue, spare);
            self.queued_bytes = 0;
            self.counters.writes += 1;
        }
        Some(Wakeups { call: None, waiters: mem::take(&mut self.waiters) })
    }

    /// Returns the writer. A caller that waits for the reply to `own` takes a step next. A half of
    /// an earlier connection comes back.
    pub(crate) fn return_writer(
        &mut self,
        lease: Lease<S>,
        unfinished: bool,
        own: Option<Ticket>,
    ) -> (Option<S>, Wakeups<W>) {
        let taken = self.taken;
        let Some(up) = self.up(lease.epoch) else { return (Some(lease.half), Wakeups::none()) };
        up.writer = Some(lease.half);
        up.unfinished = unfinished;
        if !unfinished {
            self.written = taken;
        }
        match own.and_then(|own| self.index(own)) {
            Some(index) => {
                self.set_state(index, CallState::Woken);
                (None, Wakeups::none())
            }
            None => (None, self.wake()),
        }
    }

    /// Returns the reader.
    pub(crate) fn return_reader(&mut self, lease: Lease<R>) -> ReturnedReader<R, W> {
        match self.up(lease.epoch) {
            None => ReturnedReader::Stale(lease.half),
            Some(up) if up.write_fault.is_some() => ReturnedReader::Drain(lease),
            Some(up) => {
                up.reader = Some(lease.half);
                ReturnedReader::Idle(self.wake())
            }
        }
    }

    /// Records that the reader has `count` replies. Appends the calls that they answer to `calls`,
    /// in order. `good` is true if one of them is not an error.
    pub(crate) fn arrived(
        &mut self,
        lease: &Lease<R>,
        count: usize,
        good: bool,
        now: Option<Instant>,
        calls: &mut Vec<Option<W>>,
    ) -> (Arrival, Wakeups<W>) {
        let Some(up) = self.up(lease.epoch) else { return (Arrival::Stale, Wakeups::none()) };
        if good && !up.proven {
            up.proven = true;
            self.failures = 0;
        }
        let due = self.in_flight.len() - self.send_queue.len();
        let answered = count.min(due);
        let mut was_woken = false;
        for call in self.in_flight.drain(..answered) {
            self.parked -= usize::from(call.state == CallState::Parked);
            was_woken |= call.state == CallState::Woken;
            calls.push(call.waker);
        }
        self.first += answered as u64;
        self.quiet_since = now;
        let wakeups = if was_woken { self.wake() } else { Wakeups::none() };
        (if count > due { Arrival::Surplus } else { Arrival::Expected }, wakeups)
    }

    /// Returns true if the reader belongs to the current connection and nothing is in flight.
    pub(crate) fn is_idle(&self, lease: &Lease<R>) -> bool {
        self.is_current(lease.epoch) && self.in_flight.is_empty()
    }

    /// Records that a caller left before its reply, which will be dropped. Returns `None` if the
    /// outcome is already being stored in the slot.
    pub(crate) fn abandon(&mut self, ticket: Ticket) -> Option<(W, Wakeups<W>)> {
        let index = self.index(ticket)?;
        self.set_state(index, CallState::Busy);
        let waker = self.in_flight.get_mut(index)?.waker.take()?;
        self.counters.abandoned += 1;
        Some((waker, self.wake()))
    }

    /// Returns the epoch of the current or the last connection.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the epoch of the current connection if its oldest reply is overdue and nothing has
    /// arrived for the read timeout.
    pub(crate) fn silent_epoch(&self, now: Instant) -> Option<u64> {
        let Link::Up(up) = &self.link else { return None };
        let quiet = now.saturating_duration_since(self.quiet_since?);
        let overdue = self.in_flight.front()?.due? <= now;
        (overdue && quiet >= up.read_timeout?).then_some(self.epoch)
    }

    /// Chooses a caller to take over the work of an idle half, if there is work.
    fn wake(&mut self) -> Wakeups<W> {
        let has_to_write = self.has_to_write();
        let Link::Up(up) = &self.link else { return Wakeups::none() };
        let writes = has_to_write && up.writer.is_some();
        // Any call can write; only a call whose command was written can read.
        let able = match up.reader.is_some() {
            _ if writes => self.in_flight.len(),
            true => usize::try_from(self.written.saturating_sub(self.first)).unwrap_or(usize::MAX),
            false => 0,
        };
        let able = able.min(self.in_flight.len());
        if self.parked > 0 {
            // The last call waits longest, so it rarely has to pass the work on.
            let mut indexes = (0..able).rev();
            let index = indexes.find(|index| self.in_flight[*index].state == CallState::Parked);
            if let Some(index) = index {
                self.set_state(index, CallState::Woken);
                return Wakeups { call: self.in_flight[index].waker.clone(), waiters: Vec::new() };
            }
        }
        // Waiters at a full queue can write, too.
        let waiters = if writes { mem::take(&mut self.waiters) } else { Vec::new() };
        Wakeups { call: None, waiters }
    }

    pub(crate) fn stats(&self) -> MuxStats {
        MuxStats {
            connected: matches!(self.link, Link::Up(_)),
            in_flight: self.in_flight.len(),
            waiting: self.waiters.len(),
            ..self.counters
        }
    }

    fn has_to_write(&self) -> bool {
        let unfinished = matches!(&self.link, Link::Up(up) if up.unfinished);
        unfinished || !self.send_queue.is_empty()
    }

    fn index(&self, ticket: Ticket) -> Option<usize> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        (index < self.in_flight.len()).then_some(index)
    }

    fn next_ticket(&self) -> u64 {
        self.first + self.in_flight.len() as u64
    }

    fn set_state(&mut self, index: usize, state: CallState) {
        if let Some(call) = self.in_flight.get_mut(index) {
            self.parked -= usize::from(call.state == CallState::Parked);
            call.state = state;
            self.parked += usize::from(state == CallState::Parked);
        }
    }
}

#[cfg(test)]
mod tests;
