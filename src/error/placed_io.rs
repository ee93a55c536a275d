//! I/O errors with the place where they happened.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

/// An I/O error with a text in front of it, or instead of it.
#[derive(Debug)]
pub(super) struct PlacedIoError {
    text: String,
    source: Arc<io::Error>,
    /// False if the text replaces the source's.
    shows_source: bool,
}

/// Returns true if the text of the error begins with this place.
pub(super) fn is_at(error: &io::Error, place: &str) -> bool {
    let placed = error.get_ref().and_then(|error| error.downcast_ref::<PlacedIoError>());
    placed.is_some_and(|error| error.text == place)
}

impl PlacedIoError {
    /// Returns an error with the text `PLACE: SOURCE`.
    pub(super) fn at(place: impl fmt::Display, source: Arc<io::Error>) -> io::Error {
        PlacedIoError { text: place.to_string(), source, shows_source: true }.into_io()
    }

    /// Returns an error with this text. The source is only in the chain.
    pub(super) fn explained(text: String, source: Arc<io::Error>) -> io::Error {
        PlacedIoError { text, source, shows_source: false }.into_io()
    }

    fn into_io(self) -> io::Error {
        io::Error::new(self.source.kind(), self)
    }
}

impl fmt::Display for PlacedIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.shows_source { write!(f, ": {}", self.source) } else { Ok(()) }
    }
}

impl StdError for PlacedIoError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        if self.shows_source { self.source.source() } else { Some(&*self.source) }
    }
}
