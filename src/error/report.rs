//! What a pool looked like when it refused.

use std::fmt;
use std::time::Duration;

use super::{Error, TimeoutKind};

/// What a pool looked like when it could not lend a connection.
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
    /// Why the last dial failed, if no dial has succeeded since.
    pub last_dial_error: Option<Error>,
}

impl fmt::Display for PoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in use, {} idle, {} dialing", self.in_use, self.idle, self.dialing)?;
        match self.max_active {
            Some(max) => write!(f, " of at most {max}")?,
            None => f.write_str(", no maximum")?,
        }
        write!(f, "; {} others waiting", self.waiting)?;
        match &self.last_dial_error {
            Some(error) => write!(f, "; the last dial failed: {error}"),
            None => Ok(()),
        }
    }
}
