//! Who waits for which reply, and who writes and reads for everybody: the bookkeeping of a mux,
//! without locks, clocks, threads or sockets.
//!
//! The connection has two sides, one to write to and one to read from. Whoever holds a side uses
//! it for all: the writer takes everything that is queued, the reader hands out replies in the
//! order in which the commands were queued. A side that nobody holds is *at home*.
//!
//! Two rules keep it going. While there is work for a side at home, a call that waits is awake and
//! will take a [`Step`], or it is [nudged](Nudges) to; a nudge to one who is served before it
//! comes goes to the next. And only a call whose command has left may read, for a reader cannot
//! be woken: it would wait for ever for what nobody writes.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::mux::stats::MuxStats;
use crate::net::stream::ShutdownHandle;

mod types;

pub(crate) use types::{Arrival, Command, Door, Held, Line, Nudges, Step, Ticket, Visitor, Wreck};

/// More than this in the queue is not added to before some of it is written, in bytes.
const FULL: usize = 1 << 20;

/// With so many calls under way, processors have enough to do until the next replies come.
const CROWD: usize = 16;

/// `S` and `R` are the two sides, `W` wakes a waiting call.
#[derive(Debug)]
pub(crate) struct Core<S, R, W> {
    link: Link<S, R>,
    /// How many connections there were.
    lines: u64,
    /// Calls whose reply has not come, in the order of their commands. The last of them are those
    /// of `outbox`.
    flight: VecDeque<Call<W>>,
    /// The ticket of the first of them.
    first: u64,
    /// How many of them are parked.
    parked: usize,
    /// Commands with a lower ticket were taken by a writer.
    taken: u64,
    /// Commands with a lower ticket have left.
    written: u64,
    /// Commands that no writer has taken.
    outbox: VecDeque<Command>,
    outbox_bytes: usize,
    /// Those who could not queue their command yet.
    lobby: Vec<(u64, W)>,
    next_visitor: u64,
    /// Since when nothing has come although something was due.
    quiet_since: Option<Instant>,
    counters: MuxStats,
}

#[derive(Debug)]
enum Link<S, R> {
    Down(Option<Error>),
    Dialing,
    Up(Up<S, R>),
    Closed,
}

#[derive(Debug)]
struct Up<S, R> {
    /// At home, or held by the writer.
    sender: Option<S>,
    /// At home, or held by the reader.
    receiver: Option<R>,
    /// Whether the last writer left before everything was out.
    unfinished: bool,
    shutdown: ShutdownHandle,
    read_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Call<W> {
    /// `None` when the caller has left.
    waker: Option<W>,
    state: State,
    /// When it is too late for the reply, if it can be.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Holds a side, or does not wait for its reply yet.
    Busy,
    /// Sleeps, and will come if it is nudged.
    Parked,
    /// Will take a step.
    Coming,
}

impl<S, R, W: Clone> Core<S, R, W> {
    pub(crate) fn new() -> Core<S, R, W> {
        Core {
            link: Link::Down(None),
            lines: 0,
            flight: VecDeque::new(),
            first: 0,
            parked: 0,
            taken: 0,
            written: 0,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            lobby: Vec::new(),
            next_visitor: 0,
            quiet_since: None,
            counters: MuxStats::default(),
        }
    }

    /// Somebody has a command to queue. `inspected` when it has just seen that the connection
    /// lives.
    pub(crate) fn knock(&mut self, inspected: bool, waker: impl FnOnce() -> W) -> Door<S, R, W> {
        let full = self.outbox_bytes >= FULL;
        match &mut self.link {
            Link::Closed => Door::Closed,
            Link::Down(error) => {
                let error = error.take();
                self.link = Link::Dialing;
                Door::Dial(error)
            }
            Link::Up(up) if full => match up.sender.take() {
                Some(side) => Door::Write(Held { line: self.lines, side }),
                None => self.wait_in_lobby(waker()),
            },
            Link::Up(up) if self.flight.is_empty() && !inspected => match up.receiver.take() {
                Some(side) => Door::Inspect(Held { line: self.lines, side }),
                None => Door::Open(up.read_timeout),
            },
            Link::Up(up) => Door::Open(up.read_timeout),
            Link::Dialing => self.wait_in_lobby(waker()),
        }
    }

    fn wait_in_lobby(&mut self, waker: W) -> Door<S, R, W> {
        let visitor = self.next_visitor;
        self.next_visitor += 1;
        self.lobby.push((visitor, waker.clone()));
        Door::Wait(Visitor(visitor), waker)
    }

    /// A visitor does not wait any more.
    pub(crate) fn leave_lobby(&mut self, visitor: Visitor) -> Option<W> {
        let place = self.lobby.iter().position(|(number, _)| *number == visitor.0)?;
        Some(self.lobby.swap_remove(place).1)
    }

    /// Queues a command, through an open [`Door`]. `now` is only needed with a read timeout.
    pub(crate) fn enqueue(
        &mut self,
        command: Command,
        waker: W,
        now: Option<Instant>,
        due: Option<Instant>,
    ) -> Ticket {
        if self.flight.is_empty() {
            self.quiet_since = now;
        }
        let ticket = self.next_ticket();
        self.outbox_bytes += command.weight;
        self.outbox.push_back(command);
        self.flight.push_back(Call { waker: Some(waker), state: State::Busy, due });
        self.counters.calls += 1;
        Ticket(ticket)
    }

    /// What a call does next that waits for its reply.
    pub(crate) fn step(&mut self, ticket: Ticket) -> (Step<S, R>, Nudges<W>) {
        let nobody = Nudges::nobody();
        let Some(place) = self.place(ticket) else { return (Step::Arriving, nobody) };
        self.set_state(place, State::Busy);
        let alone = self.flight.len() == 1;
        let has_left = ticket.0 < self.written;
        let has_to_write = self.has_to_write();
        let Link::Up(up) = &mut self.link else { return (Step::Arriving, nobody) };
        if has_to_write {
            if let Some(side) = up.sender.take() {
                // The other side is not to wait for this writer.
                let nudges = self.nudge();
                return (Step::Write { held: Held { line: self.lines, side }, alone }, nudges);
            }
        }
        if has_left {
            if let Some(side) = up.receiver.take() {
                return (Step::Read(Held { line: self.lines, side }), nobody);
            }
        }
        self.set_state(place, State::Parked);
        (Step::Park { crowded: self.flight.len() >= CROWD }, nobody)
    }

    /// The sender, for one who flushes without waiting for a reply.
    pub(crate) fn take_sender(&mut self) -> Option<Held<S>> {
        let waiting = self.has_to_write();
        let Link::Up(up) = &mut self.link else { return None };
        let side = up.sender.take_if(|_| waiting)?;
        Some(Held { line: self.lines, side })
    }

    /// Gives the writer what is queued, in exchange for an empty queue. Whoever waited for room
    /// may come in. `None` when the writer's connection is not the present one.
    pub(crate) fn take_outbox(
        &mut self,
        held: &Held<S>,
        spare: &mut VecDeque<Command>,
    ) -> Option<Nudges<W>> {
        if !self.is_present(held.line) {
            return None;
        }
        self.written = self.taken;
        self.taken = self.next_ticket();
        if !self.outbox.is_empty() {
            mem::swap(&mut self.outbox, spare);
            self.outbox_bytes = 0;
            self.counters.writes += 1;
        }
        Some(Nudges { one: None, lobby: mem::take(&mut self.lobby) })
    }

    /// The writer stops, and takes a step next if it waits for the reply to `own`. Gives the side
    /// back when its connection is not the present one.
    pub(crate) fn sender_home(
        &mut self,
        held: Held<S>,
        unfinished: bool,
        own: Option<Ticket>,
    ) -> (Option<S>, Nudges<W>) {
        let taken = self.taken;
        let Some(up) = self.up(held.line) else { return (Some(held.side), Nudges::nobody()) };
        up.sender = Some(held.side);
        up.unfinished = unfinished;
        if !unfinished {
            self.written = taken;
        }
        match own.and_then(|own| self.place(own)) {
            Some(place) => {
                self.set_state(place, State::Coming);
                (None, Nudges::nobody())
            }
            None => (None, self.nudge()),
        }
    }

    /// The reader stops. Gives the side back when its connection is not the present one.
    pub(crate) fn receiver_home(&mut self, held: Held<R>) -> (Option<R>, Nudges<W>) {
        match self.up(held.line) {
            None => (Some(held.side), Nudges::nobody()),
            Some(up) => {
                up.receiver = Some(held.side);
                (None, self.nudge())
            }
        }
    }

    /// The reader has this many replies; `calls` gets those they belong to, in order.
    pub(crate) fn arrived(
        &mut self,
        held: &Held<R>,
        count: usize,
        now: Option<Instant>,
        calls: &mut Vec<Option<W>>,
    ) -> (Arrival, Nudges<W>) {
        if !self.is_present(held.line) {
            return (Arrival::Stray, Nudges::nobody());
        }
        let due = self.flight.len() - self.outbox.len();
        let served = count.min(due);
        let mut was_coming = false;
        for call in self.flight.drain(..served) {
            self.parked -= usize::from(call.state == State::Parked);
            was_coming |= call.state == State::Coming;
            calls.push(call.waker);
        }
        self.first += served as u64;
        self.quiet_since = now;
        let nudges = if was_coming { self.nudge() } else { Nudges::nobody() };
        (if count > due { Arrival::Surplus } else { Arrival::Expected }, nudges)
    }

    /// True when the reader's connection is the present one and nothing is due on it.
    pub(crate) fn is_idle(&self, held: &Held<R>) -> bool {
        self.is_present(held.line) && self.flight.is_empty()
    }

    /// A caller leaves before its reply; its command is answered to nobody. `None` when the
    /// outcome is on its way already.
    pub(crate) fn abandon(&mut self, ticket: Ticket) -> Option<(W, Nudges<W>)> {
        let place = self.place(ticket)?;
        self.set_state(place, State::Busy);
        let waker = self.flight.get_mut(place)?.waker.take()?;
        self.counters.abandoned += 1;
        Some((waker, self.nudge()))
    }

    /// The present connection, if the oldest reply is overdue on it and nothing at all has come
    /// for as long as its read timeout.
    pub(crate) fn silent_line(&self, now: Instant) -> Option<u64> {
        let Link::Up(up) = &self.link else { return None };
        let quiet = now.saturating_duration_since(self.quiet_since?);
        let overdue = self.flight.front()?.due? <= now;
        (overdue && quiet >= up.read_timeout?).then_some(self.lines)
    }

    /// Who takes over what there is to do, if a side is at home that should not be.
    fn nudge(&mut self) -> Nudges<W> {
        let has_to_write = self.has_to_write();
        let Link::Up(up) = &self.link else { return Nudges::nobody() };
        let writes = has_to_write && up.sender.is_some();
        // Who may take over: to write anybody, to read those whose commands have left.
        let able = match up.receiver.is_some() {
            _ if writes => self.flight.len(),
            true => usize::try_from(self.written.saturating_sub(self.first)).unwrap_or(usize::MAX),
            false => 0,
        };
        let able = able.min(self.flight.len());
        if self.parked > 0 {
            // The last waits longest, so it will not have to pass the work on soon.
            let place = (0..able).rev().find(|place| self.flight[*place].state == State::Parked);
            if let Some(place) = place {
                self.set_state(place, State::Coming);
                return Nudges { one: self.flight[place].waker.clone(), lobby: Vec::new() };
            }
        }
        // Those in front of a full queue can write, too.
        let lobby = if writes { mem::take(&mut self.lobby) } else { Vec::new() };
        Nudges { one: None, lobby }
    }

    /// The dial has given a connection. Gives it back when the mux was closed meanwhile.
    pub(crate) fn dialed(&mut self, line: Line<S, R>) -> (Option<Line<S, R>>, Nudges<W>) {
        self.counters.dials += 1;
        if !matches!(self.link, Link::Dialing) {
            return (Some(line), Nudges::nobody());
        }
        self.lines += 1;
        self.link = Link::Up(Up {
            sender: Some(line.sender),
            receiver: Some(line.receiver),
            unfinished: false,
            shutdown: line.shutdown,
            read_timeout: line.read_timeout,
        });
        (None, Nudges { one: None, lobby: mem::take(&mut self.lobby) })
    }

    /// The dial has failed: so have all who waited for it.
    pub(crate) fn dial_failed(&mut self, error: &Error) -> Vec<(u64, W)> {
        self.counters.dials += 1;
        self.counters.failed_dials += 1;
        if matches!(self.link, Link::Dialing) {
            self.link = Link::Down(Some(error.clone()));
        }
        mem::take(&mut self.lobby)
    }

    /// The caller who dialled has left: somebody else is to dial.
    pub(crate) fn dial_left(&mut self) -> Nudges<W> {
        self.counters.dials += 1;
        self.counters.failed_dials += 1;
        if matches!(self.link, Link::Dialing) {
            self.link = Link::Down(None);
        }
        Nudges { one: None, lobby: mem::take(&mut self.lobby) }
    }

    /// The connection has failed. Nothing is left to do when it is not the present one.
    pub(crate) fn lost(&mut self, line: u64, error: Error) -> Wreck<S, R, W> {
        if !self.is_present(line) {
            return Wreck { _remains: (None, None, VecDeque::new(), Some(error)), ..Wreck::none() };
        }
        self.counters.lost += 1;
        self.clear(Link::Down(Some(error)))
    }

    /// No more connections.
    pub(crate) fn close(&mut self) -> Wreck<S, R, W> {
        self.clear(Link::Closed)
    }

    fn clear(&mut self, link: Link<S, R>) -> Wreck<S, R, W> {
        let mut wreck = Wreck::none();
        match mem::replace(&mut self.link, link) {
            Link::Up(up) => {
                wreck.shutdown = Some(up.shutdown);
                wreck._remains = (up.sender, up.receiver, mem::take(&mut self.outbox), None);
            }
            Link::Down(error) => wreck._remains.3 = error,
            Link::Dialing | Link::Closed => {}
        }
        self.outbox_bytes = 0;
        self.parked = 0;
        self.first = self.next_ticket();
        (self.taken, self.written) = (self.first, self.first);
        wreck.calls = self.flight.drain(..).filter_map(|call| call.waker).collect();
        wreck.lobby = mem::take(&mut self.lobby);
        wreck
    }

    /// Why there is no connection, if that is for a reason.
    pub(crate) fn err(&self) -> Option<Error> {
        match &self.link {
            Link::Down(error) => error.clone(),
            Link::Closed => Some(Error::ConnClosed),
            Link::Dialing | Link::Up(_) => None,
        }
    }

    pub(crate) fn is_dialing(&self) -> bool {
        matches!(self.link, Link::Dialing)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.link, Link::Closed)
    }

    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        match &self.link {
            Link::Up(up) => up.read_timeout,
            _ => None,
        }
    }

    pub(crate) fn stats(&self) -> MuxStats {
        MuxStats {
            connected: matches!(self.link, Link::Up(_)),
            in_flight: self.flight.len(),
            waiting: self.lobby.len(),
            ..self.counters
        }
    }

    fn has_to_write(&self) -> bool {
        let unfinished = matches!(&self.link, Link::Up(up) if up.unfinished);
        unfinished || !self.outbox.is_empty()
    }

    fn is_present(&self, line: u64) -> bool {
        line == self.lines && matches!(self.link, Link::Up(_))
    }

    fn up(&mut self, line: u64) -> Option<&mut Up<S, R>> {
        match &mut self.link {
            Link::Up(up) if line == self.lines => Some(up),
            _ => None,
        }
    }

    fn place(&self, ticket: Ticket) -> Option<usize> {
        let place = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        (place < self.flight.len()).then_some(place)
    }

    fn next_ticket(&self) -> u64 {
        self.first + self.flight.len() as u64
    }

    fn set_state(&mut self, place: usize, state: State) {
        if let Some(call) = self.flight.get_mut(place) {
            self.parked -= usize::from(call.state == State::Parked);
            call.state = state;
            self.parked += usize::from(state == State::Parked);
        }
    }
}

#[cfg(test)]
mod tests;
