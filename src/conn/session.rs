//! The state of a connection at the server, as the replies tell: [`Session`].
//!
//! A pool must not pass that state on to the next borrower. A command changes the state when the
//! server carries it out. So [`Session`] records the command when it is sent and applies its
//! effect when the reply arrives. Between the two, both states are possible.

mod effect;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::effect::confirmed_subscription;
pub(crate) use self::effect::{Effect, refuse_subscription};
use crate::error::ServerError;
use crate::value::Value;

/// The state of a connection, as far as a pool must undo it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// State that replies have confirmed, and state that only a clean-up clears.
    dirty: Dirty,
    /// The state to restore.
    baseline: SessionState,
    /// The state that the replies have confirmed.
    current: SessionState,
    /// The unanswered commands that have an effect, with their numbers.
    unanswered: VecDeque<(usize, Effect)>,
    /// The open transaction.
    transaction: Option<Queued>,
    /// The number of channels and patterns, and of shard channels, as the server counts them.
    subscriptions: [i64; 2],
    /// The server skips replies, so no reply can be matched to its command.
    unaligned: bool,
}

/// State that one command sets and one command restores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionState {
    /// As in the command; empty for database 0.
    pub(crate) database: Vec<u8>,
    pub(crate) client_name: Vec<u8>,
    pub(crate) readonly: bool,
}

/// The commands that a transaction has queued.
#[derive(Debug, Default)]
struct Queued {
    commands: usize,
    /// The effects of some of them, with their indexes.
    effects: Vec<(usize, Effect)>,
}

/// The relation of a reply to the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) to: ReplyTo,
    /// The oldest unanswered command needs no further reply.
    pub(super) completes: bool,
}

/// The command that a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyTo {
    /// The command with this number.
    Command(usize),
    /// No command: it is a message, one more confirmation, or surplus.
    Nothing,
    /// Any command: the server skips replies.
    Unknown,
}

/// A set of state that must be undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dirty(u16);

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
    /// Reads from replicas are allowed or forbidden: READWRITE or READONLY.
    pub(crate) const READONLY: Dirty = Dirty(32);
    /// Another name is set: CLIENT SETNAME.
    pub(crate) const CLIENT_NAME: Dirty = Dirty(64);
    /// The next command may use a slot that is being imported: any command.
    pub(crate) const ASKING: Dirty = Dirty(128);
    /// No command restores the state.
    pub(crate) const UNRECOVERABLE: Dirty = Dirty(256);

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, other: Dirty) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn and(self, other: Dirty) -> Dirty {
        Dirty(self.0 | other.0)
    }

    fn when(self, condition: bool) -> Dirty {
        if condition { self } else { Dirty::default() }
    }
}

/// Every kind of subscription.
pub(crate) const SUBSCRIBED: Dirty = Dirty::SUBSCRIBE.and(Dirty::SHARD_SUBSCRIBE);

impl Session {
    /// Makes the current state the one to restore. The connection has just been dialed.
    pub(crate) fn set_baseline(&mut self) {
        self.dirty = Dirty::default();
        self.baseline = self.current.clone();
    }

    pub(crate) fn baseline(&self) -> &SessionState {
        &self.baseline
    }

    /// Returns the state of the connection, including the state that unanswered and queued
    /// commands may set.
    pub(crate) fn dirty(&self) -> Dirty {
        let queued = self.transaction.iter().flat_map(|queued| &queued.effects);
        let possible = queued.chain(&self.unanswered).map(|(_, effect)| self.set_by(effect));
        possible.fold(self.dirty.and(self.changed()), Dirty::and)
    }

    /// Returns true if the server has confirmed that a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.dirty.has(Dirty::MULTI)
    }

    pub(crate) fn set_unrecoverable(&mut self) {
        self.add(Dirty::UNRECOVERABLE);
    }

    /// Records a command that is about to be sent. Replies are matched to it by its number.
    pub(super) fn record(&mut self, number: usize, effect: Effect) {
        match &effect {
            Effect::Subscription(subscription) => match subscription.kind {
                "subscribe" | "psubscribe" => self.add(Dirty::SUBSCRIBE),
                "ssubscribe" => self.add(Dirty::SHARD_SUBSCRIBE),
                _ => {}
            },
            Effect::Unrecoverable => return self.set_unrecoverable(),
            Effect::RepliesOff => {
                self.unaligned = true;
                return self.set_unrecoverable();
            }
            _ => {}
        }
        self.unanswered.push_back((number, effect));
    }

    /// Forgets a command that was not sent after all.
    pub(super) fn unrecord(&mut self, number: usize) {
        if self.unanswered.back().is_some_and(|(recorded, _)| *recorded == number) {
            self.unanswered.pop_back();
        }
    }

    /// Applies a reply. `number` is that of the oldest unanswered command, if there is one. An
    /// error in place of a reply is `None`.
    pub(super) fn answer(&mut self, number: Option<usize>, reply: Option<&Value>) -> Answer {
        let nothing = Answer { to: ReplyTo::Nothing, completes: false };
        if self.unaligned {
            return Answer { to: ReplyTo::Unknown, completes: number.is_some() };
        }
        let mut to = number.map_or(ReplyTo::Nothing, ReplyTo::Command);
        match self.published(reply) {
            Published::Nothing => {}
            Published::Message => return nothing,
            Published::Confirmation { kind, count } => {
                let is_shard = matches!(kind, "ssubscribe" | "sunsubscribe");
                self.subscriptions[usize::from(is_shard)] = count;
                match self.unanswered.front_mut() {
                    Some((recorded, Effect::Subscription(subscription)))
                        if Some(*recorded) == number && subscription.kind == kind =>
                    {
                        if std::mem::replace(&mut subscription.confirmed, true) {
                            to = ReplyTo::Nothing;
                        }
                        subscription.due -= 1;
                        if subscription.due > 0 {
                            return Answer { to, completes: false };
                        }
                    }
                    _ => return nothing,
                }
            }
        }
        if let Some(number) = number {
            let effect = self.take_effect(number);
            self.apply(effect, reply);
        }
        Answer { to, completes: number.is_some() }
    }

    /// Returns true while replies must be passed to [`Session::answer`], and whole.
    pub(super) fn needs_replies(&self) -> bool {
        !self.unanswered.is_empty()
            || self.transaction.is_some()
            || self.dirty.has(Dirty::ASKING)
            || self.is_subscribed()
            || self.unaligned
    }

    /// Records that the server has confirmed the end of all subscriptions, and that no reply is
    /// due.
    pub(super) fn end_subscriptions(&mut self) {
        let is_other = |(_, effect): (_, _)| !matches!(effect, Effect::Subscription(_));
        if self.unanswered.drain(..).any(is_other) {
            self.set_unrecoverable();
        }
        self.subscriptions = [0, 0];
        self.clear(SUBSCRIBED);
    }

    /// Returns the effect of the oldest unanswered command, if it has one.
    fn take_effect(&mut self, number: usize) -> Option<Effect> {
        let (recorded, _) = self.unanswered.front()?;
        if *recorded != number {
            return None;
        }
        self.unanswered.pop_front().map(|(_, effect)| effect)
    }

    fn is_subscribed(&self) -> bool {
        self.subscriptions != [0, 0]
    }

    /// Returns the part of a reply in publish and subscribe.
    fn published(&self, reply: Option<&Value>) -> Published {
        let next = self.unanswered.front();
        let subscribes = matches!(next, Some((_, Effect::Subscription(_))));
        let Some([kind, rest @ ..]) = reply.and_then(Value::as_array) else {
            return Published::Nothing;
        };
        if !subscribes && !self.is_subscribed() {
            return Published::Nothing;
        }
        let kind = kind.as_bytes().unwrap_or_default();
        match (confirmed_subscription(kind), rest) {
            (Some(kind), [_, Value::Int(count)]) => Published::Confirmation { kind, count: *count },
            _ if matches!(kind, b"message" | b"pmessage" | b"smessage") => Published::Message,
            _ => Published::Nothing,
        }
    }

    /// Applies the reply to a command with this effect, or with none.
    fn apply(&mut self, effect: Option<Effect>, reply: Option<&Value>) {
        let was_asking = self.dirty.has(Dirty::ASKING) && effect != Some(Effect::Asking);
        match (effect, Outcome::of(reply)) {
            (Some(Effect::Exec), outcome) => self.apply_exec(outcome, reply),
            (Some(Effect::Discard), Outcome::Done) => drop(self.end_transaction()),
            (Some(Effect::Discard), outcome) => self.leave_if_outside(outcome),
            (effect, Outcome::Queued) => self.queue(effect),
            (Some(effect), Outcome::Done) => self.carry_out(effect),
            (None, Outcome::Done) | (_, Outcome::Refused(_)) => {}
        }
        if was_asking && self.transaction.is_none() {
            self.clear(Dirty::ASKING);
        }
    }

    fn apply_exec(&mut self, outcome: Outcome<'_>, reply: Option<&Value>) {
        match (outcome, reply) {
            // A watched key has changed.
            (Outcome::Done, Some(Value::Nil)) => drop(self.end_transaction()),
            (Outcome::Done, reply) => {
                let Queued { commands, effects } = self.end_transaction();
                let replies = reply.and_then(Value::as_array).unwrap_or_default();
                if commands != replies.len() && !effects.is_empty() {
                    return self.set_unrecoverable();
                }
                for (index, effect) in effects {
                    if !matches!(replies[index], Value::Error(_)) {
                        self.carry_out(effect);
                    }
                }
            }
            (Outcome::Refused(Some(error)), _) if error.code() == "EXECABORT" => {
                drop(self.end_transaction());
            }
            (outcome, _) => self.leave_if_outside(outcome),
        }
    }

    /// The server may know better that no transaction is open. Watched keys stay watched.
    fn leave_if_outside(&mut self, outcome: Outcome<'_>) {
        if let Outcome::Refused(Some(error)) = outcome {
            if error.message().contains("without MULTI") {
                self.transaction = None;
                self.clear(Dirty::MULTI);
            }
        }
    }

    fn end_transaction(&mut self) -> Queued {
        self.clear(Dirty::MULTI.and(Dirty::WATCH));
        self.transaction.take().unwrap_or_default()
    }

    fn queue(&mut self, effect: Option<Effect>) {
        match &mut self.transaction {
            Some(queued) => {
                queued.effects.extend(effect.map(|effect| (queued.commands, effect)));
                queued.commands += 1;
            }
            // The server is in a transaction that is not known here.
            None if effect.is_some() => self.set_unrecoverable(),
            None => {}
        }
    }

    /// Applies the effect of a command that the server has carried out.
    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Multi => {
                self.add(Dirty::MULTI);
                self.transaction.get_or_insert_default();
            }
            Effect::Watch => self.add(Dirty::WATCH),
            Effect::Unwatch => self.clear(Dirty::WATCH),
            Effect::Asking => self.add(Dirty::ASKING),
            Effect::Readonly => self.current.readonly = true,
            Effect::Readwrite => self.current.readonly = false,
            Effect::Select(database) => self.current.database = database,
            Effect::SetName(name) => self.current.client_name = name,
            // Applied by the kind of reply, or when they were sent.
            Effect::Exec
            | Effect::Discard
            | Effect::Subscription(_)
            | Effect::Unrecoverable
            | Effect::RepliesOff => {}
        }
    }

    /// Returns the state that the baseline and the current state do not share.
    fn changed(&self) -> Dirty {
        let (baseline, current) = (&self.baseline, &self.current);
        Dirty::DATABASE
            .when(differ(&baseline.database, &current.database))
            .and(Dirty::READONLY.when(baseline.readonly != current.readonly))
            .and(Dirty::CLIENT_NAME.when(differ(&baseline.client_name, &current.client_name)))
    }

    /// Returns the state that a command would set.
    fn set_by(&self, effect: &Effect) -> Dirty {
        match effect {
            Effect::Multi => Dirty::MULTI,
            Effect::Watch => Dirty::WATCH,
            Effect::Asking => Dirty::ASKING,
            Effect::Readonly => Dirty::READONLY.when(!self.baseline.readonly),
            Effect::Readwrite => Dirty::READONLY.when(self.baseline.readonly),
            Effect::Select(database) => Dirty::DATABASE.when(*database != self.baseline.database),
            Effect::SetName(name) => Dirty::CLIENT_NAME.when(*name != self.baseline.client_name),
            _ => Dirty::default(),
        }
    }

    fn add(&mut self, dirty: Dirty) {
        self.dirty.0 |= dirty.0;
    }

    fn clear(&mut self, dirty: Dirty) {
        self.dirty.0 &= !dirty.0;
    }
}

/// Compares two arguments, which are usually both empty. Comparing two empty vectors with `!=` calls
/// `memcmp` with dangling pointers, which takes some 200 ns on processors with AVX-512.
fn differ(one: &[u8], other: &[u8]) -> bool {
    one.len() != other.len() || !one.is_empty() && one != other
}

/// The result of a command, as its reply tells.
#[derive(Clone, Copy)]
enum Outcome<'a> {
    Done,
    Queued,
    Refused(Option<&'a ServerError>),
}

impl Outcome<'_> {
    fn of(reply: Option<&Value>) -> Outcome<'_> {
        match reply {
            None => Outcome::Refused(None),
            Some(Value::Error(error)) => Outcome::Refused(Some(error)),
            Some(Value::Simple(text)) if text.as_ref() == b"QUEUED" => Outcome::Queued,
            Some(_) => Outcome::Done,
        }
    }
}

/// The part of a reply in publish and subscribe.
enum Published {
    Nothing,
    Message,
    /// `count` subscriptions are left.
    Confirmation {
        kind: &'static str,
        count: i64,
    },
}
