//! Structs and maps from names and values.

use std::borrow::Cow;
use std::slice;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::de::{Item, unexpected_kind};
use super::failure::Failure;
use super::flatten::Hints;
use super::forward::forward_to_item;
use crate::value::Value;

/// The source of the field names.
#[derive(Debug)]
pub(super) enum Names<'de> {
    /// In the reply, each before its value.
    InTheReply,
    /// Given by the caller.
    Given(slice::Iter<'de, &'de str>),
}

/// Passes names and values to the visitor of a struct or map. Values that are nil are left out.
pub(super) fn visit_fields<'de, V: Visitor<'de>>(
    items: impl ExactSizeIterator<Item = Cow<'de, Value>>,
    names: Names<'de>,
    hints: Option<&'de Hints>,
    visitor: V,
) -> Result<V::Value, Failure> {
    if matches!(names, Names::InTheReply) && items.len() % 2 != 0 {
        return Err(Failure::unexpected(
            "a list of even length",
            format!("length {}", items.len()),
        ));
    }
    let mut fields = FieldAccess {
        items,
        names,
        hints,
        taken: 0,
        name: Cow::Borrowed(&[]),
        value: None,
        skipped: Vec::new(),
    };
    let shown = visitor.visit_map(&mut fields);
    // A visitor can stop early; the elements that it leaves do not belong to the next row.
    fields.items.by_ref().for_each(drop);
    shown.map_err(|error| error.nil_among(&fields.skipped))
}

struct FieldAccess<'de, I> {
    items: I,
    names: Names<'de>,
    hints: Option<&'de Hints>,
    /// The number of items taken.
    taken: usize,
    name: Cow<'de, [u8]>,
    value: Option<Cow<'de, Value>>,
    /// The names of the values that were nil.
    skipped: Vec<Cow<'de, [u8]>>,
}

impl<'de, I: ExactSizeIterator<Item = Cow<'de, Value>>> FieldAccess<'de, I> {
    fn next_item(&mut self) -> Option<Cow<'de, Value>> {
        self.taken += 1;
        self.items.next()
    }

    /// Moves to the next field that has a value. Returns false at the end.
    fn advance(&mut self) -> Result<bool, Failure> {
        loop {
            let name = match &mut self.names {
                Names::Given(names) => match names.next() {
                    Some(name) => Ok(Cow::Borrowed(name.as_bytes())),
                    None => return Ok(false),
                },
                Names::InTheReply => match self.next_item() {
                    Some(name) => name_of(name).map_err(|error| error.at_element(self.taken - 1)),
                    None => return Ok(false),
                },
            };
            match (self.next_item(), name) {
                (None, _) => return Ok(false),
                // Checked before the name, as in redigo.
                (Some(value), name) if value.is_nil() => self.skipped.extend(name),
                (Some(value), name) => {
                    self.name = name?;
                    self.value = Some(value);
                    return Ok(true);
                }
            }
        }
    }
}

impl<'de, I: ExactSizeIterator<Item = Cow<'de, Value>>> MapAccess<'de> for FieldAccess<'de, I> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        if !self.advance()? {
            return Ok(None);
        }
        let key = seed.deserialize(Name(&self.name));
        key.map(Some).map_err(|error| match self.names {
            Names::InTheReply => error.at_element(self.taken - 2),
            Names::Given(_) => error,
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        let value = self.value.take().unwrap_or(Cow::Owned(Value::Nil));
        let known = self.hints.filter(|hints| !hints.is_empty());
        let scalar = known.and_then(|hints| hints.scalar(&self.name, &value));
        let item = Item { value, hints: self.hints, scalar };
        seed.deserialize(item).map_err(|error| error.in_field(&self.name))
    }

    fn size_hint(&self) -> Option<usize> {
        match &self.names {
            Names::InTheReply => Some(self.items.len() / 2),
            Names::Given(names) => Some(names.len()),
        }
    }
}

#[inline]
fn name_of(value: Cow<'_, Value>) -> Result<Cow<'_, [u8]>, Failure> {
    match value {
        Cow::Borrowed(Value::Bulk(name)) => Ok(Cow::Borrowed(name)),
        Cow::Borrowed(Value::Simple(name)) => Ok(Cow::Borrowed(name)),
        Cow::Owned(Value::Bulk(name)) => Ok(Cow::Owned(name)),
        Cow::Owned(Value::Simple(name)) => Ok(name),
        other => Err(unexpected_kind("a field name", &other)),
    }
}

/// The name of a field, or the key of a map.
struct Name<'a>(&'a [u8]);

impl Name<'_> {
    fn item<'de>(&self) -> Result<Item<'de>, Failure> {
        Ok(Item::owned(Value::Bulk(self.0.to_vec())))
    }
}

impl<'de> Deserializer<'de> for Name<'_> {
    type Error = Failure;

    /// Reads the name for a struct without a copy.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match std::str::from_utf8(self.0) {
            Ok(name) => visitor.visit_str(name),
            Err(_) => visitor.visit_bytes(self.0),
        }
    }

    forward_to_item! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_unit deserialize_unit_struct deserialize_newtype_struct
        deserialize_seq deserialize_tuple deserialize_tuple_struct deserialize_map
        deserialize_struct deserialize_enum deserialize_ignored_any
    }
}
