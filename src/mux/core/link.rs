//! The state of the connection of a mux core.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::net::stream::ShutdownHandle;

#[derive(Debug)]
pub(super) enum Link<S, R> {
    Down(Option<Failure>),
    Dialing,
    Up(Connected<S, R>),
    Closed,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// The end of the pause before the next dial.
    pub(super) retry_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Connected<S, R> {
    /// `None` while it is leased.
    pub(super) writer: Option<S>,
    /// `None` while it is leased.
    pub(super) reader: Option<R>,
    /// The last writer left before everything was written.
    pub(super) unfinished: bool,
    /// The error of a write after the server hung up. The caller that has the reader ends the
    /// connection.
    pub(super) write_fault: Option<Error>,
    /// A reply other than an error has arrived.
    pub(super) proven: bool,
    pub(super) shutdown: ShutdownHandle,
    pub(super) address: Option<Arc<str>>,
    pub(super) read_timeout: Option<Duration>,
}
