//! serde's `Deserializer` for one reply, and for the elements of a list.

use std::borrow::Cow;
use std::{slice, vec};

use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::failure::Failure;
use super::fields::{Names, visit_fields};
use super::flatten::{Hints, Scalar};
use crate::error::{Error, ServerError};
use crate::from_value::FromValue;
use crate::value::Value;

/// One reply, or one element of a reply.
#[derive(Debug)]
pub(super) struct Item<'de> {
    pub(super) value: Cow<'de, Value>,
    /// The known types of fields that serde buffers.
    pub(super) hints: Option<&'de Hints>,
    /// The parsed value, if this is such a field.
    pub(super) scalar: Option<Scalar>,
}

// Small functions that run for every field are inlined into the crate of the type. This makes a
// scan as fast as a loop written by hand.
impl<'de> Item<'de> {
    pub(super) fn owned(value: Value) -> Item<'de> {
        Item { value: Cow::Owned(value), hints: None, scalar: None }
    }

    /// Converts by the rules of `FromValue`, and accepts simple strings too.
    fn parse<T: FromValue>(self) -> Result<T, Failure> {
        let value = match self.value.into_owned() {
            Value::Simple(text) => Value::Bulk(text.into_owned()),
            other => other,
        };
        T::from_value(value).map_err(|error| no_nil(T::WANTED, error))
    }

    #[inline]
    fn bytes(self) -> Result<Cow<'de, [u8]>, Failure> {
        match self.value {
            Cow::Owned(Value::Bulk(bytes)) => Ok(Cow::Owned(bytes)),
            Cow::Owned(Value::Simple(bytes)) => Ok(bytes),
            Cow::Borrowed(Value::Bulk(bytes)) => Ok(Cow::Borrowed(bytes)),
            Cow::Borrowed(Value::Simple(bytes)) => Ok(Cow::Borrowed(bytes)),
            other => Err(unexpected_kind(String::WANTED, &other)),
        }
    }

    #[inline]
    fn text(self) -> Result<Cow<'de, str>, Failure> {
        match self.bytes()? {
            Cow::Owned(bytes) => Ok(Cow::Owned(Value::Bulk(bytes).convert::<String>()?)),
            Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                // Converted once more to create the error.
                Err(_) => Ok(Cow::Owned(Value::Bulk(bytes.to_vec()).convert::<String>()?)),
            },
        }
    }

    fn elements(self) -> Result<Elements<'de, ListIter<'de>>, Failure> {
        let hints = self.hints;
        Ok(Elements { items: list(self.value, "a list")?, at: 0, hints })
    }

    fn is_text(&self) -> bool {
        self.value.as_bytes().is_some()
    }
}

macro_rules! scalars {
    ($($deserialize:ident $visit:ident $type:ty)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            visitor.$visit(self.parse::<$type>()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Item<'de> {
    type Error = Failure;

    scalars! {
        deserialize_bool visit_bool bool
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.scalar {
            Some(Scalar::Bool(flag)) => return visitor.visit_bool(flag),
            Some(Scalar::Int(number)) => return visitor.visit_i64(number),
            Some(Scalar::Uint(number)) => return visitor.visit_u64(number),
            Some(Scalar::Float(number)) => return visitor.visit_f64(number),
            None => {}
        }
        match &*self.value {
            Value::Nil => visitor.visit_unit(),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Array(_) => visitor.visit_seq(self.elements()?),
            Value::Error(error) => Err(Error::from(error.clone()).into()),
            Value::Simple(text) if std::str::from_utf8(text).is_err() => {
                self.deserialize_bytes(visitor)
            }
            Value::Bulk(text) if std::str::from_utf8(text).is_err() => {
                self.deserialize_bytes(visitor)
            }
            Value::Simple(_) | Value::Bulk(_) => self.deserialize_str(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.text()? {
            Cow::Borrowed(text) => visitor
                .visit_borrowed_str(text)
                .map_err(|error: Failure| error.given(text.as_bytes())),
            Cow::Owned(text) => {
                visitor.visit_str(&text).map_err(|error: Failure| error.given(text.as_bytes()))
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.text()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Value::Array(_) = &*self.value {
            return self.deserialize_seq(visitor);
        }
        match self.bytes()? {
            Cow::Borrowed(bytes) => visitor.visit_borrowed_bytes(bytes),
            Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.value.is_nil() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.parse::<()>()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    /// Reads a list, or a string as a list of `u8`: serde does not say that a `Vec<u8>` is bytes.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.is_text() {
            let bytes = self.bytes()?;
            return visitor.visit_seq(ByteElements(bytes.iter()));
        }
        visitor.visit_seq(self.elements()?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if self.is_text() {
            let bytes = self.bytes()?;
            let mut elements = ByteElements(bytes.iter());
            let value = visitor.visit_seq(&mut elements)?;
            return match elements.0.len() {
                0 => Ok(value),
                _ => Err(wrong_length(length, bytes.len())),
            };
        }
        let elements = self.elements()?;
        match elements.items.len() {
            found if found == length => visitor.visit_seq(elements),
            found => Err(wrong_length(length, found)),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let items = list(self.value, "a list of names and values")?;
        visit_fields(items, Names::InTheReply, self.hints, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }

    /// Reads a variant without data by its name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let text = self.text()?;
        visitor.visit_enum(text.into_deserializer())
    }

    /// Ignores the value, unless it is or contains an error of the server.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match first_error(&self.value) {
            Some(error) => Err(Error::from(error.clone()).into()),
            None => visitor.visit_unit(),
        }
    }
}

fn first_error(value: &Value) -> Option<&ServerError> {
    match value {
        Value::Error(error) => Some(error),
        Value::Array(items) => items.iter().find_map(first_error),
        _ => None,
    }
}

/// The elements of a list: owned if the list is owned, borrowed if it is borrowed.
#[derive(Debug)]
pub(super) enum ListIter<'de> {
    Owned(vec::IntoIter<Value>),
    Borrowed(slice::Iter<'de, Value>),
}

impl<'de> Iterator for ListIter<'de> {
    type Item = Cow<'de, Value>;

    #[inline]
    fn next(&mut self) -> Option<Cow<'de, Value>> {
        match self {
            ListIter::Owned(items) => items.next().map(Cow::Owned),
            ListIter::Borrowed(items) => items.next().map(Cow::Borrowed),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            ListIter::Owned(items) => items.size_hint(),
            ListIter::Borrowed(items) => items.size_hint(),
        }
    }
}

impl ExactSizeIterator for ListIter<'_> {}

/// Returns the elements of a reply that must be a list.
pub(super) fn list<'de>(
    value: Cow<'de, Value>,
    wanted: &'static str,
) -> Result<ListIter<'de>, Failure> {
    match value {
        Cow::Owned(Value::Array(items)) => Ok(ListIter::Owned(items.into_iter())),
        Cow::Borrowed(Value::Array(items)) => Ok(ListIter::Borrowed(items.iter())),
        other => Err(unexpected_kind(wanted, &other)),
    }
}

/// serde's `SeqAccess` for the elements of a list.
#[derive(Debug)]
pub(super) struct Elements<'de, I> {
    pub(super) items: I,
    pub(super) at: usize,
    pub(super) hints: Option<&'de Hints>,
}

impl<'de, I: ExactSizeIterator<Item = Cow<'de, Value>>> SeqAccess<'de> for Elements<'de, I> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        let item = Item { value, hints: self.hints, scalar: None };
        seed.deserialize(item).map(Some).map_err(|error| error.at_element(at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// serde's `SeqAccess` for the bytes of a string as a list of `u8`. Other types are an error.
struct ByteElements<'a>(slice::Iter<'a, u8>);

impl<'de> SeqAccess<'de> for ByteElements<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        self.0.next().map(|byte| seed.deserialize(ByteElement(*byte))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct ByteElement(u8);

impl<'de> Deserializer<'de> for ByteElement {
    type Error = Failure;

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u8(self.0)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(Failure::unexpected("a list", "a string"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// Returns the failure for a reply of the wrong kind.
pub(super) fn unexpected_kind(wanted: &'static str, value: &Value) -> Failure {
    match value {
        Value::Error(error) => Error::from(error.clone()).into(),
        other => Failure::unexpected(wanted, other.kind()),
    }
}

pub(super) fn wrong_length(wanted: usize, found: usize) -> Failure {
    Failure::unexpected(format!("length {wanted}"), format!("length {found}"))
}

/// Turns `Error::Nil` into a conversion error, which names its position: the nil is an element of
/// the reply.
fn no_nil(wanted: &'static str, error: Error) -> Failure {
    match error {
        Error::Nil => unexpected_kind(wanted, &Value::Nil),
        other => other.into(),
    }
}
