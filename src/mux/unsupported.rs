//! Commands that do not belong on a connection that many share.

use crate::args::Args;
use crate::conn::session::Session;
use crate::error::Error;

const TRANSACTION: &str = "a transaction needs a connection of its own";
const STREAM: &str = "it makes the connection a stream of messages";
const STATE: &str = "it changes the connection for everybody";
const BLOCKS: &str = "it holds up every command behind it";

/// Whole commands, in capitals.
const REFUSED: &[(&str, &str)] = &[
    ("WATCH", TRANSACTION),
    ("UNWATCH", TRANSACTION),
    ("MULTI", TRANSACTION),
    ("EXEC", TRANSACTION),
    ("DISCARD", TRANSACTION),
    ("SUBSCRIBE", STREAM),
    ("PSUBSCRIBE", STREAM),
    ("SSUBSCRIBE", STREAM),
    ("UNSUBSCRIBE", STREAM),
    ("PUNSUBSCRIBE", STREAM),
    ("SUNSUBSCRIBE", STREAM),
    ("MONITOR", STREAM),
    ("SYNC", STREAM),
    ("PSYNC", STREAM),
    ("REPLCONF", STREAM),
    ("SELECT", STATE),
    ("AUTH", STATE),
    ("HELLO", STATE),
    ("RESET", STATE),
    ("QUIT", STATE),
    ("READONLY", STATE),
    ("READWRITE", STATE),
    ("ASKING", STATE),
    ("BLPOP", BLOCKS),
    ("BRPOP", BLOCKS),
    ("BLMOVE", BLOCKS),
    ("BRPOPLPUSH", BLOCKS),
    ("BLMPOP", BLOCKS),
    ("BZPOPMIN", BLOCKS),
    ("BZPOPMAX", BLOCKS),
    ("BZMPOP", BLOCKS),
    ("WAIT", BLOCKS),
    ("WAITAOF", BLOCKS),
];

/// Why a command cannot be sent; `None` when it can.
#[doc(alias = "lookupCommandInfo")]
pub(crate) fn refuse(command: &str, args: &Args) -> Option<Error> {
    if command.is_empty() {
        return Some(Error::Unsupported("a command without a name".into()));
    }
    let whole = REFUSED.iter().find(|(name, _)| name.eq_ignore_ascii_case(command));
    if let Some((name, why)) = whole {
        return Some(refusal(name, why));
    }
    let reads_streams =
        ["XREAD", "XREADGROUP"].iter().find(|name| name.eq_ignore_ascii_case(command));
    if let Some(name) = reads_streams {
        // The names of the group and the consumer may be any words.
        let names = if *name == "XREADGROUP" { 3 } else { 0 };
        return blocks(args.iter().skip(names)).then(|| refusal(&format!("{name} BLOCK"), BLOCKS));
    }
    // What is judged by its subcommand: CLIENT and SCRIPT.
    let mut session = Session::default();
    session.note(command, args);
    if session.dirty().is_empty() {
        return None;
    }
    // A subcommand is a short word.
    let first = args.iter().next().unwrap_or_default();
    let first = first.get(..32).unwrap_or(first).escape_ascii();
    let name = format!("{command} {first}").to_ascii_uppercase();
    Some(refusal(name.trim_end(), STATE))
}

/// True when one of the options in front of `STREAMS` is `BLOCK`.
fn blocks<'a>(options: impl Iterator<Item = &'a [u8]>) -> bool {
    options
        .take_while(|option| !option.eq_ignore_ascii_case(b"STREAMS"))
        .any(|option| option.eq_ignore_ascii_case(b"BLOCK"))
}

fn refusal(name: &str, why: &str) -> Error {
    Error::Unsupported(format!("{name} on a shared connection: {why}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_xread_end_at_streams() {
        let refused = |command: &str, args: &[&str]| refuse(command, &Args::new().args(args));
        assert!(refused("XREAD", &["COUNT", "1", "block", "0", "STREAMS", "s", "$"]).is_some());
        assert!(refused("xread", &["COUNT", "1", "STREAMS", "BLOCK", "$"]).is_none());
        let group = ["GROUP", "BLOCK", "STREAMS", "COUNT", "1", "STREAMS", "s", ">"];
        assert!(refused("XREADGROUP", &group).is_none());
        let group = ["GROUP", "g", "streams", "BLOCK", "1", "STREAMS", "s", ">"];
        assert!(refused("XREADGROUP", &group).is_some());
    }

    #[test]
    fn a_long_or_binary_subcommand_is_not_repeated_in_full() {
        let error = refuse("CLIENT", &Args::new().arg(vec![0_u8; 1000])).unwrap();
        assert!(error.to_string().len() < 300, "{error}");
    }
}
