//! What users have done at the turns of a connection's life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::conn::Conn;
use crate::error::{Error, Result};
use crate::pool::stats::close_reason::CloseReason;

pub(crate) type Hook = Arc<dyn Fn(&mut Conn) -> Result<()> + Send + Sync>;
pub(crate) type CloseHook = Arc<dyn Fn(CloseReason) + Send + Sync>;

/// The hooks of a pool. None is ever called under its lock.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) dial: Option<Hook>,
    pub(crate) borrow: Option<Hook>,
    pub(crate) give_back: Option<Hook>,
    pub(crate) close: Option<CloseHook>,
}

/// Runs a hook, with a panic as an error. One that ends the connection has failed too.
///
/// # Errors
/// What the hook says.
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
    pub(crate) fn closed(&self, reason: CloseReason) {
        let Some(hook) = &self.close else { return };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(reason))) {
            let error = Error::panicked("on_close", &*panic);
            log::warn!(target: "redigo::pool", "{error}");
        }
    }
}
