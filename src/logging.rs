//! A connection that writes what it does to the log.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use crate::args::{Args, ToArgs};
use crate::conn::Conn;
use crate::conn::observer::Observer;
use crate::error::Error;
use crate::sync::Mutex;
use crate::value::Value;

/// Where the lines go.
const TARGET: &str = "redigo::commands";
/// The most that is shown of a string, in bytes, and of a list, in elements.
const CHOP: usize = 32;
/// Stands for what must not be shown.
const MASK: &str = "***";

/// Writes a line to the log for every command of a connection, with its reply.
///
/// The lines go to the target `redigo::commands` of the [`log`](https://docs.rs/log) crate, at
/// level debug. While that is off, nothing is formatted. They begin with the prefix and a point,
/// unless the prefix is empty:
///
/// ```text
/// web.SET("user:1", "Ada") -> "OK"
/// web.GET("user:2") -> nil
/// web.INCR("user:1") -> error: ERR value is not an integer or out of range
/// web.AUTH(***) -> "OK"
/// web.Receive() -> ["message", "news", "hello"]
/// web.BLPOP("queue", "0") -> failed: timed out waiting for a reply
/// web.Close()
/// ```
///
/// A line is written when the reply comes; a command whose reply was never received is told of
/// when the connection is closed. `Receive` is a reply that answers no command, such as a message
/// of a subscription. Strings are cut after 32 bytes and lists after 32 elements, with `...`.
/// Passwords are shown as `***`: the arguments of `AUTH`, `HELLO`, `ACL SETUSER` and `MIGRATE`,
/// those of `CONFIG` and `SENTINEL` that follow the name of a secret, and replies that hold one.
///
/// The connection is the same in all else: its timeouts, its state, its error.
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
/// In a pool, wrap what the dial function returns:
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

/// As [`logging`], without the commands for which `skip` says true. It is asked with the name as
/// the program wrote it, and with an empty name for a `Receive`.
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
    /// The commands whose replies have not come, oldest first; nothing for those not to be told.
    unanswered: Mutex<VecDeque<Option<Sent>>>,
    /// Who watched before.
    next: Option<Box<dyn Observer>>,
}

/// A command as it will stand in the log.
struct Sent {
    text: String,
    /// Whether its reply may hold a secret.
    reply_is_secret: bool,
}

impl Logger {
    fn write(&self, text: impl fmt::Display) {
        log::debug!(target: TARGET, "{}{text}", self.prefix);
    }

    /// The line of the command that is next to be answered, or of a receive.
    fn answer(&self, sent: Option<Option<Sent>>, outcome: impl fmt::Display) {
        match sent {
            Some(Some(Sent { reply_is_secret: true, text })) => {
                self.write(format_args!("{text} -> {MASK}"));
            }
            Some(Some(sent)) => self.write(format_args!("{} -> {outcome}", sent.text)),
            Some(None) => {}
            None if is_on() && !(self.skip)("") => {
                self.write(format_args!("Receive() -> {outcome}"));
            }
            None => {}
        }
    }
}

fn is_on() -> bool {
    log::log_enabled!(target: TARGET, log::Level::Debug)
}

impl Observer for Logger {
    fn sending(&self, command: &str, args: &dyn ToArgs) {
        self.next.sending(command, args);
        let told = is_on() && !(self.skip)(command);
        // What is not told has its place in the queue too, or the replies would go astray.
        let sent = told.then(|| {
            let args = Args::new().args(args);
            let reply_is_secret = reply_is_secret(command, &args);
            Sent { text: Shown { command, args: &args }.to_string(), reply_is_secret }
        });
        self.unanswered.lock().push_back(sent);
    }

    fn received(&self, reply: &Value) {
        self.next.received(reply);
        let sent = if is_message(reply) { None } else { self.unanswered.lock().pop_front() };
        self.answer(sent, ShownReply(reply));
    }

    fn failed(&self, error: &Error) {
        self.next.failed(error);
        let sent = self.unanswered.lock().pop_front();
        self.answer(sent, format_args!("failed: {error}"));
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        for sent in std::mem::take(self.unanswered.get_mut()).into_iter().flatten() {
            self.write(format_args!("{} -> (not received)", sent.text));
        }
        self.write("Close()");
    }
}

/// True for what a subscriber is sent, which answers no command.
fn is_message(reply: &Value) -> bool {
    let kind = reply.as_array().and_then(<[Value]>::first).and_then(Value::as_bytes);
    matches!(kind, Some(b"message" | b"pmessage" | b"smessage"))
}

/// A command with its arguments, cut short and without secrets.
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
            if index >= CHOP {
                f.write_str("...")?;
                break;
            }
            match secrets.values && index > 0 && is_name_of_secret(nth(self.args, index - 1)) {
                true => f.write_str(MASK)?,
                false => write_chopped(f, arg)?,
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
            Value::Simple(bytes) => write_chopped(f, bytes),
            Value::Bulk(bytes) => write_chopped(f, bytes),
            Value::Error(error) => write!(f, "error: {error}"),
            Value::Array(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().take(CHOP).enumerate() {
                    let separator = if index > 0 { ", " } else { "" };
                    write!(f, "{separator}{}", ShownReply(item))?;
                }
                f.write_str(if items.len() > CHOP { ", ...]" } else { "]" })
            }
        }
    }
}

fn write_chopped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let shown = &bytes[..bytes.len().min(CHOP)];
    let more = if bytes.len() > CHOP { "..." } else { "" };
    write!(f, "\"{}\"{more}", shown.escape_ascii())
}

/// Which arguments of a command must not be shown.
#[derive(Debug, Default, PartialEq)]
struct Secrets {
    /// All from this one on.
    from: Option<usize>,
    /// Those that follow the name of a secret.
    values: bool,
}

impl Secrets {
    fn of(command: &str, args: &Args) -> Secrets {
        let is = |name: &str| command.eq_ignore_ascii_case(name);
        let all_from = |index| Secrets { from: Some(index), values: false };
        if is("AUTH") {
            return all_from(0);
        }
        // The version of the protocol comes first, and names nobody.
        if is("HELLO") {
            return all_from(1);
        }
        if is("ACL") && same(nth(args, 0), "SETUSER") {
            return all_from(2);
        }
        if is("MIGRATE") {
            // Before the options stand host, port, key, database and timeout, whatever they are.
            let login = (5..args.len()).find(|&index| {
                let arg = nth(args, index);
                same(arg, "AUTH") || same(arg, "AUTH2")
            });
            return Secrets { from: login.map(|index| index + 1), values: false };
        }
        Secrets { from: None, values: is("CONFIG") || is("SENTINEL") }
    }
}

/// True for `requirepass`, `masterauth`, `tls-key-file-pass`, `auth-pass` and those to come.
fn is_name_of_secret(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    [&b"pass"[..], b"auth"].iter().any(|part| name.windows(part.len()).any(|at| at == *part))
}

/// True for `CONFIG GET` of a secret, or of what a pattern may find, and for the users' passwords.
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
    fn strings_and_lists_are_cut() {
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
        // A secret beyond the cut is one still.
        let padding = vec!["x"; 40];
        assert!(!shown("AUTH", (&padding, "secret")).contains("secret"));
    }

    #[test]
    fn replies_with_secrets_are_known() {
        let secret = |command, args: &dyn ToArgs| reply_is_secret(command, &Args::new().args(args));
        assert!(secret("config", &("get", "requirepass")));
        assert!(secret("CONFIG", &("GET", "maxmemory", "*")));
        assert!(!secret("CONFIG", &("GET", "maxmemory")));
        assert!(secret("ACL", &("GETUSER", "ada")));
        assert!(!secret("ACL", &"WHOAMI"));
        assert!(!secret("GET", &("GET", "requirepass")));
    }
}
