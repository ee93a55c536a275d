//! One value from the next few elements of a list that goes on.

use std::borrow::Cow;
use std::vec;

use serde::de::{Deserializer, Visitor};

use super::de::{Elements, Item};
use super::failure::Failure;
use super::fields::{Names, visit_fields};
use super::forward::forward_to_item;
use crate::value::Value;

/// The beginning of what is left of a list: one element for most types, as many as it has fields
/// for a struct, as many as it has members for a tuple.
pub(super) struct Row<'a> {
    pub(super) rest: &'a mut vec::IntoIter<Value>,
    /// Whether there are only rows of this type.
    pub(super) to_the_end: bool,
}

impl<'a> Row<'a> {
    fn item<'de>(self) -> Result<Item<'de>, Failure> {
        match self.rest.next() {
            Some(value) => Ok(Item::owned(value)),
            None => Err(Failure::unfit("a value", "the end of the list")),
        }
    }

    fn items<'de>(
        self,
        count: usize,
    ) -> Result<impl ExactSizeIterator<Item = Cow<'de, Value>> + use<'a, 'de>, Failure> {
        let left = self.rest.len();
        if count == 0 {
            return Err(Failure::unfit("a type of one or more values", "one of none"));
        }
        if self.to_the_end && left % count != 0 {
            let wanted = format!("a length that is a multiple of {count}");
            return Err(Failure::unfit(wanted, format!("length {left}")));
        }
        if left < count {
            return Err(Failure::unfit(format!("{count} values"), left.to_string()));
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

    /// A map is a list within the list. A struct with `flatten` asks for a map too, and does not
    /// tell its fields.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.rest.as_slice().first() {
            Some(Value::Array(_)) => self.item()?.deserialize_map(visitor),
            _ => Err(Failure::unfit("the names of the fields (see scan_slice_fields)", "none")),
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
