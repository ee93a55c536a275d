//! What a pool looked like when it refused.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, TimeoutKind};

/// What a pool looked like when it could not lend a connection.
///
/// ```
/// use redigo::{Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder_with(ScriptedServer::new().dialer()).max_active(1).build()?;
/// let conn = pool.acquire()?;
/// let error = pool.acquire().unwrap_err();
/// let report = error.pool_report().unwrap();
/// assert_eq!((report.in_use, report.idle, report.max_active), (1, 0, Some(1)));
/// assert!(report.to_string().starts_with("1 in use, 0 idle, 0 dialing of at most 1"));
/// # drop(conn);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolReport {
    /// How long the caller had waited.
    pub waited: Duration,
    /// Which limit passed: [`TimeoutKind::PoolWait`] or [`TimeoutKind::Context`].
    pub limit: TimeoutKind,
    /// The most connections that may be open; `None`: no limit.
    pub max_active: Option<usize>,
    /// Connections waiting in the pool.
    pub idle: usize,
    /// Connections that are lent.
    pub in_use: usize,
    /// Connections being dialled.
    pub dialing: usize,
    /// Other callers that were waiting.
    pub waiting: usize,
    /// Those of them that had come before this one.
    pub waiters_ahead: usize,
    /// Whether the pool was suspended.
    pub suspended: bool,
    /// The connection that is out for longest, in a pool that tracks its borrows.
    pub oldest_borrow: Option<Borrow>,
    /// The connection that the caller's own thread holds for longest, where that is the reason.
    pub own_borrow: Option<Borrow>,
    /// Why the last dial failed, if no dial has succeeded since.
    pub last_dial_error: Option<Error>,
    /// How long ago that was.
    pub last_dial_error_age: Option<Duration>,
}

impl fmt::Display for PoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in use, {} idle, {} dialing", self.in_use, self.idle, self.dialing)?;
        match self.max_active {
            Some(max) => write!(f, " of at most {max}")?,
            None => f.write_str(", no maximum")?,
        }
        let others = if self.waiting == 1 { "other" } else { "others" };
        write!(f, "; {} {others} waiting", self.waiting)?;
        if self.waiting > 0 {
            write!(f, ", {} of them ahead", self.waiters_ahead)?;
        }
        if self.suspended {
            f.write_str("; the pool is suspended")?;
        }
        if let Some(borrow) = &self.own_borrow {
            write!(f, "; this thread's own: {borrow}")?;
        } else if let Some(borrow) = &self.oldest_borrow {
            write!(f, "; the oldest: {borrow}")?;
        }
        match (&self.last_dial_error, self.last_dial_error_age) {
            (Some(error), Some(age)) => write!(f, "; a dial failed {age:.1?} ago: {error}"),
            (Some(error), None) => write!(f, "; the last dial failed: {error}"),
            (None, _) => Ok(()),
        }
    }
}

/// A connection that is out: who has borrowed it, where in the program, and how long ago.
///
/// ```
/// use redigo::{Dialer, Pool, testing::MemoryStream};
///
/// let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent())))
///     .track_borrows(true)
///     .build()?;
/// let conn = pool.acquire()?;
/// let out = pool.outstanding();
/// assert_eq!(out[0].location.line(), line!() - 2);
/// println!("{}", out[0]); // borrowed 0.0 s ago by thread "main" at src/main.rs:9:17
/// # drop(conn);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Borrow {
    /// The call that borrowed it.
    pub location: &'static Location<'static>,
    /// The name of the thread that called, or its number if it has none.
    pub thread: Arc<str>,
    /// How long it has been out.
    pub age: Duration,
    /// Whether it was reported as out for too long.
    pub overdue: bool,
}

impl fmt::Display for Borrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Borrow { location, thread, age, .. } = self;
        write!(
            f,
            "borrowed {:.1} s ago by thread \"{thread}\" at {}:{}:{}",
            age.as_secs_f64(),
            location.file(),
            location.line(),
            location.column()
        )
    }
}
