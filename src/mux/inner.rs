//! The shell around the core: one mutex, and everything that must not happen under it.
//!
//! There are no threads but the callers'. A call that waits for its reply takes a side of the
//! connection that it finds at home and works for everybody, until its own reply is there.

use std::sync::Arc;
use std::time::Instant;

use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::context::{CancelHandle, Context};
use crate::error::{Error, Result, TimeoutKind};
use crate::mux::core::{Command, Core, Door, Nudges, Step, Ticket, Visitor, Wreck};
use crate::mux::deadline::Patience;
use crate::mux::halves::{ReceiveSide, SendSide};
use crate::mux::slot::{Found, Slot};
use crate::mux::unsupported::refuse;
use crate::sync::{Mutex, MutexGuard};
use crate::value::Value;

pub(super) type Sender = Box<SendSide>;
pub(super) type Receiver = Box<ReceiveSide>;
pub(crate) type MuxCore = Core<Sender, Receiver, Arc<Slot>>;
type Dial = Box<dyn Fn(&Context) -> Result<Conn> + Send + Sync>;

/// What the handles of a mux share.
pub(crate) struct Shared {
    core: Mutex<MuxCore>,
    pub(super) dial: Dial,
    /// Every dial runs under a context that ends when the mux is closed.
    pub(super) lifetime: Context,
    end_lifetime: CancelHandle,
}

/// A command that is queued, and where its reply will be.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) slot: Arc<Slot>,
}

impl Shared {
    pub(crate) fn new(dial: Dial) -> Shared {
        let (lifetime, end_lifetime) = Context::background().with_cancel();
        Shared { core: Mutex::new(Core::new()), dial, lifetime, end_lifetime }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, MuxCore> {
        self.core.lock()
    }

    /// One command and its reply.
    pub(crate) fn call(
        &self,
        command: &str,
        args: &dyn ToArgs,
        patience: &Patience<'_>,
    ) -> Result<Value> {
        let command = prepare(command, args)?;
        let (core, pending, patience) = self.enqueue(command, patience)?;
        self.wait_for(core, &pending, &patience)
    }

    /// Queues a command that somebody writes later.
    pub(crate) fn send(
        &self,
        command: &str,
        args: &dyn ToArgs,
        patience: &Patience<'_>,
    ) -> Result<Pending> {
        let command = prepare(command, args)?;
        self.enqueue(command, patience).map(|(_, pending, _)| pending)
    }

    /// Writes what is queued, unless somebody is writing: then that one will.
    pub(crate) fn flush(&self, patience: &Patience<'_>) -> Result<()> {
        let mut core = self.core();
        let patience = patience.for_reply(core.read_timeout());
        let held = core.take_sender();
        drop(core);
        match held {
            Some(held) => self.write(held, &patience, None),
            None => Ok(()),
        }
    }

    /// The reply to a command that was queued before.
    pub(crate) fn receive(&self, pending: &Pending, patience: &Patience<'_>) -> Result<Value> {
        if let Found::Outcome(outcome) = pending.slot.look() {
            return outcome;
        }
        let core = self.core();
        let patience = patience.for_reply(core.read_timeout());
        self.wait_for(core, pending, &patience)
    }

    /// Lets a reply go that nobody will ask for.
    pub(crate) fn abandon(&self, pending: &Pending) {
        let abandoned = self.core().abandon(pending.ticket);
        if let Some((_slot, nudges)) = abandoned {
            nudge(nudges);
        }
    }

    pub(crate) fn close(&self) {
        let wreck = self.core().close();
        self.end_lifetime.cancel();
        log::debug!(target: "redigo::mux", "mux closed");
        clear_away(wreck, &Error::ConnClosed);
    }

    /// Gets a command into the queue, with a connection dialled if there is none.
    fn enqueue<'a>(
        &self,
        command: Command,
        patience: &Patience<'a>,
    ) -> Result<(MutexGuard<'_, MuxCore>, Pending, Patience<'a>)> {
        let mut inspected = false;
        loop {
            if let Some(error) = patience.over() {
                return Err(error);
            }
            let mut core = self.core();
            match core.knock(inspected, Arc::default) {
                Door::Open(read_timeout) => {
                    // One look at the clock for all, and none without a read timeout.
                    let now = read_timeout.map(|_| Instant::now());
                    let limits = now.zip(read_timeout);
                    let due = limits.and_then(|(now, timeout)| patience.due(now, timeout));
                    let patience = match limits {
                        Some((now, timeout)) => patience.for_reply_from(now, timeout),
                        None => patience.clone(),
                    };
                    let slot = Arc::new(Slot::default());
                    let ticket = core.enqueue(command, Arc::clone(&slot), now, due);
                    return Ok((core, Pending { ticket, slot }, patience));
                }
                Door::Inspect(held) => {
                    drop(core);
                    self.inspect(held);
                    inspected = true;
                }
                Door::Write(held) => {
                    let patience = patience.for_reply(core.read_timeout());
                    drop(core);
                    // If that ends the connection, there will be another.
                    let _ = self.write(held, &patience, None);
                    if let Some(error) = patience.over() {
                        return Err(full(error));
                    }
                }
                Door::Dial(last_error) => {
                    drop(core);
                    drop(last_error);
                    self.dial_line(patience)?;
                    // What was dialled just now needs no look.
                    inspected = true;
                }
                Door::Wait(visitor, slot) => {
                    let name = if core.is_dialing() { dialing } else { full };
                    let patience = patience.for_reply(core.read_timeout());
                    drop(core);
                    self.wait_in_lobby(visitor, &slot, &patience).map_err(name)?;
                }
                Door::Closed => return Err(Error::ConnClosed),
            }
        }
    }

    /// Sleeps until it is worth knocking again.
    fn wait_in_lobby(
        &self,
        visitor: Visitor,
        slot: &Arc<Slot>,
        patience: &Patience<'_>,
    ) -> Result<()> {
        let watch = patience.watch(slot);
        let found = slot.wait(patience.deadline());
        drop(watch);
        let left = self.core().leave_lobby(visitor);
        drop(left);
        match found {
            Found::Outcome(outcome) => outcome.map(drop),
            Found::Nothing => patience.over().map_or(Ok(()), Err),
        }
    }

    /// Does what there is to do, or sleeps, until the reply is there or patience ends.
    fn wait_for<'a>(
        &'a self,
        mut core: MutexGuard<'a, MuxCore>,
        pending: &Pending,
        patience: &Patience<'_>,
    ) -> Result<Value> {
        let Pending { ticket, slot } = pending;
        let mut watch = None;
        loop {
            let (step, nudges) = core.step(*ticket);
            drop(core);
            nudge(nudges);
            let found = match step {
                Step::Write { held, alone } => {
                    if !alone {
                        // Those who are about to queue a command may do so first: one write for
                        // all of them.
                        std::thread::yield_now();
                    }
                    // An error that ends the connection is in the slot.
                    let _ = self.write(held, patience, Some(pending));
                    slot.look()
                }
                Step::Read(held) => {
                    self.read(held, slot, patience);
                    slot.look()
                }
                Step::Park { crowded } => {
                    watch = watch.or_else(|| patience.watch(slot));
                    let soon = if crowded { slot.linger() } else { None };
                    soon.unwrap_or_else(|| slot.wait(patience.deadline()))
                }
                Step::Arriving => return slot.wait_for_outcome(),
            };
            if let Found::Outcome(outcome) = found {
                return outcome;
            }
            if let Some(error) = patience.over() {
                return self.leave(pending, error);
            }
            core = self.core();
        }
    }

    /// The end of a call whose patience has ended.
    fn leave(&self, pending: &Pending, error: Error) -> Result<Value> {
        let mut core = self.core();
        let Some((_slot, nudges)) = core.abandon(pending.ticket) else {
            drop(core);
            return pending.slot.wait_for_outcome();
        };
        let silent = core.read_timeout().and_then(|_| core.silent_line(Instant::now()));
        drop(core);
        nudge(nudges);
        if let Some(line) = silent {
            log::debug!(target: "redigo::mux", "nothing came for as long as the read timeout");
            self.lose(line, Error::Timeout(TimeoutKind::Read));
        }
        Err(error)
    }

    /// Ends a connection, and the calls that are under way on it, with an error.
    pub(super) fn lose(&self, line: u64, error: Error) -> Error {
        let wreck = self.core().lost(line, error.clone());
        if wreck.shutdown.is_some() {
            log::debug!(target: "redigo::mux", "connection lost: {error}");
        }
        clear_away(wreck, &error);
        error
    }
}

/// Runs the user's code that makes arguments, before anything else.
fn prepare(command: &str, args: &dyn ToArgs) -> Result<Command> {
    let args = Args::new().args(args);
    match refuse(command, &args) {
        None => Ok(Command::new(command, args)),
        Some(error) => Err(error),
    }
}

pub(super) fn nudge(nudges: Nudges<Arc<Slot>>) {
    if let Some(slot) = nudges.one {
        slot.nudge();
    }
    nudges.lobby.iter().for_each(|(_, slot)| slot.nudge());
}

fn clear_away(wreck: Wreck<Sender, Receiver, Arc<Slot>>, error: &Error) {
    if let Some(shutdown) = &wreck.shutdown {
        // Whoever reads or writes comes back.
        shutdown.cut();
    }
    wreck.calls.iter().for_each(|slot| slot.finish(Err(error.clone())));
    wreck.lobby.iter().for_each(|(_, slot)| slot.nudge());
}

/// The error of one who could not even queue a command: the server does not read.
fn full(error: Error) -> Error {
    match error {
        Error::Timeout(TimeoutKind::Read) => Error::Timeout(TimeoutKind::Write),
        error => error,
    }
}

/// The error of one who waited for a connection in vain.
pub(super) fn dialing(error: Error) -> Error {
    match error {
        Error::Timeout(TimeoutKind::Read) => Error::Timeout(TimeoutKind::Connect),
        error => error,
    }
}
