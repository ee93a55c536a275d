//! A list, element by element.

use std::fmt;

use super::{FromValue, element, in_element, wrong_length};
use crate::error::{Error, Result};
use crate::value::Value;

/// Where the elements of a list come from.
pub(crate) trait Source {
    /// The next one.
    fn next(&mut self) -> Result<Value>;

    /// The next one, if it is a string that can be lent: its bytes.
    fn next_bulk(&mut self) -> Option<&[u8]> {
        None
    }
}

/// The elements of a list, which are in memory or are received one by one.
#[doc(hidden)]
pub struct Items<'a> {
    source: &'a mut dyn Source,
    length: usize,
    taken: usize,
    /// How many of them are known to be there, at least.
    known: usize,
    /// Why there are no more.
    fault: Option<Error>,
}

impl<'a> Items<'a> {
    /// So many elements as were asked for, or are in memory.
    pub(crate) fn known(length: usize, source: &'a mut dyn Source) -> Items<'a> {
        Items { source, length, taken: 0, known: length, fault: None }
    }

    /// So many elements as a peer has announced. The source is not asked again after an error.
    pub(crate) fn announced(length: usize, source: &'a mut dyn Source) -> Items<'a> {
        /// The memory that an announced length is worth.
        const FIRST: usize = 1024;
        Items { known: FIRST, ..Items::known(length, source) }
    }

    /// Takes and drops what was not wanted.
    ///
    /// # Errors
    /// That of the source, whatever the conversion has made of it.
    pub(crate) fn finish(mut self) -> Result<()> {
        while self.left() > 0 {
            let _ = self.next();
        }
        self.fault.map_or(Ok(()), Err)
    }

    pub(super) fn left(&self) -> usize {
        self.length - self.taken
    }

    fn next(&mut self) -> Result<Value> {
        if self.left() == 0 {
            return Ok(Value::Nil);
        }
        self.taken += 1;
        let next = self.source.next();
        if let Err(error) = &next {
            self.fault = Some(error.clone());
            self.taken = self.length;
        }
        next
    }

    /// The next element, converted.
    pub(super) fn take<T: FromValue>(&mut self) -> Result<T> {
        let index = self.taken;
        if self.left() > 0 {
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

    /// For how many of `count` more elements to set memory aside: for no more of it than the reply
    /// itself has taken so far, however large one element is, because their number is the
    /// server's choice.
    pub(super) fn room<T>(&self, count: usize) -> usize {
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

    struct Nothing;
    impl Source for Nothing {
        fn next(&mut self) -> Result<Value> {
            Ok(Value::Nil)
        }
    }

    #[test]
    fn large_elements_get_no_more_room_than_the_reply_took() {
        let mut nothing = Nothing;
        let here = Items::known(10, &mut nothing);
        assert_eq!(here.room::<i64>(10), 10);
        assert_eq!(here.room::<()>(10), 10);
        assert_eq!(here.room::<[u64; 16]>(10), 10 * size_of::<Value>() / 128);
        assert_eq!(here.room::<[u8; 1 << 30]>(10), 0);
    }

    #[test]
    fn elements_that_were_only_announced_get_next_to_no_room() {
        let mut nothing = Nothing;
        let mut items = Items::announced(1 << 40, &mut nothing);
        assert_eq!(items.room::<Value>(items.left()), 1024);
        (0..5000).for_each(|_| drop(items.next()));
        assert_eq!(items.room::<Value>(items.left()), 5000);
    }
}
