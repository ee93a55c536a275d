//! Conversion of lists to vectors, arrays, sets, maps and tuples.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use super::items::{Items, Source};
use super::{FromValue, unexpected_kind, wrong_length};
use crate::error::{ConvertError, Result};
use crate::value::Value;

impl<T: FromValue> FromValue for Vec<T> {
    const WANTED: &'static str = T::WANTED_LIST;

    fn from_value(value: Value) -> Result<Vec<T>> {
        T::from_list(value)
    }

    fn from_items(items: &mut Items<'_>) -> Result<Vec<T>> {
        elements(items)
    }
}

impl<T: FromValue, const N: usize> FromValue for [T; N] {
    const WANTED: &'static str = T::WANTED_LIST;

    fn from_value(value: Value) -> Result<[T; N]> {
        exactly(T::from_list(value)?)
    }

    fn from_items(items: &mut Items<'_>) -> Result<[T; N]> {
        exactly(elements(items)?)
    }
}

macro_rules! sets {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> FromValue for $type {
            const WANTED: &'static str = "a list";

            fn from_value(value: Value) -> Result<$type> {
                from_list(value, Self::WANTED, Self::from_items)
            }

            fn from_items(items: &mut Items<'_>) -> Result<$type> {
                Ok(elements(items)?.into_iter().collect())
            }
        }
    )*};
}

sets! {
    [T: FromValue + Eq + Hash, S: BuildHasher + Default] HashSet<T, S>;
    [T: FromValue + Ord] BTreeSet<T>;
}

macro_rules! maps {
    ($([$($generics:tt)*] $type:ty = |$capacity:pat_param| $new:expr;)*) => {$(
        impl<$($generics)*> FromValue for $type {
            const WANTED: &'static str = "a list of keys and values";

            fn from_value(value: Value) -> Result<$type> {
                from_list(value, Self::WANTED, Self::from_items)
            }

            fn from_items(items: &mut Items<'_>) -> Result<$type> {
                if items.left() % 2 != 0 {
                    let found = format!("length {}", items.left());
                    return Err(ConvertError::new("a list of even length", found).into());
                }
                let $capacity = items.capacity_for::<(K, V)>(items.left() / 2);
                let mut map = $new;
                while items.left() > 0 {
                    map.insert(items.take()?, items.take()?);
                }
                Ok(map)
            }
        }
    )*};
}

maps! {
    [K: FromValue + Eq + Hash, V: FromValue, S: BuildHasher + Default] HashMap<K, V, S> =
        |capacity| HashMap::with_capacity_and_hasher(capacity, S::default());
    [K: FromValue + Ord, V: FromValue] BTreeMap<K, V> = |_| BTreeMap::new();
}

macro_rules! tuple {
    ($($name:ident)*) => {
        impl<$($name: FromValue),*> FromValue for ($($name,)*) {
            const WANTED: &'static str = "a list";
            const WIDTH: usize = [$(stringify!($name)),*].len();

            fn from_value(value: Value) -> Result<Self> {
                from_list(value, Self::WANTED, Self::from_items)
            }

            fn from_items(items: &mut Items<'_>) -> Result<Self> {
                items.check_length(Self::WIDTH)?;
                Self::from_row(items)
            }

            fn from_row(items: &mut Items<'_>) -> Result<Self> {
                Ok(($(items.take::<$name>()?,)*))
            }
        }
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }
tuple! { A B C D E F G H I }
tuple! { A B C D E F G H I J }
tuple! { A B C D E F G H I J K }
tuple! { A B C D E F G H I J K L }

/// Converts a reply that must be a list and has been received completely.
pub(super) fn from_list<T>(
    value: Value,
    wanted: &'static str,
    convert: impl FnOnce(&mut Items<'_>) -> Result<T>,
) -> Result<T> {
    let Value::Array(list) = value else { return Err(unexpected_kind(wanted, value)) };
    convert(&mut Items::known(list.len(), &mut list.into_iter()))
}

impl Source for std::vec::IntoIter<Value> {
    fn next(&mut self) -> Result<Value> {
        Ok(Iterator::next(self).unwrap_or(Value::Nil))
    }
}

/// Converts all elements of a list.
pub(super) fn elements<T: FromValue>(items: &mut Items<'_>) -> Result<Vec<T>> {
    if T::WIDTH > 0 && items.is_flat()? {
        return rows(items);
    }
    let mut elements = Vec::with_capacity(items.capacity_for::<T>(items.left()));
    while items.left() > 0 {
        elements.push(items.take()?);
    }
    Ok(elements)
}

/// Converts a flat list, of which each value takes `WIDTH` elements.
fn rows<T: FromValue>(items: &mut Items<'_>) -> Result<Vec<T>> {
    if items.left() % T::WIDTH != 0 {
        let wanted = format!("a length that is a multiple of {}", T::WIDTH);
        return Err(ConvertError::new(wanted, format!("length {}", items.left())).into());
    }
    let mut rows = Vec::with_capacity(items.capacity_for::<T>(items.left() / T::WIDTH));
    while items.left() > 0 {
        rows.push(T::from_row(items)?);
    }
    Ok(rows)
}

fn exactly<T, const N: usize>(items: Vec<T>) -> Result<[T; N]> {
    <[T; N]>::try_from(items).map_err(|items| wrong_length(N, items.len()))
}
