//! Locks, threads and time for the model checker. The checker decides which thread runs, and time
//! passes only when a model calls [`advance`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use crossbeam_channel::RecvTimeoutError;
pub(crate) use shuttle::thread_local;

/// Defines statics that are created anew in each schedule.
macro_rules! global {
    ($(static $name:ident: $type:ty = $value:expr;)+) => {
        shuttle::lazy_static! { $(static ref $name: $type = $value;)+ }
    };
}
pub(crate) use global;

/// The checker's mutex with the lock library's interface.
#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // The lock library has no poisoning.
        MutexGuard(Some(self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())))
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("locked")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("locked")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(Arc<shuttle::sync::Condvar>);

pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().expect("locked");
        guard.0 = Some(self.0.wait(inner).unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    pub(crate) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        // Registered first, because time can pass from here on.
        let sleeper = Sleeper::new(deadline, &self.0);
        if now() < deadline {
            self.wait(guard);
        }
        drop(sleeper);
        WaitTimeoutResult(now() >= deadline)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// The time of one model. All threads of a model run on one system thread.
struct Time {
    now: Instant,
    sleepers: Vec<(u64, Instant, Arc<shuttle::sync::Condvar>)>,
    next: u64,
}

std::thread_local! {
    static TIME: RefCell<Time> =
        RefCell::new(Time { now: Instant::now(), sleepers: Vec::new(), next: 0 });
}

/// Returns the model's time.
pub(crate) fn now() -> Instant {
    TIME.with_borrow(|time| time.now)
}

/// Lets time pass, and returns when all sleepers whose deadline has passed are awake.
pub(crate) fn advance(by: Duration) {
    TIME.with_borrow_mut(|time| time.now += by);
    loop {
        let due: Vec<_> = TIME.with_borrow(|time| {
            let due = time.sleepers.iter().filter(|(_, deadline, _)| *deadline <= time.now);
            due.map(|(_, _, condvar)| Arc::clone(condvar)).collect()
        });
        if due.is_empty() {
            return;
        }
        due.iter().for_each(|condvar| condvar.notify_all());
        shuttle::thread::yield_now();
    }
}

/// Removes the sleepers of the model before.
pub(crate) fn reset() {
    TIME.with_borrow_mut(|time| time.sleepers.clear());
}

/// A registered sleeper, until it is dropped.
struct Sleeper(u64);

impl Sleeper {
    fn new(deadline: Instant, condvar: &Arc<shuttle::sync::Condvar>) -> Sleeper {
        TIME.with_borrow_mut(|time| {
            time.next += 1;
            time.sleepers.push((time.next, deadline, Arc::clone(condvar)));
            Sleeper(time.next)
        })
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        TIME.with_borrow_mut(|time| time.sleepers.retain(|(number, ..)| *number != self.0));
    }
}

/// Returns a fixed seed, so that a failing schedule can be replayed.
pub(crate) fn random_seed() -> u64 {
    1
}

pub(crate) fn spawn(_name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    shuttle::thread::spawn(work);
    Ok(())
}

/// A channel with one sender and any number of receivers.
pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Queue { items: VecDeque::new(), is_open: true };
    let channel = Arc::new(Channel { queue: Mutex::new(queue), changed: Condvar::new() });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Channel<T>>);

#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

#[derive(Debug)]
struct Channel<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
}

struct Queue<T> {
    items: VecDeque<T>,
    is_open: bool,
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, item: T) -> Result<(), crossbeam_channel::SendError<T>> {
        self.0.queue.lock().items.push_back(item);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.queue.lock().is_open = false;
        self.0.changed.notify_all();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let deadline = now() + timeout;
        let mut queue = self.0.queue.lock();
        loop {
            if let Some(item) = queue.items.pop_front() {
                return Ok(item);
            }
            if !queue.is_open {
                return Err(RecvTimeoutError::Disconnected);
            }
            if self.0.changed.wait_until(&mut queue, deadline).timed_out() {
                return queue.items.pop_front().ok_or(RecvTimeoutError::Timeout);
            }
        }
    }
}
