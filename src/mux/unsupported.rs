//! Commands that a mux refuses because many callers share its connection.

use crate::args::Args;
use crate::error::Error;

const TRANSACTION: &str = "a transaction needs a connection of its own";
const STREAM: &str = "it turns the connection into a stream of messages";
const STATE: &str = "it changes the connection for all callers";
const BLOCKS: &str = "it blocks all commands behind it";

/// Commands that are refused with any arguments, in capitals.
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

/// The subcommands of CLIENT that do not change the connection. An unknown subcommand may.
const CLIENT_ALLOWED: &[&str] = &[
    "GETNAME",
    "ID",
    "INFO",
    "LIST",
    "KILL",
    "PAUSE",
    "UNPAUSE",
    "UNBLOCK",
    "GETREDIR",
    "TRACKINGINFO",
    "HELP",
    "SETINFO",
];

/// Returns the error for a command that must not be sent on a shared connection.
#[doc(alias = "lookupCommandInfo")]
pub(crate) fn refuse(command: &str, args: &Args) -> Option<Error> {
    if command.is_empty() {
        return Some(Error::Unsupported("a command without a name".into()));
    }
    let is = |name: &str| name.eq_ignore_ascii_case(command);
    if let Some((name, why)) = REFUSED.iter().find(|(name, _)| is(name)) {
        return Some(refusal(name, why));
    }
    if is("XREAD") {
        return has_block(args.iter()).then(|| refusal("XREAD BLOCK", BLOCKS));
    }
    if is("XREADGROUP") {
        // The names of the group and the consumer can be any words.
        return has_block(args.iter().skip(3)).then(|| refusal("XREADGROUP BLOCK", BLOCKS));
    }
    let subcommand = args.iter().next().unwrap_or_default();
    let is_subcommand = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    let changes_state = (is("CLIENT") && !CLIENT_ALLOWED.iter().any(|name| is_subcommand(name)))
        || (is("SCRIPT") && is_subcommand("DEBUG"));
    if !changes_state {
        return None;
    }
    // A subcommand is a short word.
    let shown = subcommand.get(..32).unwrap_or(subcommand).escape_ascii();
    let name = format!("{command} {shown}").to_ascii_uppercase();
    Some(refusal(name.trim_end(), STATE))
}

/// Returns true if one of the options before `STREAMS` is `BLOCK`.
fn has_block<'a>(options: impl Iterator<Item = &'a [u8]>) -> bool {
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
    fn options_of_xread_end_at_streams() {
        let refused = |command: &str, args: &[&str]| refuse(command, &Args::new().args(args));
        assert!(refused("XREAD", &["COUNT", "1", "block", "0", "STREAMS", "s", "$"]).is_some());
        assert!(refused("xread", &["COUNT", "1", "STREAMS", "BLOCK", "$"]).is_none());
        let group = ["GROUP", "BLOCK", "STREAMS", "COUNT", "1", "STREAMS", "s", ">"];
        assert!(refused("XREADGROUP", &group).is_none());
        let group = ["GROUP", "g", "streams", "BLOCK", "1", "STREAMS", "s", ">"];
        assert!(refused("XREADGROUP", &group).is_some());
    }

    #[test]
    fn long_binary_subcommand_is_shortened_in_the_error() {
        let error = refuse("CLIENT", &Args::new().arg(vec![0_u8; 1000])).unwrap();
        assert!(error.to_string().len() < 300, "{error}");
    }
}
