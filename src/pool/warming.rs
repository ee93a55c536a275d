//! Dialling before anybody asks, for those who want to wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::pool::inner::PoolInner;
use crate::pool::inner::checkout::Patience;
use crate::pool::waiter::Parker;
use crate::sync;

impl PoolInner {
    /// Waits until so many connections are open and ready.
    pub(crate) fn warm_up(self: &Arc<Self>, connections: usize, timeout: Duration) -> Result<()> {
        let (max_active, max_idle) = {
            let core = self.core();
            (core.settings().max_active, core.settings().max_idle)
        };
        if connections > max_idle.min(max_active) {
            let why = format!(
                "warm_up({connections}) wants more than are kept: max_idle is {max_idle}{}",
                if max_active < max_idle {
                    format!(", max_active {max_active}")
                } else {
                    String::new()
                }
            );
            return Err(Error::InvalidConfig(why.into()));
        }
        let patience = Patience::timeout(Some(timeout), None);
        let actions = self.core().warm_up(connections);
        self.carry_out(actions);
        let warmed = self.wait_for(connections, sync::now().checked_add(timeout));
        self.core().cool_down(connections);
        match warmed {
            Some(true) => Ok(()),
            Some(false) => {
                Err(Error::PoolTimeout(Arc::new(self.report(usize::MAX, &patience, |_| {}))))
            }
            None => Err(Error::PoolClosed),
        }
    }

    /// False when the time is over, nothing when the pool is.
    fn wait_for(self: &Arc<Self>, connections: usize, deadline: Option<Instant>) -> Option<bool> {
        let parker = Parker::of_this_thread();
        loop {
            let now = self.now();
            let mut core = self.core();
            if core.is_closed() {
                return None;
            }
            if core.idle() + core.in_use() >= connections {
                return Some(true);
            }
            if deadline.is_some_and(|deadline| sync::now() >= deadline) {
                return Some(false);
            }
            // Failed dials are tried again after a pause; nobody else may be there to see its end.
            let pause = core.retry_at().map(|at| at.saturating_duration_since(now));
            if pause.is_some_and(|pause| pause.is_zero()) {
                let actions = core.dial_again(now);
                drop(core);
                self.carry_out(actions);
                continue;
            }
            core.watch(parker.clone());
            let retry = pause.and_then(|pause| sync::now().checked_add(pause));
            parker.park(&mut core, deadline.into_iter().chain(retry).min());
        }
    }
}
