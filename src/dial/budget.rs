//! The time that one dial has.

use std::time::Duration;

use crate::context::Context;
use crate::error::TimeoutKind;

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
}

impl Budget {
    /// The caller's context, shortened by the dialer's own timeout.
    pub(crate) fn new(caller: &Context, timeout: Option<Duration>) -> Budget {
        let owner = match caller.deadline() {
            Some(_) => DeadlineOwner::Caller,
            None => DeadlineOwner::Dial,
        };
        Budget { ctx: caller.clone(), owner }.with_timeout(timeout)
    }

    /// A part of this budget that lasts no longer than the timeout.
    pub(crate) fn with_timeout(&self, timeout: Option<Duration>) -> Budget {
        let Some(timeout) = timeout else { return self.clone() };
        let ctx = self.ctx.with_timeout(timeout);
        let is_shorter = ctx.deadline() != self.ctx.deadline();
        Budget { owner: if is_shorter { DeadlineOwner::Dial } else { self.owner }, ctx }
    }

    pub(crate) fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// The kind of timeout to report: `Context` for a deadline of the caller.
    pub(crate) fn timeout_kind(&self, step: TimeoutKind) -> TimeoutKind {
        match self.owner {
            DeadlineOwner::Caller => TimeoutKind::Context,
            DeadlineOwner::Dial => step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Option<Duration> = Some(Duration::from_secs(1));
    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn the_shorter_deadline_names_the_timeout() {
        let kind = |budget: &Budget| budget.timeout_kind(TimeoutKind::Connect);
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
