//! Many commands in one round trip on a shared connection.

use crate::conn::batch::Batch;
use crate::error::{Error, Result};
use crate::mux::core::Command;
use crate::mux::deadline::CallDeadline;
use crate::mux::inner::{MuxInner, Pending, prepare};
use crate::script::loaded::is_unknown;
use crate::value::Value;

impl MuxInner {
    /// Runs a batch, whose scripts are loaded ahead.
    pub(super) fn run_batch(
        &self,
        batch: &Batch,
        deadline: &CallDeadline<'_>,
    ) -> Result<Vec<Result<Value>>> {
        let commands: Result<Vec<Command>> =
            batch.iter().map(|(name, args)| prepare(name, &args)).collect();
        let (commands, scripts) = (commands?, batch.scripts());
        if !scripts.is_empty() {
            self.load_scripts(batch, deadline)?;
        }
        let results = batch.results(self.exchange_all(commands, deadline)?);
        if !scripts.is_empty() && is_unknown(&results) {
            let epoch = self.core().epoch();
            self.scripts.lock().at(epoch).clear();
        }
        Ok(results)
    }

    fn load_scripts(&self, batch: &Batch, deadline: &CallDeadline<'_>) -> Result<()> {
        let epoch = self.core().epoch();
        let missing = self.scripts.lock().at(epoch).missing(batch.scripts());
        if missing.is_empty() {
            return Ok(());
        }
        let loads: Result<Vec<Command>> =
            missing.iter().map(|script| prepare("SCRIPT", &("LOAD", script.text()))).collect();
        let replies = self.exchange_all(loads?, deadline)?;
        // A first call dials, so the epoch can be a later one.
        let epoch = self.core().epoch();
        let mut outcome = Ok(());
        for (script, reply) in missing.iter().zip(replies) {
            match reply {
                Value::Error(error) => outcome = outcome.and(Err(Error::Server(error))),
                _ => self.scripts.lock().at(epoch).insert(script.hash()),
            }
        }
        outcome
    }

    /// Queues all commands and waits for all replies. An error reply is a value here.
    fn exchange_all(
        &self,
        commands: Vec<Command>,
        deadline: &CallDeadline<'_>,
    ) -> Result<Vec<Value>> {
        let mut queued = Queued { inner: self, pending: Vec::with_capacity(commands.len()) };
        let mut deadline = deadline.clone();
        for command in commands {
            let (_, pending, started) = self.enqueue(command, &deadline)?;
            queued.pending.push(pending);
            // The read timeout of the first command limits them all.
            deadline = started;
        }
        if !queued.pending.is_empty() {
            // An error of the flush is the outcome of the replies, too.
            let _ = self.flush(&deadline);
        }
        let receive = |pending| match self.receive(pending, &deadline) {
            Err(Error::Server(error)) => Ok(Value::Error(error)),
            outcome => outcome,
        };
        let replies = queued.pending.iter().map(receive).collect();
        drop(queued);
        replies
    }
}

/// The commands whose replies are dropped if the batch ends early.
struct Queued<'a> {
    inner: &'a MuxInner,
    pending: Vec<Pending>,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.pending.iter().for_each(|pending| self.inner.abandon(pending));
    }
}
