//! What becomes of the options: core_settings for the core, the rest for the shell, or an error.

use std::sync::Arc;
use std::time::Duration;

use super::{PoolBuilder, Test};
use crate::error::{Error, Result};
use crate::pool::clock::Clock;
use crate::pool::core::CoreSettings;
use crate::pool::core::backoff::Backoff;
use crate::pool::hooks::Hooks;
use crate::pool::meter::Meter;

/// How many connections are kept when neither `max_idle` nor `max_active` is said.
const DEFAULT_MAX_IDLE: usize = 32;
/// How long all attempts of a dial may take when there are several and nothing is said.
const DEFAULT_BUDGET: Duration = Duration::from_secs(30);

/// The options after they have been checked, as far as the core does not have them.
pub(crate) struct Settings {
    /// The option that says what happens at `max_active`, and needs one.
    pub(crate) needs_limit: Option<String>,
    pub(crate) wait_timeout: Option<Duration>,
    pub(crate) peek_after: Option<Duration>,
    pub(crate) tests: Vec<Test>,
    /// Whether a connection is looked at before it is lent at all.
    pub(crate) vets: bool,
    pub(crate) retire_on: Arc<[String]>,
    pub(crate) cleanup_timeout: Duration,
    pub(crate) max_conn_lifetime: Option<Duration>,
    pub(crate) max_conn_lifetime_jitter: Duration,
    pub(crate) dial_retries: u32,
    pub(crate) dial_budget: Option<Duration>,
    pub(crate) backoff: Backoff,
    pub(crate) tracks: bool,
    pub(crate) meter: Meter,
    pub(crate) hooks: Hooks,
    pub(crate) clock: Clock,
    /// Whether the core_settings need the time of a checkout, and of a return.
    pub(crate) clock_on_get: bool,
    pub(crate) clock_on_put: bool,
}

impl PoolBuilder {
    pub(super) fn checked(self) -> Result<(CoreSettings, Settings)> {
        self.check_waiting()?;
        self.check_times()?;
        self.check_dials()?;
        self.check_watching()?;
        let core_settings = self.core_settings();
        let needs_limit = self.needs_limit();
        check_sizes(
            &core_settings,
            needs_limit.as_deref(),
            core_settings.max_active,
            core_settings.max_idle,
        )?;

        let ages = core_settings.idle_timeout.is_some() || self.max_conn_lifetime.is_some();
        let peeks = self.peek_after.is_some();
        let mut tests = self.tests;
        tests.extend(self.tests_with_context);
        let settings = Settings {
            needs_limit,
            wait_timeout: self.wait_timeout,
            peek_after: self.peek_after,
            vets: peeks || !tests.is_empty() || self.hooks.borrow.is_some(),
            clock_on_get: ages || peeks || core_settings.tracks,
            clock_on_put: ages
                || peeks
                || core_settings.tracks
                || core_settings.keepalive.is_some()
                || self.hooks.borrow.is_some()
                || !tests.is_empty(),
            tests,
            retire_on: self.retire_on,
            cleanup_timeout: self.cleanup_timeout,
            max_conn_lifetime: self.max_conn_lifetime,
            max_conn_lifetime_jitter: self.max_conn_lifetime_jitter,
            dial_retries: self.dial_retries,
            dial_budget: self
                .dial_budget
                .or_else(|| (self.dial_retries > 0).then_some(DEFAULT_BUDGET)),
            backoff: self.backoff,
            tracks: core_settings.tracks,
            meter: self.meter,
            hooks: self.hooks,
            clock: self.clock,
        };
        Ok((core_settings, settings))
    }

    fn core_settings(&self) -> CoreSettings {
        CoreSettings {
            max_idle: self.max_idle.or(self.max_active).unwrap_or(DEFAULT_MAX_IDLE),
            max_active: self.max_active.unwrap_or(usize::MAX),
            min_idle: self.min_idle,
            wait: self.waits(),
            max_waiters: self.max_waiters.unwrap_or(usize::MAX),
            fifo: self.fifo,
            idle_timeout: self.idle_timeout,
            keepalive: self.keepalive,
            leak_threshold: self.leak_threshold,
            reclaims: self.reclaim_leaked,
            refuses_deadlock: self.detect_deadlock,
            max_jobs: self.max_concurrent_dials,
            breaker: self.breaker,
            backoff: self.backoff,
            tracks: self.track_borrows
                || self.leak_threshold.is_some()
                || self.detect_deadlock
                || self.meter.is_on(),
            upkeep: self.min_idle > 0
                || self.keepalive.is_some()
                || self.leak_threshold.is_some()
                || self.breaker.is_some()
                || self.background_prune,
        }
    }

    fn waits(&self) -> bool {
        self.wait.unwrap_or(self.wait_timeout.is_some())
    }

    fn check_waiting(&self) -> Result<()> {
        if self.wait == Some(false) && self.wait_timeout.is_some() {
            return invalid("wait_timeout contradicts wait(false)");
        }
        match self.needs_limit() {
            Some(option) if !self.waits() => invalid(format!(
                "{option} without wait(true) or a wait_timeout: nobody would ever wait"
            )),
            _ => Ok(()),
        }
    }

    fn needs_limit(&self) -> Option<String> {
        if let Some(waiters) = self.max_waiters {
            return Some(format!("max_waiters({waiters})"));
        }
        let flags = [(self.detect_deadlock, "detect_deadlock"), (self.wait == Some(true), "wait")];
        flags.iter().find(|(set, _)| *set).map(|(_, option)| format!("{option}(true)"))
    }

    fn check_times(&self) -> Result<()> {
        if self.cleanup_timeout.is_zero() {
            return invalid("cleanup_timeout is zero: no connection could be cleaned");
        }
        let jitter = self.max_conn_lifetime_jitter;
        match self.max_conn_lifetime {
            None if !jitter.is_zero() => {
                return invalid("max_conn_lifetime_jitter without max_conn_lifetime");
            }
            Some(lifetime) if jitter > lifetime => {
                return invalid(format!(
                    "max_conn_lifetime_jitter({jitter:?}) is above max_conn_lifetime({lifetime:?})"
                ));
            }
            _ => {}
        }
        let ends =
            [("idle_timeout", self.idle_timeout), ("max_conn_lifetime", self.max_conn_lifetime)];
        let begins = [("keepalive", self.keepalive), ("peek_after", self.peek_after)];
        for (what, begin) in begins {
            for (limit, end) in ends {
                let (Some(begin), Some(end)) = (begin, end) else { continue };
                if begin >= end {
                    return invalid(format!(
                        "{what}({begin:?}) is not below {limit}({end:?}): no connection is idle for \
                         that long"
                    ));
                }
            }
        }
        if self.background_prune && ends.iter().all(|(_, end)| end.is_none()) {
            return invalid("background_prune without idle_timeout or max_conn_lifetime");
        }
        Ok(())
    }

    fn check_dials(&self) -> Result<()> {
        if self.max_concurrent_dials == 0 {
            return invalid("max_concurrent_dials is zero: nobody could dial");
        }
        let Backoff { first, longest } = self.backoff;
        if first.is_zero() {
            return invalid("dial_backoff begins with a pause of zero");
        }
        if first > longest {
            return invalid(format!(
                "dial_backoff begins with {first:?}, which is above its longest pause, {longest:?}"
            ));
        }
        match self.dial_budget {
            Some(budget) if self.dial_retries > 0 && budget <= first / 2 => invalid(format!(
                "dial_retries({}) never come: dial_budget({budget:?}) is over before the first \
                 pause, {first:?}",
                self.dial_retries
            )),
            _ => Ok(()),
        }
    }

    fn check_watching(&self) -> Result<()> {
        if self.reclaim_leaked && self.leak_threshold.is_none() {
            return invalid("reclaim_leaked(true) without leak_threshold");
        }
        Ok(())
    }
}

/// Whether these sizes go together with what else was said.
///
/// # Errors
/// [`Error::InvalidConfig`], which names both.
pub(crate) fn check_sizes(
    core_settings: &CoreSettings,
    needs_limit: Option<&str>,
    max_active: usize,
    max_idle: usize,
) -> Result<()> {
    let min_idle = core_settings.min_idle;
    if min_idle > max_active {
        return invalid(format!("min_idle({min_idle}) is above max_active({max_active})"));
    }
    if min_idle > max_idle {
        return invalid(format!("min_idle({min_idle}) is above max_idle({max_idle})"));
    }
    match needs_limit {
        Some(option) if max_active == usize::MAX => {
            invalid(format!("{option} without max_active: nobody would ever wait"))
        }
        _ => Ok(()),
    }
}

fn invalid<T>(why: impl Into<std::borrow::Cow<'static, str>>) -> Result<T> {
    Err(Error::InvalidConfig(why.into()))
}
