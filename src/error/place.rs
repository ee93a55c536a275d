//! The place of an error: the server, and the step of a dial.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::placed_io::{self, PlacedIoError};
use super::{DialStep, Error, TimeoutKind};

/// Where an error happened. Cheap to clone, and small if it is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Place(Option<Arc<Parts>>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Parts {
    address: Option<Box<str>>,
    /// The step, and its text for a reader: `SELECT 99`.
    step: Option<(DialStep, Box<str>)>,
}

impl Place {
    pub(super) const UNKNOWN: Place = Place(None);

    pub(super) fn set_address(&mut self, address: &str) {
        self.parts().address.get_or_insert_with(|| address.into());
    }

    pub(super) fn set_step(&mut self, step: DialStep, text: &str) {
        self.parts().step = Some((step, text.into()));
    }

    fn parts(&mut self) -> &mut Parts {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// Returns the step and its text.
    pub(super) fn step(&self) -> Option<(DialStep, &str)> {
        let (step, text) = self.0.as_ref()?.step.as_ref()?;
        Some((*step, text))
    }

    /// Writes `ADDRESS: ` if the address is known.
    pub(super) fn write_address(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_ref().and_then(|parts| parts.address.as_ref()) {
            Some(address) => write!(f, "{address}: "),
            None => Ok(()),
        }
    }
}

/// Text that is not the crate's: control characters are escaped, and long text is cut.
pub(super) struct Foreign<'a>(pub(super) &'a str);

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_foreign(f, self.0)
    }
}

/// Writes text of a server: control characters are escaped, and long text is cut.
pub(super) fn write_foreign(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write;
    /// Longer than any text of a server that is not an echo of its input.
    const LONGEST: usize = 300;
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            return write!(f, "… ({} bytes)", text.len());
        }
        if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
    }
    Ok(())
}

impl Error {
    /// Adds the address of the server in front of the text, unless the error has one.
    pub(crate) fn at(self, address: &dyn fmt::Display) -> Error {
        let address = address.to_string();
        match self {
            Error::Io(source) if placed_io::is_at(&source, &address) => Error::Io(source),
            Error::Io(source) => Error::io_context(address, source),
            Error::Timeout(mut error) => {
                error.set_address(&address);
                Error::Timeout(error)
            }
            Error::Server(mut error) => {
                error.set_address(&address);
                Error::Server(error)
            }
            Error::Protocol(mut error) => {
                error.set_address(&address);
                Error::Protocol(error)
            }
            #[cfg(feature = "tls")]
            Error::Tls(mut error) => {
                error.set_address(&address);
                Error::Tls(error)
            }
            other => other,
        }
    }

    /// Names the command whose reply did not arrive in time.
    pub(crate) fn awaiting_reply_to(self, command: &str) -> Error {
        match self {
            Error::Timeout(error)
                if matches!(error.kind(), TimeoutKind::Read | TimeoutKind::Context) =>
            {
                Error::Timeout(error.awaiting_reply_to(command))
            }
            other => other,
        }
    }

    /// Adds the step of a dial that failed. The text is the step for a reader: `SELECT 99`.
    pub(crate) fn in_step(self, step: DialStep, text: &str) -> Error {
        match self {
            Error::Server(mut error) => {
                error.set_step(step, text);
                Error::Server(error)
            }
            Error::Timeout(error)
                if matches!(error.kind(), TimeoutKind::Read | TimeoutKind::Write) =>
            {
                TimeoutKind::Handshake(step).into()
            }
            Error::Io(source) => Error::io_context(text, source),
            Error::Protocol(mut error) => {
                error.set_step(step, text);
                Error::Protocol(error)
            }
            other => other,
        }
    }

    /// Returns an I/O error whose text begins with the place where it happened.
    pub(crate) fn io_context(place: impl fmt::Display, source: Arc<io::Error>) -> Error {
        Error::Io(Arc::new(PlacedIoError::at(place, source)))
    }

    /// Returns an I/O error with another text. The original error remains its source.
    pub(crate) fn io_explained(text: impl Into<String>, source: Arc<io::Error>) -> Error {
        Error::Io(Arc::new(PlacedIoError::explained(text.into(), source)))
    }
}
