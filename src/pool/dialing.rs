//! Dialling for a pool: on the caller's thread, or on a few threads that come and go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::core::Member;
use super::lending::Shared;
use crate::conn::conn::Conn;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::sync::Mutex;

/// How long a dial thread stays without work.
const LINGER: Duration = Duration::from_secs(5);

/// The dial threads of a pool. There is one for each dial that runs, and none when nobody has
/// asked for a while. The pool's core bounds how many dials are asked for.
#[derive(Debug)]
pub(crate) struct DialThreads {
    jobs: Sender<()>,
    queue: Receiver<()>,
    roster: Arc<Mutex<Roster>>,
}

#[derive(Debug, Default)]
struct Roster {
    /// Jobs sent that no thread has taken yet.
    waiting_jobs: usize,
    /// Threads that wait for a job.
    idle: usize,
}

impl DialThreads {
    pub(crate) fn new() -> DialThreads {
        let (jobs, queue) = unbounded();
        DialThreads { jobs, queue, roster: Arc::default() }
    }

    /// Has a thread dial for the pool, starting one if none is free.
    ///
    /// # Errors
    /// When a thread is needed and the system has none.
    pub(crate) fn start_job(&self, pool: &Arc<Shared>) -> Result<()> {
        let mut roster = self.roster.lock();
        if roster.waiting_jobs >= roster.idle {
            let worker = Worker {
                pool: Arc::downgrade(pool),
                queue: self.queue.clone(),
                roster: Arc::clone(&self.roster),
            };
            let thread = std::thread::Builder::new().name("redigo-dial".into());
            let started = thread.spawn(move || worker.run());
            started
                .map_err(|error| Error::io_context("starting a thread to dial", Arc::new(error)))?;
            // Counted for it, so that it is not missed before it gets going.
            roster.idle += 1;
        }
        roster.waiting_jobs += 1;
        drop(roster);
        // The receiver is a field of this very value, so it is there.
        let _ = self.jobs.send(());
        Ok(())
    }
}

/// One dial thread. It keeps no pool alive: when the last handle goes, so do the channel and it.
struct Worker {
    pool: Weak<Shared>,
    queue: Receiver<()>,
    roster: Arc<Mutex<Roster>>,
}

impl Worker {
    fn run(self) {
        loop {
            match self.queue.recv_timeout(LINGER) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let mut roster = self.roster.lock();
                    // A job may have been sent at this very moment, counting on this thread.
                    if roster.waiting_jobs == 0 {
                        roster.idle -= 1;
                        return;
                    }
                    continue;
                }
            }
            {
                let mut roster = self.roster.lock();
                roster.waiting_jobs -= 1;
                roster.idle -= 1;
            }
            let Some(pool) = self.pool.upgrade() else { return };
            pool.run_job();
            // A job ends before its thread is free, or the last user of the pool would end here.
            drop(pool);
            self.roster.lock().idle += 1;
        }
    }
}

impl Shared {
    /// Dials, with a panic of the dial function as an error.
    pub(crate) fn dial(&self) -> Result<Box<Member<Conn>>> {
        let context: &Context = self.lifetime();
        let dialed = catch_unwind(AssertUnwindSafe(|| (self.config().dial)(context)))
            .unwrap_or_else(|panic| Err(Error::panicked("the dial function", &*panic)))
            // A connection that failed before it is lent is a failed dial.
            .and_then(|conn| match conn.err() {
                None => Ok(conn),
                Some(error) => Err(error.clone()),
            });
        match dialed {
            Ok(mut conn) => {
                log::debug!(target: "redigo::pool", "dialled a connection");
                // Whatever the dial function has said to the server is to stay so.
                conn.session().settle();
                self.note_dial_error(None);
                let created = self.now_on_get();
                Ok(Box::new(Member { conn, created, returned: None }))
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

    /// One dial for whoever waits longest when it ends.
    fn run_job(self: &Arc<Self>) {
        let actions = match self.dial() {
            Ok(member) => {
                let now = self.now_on_put();
                self.core().job_done(member, now)
            }
            Err(error) => self.core().job_failed(&error),
        };
        self.carry_out(actions);
    }
}
