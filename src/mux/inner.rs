//! The shared part of a mux: the core behind one mutex, and all work that must not run under it.
//!
//! A mux starts no threads. A call that waits for its reply leases an idle half of the
//! connection and works for all callers until its own reply has arrived.

use std::sync::Arc;
use std::time::Instant;

use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::context::{CancelHandle, Context};
use crate::error::{Error, Result, ServerError, TimeoutKind};
use crate::mux::backoff::retry_at;
use crate::mux::core::{Admission, Command, Core, Step, Teardown, Ticket, WaiterId, Wakeups};
use crate::mux::deadline::CallDeadline;
use crate::mux::guard::{OnUnwind, catch, debug, discard};
use crate::mux::halves::{ReadHalf, WriteHalf};
use crate::mux::last_reply::{is_hang_up, with_last_reply};
use crate::mux::scripts::EpochScripts;
use crate::mux::slot::Slot;
use crate::mux::unsupported::refuse;
use crate::sync::{Mutex, MutexGuard};
use crate::value::Value;

pub(super) type Writer = Box<WriteHalf>;
pub(super) type Reader = Box<ReadHalf>;
pub(crate) type MuxCore = Core<Writer, Reader, Arc<Slot>>;
type Dial = Box<dyn Fn(&Context) -> Result<Conn> + Send + Sync>;

/// The state that all handles of a mux share.
pub(crate) struct MuxInner {
    core: Mutex<MuxCore>,
    /// The scripts that pipelines have loaded. Never locked together with the core.
    pub(super) scripts: Mutex<EpochScripts>,
    pub(super) dial: Dial,
    /// Ends when the mux is closed. Every dial runs under it.
    pub(super) lifetime: Context,
    end_lifetime: CancelHandle,
}

/// A queued command and the slot for its reply.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) slot: Arc<Slot>,
}

impl MuxInner {
    pub(crate) fn new(dial: Dial) -> MuxInner {
        let (lifetime, end_lifetime) = Context::background().with_cancel();
        MuxInner {
            core: Mutex::new(Core::new()),
            scripts: Mutex::new(EpochScripts::default()),
            dial,
            lifetime,
            end_lifetime,
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, MuxCore> {
        self.core.lock()
    }

    /// Queues a command and waits for its reply.
    pub(crate) fn call(
        &self,
        command: &str,
        args: &dyn ToArgs,
        deadline: &CallDeadline<'_>,
    ) -> Result<Value> {
        let prepared = prepare(command, args)?;
        let (core, pending, deadline) = self.enqueue(prepared, deadline)?;
        self.wait_for(core, &pending, &deadline).map_err(|error| error.awaiting_reply_to(command))
    }

    /// Queues a command, which the next writer sends. Returns the deadline with the read timeout
    /// started.
    pub(crate) fn send<'a>(
        &self,
        command: &str,
        args: &dyn ToArgs,
        deadline: &CallDeadline<'a>,
    ) -> Result<(Pending, CallDeadline<'a>)> {
        let command = prepare(command, args)?;
        self.enqueue(command, deadline).map(|(_, pending, deadline)| (pending, deadline))
    }

    /// Returns the deadline with the read timeout started.
    pub(crate) fn start<'a>(&self, deadline: &CallDeadline<'a>) -> CallDeadline<'a> {
        deadline.start(self.core().read_timeout())
    }

    /// Writes the send queue, unless another caller is writing it.
    pub(crate) fn flush(&self, deadline: &CallDeadline<'_>) -> Result<()> {
        let mut core = self.core();
        let deadline = deadline.start(core.read_timeout());
        let lease = core.lease_writer();
        drop(core);
        match lease {
            Some(lease) => self.write(lease, &deadline, None),
            None => Ok(()),
        }
    }

    /// Waits for the reply to a command that was queued before.
    pub(crate) fn receive(&self, pending: &Pending, deadline: &CallDeadline<'_>) -> Result<Value> {
        if let Some(outcome) = pending.slot.take_outcome() {
            return outcome;
        }
        let core = self.core();
        let deadline = deadline.start(core.read_timeout());
        self.wait_for(core, pending, &deadline)
    }

    /// Drops the reply to a command when it arrives.
    pub(crate) fn abandon(&self, pending: &Pending) {
        let abandoned = self.core().abandon(pending.ticket);
        if let Some((_slot, wakeups)) = abandoned {
            wake(wakeups);
        }
    }

    pub(crate) fn close(&self) {
        let teardown = self.core().close();
        finish(teardown, &Error::ConnClosed);
        catch(|| self.end_lifetime.cancel());
        debug(format_args!("mux closed"));
    }

    /// Queues a command, and dials a connection if there is none.
    pub(super) fn enqueue<'a>(
        &self,
        command: Command,
        deadline: &CallDeadline<'a>,
    ) -> Result<(MutexGuard<'_, MuxCore>, Pending, CallDeadline<'a>)> {
        let mut probed = false;
        loop {
            if let Some(error) = deadline.err() {
                return Err(error);
            }
            let mut core = self.core();
            match core.admit(probed, Instant::now, Arc::default) {
                Admission::Open(read_timeout) => {
                    // One clock reading serves all limits; without a read timeout there is none.
                    let now = read_timeout.map(|_| Instant::now());
                    let limits = now.zip(read_timeout);
                    let due = limits.and_then(|(now, timeout)| deadline.overdue_at(now, timeout));
                    let deadline = match limits {
                        Some((now, timeout)) => deadline.start_at(now, timeout),
                        None => deadline.clone(),
                    };
                    let slot = Arc::new(Slot::default());
                    let ticket = core.enqueue(command, Arc::clone(&slot), now, due);
                    return Ok((core, Pending { ticket, slot }, deadline));
                }
                Admission::Probe(lease) => {
                    drop(core);
                    self.probe(lease);
                    probed = true;
                }
                Admission::Write(lease) => {
                    let deadline = deadline.start(core.read_timeout());
                    drop(core);
                    // After an error the next round dials another connection.
                    let _ = self.write(lease, &deadline, None);
                    if let Some(error) = deadline.err() {
                        return Err(as_write_timeout(error));
                    }
                }
                Admission::Dial(last_error) => {
                    drop(core);
                    self.dial(last_error, deadline)?;
                    // A new connection needs no probe.
                    probed = true;
                }
                Admission::Pause { waiter, waker: slot, until, error } => {
                    drop(core);
                    if deadline.at().is_some_and(|end| end < until) {
                        drop(self.core().remove_waiter(waiter));
                        return Err(error);
                    }
                    discard(error);
                    self.wait_for_admission(waiter, &slot, Some(until), deadline)?;
                }
                Admission::Wait(waiter, slot) => {
                    let rename =
                        if core.is_connected() { as_write_timeout } else { as_connect_timeout };
                    let deadline = deadline.start(core.read_timeout());
                    drop(core);
                    self.wait_for_admission(waiter, &slot, deadline.at(), &deadline)
                        .map_err(rename)?;
                }
                Admission::Closed => return Err(Error::ConnClosed),
            }
        }
    }

    /// Sleeps until the caller should ask for admission again, at `until` at the latest.
    fn wait_for_admission(
        &self,
        waiter: WaiterId,
        slot: &Arc<Slot>,
        until: Option<Instant>,
        deadline: &CallDeadline<'_>,
    ) -> Result<()> {
        let registration = deadline.wake_on_cancel(slot);
        let outcome = slot.park(until);
        drop(registration);
        drop(self.core().remove_waiter(waiter));
        match outcome {
            Some(outcome) => outcome.map(drop),
            None => deadline.err().map_or(Ok(()), Err),
        }
    }

    /// Writes, reads or parks until the reply has arrived or the deadline passes.
    fn wait_for<'a>(
        &'a self,
        mut core: MutexGuard<'a, MuxCore>,
        pending: &Pending,
        deadline: &CallDeadline<'_>,
    ) -> Result<Value> {
        let Pending { ticket, slot } = pending;
        let mut registration = None;
        loop {
            let (step, wakeups) = core.step(*ticket);
            drop(core);
            // Another caller takes over if this one unwinds.
            let guard = OnUnwind::new(|| self.abandon(pending));
            wake(wakeups);
            let outcome = match step {
                Step::Write { lease, alone } => {
                    if !alone {
                        // Other callers can queue their commands first, for one write of all.
                        std::thread::yield_now();
                    }
                    // An error that ends the connection is in the slot.
                    let _ = self.write(lease, deadline, Some(pending));
                    slot.take_outcome()
                }
                Step::Read(lease) => {
                    self.read(lease, slot, deadline);
                    slot.take_outcome()
                }
                Step::Park { spin } => {
                    registration = registration.or_else(|| deadline.wake_on_cancel(slot));
                    match spin {
                        true => slot.spin_then_park(deadline.at()),
                        false => slot.park(deadline.at()),
                    }
                }
                Step::AwaitOutcome => Some(slot.wait_for_outcome()),
            };
            guard.disarm();
            if let Some(outcome) = outcome {
                return outcome;
            }
            if let Some(error) = deadline.err() {
                return self.leave(pending, error);
            }
            core = self.core();
        }
    }

    /// Ends a call whose deadline has passed.
    fn leave(&self, pending: &Pending, error: Error) -> Result<Value> {
        let mut core = self.core();
        let Some((_slot, wakeups)) = core.abandon(pending.ticket) else {
            drop(core);
            return pending.slot.wait_for_outcome();
        };
        let silent = core.read_timeout().and_then(|_| core.silent_epoch(Instant::now()));
        let address = core.address(core.epoch());
        drop(core);
        let error = match address {
            Some(address) => error.at(&address),
            None => error,
        };
        wake(wakeups);
        if let Some(epoch) = silent {
            self.lose(epoch, TimeoutKind::Read.into());
            debug(format_args!("no reply arrived within the read timeout"));
        }
        Err(error)
    }

    /// Ends a connection and all calls in flight on it with an error. Never panics.
    pub(super) fn lose(&self, epoch: u64, error: Error) -> Error {
        self.lose_after(epoch, error, None)
    }

    /// Like [`lose`](MuxInner::lose), but if the server hung up during a write, the error names its
    /// last reply, if that was an error. The error of a write that has failed before stays.
    pub(super) fn lose_after(
        &self,
        epoch: u64,
        error: Error,
        last_reply: Option<ServerError>,
    ) -> Error {
        let mut core = self.core();
        let (error, unused) = match core.take_write_fault(epoch) {
            Some(fault) => (with_last_reply(fault, last_reply), Some(error)),
            // The reader can notice the end before the writer does.
            None if core.is_writing(epoch) && is_hang_up(&error) => {
                (with_last_reply(error, last_reply), None)
            }
            None => (error, None),
        };
        let error = match core.address(epoch) {
            Some(address) => error.at(&address),
            None => error,
        };
        let teardown = core.lost(epoch, error.clone(), retry_at);
        drop(core);
        let is_lost = teardown.shutdown.is_some();
        finish(teardown, &error);
        discard(unused);
        if is_lost {
            debug(format_args!("connection lost: {error}"));
        }
        error
    }
}

impl Drop for MuxInner {
    fn drop(&mut self) {
        let teardown = self.core.get_mut().close();
        finish(teardown, &Error::ConnClosed);
    }
}

/// Copies the arguments, which may run the caller's code, before any other step.
pub(super) fn prepare(command: &str, args: &dyn ToArgs) -> Result<Command> {
    let args = Args::new().args(args);
    match refuse(command, &args) {
        None => Ok(Command::new(command, args)),
        Some(error) => Err(error),
    }
}

pub(super) fn wake(wakeups: Wakeups<Arc<Slot>>) {
    if let Some(slot) = wakeups.call {
        slot.wake();
    }
    wakeups.waiters.iter().for_each(|(_, slot)| slot.wake());
}

/// Cuts a connection that is over, fails its calls and wakes the waiters. Never panics.
fn finish(teardown: Teardown<Writer, Reader, Arc<Slot>>, error: &Error) {
    let Teardown { shutdown, calls, waiters, writer, reader, send_queue, last_error } = teardown;
    if let Some(shutdown) = shutdown {
        // A blocked writer or reader returns.
        catch(|| shutdown.cut());
        discard(shutdown);
    }
    calls.iter().for_each(|slot| slot.finish(Err(error.clone())));
    waiters.iter().for_each(|(_, slot)| slot.wake());
    drop(send_queue);
    discard(writer);
    discard(reader);
    discard(last_error);
}

/// Names the timeout of a caller that could not queue its command because the server does not read.
fn as_write_timeout(error: Error) -> Error {
    match error {
        Error::Timeout(error) if error.kind() == TimeoutKind::Read => TimeoutKind::Write.into(),
        error => error,
    }
}

/// Names the timeout of a caller that got no connection.
pub(super) fn as_connect_timeout(error: Error) -> Error {
    match error {
        Error::Timeout(error) if error.kind() == TimeoutKind::Read => TimeoutKind::Connect.into(),
        error => error,
    }
}
