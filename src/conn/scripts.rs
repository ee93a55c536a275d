//! Scripts that a connection loads ahead of a pipeline or a transaction.

use crate::conn::Conn;
use crate::conn::command_buffer::CommandBuffer;
use crate::conn::deadline::Timeouts;
use crate::conn::exchange::whole;
use crate::conn::session::Dirty;
use crate::conn::window::Window;
use crate::error::Result;
use crate::script::loaded::is_unknown;
use crate::script::source::ScriptSource;
use crate::value::Value;

impl Conn {
    /// Loads the scripts that the server may not know, unless a command is refused anyway.
    ///
    /// # Errors
    /// The first error reply. A script that does not compile fails here, before any command.
    pub(super) fn load_scripts(
        &mut self,
        scripts: &[ScriptSource],
        commands: &CommandBuffer,
        timeouts: &Timeouts,
    ) -> Result<()> {
        if scripts.is_empty() {
            return Ok(());
        }
        commands.check()?;
        let missing = self.scripts.missing(scripts);
        // In a transaction the server would queue the load.
        if missing.is_empty() || self.session().dirty().has(Dirty::MULTI) {
            return Ok(());
        }
        let mut loads = CommandBuffer::new();
        for script in &missing {
            loads.push("SCRIPT", &("LOAD", script.text()));
        }
        let replies = Window::start(self, &loads, timeouts)?.replies()?;
        let mut outcome = Ok(());
        for (script, reply) in missing.iter().zip(replies) {
            match whole(reply) {
                Ok(_) => self.scripts.insert(script.hash()),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Records that the server knows a script, unless it has only queued the command.
    pub(crate) fn note_script(&mut self, script: &ScriptSource) {
        let is_new = !self.scripts.contains(script.hash());
        if is_new && !self.session().dirty().has(Dirty::MULTI) {
            self.scripts.insert(script.hash());
        }
    }

    /// Forgets the loaded scripts if the server has forgotten one of them.
    pub(super) fn note_results(&mut self, scripts: &[ScriptSource], results: &[Result<Value>]) {
        if !scripts.is_empty() && is_unknown(results) {
            self.scripts.clear();
        }
    }
}
