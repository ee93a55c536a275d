//! A connection to a scripted server.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::received::Received;
use super::rule::Reply;
use super::script_state::{Script, ScriptState, closed_by_script};
use crate::args::{Args, ToArgs};
use crate::conn::raw::{RawConn, RawReceive, RawSend};
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::{Peek, ShutdownHandle};
use crate::sync::MutexGuard;
use crate::value::Value;

/// The client's side of the connection.
pub(super) struct ScriptedConn {
    sender: Sender,
    receiver: Receiver,
    shutdown: ShutdownHandle,
}

struct Sender {
    guard: Arc<ConnGuard>,
    queued: Vec<Received>,
}

struct Receiver {
    guard: Arc<ConnGuard>,
}

/// Closes the connection when its last half is dropped.
struct ConnGuard {
    script: Arc<Script>,
    conn: u64,
}

impl ConnGuard {
    fn close(&self) {
        self.script.state.lock().conns.remove(&self.conn);
    }
}

impl Drop for ConnGuard {
    fn drop(&mut self) {
        self.close();
    }
}

impl ScriptedConn {
    pub(super) fn new(script: Arc<Script>, conn: u64) -> ScriptedConn {
        let weak: Weak<Script> = Arc::downgrade(&script);
        let shutdown = ShutdownHandle::new(move || {
            if let Some(script) = weak.upgrade() {
                if let Some(conn) = script.state.lock().conns.get_mut(&conn) {
                    conn.shut_down = true;
                }
                script.changed.notify_all();
            }
        });
        let guard = Arc::new(ConnGuard { script, conn });
        ScriptedConn {
            sender: Sender { guard: Arc::clone(&guard), queued: Vec::new() },
            receiver: Receiver { guard },
            shutdown,
        }
    }
}

impl RawSend for ScriptedConn {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        self.sender.send(command, args, deadline)
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.sender.flush(deadline)
    }
}

impl RawReceive for ScriptedConn {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        self.receiver.receive(deadline)
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<bool> {
        self.receiver.poll(deadline)
    }
}

impl RawConn for ScriptedConn {
    fn split(&mut self) -> (&mut dyn RawSend, &mut dyn RawReceive) {
        (&mut self.sender, &mut self.receiver)
    }

    fn halves(&mut self) -> Option<(Box<dyn RawSend>, Box<dyn RawReceive>)> {
        let guard = &self.receiver.guard;
        let queued = std::mem::take(&mut self.sender.queued);
        let sender = Sender { guard: Arc::clone(guard), queued };
        Some((Box::new(sender), Box::new(Receiver { guard: Arc::clone(guard) })))
    }

    fn has_unread(&self) -> bool {
        self.receiver.half_has_unread()
    }

    fn peek(&self) -> Result<Peek> {
        self.receiver.half_peek()
    }

    fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown.clone()
    }

    fn close(&mut self) {
        self.receiver.guard.close();
    }
}

impl Sender {
    fn check(&self) -> Result<()> {
        match self.guard.script.state.lock().conns.get(&self.guard.conn) {
            Some(conn) if conn.is_open() => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        }
    }

    fn deliver(&self, received: &Received) {
        let answer = self.guard.script.state.lock().answer(received);
        let reply = match answer.reply {
            // Not under the lock: the handler can use the server.
            Reply::Handler(handler) => Reply::from_result(handler(&received.args())),
            reply => reply,
        };
        if let Some(conn) = self.guard.script.state.lock().conns.get_mut(&self.guard.conn) {
            match reply {
                Reply::Value(value) => conn.replies.push_back(Ok(value)),
                Reply::Fail(error) => conn.replies.push_back(Err(error)),
                Reply::Handler(_) | Reply::None => {}
            }
            conn.replies.extend(answer.then.into_iter().map(Ok));
        }
        self.guard.script.changed.notify_all();
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
            return Err(TimeoutKind::Write.into());
        }
        let failure = self.guard.script.state.lock().flush_errors.pop_front();
        if let Some(error) = failure {
            return Err(error);
        }
        std::mem::take(&mut self.queued).iter().for_each(|received| self.deliver(received));
        Ok(())
    }
}

impl Receiver {
    /// Waits for a reply or a push, and returns the state with at least one of them in it.
    ///
    /// # Errors
    /// The deadline has passed, or nothing can arrive.
    fn wait(&self, deadline: Option<Instant>) -> Result<MutexGuard<'_, ScriptState>> {
        let script = &self.guard.script;
        let mut state = script.state.lock();
        loop {
            let Some(conn) = state.conns.get(&self.guard.conn) else {
                return Err(Error::ConnClosed);
            };
            if conn.shut_down {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
            }
            if !conn.replies.is_empty() || !state.pushes.is_empty() {
                return Ok(state);
            }
            match deadline {
                _ if conn.closed_by_server => return Err(closed_by_script()),
                None if !state.stays_open => return Err(closed_by_script()),
                None => script.changed.wait(&mut state),
                Some(deadline) => {
                    let timed_out = !state.stays_open
                        || script.changed.wait_until(&mut state, deadline).timed_out();
                    if timed_out {
                        return Err(TimeoutKind::Read.into());
                    }
                }
            }
        }
    }
}

impl RawReceive for Receiver {
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Value> {
        let mut state = self.wait(deadline)?;
        let conn = state.conns.get_mut(&self.guard.conn);
        let reply = conn.and_then(|conn| conn.replies.pop_front());
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

    fn half_has_unread(&self) -> bool {
        let state = self.guard.script.state.lock();
        state.conns.get(&self.guard.conn).is_some_and(|conn| !conn.replies.is_empty())
    }

    fn half_peek(&self) -> Result<Peek> {
        let state = self.guard.script.state.lock();
        Ok(match state.conns.get(&self.guard.conn) {
            Some(conn) if !conn.replies.is_empty() => Peek::Readable,
            Some(conn) if conn.is_open() => Peek::Quiet,
            _ => Peek::Closed,
        })
    }
}
