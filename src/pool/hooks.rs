//! The functions that a pool calls at checkout, return, dial and close.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::pool::stats::close_reason::CloseReason;

pub(crate) type Hook = Arc<dyn Fn(&mut Conn) -> Result<()> + Send + Sync>;
pub(crate) type CloseHook = Arc<dyn Fn(CloseReason) + Send + Sync>;

/// The hooks of a pool. The pool never calls one while it holds its lock.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) dial: Option<Hook>,
    pub(crate) borrow: Option<Hook>,
    pub(crate) give_back: Option<Hook>,
    pub(crate) close: Option<CloseHook>,
}

/// Runs a hook on a connection.
///
/// # Errors
/// The error of the hook, a panic in it, or the error that ended the connection meanwhile.
pub(crate) fn run(hook: &Hook, name: &str, conn: &mut Conn) -> Result<()> {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        hook(conn)?;
        match conn.err() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }));
    ran.unwrap_or_else(|panic| Err(Error::panicked(name, &*panic)))
}

impl Hooks {
    /// Runs `on_close`. A panic in it is logged.
    pub(crate) fn closed(&self, reason: CloseReason) {
        let Some(hook) = &self.close else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(reason))) {
            let error = Error::panicked("on_close", &*panic);
            log::warn!(target: "redigo::pool", "{error}");
        }
    }
}

/// Shows which hooks are set.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_dial", &self.dial.is_some())
            .field("on_borrow", &self.borrow.is_some())
            .field("on_return", &self.give_back.is_some())
            .field("on_close", &self.close.is_some())
            .finish()
    }
}
