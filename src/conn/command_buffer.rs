//! Commands that are encoded ahead and sent together.

use std::fmt;
use std::ops::Range;

use crate::args::{ArgWriter, ToArgs};
use crate::conn::session::refuse_subscription;
use crate::error::{Error, Result};
use crate::resp::encode;
use crate::resp::number::parse_number;
use crate::value::Value;

/// A list of encoded commands, in a few allocations however long it is.
pub(super) struct CommandBuffer {
    bytes: Vec<u8>,
    /// The end of each command in `bytes`.
    ends: Vec<usize>,
    /// A command that must not be sent.
    refused: Option<Error>,
}

/// Consecutive commands of a pipeline, encoded.
///
/// Part of [`RawSend`](crate::raw::RawSend), and opaque.
#[derive(Clone)]
pub struct EncodedCommands<'a> {
    buffer: &'a CommandBuffer,
    range: Range<usize>,
}

/// One encoded command. Used as arguments, it writes its arguments.
#[derive(Clone, Copy)]
pub(super) struct EncodedCommand<'a>(&'a [u8]);

impl CommandBuffer {
    /// Has room for a few dozen commands: growing from nothing would cost as much as encoding.
    pub(super) fn new() -> CommandBuffer {
        const COMMANDS: usize = 64;
        CommandBuffer {
            bytes: Vec::with_capacity(64 * COMMANDS),
            ends: Vec::with_capacity(COMMANDS),
            refused: None,
        }
    }

    pub(super) fn push(&mut self, command: &str, args: &dyn ToArgs) {
        if let Err(error) = refuse_subscription(command) {
            self.refused.get_or_insert(error);
        }
        // Arguments that panicked may have left an incomplete command.
        self.bytes.truncate(self.start(self.len()));
        encode::whole_command(&mut self.bytes, command, |out| args.write_args(out));
        self.ends.push(self.bytes.len());
    }

    /// Fails if a command must not be sent.
    pub(super) fn check(&self) -> Result<()> {
        self.refused.clone().map_or(Ok(()), Err)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn range(&self, range: Range<usize>) -> EncodedCommands<'_> {
        EncodedCommands { buffer: self, range }
    }

    pub(super) fn get(&self, index: usize) -> EncodedCommand<'_> {
        EncodedCommand(&self.bytes[self.start(index)..self.start(index + 1)])
    }

    /// The length of a command in bytes.
    pub(super) fn size(&self, index: usize) -> usize {
        self.start(index + 1) - self.start(index)
    }

    /// The start of a command. The index behind the last gives the start of the next one.
    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Turns replies into results whose errors name the command. The replies belong to the
    /// commands after the first `skip`; indexes are counted from there.
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

impl<'a> EncodedCommands<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = EncodedCommand<'a>> {
        let buffer = self.buffer;
        self.range.clone().map(|index| buffer.get(index))
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        &self.buffer.bytes[self.buffer.start(self.range.start)..self.buffer.start(self.range.end)]
    }
}

impl<'a> EncodedCommand<'a> {
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

/// Takes a type byte and the number behind it.
fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let (_, line) = bytes.split_first()?;
    let (number, length) = parse_number(line).ok()??;
    *bytes = &line[length..];
    usize::try_from(number).ok()
}

impl fmt::Debug for EncodedCommands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither names nor arguments: both may be secrets.
        write!(f, "EncodedCommands({} commands)", self.range.len())
    }
}

impl ToArgs for EncodedCommand<'_> {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        self.parts().skip(1).for_each(|arg| out.bytes(arg));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;

    fn listed(buffer: &CommandBuffer) -> Vec<(&str, Args)> {
        let commands = buffer.range(0..buffer.len());
        commands.iter().map(|command| (command.name(), Args::new().args(command))).collect()
    }

    #[test]
    fn encoded_commands_decode_to_what_was_pushed() {
        let mut buffer = CommandBuffer::new();
        buffer.push("PING", &());
        buffer.push("MSET", &("a", 1, "bb", ""));
        buffer.push("", &"lone");
        buffer.push("GET", &"a\r\n$1\r\n");
        buffer.push("DEL", &vec!["x".repeat(100_000); 12]);
        let expected = [
            ("PING", Args::new()),
            ("MSET", crate::args!["a", 1, "bb", ""]),
            ("", crate::args!["lone"]),
            ("GET", crate::args!["a\r\n$1\r\n"]),
            ("DEL", Args::new().args(vec!["x".repeat(100_000); 12])),
        ];
        assert!(listed(&buffer) == expected);
        let mut wire = Vec::new();
        for (index, (name, args)) in expected.iter().enumerate() {
            let before = wire.len();
            encode::whole_command(&mut wire, name, |out| args.write_args(out));
            assert_eq!(buffer.size(index), wire.len() - before, "{name}");
            assert!(buffer.range(0..index + 1).bytes() == wire, "{name}");
            assert!(buffer.range(index..index + 1).bytes() == &wire[before..], "{name}");
        }
    }

    #[test]
    fn arguments_that_panic_leave_no_incomplete_command() {
        struct Bomb;
        impl ToArgs for Bomb {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                out.bytes(b"half");
                panic!("in the middle");
            }
        }
        let mut buffer = CommandBuffer::new();
        buffer.push("GET", &"a");
        let push = std::panic::AssertUnwindSafe(|| buffer.push("SET", &Bomb));
        assert!(std::panic::catch_unwind(push).is_err());
        buffer.push("GET", &"b");
        assert_eq!(listed(&buffer), [("GET", crate::args!["a"]), ("GET", crate::args!["b"])]);
    }
}
