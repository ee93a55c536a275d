//! Writing and reading: the work that one caller does for all.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ProtocolError, Result};
use crate::mux::core::{Arrival, Lease, Wakeups};
use crate::mux::deadline::CallDeadline;
use crate::mux::inner::{MuxInner, Pending, Reader, Writer, wake};
use crate::mux::slot::Slot;
use crate::value::Value;

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
        let epoch = lease.epoch();
        let mut guard = LeaseGuard { inner: self, epoch, lease: Some(lease) };
        let mut has_taken = false;
        while let Some(half) = guard.half() {
            if !half.is_unfinished() {
                let (more, wakeups) = self.next_batch(&mut guard, own);
                wake(wakeups);
                has_taken |= more;
                continue;
            }
            let written = match half.write(deadline.io_deadline()) {
                Ok(written) => written,
                Err(error) => {
                    guard.take();
                    return Err(self.lose(epoch, error));
                }
            };
            let enough = match written {
                true => own.map_or(has_taken, |own| own.slot.is_finished()),
                false => deadline.err().is_some(),
            };
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
            drop(stale);
        }
    }

    /// Takes the send queue, or returns the writer if the queue is empty.
    fn next_batch(
        &self,
        guard: &mut LeaseGuard<'_, Writer>,
        own: Option<&Pending>,
    ) -> (bool, Wakeups<Arc<Slot>>) {
        let Some(mut lease) = guard.take() else { return (false, Wakeups::none()) };
        let mut batch = std::mem::take(&mut lease.half.backlog);
        let mut core = self.core();
        let Some(wakeups) = core.take_send_queue(&lease, &mut batch) else {
            drop(core);
            return (false, Wakeups::none());
        };
        if batch.is_empty() {
            lease.half.backlog = batch;
            let (stale, mut more) = core.return_writer(lease, false, own.map(|own| own.ticket));
            drop(core);
            drop(stale);
            more.waiters.extend(wakeups.waiters);
            return (false, more);
        }
        drop(core);
        lease.half.backlog = batch;
        guard.lease = Some(lease);
        (true, wakeups)
    }

    /// Reads for all callers until the caller's own reply has arrived or its deadline passes.
    pub(super) fn read(&self, lease: Lease<Reader>, slot: &Slot, deadline: &CallDeadline<'_>) {
        let epoch = lease.epoch();
        let past = Instant::now();
        let mut guard = LeaseGuard { inner: self, epoch, lease: Some(lease) };
        loop {
            let Some(half) = guard.half() else { return };
            let read = half.read(deadline.io_deadline(), past);
            let arrival = self.dispatch(&mut guard);
            let fault = match (read, arrival) {
                (Err(error), _) => Some(error),
                (Ok(()), Arrival::Surplus) => Some(unexpected_reply()),
                (Ok(()), _) => None,
            };
            if let Some(error) = fault {
                guard.take();
                self.lose(epoch, error);
                return;
            }
            if slot.is_finished() || arrival == Arrival::Stale || deadline.err().is_some() {
                break;
            }
        }
        self.return_reader(guard.take());
    }

    /// Stores the replies that were read in the slots of their calls.
    fn dispatch(&self, guard: &mut LeaseGuard<'_, Reader>) -> Arrival {
        let Some(lease) = &mut guard.lease else { return Arrival::Stale };
        let count = lease.half.replies.len();
        if count == 0 {
            return Arrival::Expected;
        }
        let mut owners = std::mem::take(&mut lease.half.owners);
        let mut core = self.core();
        let now = core.read_timeout().map(|_| Instant::now());
        let (arrival, wakeups) = core.arrived(lease, count, now, &mut owners);
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
        let epoch = lease.epoch();
        let mut guard = LeaseGuard { inner: self, epoch, lease: Some(lease) };
        let Some(half) = guard.half() else { return };
        let unread = half.has_unread(Instant::now());
        let Some(lease) = guard.take() else { return };
        let fault = match unread {
            Ok(false) => None,
            // The bytes may be the reply to a command that was sent meanwhile.
            Ok(true) => self.core().is_idle(&lease).then(unexpected_reply),
            Err(error) => Some(error),
        };
        match fault {
            None => self.return_reader(Some(lease)),
            Some(error) => {
                drop(lease);
                self.lose(epoch, error);
            }
        }
    }

    fn return_reader(&self, lease: Option<Lease<Reader>>) {
        if let Some(lease) = lease {
            let (stale, wakeups) = self.core().return_reader(lease);
            wake(wakeups);
            drop(stale);
        }
    }
}

/// Ends the connection if its own code panics. Otherwise the half would be lost and all callers
/// would wait for it forever.
struct LeaseGuard<'a, T> {
    inner: &'a MuxInner,
    epoch: u64,
    lease: Option<Lease<T>>,
}

impl<T> LeaseGuard<'_, T> {
    fn half(&mut self) -> Option<&mut T> {
        self.lease.as_mut().map(|lease| &mut lease.half)
    }

    fn take(&mut self) -> Option<Lease<T>> {
        self.lease.take()
    }
}

impl<T> Drop for LeaseGuard<'_, T> {
    fn drop(&mut self) {
        if self.lease.take().is_some() {
            self.inner.lose(self.epoch, Error::other("the connection's own code panicked"));
        }
    }
}

fn unexpected_reply() -> Error {
    ProtocolError::new("a reply without a command").into()
}
