//! The commands of a pipeline that are sent and not answered.

use crate::conn::Conn;
use crate::conn::command_buffer::CommandBuffer;
use crate::conn::deadline::{Deadline, Timeouts};
use crate::conn::status::PoisonOnPanic;
use crate::error::Result;
use crate::value::Value;

/// The most bytes of unanswered commands, unless one command is longer. Socket buffers hold this
/// much on all common systems, so no write waits for a server that waits for the client to read.
const MAX_IN_FLIGHT: usize = 64 * 1024;

/// Sends the commands of a buffer while it receives their replies.
pub(super) struct Window<'a> {
    conn: &'a mut Conn,
    buffer: &'a CommandBuffer,
    timeouts: Timeouts,
    /// One deadline for all replies, set when the first is waited for.
    read: Option<Deadline>,
    sent: usize,
    answered: usize,
    /// The bytes of the commands that are sent and not answered.
    in_flight: usize,
    /// Replies are being converted, and the caller's code may panic.
    is_converting: bool,
}

impl<'a> Window<'a> {
    /// Receives the replies to earlier commands first.
    pub(super) fn start(
        conn: &'a mut Conn,
        buffer: &'a CommandBuffer,
        timeouts: &Timeouts,
    ) -> Result<Window<'a>> {
        conn.status().check()?;
        buffer.check()?;
        conn.receive_pending(timeouts)?;
        Ok(Window {
            conn,
            buffer,
            timeouts: *timeouts,
            read: None,
            sent: 0,
            answered: 0,
            in_flight: 0,
            is_converting: false,
        })
    }

    /// Receives all replies. An error reply is a value here.
    pub(super) fn replies(mut self) -> Result<Vec<Value>> {
        (0..self.buffer.len()).map(|_| self.next()).collect()
    }

    /// Receives the next reply. An error reply is a value here.
    pub(super) fn next(&mut self) -> Result<Value> {
        let deadline = self.send_some()?;
        let command = self.buffer.get(self.answered).name();
        let received = self.conn.receive_reply_to(command, deadline);
        // An error that does not end the connection takes the place of a reply.
        self.in_flight -= self.buffer.size(self.answered);
        self.answered += 1;
        received
    }

    /// Takes the next reply if it is a bulk string that has arrived. [`Window::next`] returns
    /// any other reply, and errors.
    pub(super) fn next_bulk(&mut self) -> Option<&[u8]> {
        self.send_some().ok()?;
        let bytes = self.conn.take_bulk()?;
        self.in_flight -= self.buffer.size(self.answered);
        self.answered += 1;
        Some(bytes)
    }

    /// Marks the start or the end of a conversion. A panic in it ends the connection.
    pub(super) fn set_converting(&mut self, is_converting: bool) {
        self.is_converting = is_converting;
    }

    /// The number of replies received.
    pub(super) fn answered(&self) -> usize {
        self.answered
    }

    /// Sends as many commands as the window has room for. Returns the deadline of the replies.
    fn send_some(&mut self) -> Result<Deadline> {
        if self.has_room() {
            // Once the first reply is waited for, the replies' deadline also limits the writes.
            let write = self.timeouts.for_write().or_sooner(self.read.unwrap_or_default());
            let first = self.sent;
            while self.fits() {
                self.in_flight += self.buffer.size(self.sent);
                self.sent += 1;
            }
            self.conn.write_encoded(self.buffer.range(first..self.sent), write)?;
        }
        Ok(*self.read.get_or_insert_with(|| self.timeouts.for_read()))
    }

    /// True when half of the window is free. The server works on one half while the other half
    /// is written in one system call.
    fn has_room(&self) -> bool {
        self.in_flight <= MAX_IN_FLIGHT / 2 && self.fits()
    }

    /// True when the window has room for the next command.
    fn fits(&self) -> bool {
        self.sent < self.buffer.len()
            && (self.in_flight == 0
                || self.in_flight + self.buffer.size(self.sent) <= MAX_IN_FLIGHT)
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        if self.is_converting && self.sent > self.answered {
            drop(PoisonOnPanic(self.conn.status()));
        }
    }
}
