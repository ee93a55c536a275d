//! The effect of commands on the state of their connection.
//!
//! A pool must not pass that state on to the next borrower. [`Session`] remembers the state that
//! must be undone. It looks at the name of a command before the command is sent.

use crate::args::{Args, ToArgs};

/// The state of a connection, as far as a pool must undo it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    dirty: Dirty,
    /// The state to restore.
    baseline: SessionState,
    /// The state that the commands sent so far lead to.
    current: SessionState,
}

/// State that one command sets and one command restores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionState {
    /// As in the command.
    pub(crate) database: String,
    pub(crate) client_name: String,
}

/// A set of state that must be undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dirty(u8);

impl Dirty {
    /// A transaction is open: DISCARD.
    pub(crate) const MULTI: Dirty = Dirty(1);
    /// Keys are watched: UNWATCH.
    pub(crate) const WATCH: Dirty = Dirty(2);
    /// Channels or patterns are subscribed to: UNSUBSCRIBE and PUNSUBSCRIBE.
    pub(crate) const SUBSCRIBE: Dirty = Dirty(4);
    /// Shard channels are subscribed to: SUNSUBSCRIBE.
    pub(crate) const SHARD_SUBSCRIBE: Dirty = Dirty(8);
    /// Another database is selected: SELECT.
    pub(crate) const DATABASE: Dirty = Dirty(16);
    /// Reads from replicas are allowed: READWRITE.
    pub(crate) const READONLY: Dirty = Dirty(32);
    /// Another name is set: CLIENT SETNAME.
    pub(crate) const CLIENT_NAME: Dirty = Dirty(64);
    /// No command restores it: MONITOR, CLIENT REPLY, AUTH …
    pub(crate) const UNRECOVERABLE: Dirty = Dirty(128);

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, other: Dirty) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn and(self, other: Dirty) -> Dirty {
        Dirty(self.0 | other.0)
    }
}

/// Every kind of subscription.
pub(crate) const SUBSCRIBED: Dirty = Dirty::SUBSCRIBE.and(Dirty::SHARD_SUBSCRIBE);
/// The state that the end of a transaction clears.
pub(crate) const TRANSACTION: Dirty = Dirty::MULTI.and(Dirty::WATCH);

impl Session {
    /// Makes the current state the one to restore. The connection has just been dialed.
    pub(crate) fn set_baseline(&mut self) {
        self.dirty = Dirty::default();
        self.baseline = self.current.clone();
    }

    pub(crate) fn dirty(&self) -> Dirty {
        self.dirty
    }

    pub(crate) fn baseline(&self) -> &SessionState {
        &self.baseline
    }

    pub(crate) fn add(&mut self, dirty: Dirty) {
        self.dirty.0 |= dirty.0;
    }

    pub(crate) fn clear(&mut self, dirty: Dirty) {
        self.dirty.0 &= !dirty.0;
    }

    /// Records a command that is about to be sent.
    pub(crate) fn note(&mut self, command: &str, args: &dyn ToArgs) {
        match effect(command) {
            Effect::None => {}
            Effect::Adds(dirty) => self.add(dirty),
            Effect::Clears(dirty) => self.clear(dirty),
            Effect::Select => {
                self.current.database = arg(args, 0);
                self.mark(Dirty::DATABASE, self.current.database != self.baseline.database);
            }
            Effect::Client if arg(args, 0).eq_ignore_ascii_case("SETNAME") => {
                self.current.client_name = arg(args, 1);
                self.mark(
                    Dirty::CLIENT_NAME,
                    self.current.client_name != self.baseline.client_name,
                );
            }
            Effect::Client => self.add(client_effect(&arg(args, 0))),
            Effect::Script => {
                if arg(args, 0).eq_ignore_ascii_case("DEBUG") {
                    self.add(Dirty::UNRECOVERABLE);
                }
            }
        }
    }

    fn mark(&mut self, dirty: Dirty, differs: bool) {
        if differs {
            self.add(dirty);
        } else if !self.dirty.has(Dirty::MULTI) {
            // A command that is queued in a transaction may never run.
            self.clear(dirty);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    None,
    Adds(Dirty),
    Clears(Dirty),
    /// Depends on the database.
    Select,
    /// Depends on the subcommand.
    Client,
    Script,
}

/// The effect of a command, in any mix of upper and lower case.
#[doc(alias = "lookupCommandInfo")]
fn effect(command: &str) -> Effect {
    const EFFECTS: &[(&str, Effect)] = &[
        ("AUTH", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("EXEC", Effect::Clears(TRANSACTION)),
        ("QUIT", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("SYNC", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("HELLO", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("MULTI", Effect::Adds(Dirty::MULTI)),
        ("PSYNC", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("RESET", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("WATCH", Effect::Adds(Dirty::WATCH)),
        ("CLIENT", Effect::Client),
        ("SCRIPT", Effect::Script),
        ("SELECT", Effect::Select),
        ("DISCARD", Effect::Clears(TRANSACTION)),
        ("MONITOR", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("UNWATCH", Effect::Clears(Dirty::WATCH)),
        ("READONLY", Effect::Adds(Dirty::READONLY)),
        ("REPLCONF", Effect::Adds(Dirty::UNRECOVERABLE)),
        ("READWRITE", Effect::Clears(Dirty::READONLY)),
        ("SUBSCRIBE", Effect::Adds(Dirty::SUBSCRIBE)),
        ("PSUBSCRIBE", Effect::Adds(Dirty::SUBSCRIBE)),
        ("SSUBSCRIBE", Effect::Adds(Dirty::SHARD_SUBSCRIBE)),
    ];
    if command.len() < 4 {
        // GET, SET, DEL: shorter than any of these.
        return Effect::None;
    }
    EFFECTS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(command))
        .map_or(Effect::None, |(_, effect)| *effect)
}

fn client_effect(subcommand: &str) -> Dirty {
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
    match HARMLESS.iter().any(|name| name.eq_ignore_ascii_case(subcommand)) {
        true => Dirty::default(),
        false => Dirty::UNRECOVERABLE,
    }
}

/// Returns an argument as text; empty if there is none.
fn arg(args: &dyn ToArgs, index: usize) -> String {
    let args = Args::new().args(args);
    args.iter().nth(index).map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(commands: &[(&str, &dyn ToArgs)]) -> Dirty {
        let mut session = Session::default();
        session.note("SELECT", &3);
        session.set_baseline();
        commands.iter().for_each(|(command, args)| session.note(command, args));
        session.dirty()
    }

    #[test]
    fn r001_to_r003_command_names_match_in_any_case() {
        for name in ["watch", "WATCH", "wAtch"] {
            assert_eq!(effect(name), Effect::Adds(Dirty::WATCH), "{name}");
        }
        assert_eq!(effect("GET"), Effect::None);
        assert_eq!(effect(""), Effect::None);
        assert_eq!(effect("WATCHING"), Effect::None);
    }

    #[test]
    fn exec_and_discard_end_a_transaction_and_unwatch_a_watch() {
        assert!(after(&[("WATCH", &"k"), ("MULTI", &()), ("EXEC", &())]).is_empty());
        assert!(after(&[("WATCH", &"k"), ("MULTI", &()), ("DISCARD", &())]).is_empty());
        assert!(after(&[("WATCH", &"k"), ("UNWATCH", &())]).is_empty());
        assert_eq!(after(&[("WATCH", &"k"), ("MULTI", &()), ("UNWATCH", &())]), Dirty::MULTI);
    }

    #[test]
    fn any_database_but_the_baseline_is_dirty() {
        assert_eq!(after(&[("SELECT", &1)]), Dirty::DATABASE);
        assert!(after(&[("SELECT", &3)]).is_empty());
        assert!(after(&[("SELECT", &1), ("select", &"3")]).is_empty());
    }

    #[test]
    fn set_baseline_makes_the_current_state_clean() {
        let mut session = Session::default();
        session.note("CLIENT", &("SETNAME", "me"));
        session.note("AUTH", &"secret");
        session.set_baseline();
        assert!(session.dirty().is_empty());
        session.note("CLIENT", &("SETNAME", "other"));
        assert_eq!(
            (session.dirty(), &session.baseline().client_name[..]),
            (Dirty::CLIENT_NAME, "me")
        );
        session.note("client", &("setname", "me"));
        assert!(session.dirty().is_empty());
    }

    #[test]
    fn client_depends_on_its_subcommand() {
        assert!(after(&[("CLIENT", &"ID")]).is_empty());
        assert!(after(&[("client", &("list", "TYPE", "normal"))]).is_empty());
        assert_eq!(after(&[("CLIENT", &("SETNAME", "x"))]), Dirty::CLIENT_NAME);
        for name in ["REPLY", "tracking", "NO-EVICT", "SOMETHING-NEW"] {
            assert_eq!(after(&[("CLIENT", &(name, "ON"))]), Dirty::UNRECOVERABLE, "{name}");
        }
        assert!(after(&[("SCRIPT", &("LOAD", "return 1"))]).is_empty());
        assert_eq!(after(&[("SCRIPT", &("DEBUG", "YES"))]), Dirty::UNRECOVERABLE);
    }

    #[test]
    fn state_that_no_command_restores_is_unrecoverable() {
        for name in ["MONITOR", "AUTH", "HELLO", "RESET", "QUIT", "PSYNC"] {
            assert_eq!(after(&[(name, &())]), Dirty::UNRECOVERABLE, "{name}");
        }
        assert!(after(&[("READONLY", &()), ("READWRITE", &())]).is_empty());
    }
}
