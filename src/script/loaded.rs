//! The scripts that the server of a connection knows.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::script::source::ScriptSource;
use crate::value::Value;

/// More scripts than this are forgotten: a program that makes new scripts must not fill memory.
const MAX_SCRIPTS: usize = 1024;

/// The hashes of the scripts that were loaded or run over a connection.
#[derive(Debug, Default)]
pub(crate) struct LoadedScripts(HashSet<Box<str>>);

impl LoadedScripts {
    pub(crate) fn contains(&self, hash: &str) -> bool {
        self.0.contains(hash)
    }

    pub(crate) fn insert(&mut self, hash: &str) {
        if self.contains(hash) {
            return;
        }
        if self.0.len() == MAX_SCRIPTS {
            self.0.clear();
        }
        self.0.insert(hash.into());
    }

    /// Forgets all scripts: another client has flushed them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the scripts of a list that are not loaded.
    pub(crate) fn missing<'a>(&self, scripts: &'a [ScriptSource]) -> Vec<&'a ScriptSource> {
        scripts.iter().filter(|script| !self.contains(script.hash())).collect()
    }
}

/// Returns true if the server does not know a script.
pub(crate) fn is_unknown<'a>(results: impl IntoIterator<Item = &'a Result<Value>>) -> bool {
    results.into_iter().any(|result| match result {
        Err(Error::Server(error)) => is_noscript(error.message()),
        _ => false,
    })
}

pub(crate) fn is_noscript(message: &str) -> bool {
    message.starts_with("NOSCRIPT ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_remembered_scripts_is_limited() {
        let mut loaded = LoadedScripts::default();
        for number in 0..=MAX_SCRIPTS {
            loaded.insert(&number.to_string());
            loaded.insert(&number.to_string());
        }
        assert_eq!(loaded.0.len(), 1);
        assert!(loaded.contains(&MAX_SCRIPTS.to_string()));
    }
}
