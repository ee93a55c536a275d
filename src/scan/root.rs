//! One reply that becomes one value, scanned again where that is needed.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use serde::de::{DeserializeOwned, Deserializer, Visitor};

use super::de::{Item, list};
use super::failure::Failure;
use super::fields::{Names, visit_fields};
use super::flatten::{Fields, Hints, Watch};
use super::forward::forward_to_item;
use crate::error::{Error, Result};
use crate::value::Value;

/// Scans one value. The hints are those of replies that were scanned to the same type before, and
/// grow.
pub(super) fn scan_one<T: DeserializeOwned>(
    value: Value,
    names: Option<&[&str]>,
    hints: &mut Hints,
) -> Result<T, Failure> {
    let source = Source { fresh: Cell::new(Some(value)), kept: OnceCell::new(), names };
    let mut inherited = !hints.is_empty();
    loop {
        let watch = Watch::start();
        let scanned = T::deserialize(Whole { source: &source, hints });
        let mismatches = watch.mismatches();
        let Some(value) = source.kept.get() else { return scanned };
        let fields = Fields { value, names };
        if hints.learn(&fields, &mismatches) {
            continue;
        }
        return match scanned {
            Err(_) if inherited => {
                // The earlier replies may have been another variant of an enum.
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

/// The reply. It is taken apart by the first who wants it, or lent to all who want it.
struct Source<'n> {
    fresh: Cell<Option<Value>>,
    kept: OnceCell<Value>,
    /// The names of the values, where they are not in the reply.
    names: Option<&'n [&'n str]>,
}

impl Source<'_> {
    fn keep(&self) -> &Value {
        self.kept.get_or_init(|| self.fresh.take().unwrap_or(Value::Nil))
    }

    fn take(&self) -> Cow<'_, Value> {
        match self.fresh.take() {
            Some(value) => Cow::Owned(value),
            None => Cow::Borrowed(self.keep()),
        }
    }

    /// Nil, or the empty list that stands for a hash that is not there.
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

/// A reply as a whole: types that are taken for structs read it as names and values.
struct Whole<'de> {
    source: &'de Source<'de>,
    hints: &'de Hints,
}

impl<'de> Whole<'de> {
    /// The reply for a type that takes it apart, and moves what is in it.
    fn item(self) -> Result<Item<'de>, Failure> {
        Ok(Item { value: self.source.take(), hints: Some(self.hints), number: None })
    }

    /// The reply for a type that may put texts aside.
    fn kept_item(self) -> Item<'de> {
        let value = Cow::Borrowed(self.source.keep());
        Item { value, hints: Some(self.hints), number: None }
    }

    fn visit_fields<V: Visitor<'de>>(
        self,
        value: Cow<'de, Value>,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let names = match self.source.names {
            Some(names) => Names::Given(names.iter()),
            None => Names::InTheReply,
        };
        let items = list(value, "a list of names and values")?;
        visit_fields(items, names, Some(self.hints), visitor)
    }
}

impl<'de> Deserializer<'de> for Whole<'de> {
    type Error = Failure;

    /// What an enum asks for that is told apart by a field.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.source.keep() {
            Value::Array(_) => self.deserialize_map(visitor),
            _ => self.kept_item().deserialize_any(visitor),
        }
    }

    /// What a struct with `flatten` asks for.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let value = Cow::Borrowed(self.source.keep());
        self.visit_fields(value, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if let Some(unknown) = self.source.names.and_then(|names| stranger(names, fields)) {
            return Err(Failure::unfit(format!("a field of {name}"), format!("\"{unknown}\"")));
        }
        let value = self.source.take();
        self.visit_fields(value, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.source.is_absent() { visitor.visit_none() } else { visitor.visit_some(self) }
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

/// The first of the names that is not a field.
fn stranger<'n>(names: &'n [&'n str], fields: &[&str]) -> Option<&'n str> {
    names.iter().copied().find(|name| !fields.contains(name))
}
