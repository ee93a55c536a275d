//! Commands that a mux refuses because many callers share its connection.

use crate::args::Args;
use crate::error::Error;

const TRANSACTION: &str = "a transaction needs a connection of its own";
const STREAM: &str = "it turns the connection into a stream of messages";
const STATE: &str = "it changes the connection for all callers";
const ENDS: &str = "it ends the connection for all callers";
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
    ("READONLY", STATE),
    ("READWRITE", STATE),
    ("ASKING", STATE),
    ("QUIT", ENDS),
    // The server takes these for the start of an HTTP request and hangs up.
    ("POST", ENDS),
    ("HOST:", ENDS),
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
    let is = |name: &str| is_word(command.as_bytes(), name);
    if let Some((name, why)) = REFUSED.iter().find(|(name, _)| is(name)) {
        return Some(refusal(name, why));
    }
    for name in ["XREAD", "XREADGROUP"] {
        if is(name) && has_block(args) {
            return Some(refusal(&format!("{name} BLOCK"), BLOCKS));
        }
    }
    let subcommand = args.iter().next().unwrap_or_default();
    let why = if is("CLIENT") {
        client_refusal(subcommand)
    } else if is("SCRIPT") {
        is_word(subcommand, "DEBUG").then_some(STATE)
    } else if is("DEBUG") {
        is_word(subcommand, "SLEEP").then_some(BLOCKS)
    } else if is("SHUTDOWN") {
        (!subcommand.eq_ignore_ascii_case(b"ABORT")).then_some(ENDS)
    } else {
        None
    }?;
    // A subcommand is a short word.
    let shown = subcommand.get(..32).unwrap_or(subcommand).escape_ascii();
    let name = format!("{command} {shown}").to_ascii_uppercase();
    Some(refusal(name.trim_end(), why))
}

fn client_refusal(subcommand: &[u8]) -> Option<&'static str> {
    if is_word(subcommand, "PAUSE") {
        return Some(BLOCKS);
    }
    let is_allowed = |name: &&str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    (!CLIENT_ALLOWED.iter().any(is_allowed)).then_some(STATE)
}

/// Returns true if one of the options of XREAD or XREADGROUP is `BLOCK`. The options can stand in
/// any order before `STREAMS`; the names of streams, groups and consumers can be any words.
fn has_block(args: &Args) -> bool {
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let is = |word: &str| is_word(option, word);
        if is("BLOCK") {
            return true;
        } else if is("STREAMS") {
            return false;
        } else if is("GROUP") {
            args.nth(1);
        } else if is("COUNT") || is("CLAIM") {
            args.next();
        } else if !is("NOACK") {
            // An option of a newer server, with an unknown number of values.
            return args.any(|arg| is_word(arg, "BLOCK"));
        }
    }
    false
}

/// Compares a word like the server, which ignores case and everything after a zero byte.
fn is_word(arg: &[u8], word: &str) -> bool {
    let end = arg.iter().position(|byte| *byte == 0).unwrap_or(arg.len());
    arg[..end].eq_ignore_ascii_case(word.as_bytes())
}

fn refusal(name: &str, why: &str) -> Error {
    Error::Unsupported(format!("{name} on a shared connection: {why}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_is_found_anywhere_among_the_options_of_xread() {
        let refused: &[&[&str]] = &[
            &["XREAD", "BLOCK", "0", "STREAMS", "s", "$"],
            &["xread", "COUNT", "1", "block", "0", "STREAMS", "s", "$"],
            &["XREAD", "COUNT", "1", "BLOCK\0", "0", "STREAMS", "s", "$"],
            &["XREADGROUP", "BLOCK", "1", "GROUP", "g", "c", "STREAMS", "s", ">"],
            &["XREADGROUP", "COUNT", "1", "BLOCK", "1", "GROUP", "g", "c", "STREAMS", "s", ">"],
            &["XREADGROUP", "GROUP", "g", "c", "BLOCK", "1", "STREAMS", "s", ">"],
            &["XREADGROUP", "NOACK", "GROUP", "g", "c", "BLOCK", "1", "STREAMS", "s", ">"],
            &["XREADGROUP", "GROUP", "g", "streams", "BLOCK", "1", "STREAMS", "s", ">"],
            &["XREADGROUP", "GROUP", "g", "c", "CLAIM", "5", "BLOCK", "1", "STREAMS", "s", ">"],
            &["XREADGROUP", "LATER", "1", "GROUP", "g", "c", "BLOCK", "1", "STREAMS", "s", ">"],
        ];
        for line in refused {
            assert!(refuse(line[0], &Args::new().args(&line[1..])).is_some(), "{line:?}");
        }
        let sent: &[&[&str]] = &[
            &["XREAD", "STREAMS", "BLOCK", "$"],
            &["xread", "COUNT", "1", "STREAMS", "BLOCK", "$"],
            &["XREADGROUP", "GROUP", "BLOCK", "BLOCK", "COUNT", "1", "STREAMS", "s", ">"],
            &["XREADGROUP", "NOACK", "GROUP", "BLOCK", "STREAMS", "STREAMS", "BLOCK", ">"],
            &["XREADGROUP", "CLAIM", "5", "GROUP", "g", "c", "STREAMS", "BLOCK", ">"],
        ];
        for line in sent {
            assert!(refuse(line[0], &Args::new().args(&line[1..])).is_none(), "{line:?}");
        }
    }

    #[test]
    fn long_binary_subcommand_is_shortened_in_the_error() {
        let error = refuse("CLIENT", &Args::new().arg(vec![0_u8; 1000])).unwrap();
        assert!(error.to_string().len() < 300, "{error}");
    }
}
