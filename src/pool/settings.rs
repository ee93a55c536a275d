//! The checked options of a pool, as far as the shell needs them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::context::Context;
use crate::error::Result;
use crate::pool::core::backoff::Backoff;
use crate::pool::hooks::Hooks;
use crate::pool::stats::metrics::Meter;
use crate::pool::timer::Clock;

pub(crate) type Dial = Arc<dyn Fn(&Context) -> Result<Conn> + Send + Sync>;
pub(crate) type Test = Arc<dyn Fn(&Context, &mut Conn, Instant) -> Result<()> + Send + Sync>;

/// What [`PoolBuilder::build`](crate::PoolBuilder::build) makes of the options, besides the core's
/// settings.
pub(crate) struct Settings {
    /// The pool's name in log lines, thread names and errors.
    pub(crate) name: Option<Arc<str>>,
    /// The option that requires `max_active`, if one does.
    pub(crate) needs_limit: Option<String>,
    pub(crate) wait_timeout: Option<Duration>,
    pub(crate) peek_after: Option<Duration>,
    pub(crate) peek_always: bool,
    pub(crate) tests: Vec<Test>,
    /// Whether any check runs before a connection is checked out.
    pub(crate) validates: bool,
    pub(crate) retire_on: Arc<[String]>,
    pub(crate) cleanup_timeout: Duration,
    pub(crate) max_conn_lifetime: Option<Duration>,
    pub(crate) max_conn_lifetime_jitter: Duration,
    pub(crate) dial_retries: u32,
    pub(crate) dial_budget: Option<Duration>,
    pub(crate) backoff: Backoff,
    pub(crate) track_borrows: bool,
    pub(crate) meter: Meter,
    pub(crate) hooks: Hooks,
    pub(crate) clock: Clock,
    /// Whether an option needs the time of each checkout.
    pub(crate) clock_on_check_out: bool,
    /// Whether an option needs the time of each check-in.
    pub(crate) clock_on_check_in: bool,
}
