//! The threads of a pool: started when there is work, and ended when they are idle.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::{Mutex, Receiver, RecvTimeoutError, Sender, spawn, unbounded};

/// How long a thread waits for work before it ends.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// The threads of a pool, one for each running job. The pool's core limits the number of jobs.
pub(crate) struct Threads {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    counts: Arc<Mutex<ThreadCounts>>,
}

#[derive(Debug, Default)]
struct ThreadCounts {
    /// Jobs that no thread has taken yet.
    waiting_jobs: usize,
    /// Threads that wait for a job.
    idle: usize,
}

impl Threads {
    pub(crate) fn new() -> Threads {
        let (jobs, queue) = unbounded();
        Threads { jobs, queue, counts: Arc::default() }
    }

    /// Runs the job on an idle thread, or on a new one. The job must not keep the pool alive while
    /// it waits.
    ///
    /// # Errors
    /// If a new thread is needed and cannot be started.
    pub(crate) fn start(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut counts = self.counts.lock();
        if counts.waiting_jobs >= counts.idle {
            let worker = Worker { queue: self.queue.clone(), counts: Arc::clone(&self.counts) };
            spawn("redigo-dial", move || worker.run())
                .map_err(|error| Error::io_context("starting a thread to dial", Arc::new(error)))?;
            // Counted here, so that the next job does not start another thread for nothing.
            counts.idle += 1;
        }
        counts.waiting_jobs += 1;
        drop(counts);
        // The receiver is a field of `self`, so sending cannot fail.
        let _ = self.jobs.send(Box::new(job));
        Ok(())
    }
}

/// One thread. It ends when the pool is dropped, and with it the channel.
struct Worker {
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
                    // A job may have been sent just now, for this thread.
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
            job();
            self.counts.lock().idle += 1;
        }
    }
}
