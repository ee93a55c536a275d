//! The threads of a pool: a few that come when there is work and go when there is none.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::pool::core::JobCause;
use crate::pool::inner::PoolInner;
use crate::sync::{Mutex, Receiver, RecvTimeoutError, Sender, spawn, unbounded};

/// How long a thread stays without work.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// What a thread of the pool can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Dial(JobCause),
    Upkeep,
}

/// The threads of a pool. There is one for each job that runs, and none when there was none for a
/// while. The pool's core bounds how many jobs there are.
#[derive(Debug)]
pub(crate) struct Threads {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    counts: Arc<Mutex<ThreadCounts>>,
}

#[derive(Debug, Default)]
struct ThreadCounts {
    /// Jobs sent that no thread has taken yet.
    waiting_jobs: usize,
    /// Threads that wait for a job.
    idle: usize,
}

impl Threads {
    pub(crate) fn new() -> Threads {
        let (jobs, queue) = unbounded();
        Threads { jobs, queue, counts: Arc::default() }
    }

    /// Has a thread do this for the pool, starting one if none is free.
    ///
    /// # Errors
    /// When a thread is needed and the system has none.
    pub(crate) fn start(&self, pool: &Arc<PoolInner>, job: Job) -> Result<()> {
        let mut counts = self.counts.lock();
        if counts.waiting_jobs >= counts.idle {
            let worker = Worker {
                pool: Arc::downgrade(pool),
                queue: self.queue.clone(),
                counts: Arc::clone(&self.counts),
            };
            spawn("redigo-dial", move || worker.run())
                .map_err(|error| Error::io_context("starting a thread to dial", Arc::new(error)))?;
            // Counted for it, so that it is not missed before it gets going.
            counts.idle += 1;
        }
        counts.waiting_jobs += 1;
        drop(counts);
        // The receiver is a field of this very value, so it is there.
        let _ = self.jobs.send(job);
        Ok(())
    }
}

/// One thread. It keeps no pool alive: when the last handle goes, so do the channel and it.
struct Worker {
    pool: Weak<PoolInner>,
    queue: Receiver<Job>,
    counts: Arc<Mutex<ThreadCounts>>,
}

impl Worker {
    fn run(self) {
        loop {
            let job = match self.queue.recv_timeout(IDLE_LIMIT) {
                Ok(job) => job,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let mut counts = self.counts.lock();
                    // A job may have been sent at this very moment, counting on this thread.
                    if counts.waiting_jobs == 0 {
                        counts.idle -= 1;
                        return;
                    }
                    continue;
                }
            };
            {
                let mut counts = self.counts.lock();
                counts.waiting_jobs -= 1;
                counts.idle -= 1;
            }
            let Some(pool) = self.pool.upgrade() else { return };
            match job {
                Job::Dial(cause) => pool.run_dial(cause),
                Job::Upkeep => pool.run_upkeep(),
            }
            // A job ends before its thread is free, or the last user of the pool would end here.
            drop(pool);
            self.counts.lock().idle += 1;
        }
    }
}
