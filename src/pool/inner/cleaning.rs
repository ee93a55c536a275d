//! Connections that were dropped in an unclean state are cleaned on the pool's threads, so that the
//! dropping thread does no I/O.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::conn::Conn;
use crate::error::Error;
use crate::pool::core::actions::Actions;
use crate::pool::core::cleaning::Unclean;
use crate::pool::core::types::{Disposition, Entry};
use crate::pool::inner::PoolInner;
use crate::pool::inner::check_in::unclean_reason;
use crate::pool::stats::close_reason::CloseReason;
use crate::sync;

/// Cleans connections one after the other. If it is dropped before it has finished, because no
/// thread could be started or because of a panic, it closes its connection.
struct Cleaner {
    pool: Arc<PoolInner>,
    unclean: Option<Unclean<Conn>>,
}

impl PoolInner {
    /// Cleans a connection on a thread of the pool.
    pub(super) fn start_cleaning(self: &Arc<Self>, unclean: Unclean<Conn>) {
        let cleaner = Cleaner { pool: Arc::clone(self), unclean: Some(unclean) };
        if let Err(error) = self.threads().start(move || cleaner.run()) {
            log::debug!(
                target: "redigo::pool",
                "{}a dropped connection cannot be cleaned: {error}", self.prefix()
            );
        }
    }

    /// Cleans a connection, and returns why it must be closed if it is still not clean.
    fn clean(&self, unclean: &mut Unclean<Conn>) -> Result<(), CloseReason> {
        let timeout = self.settings().cleanup_timeout;
        let Unclean { entry, waited_since } = unclean;
        let waited = waited_since.map(|since| sync::now().saturating_duration_since(since));
        if waited.is_some_and(|waited| waited >= timeout) {
            self.note_discard();
            return Err(CloseReason::Dirty);
        }
        let conn = &mut entry.conn;
        let cleaned = catch_unwind(AssertUnwindSafe(|| {
            let reset = conn.reset(timeout);
            match conn.is_clean() {
                true => Ok(()),
                false => Err((unclean_reason(conn), conn.err().cloned().or(reset.err()))),
            }
        }));
        let cleaned = cleaned.unwrap_or_else(|panic| {
            Err((CloseReason::Dirty, Some(Error::panicked("a clean-up", &*panic))))
        });
        cleaned.map_err(|(reason, error)| {
            if let Some(error) = error {
                log::debug!(
                    target: "redigo::pool",
                    "{}a dropped connection cannot be cleaned: {error}", self.prefix()
                );
            }
            reason
        })
    }

    /// Decides about a connection that was cleaned. The caller's borrow has ended before.
    fn disposition_of(
        &self,
        entry: &mut Entry<Conn>,
        cleaned: Result<(), CloseReason>,
    ) -> Disposition {
        match cleaned.and_then(|()| self.run_return_checks(entry)) {
            Ok(()) => Disposition::Return,
            Err(reason) => Disposition::Close(reason),
        }
    }
}

impl Cleaner {
    fn run(mut self) {
        while let Some(unclean) = &mut self.unclean {
            let cleaned = self.pool.clean(unclean);
            let disposition = self.pool.disposition_of(&mut unclean.entry, cleaned);
            self.end(disposition);
        }
    }

    /// Gives the connection back to the pool, and takes the next one.
    fn end(&mut self, disposition: Disposition) {
        let Some(Unclean { entry, .. }) = self.unclean.take() else { return };
        let (now, mut actions) = (self.pool.now_of_check_in(disposition), Actions::none());
        self.unclean = self.pool.core().cleaned(entry, disposition, now, &mut actions);
        self.pool.perform(actions);
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        while self.unclean.is_some() {
            self.pool.note_discard();
            self.end(Disposition::Close(CloseReason::Dirty));
        }
    }
}
