//! A connection that writes its commands and replies to the log.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::conn::observer::Observer;
use crate::conn::session::ReplyTo;
use crate::error::Error;
use crate::sync::Mutex;
use crate::value::Value;

/// The target of the lines.
const TARGET: &str = "redigo::commands";
/// The longest text shown of a string, in bytes, and of a list, in elements.
const MAX_SHOWN: usize = 32;
/// Replaces secrets.
const MASK: &str = "***";

/// Returns the connection with logging: a line for every command with its reply.
///
/// The lines have the target `redigo::commands` of the [`log`](https://docs.rs/log) crate and the
/// level debug. While that level is off, nothing is formatted. Lines begin with the prefix and a
/// dot, unless the prefix is empty:
///
/// ```text
/// web.SET("user:1", "Ada") -> "OK"
/// web.GET("user:2") -> nil
/// web.INCR("user:1") -> error: ERR value is not an integer or out of range
/// web.AUTH(***) -> "OK"
/// web.Receive() -> ["message", "news", "hello"]
/// web.BLPOP("queue", "0") -> failed: timed out waiting for the reply to BLPOP
/// web.Close()
/// ```
///
/// A line is written when the reply arrives. Commands without a reply are logged when the
/// connection is closed. `Receive` is a reply that answers no command, such as a message of a
/// subscription. Strings are cut after 32 bytes and lists after 32 elements, with `...`.
/// Passwords are shown as `***`: the arguments of `AUTH`, `HELLO`, `ACL SETUSER` and `MIGRATE`,
/// the arguments of `CONFIG` and `SENTINEL` that follow the name of a secret, and replies that
/// contain a secret. An error reply to a command with a password is shown as its code alone.
///
/// Timeouts, state and error of the connection stay the same.
///
/// ```
/// use redigo::testing::ScriptedServer;
///
/// let server = ScriptedServer::new();
/// server.expect("GET", "greeting").reply("hello");
/// let mut conn = redigo::logging(server.conn(), "web"); // web.GET("greeting") -> "hello"
/// assert_eq!(conn.query::<String>("GET", "greeting")?, "hello");
/// # Ok::<(), redigo::Error>(())
/// ```
///
/// In a pool, wrap the connection in the dial function:
///
/// ```
/// use redigo::{Dialer, Pool};
///
/// let dialer = Dialer::tcp(":6379");
/// let pool = Pool::builder_with(move |ctx| Ok(redigo::logging(dialer.dial_context(ctx)?, "web")))
///     .build()?;
/// # drop(pool);
/// # Ok::<(), redigo::Error>(())
/// ```
#[doc(alias = "NewLoggingConn")]
pub fn logging(conn: Conn, prefix: &str) -> Conn {
    logging_filtered(conn, prefix, |_| false)
}

/// Returns the connection with logging, like [`logging`], except for the commands for which `skip`
/// returns true. It gets the name as the program wrote it, and an empty name for a `Receive`.
///
/// ```
/// # let conn = redigo::testing::ScriptedServer::new().conn();
/// let conn = redigo::logging_filtered(conn, "web", |command| command == "PING");
/// # drop(conn);
/// ```
#[doc(alias = "NewLoggingConnFilter")]
pub fn logging_filtered(
    mut conn: Conn,
    prefix: &str,
    skip: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Conn {
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
    let next = conn.observer().take();
    let logger =
        Logger { prefix, skip: Box::new(skip), unanswered: Mutex::new(VecDeque::new()), next };
    *conn.observer() = Some(Box::new(logger));
    conn
}

struct Logger {
    prefix: String,
    skip: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// The unanswered commands that are logged or have a secret reply, oldest first.
    unanswered: Mutex<VecDeque<Sent>>,
    /// The observer before this one.
    next: Option<Box<dyn Observer>>,
}

/// A command that waits for its reply.
struct Sent {
    number: usize,
    /// Its text in the log; `None` if it is not logged.
    text: Option<String>,
    /// An error reply may quote a secret argument.
    is_secret: bool,
    /// Its reply may contain a secret.
    reply_is_secret: bool,
}

impl Logger {
    fn write(&self, text: impl fmt::Display) {
        log::debug!(target: TARGET, "{}{text}", self.prefix);
    }

    /// Takes the command that a reply answers, if it was recorded.
    fn take(&self, number: usize) -> Option<Sent> {
        let mut unanswered = self.unanswered.lock();
        let is_next = unanswered.front().is_some_and(|sent| sent.number == number);
        if is_next { unanswered.pop_front() } else { None }
    }

    /// Writes the line of a reply or a failure that answers no command.
    fn receive(&self, outcome: impl fmt::Display) {
        if is_on() && !(self.skip)("") {
            self.write(format_args!("Receive() -> {outcome}"));
        }
    }
}

fn is_on() -> bool {
    log::log_enabled!(target: TARGET, log::Level::Debug)
}

impl Observer for Logger {
    fn sending(&self, number: usize, command: &str, args: &dyn ToArgs) {
        self.next.sending(number, command, args);
        let logged = is_on() && !(self.skip)(command);
        if !logged && !may_reply_with_secret(command) {
            return;
        }
        let args = Args::new().args(args);
        let sent = Sent {
            number,
            text: logged.then(|| Shown { command, args: &args }.to_string()),
            is_secret: Secrets::of(command, &args).hides_any(&args),
            reply_is_secret: reply_is_secret(command, &args),
        };
        let mut unanswered = self.unanswered.lock();
        // A number that is used again is that of a command that was not sent.
        if unanswered.back().is_some_and(|unsent| unsent.number == number) {
            unanswered.pop_back();
        }
        if sent.text.is_some() || sent.reply_is_secret {
            unanswered.push_back(sent);
        }
    }

    fn received(&self, to: ReplyTo, reply: &Value) {
        self.next.received(to, reply);
        match to {
            ReplyTo::Command(number) => {
                let Some(Sent { text: Some(text), is_secret, reply_is_secret, .. }) =
                    self.take(number)
                else {
                    return;
                };
                match reply {
                    Value::Error(error) if is_secret => {
                        self.write(format_args!("{text} -> error: {} {MASK}", error.code()));
                    }
                    _ if reply_is_secret => self.write(format_args!("{text} -> {MASK}")),
                    reply => self.write(format_args!("{text} -> {}", ShownReply(reply))),
                }
            }
            ReplyTo::Nothing => self.receive(ShownReply(reply)),
            ReplyTo::Unknown => {
                let is_secret = self.unanswered.lock().iter().any(|sent| sent.reply_is_secret);
                match is_secret {
                    true => self.receive(MASK),
                    false => self.receive(ShownReply(reply)),
                }
            }
        }
    }

    fn failed(&self, error: &Error) {
        self.next.failed(error);
        let sent = self.unanswered.lock().pop_front();
        match sent.map(|sent| sent.text) {
            Some(Some(text)) => self.write(format_args!("{text} -> failed: {error}")),
            Some(None) => {}
            None => self.receive(format_args!("failed: {error}")),
        }
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        for sent in std::mem::take(self.unanswered.get_mut()) {
            if let Some(text) = sent.text {
                self.write(format_args!("{text} -> (not received)"));
            }
        }
        self.write("Close()");
    }
}

/// A command with its arguments, shortened and without secrets.
pub(crate) struct Shown<'a> {
    pub(crate) command: &'a str,
    pub(crate) args: &'a Args,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets = Secrets::of(self.command, self.args);
        write!(f, "{}(", self.command)?;
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if secrets.from.is_some_and(|from| index >= from) {
                f.write_str(MASK)?;
                break;
            }
            if index >= MAX_SHOWN {
                f.write_str("...")?;
                break;
            }
            match secrets.values && index > 0 && is_name_of_secret(nth(self.args, index - 1)) {
                true => f.write_str(MASK)?,
                false => write_shortened(f, arg)?,
            }
        }
        f.write_char(')')
    }
}

struct ShownReply<'a>(&'a Value);

impl fmt::Display for ShownReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Nil => f.write_str("nil"),
            Value::Int(number) => number.fmt(f),
            Value::Simple(bytes) => write_shortened(f, bytes),
            Value::Bulk(bytes) => write_shortened(f, bytes),
            Value::Error(error) => write!(f, "error: {error}"),
            Value::Array(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().take(MAX_SHOWN).enumerate() {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(f, "{separator}{}", ShownReply(item))?;
                }
                f.write_str(if items.len() > MAX_SHOWN { ", ...]" } else { "]" })
            }
        }
    }
}

fn write_shortened(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let shown = &bytes[..bytes.len().min(MAX_SHOWN)];
    let more = if bytes.len() > MAX_SHOWN { "..." } else { "" };
    write!(f, "\"{}\"{more}", shown.escape_ascii())
}

/// The arguments of a command that must not be shown.
#[derive(Debug, Default, PartialEq)]
struct Secrets {
    /// All from this index on.
    from: Option<usize>,
    /// The arguments that follow the name of a secret.
    values: bool,
}

impl Secrets {
    fn of(command: &str, args: &Args) -> Secrets {
        let is = |name: &str| command.eq_ignore_ascii_case(name);
        let all_from = |index| Secrets { from: Some(index), values: false };
        if is("AUTH") {
            return all_from(0);
        }
        // The first argument is the protocol version.
        if is("HELLO") {
            return all_from(1);
        }
        if is("ACL") && same(nth(args, 0), "SETUSER") {
            return all_from(2);
        }
        if is("MIGRATE") {
            // The options follow host, port, key, database and timeout.
            let login = (5..args.len()).find(|&index| {
                let arg = nth(args, index);
                same(arg, "AUTH") || same(arg, "AUTH2")
            });
            return Secrets { from: login.map(|index| index + 1), values: false };
        }
        Secrets { from: None, values: is("CONFIG") || is("SENTINEL") }
    }
}

impl Secrets {
    /// Returns true if any of the arguments must not be shown.
    fn hides_any(&self, args: &Args) -> bool {
        let names = args.len().saturating_sub(1);
        self.from.is_some_and(|from| from < args.len())
            || self.values && args.iter().take(names).any(is_name_of_secret)
    }
}

/// Returns true for `requirepass`, `masterauth`, `tls-key-file-pass`, `auth-pass` and the like.
fn is_name_of_secret(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    [&b"pass"[..], b"auth"].iter().any(|part| name.windows(part.len()).any(|at| at == *part))
}

/// Returns true for the commands with which [`reply_is_secret`] may be true.
fn may_reply_with_secret(command: &str) -> bool {
    ["CONFIG", "ACL"].iter().any(|name| command.eq_ignore_ascii_case(name))
}

/// Returns true for `CONFIG GET` of a secret or of a pattern, and for `ACL` with passwords.
fn reply_is_secret(command: &str, args: &Args) -> bool {
    let subcommand = nth(args, 0);
    if command.eq_ignore_ascii_case("CONFIG") && same(subcommand, "GET") {
        let is_pattern = |arg: &[u8]| arg.iter().any(|byte| b"*?[".contains(byte));
        return args.iter().skip(1).any(|arg| is_name_of_secret(arg) || is_pattern(arg));
    }
    let tells = |name: &&str| same(subcommand, name);
    command.eq_ignore_ascii_case("ACL") && ["GETUSER", "LIST", "GENPASS"].iter().any(tells)
}

fn nth(args: &Args, index: usize) -> &[u8] {
    args.iter().nth(index).unwrap_or_default()
}

fn same(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: &str, args: impl ToArgs) -> String {
        Shown { command, args: &Args::new().args(args) }.to_string()
    }

    #[test]
    fn long_strings_and_lists_are_cut() {
        let just = "x".repeat(32);
        assert_eq!(shown("SET", &just), format!("SET(\"{just}\")"));
        assert_eq!(shown("SET", format!("{just}y")), format!("SET(\"{just}\"...)"));
        assert_eq!(shown("SET", (b"a\"\r\n\xff", 1)), r#"SET("a\"\r\n\xff", "1")"#);
        assert_eq!(shown("PING", ()), "PING()");
        assert!(shown("DEL", vec!["k"; 32]).ends_with("\"k\")"));
        assert!(shown("DEL", vec!["k"; 33]).ends_with("\"k\", ...)"));

        let list =
            |length: usize| ShownReply(&Value::from(vec![Value::Int(7); length])).to_string();
        assert_eq!(list(0), "[]");
        assert_eq!(list(2), "[7, 7]");
        assert!(list(32).ends_with("7, 7]"));
        assert!(list(33).ends_with("7, 7, ...]"));
        assert_eq!(list(33).matches('7').count(), 32);
    }

    #[test]
    fn secrets_are_masked() {
        let table: &[(&str, &dyn ToArgs, &str)] = &[
            ("AUTH", &"secret", "AUTH(***)"),
            ("auth", &("user", "secret"), "auth(***)"),
            ("HELLO", &(3, "AUTH", "user", "secret"), r#"HELLO("3", ***)"#),
            ("Hello", &3, r#"Hello("3")"#),
            ("CONFIG", &("SET", "requirepass", "secret"), r#"CONFIG("SET", "requirepass", ***)"#),
            ("config", &("set", "MasterAuth", "secret"), r#"config("set", "MasterAuth", ***)"#),
            (
                "CONFIG",
                &("SET", "maxmemory", 1, "tls-key-file-pass", "secret", "port", 2),
                r#"CONFIG("SET", "maxmemory", "1", "tls-key-file-pass", ***, "port", "2")"#,
            ),
            ("CONFIG", &("GET", "maxmemory"), r#"CONFIG("GET", "maxmemory")"#),
            ("ACL", &("SETUSER", "ada", ">secret", "on"), r#"ACL("SETUSER", "ada", ***)"#),
            ("acl", &("setuser", "ada"), r#"acl("setuser", "ada")"#),
            ("ACL", &"WHOAMI", r#"ACL("WHOAMI")"#),
            (
                "MIGRATE",
                &("h", 1, "auth", 0, 9, "COPY", "AUTH2", "user", "secret"),
                r#"MIGRATE("h", "1", "auth", "0", "9", "COPY", "AUTH2", ***)"#,
            ),
            (
                "migrate",
                &("h", 1, "", 0, 9, "auth", "secret", "KEYS", "k"),
                r#"migrate("h", "1", "", "0", "9", "auth", ***)"#,
            ),
            ("MIGRATE", &("h", 1, "k", 0, 9), r#"MIGRATE("h", "1", "k", "0", "9")"#),
            (
                "SENTINEL",
                &("SET", "main", "auth-pass", "secret"),
                r#"SENTINEL("SET", "main", "auth-pass", ***)"#,
            ),
        ];
        for (command, args, expected) in table {
            assert_eq!(shown(command, *args), *expected);
        }
        // A secret behind the cut is not shown either.
        let padding = vec!["x"; 40];
        assert!(!shown("AUTH", (&padding, "secret")).contains("secret"));
    }

    #[test]
    fn commands_whose_replies_hold_secrets_are_known() {
        let secret = |command, args: &dyn ToArgs| reply_is_secret(command, &Args::new().args(args));
        assert!(secret("config", &("get", "requirepass")));
        assert!(secret("CONFIG", &("GET", "maxmemory", "*")));
        assert!(!secret("CONFIG", &("GET", "maxmemory")));
        assert!(secret("ACL", &("GETUSER", "ada")));
        assert!(!secret("ACL", &"WHOAMI"));
        assert!(!secret("GET", &("GET", "requirepass")));
    }
}
