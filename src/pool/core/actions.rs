//! What the core wants done after unlocking.

use std::time::Instant;

use super::registry::CheckoutInfo;
use super::{Entry, JobCause};
use crate::net::stream::ShutdownHandle;
use crate::pool::stats::close_reason::CloseReason;

/// What to do after unlocking. The common cases, nothing and one to wake, are two words.
#[derive(Debug)]
#[must_use]
pub(crate) struct Actions<C, W> {
    pub(crate) wake: Option<W>,
    pub(crate) more: Option<Box<More<C, W>>>,
}

/// What is seldom to be done.
#[derive(Debug)]
pub(crate) struct More<C, W> {
    pub(crate) wake: Vec<W>,
    /// Dials to start.
    pub(crate) jobs: Vec<JobCause>,
    pub(crate) close: Vec<(Box<Entry<C>>, CloseReason)>,
    /// When the upkeep is due, sooner than it was.
    pub(crate) alarm: Option<Instant>,
    /// An idle connection to be asked whether it lives, then [`Core::checked`](super::Core::checked).
    pub(crate) ask: Option<Box<Entry<C>>>,
    /// Loans to report: they have lasted too long.
    pub(crate) overdue: Vec<Overdue>,
    /// A loan that was reported has ended.
    pub(crate) came_back: Option<CheckoutInfo>,
}

/// A loan that has lasted too long, and what ends it if it is to be ended.
#[derive(Debug)]
pub(crate) struct Overdue {
    pub(crate) loan: CheckoutInfo,
    pub(crate) cut: Option<ShutdownHandle>,
}

impl<C, W> Actions<C, W> {
    pub(super) fn none() -> Actions<C, W> {
        Actions { wake: None, more: None }
    }

    pub(super) fn more(&mut self) -> &mut More<C, W> {
        self.more.get_or_insert_with(|| {
            Box::new(More {
                wake: Vec::new(),
                jobs: Vec::new(),
                close: Vec::new(),
                alarm: None,
                ask: None,
                overdue: Vec::new(),
                came_back: None,
            })
        })
    }

    pub(super) fn wake(&mut self, waker: W) {
        match self.wake {
            None => self.wake = Some(waker),
            Some(_) => self.more().wake.push(waker),
        }
    }
}
