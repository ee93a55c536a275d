//! The source of a script and its hash.

use std::sync::{Arc, OnceLock};

/// The source of a script. Clones share an owned text.
#[derive(Clone)]
pub(crate) struct ScriptSource {
    text: Text,
    /// Computed on first use, so that a script can be a `static`.
    hash: OnceLock<Box<str>>,
}

#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl ScriptSource {
    pub(crate) const fn of_static(text: &'static str) -> ScriptSource {
        ScriptSource { text: Text::Static(text), hash: OnceLock::new() }
    }

    pub(crate) fn owned(text: Arc<str>) -> ScriptSource {
        ScriptSource { text: Text::Shared(text), hash: OnceLock::new() }
    }

    pub(crate) fn text(&self) -> &str {
        match &self.text {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }

    /// The SHA-1 of the text in hexadecimal.
    pub(crate) fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            sha1_smol::Sha1::from(self.text()).digest().to_string().into_boxed_str()
        })
    }
}
