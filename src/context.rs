//! A deadline and a way to cancel, handed down through calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::error::{Error, Result, TimeoutKind};
use crate::sync::{Mutex, now};

/// How long a call may take, and whether somebody has cancelled it.
///
/// A context only ever gets narrower: what is derived from it ends no later than it does.
/// Cloning is cheap and gives the same context.
///
/// ```
/// use std::time::Duration;
/// use redigo::Context;
///
/// let (ctx, cancel) = Context::background().with_timeout(Duration::from_secs(5)).with_cancel();
/// assert!(ctx.err().is_none());
/// cancel.cancel();
/// assert!(ctx.err().unwrap().is_canceled());
/// ```
#[derive(Clone, Default)]
pub struct Context {
    deadline: Option<Instant>,
    cancellation: Option<Arc<Cancellation>>,
}

impl Context {
    /// A context that never ends.
    #[doc(alias = "Background")]
    pub fn background() -> Context {
        Context::default()
    }

    /// A context that ends this long from now, or with this one if that is sooner.
    #[doc(alias = "WithTimeout")]
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Context {
        match now().checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            // Centuries away: no limit of its own.
            None => self.clone(),
        }
    }

    /// A context that ends at this instant, or with this one if that is sooner.
    #[doc(alias = "WithDeadline")]
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Context {
        let deadline = self.deadline.map_or(deadline, |own| own.min(deadline));
        Context { deadline: Some(deadline), cancellation: self.cancellation.clone() }
    }

    /// A context that the handle can cancel, from any thread.
    ///
    /// Cancelling this context cancels the new one too, not the other way round.
    #[doc(alias = "WithCancel")]
    pub fn with_cancel(&self) -> (Context, CancelHandle) {
        let child = Arc::new(Cancellation::new());
        if let Some(parent) = &self.cancellation {
            // Weak, so that a parent that lives on does not keep its finished children.
            let weak = Arc::downgrade(&child);
            let link = Cancellation::on_cancel(parent, move || {
                if let Some(child) = weak.upgrade() {
                    child.cancel();
                }
            });
            match link {
                Some(link) => child.lock_entries().parent = Some(link),
                None => child.cancel(),
            }
        }
        let context = Context { deadline: self.deadline, cancellation: Some(Arc::clone(&child)) };
        (context, CancelHandle(child))
    }

    /// When it ends, if it has a deadline.
    #[doc(alias = "Deadline")]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long until its deadline, zero when that has passed; `None` without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now()))
    }

    /// Why it has ended: [`Error::Canceled`] or a timeout of kind [`TimeoutKind::Context`];
    /// `None` while it goes on.
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<Error> {
        if self.is_canceled() {
            return Some(Error::Canceled);
        }
        let deadline = self.deadline?;
        (now() >= deadline).then_some(Error::Timeout(TimeoutKind::Context))
    }

    /// A channel that disconnects when the context is cancelled, for
    /// [`crossbeam_channel::select!`]. A deadline does not disconnect it, as that would take a
    /// thread: give `select!` a `default` of what [`Context::remaining`] says.
    ///
    /// ```
    /// use redigo::Context;
    ///
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// let waiter = std::thread::spawn(move || ctx.done().recv().is_err());
    /// cancel.cancel();
    /// assert!(waiter.join().unwrap());
    /// ```
    #[doc(alias = "Done")]
    pub fn done(&self) -> Receiver<()> {
        match &self.cancellation {
            Some(cancellation) => cancellation.done.clone(),
            None => crossbeam_channel::never(),
        }
    }

    /// True when it can end at all.
    pub(crate) fn is_bounded(&self) -> bool {
        self.deadline.is_some() || self.cancellation.is_some()
    }

    /// True when somebody may cancel it.
    pub(crate) fn is_cancelable(&self) -> bool {
        self.cancellation.is_some()
    }

    pub(crate) fn is_canceled(&self) -> bool {
        self.cancellation.as_ref().is_some_and(|cancellation| cancellation.is_canceled())
    }

    /// Runs `action` on the cancelling thread when the context is cancelled, unless the
    /// registration is dropped before.
    ///
    /// # Errors
    /// [`Error::Canceled`] when that has happened already; `action` does not run then.
    pub(crate) fn on_cancel(
        &self,
        action: impl FnOnce() + Send + 'static,
    ) -> Result<Option<Registration>> {
        match &self.cancellation {
            None => Ok(None),
            Some(cancellation) => {
                Cancellation::on_cancel(cancellation, action).map(Some).ok_or(Error::Canceled)
            }
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("remaining", &self.remaining())
            .field("canceled", &self.is_canceled())
            .finish()
    }
}

/// Cancels a context. Clones cancel the same one; dropping it cancels nothing.
#[derive(Clone)]
#[doc(alias = "CancelFunc")]
pub struct CancelHandle(Arc<Cancellation>);

impl CancelHandle {
    /// Ends the context and everything derived from it: calls that use it fail with
    /// [`Error::Canceled`], waiters wake up. More than once is the same as once.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("canceled", &self.0.is_canceled()).finish()
    }
}

type Action = Box<dyn FnOnce() + Send>;

/// What the contexts and handles of one cancellation share.
struct Cancellation {
    canceled: AtomicBool,
    entries: Mutex<Entries>,
    /// Disconnects when `entries.open` is dropped.
    done: Receiver<()>,
}

struct Entries {
    open: Option<Sender<()>>,
    actions: BTreeMap<u64, Action>,
    next: u64,
    /// Keeps the link to the parent's cancellation, and takes it off with us.
    parent: Option<Registration>,
}

impl Cancellation {
    fn new() -> Cancellation {
        let (open, done) = crossbeam_channel::bounded(0);
        let entries = Entries { open: Some(open), actions: BTreeMap::new(), next: 0, parent: None };
        Cancellation { canceled: AtomicBool::new(false), entries: Mutex::new(entries), done }
    }

    fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Acquire)
    }

    fn lock_entries(&self) -> impl std::ops::DerefMut<Target = Entries> + '_ {
        self.entries.lock()
    }

    fn cancel(&self) {
        let mut entries = self.entries.lock();
        self.canceled.store(true, Ordering::Release);
        entries.open = None;
        let actions = std::mem::take(&mut entries.actions);
        drop(entries);
        for action in actions.into_values() {
            action();
        }
    }

    fn on_cancel(this: &Arc<Self>, action: impl FnOnce() + Send + 'static) -> Option<Registration> {
        let mut entries = this.entries.lock();
        entries.open.as_ref()?;
        let key = entries.next;
        entries.next += 1;
        entries.actions.insert(key, Box::new(action));
        Some(Registration { cancellation: Arc::clone(this), key })
    }
}

/// An action that waits for a cancellation; dropping it takes the action off again.
pub(crate) struct Registration {
    cancellation: Arc<Cancellation>,
    key: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let action = self.cancellation.entries.lock().actions.remove(&self.key);
        // Its destructor runs here, without the lock.
        drop(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn the_nearest_deadline_wins() {
        let far = Instant::now() + Duration::from_secs(60);
        let ctx = Context::background().with_deadline(far);
        assert_eq!(ctx.with_timeout(Duration::from_secs(600)).deadline(), Some(far));
        assert!(ctx.with_timeout(Duration::from_secs(1)).deadline().unwrap() < far);
        assert_eq!(Context::background().with_timeout(Duration::MAX).deadline(), None);
    }

    #[test]
    fn a_passed_deadline_is_a_timeout_of_the_context() {
        let ctx = Context::background().with_deadline(Instant::now());
        assert_eq!(ctx.err().unwrap().timeout_kind(), Some(TimeoutKind::Context));
        assert_eq!(ctx.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn cancelling_reaches_children_but_not_parents() {
        let (parent, cancel_parent) = Context::background().with_cancel();
        let (child, cancel_child) = parent.with_cancel();
        let (sibling, _keep) = parent.with_timeout(Duration::from_secs(60)).with_cancel();
        cancel_child.cancel();
        assert!(child.err().unwrap().is_canceled());
        assert!(parent.err().is_none() && sibling.err().is_none());
        cancel_parent.cancel();
        assert!(parent.is_canceled() && sibling.is_canceled());
        assert!(parent.with_cancel().0.is_canceled(), "born cancelled");
        assert!(sibling.done().recv().is_err());
    }

    #[test]
    fn an_action_runs_once_or_never() {
        let (ctx, cancel) = Context::background().with_cancel();
        let runs = Arc::new(AtomicUsize::new(0));
        let count = |runs: &Arc<AtomicUsize>| {
            let runs = Arc::clone(runs);
            move || {
                runs.fetch_add(1, Ordering::SeqCst);
            }
        };
        let kept = ctx.on_cancel(count(&runs)).unwrap();
        drop(ctx.on_cancel(count(&runs)).unwrap());
        cancel.cancel();
        cancel.cancel();
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        drop(kept);
        assert!(ctx.on_cancel(count(&runs)).is_err());
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn finished_children_leave_nothing_behind() {
        let (parent, _cancel) = Context::background().with_cancel();
        for _ in 0..10 {
            drop(parent.with_cancel());
        }
        assert!(parent.cancellation.unwrap().lock_entries().actions.is_empty());
    }
}
