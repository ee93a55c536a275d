//! [`Failure`]: errors of serde and of the caller's types, as errors of this crate.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::flatten;
use crate::error::{ConvertError, Error};
use crate::from_value::quoted;

/// The error of a scan. It is one pointer wide, because the scan of every field returns one.
#[derive(Debug)]
pub(super) struct Failure(Box<Kind>);

#[derive(Debug)]
enum Kind {
    /// A field without a value. [`Failure::nil_among`] decides later whether the value was nil.
    Missing(&'static str),
    Error(Error),
}

impl Failure {
    pub(super) fn unexpected(wanted: impl Into<String>, found: impl Into<String>) -> Failure {
        ConvertError::new(wanted.into(), found.into()).into()
    }

    pub(super) fn at_element(self, index: usize) -> Failure {
        self.map_conversion(|error| error.in_element(index))
    }

    pub(super) fn in_field(self, name: &[u8]) -> Failure {
        self.map_conversion(|error| error.in_field(quoted(name)))
    }

    /// Adds the text to the error of a type's own code, unless the error has it already.
    pub(super) fn given(self, text: &[u8]) -> Failure {
        self.map_conversion(|error| error.given(|| quoted(text)))
    }

    /// Reports a missing field as nil if it is among the fields that were skipped because of nil.
    pub(super) fn nil_among(self, skipped: &[impl AsRef<[u8]>]) -> Failure {
        match *self.0 {
            Kind::Missing(field)
                if skipped.iter().any(|name| name.as_ref() == field.as_bytes()) =>
            {
                missing(field, "nil").into()
            }
            _ => self,
        }
    }

    pub(super) fn into_error(self) -> Error {
        match *self.0 {
            Kind::Missing(field) => missing(field, "none").into(),
            Kind::Error(error) => error,
        }
    }

    fn map_conversion(self, change: impl FnOnce(ConvertError) -> ConvertError) -> Failure {
        match self.into_error() {
            Error::Convert(error) => change(error).into(),
            other => other.into(),
        }
    }
}

fn missing(field: &str, found: &'static str) -> ConvertError {
    ConvertError::new(format!("a field \"{field}\""), found)
}

impl From<Error> for Failure {
    #[cold]
    fn from(error: Error) -> Failure {
        Failure(Box::new(Kind::Error(error)))
    }
}

impl From<ConvertError> for Failure {
    #[cold]
    fn from(error: ConvertError) -> Failure {
        Error::from(error).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Missing(field) => missing(field, "none").fmt(f),
            Kind::Error(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Failure {
        ConvertError::refused(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Failure {
        if let Unexpected::Str(text) = found {
            flatten::record_mismatch(text, wanted);
        }
        Failure::invalid_value(found, wanted)
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Failure {
        Failure::unexpected(wanted.to_string(), describe(found))
    }

    fn invalid_length(length: usize, wanted: &dyn Expected) -> Failure {
        Failure::unexpected(wanted.to_string(), format!("length {length}"))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Failure {
        Failure::unexpected(format!("one of {}", quoted_list(known)), quoted(variant.as_bytes()))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Failure {
        let wanted = format!("one of the fields {}", quoted_list(known));
        Failure::unexpected(wanted, quoted(field.as_bytes()))
    }

    fn missing_field(field: &'static str) -> Failure {
        Failure(Box::new(Kind::Missing(field)))
    }

    fn duplicate_field(field: &'static str) -> Failure {
        Failure::unexpected(format!("one field \"{field}\""), "a duplicate")
    }
}

fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(flag) => flag.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Str(text) => quoted(text.as_bytes()),
        Unexpected::Bytes(bytes) => quoted(bytes),
        Unexpected::Unit | Unexpected::Option => "nil".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a list of names and values".to_owned(),
        other => other.to_string(),
    }
}

fn quoted_list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
