//! Short constructors of values.

use redigo::Value;

pub(crate) fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::Array(items.into())
}

pub(crate) fn bulk(text: &str) -> Value {
    Value::from(text)
}

pub(crate) fn bulks<const N: usize>(texts: [&str; N]) -> Value {
    list(texts.map(bulk))
}
