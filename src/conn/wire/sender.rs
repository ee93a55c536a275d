//! The sending side of [`Wire`](super::Wire).

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::{CachedTimeout, is_timeout, time_left};
use crate::args::ToArgs;
use crate::conn::command_buffer::EncodedCommands;
use crate::conn::raw::RawSend;
use crate::error::{Error, Result, TimeoutKind};
use crate::net::stream::Stream;
use crate::resp::encode::{self, Gap};

/// A write buffer of this size is written without waiting for a flush.
const FLUSH_AT: usize = 64 * 1024;
/// An empty write buffer keeps at most this capacity.
const RETAIN: usize = 2 * FLUSH_AT;

/// The sending side: a stream and a write buffer.
pub(super) struct Sender {
    stream: Option<Arc<dyn Stream>>,
    pub(super) buffer: Vec<u8>,
    timeout: CachedTimeout,
    /// After a timeout, a later call continues with the bytes that were not written.
    resumes: bool,
}

impl Sender {
    pub(super) fn new(stream: Option<Arc<dyn Stream>>) -> Sender {
        Sender { stream, buffer: Vec::new(), timeout: None, resumes: false }
    }

    /// Keeps the bytes that are not written when a deadline passes.
    pub(super) fn resume_writes(&mut self) {
        self.resumes = true;
    }

    /// Keeps bytes that were not written, if a later call may continue with them.
    fn keep_rest(&mut self, rest: &[u8], outcome: &Result<()>) {
        if self.resumes && matches!(outcome, Err(Error::Timeout(_))) {
            self.buffer.extend_from_slice(rest);
        }
    }

    /// Drops the stream and the bytes that are not written.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.buffer = Vec::new();
    }

    /// Writes the bytes, and counts the bytes that are written.
    fn write_all(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
        count: &mut usize,
    ) -> Result<()> {
        let stream = self.stream.as_deref().ok_or(Error::ConnClosed)?;
        while let rest @ [_, ..] = &bytes[*count..] {
            let left = time_left(deadline, TimeoutKind::Write)?;
            if self.timeout != Some(left) {
                stream.set_write_timeout(left)?;
                self.timeout = Some(left);
            }
            match stream.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => *count += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The next iteration checks the deadline. On Windows the stream has ended: see `TcpStream::write`.
                Err(error) if is_timeout(&error) && deadline.is_some() && !cfg!(windows) => {}
                Err(error) if is_timeout(&error) => return Err(TimeoutKind::Write.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes the buffer up to the last gap, and into each gap its large argument, without copying
    /// it. The bytes behind the last gap stay in the buffer.
    fn write_with_gaps(
        &mut self,
        gaps: &[Gap],
        args: &dyn ToArgs,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let queued = mem::take(&mut self.buffer);
        let mut outcome = Ok(());
        let mut done = 0;
        let mut gaps = gaps.iter();
        encode::fill_gaps(|out| args.write_args(out), &mut |arg| match gaps.next() {
            Some(gap) if gap.length == arg.len() => {
                for piece in [&queued[done..gap.at], arg] {
                    let mut count = 0;
                    if outcome.is_ok() {
                        outcome = self.write_all(piece, deadline, &mut count);
                    }
                    self.keep_rest(&piece[count..], &outcome);
                }
                done = gap.at;
            }
            _ => outcome = Err(changed()),
        });
        self.buffer.extend_from_slice(&queued[done..]);
        if gaps.next().is_some() { Err(changed()) } else { outcome }
    }
}

/// The error for arguments that differ when they are written a second time.
fn changed() -> Error {
    let what = "the arguments of a command changed while it was being sent";
    io::Error::new(io::ErrorKind::InvalidInput, what).into()
}

impl RawSend for Sender {
    fn send(&mut self, command: &str, args: &dyn ToArgs, deadline: Option<Instant>) -> Result<()> {
        let gaps = encode::command(&mut self.buffer, command, |out| args.write_args(out));
        if !gaps.is_empty() {
            return self.write_with_gaps(&gaps, args, deadline);
        }
        if self.buffer.len() >= FLUSH_AT { self.flush(deadline) } else { Ok(()) }
    }

    fn flush(&mut self, deadline: Option<Instant>) -> Result<()> {
        let mut buffer = mem::take(&mut self.buffer);
        let mut count = 0;
        let written = self.write_all(&buffer, deadline, &mut count);
        match written {
            Ok(()) => buffer.clear(),
            Err(_) if self.resumes => drop(buffer.drain(..count)),
            Err(_) => return written,
        }
        buffer.shrink_to(RETAIN);
        self.buffer = buffer;
        written
    }

    /// Writes the commands without copying them.
    fn write_encoded(
        &mut self,
        commands: EncodedCommands<'_>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let bytes = commands.bytes();
        let mut count = 0;
        let written =
            self.flush(deadline).and_then(|()| self.write_all(bytes, deadline, &mut count));
        self.keep_rest(&bytes[count..], &written);
        written
    }
}
