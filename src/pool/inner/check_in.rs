//! The end of a borrow.

use std::sync::Arc;

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::pool::core::Detached;
use crate::pool::core::actions::Actions;
use crate::pool::core::types::Disposition;
use crate::pool::hooks::{self, Hook};
use crate::pool::inner::{PoolEntry, PoolInner};
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::stats::metrics::Timing;

impl PoolInner {
    /// Returns a clean connection to the pool, unless `on_return` refuses it.
    #[inline]
    pub(crate) fn return_conn(self: &Arc<Self>, mut entry: PoolEntry) {
        if let Some(hook) = &self.settings().hooks.give_back {
            if let Err(error) = run_return_hook(hook, &mut entry.conn) {
                log::debug!(target: "redigo::pool", "on_return refuses a connection: {error}");
                return self.close_conn(entry, CloseReason::Hook);
            }
        }
        self.check_in(entry, Disposition::Return);
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
        let (now, meter) = (self.now_on_check_in(), &self.settings().meter);
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
}

fn run_return_hook(hook: &Hook, conn: &mut Conn) -> Result<()> {
    hooks::run(hook, "on_return", conn)?;
    match conn.is_clean() {
        true => Ok(()),
        false => Err(Error::other("on_return left the connection unclean")),
    }
}
