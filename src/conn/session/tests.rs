//! Commands and replies, and the state that is left.

use super::*;

/// A session that is sent commands and answered one by one.
#[derive(Default)]
struct Script {
    session: Session,
    sent: usize,
    answered: usize,
}

impl Script {
    /// A connection that was dialed with database 3.
    fn new() -> Script {
        let mut script = Script::default();
        script.call("SELECT 3", "OK");
        script.session.set_baseline();
        script
    }

    fn send(&mut self, command: &str) {
        let mut words = command.split(' ');
        let name = words.next().unwrap_or_default();
        if let Some(effect) = Effect::of(name, &words.collect::<Vec<_>>()) {
            self.session.record(self.sent, effect);
        }
        self.sent += 1;
    }

    fn answer_with(&mut self, reply: &Value) -> Answer {
        let number = (self.answered < self.sent).then_some(self.answered);
        let answer = self.session.answer(number, Some(reply));
        self.answered += usize::from(answer.completes);
        answer
    }

    /// A reply that begins with `-` is an error.
    fn answer(&mut self, reply: &str) {
        let reply = match reply.strip_prefix('-') {
            Some(error) => Value::Error(ServerError::new(error)),
            None => Value::simple(reply.to_owned()),
        };
        self.answer_with(&reply);
    }

    fn call(&mut self, command: &str, reply: &str) {
        self.send(command);
        self.answer(reply);
    }

    fn exec(&mut self, replies: Value) {
        self.send("EXEC");
        self.answer_with(&replies);
    }

    fn dirty(&self) -> Dirty {
        self.session.dirty()
    }
}

/// The state after these commands with their replies.
fn after(calls: &[(&str, &str)]) -> Dirty {
    let mut script = Script::new();
    calls.iter().for_each(|(command, reply)| script.call(command, reply));
    script.dirty()
}

const CLEAN: Dirty = Dirty(0);

#[test]
fn setting_command_is_dirty_from_the_send_until_a_refusal() {
    for (command, dirty) in [
        ("MULTI", Dirty::MULTI),
        ("WATCH k", Dirty::WATCH),
        ("READONLY", Dirty::READONLY),
        ("ASKING", Dirty::ASKING),
        ("SELECT 1", Dirty::DATABASE),
        ("CLIENT SETNAME x", Dirty::CLIENT_NAME),
    ] {
        let mut script = Script::new();
        script.send(command);
        assert_eq!(script.dirty(), dirty, "{command} unanswered");
        assert!(script.session.needs_replies());
        script.answer("OK");
        assert_eq!(script.dirty(), dirty, "{command}");
        assert_eq!(after(&[(command, "-NOPERM")]), CLEAN, "{command} refused");
    }
}

#[test]
fn clearing_command_clears_only_when_it_succeeds() {
    for (set, clear, dirty) in [
        ("WATCH k", "UNWATCH", Dirty::WATCH),
        ("MULTI", "DISCARD", Dirty::MULTI),
        ("MULTI", "EXEC", Dirty::MULTI),
        ("READONLY", "READWRITE", Dirty::READONLY),
        ("SELECT 1", "SELECT 3", Dirty::DATABASE),
        ("CLIENT SETNAME x", "CLIENT SETNAME ", Dirty::CLIENT_NAME),
    ] {
        let mut script = Script::new();
        script.call(set, "OK");
        script.send(clear);
        assert_eq!(script.dirty(), dirty, "{clear} unanswered");
        script.answer("-BUSY Redis is busy running a script");
        assert_eq!(script.dirty(), dirty, "{clear} refused");
        script.call(clear, "OK");
        assert_eq!(script.dirty(), CLEAN, "{clear}");
        assert!(!script.session.needs_replies());
    }
}

#[test]
fn end_of_a_transaction_depends_on_the_reply() {
    let both = Dirty::MULTI.and(Dirty::WATCH);
    let end = |command, reply| after(&[("WATCH k", "OK"), ("MULTI", "OK"), (command, reply)]);
    assert_eq!(end("DISCARD", "OK"), CLEAN);
    assert_eq!(end("DISCARD x", "-ERR wrong number of arguments"), both);
    assert_eq!(end("EXEC", "-EXECABORT Transaction discarded"), CLEAN);
    assert_eq!(end("EXEC", "-BUSY"), both);
    assert_eq!(end("EXEC", "-ERR EXEC without MULTI"), Dirty::WATCH);
    assert_eq!(end("DISCARD", "-ERR DISCARD without MULTI"), Dirty::WATCH);
    assert_eq!(end("MULTI", "-ERR MULTI calls can not be nested"), both);
    assert_eq!(after(&[("WATCH k", "OK"), ("MULTI", "-NOPERM")]), Dirty::WATCH);
    let mut script = Script::new();
    script.call("WATCH k", "OK");
    script.call("MULTI", "OK");
    script.exec(Value::Nil);
    assert_eq!(script.dirty(), CLEAN, "a watched key has changed");
}

#[test]
fn queued_commands_take_effect_with_their_element_of_exec() {
    let error = || Value::Error(ServerError::new("ERR DB index is out of range"));
    let ok = || Value::simple("OK");
    let exec = |replies: Value| {
        let mut script = Script::new();
        script.call("MULTI", "OK");
        script.call("GET k", "QUEUED");
        script.call("SELECT 1", "-ERR not queued");
        script.call("SELECT 2", "QUEUED");
        assert_eq!(script.dirty(), Dirty::MULTI.and(Dirty::DATABASE));
        script.exec(replies);
        script.dirty()
    };
    assert_eq!(exec(Value::from(vec![ok(), ok()])), Dirty::DATABASE);
    assert_eq!(exec(Value::from(vec![ok(), error()])), CLEAN);
    assert_eq!(exec(Value::from(vec![error(), ok()])), Dirty::DATABASE);
    assert_eq!(exec(Value::Nil), CLEAN);
    assert_eq!(exec(Value::from(vec![ok()])), Dirty::UNRECOVERABLE);
    let mut script = Script::new();
    script.call("SELECT 1", "OK");
    script.call("MULTI", "OK");
    script.call("SELECT 3", "QUEUED");
    script.call("DISCARD", "OK");
    assert_eq!(script.dirty(), Dirty::DATABASE, "the way back was discarded");
}

#[test]
fn clearing_command_that_is_queued_clears_nothing() {
    assert!(after(&[("WATCH k", "OK"), ("UNWATCH", "QUEUED")]).has(Dirty::WATCH));
    let mut script = Script::new();
    script.call("READONLY", "OK");
    script.call("MULTI", "OK");
    script.call("READWRITE", "QUEUED");
    assert!(script.dirty().has(Dirty::READONLY));
    script.exec(Value::from(vec![Value::simple("OK")]));
    assert_eq!(script.dirty(), CLEAN);
}

#[test]
fn asking_ends_with_the_next_command_and_not_in_a_transaction() {
    assert_eq!(after(&[("ASKING", "OK"), ("GET k", "-MOVED 1 h:1")]), CLEAN);
    assert_eq!(after(&[("ASKING", "OK"), ("ASKING", "OK")]), Dirty::ASKING);
    let queued = &[("ASKING", "OK"), ("MULTI", "OK"), ("GET k", "QUEUED")];
    assert!(after(queued).has(Dirty::ASKING));
    assert_eq!(after(&[&queued[..], &[("DISCARD", "OK")]].concat()), CLEAN);
}

#[test]
fn baseline_state_is_clean() {
    assert_eq!(after(&[("SELECT 3", "OK")]), CLEAN);
    assert_eq!(after(&[("SELECT 1", "OK"), ("select 3", "OK")]), CLEAN);
    let mut script = Script::default();
    script.call("SELECT 0", "OK");
    assert_eq!(script.dirty(), CLEAN, "database 0 is the default");
    script.call("CLIENT SETNAME me", "OK");
    script.call("READONLY", "OK");
    script.call("AUTH secret", "OK");
    script.session.set_baseline();
    assert_eq!(script.dirty(), CLEAN);
    script.call("CLIENT SETNAME other", "OK");
    script.call("READWRITE", "OK");
    assert_eq!(script.dirty(), Dirty::CLIENT_NAME.and(Dirty::READONLY));
    assert_eq!(script.session.baseline().client_name, b"me");
}

#[test]
fn state_that_no_command_restores_is_unrecoverable() {
    for command in ["MONITOR", "AUTH x", "HELLO", "RESET", "QUIT", "PSYNC", "CLIENT REPLY OFF"] {
        assert_eq!(after(&[(command, "-ERR")]), Dirty::UNRECOVERABLE, "{command}");
    }
}

#[test]
fn replies_are_not_matched_while_the_server_skips_some() {
    let mut script = Script::new();
    script.send("CLIENT REPLY SKIP");
    script.send("PING");
    let answer = script.answer_with(&Value::simple("PONG"));
    assert_eq!(answer.to, ReplyTo::Unknown);
}

fn confirmation(kind: &str, count: i64) -> Value {
    Value::from(vec![Value::from(kind), Value::from("a"), Value::Int(count)])
}

#[test]
fn confirmations_and_messages_are_matched_to_their_commands() {
    let message = Value::from(["message", "a", "hello"].map(Value::from).to_vec());
    let mut script = Script::new();
    script.send("SUBSCRIBE a b");
    script.send("PING");
    let nothing = Answer { to: ReplyTo::Nothing, completes: false };
    let first = script.answer_with(&confirmation("subscribe", 1));
    let number = script.answered;
    assert_eq!(first, Answer { to: ReplyTo::Command(number), completes: false });
    assert_eq!(script.answer_with(&message), nothing);
    let second = script.answer_with(&confirmation("subscribe", 2));
    assert_eq!(second, Answer { to: ReplyTo::Nothing, completes: true });
    assert_eq!(script.answer_with(&message), nothing);
    let pong = script.answer_with(&Value::from(vec![Value::from("pong"), Value::from("")]));
    assert_eq!(pong, Answer { to: ReplyTo::Command(number + 1), completes: true });
    // UNSUBSCRIBE without channels has a confirmation for each.
    script.send("UNSUBSCRIBE");
    assert!(script.answer_with(&confirmation("unsubscribe", 1)).completes);
    assert_eq!(script.answer_with(&confirmation("unsubscribe", 0)), nothing);
    // Now a list that begins like a message is a reply.
    script.send("LRANGE k 0 -1");
    assert!(script.answer_with(&message).completes);
    assert_eq!(script.dirty(), Dirty::SUBSCRIBE);
    script.session.end_subscriptions();
    assert_eq!(script.dirty(), CLEAN);
}
