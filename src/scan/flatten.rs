//! Numbers in text that serde has put aside before it knew that numbers were wanted.
//!
//! For a struct with `#[serde(flatten)]`, or an enum that is told apart by a field, serde collects
//! the fields without saying which types it wants, and looks at the types later. In a hash every
//! number is text, so the text is what it collects; a field that is a number then refuses it.
//! Guessing from the look of the text would refuse the string `"007"` in the same way.
//!
//! So the refusals are noted: which text it was, told by its address, and what was wanted instead.
//! After the attempt, the fields whose text reads as what was wanted are remembered as [`Hints`],
//! and the scan is done once more.

use std::cell::RefCell;

use serde::de::Expected;

use crate::error::{Error, Result};
use crate::from_value::quoted;
use crate::value::Value;

/// One text that was refused because of its type.
#[derive(Debug)]
pub(super) struct Mismatch {
    address: usize,
    length: usize,
    wanted: String,
}

thread_local! {
    /// Those of the attempt that runs on this thread. serde makes its errors without a `self`, and
    /// drops some of them (for `Option` under `flatten`), so there is no other way to learn of them.
    static MISMATCHES: RefCell<Vec<Mismatch>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn note(text: &str, wanted: &dyn Expected) {
    let (address, length) = (text.as_ptr() as usize, text.len());
    let mismatch = Mismatch { address, length, wanted: wanted.to_string() };
    MISMATCHES.with_borrow_mut(|mismatches| mismatches.push(mismatch));
}

/// Notes the mismatches of one attempt. An attempt inside another one, in a type's own code, has
/// a watch of its own.
#[derive(Debug)]
pub(super) struct Watch {
    outer: Vec<Mismatch>,
}

impl Watch {
    pub(super) fn start() -> Watch {
        Watch { outer: MISMATCHES.take() }
    }

    pub(super) fn mismatches(&self) -> Vec<Mismatch> {
        MISMATCHES.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        MISMATCHES.set(std::mem::take(&mut self.outer));
    }
}

/// Which fields are to be read as what, by their names.
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

    /// The field as what it is wanted as, if it is one of these and its text reads as that.
    pub(super) fn number(&self, name: &[u8], value: &Value) -> Option<Number> {
        let (_, wanted) = self.fields.iter().find(|(field, _)| field == name)?;
        Number::read(wanted, value.as_bytes()?)?.ok()
    }

    /// Remembers what is new in these mismatches; false when nothing is.
    pub(super) fn learn(&mut self, fields: &Fields<'_>, mismatches: &[Mismatch]) -> bool {
        let known = self.fields.len();
        for mismatch in mismatches {
            let Some((name, text)) = fields.find(mismatch) else { continue };
            let reads = matches!(Number::read(&mismatch.wanted, text), Some(Ok(_)));
            if reads && !self.fields.iter().any(|(field, _)| field == name) {
                self.fields.push((name.to_vec(), mismatch.wanted.clone()));
            }
        }
        self.fields.len() > known
    }
}

/// The names and values of a reply that is being scanned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) value: &'a Value,
    /// The names, where they are not in the reply itself.
    pub(super) names: Option<&'a [&'a str]>,
}

impl<'a> Fields<'a> {
    /// The field whose text was refused.
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
                    return Fields { value: item, names: None }.find(mismatch);
                }
                let text = item.as_bytes().filter(|text| is_it(text))?;
                Some((items.get(at.wrapping_sub(1))?.as_bytes()?, text))
            }),
            _ => None,
        }
    }

    /// The error for a text that does not read as what was wanted, with its field.
    pub(super) fn explain(&self, mismatch: &Mismatch) -> Option<Error> {
        let (name, text) = self.find(mismatch)?;
        match Number::read(&mismatch.wanted, text)? {
            Err(Error::Convert(error)) => Some(error.in_field(quoted(name)).into()),
            _ => None,
        }
    }
}

/// A value of one of the types that are text in a reply.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
}

impl Number {
    /// Reads the text as what serde's own types call themselves; none for any other type.
    fn read(wanted: &str, text: &[u8]) -> Option<Result<Number>> {
        let value = Value::Bulk(text.to_vec());
        Some(match wanted.strip_prefix("a nonzero ").unwrap_or(wanted) {
            "a boolean" => value.convert().map(Number::Bool),
            "i8" => value.convert::<i8>().map(|number| Number::Int(number.into())),
            "i16" => value.convert::<i16>().map(|number| Number::Int(number.into())),
            "i32" => value.convert::<i32>().map(|number| Number::Int(number.into())),
            "i64" | "isize" => value.convert().map(Number::Int),
            "u8" => value.convert::<u8>().map(|number| Number::Uint(number.into())),
            "u16" => value.convert::<u16>().map(|number| Number::Uint(number.into())),
            "u32" => value.convert::<u32>().map(|number| Number::Uint(number.into())),
            "u64" | "usize" => value.convert().map(Number::Uint),
            "f32" => value.convert::<f32>().map(|number| Number::Float(number.into())),
            "f64" => value.convert().map(Number::Float),
            _ => return None,
        })
    }
}
