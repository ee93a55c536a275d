//! Dialling for a mux: one caller dials, and all who have a command wait for it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};
use crate::mux::deadline::Patience;
use crate::mux::halves::part;
use crate::mux::inner::{Shared, dialing, nudge};

impl Shared {
    /// Dials on the caller's thread, no longer than the caller's patience lasts.
    pub(super) fn dial_line(&self, patience: &Patience<'_>) -> Result<()> {
        let (ctx, cancel) = patience.dial_context().with_cancel();
        let link = self.lifetime.on_cancel(move || cancel.cancel());
        let dialed = link.and_then(|link| {
            let dialed = catch_unwind(AssertUnwindSafe(|| (self.dial)(&ctx).and_then(part)));
            drop(link);
            dialed.unwrap_or_else(|panic| Err(Error::panicked("the dial function", &*panic)))
        });
        match dialed {
            Ok(line) => {
                let (stray, nudges) = self.core().dialed(line);
                nudge(nudges);
                match stray {
                    None => log::debug!(target: "redigo::mux", "dialled a connection"),
                    Some(line) => drop(line),
                }
                Ok(())
            }
            Err(error) => {
                log::debug!(target: "redigo::mux", "dialling failed: {error}");
                Err(self.dial_ended(error, patience))
            }
        }
    }

    fn dial_ended(&self, error: Error, patience: &Patience<'_>) -> Error {
        let mut core = self.core();
        if core.is_closed() {
            let nudges = core.dial_left();
            drop(core);
            nudge(nudges);
            return Error::ConnClosed;
        }
        // One caller's end is not the others'.
        if let Some(end) = patience.over() {
            let nudges = core.dial_left();
            drop(core);
            nudge(nudges);
            return dialing(end);
        }
        let waiting = core.dial_failed(&error);
        drop(core);
        waiting.iter().for_each(|(_, slot)| slot.finish(Err(error.clone())));
        error
    }
}
