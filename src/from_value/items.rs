//! [`Items`]: a list that is converted element by element.

use std::fmt;

use super::{FromValue, element, in_element, wrong_length};
use crate::error::{Error, Result};
use crate::value::Value;

/// The source of the elements of a list.
pub(crate) trait Source {
    /// Returns the next element.
    fn next(&mut self) -> Result<Value>;

    /// Returns the bytes of the next element without a copy if it is a bulk string that can be
    /// borrowed.
    fn next_bulk(&mut self) -> Option<&[u8]> {
        None
    }
}

/// The elements of a list. They are in memory, or are received one by one.
#[doc(hidden)]
pub struct Items<'a> {
    source: &'a mut dyn Source,
    length: usize,
    taken: usize,
    /// The next element, if it was inspected before it is taken.
    peeked: Option<Value>,
    /// The number of elements that is certain. `length` can be an announcement of the server.
    known: usize,
    /// The error of the source, after which it is not called again.
    failure: Option<Error>,
}

impl<'a> Items<'a> {
    /// Creates a list whose length is certain: the elements are in memory or were requested.
    pub(crate) fn known(length: usize, source: &'a mut dyn Source) -> Items<'a> {
        Items { source, length, taken: 0, peeked: None, known: length, failure: None }
    }

    /// Creates a list whose length the server has announced. The source is not called again after
    /// an error.
    pub(crate) fn announced(length: usize, source: &'a mut dyn Source) -> Items<'a> {
        /// The number of elements for which memory is reserved before any of them is received.
        const FIRST: usize = 1024;
        Items { known: FIRST, ..Items::known(length, source) }
    }

    /// Takes and drops the elements that the conversion left.
    ///
    /// # Errors
    /// The error of the source, even if the conversion ignored it.
    pub(crate) fn finish(mut self) -> Result<()> {
        while self.left() > 0 {
            let _ = self.next();
        }
        self.failure.map_or(Ok(()), Err)
    }

    pub(super) fn left(&self) -> usize {
        self.length - self.taken
    }

    fn next(&mut self) -> Result<Value> {
        if self.left() == 0 {
            return Ok(Value::Nil);
        }
        let next = match self.peeked.take() {
            Some(value) => Ok(value),
            None => self.source.next(),
        };
        self.taken += 1;
        if let Err(error) = &next {
            self.failure = Some(error.clone());
            self.taken = self.length;
        }
        next
    }

    /// Returns true if there are elements and the first is not a list.
    ///
    /// # Errors
    /// The error of the source, or the server's error if that is the first element.
    pub(super) fn is_flat(&mut self) -> Result<bool> {
        if self.left() == 0 {
            return Ok(false);
        }
        let first = self.next()?;
        self.taken -= 1;
        match self.peeked.insert(first) {
            Value::Error(error) => Err(error.clone().into()),
            Value::Array(_) => Ok(false),
            _ => Ok(true),
        }
    }

    /// Takes the next element and converts it.
    pub(super) fn take<T: FromValue>(&mut self) -> Result<T> {
        let index = self.taken;
        if self.left() > 0 && self.peeked.is_none() {
            if let Some(bytes) = self.source.next_bulk() {
                self.taken += 1;
                return T::from_bulk(bytes).map_err(|error| in_element::<T>(index, error));
            }
        }
        element(index, self.next()?)
    }

    pub(super) fn check_length(&self, length: usize) -> Result<()> {
        if self.left() == length { Ok(()) } else { Err(wrong_length(length, self.left())) }
    }

    /// Returns for how many of `count` more elements to reserve memory. The server chooses `count`,
    /// so the reservation is never larger than the memory that the reply itself has taken so far.
    pub(super) fn capacity_for<T>(&self, count: usize) -> usize {
        let bytes = self.known.max(self.taken).saturating_mul(size_of::<Value>());
        count.min(bytes / size_of::<T>().max(1))
    }
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("left", &self.left()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nils;
    impl Source for Nils {
        fn next(&mut self) -> Result<Value> {
            Ok(Value::Nil)
        }
    }

    #[test]
    fn capacity_for_large_elements_is_bounded_by_the_reply() {
        let mut nils = Nils;
        let items = Items::known(10, &mut nils);
        assert_eq!(items.capacity_for::<i64>(10), 10);
        assert_eq!(items.capacity_for::<()>(10), 10);
        assert_eq!(items.capacity_for::<[u64; 16]>(10), 10 * size_of::<Value>() / 128);
        assert_eq!(items.capacity_for::<[u8; 1 << 30]>(10), 0);
    }

    #[test]
    fn an_announced_length_reserves_little_capacity() {
        let mut nils = Nils;
        let mut items = Items::announced(1 << 40, &mut nils);
        assert_eq!(items.capacity_for::<Value>(items.left()), 1024);
        (0..5000).for_each(|_| drop(items.next()));
        assert_eq!(items.capacity_for::<Value>(items.left()), 5000);
    }
}
