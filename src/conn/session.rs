//! What a command does to the state of its connection, told from its name.
//!
//! A pool must not hand that state to the next borrower. So [`Session`] remembers what has to be
//! undone, from the name alone and before the server has answered: a command that failed is
//! undone in vain, which does no harm.

use crate::args::{Args, ToArgs};

/// The state that a connection has been brought into.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    dirt: Dirt,
    /// Where it is to be when it is lent.
    home: Place,
    /// Where it is now, as far as one can tell.
    here: Place,
}

/// What one command sets and one command sets back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// As it was sent.
    pub(crate) database: String,
    pub(crate) client_name: String,
}

/// A set of things to undo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dirt(u8);

impl Dirt {
    /// A transaction is open: DISCARD.
    pub(crate) const MULTI: Dirt = Dirt(1);
    /// Keys are watched: UNWATCH.
    pub(crate) const WATCH: Dirt = Dirt(2);
    /// Channels or patterns are subscribed to: UNSUBSCRIBE and PUNSUBSCRIBE.
    pub(crate) const SUBSCRIBE: Dirt = Dirt(4);
    /// Shard channels are subscribed to: SUNSUBSCRIBE.
    pub(crate) const SHARD_SUBSCRIBE: Dirt = Dirt(8);
    /// Another database: SELECT.
    pub(crate) const DATABASE: Dirt = Dirt(16);
    /// Reads from a replica: READWRITE.
    pub(crate) const READONLY: Dirt = Dirt(32);
    /// Another name: CLIENT SETNAME.
    pub(crate) const CLIENT_NAME: Dirt = Dirt(64);
    /// Nothing brings it back: MONITOR, CLIENT REPLY, AUTH …
    pub(crate) const LOST: Dirt = Dirt(128);

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, other: Dirt) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn and(self, other: Dirt) -> Dirt {
        Dirt(self.0 | other.0)
    }
}

/// Both ways to be subscribed.
pub(crate) const SUBSCRIBED: Dirt = Dirt::SUBSCRIBE.and(Dirt::SHARD_SUBSCRIBE);
/// What the end of a transaction clears.
pub(crate) const TRANSACTION: Dirt = Dirt::MULTI.and(Dirt::WATCH);

impl Session {
    /// From now on this is home: whoever dialled has done what there was to be done.
    pub(crate) fn set_baseline(&mut self) {
        self.dirt = Dirt::default();
        self.home = self.here.clone();
    }

    pub(crate) fn dirt(&self) -> Dirt {
        self.dirt
    }

    pub(crate) fn home(&self) -> &Place {
        &self.home
    }

    pub(crate) fn add(&mut self, dirt: Dirt) {
        self.dirt.0 |= dirt.0;
    }

    pub(crate) fn clear(&mut self, dirt: Dirt) {
        self.dirt.0 &= !dirt.0;
    }

    /// Takes note of a command that is about to be sent.
    pub(crate) fn note(&mut self, command: &str, args: &dyn ToArgs) {
        match effect(command) {
            Effect::None => {}
            Effect::Adds(dirt) => self.add(dirt),
            Effect::Clears(dirt) => self.clear(dirt),
            Effect::Select => {
                self.here.database = arg(args, 0);
                self.mark(Dirt::DATABASE, self.here.database != self.home.database);
            }
            Effect::Client if arg(args, 0).eq_ignore_ascii_case("SETNAME") => {
                self.here.client_name = arg(args, 1);
                self.mark(Dirt::CLIENT_NAME, self.here.client_name != self.home.client_name);
            }
            Effect::Client => self.add(client_effect(&arg(args, 0))),
            Effect::Script => {
                if arg(args, 0).eq_ignore_ascii_case("DEBUG") {
                    self.add(Dirt::LOST);
                }
            }
        }
    }

    fn mark(&mut self, dirt: Dirt, is_there: bool) {
        if is_there {
            self.add(dirt);
        } else if !self.dirt.has(Dirt::MULTI) {
            // A way home that is queued in a transaction may never be taken.
            self.clear(dirt);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    None,
    Adds(Dirt),
    Clears(Dirt),
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
        ("AUTH", Effect::Adds(Dirt::LOST)),
        ("EXEC", Effect::Clears(TRANSACTION)),
        ("QUIT", Effect::Adds(Dirt::LOST)),
        ("SYNC", Effect::Adds(Dirt::LOST)),
        ("HELLO", Effect::Adds(Dirt::LOST)),
        ("MULTI", Effect::Adds(Dirt::MULTI)),
        ("PSYNC", Effect::Adds(Dirt::LOST)),
        ("RESET", Effect::Adds(Dirt::LOST)),
        ("WATCH", Effect::Adds(Dirt::WATCH)),
        ("CLIENT", Effect::Client),
        ("SCRIPT", Effect::Script),
        ("SELECT", Effect::Select),
        ("DISCARD", Effect::Clears(TRANSACTION)),
        ("MONITOR", Effect::Adds(Dirt::LOST)),
        ("UNWATCH", Effect::Clears(Dirt::WATCH)),
        ("READONLY", Effect::Adds(Dirt::READONLY)),
        ("REPLCONF", Effect::Adds(Dirt::LOST)),
        ("READWRITE", Effect::Clears(Dirt::READONLY)),
        ("SUBSCRIBE", Effect::Adds(Dirt::SUBSCRIBE)),
        ("PSUBSCRIBE", Effect::Adds(Dirt::SUBSCRIBE)),
        ("SSUBSCRIBE", Effect::Adds(Dirt::SHARD_SUBSCRIBE)),
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

fn client_effect(subcommand: &str) -> Dirt {
    // The list is of those that change nothing here: what is not known may.
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
        true => Dirt::default(),
        false => Dirt::LOST,
    }
}

/// One of the arguments as text; empty if there is none.
fn arg(args: &dyn ToArgs, index: usize) -> String {
    let args = Args::new().args(args);
    args.iter().nth(index).map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(commands: &[(&str, &dyn ToArgs)]) -> Dirt {
        let mut session = Session::default();
        session.note("SELECT", &3);
        session.set_baseline();
        commands.iter().for_each(|(command, args)| session.note(command, args));
        session.dirt()
    }

    #[test]
    fn r001_to_r003_names_are_known_in_any_case() {
        for name in ["watch", "WATCH", "wAtch"] {
            assert_eq!(effect(name), Effect::Adds(Dirt::WATCH), "{name}");
        }
        assert_eq!(effect("GET"), Effect::None);
        assert_eq!(effect(""), Effect::None);
        assert_eq!(effect("WATCHING"), Effect::None);
    }

    #[test]
    fn a_transaction_ends_with_exec_and_discard_and_unwatch_ends_a_watch() {
        assert!(after(&[("WATCH", &"k"), ("MULTI", &()), ("EXEC", &())]).is_empty());
        assert!(after(&[("WATCH", &"k"), ("MULTI", &()), ("DISCARD", &())]).is_empty());
        assert!(after(&[("WATCH", &"k"), ("UNWATCH", &())]).is_empty());
        assert_eq!(after(&[("WATCH", &"k"), ("MULTI", &()), ("UNWATCH", &())]), Dirt::MULTI);
    }

    #[test]
    fn the_home_database_is_clean_and_any_other_is_not() {
        assert_eq!(after(&[("SELECT", &1)]), Dirt::DATABASE);
        assert!(after(&[("SELECT", &3)]).is_empty());
        assert!(after(&[("SELECT", &1), ("select", &"3")]).is_empty());
    }

    #[test]
    fn home_is_where_one_has_settled() {
        let mut session = Session::default();
        session.note("CLIENT", &("SETNAME", "me"));
        session.note("AUTH", &"secret");
        session.set_baseline();
        assert!(session.dirt().is_empty());
        session.note("CLIENT", &("SETNAME", "other"));
        assert_eq!((session.dirt(), &session.home().client_name[..]), (Dirt::CLIENT_NAME, "me"));
        session.note("client", &("setname", "me"));
        assert!(session.dirt().is_empty());
    }

    #[test]
    fn client_is_judged_by_its_subcommand() {
        assert!(after(&[("CLIENT", &"ID")]).is_empty());
        assert!(after(&[("client", &("list", "TYPE", "normal"))]).is_empty());
        assert_eq!(after(&[("CLIENT", &("SETNAME", "x"))]), Dirt::CLIENT_NAME);
        for lost in ["REPLY", "tracking", "NO-EVICT", "SOMETHING-NEW"] {
            assert_eq!(after(&[("CLIENT", &(lost, "ON"))]), Dirt::LOST, "{lost}");
        }
        assert!(after(&[("SCRIPT", &("LOAD", "return 1"))]).is_empty());
        assert_eq!(after(&[("SCRIPT", &("DEBUG", "YES"))]), Dirt::LOST);
    }

    #[test]
    fn what_cannot_be_undone_is_lost() {
        for lost in ["MONITOR", "AUTH", "HELLO", "RESET", "QUIT", "PSYNC"] {
            assert_eq!(after(&[(lost, &())]), Dirt::LOST, "{lost}");
        }
        assert!(after(&[("READONLY", &()), ("READWRITE", &())]).is_empty());
    }
}
