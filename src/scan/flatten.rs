//! Numbers in text that serde buffers before it knows the types of the fields.
//!
//! For a struct with `#[serde(flatten)]`, or an internally tagged enum, serde buffers the fields
//! without naming their types, and converts them later. In a hash every number is text, so serde
//! buffers text, and a field that is a number then rejects it. Guessing the type from the text would
//! reject the string `"007"` in the same way.
//!
//! Therefore each rejection is recorded: the address of the text and the type that was expected.
//! After the attempt, the fields whose text parses as the expected type are stored as [`Hints`],
//! and the scan runs once more.

use std::cell::RefCell;

use serde::de::Expected;

use crate::error::{Error, Result};
use crate::from_value::quoted;
use crate::value::Value;

/// One text that was rejected because of its type.
#[derive(Debug)]
pub(super) struct Mismatch {
    address: usize,
    length: usize,
    wanted: String,
}

thread_local! {
    /// The mismatches of the attempt that runs on this thread. serde creates its errors without a
    /// `self` and drops some of them (for `Option` under `flatten`), so no other place sees them all.
    static MISMATCHES: RefCell<Vec<Mismatch>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn record_mismatch(text: &str, wanted: &dyn Expected) {
    let (address, length) = (text.as_ptr() as usize, text.len());
    let mismatch = Mismatch { address, length, wanted: wanted.to_string() };
    MISMATCHES.with_borrow_mut(|mismatches| mismatches.push(mismatch));
}

/// Records the mismatches of one attempt. A nested attempt, in a type's own code, has a separate
/// log.
#[derive(Debug)]
pub(super) struct MismatchLog {
    outer: Vec<Mismatch>,
}

impl MismatchLog {
    pub(super) fn start() -> MismatchLog {
        MismatchLog { outer: MISMATCHES.take() }
    }

    pub(super) fn mismatches(&self) -> Vec<Mismatch> {
        MISMATCHES.take()
    }
}

impl Drop for MismatchLog {
    fn drop(&mut self) {
        MISMATCHES.set(std::mem::take(&mut self.outer));
    }
}

/// The types that fields must be parsed as, by field name.
#[derive(Debug, Default)]
pub(super) struct Hints {
    fields: Vec<(Vec<u8>, String)>,
}

impl Hints {
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.fields.clear();
    }

    /// Parses the value of a field as the type that is stored for its name.
    pub(super) fn scalar(&self, name: &[u8], value: &Value) -> Option<Scalar> {
        let (_, wanted) = self.fields.iter().find(|(field, _)| field == name)?;
        Scalar::read(wanted, value.as_bytes()?)?.ok()
    }

    /// Stores the types from new mismatches. Returns false if there are none.
    pub(super) fn learn(&mut self, fields: &ReplyFields<'_>, mismatches: &[Mismatch]) -> bool {
        let known = self.fields.len();
        for mismatch in mismatches {
            let Some((name, text)) = fields.find(mismatch) else { continue };
            let parses = matches!(Scalar::read(&mismatch.wanted, text), Some(Ok(_)));
            if parses && !self.fields.iter().any(|(field, _)| field == name) {
                self.fields.push((name.to_vec(), mismatch.wanted.clone()));
            }
        }
        self.fields.len() > known
    }
}

/// The names and values of a reply that is being scanned.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReplyFields<'a> {
    pub(super) value: &'a Value,
    /// The names, if they are not in the reply itself.
    pub(super) names: Option<&'a [&'a str]>,
}

impl<'a> ReplyFields<'a> {
    /// Returns the name and text of the field that was rejected.
    fn find(&self, mismatch: &Mismatch) -> Option<(&'a [u8], &'a [u8])> {
        let is_it = |text: &[u8]| {
            text.len() == mismatch.length && text.as_ptr() as usize == mismatch.address
        };
        match (self.value, self.names) {
            (Value::Array(items), Some(names)) => {
                let mut pairs = names.iter().zip(items);
                pairs.find_map(|(name, value)| {
                    let text = value.as_bytes().filter(|text| is_it(text))?;
                    Some((name.as_bytes(), text))
                })
            }
            (Value::Array(items), None) => items.iter().enumerate().find_map(|(at, item)| {
                if let Value::Array(_) = item {
                    return ReplyFields { value: item, names: None }.find(mismatch);
                }
                let text = item.as_bytes().filter(|text| is_it(text))?;
                Some((items.get(at.wrapping_sub(1))?.as_bytes()?, text))
            }),
            _ => None,
        }
    }

    /// Returns the error for a text that does not parse as the expected type, with its field.
    pub(super) fn explain(&self, mismatch: &Mismatch) -> Option<Error> {
        let (name, text) = self.find(mismatch)?;
        match Scalar::read(&mismatch.wanted, text)? {
            Err(Error::Convert(error)) => Some(error.in_field(quoted(name)).into()),
            _ => None,
        }
    }
}

/// A value of a type that a reply contains as text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
}

impl Scalar {
    /// Parses the text as the type that serde's message names. `None` for any other type.
    fn read(wanted: &str, text: &[u8]) -> Option<Result<Scalar>> {
        let value = Value::Bulk(text.to_vec());
        Some(match wanted.strip_prefix("a nonzero ").unwrap_or(wanted) {
            "a boolean" => value.convert().map(Scalar::Bool),
            "i8" => value.convert::<i8>().map(|number| Scalar::Int(number.into())),
            "i16" => value.convert::<i16>().map(|number| Scalar::Int(number.into())),
            "i32" => value.convert::<i32>().map(|number| Scalar::Int(number.into())),
            "i64" | "isize" => value.convert().map(Scalar::Int),
            "u8" => value.convert::<u8>().map(|number| Scalar::Uint(number.into())),
            "u16" => value.convert::<u16>().map(|number| Scalar::Uint(number.into())),
            "u32" => value.convert::<u32>().map(|number| Scalar::Uint(number.into())),
            "u64" | "usize" => value.convert().map(Scalar::Uint),
            "f32" => value.convert::<f32>().map(|number| Scalar::Float(number.into())),
            "f64" => value.convert().map(Scalar::Float),
            _ => return None,
        })
    }
}
