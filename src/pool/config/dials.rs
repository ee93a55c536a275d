//! The options about dialling.

use std::time::Duration;

use super::{PoolBuilder, unless_never};
use crate::pool::backoff::Backoff;

impl PoolBuilder {
    /// How many dials may run at a time on dial threads, for callers that have a deadline. The
    /// threads are started when they are needed and end after some seconds without work. A pool
    /// whose callers have no deadline has no thread at all: they dial themselves.
    pub fn max_concurrent_dials(mut self, dials: usize) -> PoolBuilder {
        self.max_concurrent_dials = dials;
        self
    }

    /// How often a dial that failed is tried again before it counts as failed, after the pauses of
    /// [`dial_backoff`](PoolBuilder::dial_backoff) and within
    /// [`dial_budget`](PoolBuilder::dial_budget). A wrong password or option is not tried again.
    #[doc(alias = "DialerRetries")]
    pub fn dial_retries(mut self, retries: u32) -> PoolBuilder {
        self.dial_retries = retries;
        self
    }

    /// The pauses after failed dials: the first, doubled each time up to the longest, each shortened
    /// by a random part of up to a half. They are made between the attempts of one dial, between
    /// attempts to keep [`min_idle`](PoolBuilder::min_idle), and between those of an open
    /// [`breaker`](PoolBuilder::breaker).
    #[doc(alias = "DialerRetryBackoff")]
    pub fn dial_backoff(mut self, first: Duration, longest: Duration) -> PoolBuilder {
        self.backoff = Backoff { first, longest };
        self
    }

    /// The time for all attempts of one dial, their pauses included; it ends the context of the dial
    /// function. 30 s when there are [`dial_retries`](PoolBuilder::dial_retries), else no limit but
    /// the dial function's own.
    pub fn dial_budget(mut self, budget: impl Into<Option<Duration>>) -> PoolBuilder {
        self.dial_budget = unless_never(budget);
        self
    }

    /// After so many dials in a row have failed, the pool makes no more on demand: who finds nothing
    /// idle gets [`Error::BreakerOpen`](crate::Error::BreakerOpen) at once, with the last dial's
    /// error and its age. One dial is tried in the background, after the pauses of
    /// [`dial_backoff`](PoolBuilder::dial_backoff); the connection that it makes is kept, and all is
    /// as before. Any dial that succeeds does that. Needs the upkeep thread.
    pub fn breaker(mut self, failures: u32) -> PoolBuilder {
        self.breaker = Some(failures).filter(|&failures| failures > 0);
        self
    }
}
