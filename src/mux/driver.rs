//! Writing and reading: the work that one caller does for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::observer::Observer;
use crate::error::{Error, ProtocolError, Result};
use crate::mux::core::{Arrival, Lease, ReturnedReader, WriteFailure};
use crate::mux::deadline::CallDeadline;
use crate::mux::guard::{catch, discard};
use crate::mux::inner::{MuxInner, Pending, Reader, Writer, wake};
use crate::mux::last_reply::is_hang_up;
use crate::mux::slot::Slot;
use crate::value::Value;

/// How long a writer waits for the server to read before it reads replies itself.
const WRITE_SLICE: Duration = Duration::from_millis(20);
/// Slices without a reply double up to this length.
const LONGEST_WRITE_SLICE: Duration = Duration::from_secs(1);
/// How long a writer that makes no progress reads.
const READ_SLICE: Duration = Duration::from_millis(10);
/// The time for reading the last replies of a server that has hung up. They are in the buffers.
const DRAIN_TIME: Duration = Duration::from_millis(20);

impl MuxInner {
    /// Writes for all callers until the send queue is empty or the deadline passes. A caller that
    /// waits for its reply stops when the reply arrives; a caller that only flushes stops after the
    /// commands that are queued now.
    pub(super) fn write(
        &self,
        lease: Lease<Writer>,
        deadline: &CallDeadline<'_>,
        own: Option<&Pending>,
    ) -> Result<()> {
        let mut guard = LeaseGuard::new(self, lease);
        let is_answered = || own.is_some_and(|own| own.slot.is_finished());
        let mut has_taken = false;
        // The server may be unable to read until its replies to earlier commands are read. On Windows a write that
        // timed out cannot be continued.
        let mut in_slices = cfg!(not(windows));
        let mut slice = WRITE_SLICE;
        while let Some(half) = guard.half() {
            if !half.is_unfinished() {
                if let Some(more) = self.next_batch(&mut guard, own) {
                    (has_taken, slice) = (true, WRITE_SLICE);
                    in_slices = more && cfg!(not(windows));
                }
                continue;
            }
            let until = match in_slices {
                true => {
                    let end = Instant::now() + slice;
                    Some(deadline.io_deadline().map_or(end, |deadline| deadline.min(end)))
                }
                false => deadline.io_deadline(),
            };
            let written = match half.write(until) {
                Ok(written) => written,
                Err(error) => return Err(self.write_failed(guard, error)),
            };
            let mut enough = match written {
                true => own.map_or(has_taken, |_| is_answered()),
                false => deadline.err().is_some(),
            };
            if in_slices && !written && !enough {
                slice = match self.read_slice(guard.epoch()) {
                    Ok(true) => WRITE_SLICE,
                    Ok(false) => (2 * slice).min(LONGEST_WRITE_SLICE),
                    Err(error) => {
                        discard(guard.take());
                        return Err(error);
                    }
                };
                enough = is_answered();
            }
            if enough {
                self.return_writer(guard.take(), !written, own);
            }
        }
        Ok(())
    }

    fn return_writer(&self, lease: Option<Lease<Writer>>, unfinished: bool, own: Option<&Pending>) {
        if let Some(lease) = lease {
            let own = own.map(|own| own.ticket);
            let (stale, wakeups) = self.core().return_writer(lease, unfinished, own);
            wake(wakeups);
            discard(stale);
        }
    }

    /// Takes the send queue, or returns the writer if the queue is empty. Returns whether a batch
    /// was taken, and if so, whether replies to earlier commands are due.
    fn next_batch(
        &self,
        guard: &mut LeaseGuard<'_, Writer>,
        own: Option<&Pending>,
    ) -> Option<bool> {
        let lease = guard.lease()?;
        let mut batch = std::mem::take(&mut lease.half.backlog);
        let mut core = self.core();
        let taken = core.take_send_queue(lease, &mut batch);
        let is_empty = batch.is_empty();
        lease.half.backlog = batch;
        let Some(wakeups) = taken else {
            drop(core);
            discard(guard.take());
            return None;
        };
        if is_empty {
            let returned = guard.take().map(|lease| {
                let own = own.map(|own| own.ticket);
                core.return_writer(lease, false, own)
            });
            drop(core);
            wake(wakeups);
            if let Some((stale, wakeups)) = returned {
                wake(wakeups);
                discard(stale);
            }
            return None;
        }
        let has_earlier_replies_due = core.has_earlier_replies_due();
        drop(core);
        wake(wakeups);
        Some(has_earlier_replies_due)
    }

    /// Reads for a writer that makes no progress, unless another caller is reading. Returns whether
    /// anything arrived.
    ///
    /// # Errors
    /// The error that ended the connection.
    fn read_slice(&self, epoch: u64) -> Result<bool> {
        let Some(lease) = self.core().lease_reader(epoch) else { return Ok(false) };
        let mut guard = LeaseGuard::new(self, lease);
        let past = Instant::now();
        let Some(half) = guard.half() else { return Ok(false) };
        let read = half.read(Some(past + READ_SLICE), past);
        let mut progress = !half.replies.is_empty();
        let arrival = self.dispatch(&mut guard);
        if let Some(error) = fault(read, arrival) {
            return Err(self.read_failed(guard, error));
        }
        if let Some(half) = guard.half() {
            progress |= half.has_unread(past).unwrap_or(true);
        }
        self.return_reader(guard.take());
        Ok(progress)
    }

    /// Ends the connection after a failed write. If the server has hung up, its last replies are
    /// read first. Returns the error.
    fn write_failed(&self, mut guard: LeaseGuard<'_, Writer>, error: Error) -> Error {
        let epoch = guard.epoch();
        let error = if is_hang_up(&error) {
            let failure = self.core().write_failed(epoch, &error);
            match failure {
                WriteFailure::Drain(reader) => self.drain(reader, error),
                WriteFailure::Cut(shutdown) => {
                    catch(|| shutdown.cut());
                    error
                }
                WriteFailure::Stale => error,
            }
        } else {
            self.lose(epoch, error)
        };
        if let Some(half) = guard.half() {
            catch(|| half.observer.failed(&error));
        }
        discard(guard.take());
        error
    }

    /// Dispatches the last replies of a server that has hung up, then ends the connection. Returns
    /// its error.
    fn drain(&self, lease: Lease<Reader>, error: Error) -> Error {
        let mut guard = LeaseGuard::new(self, lease);
        let past = Instant::now();
        let end = past + DRAIN_TIME;
        while let Some(half) = guard.half() {
            let read = half.read(Some(end), past);
            let is_empty = half.replies.is_empty();
            let arrival = self.dispatch(&mut guard);
            if read.is_err() || is_empty || arrival != Arrival::Expected || Instant::now() >= end {
                break;
            }
        }
        self.end_reading(&mut guard, error)
    }

    /// Reads for all callers until the caller's own reply has arrived or its deadline passes.
    pub(super) fn read(&self, lease: Lease<Reader>, slot: &Slot, deadline: &CallDeadline<'_>) {
        let past = Instant::now();
        let mut guard = LeaseGuard::new(self, lease);
        loop {
            let Some(half) = guard.half() else { return };
            let read = half.read(deadline.io_deadline(), past);
            let arrival = self.dispatch(&mut guard);
            if let Some(error) = fault(read, arrival) {
                self.read_failed(guard, error);
                return;
            }
            if slot.is_finished() || arrival == Arrival::Stale || deadline.err().is_some() {
                break;
            }
        }
        self.return_reader(guard.take());
    }

    /// Ends the connection after a failed read. Returns the error that ended it.
    fn read_failed(&self, mut guard: LeaseGuard<'_, Reader>, error: Error) -> Error {
        let observer = guard.half().map(|half| Arc::clone(&half.observer));
        let error = self.end_reading(&mut guard, error);
        catch(|| observer.as_deref().inspect(|observer| observer.failed(&error)));
        discard(observer);
        error
    }

    fn end_reading(&self, guard: &mut LeaseGuard<'_, Reader>, error: Error) -> Error {
        let last_reply = guard.half().and_then(|half| half.last_error.take());
        let error = self.lose_after(guard.epoch(), error, last_reply);
        discard(guard.take());
        error
    }

    /// Stores the replies that were read in the slots of their calls.
    fn dispatch(&self, guard: &mut LeaseGuard<'_, Reader>) -> Arrival {
        let Some(lease) = guard.lease() else { return Arrival::Stale };
        let count = lease.half.replies.len();
        if count == 0 {
            return Arrival::Expected;
        }
        let mut owners = std::mem::take(&mut lease.half.owners);
        let good = lease.half.has_good_reply();
        let mut core = self.core();
        let now = core.read_timeout().map(|_| Instant::now());
        let (arrival, wakeups) = core.arrived(lease, count, good, now, &mut owners);
        drop(core);
        wake(wakeups);
        // A reply whose caller has left is dropped here, without the lock.
        for (owner, reply) in owners.drain(..).zip(lease.half.replies.drain(..)) {
            if let Some(slot) = owner {
                slot.finish(match reply {
                    Value::Error(error) => Err(Error::Server(error)),
                    reply => Ok(reply),
                });
            }
        }
        lease.half.owners = owners;
        arrival
    }

    /// Checks that a connection with nothing in flight is alive, and ends it if it is not.
    pub(super) fn probe(&self, lease: Lease<Reader>) {
        let mut guard = LeaseGuard::new(self, lease);
        let Some(lease) = guard.lease() else { return };
        let fault = match lease.half.has_unread(Instant::now()) {
            Ok(false) => None,
            // The bytes may be the reply to a command that was sent meanwhile.
            Ok(true) => self.core().is_idle(lease).then(unexpected_reply),
            Err(error) => Some(error),
        };
        match fault {
            None => self.return_reader(guard.take()),
            Some(error) => {
                self.lose(guard.epoch(), error);
                discard(guard.take());
            }
        }
    }

    fn return_reader(&self, lease: Option<Lease<Reader>>) {
        let Some(lease) = lease else { return };
        let returned = self.core().return_reader(lease);
        match returned {
            ReturnedReader::Idle(wakeups) => wake(wakeups),
            ReturnedReader::Drain(lease) => {
                self.drain(lease, Error::ConnClosed);
            }
            ReturnedReader::Stale(half) => discard(half),
        }
    }
}

/// Holds a lease. Ends the connection if its own code panics, because the half cannot come back.
struct LeaseGuard<'a, T> {
    inner: &'a MuxInner,
    epoch: u64,
    lease: Option<Lease<T>>,
}

impl<'a, T> LeaseGuard<'a, T> {
    fn new(inner: &'a MuxInner, lease: Lease<T>) -> LeaseGuard<'a, T> {
        LeaseGuard { inner, epoch: lease.epoch(), lease: Some(lease) }
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn lease(&mut self) -> Option<&mut Lease<T>> {
        self.lease.as_mut()
    }

    fn half(&mut self) -> Option<&mut T> {
        self.lease.as_mut().map(|lease| &mut lease.half)
    }

    fn take(&mut self) -> Option<Lease<T>> {
        self.lease.take()
    }
}

impl<T> Drop for LeaseGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.inner.lose(self.epoch, Error::other("the connection's own code panicked"));
            discard(lease);
        }
    }
}

/// Returns the error that ends the connection after a read, if there is one.
fn fault(read: Result<()>, arrival: Arrival) -> Option<Error> {
    match (read, arrival) {
        (Err(error), _) => Some(error),
        (Ok(()), Arrival::Surplus) => Some(unexpected_reply()),
        (Ok(()), _) => None,
    }
}

fn unexpected_reply() -> Error {
    ProtocolError::new("a reply without a command").into()
}
