//! The life of a connection in a mux core: dialed, failed, lost, closed.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Core;
use super::link::{Connected, Failure, Link};
use super::types::{Lease, SplitConn, Teardown, Wakeups, WriteFailure};
use crate::error::Error;

impl<S, R, W: Clone> Core<S, R, W> {
    /// Records a successful dial. The connection comes back if the mux was closed meanwhile.
    pub(crate) fn dialed(
        &mut self,
        conn: SplitConn<S, R>,
    ) -> (Option<SplitConn<S, R>>, Wakeups<W>) {
        self.counters.dials += 1;
        if !matches!(self.link, Link::Dialing) {
            return (Some(conn), Wakeups::none());
        }
        self.epoch += 1;
        self.link = Link::Up(Connected {
            writer: Some(conn.writer),
            reader: Some(conn.reader),
            unfinished: false,
            write_fault: None,
            proven: false,
            shutdown: conn.shutdown,
            address: conn.address,
            read_timeout: conn.read_timeout,
        });
        (None, Wakeups { call: None, waiters: mem::take(&mut self.waiters) })
    }

    /// Records a failed dial. Returns the waiters, which fail with the same error. `retry_at`
    /// returns the end of the pause after this many earlier failures.
    pub(crate) fn dial_failed(
        &mut self,
        error: &Error,
        retry_at: impl FnOnce(u32) -> Instant,
    ) -> Vec<(u64, W)> {
        self.counters.dials += 1;
        self.counters.failed_dials += 1;
        if matches!(self.link, Link::Dialing) {
            let retry_at = Some(self.count_failure(retry_at));
            self.link = Link::Down(Some(Failure { error: error.clone(), retry_at }));
        }
        mem::take(&mut self.waiters)
    }

    fn count_failure(&mut self, retry_at: impl FnOnce(u32) -> Instant) -> Instant {
        let end = retry_at(self.failures);
        self.failures = self.failures.saturating_add(1);
        end
    }

    /// Records that the dialing caller left. One of the waiters dials next.
    pub(crate) fn dial_abandoned(&mut self) -> Wakeups<W> {
        self.counters.dials += 1;
        self.counters.failed_dials += 1;
        if matches!(self.link, Link::Dialing) {
            self.link = Link::Down(None);
        }
        Wakeups { call: None, waiters: mem::take(&mut self.waiters) }
    }

    /// Records that a connection failed. Does nothing if it is not the current one. Without a good
    /// reply before, the next dial waits until `retry_at`.
    pub(crate) fn lost(
        &mut self,
        epoch: u64,
        error: Error,
        retry_at: impl FnOnce(u32) -> Instant,
    ) -> Teardown<S, R, W> {
        let Some(up) = self.up(epoch) else {
            return Teardown { last_error: Some(error), ..Teardown::none() };
        };
        let retry_at = if up.proven { None } else { Some(self.count_failure(retry_at)) };
        self.counters.lost += 1;
        self.tear_down(Link::Down(Some(Failure { error, retry_at })))
    }

    /// Closes the mux. It no longer dials.
    pub(crate) fn close(&mut self) -> Teardown<S, R, W> {
        self.tear_down(Link::Closed)
    }

    fn tear_down(&mut self, link: Link<S, R>) -> Teardown<S, R, W> {
        let mut teardown = Teardown::none();
        match mem::replace(&mut self.link, link) {
            Link::Up(up) => {
                teardown.shutdown = Some(up.shutdown);
                (teardown.writer, teardown.reader) = (up.writer, up.reader);
                teardown.last_error = up.write_fault;
            }
            Link::Down(failure) => teardown.last_error = failure.map(|failure| failure.error),
            Link::Dialing | Link::Closed => {}
        }
        teardown.send_queue = mem::take(&mut self.send_queue);
        self.queued_bytes = 0;
        self.parked = 0;
        self.first = self.next_ticket();
        (self.taken, self.written) = (self.first, self.first);
        teardown.calls = self.in_flight.drain(..).filter_map(|call| call.waker).collect();
        teardown.waiters = mem::take(&mut self.waiters);
        teardown
    }

    /// Records that a write failed because the server hung up. The connection ends after its last
    /// replies were read. The writer does not come back.
    pub(crate) fn write_failed(&mut self, epoch: u64, error: &Error) -> WriteFailure<R> {
        let Some(up) = self.up(epoch) else { return WriteFailure::Stale };
        up.write_fault = Some(error.clone());
        match up.reader.take() {
            Some(half) => WriteFailure::Drain(Lease { epoch, half }),
            None => WriteFailure::Cut(up.shutdown.clone()),
        }
    }

    /// Returns true if a caller is writing to the current connection.
    pub(crate) fn is_writing(&self, epoch: u64) -> bool {
        matches!(&self.link, Link::Up(up) if epoch == self.epoch && up.writer.is_none())
    }

    /// Takes the error of a write that failed on the current connection.
    pub(crate) fn take_write_fault(&mut self, epoch: u64) -> Option<Error> {
        self.up(epoch)?.write_fault.take()
    }

    /// Returns the reason why there is no connection, if there is a reason.
    pub(crate) fn err(&self) -> Option<Error> {
        match &self.link {
            Link::Down(failure) => failure.as_ref().map(|failure| failure.error.clone()),
            Link::Closed => Some(Error::ConnClosed),
            Link::Dialing | Link::Up(_) => None,
        }
    }

    /// Returns true if there is a connection that is not about to end.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(&self.link, Link::Up(up) if up.write_fault.is_none())
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.link, Link::Closed)
    }

    /// Returns the read timeout of the current connection.
    pub(crate) fn read_timeout(&self) -> Option<Duration> {
        match &self.link {
            Link::Up(up) => up.read_timeout,
            _ => None,
        }
    }

    /// Returns the server of this connection, for errors, if the connection is the current one.
    pub(crate) fn address(&self, epoch: u64) -> Option<Arc<str>> {
        match &self.link {
            Link::Up(up) if epoch == self.epoch => up.address.clone(),
            _ => None,
        }
    }

    pub(super) fn is_current(&self, epoch: u64) -> bool {
        epoch == self.epoch && matches!(self.link, Link::Up(_))
    }

    pub(super) fn up(&mut self, epoch: u64) -> Option<&mut Connected<S, R>> {
        match &mut self.link {
            Link::Up(up) if epoch == self.epoch => Some(up),
            _ => None,
        }
    }
}
