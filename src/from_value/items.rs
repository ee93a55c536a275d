//! A list, element by element.

use std::fmt;

use super::{FromValue, element, wrong_length};
use crate::error::{Error, Result};
use crate::value::Value;

/// The elements of a list, which are in memory or are received one by one.
#[doc(hidden)]
pub struct Items<'a> {
    source: &'a mut dyn FnMut() -> Result<Value>,
    length: usize,
    taken: usize,
    /// How many of them are known to be there, at least.
    known: usize,
    /// Why there are no more.
    fault: Option<Error>,
}

impl<'a> Items<'a> {
    /// So many elements that are in memory.
    pub(super) fn here(length: usize, source: &'a mut dyn FnMut() -> Result<Value>) -> Items<'a> {
        Items { source, length, taken: 0, known: length, fault: None }
    }

    /// So many elements that a source gives one by one. It is not asked again after an error.
    pub(crate) fn arriving(
        length: usize,
        source: &'a mut dyn FnMut() -> Result<Value>,
    ) -> Items<'a> {
        /// The memory that an announced length is worth.
        const FIRST: usize = 1024;
        Items { source, length, taken: 0, known: FIRST, fault: None }
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
        let next = (self.source)();
        if let Err(error) = &next {
            self.fault = Some(error.clone());
            self.taken = self.length;
        }
        next
    }

    /// The next element, converted.
    pub(super) fn take<T: FromValue>(&mut self) -> Result<T> {
        let index = self.taken;
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

    #[test]
    fn large_elements_get_no_more_room_than_the_reply_took() {
        let mut nothing = || Ok(Value::Nil);
        let here = Items::here(10, &mut nothing);
        assert_eq!(here.room::<i64>(10), 10);
        assert_eq!(here.room::<()>(10), 10);
        assert_eq!(here.room::<[u64; 16]>(10), 10 * size_of::<Value>() / 128);
        assert_eq!(here.room::<[u8; 1 << 30]>(10), 0);
    }

    #[test]
    fn elements_that_were_only_announced_get_next_to_no_room() {
        let mut nothing = || Ok(Value::Nil);
        let mut items = Items::arriving(1 << 40, &mut nothing);
        assert_eq!(items.room::<Value>(items.left()), 1024);
        (0..5000).for_each(|_| drop(items.next()));
        assert_eq!(items.room::<Value>(items.left()), 5000);
    }
}
