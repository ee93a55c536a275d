//! [`scan_one`]: one value from one reply, scanned again if types were buffered.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use serde::de::{DeserializeOwned, Deserializer, Visitor};

use super::de::{Item, list};
use super::failure::Failure;
use super::fields::{Names, visit_fields};
use super::flatten::{Hints, MismatchLog, ReplyFields};
use super::forward::forward_to_item;
use crate::error::{Error, Result};
use crate::value::Value;

/// Scans one value. `hints` come from earlier replies that were scanned to the same type; new ones
/// are added.
pub(super) fn scan_one<T: DeserializeOwned>(
    value: Value,
    names: Option<&[&str]>,
    hints: &mut Hints,
) -> Result<T, Failure> {
    let reply = SharedReply { fresh: Cell::new(Some(value)), kept: OnceCell::new(), names };
    let mut inherited = !hints.is_empty();
    loop {
        let log = MismatchLog::start();
        let scanned = T::deserialize(Root { reply: &reply, hints });
        let mismatches = log.mismatches();
        let Some(value) = reply.kept.get() else { return scanned };
        let fields = ReplyFields { value, names };
        if hints.learn(&fields, &mismatches) {
            continue;
        }
        return match scanned {
            Err(_) if inherited => {
                // The hints can come from another variant of an enum.
                hints.clear();
                inherited = false;
                continue;
            }
            Err(failure) => {
                let last = mismatches.last();
                Err(last.and_then(|last| fields.explain(last)).map_or(failure, Error::into))
            }
            scanned => scanned,
        };
    }
}

/// The reply: moved to the first user that takes it, or kept and borrowed by all users.
struct SharedReply<'n> {
    fresh: Cell<Option<Value>>,
    kept: OnceCell<Value>,
    /// The names of the values, if they are not in the reply.
    names: Option<&'n [&'n str]>,
}

impl SharedReply<'_> {
    fn keep(&self) -> &Value {
        self.kept.get_or_init(|| self.fresh.take().unwrap_or(Value::Nil))
    }

    fn take(&self) -> Cow<'_, Value> {
        match self.fresh.take() {
            Some(value) => Cow::Owned(value),
            None => Cow::Borrowed(self.keep()),
        }
    }

    /// Returns true for nil and for the empty list, the reply for a hash that does not exist.
    fn is_absent(&self) -> bool {
        let value = self.take();
        let absent = match &*value {
            Value::Nil => true,
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if let Cow::Owned(value) = value {
            self.fresh.set(Some(value));
        }
        absent
    }
}

/// Deserializes the whole reply. Structs and maps read it as names and values.
struct Root<'de> {
    reply: &'de SharedReply<'de>,
    hints: &'de Hints,
}

impl<'de> Root<'de> {
    /// Returns the reply for a type that does not buffer texts. Its contents can be moved.
    fn item(self) -> Result<Item<'de>, Failure> {
        Ok(Item { value: self.reply.take(), hints: Some(self.hints), scalar: None })
    }

    /// Returns the reply for a type that can buffer texts. Its contents are borrowed.
    fn kept_item(self) -> Item<'de> {
        let value = Cow::Borrowed(self.reply.keep());
        Item { value, hints: Some(self.hints), scalar: None }
    }

    fn visit_fields<V: Visitor<'de>>(
        self,
        value: Cow<'de, Value>,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let names = match self.reply.names {
            Some(names) => Names::Given(names.iter()),
            None => Names::InTheReply,
        };
        let items = list(value, "a list of names and values")?;
        visit_fields(items, names, Some(self.hints), visitor)
    }
}

impl<'de> Deserializer<'de> for Root<'de> {
    type Error = Failure;

    /// Reads an internally tagged enum.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.reply.keep() {
            Value::Array(_) => self.deserialize_map(visitor),
            _ => self.kept_item().deserialize_any(visitor),
        }
    }

    /// Reads a map, or a struct with `flatten`.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let value = Cow::Borrowed(self.reply.keep());
        self.visit_fields(value, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if let Some(unknown) = self.reply.names.and_then(|names| first_unknown_field(names, fields))
        {
            return Err(Failure::unexpected(
                format!("a field of {name}"),
                format!("\"{unknown}\""),
            ));
        }
        let value = self.reply.take();
        self.visit_fields(value, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.reply.is_absent() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.kept_item().deserialize_seq(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.kept_item().deserialize_tuple(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.kept_item().deserialize_tuple_struct(name, length, visitor)
    }

    forward_to_item! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_unit_struct deserialize_enum deserialize_identifier deserialize_ignored_any
    }
}

/// Returns the first of the names that is not a field.
fn first_unknown_field<'n>(names: &'n [&'n str], fields: &[&str]) -> Option<&'n str> {
    names.iter().copied().find(|name| !fields.contains(name))
}
