//! The time that one dial has.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, TimeoutError, TimeoutKind};
use crate::sync::now;

/// Whose deadline ends a dial first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadlineOwner {
    /// The context of the caller.
    Caller,
    /// A timeout of the dialer.
    Dial,
}

/// The context of one dial, and the owner of its deadline.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    ctx: Context,
    owner: DeadlineOwner,
    start: Instant,
}

impl Budget {
    /// The caller's context, shortened by the dialer's own timeout.
    pub(crate) fn new(caller: &Context, timeout: Option<Duration>) -> Budget {
        let owner = match caller.deadline() {
            Some(_) => DeadlineOwner::Caller,
            None => DeadlineOwner::Dial,
        };
        Budget { ctx: caller.clone(), owner, start: now() }.with_timeout(timeout)
    }

    /// A part of this budget that lasts no longer than the timeout.
    pub(crate) fn with_timeout(&self, timeout: Option<Duration>) -> Budget {
        let Some(timeout) = timeout else { return self.clone() };
        let ctx = self.ctx.with_timeout(timeout);
        if ctx.deadline() == self.ctx.deadline() {
            return self.clone();
        }
        Budget { ctx, owner: DeadlineOwner::Dial, start: now() }
    }

    pub(crate) fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// Returns the error of a step that was not done by the deadline. Its kind is `Context` if
    /// the caller owns the deadline.
    pub(crate) fn expired(&self, step: TimeoutKind, error: TimeoutError) -> Error {
        let error = error.with_kind(step).after(now().saturating_duration_since(self.start));
        Error::Timeout(match self.owner {
            DeadlineOwner::Caller => error.with_kind(TimeoutKind::Context),
            DeadlineOwner::Dial => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_secs(1));
    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn the_shorter_deadline_names_the_timeout() {
        let kind = |budget: &Budget| {
            let error = budget.expired(TimeoutKind::Connect, TimeoutKind::Context.into());
            error.timeout_kind().unwrap()
        };
        let endless = Context::background();
        assert_eq!(kind(&Budget::new(&endless, SHORT)), TimeoutKind::Connect);
        assert_eq!(kind(&Budget::new(&endless, None)), TimeoutKind::Connect);

        let caller = endless.with_timeout(Duration::from_secs(10));
        assert_eq!(kind(&Budget::new(&caller, SHORT)), TimeoutKind::Connect);
        let budget = Budget::new(&caller, LONG);
        assert_eq!(kind(&budget), TimeoutKind::Context);
        assert_eq!(kind(&budget.with_timeout(LONG)), TimeoutKind::Context);
        assert_eq!(kind(&budget.with_timeout(SHORT)), TimeoutKind::Connect);
    }
}
