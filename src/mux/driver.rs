//! The work that a caller does for everybody who shares a connection.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, ProtocolError, Result};
use crate::mux::core::{Arrival, Held, Nudges};
use crate::mux::deadline::Patience;
use crate::mux::inner::{Pending, Receiver, Sender, Shared, nudge};
use crate::mux::slot::Slot;
use crate::value::Value;

impl Shared {
    /// Writes for everybody, until nothing is queued or patience ends; one who waits for its
    /// reply until that is there, and one who only flushes what is queued now.
    pub(super) fn write(
        &self,
        held: Held<Sender>,
        patience: &Patience<'_>,
        own: Option<&Pending>,
    ) -> Result<()> {
        let line = held.line();
        let mut holding = Holding { shared: self, line, held: Some(held) };
        let mut has_taken = false;
        while let Some(side) = holding.side() {
            if !side.is_unfinished() {
                let (more, nudges) = self.next_batch(&mut holding, own);
                nudge(nudges);
                has_taken |= more;
                continue;
            }
            let written = match side.write(patience.until()) {
                Ok(written) => written,
                Err(error) => {
                    holding.take();
                    return Err(self.lose(line, error));
                }
            };
            let enough = match written {
                true => own.map_or(has_taken, |own| own.slot.is_finished()),
                false => patience.over().is_some(),
            };
            if enough {
                self.put_sender_back(holding.take(), !written, own);
            }
        }
        Ok(())
    }

    fn put_sender_back(&self, held: Option<Held<Sender>>, unfinished: bool, own: Option<&Pending>) {
        if let Some(held) = held {
            let own = own.map(|own| own.ticket);
            let (stray, nudges) = self.core().sender_home(held, unfinished, own);
            nudge(nudges);
            drop(stray);
        }
    }

    /// Takes what is queued, or lets go of the side when there is nothing.
    fn next_batch(
        &self,
        holding: &mut Holding<'_, Sender>,
        own: Option<&Pending>,
    ) -> (bool, Nudges<Arc<Slot>>) {
        let Some(mut held) = holding.take() else { return (false, Nudges::nobody()) };
        // Outside the lock: the queue that is given in exchange is empty.
        let mut batch = std::mem::take(&mut held.side.backlog);
        let mut core = self.core();
        let Some(nudges) = core.take_outbox(&held, &mut batch) else {
            drop(core);
            return (false, Nudges::nobody());
        };
        if batch.is_empty() {
            held.side.backlog = batch;
            let (stray, mut more) = core.sender_home(held, false, own.map(|own| own.ticket));
            drop(core);
            drop(stray);
            more.lobby.extend(nudges.lobby);
            return (false, more);
        }
        drop(core);
        held.side.backlog = batch;
        holding.held = Some(held);
        (true, nudges)
    }

    /// Reads for everybody, until its own reply is there or patience ends.
    pub(super) fn read(&self, held: Held<Receiver>, slot: &Slot, patience: &Patience<'_>) {
        let line = held.line();
        let past = Instant::now();
        let mut holding = Holding { shared: self, line, held: Some(held) };
        loop {
            let Some(side) = holding.side() else { return };
            let read = side.read(patience.until(), past);
            let arrival = self.hand_out(&mut holding);
            let fault = match (read, arrival) {
                (Err(error), _) => Some(error),
                (Ok(()), Arrival::Surplus) => Some(unasked()),
                (Ok(()), _) => None,
            };
            if let Some(error) = fault {
                holding.take();
                self.lose(line, error);
                return;
            }
            if slot.is_finished() || arrival == Arrival::Stray || patience.over().is_some() {
                break;
            }
        }
        self.put_receiver_back(holding.take());
    }

    /// Gives the replies that were read to those who wait for them.
    fn hand_out(&self, holding: &mut Holding<'_, Receiver>) -> Arrival {
        let Some(held) = &mut holding.held else { return Arrival::Stray };
        let count = held.side.replies.len();
        if count == 0 {
            return Arrival::Expected;
        }
        let mut owners = std::mem::take(&mut held.side.owners);
        let mut core = self.core();
        let now = core.read_timeout().map(|_| Instant::now());
        let (arrival, nudges) = core.arrived(held, count, now, &mut owners);
        drop(core);
        nudge(nudges);
        // Replies without an owner are dropped, here, without the lock.
        for (owner, reply) in owners.drain(..).zip(held.side.replies.drain(..)) {
            if let Some(slot) = owner {
                slot.finish(match reply {
                    Value::Error(error) => Err(Error::Server(error)),
                    reply => Ok(reply),
                });
            }
        }
        held.side.owners = owners;
        arrival
    }

    /// Looks whether a connection on which nothing is due still lives.
    pub(super) fn inspect(&self, held: Held<Receiver>) {
        let line = held.line();
        let mut holding = Holding { shared: self, line, held: Some(held) };
        let Some(side) = holding.side() else { return };
        let seen = side.has_something(Instant::now());
        let Some(held) = holding.take() else { return };
        let fault = match seen {
            Ok(false) => None,
            // A command may have been sent and answered since.
            Ok(true) => self.core().is_idle(&held).then(unasked),
            Err(error) => Some(error),
        };
        match fault {
            None => self.put_receiver_back(Some(held)),
            Some(error) => {
                drop(held);
                self.lose(line, error);
            }
        }
    }

    fn put_receiver_back(&self, held: Option<Held<Receiver>>) {
        if let Some(held) = held {
            let (stray, nudges) = self.core().receiver_home(held);
            nudge(nudges);
            drop(stray);
        }
    }
}

/// Makes sure that a side does not get lost with a panic of the connection's own code: the
/// others would wait for it for ever.
struct Holding<'a, T> {
    shared: &'a Shared,
    line: u64,
    held: Option<Held<T>>,
}

impl<T> Holding<'_, T> {
    fn side(&mut self) -> Option<&mut T> {
        self.held.as_mut().map(|held| &mut held.side)
    }

    fn take(&mut self) -> Option<Held<T>> {
        self.held.take()
    }
}

impl<T> Drop for Holding<'_, T> {
    fn drop(&mut self) {
        if self.held.take().is_some() {
            self.shared.lose(self.line, Error::other("the connection's own code panicked"));
        }
    }
}

fn unasked() -> Error {
    ProtocolError::new("a reply that nobody asked for").into()
}
