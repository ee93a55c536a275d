//! [`forward_to_item`]: a macro for deserializers that behave like an `Item` in most methods.

/// Implements these methods of serde's `Deserializer` by calling them on `self.item()`.
macro_rules! forward_to_item {
    ($($method:ident)*) => {
        $(forward_to_item! { @ $method })*
    };
    (@ deserialize_unit_struct) => {
        forward_to_item! { @ deserialize_unit_struct(name: &'static str) }
    };
    (@ deserialize_newtype_struct) => {
        forward_to_item! { @ deserialize_newtype_struct(name: &'static str) }
    };
    (@ deserialize_tuple) => {
        forward_to_item! { @ deserialize_tuple(length: usize) }
    };
    (@ deserialize_tuple_struct) => {
        forward_to_item! { @ deserialize_tuple_struct(name: &'static str, length: usize) }
    };
    (@ deserialize_struct) => {
        forward_to_item! {
            @ deserialize_struct(name: &'static str, fields: &'static [&'static str])
        }
    };
    (@ deserialize_enum) => {
        forward_to_item! {
            @ deserialize_enum(name: &'static str, variants: &'static [&'static str])
        }
    };
    (@ $method:ident) => {
        forward_to_item! { @ $method() }
    };
    (@ $method:ident($($arg:ident: $type:ty),*)) => {
        fn $method<V: serde::de::Visitor<'de>>(
            self,
            $($arg: $type,)*
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            self.item()?.$method($($arg,)* visitor)
        }
    };
}

pub(super) use forward_to_item;
