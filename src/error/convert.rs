//! Replies that do not fit the requested type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A reply that does not fit the requested type.
///
/// The text says what was expected and what was found, and names the element of a list or the
/// field of a struct.
///
/// ```
/// use redigo::{Error, Value};
///
/// let reply = Value::from(vec![Value::from(1), Value::from("x")]);
/// match reply.convert::<Vec<i64>>() {
///     Err(Error::Convert(error)) => assert!(error.to_string().ends_with("at element [1]")),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ConvertError(Box<Conversion>);

#[derive(Debug, Clone)]
struct Conversion {
    problem: Problem,
    /// The outermost place is last.
    path: Vec<Place>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Debug, Clone)]
enum Problem {
    Unfit {
        wanted: Cow<'static, str>,
        found: Cow<'static, str>,
    },
    /// The message of the type's own code, and its input if that is known.
    #[cfg(feature = "serde")]
    Refused {
        why: String,
        found: Option<String>,
    },
}

#[derive(Debug, Clone)]
enum Place {
    Element(usize),
    /// The quoted name.
    Field(String),
}

impl ConvertError {
    /// Makes an error for a conversion to `wanted` that failed on `found`.
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
            problem: Problem::Unfit { wanted: wanted.into(), found: found.into() },
            path: Vec::new(),
            cause: None,
        }))
    }

    /// Makes an error from the message of the type's own code.
    #[cfg(feature = "serde")]
    pub(crate) fn refused(why: String) -> ConvertError {
        let problem = Problem::Refused { why, found: None };
        ConvertError(Box::new(Conversion { problem, path: Vec::new(), cause: None }))
    }

    /// Adds the input of the type's own code.
    #[cfg(feature = "serde")]
    pub(crate) fn given(mut self, text: impl FnOnce() -> String) -> ConvertError {
        if let Problem::Refused { found: found @ None, .. } = &mut self.0.problem {
            *found = Some(text());
        }
        self
    }

    /// Adds the error of the parser that refused the text. It becomes the
    /// [`source`](StdError::source).
    ///
    /// ```
    /// use std::error::Error as _;
    /// use redigo::ConvertError;
    ///
    /// let cause = "x".parse::<u8>().unwrap_err();
    /// let error = ConvertError::new("a percentage", "\"x\"").caused_by(cause);
    /// assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
    /// ```
    #[must_use]
    pub fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> ConvertError {
        self.0.cause = Some(Arc::new(cause));
        self
    }

    pub(crate) fn in_element(mut self, index: usize) -> ConvertError {
        self.0.path.push(Place::Element(index));
        self
    }

    pub(crate) fn in_field(mut self, quoted_name: String) -> ConvertError {
        self.0.path.push(Place::Field(quoted_name));
        self
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.problem {
            Problem::Unfit { wanted, found } => write!(f, "expected {wanted}, found {found}")?,
            #[cfg(feature = "serde")]
            Problem::Refused { why, found: None } => f.write_str(why)?,
            #[cfg(feature = "serde")]
            Problem::Refused { why, found: Some(found) } => write!(f, "{why}, found {found}")?,
        }
        write_path(f, &self.0.path)?;
        // The cause is the source, so it is not part of the text.
        Ok(())
    }
}

/// Writes `in field "rating" of element [2]`. Adjacent indices are written outermost first, as
/// in `at element [7][2]`.
fn write_path(f: &mut fmt::Formatter<'_>, path: &[Place]) -> fmt::Result {
    let alike = |a: &Place, b: &Place| matches!((a, b), (Place::Element(_), Place::Element(_)));
    for (at, places) in path.chunk_by(alike).enumerate() {
        match (&places[0], at) {
            (_, 1..) => f.write_str(" of ")?,
            (Place::Element(_), 0) => f.write_str(" at ")?,
            (Place::Field(_), 0) => f.write_str(" in ")?,
        }
        if let Place::Field(name) = &places[0] {
            write!(f, "field {name}")?;
            continue;
        }
        f.write_str("element ")?;
        for place in places.iter().rev() {
            if let Place::Element(index) = place {
                write!(f, "[{index}]")?;
            }
        }
    }
    Ok(())
}

impl StdError for ConvertError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().map(|cause| &**cause as _)
    }
}
