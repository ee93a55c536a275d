//! How long the parts of one call may take.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, TimeoutKind};

/// The end of something, and what to call it when it has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadline {
    pub(crate) at: Option<Instant>,
    /// Stands in for the kind that the wire gives (read, write).
    kind: Option<TimeoutKind>,
}

impl Deadline {
    /// This long from now; a limit too far away to be told is none. Reads no clock without one.
    pub(crate) fn after(timeout: Option<Duration>) -> Deadline {
        let at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Deadline { at, kind: None }
    }

    pub(crate) fn of(ctx: &Context) -> Deadline {
        Deadline { at: ctx.deadline(), kind: Some(TimeoutKind::Context) }
    }

    /// Whichever comes first.
    pub(crate) fn or_sooner(self, other: Deadline) -> Deadline {
        match (self.at, other.at) {
            (Some(own), Some(others)) if others < own => other,
            (None, Some(_)) => other,
            _ => self,
        }
    }

    /// The error under the right name, when this limit is what passed.
    pub(crate) fn name(&self, error: Error) -> Error {
        match (error, self.kind) {
            (Error::Timeout(_), Some(kind)) => Error::Timeout(kind),
            (error, _) => error,
        }
    }
}

/// The timeouts of one call: its own for each direction, and one over everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) read: Option<Duration>,
    pub(crate) write: Option<Duration>,
    pub(crate) overall: Deadline,
}

impl Timeouts {
    /// The limit of a read that begins now.
    pub(crate) fn for_read(&self) -> Deadline {
        Deadline::after(self.read).or_sooner(self.overall)
    }

    /// The limit of a write that begins now.
    pub(crate) fn for_write(&self) -> Deadline {
        Deadline::after(self.write).or_sooner(self.overall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sooner_limit_gives_its_name() {
        let ctx = Context::background().with_timeout(Duration::from_secs(1));
        let read = Deadline::after(Some(Duration::from_secs(60)));
        let late = Error::Timeout(TimeoutKind::Read);
        let named = |limit: Deadline| limit.name(late.clone()).timeout_kind().unwrap();
        assert_eq!(named(read.or_sooner(Deadline::of(&ctx))), TimeoutKind::Context);
        assert_eq!(named(Deadline::of(&ctx).or_sooner(read)), TimeoutKind::Context);
        let short = Deadline::after(Some(Duration::from_millis(1)));
        assert_eq!(named(short.or_sooner(Deadline::of(&ctx))), TimeoutKind::Read);
        assert_eq!(named(Deadline::default().or_sooner(short)), TimeoutKind::Read);
        assert!(Deadline::after(Some(Duration::MAX)).at.is_none());
    }
}
