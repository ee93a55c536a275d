//! Replies of another type than was asked for.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A reply that does not fit the type asked for. Says what was wanted and what was found, and
/// which element of a list it was.
#[derive(Debug, Clone)]
pub struct ConvertError(Box<Conversion>);

#[derive(Debug, Clone)]
struct Conversion {
    wanted: Cow<'static, str>,
    found: Cow<'static, str>,
    /// Outermost last.
    path: Vec<usize>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

impl ConvertError {
    /// A conversion to `wanted` that failed on `found`, both in words for a reader.
    ///
    /// ```
    /// let error = redigo::ConvertError::new("a date", "a list");
    /// assert_eq!(error.to_string(), "expected a date, found a list");
    /// ```
    pub fn new(
        wanted: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> ConvertError {
        ConvertError(Box::new(Conversion {
            wanted: wanted.into(),
            found: found.into(),
            path: Vec::new(),
            cause: None,
        }))
    }

    /// The same, with the error of the parser that refused the text.
    #[must_use]
    pub fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> ConvertError {
        self.0.cause = Some(Arc::new(cause));
        self
    }

    pub(crate) fn in_element(mut self, index: usize) -> ConvertError {
        self.0.path.push(index);
        self
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.0.wanted, self.0.found)?;
        if !self.0.path.is_empty() {
            f.write_str(" at element ")?;
            for index in self.0.path.iter().rev() {
                write!(f, "[{index}]")?;
            }
        }
        // The cause is the next in the chain, for those who print it.
        Ok(())
    }
}

impl StdError for ConvertError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().map(|cause| &**cause as _)
    }
}
