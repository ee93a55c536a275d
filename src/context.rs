//! A deadline and a way to cancel calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::error::{Error, Result, TimeoutKind};
use crate::sync::{Mutex, now};

/// A deadline and a cancellation for calls, dials and checkouts.
///
/// A context derived from another one never ends later than the original. Cloning is cheap, and
/// the clone is the same context.
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
    /// Returns a context that never ends.
    ///
    /// ```
    /// let ctx = redigo::Context::background();
    /// assert!(ctx.deadline().is_none() && ctx.err().is_none());
    /// ```
    #[doc(alias = "Background")]
    pub fn background() -> Context {
        Context::default()
    }

    /// Returns a context that ends after this time, or with this context if that is sooner.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Context, Dialer, testing::MemoryStream};
    ///
    /// let ctx = Context::background().with_timeout(Duration::from_millis(10));
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// assert!(conn.call_context(&ctx, "PING", ()).unwrap_err().is_timeout());
    /// ```
    #[doc(alias = "WithTimeout")]
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Context {
        match now().checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            // The deadline is centuries away, so it is no limit.
            None => self.clone(),
        }
    }

    /// Returns a context that ends at this instant, or with this context if that is sooner.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use redigo::Context;
    ///
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let ctx = Context::background().with_deadline(deadline);
    /// assert_eq!(ctx.deadline(), Some(deadline));
    /// // A later deadline changes nothing.
    /// let ctx = ctx.with_deadline(deadline + Duration::from_secs(60));
    /// assert_eq!(ctx.deadline(), Some(deadline));
    /// ```
    #[doc(alias = "WithDeadline")]
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Context {
        let deadline = self.deadline.map_or(deadline, |own| own.min(deadline));
        Context { deadline: Some(deadline), cancellation: self.cancellation.clone() }
    }

    /// Returns a context and a handle that cancels it, from any thread.
    ///
    /// Canceling the original context cancels the new one too, but not the reverse.
    ///
    /// ```
    /// use redigo::Context;
    ///
    /// let (request, _cancel_request) = Context::background().with_cancel();
    /// let (part, cancel_part) = request.with_cancel();
    /// cancel_part.cancel();
    /// assert!(part.err().unwrap().is_canceled());
    /// assert!(request.err().is_none());
    /// ```
    #[doc(alias = "WithCancel")]
    pub fn with_cancel(&self) -> (Context, CancelHandle) {
        let child = Arc::new(Cancellation::new());
        if let Some(parent) = &self.cancellation {
            // A weak reference, so that a long-lived parent does not keep finished children.
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

    /// Returns the deadline, or `None` if there is none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::Context;
    ///
    /// assert!(Context::background().deadline().is_none());
    /// assert!(Context::background().with_timeout(Duration::from_secs(1)).deadline().is_some());
    /// ```
    #[doc(alias = "Deadline")]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the time until the deadline: zero if it has passed, `None` if there is none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::Context;
    ///
    /// let ctx = Context::background().with_timeout(Duration::from_secs(60));
    /// assert!(ctx.remaining().unwrap() <= Duration::from_secs(60));
    /// assert_eq!(Context::background().remaining(), None);
    /// ```
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now()))
    }

    /// Returns why the context has ended: [`Error::Canceled`] or a timeout of kind
    /// [`TimeoutKind::Context`]. Returns `None` if it has not ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Context, TimeoutKind};
    ///
    /// let ctx = Context::background().with_timeout(Duration::ZERO);
    /// assert_eq!(ctx.err().unwrap().timeout_kind(), Some(TimeoutKind::Context));
    /// ```
    #[doc(alias = "Err")]
    pub fn err(&self) -> Option<Error> {
        if self.is_canceled() {
            return Some(Error::Canceled);
        }
        let deadline = self.deadline?;
        (now() >= deadline).then(|| TimeoutKind::Context.into())
    }

    /// Returns a channel that disconnects when the context is canceled, for
    /// [`crossbeam_channel::select!`].
    ///
    /// A deadline does not disconnect the channel, because that would need a thread. Give `select!`
    /// a `default` with the duration from [`Context::remaining`].
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

    /// Returns true if the context can end.
    pub(crate) fn is_bounded(&self) -> bool {
        self.deadline.is_some() || self.cancellation.is_some()
    }

    /// Returns true if the context can be canceled.
    pub(crate) fn is_cancelable(&self) -> bool {
        self.cancellation.is_some()
    }

    pub(crate) fn is_canceled(&self) -> bool {
        self.cancellation.as_ref().is_some_and(|cancellation| cancellation.is_canceled())
    }

    /// Registers an action that runs on the canceling thread when the context is canceled.
    /// Dropping the registration removes the action.
    ///
    /// # Errors
    /// [`Error::Canceled`] if the context is already canceled. Then `action` does not run.
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

/// Cancels a context. Clones cancel the same context. Dropping the handle cancels nothing.
#[derive(Clone)]
#[doc(alias = "CancelFunc")]
pub struct CancelHandle(Arc<Cancellation>);

impl CancelHandle {
    /// Ends the context and every context derived from it. Calls that use them fail with
    /// [`Error::Canceled`], and waiters wake up. Further calls have no effect.
    ///
    /// ```
    /// use redigo::{Context, Dialer, testing::MemoryStream};
    ///
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::silent());
    /// let waiting = std::thread::spawn(move || conn.call_context(&ctx, "PING", ()));
    /// cancel.cancel();
    /// assert!(waiting.join().unwrap().unwrap_err().is_canceled());
    /// ```
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

/// The state shared by the contexts and handles of one cancellation.
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
    /// The registration with the parent, removed together with this cancellation.
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

/// A registered action. Dropping it removes the action.
pub(crate) struct Registration {
    cancellation: Arc<Cancellation>,
    key: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let action = self.cancellation.entries.lock().actions.remove(&self.key);
        // The action's destructor runs without the lock.
        drop(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn the_soonest_deadline_applies() {
        let far = Instant::now() + Duration::from_secs(60);
        let ctx = Context::background().with_deadline(far);
        assert_eq!(ctx.with_timeout(Duration::from_secs(600)).deadline(), Some(far));
        assert!(ctx.with_timeout(Duration::from_secs(1)).deadline().unwrap() < far);
        assert_eq!(Context::background().with_timeout(Duration::MAX).deadline(), None);
    }

    #[test]
    fn a_passed_deadline_is_a_context_timeout() {
        let ctx = Context::background().with_deadline(Instant::now());
        assert_eq!(ctx.err().unwrap().timeout_kind(), Some(TimeoutKind::Context));
        assert_eq!(ctx.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn canceling_reaches_children_but_not_parents() {
        let (parent, cancel_parent) = Context::background().with_cancel();
        let (child, cancel_child) = parent.with_cancel();
        let (sibling, _keep) = parent.with_timeout(Duration::from_secs(60)).with_cancel();
        cancel_child.cancel();
        assert!(child.err().unwrap().is_canceled());
        assert!(parent.err().is_none() && sibling.err().is_none());
        cancel_parent.cancel();
        assert!(parent.is_canceled() && sibling.is_canceled());
        assert!(parent.with_cancel().0.is_canceled(), "a child of a canceled context is canceled");
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
    fn finished_children_leave_no_registration() {
        let (parent, _cancel) = Context::background().with_cancel();
        for _ in 0..10 {
            drop(parent.with_cancel());
        }
        assert!(parent.cancellation.unwrap().lock_entries().actions.is_empty());
    }
}
