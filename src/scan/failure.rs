//! What serde and the types of callers report, as errors of this crate.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::flatten;
use crate::error::{ConvertError, Error};
use crate::from_value::quoted;

/// Why a scan failed. A pointer wide, because every field passes one on or does not.
#[derive(Debug)]
pub(super) struct Failure(Box<Kind>);

#[derive(Debug)]
enum Kind {
    /// No value for a field that needs one; whoever knows the names adds what was found.
    Missing(&'static str),
    Error(Error),
}

impl Failure {
    pub(super) fn unfit(wanted: impl Into<String>, found: impl Into<String>) -> Failure {
        ConvertError::new(wanted.into(), found.into()).into()
    }

    pub(super) fn at_element(self, index: usize) -> Failure {
        self.map_conversion(|error| error.in_element(index))
    }

    pub(super) fn in_field(self, name: &[u8]) -> Failure {
        self.map_conversion(|error| error.in_field(quoted(name)))
    }

    /// Adds what the type's own code was given, if it did not like it and did not say.
    pub(super) fn given(self, text: &[u8]) -> Failure {
        self.map_conversion(|error| error.given(|| quoted(text)))
    }

    /// The field was there, but nil, if it is one of those skipped for that.
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
            flatten::note(text, wanted);
        }
        Failure::invalid_value(found, wanted)
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Failure {
        Failure::unfit(wanted.to_string(), describe(found))
    }

    fn invalid_length(length: usize, wanted: &dyn Expected) -> Failure {
        Failure::unfit(wanted.to_string(), format!("length {length}"))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Failure {
        Failure::unfit(format!("one of {}", quoted_list(known)), quoted(variant.as_bytes()))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Failure {
        let wanted = format!("one of the fields {}", quoted_list(known));
        Failure::unfit(wanted, quoted(field.as_bytes()))
    }

    fn missing_field(field: &'static str) -> Failure {
        Failure(Box::new(Kind::Missing(field)))
    }

    fn duplicate_field(field: &'static str) -> Failure {
        Failure::unfit(format!("one field \"{field}\""), "another of that name")
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
