//! The effect of a command on the state of its connection, by its name and arguments.

use crate::args::{Args, ToArgs};
use crate::error::{Error, Result};

/// The effect that a command has if the server carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Readonly,
    Readwrite,
    /// Applies to the next command only.
    Asking,
    /// Selects this database; empty for database 0.
    Select(Vec<u8>),
    SetName(Vec<u8>),
    Subscription(Subscription),
    /// No command restores the state: MONITOR, AUTH, CLIENT TRACKING …
    Unrecoverable,
    /// The server answers only some of the commands from now on: CLIENT REPLY.
    RepliesOff,
}

/// A command that subscribes or unsubscribes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The first element of its confirmations.
    pub(super) kind: &'static str,
    /// The number of confirmations that are due, one for each channel.
    pub(super) due: usize,
    /// The first of them has arrived.
    pub(super) confirmed: bool,
}

/// The commands of publish and subscribe, as in their confirmations.
const SUBSCRIPTIONS: &[&str] =
    &["subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"];

impl Effect {
    /// Returns the effect of a command, whose name is in any mix of upper and lower case.
    #[doc(alias = "lookupCommandInfo")]
    #[inline]
    pub(crate) fn of(command: &str, args: &dyn ToArgs) -> Option<Effect> {
        // The shortest of these names has four letters. GET, SET and DEL are shorter.
        if command.len() < 4 { None } else { Effect::find(command, args) }
    }

    fn find(command: &str, args: &dyn ToArgs) -> Option<Effect> {
        let (_, class) = COMMANDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(command))?;
        match class {
            Class::Always(effect) => Some(effect.clone()),
            Class::Select => {
                let database = arg(args, 0);
                Some(Effect::Select(if database == b"0" { Vec::new() } else { database }))
            }
            Class::Client => of_client(&arg(args, 0), args),
            Class::Script => {
                arg(args, 0).eq_ignore_ascii_case(b"DEBUG").then_some(Effect::Unrecoverable)
            }
            Class::Subscription(kind) => {
                // Without channels, there is at least one confirmation.
                let due = Args::new().args(args).len().max(1);
                Some(Effect::Subscription(Subscription { kind, due, confirmed: false }))
            }
        }
    }
}

/// Returns the name of the command if it belongs to publish and subscribe.
fn subscription_command(command: &str) -> Option<&'static str> {
    if !(9..=12).contains(&command.len()) {
        return None;
    }
    SUBSCRIPTIONS.iter().copied().find(|name| name.eq_ignore_ascii_case(command))
}

/// Refuses the commands of publish and subscribe, whose replies are not one for each command.
pub(crate) fn refuse_subscription(command: &str) -> Result<()> {
    match subscription_command(command) {
        Some(name) => {
            let name = name.to_ascii_uppercase();
            Err(Error::Unsupported(format!("{name} as a call: use `PubSubConn`").into()))
        }
        None => Ok(()),
    }
}

/// Returns the kind of subscription that a reply with this first element confirms.
pub(super) fn confirmed_subscription(first: &[u8]) -> Option<&'static str> {
    SUBSCRIPTIONS.iter().copied().find(|name| name.as_bytes() == first)
}

enum Class {
    Always(Effect),
    Subscription(&'static str),
    /// Depends on the database.
    Select,
    /// Depends on the subcommand.
    Client,
    Script,
}

const COMMANDS: &[(&str, Class)] = &[
    ("AUTH", Class::Always(Effect::Unrecoverable)),
    ("EXEC", Class::Always(Effect::Exec)),
    ("QUIT", Class::Always(Effect::Unrecoverable)),
    ("SYNC", Class::Always(Effect::Unrecoverable)),
    ("HELLO", Class::Always(Effect::Unrecoverable)),
    ("MULTI", Class::Always(Effect::Multi)),
    ("PSYNC", Class::Always(Effect::Unrecoverable)),
    ("RESET", Class::Always(Effect::Unrecoverable)),
    ("WATCH", Class::Always(Effect::Watch)),
    ("ASKING", Class::Always(Effect::Asking)),
    ("CLIENT", Class::Client),
    ("SCRIPT", Class::Script),
    ("SELECT", Class::Select),
    ("DISCARD", Class::Always(Effect::Discard)),
    ("MONITOR", Class::Always(Effect::Unrecoverable)),
    ("UNWATCH", Class::Always(Effect::Unwatch)),
    ("READONLY", Class::Always(Effect::Readonly)),
    ("REPLCONF", Class::Always(Effect::Unrecoverable)),
    ("READWRITE", Class::Always(Effect::Readwrite)),
    ("SUBSCRIBE", Class::Subscription(SUBSCRIPTIONS[0])),
    ("PSUBSCRIBE", Class::Subscription(SUBSCRIPTIONS[1])),
    ("SSUBSCRIBE", Class::Subscription(SUBSCRIPTIONS[2])),
    ("UNSUBSCRIBE", Class::Subscription(SUBSCRIPTIONS[3])),
    ("PUNSUBSCRIBE", Class::Subscription(SUBSCRIPTIONS[4])),
    ("SUNSUBSCRIBE", Class::Subscription(SUBSCRIPTIONS[5])),
];

fn of_client(subcommand: &[u8], args: &dyn ToArgs) -> Option<Effect> {
    // These change nothing here. Unknown subcommands may.
    const HARMLESS: &[&str] = &[
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
    let is = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("SETNAME") => Some(Effect::SetName(arg(args, 1))),
        () if is("REPLY") => Some(Effect::RepliesOff),
        () if HARMLESS.iter().any(|name| is(name)) => None,
        () => Some(Effect::Unrecoverable),
    }
}

/// Returns an argument; empty if there is none.
fn arg(args: &dyn ToArgs, index: usize) -> Vec<u8> {
    let args = Args::new().args(args);
    args.iter().nth(index).map(<[u8]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r001_to_r003_command_names_match_in_any_case() {
        for name in ["watch", "WATCH", "wAtch"] {
            assert_eq!(Effect::of(name, &()), Some(Effect::Watch), "{name}");
        }
        for name in ["GET", "", "WATCHING", "SUBSCRIBER"] {
            assert_eq!(Effect::of(name, &()), None, "{name}");
        }
    }

    #[test]
    fn client_and_script_depend_on_their_subcommand() {
        assert_eq!(Effect::of("CLIENT", &"ID"), None);
        assert_eq!(Effect::of("client", &("list", "TYPE", "normal")), None);
        let name = Some(Effect::SetName(b"x".to_vec()));
        assert_eq!(Effect::of("CLIENT", &("setname", "x")), name);
        assert_eq!(Effect::of("CLIENT", &("Reply", "SKIP")), Some(Effect::RepliesOff));
        for name in ["tracking", "NO-EVICT", "SOMETHING-NEW", ""] {
            let effect = Effect::of("CLIENT", &(name, "ON"));
            assert_eq!(effect, Some(Effect::Unrecoverable), "{name}");
        }
        assert_eq!(Effect::of("SCRIPT", &("LOAD", "return 1")), None);
        assert_eq!(Effect::of("SCRIPT", &("debug", "YES")), Some(Effect::Unrecoverable));
    }

    #[test]
    fn subscription_commands_expect_a_confirmation_for_each_channel() {
        let due = |command, args: &dyn ToArgs| match Effect::of(command, args) {
            Some(Effect::Subscription(subscription)) => subscription.due,
            other => panic!("{command}: {other:?}"),
        };
        assert_eq!(due("SUBSCRIBE", &("a", "b")), 2);
        assert_eq!(due("pUnsubscribe", &()), 1);
        assert_eq!(subscription_command("PSubscribe"), Some("psubscribe"));
        assert_eq!(subscription_command("PUBLISH"), None);
        assert_eq!(subscription_command("RESUBSCRIBE"), None);
    }

    #[test]
    fn database_zero_is_the_default_database() {
        assert_eq!(Effect::of("SELECT", &0), Some(Effect::Select(Vec::new())));
        assert_eq!(Effect::of("select", &"12"), Some(Effect::Select(b"12".to_vec())));
    }
}
