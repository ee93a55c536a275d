//! Checks the options, and splits them between the core and the pool around it.

use std::time::Duration;

use super::PoolBuilder;
use super::monitoring::Monitoring;
use crate::error::{Error, Result};
use crate::pool::core::backoff::Backoff;
use crate::pool::core::types::CoreSettings;
use crate::pool::settings::{Settings, Test};

/// The idle connections kept if neither `max_idle` nor `max_active` is set.
const DEFAULT_MAX_IDLE: usize = 32;
/// The most connections that are cleaned at the same time, each on its own thread.
const MAX_CLEANERS: usize = 16;
/// The time for all attempts of one dial, if `dial_retries` is set and `dial_budget` is not.
const DEFAULT_DIAL_BUDGET: Duration = Duration::from_secs(30);

impl PoolBuilder {
    /// Checks the options and returns them as the core and the pool use them.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for options that contradict each other. It names them.
    pub(crate) fn checked(self) -> Result<(CoreSettings, Settings)> {
        self.check_waiting()?;
        self.check_times()?;
        self.check_dialing()?;
        self.check_monitoring()?;
        let core_settings = self.core_settings();
        let needs_limit = self.needs_limit();
        check_sizes(
            &core_settings,
            needs_limit.as_deref(),
            core_settings.max_active,
            core_settings.max_idle,
        )?;

        let PoolBuilder { sizing, lifetime, health, dialing, monitoring, clock, .. } = self;
        let expires = lifetime.idle_timeout.is_some() || lifetime.max_conn_lifetime.is_some();
        let peeks = health.peek_after.is_some() || health.peek_always;
        let tests: Vec<Test> =
            health.test_on_borrow.into_iter().chain(health.test_on_borrow_context).collect();
        let validates = peeks || !tests.is_empty() || monitoring.hooks.borrow.is_some();
        let tracks = monitoring.tracks();
        let retries = dialing.dial_retries > 0;
        let settings = Settings {
            name: monitoring.name.or(monitoring.metrics_name),
            needs_limit,
            wait_timeout: sizing.wait_timeout,
            peek_after: health.peek_after,
            peek_always: health.peek_always,
            tests,
            validates,
            retire_on: health.retire_on,
            cleanup_timeout: health.cleanup_timeout,
            max_conn_lifetime: lifetime.max_conn_lifetime,
            max_conn_lifetime_jitter: lifetime.max_conn_lifetime_jitter,
            dial_retries: dialing.dial_retries,
            dial_budget: dialing.dial_budget.or(retries.then_some(DEFAULT_DIAL_BUDGET)),
            backoff: dialing.dial_backoff,
            track_borrows: tracks,
            meter: monitoring.meter,
            hooks: monitoring.hooks,
            clock,
            clock_on_check_out: expires || peeks || tracks,
            clock_on_check_in: expires || validates || tracks || health.keepalive.is_some(),
        };
        Ok((core_settings, settings))
    }

    /// Returns true if an option depends on whether dials succeed.
    pub(crate) fn needs_proof(&self) -> bool {
        self.dialing.breaker.is_some()
            || self.dialing.dial_retries > 0
            || self.sizing.min_idle > 0
            || self.health.keepalive.is_some()
    }

    fn core_settings(&self) -> CoreSettings {
        let PoolBuilder { sizing, lifetime, health, dialing, monitoring, .. } = self;
        CoreSettings {
            max_idle: sizing.max_idle.or(sizing.max_active).unwrap_or(DEFAULT_MAX_IDLE),
            max_active: sizing.max_active,
            min_idle: sizing.min_idle,
            wait: sizing.waits(),
            max_waiters: sizing.max_waiters,
            fifo: sizing.fifo,
            idle_timeout: lifetime.idle_timeout,
            keepalive: health.keepalive,
            leak_threshold: monitoring.leak_threshold,
            reclaim_leaked: monitoring.reclaim_leaked,
            detect_deadlock: monitoring.detect_deadlock,
            max_concurrent_dials: dialing.max_concurrent_dials,
            max_cleaners: MAX_CLEANERS,
            breaker: dialing.breaker,
            backoff: dialing.dial_backoff,
            track_borrows: monitoring.tracks(),
            has_timer: sizing.min_idle > 0
                || health.keepalive.is_some()
                || monitoring.leak_threshold.is_some()
                || dialing.breaker.is_some()
                || lifetime.background_prune,
        }
    }

    fn check_waiting(&self) -> Result<()> {
        let sizing = &self.sizing;
        if sizing.wait == Some(false) && sizing.wait_timeout.is_some() {
            return invalid("wait_timeout contradicts wait(false)");
        }
        match self.needs_limit() {
            Some(option) if !sizing.waits() => invalid(format!(
                "{option} without wait(true) or a wait_timeout: no caller would ever wait"
            )),
            _ => Ok(()),
        }
    }

    /// Returns the option, as written in the program, that only makes sense with `max_active`.
    fn needs_limit(&self) -> Option<String> {
        if let Some(waiters) = self.sizing.max_waiters {
            return Some(format!("max_waiters({waiters})"));
        }
        let flags = [
            (self.monitoring.detect_deadlock, "detect_deadlock"),
            (self.sizing.wait == Some(true), "wait"),
        ];
        flags.iter().find(|(set, _)| *set).map(|(_, option)| format!("{option}(true)"))
    }

    fn check_times(&self) -> Result<()> {
        let (lifetime, health) = (&self.lifetime, &self.health);
        if health.cleanup_timeout.is_zero() {
            return invalid("cleanup_timeout is zero: no connection could be cleaned");
        }
        let jitter = lifetime.max_conn_lifetime_jitter;
        match lifetime.max_conn_lifetime {
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
        let ends = [
            ("idle_timeout", lifetime.idle_timeout),
            ("max_conn_lifetime", lifetime.max_conn_lifetime),
        ];
        let checks = [("keepalive", health.keepalive), ("peek_after", health.peek_after)];
        for (check, idle) in checks {
            for (limit, end) in ends {
                let (Some(idle), Some(end)) = (idle, end) else { continue };
                if idle >= end {
                    return invalid(format!(
                        "{check}({idle:?}) is not below {limit}({end:?}): no connection is idle for \
                         that long"
                    ));
                }
            }
        }
        if lifetime.background_prune && ends.iter().all(|(_, end)| end.is_none()) {
            return invalid("background_prune without idle_timeout or max_conn_lifetime");
        }
        Ok(())
    }

    fn check_dialing(&self) -> Result<()> {
        let dialing = &self.dialing;
        if dialing.max_concurrent_dials == 0 {
            return invalid("max_concurrent_dials is zero: no dial thread could start");
        }
        let Backoff { first, longest } = dialing.dial_backoff;
        if first.is_zero() {
            return invalid("dial_backoff begins with a pause of zero");
        }
        if first > longest {
            return invalid(format!(
                "dial_backoff begins with {first:?}, which is above its longest pause, {longest:?}"
            ));
        }
        match dialing.dial_budget {
            Some(budget) if dialing.dial_retries > 0 && budget <= first / 2 => invalid(format!(
                "dial_retries({}) has no effect: dial_budget({budget:?}) ends before the first \
                 pause, {first:?}",
                dialing.dial_retries
            )),
            _ => Ok(()),
        }
    }

    fn check_monitoring(&self) -> Result<()> {
        let Monitoring { name, metrics_name, .. } = &self.monitoring;
        // It would break log lines, and a NUL cannot be part of a thread's name.
        if [name, metrics_name].into_iter().flatten().any(|name| name.contains(char::is_control)) {
            return invalid("the pool's name has a control character");
        }
        if self.monitoring.reclaim_leaked && self.monitoring.leak_threshold.is_none() {
            return invalid("reclaim_leaked(true) without leak_threshold");
        }
        Ok(())
    }
}

/// Checks these sizes against the other options.
///
/// # Errors
/// [`Error::InvalidConfig`], which names both options.
pub(crate) fn check_sizes(
    core_settings: &CoreSettings,
    needs_limit: Option<&str>,
    max_active: Option<usize>,
    max_idle: usize,
) -> Result<()> {
    let min_idle = core_settings.min_idle;
    if let Some(max_active) = max_active.filter(|&max| min_idle > max) {
        return invalid(format!("min_idle({min_idle}) is above max_active({max_active})"));
    }
    if min_idle > max_idle {
        return invalid(format!("min_idle({min_idle}) is above max_idle({max_idle})"));
    }
    match needs_limit {
        Some(option) if max_active.is_none() => {
            invalid(format!("{option} without max_active: no caller would ever wait"))
        }
        _ => Ok(()),
    }
}

fn invalid<T>(reason: impl Into<std::borrow::Cow<'static, str>>) -> Result<T> {
    Err(Error::InvalidConfig(reason.into()))
}
