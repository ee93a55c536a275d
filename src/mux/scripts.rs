//! The scripts that pipelines have loaded over the shared connection.

use crate::script::loaded::LoadedScripts;

/// The scripts that were loaded over the connection of an epoch.
#[derive(Debug, Default)]
pub(super) struct EpochScripts {
    epoch: u64,
    loaded: LoadedScripts,
}

impl EpochScripts {
    /// Returns the scripts of the connection with this epoch.
    pub(super) fn at(&mut self, epoch: u64) -> &mut LoadedScripts {
        if self.epoch != epoch {
            *self = EpochScripts { epoch, ..EpochScripts::default() };
        }
        &mut self.loaded
    }
}
