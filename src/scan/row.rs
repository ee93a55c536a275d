//! [`Row`]: one value from the next few elements of a list.

use std::borrow::Cow;
use std::vec;

use serde::de::{Deserializer, Visitor};

use super::de::{Elements, Item};
use super::failure::Failure;
use super::fields::{Names, visit_fields};
use super::forward::forward_to_item;
use crate::value::Value;

/// The next elements of a list. A struct takes one for each field, a tuple one for each member, any
/// other type takes one.
pub(super) struct Row<'a> {
    pub(super) rest: &'a mut vec::IntoIter<Value>,
    /// True if the rest of the list has only rows of this type.
    pub(super) only_rows: bool,
}

impl<'a> Row<'a> {
    fn item<'de>(self) -> Result<Item<'de>, Failure> {
        match self.rest.next() {
            Some(value) => Ok(Item::owned(value)),
            None => Err(Failure::unexpected("a value", "the end of the list")),
        }
    }

    fn items<'de>(
        self,
        count: usize,
    ) -> Result<impl ExactSizeIterator<Item = Cow<'de, Value>> + use<'a, 'de>, Failure> {
        let left = self.rest.len();
        if count == 0 {
            return Err(Failure::unexpected("a type that takes values", "one that takes none"));
        }
        if self.only_rows && left % count != 0 {
            let wanted = format!("a length that is a multiple of {count}");
            return Err(Failure::unexpected(wanted, format!("length {left}")));
        }
        if left < count {
            return Err(Failure::unexpected(format!("{count} values"), left.to_string()));
        }
        Ok(self.rest.take(count).map(Cow::Owned))
    }
}

impl<'de> Deserializer<'de> for Row<'_> {
    type Error = Failure;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let items = self.items(fields.len())?;
        visit_fields(items, Names::Given(fields.iter()), None, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let items = self.items(length)?;
        visitor.visit_seq(Elements { items, at: 0, hints: None })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(length, visitor)
    }

    /// Reads a map from a nested list. A struct with `flatten` requests a map too, without naming its
    /// fields.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.rest.as_slice().first() {
            Some(Value::Array(_)) => self.item()?.deserialize_map(visitor),
            _ => Err(Failure::unexpected("field names (see scan_slice_fields)", "none")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.rest.as_slice().first() {
            Some(Value::Nil) => {
                self.rest.next();
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_item! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_unit deserialize_unit_struct deserialize_seq deserialize_enum
        deserialize_identifier deserialize_ignored_any
    }
}
