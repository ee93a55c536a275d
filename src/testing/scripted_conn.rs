//! A connection to a scripted server.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::expectation::{Reply, closed_by_script};
use super::scripted::{Inner, Received, State};
use crate::args::{Args, ToArgs};
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::{Peek, ShutdownHandle};
use crate::sync::MutexGuard;
use crate::value::Value;

/// What the server knows of one connection.
#[derive(Default)]
pub(super) struct Line {
    /// Answers on their way.
    replies: VecDeque<Result<Value>>,
    /// Closed by the server, behind its answers.
    pub(super) ended: bool,
    /// Cut by the client.
    cut: bool,
}

/// The client's end.
pub(super) struct Link {
    sender: Sender,
    receiver: Receiver,
    shutdown: ShutdownHandle,
}

struct Sender {
    end: Arc<End>,
    queued: Vec<Received>,
}

struct Receiver {
    end: Arc<End>,
}

/// Keeps the line open until the last of those who use it is gone.
struct End {
    server: Arc<Inner>,
    line: u64,
}

impl End {
    fn hang_up(&self) {
        self.server.state.lock().lines.remove(&self.line);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl Link {
    pub(super) fn new(server: Arc<Inner>, line: u64) -> Link {
        let weak: Weak<Inner> = Arc::downgrade(&server);
        let shutdown = ShutdownHandle::new(move || {
            if let Some(server) = weak.upgrade() {
                if let Some(line) = server.state.lock().lines.get_mut(&line) {
                    line.cut = true;
                }
                server.changed.notify_all();
            }
        });
        let end = Arc::new(End { server, line });
        Link {
            sender: Sender { end: Arc::clone(&end), queued: Vec::new() },
            receiver: Receiver { end },
            shutdown,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.receiver.end.server.state.lock()
    }
}

impl RawSend for Link {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.sender.send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.sender.flush(deadline)
    }
}

impl RawReceive for Link {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.receiver.receive(deadline)
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.receiver.poll(deadline)
    }
}

impl RawConn for Link {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        (&mut self.sender, &mut self.receiver)
    }

    fn halves(&mut self) -> Option<(Box<dyn RawSend>, Box<dyn RawReceive>)> {
        let end = &self.receiver.end;
        let sender =
            Sender { end: Arc::clone(end), queued: std::mem::take(&mut self.sender.queued) };
        Some((Box::new(sender), Box::new(Receiver { end: Arc::clone(end) })))
    }

    fn has_unread(&self) -> bool {
        let state = self.state();
        state.lines.get(&self.receiver.end.line).is_some_and(|line| !line.replies.is_empty())
    }

    fn peek(&self) -> Result<Peek> {
        let state = self.state();
        Ok(match state.lines.get(&self.receiver.end.line) {
            Some(line) if !line.replies.is_empty() => Peek::Readable,
            Some(line) if !line.ended && !line.cut => Peek::Quiet,
            _ => Peek::Closed,
        })
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    fn close(&mut self) {
        self.receiver.end.hang_up();
    }
}

impl Sender {
    fn check(&self) -> Result<()> {
        match self.end.server.state.lock().lines.get(&self.end.line) {
            Some(line) if !line.ended && !line.cut => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        }
    }

    fn serve(&self, received: &Received) {
        let answer = self.end.server.state.lock().answer(received);
        let reply = match answer.reply {
            // Outside the lock, for it may well use the server.
            Reply::Handler(handler) => Reply::from_result(handler(&received.args())),
            reply => reply,
        };
        if let Some(line) = self.end.server.state.lock().lines.get_mut(&self.end.line) {
            match reply {
                Reply::Value(value) => line.replies.push_back(Ok(value)),
                Reply::Fail(error) => line.replies.push_back(Err(error)),
                Reply::Handler(_) | Reply::None => {}
            }
            line.replies.extend(answer.then.into_iter().map(Ok));
        }
        self.end.server.changed.notify_all();
    }
}

impl RawSend for Sender {
    fn send(&mut self, command: &str, args: &dyn ToArgs, _: Option<Instant>) -> Result<()> {
        self.check()?;
        self.queued.push(Received::new(command, Args::new().args(args)));
        Ok(())
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.check()?;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::Timeout(TimeoutKind::Write));
        }
        let failure = self.end.server.state.lock().flush_errors.pop_front();
        if let Some(error) = failure {
            return Err(error);
        }
        std::mem::take(&mut self.queued).iter().for_each(|received| self.serve(received));
        Ok(())
    }
}

impl Receiver {
    /// Waits until there is something to receive, which is not nothing then; an error when that
    /// will not be, or not in time.
    fn wait(&self, deadline: Option<Instant>) -> Result<MutexGuard<'_, State>> {
        let mut state = self.end.server.state.lock();
        loop {
            let Some(line) = state.lines.get(&self.end.line) else { return Err(Error::ConnClosed) };
            if line.cut {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
            }
            if !line.replies.is_empty() || !state.pushes.is_empty() {
                return Ok(state);
            }
            match deadline {
                _ if line.ended => return Err(closed_by_script()),
                None if !state.stays_open => return Err(closed_by_script()),
                None => self.end.server.changed.wait(&mut state),
                Some(deadline) => {
                    let over = !state.stays_open
                        || self.end.server.changed.wait_until(&mut state, deadline).timed_out();
                    if over {
                        return Err(Error::Timeout(TimeoutKind::Read));
                    }
                }
            }
        }
    }
}

impl RawReceive for Receiver {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        let mut state = self.wait(deadline)?;
        let reply = state.lines.get_mut(&self.end.line).and_then(|line| line.replies.pop_front());
        let reply = reply.or_else(|| state.pushes.pop_front().map(Ok));
        reply.unwrap_or(Err(Error::ConnClosed))
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        match self.wait(deadline) {
            Ok(_) => Ok(true),
            Err(Error::Timeout(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
