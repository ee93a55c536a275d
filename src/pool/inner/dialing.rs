//! One dial: its attempts, and the pauses between them, within one budget.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;

use crate::conn::Conn;
use crate::context::Context;
use crate::error::{DialStep, Error, Result, ServerError, TimeoutKind};
use crate::pool::core::dials::DialId;
use crate::pool::core::types::Dialed;
use crate::pool::hooks;
use crate::pool::inner::{PoolActions, PoolCore, PoolInner};
use crate::pool::settings::Dial;
use crate::pool::stats::metrics::Timing;
use crate::sync;

/// A dial on this thread. If the thread panics, the core learns that the dial has failed.
struct RunningDial<'a> {
    pool: &'a Arc<PoolInner>,
    id: DialId,
    is_over: bool,
}

impl RunningDial<'_> {
    fn end(mut self, report: impl FnOnce(&mut PoolCore, Instant) -> PoolActions) {
        let now = self.pool.now();
        let actions = report(&mut self.pool.core(), now);
        self.is_over = true;
        self.pool.perform(actions);
    }
}

impl Drop for RunningDial<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let (now, error) = (self.pool.now(), Error::other("a dial thread panicked"));
            let actions = self.pool.core().dial_failed(self.id, &error, now);
            self.pool.perform(actions);
        }
    }
}

impl PoolInner {
    /// Dials a connection on this thread, with up to `dial_retries` further attempts, and reports the
    /// result to the core.
    pub(super) fn run_dial(self: &Arc<Self>, id: DialId) {
        let began = sync::now();
        let generation = self.core().begin_dial(id, began);
        // Read after the generation, so that no connection of an old function counts as new.
        let dial = self.dial_function();
        let running = RunningDial { pool: self, id, is_over: false };
        match self.attempts(id, generation, &dial) {
            Ok(dialed) => {
                log::debug!(target: "redigo::pool", "{}dialed a connection", self.prefix());
                self.note_dial_error(None);
                self.log_successful_dial();
                let took = sync::now().saturating_duration_since(began);
                self.settings().meter.record(Timing::Create, took);
                running.end(|core, now| core.dial_succeeded(id, dialed, took, now));
            }
            Err(error) => {
                let what = if self.is_closed() { "ended with the pool" } else { "failed" };
                log::debug!(target: "redigo::pool", "{}dialing {what}: {error}", self.prefix());
                if !self.is_closed() {
                    self.log_failed_dial(&error);
                }
                running.end(|core, now| core.dial_failed(id, &error, now));
            }
        }
    }

    fn attempts(
        self: &Arc<Self>,
        id: DialId,
        generation: u64,
        dial: &Dial,
    ) -> Result<Dialed<Conn>> {
        let context = match self.settings().dial_budget {
            Some(budget) => self.lifetime().with_timeout(budget),
            None => self.lifetime().clone(),
        };
        let mut last = None;
        let mut attempt = 0;
        loop {
            let error = match self.attempt(dial, &context) {
                Ok(dialed) => return Ok(dialed),
                Err(error) => error,
            };
            // If the budget is used up, the error of the attempt before says more.
            let error = match error {
                Error::Timeout(error) if error.kind() == TimeoutKind::Context => {
                    last.take().unwrap_or_else(|| TimeoutKind::Connect.into())
                }
                error => error,
            };
            self.note_attempt_error(&error, generation);
            if attempt >= self.settings().dial_retries || !is_temporary(&error) {
                return Err(error);
            }
            let pause = self.pause_after(attempt);
            if context.remaining().is_some_and(|left| left <= pause) {
                return Err(error);
            }
            let actions = self.core().pause_dial(id);
            self.perform(actions);
            log::debug!(
                target: "redigo::pool", "{}dialing again in {pause:.1?}: {error}", self.prefix()
            );
            // The channel disconnects, which ends the pause, when the pool is closed.
            let disconnected = context.done().recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
            if disconnected || !self.core().retry_dial(id) {
                return Err(error);
            }
            last = Some(error);
            attempt += 1;
        }
    }

    /// Records the error of an attempt, unless the pool is closed or dials differently by now.
    fn note_attempt_error(&self, error: &Error, generation: u64) {
        let is_current = {
            let core = self.core();
            !core.is_closed() && core.generation() == generation
        };
        if is_current {
            self.note_dial_error(Some(error.clone()));
        }
    }

    fn attempt(&self, dial: &Dial, context: &Context) -> Result<Dialed<Conn>> {
        let mut conn = catch_unwind(AssertUnwindSafe(|| dial(context)))
            .unwrap_or_else(|panic| Err(Error::panicked("the dial function", &*panic)))?;
        // A dial function can return a connection that has already failed.
        if let Some(error) = conn.err() {
            return Err(error.clone());
        }
        if let Some(hook) = &self.settings().hooks.dial {
            hooks::run(hook, "on_dial", &mut conn)?;
        }
        // The dial function's handles end here: from now on, a handle belongs to one checkout.
        if !conn.end_checkout() {
            return Err(Error::Canceled);
        }
        // The connection's type may be the user's, so every call to it can panic.
        catch_unwind(AssertUnwindSafe(|| self.set_up(conn)))
            .map_err(|panic| Error::panicked("the dialed connection", &*panic))
    }

    fn set_up(&self, mut conn: Conn) -> Dialed<Conn> {
        // The state that the dial function has set is restored after each borrow.
        conn.session().set_baseline();
        let settings = self.settings();
        if !settings.retire_on.is_empty() {
            conn.retire_on(Arc::clone(&settings.retire_on));
        }
        conn.set_pooled(true);
        let expires = settings
            .max_conn_lifetime
            .map(|lifetime| self.now() + lifetime - self.jitter(settings.max_conn_lifetime_jitter));
        let handle = conn.own_shutdown_handle();
        Dialed { conn, handle, expires }
    }
}

/// Returns true if another attempt may succeed.
fn is_temporary(error: &Error) -> bool {
    match error {
        Error::Server(error) => !refuses_credentials(error),
        Error::Io(_) | Error::Timeout(_) | Error::Protocol(_) | Error::Other(_) => true,
        _ => false,
    }
}

/// Returns true if the server does not accept the user name or the password. Other errors of `AUTH`,
/// such as `LOADING` or a full server, can pass.
fn refuses_credentials(error: &ServerError) -> bool {
    // Before Redis 6 these errors have no code.
    const WITHOUT_CODE: [&str; 3] =
        ["invalid password", "no password is set", "without any password configured"];
    match error.code() {
        "WRONGPASS" | "NOAUTH" | "NOPERM" => true,
        "ERR" if error.step() == Some(DialStep::Auth) => {
            WITHOUT_CODE.iter().any(|text| error.message().contains(text))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_auth(text: &str) -> Error {
        Error::Server(ServerError::new(text)).in_step(DialStep::Auth, text)
    }

    #[test]
    fn only_refused_credentials_are_final() {
        let refusals = [
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions to run the 'auth' command",
            "ERR invalid password",
            "ERR Client sent AUTH, but no password is set",
            "ERR AUTH <password> called without any password configured for the default user. Are \
             you sure your configuration is correct?",
        ];
        for refusal in refusals {
            assert!(!is_temporary(&at_auth(refusal)), "{refusal}");
        }
        let others = [
            "ERR max number of clients reached",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down",
            "BUSY Redis is busy running a script.",
            "ERR unknown command 'AUTH'",
        ];
        for other in others {
            assert!(is_temporary(&at_auth(other)), "{other}");
        }
    }
}
