//! The state of a pool at the time of its error.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, TimeoutKind};

/// The state of a pool when a checkout failed.
///
/// ```
/// use redigo::{Pool, testing::ScriptedServer};
///
/// let pool = Pool::builder(ScriptedServer::new().dialer()).max_active(1).build()?;
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
    /// The name of the pool, if it has one.
    pub pool: Option<Arc<str>>,
    /// How long the caller waited.
    pub waited: Duration,
    /// The limit that passed: [`TimeoutKind::PoolWait`] or [`TimeoutKind::Context`].
    pub limit: TimeoutKind,
    /// The maximum number of open connections; `None` means no limit.
    pub max_active: Option<usize>,
    /// The number of idle connections.
    pub idle: usize,
    /// The number of connections in use.
    pub in_use: usize,
    /// The number of dials under way.
    pub dialing: usize,
    /// How long the oldest dial under way had taken; `None` if there was none.
    pub oldest_dial_age: Option<Duration>,
    /// The number of attempts that the oldest dial had begun.
    pub oldest_dial_attempts: u32,
    /// The number of other waiters.
    pub waiting: usize,
    /// The number of other waiters that arrived before this caller.
    pub waiters_ahead: usize,
    /// Whether the pool was suspended.
    pub suspended: bool,
    /// The oldest borrow, if the pool tracks borrows.
    pub oldest_borrow: Option<Borrow>,
    /// The oldest borrow of the caller's thread, if it is the reason for the error.
    pub own_borrow: Option<Borrow>,
    /// The error of the last dial, if no dial has succeeded since.
    pub last_dial_error: Option<Error>,
    /// The age of that error.
    pub last_dial_error_age: Option<Duration>,
}

impl fmt::Display for PoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pool) = &self.pool {
            write!(f, "{pool}: ")?;
        }
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
            write!(f, "; held by this thread: {borrow}")?;
        } else if let Some(borrow) = &self.oldest_borrow {
            write!(f, "; the oldest: {borrow}")?;
        }
        if let Some(age) = self.oldest_dial_age {
            write!(f, "; the oldest dial has taken {age:.1?}")?;
            if self.oldest_dial_attempts > 1 {
                write!(f, " in {} attempts", self.oldest_dial_attempts)?;
            }
        }
        match (&self.last_dial_error, self.last_dial_error_age) {
            (Some(error), Some(age)) => write!(f, "; a dial failed {age:.1?} ago: {error}"),
            (Some(error), None) => write!(f, "; the last dial failed: {error}"),
            (None, _) => Ok(()),
        }
    }
}

/// The borrow of a connection: the place in the program, the thread, and the age.
///
/// ```
/// use redigo::{Dialer, Pool, testing::MemoryStream};
///
/// let pool = Pool::builder_with(|_| Ok(Dialer::tcp(":6379").wrap(MemoryStream::silent())))
///     .track_borrows(true)
///     .build()?;
/// let conn = pool.acquire()?;
/// let borrows = pool.outstanding();
/// assert_eq!(borrows[0].location.line(), line!() - 2);
/// println!("{}", borrows[0]); // borrowed 0.0 s ago by thread "main" at src/main.rs:9:17
/// # drop(conn);
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Borrow {
    /// The call that borrowed the connection.
    pub location: &'static Location<'static>,
    /// The name of the borrower's thread, or its number if it has no name.
    pub thread: Arc<str>,
    /// The time since the checkout.
    pub age: Duration,
    /// Whether the pool reported it as a leak.
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
