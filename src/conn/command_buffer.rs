//! Commands that wait to be sent together.

use std::fmt;
use std::ops::Range;

use crate::args::{ArgWriter, ToArgs};
use crate::error::Result;
use crate::resp::encode;
use crate::resp::number::parse_number;
use crate::value::Value;

/// A list of commands as they go over the wire, in a few allocations however long it is.
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// Where each command ends in `bytes`.
    ends: Vec<usize>,
}

/// Commands that follow each other in a queue.
#[derive(Clone)]
pub struct Encoded<'a> {
    queue: &'a Queue,
    range: Range<usize>,
}

/// One command of a queue; as arguments, its arguments.
#[derive(Clone, Copy)]
pub(super) struct Queued<'a>(&'a [u8]);

impl Queue {
    /// Has room for a few dozen commands: growing step by step from one would cost as much as
    /// encoding them.
    pub(super) fn new() -> Queue {
        const COMMANDS: usize = 64;
        Queue { bytes: Vec::with_capacity(64 * COMMANDS), ends: Vec::with_capacity(COMMANDS) }
    }

    pub(super) fn push(&mut self, command: &str, args: &dyn ToArgs) {
        // Arguments that panicked may have left the beginning of a command.
        self.bytes.truncate(self.start(self.len()));
        encode::whole_command(&mut self.bytes, command, |out| args.write_args(out));
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn range(&self, range: Range<usize>) -> Encoded<'_> {
        Encoded { queue: self, range }
    }

    pub(super) fn get(&self, index: usize) -> Queued<'_> {
        Queued(&self.bytes[self.start(index)..self.start(index + 1)])
    }

    /// How many bytes a command takes.
    pub(super) fn size(&self, index: usize) -> usize {
        self.start(index + 1) - self.start(index)
    }

    /// Where a command begins; that behind the last is where the next one will.
    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Replies as results, whose errors tell the command: the replies to those commands that
    /// follow the first `skip`, which do not count.
    pub(super) fn results(
        &self,
        skip: usize,
        replies: Vec<Value>,
    ) -> impl Iterator<Item = Result<Value>> {
        replies.into_iter().enumerate().map(move |(index, reply)| match reply {
            Value::Error(error) => {
                Err(error.of_command(index, self.get(skip + index).name()).into())
            }
            reply => Ok(reply),
        })
    }
}

impl<'a> Encoded<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = Queued<'a>> {
        let queue = self.queue;
        self.range.clone().map(|index| queue.get(index))
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        &self.queue.bytes[self.queue.start(self.range.start)..self.queue.start(self.range.end)]
    }
}

impl<'a> Queued<'a> {
    pub(super) fn name(self) -> &'a str {
        self.parts().next().and_then(|name| std::str::from_utf8(name).ok()).unwrap_or("")
    }

    /// The name and the arguments.
    fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        let _count = take_number(&mut rest);
        std::iter::from_fn(move || {
            let length = take_number(&mut rest)?;
            let (part, behind) = rest.split_at_checked(length)?;
            rest = behind.strip_prefix(b"\r\n")?;
            Some(part)
        })
    }
}

/// Takes a sign and the number behind it.
fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let (_, line) = bytes.split_first()?;
    let (number, length) = parse_number(line).ok()??;
    *bytes = &line[length..];
    usize::try_from(number).ok()
}

impl fmt::Debug for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No name and no arguments: either may be a secret.
        write!(f, "Encoded({} commands)", self.range.len())
    }
}

impl ToArgs for Queued<'_> {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        self.parts().skip(1).for_each(|arg| out.bytes(arg));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    fn listed(queue: &Queue) -> Vec<(&str, Args)> {
        let commands = queue.range(0..queue.len());
        commands.iter().map(|command| (command.name(), Args::new().args(command))).collect()
    }

    #[test]
    fn a_queue_gives_back_what_it_was_given() {
        let mut queue = Queue::new();
        queue.push("PING", &());
        queue.push("MSET", &("a", 1, "bb", ""));
        queue.push("", &"lone");
        queue.push("GET", &"a\r\n$1\r\n");
        queue.push("DEL", &vec!["x".repeat(100_000); 12]);
        let expected = [
            ("PING", Args::new()),
            ("MSET", crate::args!["a", 1, "bb", ""]),
            ("", crate::args!["lone"]),
            ("GET", crate::args!["a\r\n$1\r\n"]),
            ("DEL", Args::new().args(vec!["x".repeat(100_000); 12])),
        ];
        assert!(listed(&queue) == expected);
        let mut wire = Vec::new();
        for (index, (name, args)) in expected.iter().enumerate() {
            let before = wire.len();
            encode::whole_command(&mut wire, name, |out| args.write_args(out));
            assert_eq!(queue.size(index), wire.len() - before, "{name}");
            assert!(queue.range(0..index + 1).bytes() == wire, "{name}");
            assert!(queue.range(index..index + 1).bytes() == &wire[before..], "{name}");
        }
    }

    #[test]
    fn arguments_that_panic_leave_nothing_behind() {
        struct Bomb;
        impl ToArgs for Bomb {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                out.bytes(b"half");
                panic!("in the middle");
            }
        }
        let mut queue = Queue::new();
        queue.push("GET", &"a");
        let push = std::panic::AssertUnwindSafe(|| queue.push("SET", &Bomb));
        assert!(std::panic::catch_unwind(push).is_err());
        queue.push("GET", &"b");
        assert_eq!(listed(&queue), [("GET", crate::args!["a"]), ("GET", crate::args!["b"])]);
    }
}
