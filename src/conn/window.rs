//! Commands that are under way together, with their replies.

use std::thread;

use crate::conn::Conn;
use crate::conn::command_buffer::Queue;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::conn::status::HalfDone;
use crate::error::Result;
use crate::value::Value;

/// The most bytes of commands that are under way without an answer, unless one command is longer.
/// The buffers of a socket hold that much on every common system, so a write does not wait for a
/// peer that itself waits for us to read.
const WINDOW: usize = 64 * 1024;

/// A queue some of whose commands are sent, and some of these answered. The others are sent while
/// the replies are taken.
pub(super) struct Batch<'a> {
    conn: &'a mut Conn,
    queue: &'a Queue,
    timeouts: Timeouts,
    /// One deadline for all replies, from the moment that the first is waited for.
    read: Option<Deadline>,
    sent: usize,
    answered: usize,
    /// The bytes of those that are sent and not answered.
    in_flight: usize,
}

impl<'a> Batch<'a> {
    /// Receives what is owed to commands of before.
    pub(super) fn start(
        conn: &'a mut Conn,
        queue: &'a Queue,
        timeouts: &Timeouts,
    ) -> Result<Batch<'a>> {
        conn.status().check()?;
        conn.receive_owed(timeouts)?;
        let timeouts = *timeouts;
        Ok(Batch { conn, queue, timeouts, read: None, sent: 0, answered: 0, in_flight: 0 })
    }

    /// All replies; an error reply is a value here.
    pub(super) fn replies(mut self) -> Result<Vec<Value>> {
        (0..self.queue.len()).map(|_| self.next()).collect()
    }

    /// The next reply; an error reply is a value here.
    pub(super) fn next(&mut self) -> Result<Value> {
        let limit = self.send_some()?;
        let received = self.conn.receive_raw(limit);
        // An error in the place of a reply is one too, where it does not end the connection.
        self.in_flight -= self.queue.size(self.answered);
        self.answered += 1;
        received
    }

    /// The next reply, if it is a bulk string that is here already. What else there is, and any
    /// error, [`Batch::next`] gives.
    pub(super) fn next_bulk(&mut self) -> Option<&[u8]> {
        self.send_some().ok()?;
        let bytes = self.conn.take_bulk()?;
        self.in_flight -= self.queue.size(self.answered);
        self.answered += 1;
        Some(bytes)
    }

    /// How many of the replies have been taken.
    pub(super) fn answered(&self) -> usize {
        self.answered
    }

    /// Sends as many commands as may be under way; gives the limit of the replies.
    fn send_some(&mut self) -> Result<Deadline> {
        if self.has_room() {
            // Once replies have been waited for, their deadline holds for the writes too.
            let write = self.timeouts.for_write().or_sooner(self.read.unwrap_or_default());
            let first = self.sent;
            while self.fits() {
                self.in_flight += self.queue.size(self.sent);
                self.sent += 1;
            }
            self.conn.write_encoded(self.queue.range(first..self.sent), write)?;
        }
        Ok(*self.read.get_or_insert_with(|| self.timeouts.for_read()))
    }

    /// Whether to send more. Not as soon as a command fits: half of the window stays under way, so
    /// that the server has something to do, and the other half goes out at once.
    fn has_room(&self) -> bool {
        self.in_flight <= WINDOW / 2 && self.fits()
    }

    /// Whether the next command may be under way too.
    fn fits(&self) -> bool {
        self.sent < self.queue.len()
            && (self.in_flight == 0 || self.in_flight + self.queue.size(self.sent) <= WINDOW)
    }
}

impl Drop for Batch<'_> {
    /// Replies that nobody has taken are owed, or would be taken for those of the next command.
    fn drop(&mut self) {
        let left = self.sent - self.answered;
        if left > 0 && thread::panicking() {
            drop(HalfDone::receiving(self.conn.status()));
        }
        self.conn.status().owe(left);
    }
}
