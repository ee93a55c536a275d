//! Dialling for a pool: attempts, pauses between them, and one budget for all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;

use crate::conn::Conn;
use crate::context::Context;
use crate::error::{DialStep, Error, Result, TimeoutKind};
use crate::pool::builder::Dial;
use crate::pool::core::{Entry, Fresh, JobCause};
use crate::pool::hooks;
use crate::pool::inner::PoolInner;
use crate::pool::meter::Timing;

impl PoolInner {
    /// Dials, as often as the pool was told to, with a panic of the dial function as an error.
    pub(crate) fn dial(&self) -> Result<Fresh<Conn>> {
        // The generation first: what is dialled in a new way must not count as old the other way
        // round.
        let generation = self.core().generation();
        let dial = self.dial_function();
        let began = Instant::now();
        match self.attempts(&dial) {
            Ok(conn) => {
                log::debug!(target: "redigo::pool", "dialled a connection");
                self.note_dial_error(None);
                let took = began.elapsed();
                self.core().counters.dial_time.record(took);
                self.settings().meter.record(Timing::Create, took);
                Ok(self.fresh(conn, generation))
            }
            Err(error) if self.is_closed() => {
                log::debug!(target: "redigo::pool", "dialling ended with the pool: {error}");
                Err(Error::PoolClosed)
            }
            Err(error) => {
                log::debug!(target: "redigo::pool", "dialling failed: {error}");
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
            // That the budget is used up says less than why the attempt before has failed.
            let error = match error {
                Error::Timeout(error) if error.kind() == TimeoutKind::Context => {
                    last.take().unwrap_or_else(|| TimeoutKind::Connect.into())
                }
                error => error,
            };
            if attempt >= self.settings().dial_retries || !may_pass(&error) {
                return Err(error);
            }
            let pause = self.pause_after(attempt);
            if context.remaining().is_some_and(|left| left <= pause) {
                return Err(error);
            }
            log::debug!(target: "redigo::pool", "dialling again in {pause:.1?}: {error}");
            // It disconnects, and so ends the pause, when the pool is closed.
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
        // A connection that failed before it is lent is a failed dial.
        if let Some(error) = conn.err() {
            return Err(error.clone());
        }
        if let Some(hook) = &self.settings().hooks.dial {
            hooks::run(hook, "on_dial", &mut conn)?;
        }
        Ok(conn)
    }

    fn fresh(&self, mut conn: Conn, generation: u64) -> Fresh<Conn> {
        // Whatever the dial function has said to the server is to stay so.
        conn.session().set_baseline();
        if !self.settings().retire_on.is_empty() {
            conn.retire_on(Arc::clone(&self.settings().retire_on));
        }
        let expires = self.settings().max_conn_lifetime.map(|lifetime| {
            self.now() + lifetime - self.part_of(self.settings().max_conn_lifetime_jitter)
        });
        let handle = conn.shutdown_handle();
        let member = Entry {
            conn,
            place: 0,
            generation,
            expires,
            returned: None,
            asked: None,
            deaths: 0,
            doubtful: false,
            late: false,
        };
        Fresh { member: Box::new(member), handle }
    }

    /// One dial for whoever waits longest when it ends.
    pub(crate) fn run_dial(self: &Arc<Self>, cause: JobCause) {
        let dialed = self.dial();
        let now = self.now();
        let actions = match dialed {
            Ok(fresh) => self.core().job_done(cause, fresh, now),
            Err(error) => self.core().job_failed(cause, &error, now),
        };
        self.carry_out(actions);
    }
}

/// True for what another attempt may get over.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Server(error) => error.step() != Some(DialStep::Auth),
        Error::Io(_) | Error::Timeout(_) | Error::Protocol(_) | Error::Other(_) => true,
        _ => false,
    }
}
