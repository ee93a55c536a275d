//! Work that the core leaves to its shell, to be done after the lock is released.

use std::time::Instant;

use super::cleaning::Unclean;
use super::dials::DialId;
use super::registry::CheckoutInfo;
use super::types::Entry;
use crate::net::stream::ShutdownHandle;
use crate::pool::stats::close_reason::CloseReason;

/// Work to do after unlocking. The common cases, nothing and one waiter to wake, take two words.
#[derive(Debug)]
#[must_use]
pub(crate) struct Actions<C, W> {
    pub(crate) wake: Option<W>,
    pub(crate) deferred: Option<Box<Deferred<C, W>>>,
}

/// The less common work.
#[derive(Debug)]
pub(crate) struct Deferred<C, W> {
    pub(crate) wake: Vec<W>,
    /// Dials to start.
    pub(crate) dials: Vec<DialId>,
    pub(crate) close: Vec<Closing<C>>,
    /// When [`Core::run_due`](super::Core::run_due) is due, if that is earlier than before.
    pub(crate) alarm: Option<Instant>,
    /// An idle connection to ping; then call [`Core::ping_ended`](super::Core::ping_ended).
    pub(crate) ping: Option<Box<Entry<C>>>,
    /// A connection to clean on another thread.
    pub(crate) clean: Option<Unclean<C>>,
    /// Checkouts to report as leaks.
    pub(crate) overdue: Vec<Overdue>,
    /// A checkout that was reported as a leak and has ended.
    pub(crate) late_return: Option<CheckoutInfo>,
}

/// A connection to close.
#[derive(Debug)]
pub(crate) struct Closing<C> {
    pub(crate) entry: Box<Entry<C>>,
    pub(crate) reason: CloseReason,
}

/// A checkout that has lasted too long.
#[derive(Debug)]
pub(crate) struct Overdue {
    pub(crate) checkout: CheckoutInfo,
    /// Shuts the connection down, if it is reclaimed.
    pub(crate) shutdown: Option<ShutdownHandle>,
}

impl<C, W> Actions<C, W> {
    pub(crate) fn none() -> Actions<C, W> {
        Actions { wake: None, deferred: None }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.wake.is_none() && self.deferred.is_none()
    }

    pub(super) fn deferred(&mut self) -> &mut Deferred<C, W> {
        self.deferred.get_or_insert_with(|| {
            Box::new(Deferred {
                wake: Vec::new(),
                dials: Vec::new(),
                close: Vec::new(),
                alarm: None,
                ping: None,
                clean: None,
                overdue: Vec::new(),
                late_return: None,
            })
        })
    }

    pub(super) fn wake(&mut self, waker: W) {
        match self.wake {
            None => self.wake = Some(waker),
            Some(_) => self.deferred().wake.push(waker),
        }
    }

    pub(super) fn close(&mut self, entry: Box<Entry<C>>, reason: CloseReason) {
        self.deferred().close.push(Closing { entry, reason });
    }
}
