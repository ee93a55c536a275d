//! The end of a borrow.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::pool::core::Detached;
use crate::pool::core::actions::Actions;
use crate::pool::core::types::{Disposition, Entry};
use crate::pool::hooks::{self, Hook};
use crate::pool::inner::{PoolEntry, PoolInner, Prefix};
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::stats::metrics::Timing;
use crate::sync;

/// The condition of a connection that was dropped.
enum Condition {
    Clean,
    NeedsCleaning,
    Lost(CloseReason),
}

impl PoolInner {
    /// Returns a clean connection to the pool, unless a check refuses it.
    #[inline]
    pub(crate) fn return_conn(self: &Arc<Self>, mut entry: PoolEntry) {
        match self.run_return_checks(&mut entry) {
            Ok(()) => drop(self.check_in(entry, Disposition::Return)),
            Err(reason) => self.close_conn(entry, reason),
        }
    }

    /// Returns a connection that was dropped. If it is not clean, a thread of the pool cleans it.
    #[inline]
    pub(crate) fn return_dropped(self: &Arc<Self>, mut entry: PoolEntry) {
        match condition_of_dropped(&mut entry, self.prefix()) {
            Condition::Clean => self.return_conn(entry),
            Condition::NeedsCleaning => {
                let dropped = sync::now();
                self.check_in(entry, Disposition::Clean { dropped });
            }
            Condition::Lost(reason) => self.discard_dropped(entry, reason),
        }
    }

    #[cold]
    fn discard_dropped(self: &Arc<Self>, entry: PoolEntry, reason: CloseReason) {
        if matches!(reason, CloseReason::Panicked | CloseReason::Dirty) {
            self.note_discard();
        }
        self.close_conn(entry, reason);
    }

    /// Closes a connection that was in use.
    pub(crate) fn close_conn(self: &Arc<Self>, entry: PoolEntry, reason: CloseReason) {
        self.check_in(entry, Disposition::Close(reason));
    }

    /// Removes a connection from the pool for its borrower to keep.
    pub(crate) fn detach(self: &Arc<Self>, entry: PoolEntry) -> Conn {
        match self.check_in(entry, Disposition::Detach) {
            Some(Detached { mut entry, reclaimed }) => {
                if reclaimed {
                    self.settings().hooks.closed(CloseReason::Leak);
                }
                entry.conn.set_pooled(false);
                entry.conn
            }
            None => Conn::failed(Error::ConnClosed),
        }
    }

    #[inline]
    pub(crate) fn check_in(
        self: &Arc<Self>,
        entry: PoolEntry,
        disposition: Disposition,
    ) -> Option<Detached<Conn>> {
        let (now, meter) = (self.now_of_check_in(disposition), &self.settings().meter);
        let mut actions = Actions::none();
        let mut core = self.core();
        let metered = now.filter(|_| meter.is_on());
        let used = metered.and_then(|now| core.registry().used_for(entry.slot, now));
        let detached = core.check_in(entry, disposition, now, &mut actions);
        drop(core);
        self.perform(actions);
        if let Some(used) = used {
            meter.record(Timing::Use, used);
        }
        detached
    }

    /// Returns the time if an option needs it, or the disposition.
    #[inline]
    pub(super) fn now_of_check_in(&self, disposition: Disposition) -> Option<Instant> {
        match disposition {
            Disposition::Close(CloseReason::Retired) => Some(self.now()),
            _ => self.now_on_check_in(),
        }
    }

    /// Checks a clean connection before the pool takes it back. Ends the checkout for the shutdown
    /// handles.
    ///
    /// # Errors
    /// The reason why the connection must be closed.
    #[inline]
    pub(super) fn run_return_checks(&self, entry: &mut Entry<Conn>) -> Result<(), CloseReason> {
        if let Some(hook) = &self.settings().hooks.give_back {
            run_return_hook(hook, &mut entry.conn).map_err(|error| {
                log::debug!(
                    target: "redigo::pool",
                    "{}on_return refuses a connection: {error}", self.prefix()
                );
                CloseReason::Hook
            })?;
        }
        if !is_own(entry) {
            log::debug!(
                target: "redigo::pool", "{}a borrower has replaced a connection", self.prefix()
            );
            return Err(CloseReason::Discarded);
        }
        if entry.conn.status().take_saw_error() {
            check_socket(&entry.conn, self.prefix())?;
        }
        match entry.conn.end_checkout() {
            true => Ok(()),
            false => Err(CloseReason::Io),
        }
    }
}

/// Returns false if the borrower has put another connection in the place of the pool's.
#[inline]
pub(crate) fn is_own(entry: &Entry<Conn>) -> bool {
    entry.conn.id() == entry.conn_id
}

/// Checks whether the server has closed the connection, which it can do after an error reply.
///
/// # Errors
/// The reason why the connection must be closed.
#[cold]
fn check_socket(conn: &Conn, pool: Prefix<'_>) -> Result<(), CloseReason> {
    // The connection's type may be the user's, so every call to it can panic.
    match catch_unwind(AssertUnwindSafe(|| conn.is_alive())) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => {
            log::debug!(target: "redigo::pool", "{pool}a connection was closed after an error reply");
            Err(CloseReason::Io)
        }
    }
}

#[inline]
fn condition_of_dropped(entry: &mut Entry<Conn>, pool: Prefix<'_>) -> Condition {
    if std::thread::panicking() {
        return Condition::Lost(CloseReason::Panicked);
    }
    let is_own = is_own(entry);
    let conn = &mut entry.conn;
    // The connection's type may be the user's, and a panic must not lose the slot.
    let condition = catch_unwind(AssertUnwindSafe(|| match conn.is_clean() {
        true => Condition::Clean,
        false if is_own && conn.can_be_cleaned() => Condition::NeedsCleaning,
        false => {
            if let Some(error) = conn.err() {
                log::debug!(target: "redigo::pool", "{pool}a connection cannot be returned: {error}");
            }
            Condition::Lost(unclean_reason(conn))
        }
    }));
    condition.unwrap_or(Condition::Lost(CloseReason::Dirty))
}

fn run_return_hook(hook: &Hook, conn: &mut Conn) -> Result<()> {
    hooks::run(hook, "on_return", conn)?;
    match conn.is_clean() {
        true => Ok(()),
        false => Err(Error::other("on_return left the connection unclean")),
    }
}

/// Returns why a connection that is not clean must be closed.
pub(crate) fn unclean_reason(conn: &mut Conn) -> CloseReason {
    let is_closing = conn.is_shut_down() || conn.status().is_closing();
    match conn.err() {
        Some(Error::Protocol(_)) => CloseReason::Protocol,
        Some(_) => CloseReason::Io,
        None if is_closing => CloseReason::Io,
        None if conn.is_retired() => CloseReason::Retired,
        None => CloseReason::Dirty,
    }
}
