//! The threads of a pool: started when there is work, and ended when they are idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sync::{self, Mutex, Receiver, RecvTimeoutError, Sender, spawn, unbounded};

/// How long a thread waits for work before it ends.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

struct Job {
    run: Box<dyn FnOnce() + Send>,
    /// Whether its thread waits for more work.
    lingers: bool,
}

/// The threads of a pool, one for each running job. The pool's core limits the number of jobs.
pub(crate) struct Threads {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    counts: Arc<Mutex<ThreadCounts>>,
    /// The name of each thread.
    name: Box<str>,
}

#[derive(Debug, Default)]
struct ThreadCounts {
    /// Jobs that no thread has taken yet.
    waiting_jobs: usize,
    /// Threads that wait for a job.
    idle: usize,
}

impl Threads {
    /// The threads carry the name of the pool. Linux shows 15 bytes of a thread's name.
    pub(crate) fn new(pool: Option<&str>) -> Threads {
        let (jobs, queue) = unbounded();
        let name = pool.map_or("redigo-dial".into(), |pool| format!("dial-{pool}").into());
        Threads { jobs, queue, counts: Arc::default(), name }
    }

    /// Runs the job on an idle thread, or on a new one, which then waits for more work.
    ///
    /// # Errors
    /// If a new thread is needed and cannot be started. The job is dropped.
    pub(crate) fn start(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.run(Job { run: Box::new(job), lingers: true })
    }

    /// Like [`Threads::start`], but no thread lives longer because of this job. Otherwise regular
    /// upkeep would keep a thread of each pool alive forever.
    ///
    /// # Errors
    /// Those of [`Threads::start`].
    pub(crate) fn start_brief(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.run(Job { run: Box::new(job), lingers: false })
    }

    fn run(&self, job: Job) -> Result<()> {
        let mut counts = self.counts.lock();
        if counts.waiting_jobs >= counts.idle {
            let worker = Worker { queue: self.queue.clone(), counts: Arc::clone(&self.counts) };
            spawn(&self.name, move || worker.run())
                .map_err(|error| Error::io_context("starting a thread to dial", Arc::new(error)))?;
            // Counted here, so that the next job does not start another thread for nothing.
            counts.idle += 1;
        }
        counts.waiting_jobs += 1;
        drop(counts);
        // The receiver is a field of `self`, so sending cannot fail.
        let _ = self.jobs.send(job);
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
        // Until when the thread waits for work. The first job is on its way.
        let mut until: Option<Instant> = None;
        loop {
            let left =
                until.map_or(IDLE_LIMIT, |until| until.saturating_duration_since(sync::now()));
            let Job { run, lingers } = match self.queue.recv_timeout(left) {
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
            run();
            let now = sync::now();
            until = match until {
                _ if lingers => Some(now + IDLE_LIMIT),
                until => until.or(Some(now)),
            };
            self.counts.lock().idle += 1;
        }
    }
}
