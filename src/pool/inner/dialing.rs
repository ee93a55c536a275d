//! One dial: its attempts, and the pauses between them, within one budget.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;

use crate::conn::Conn;
use crate::context::Context;
use crate::error::{DialStep, Error, Result, TimeoutKind};
use crate::pool::core::types::{DialReason, Dialed};
use crate::pool::hooks;
use crate::pool::inner::PoolInner;
use crate::pool::settings::Dial;
use crate::pool::stats::metrics::Timing;

impl PoolInner {
    /// Dials a connection, with up to `dial_retries` further attempts.
    ///
    /// # Errors
    /// The last attempt's error. A panic of the dial function is an error.
    pub(crate) fn dial(&self) -> Result<Dialed<Conn>> {
        // Read before the dial function: a new function's connection must not count as old, while
        // the opposite only costs a connection.
        let generation = self.core().generation();
        let dial = self.dial_function();
        let began = Instant::now();
        match self.attempts(&dial) {
            Ok(conn) => {
                log::debug!(target: "redigo::pool", "dialed a connection");
                self.note_dial_error(None);
                let took = began.elapsed();
                self.core().counters.dial_time.record(took);
                self.settings().meter.record(Timing::Create, took);
                Ok(self.set_up(conn, generation))
            }
            Err(error) if self.is_closed() => {
                log::debug!(target: "redigo::pool", "dialing ended with the pool: {error}");
                Err(Error::PoolClosed)
            }
            Err(error) => {
                log::debug!(target: "redigo::pool", "dialing failed: {error}");
                self.note_dial_error(Some(error.clone()));
                Err(error)
            }
        }
    }

    fn attempts(&self, dial: &Dial) -> Result<Conn> {
        let context = match self.settings().dial_budget {
            Some(budget) => self.lifetime().with_timeout(budget),
            None => self.lifetime().clone(),
        };
        let mut last = None;
        let mut attempt = 0;
        loop {
            let error = match self.attempt(dial, &context) {
                Ok(conn) => return Ok(conn),
                Err(error) => error,
            };
            // If the budget is used up, the error of the attempt before says more.
            let error = match error {
                Error::Timeout(TimeoutKind::Context) => {
                    last.take().unwrap_or(Error::Timeout(TimeoutKind::Connect))
                }
                error => error,
            };
            if attempt >= self.settings().dial_retries || !is_temporary(&error) {
                return Err(error);
            }
            let pause = self.pause_after(attempt);
            if context.remaining().is_some_and(|left| left <= pause) {
                return Err(error);
            }
            log::debug!(target: "redigo::pool", "dialing again in {pause:.1?}: {error}");
            // The channel disconnects, which ends the pause, when the pool is closed.
            if context.done().recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return Err(error);
            }
            last = Some(error);
            attempt += 1;
        }
    }

    fn attempt(&self, dial: &Dial, context: &Context) -> Result<Conn> {
        let mut conn = catch_unwind(AssertUnwindSafe(|| dial(context)))
            .unwrap_or_else(|panic| Err(Error::panicked("the dial function", &*panic)))?;
        // A dial function can return a connection that has already failed.
        if let Some(error) = conn.err() {
            return Err(error.clone());
        }
        if let Some(hook) = &self.settings().hooks.dial {
            hooks::run(hook, "on_dial", &mut conn)?;
        }
        Ok(conn)
    }

    fn set_up(&self, mut conn: Conn, generation: u64) -> Dialed<Conn> {
        // The state that the dial function has set is restored after each borrow.
        conn.session().set_baseline();
        let settings = self.settings();
        if !settings.retire_on.is_empty() {
            conn.retire_on(Arc::clone(&settings.retire_on));
        }
        let expires = settings
            .max_conn_lifetime
            .map(|lifetime| self.now() + lifetime - self.jitter(settings.max_conn_lifetime_jitter));
        let handle = conn.shutdown_handle();
        Dialed { conn, handle, generation, expires }
    }

    /// Dials on a dial thread, for the oldest waiter when the dial ends.
    pub(crate) fn run_dial(self: &Arc<Self>, reason: DialReason) {
        let dialed = self.dial();
        let now = self.now();
        let actions = match dialed {
            Ok(dialed) => self.core().thread_dialed(reason, dialed, now),
            Err(error) => self.core().thread_dial_failed(reason, &error, now),
        };
        self.perform(actions);
    }
}

/// Returns true if another attempt may succeed.
fn is_temporary(error: &Error) -> bool {
    match error {
        Error::Server(error) => error.step() != Some(DialStep::Auth),
        Error::Io(_) | Error::Timeout(_) | Error::Protocol(_) | Error::Other(_) => true,
        _ => false,
    }
}
