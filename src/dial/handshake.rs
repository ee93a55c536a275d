//! The commands that set up a new connection.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use super::budget::Budget;
use crate::args::ToArgs;
use crate::conn::Conn;
use crate::error::{DialStep, Error, ProtocolError, Result, ServerError, TimeoutKind};
use crate::value::Value;

/// The set-up of a new connection.
#[derive(Default)]
pub(super) struct Handshake<'a> {
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    pub(super) client_name: Option<&'a str>,
    pub(super) database: i64,
    /// Sends `PING` if there is nothing else to send, so that the server must answer.
    pub(super) proves_server: bool,
    /// The connection uses TLS.
    pub(super) tls: bool,
}

/// A command of the set-up, and its text for a reader: `SELECT 99`.
struct Step {
    step: DialStep,
    text: Cow<'static, str>,
}

/// Sends `AUTH`, `CLIENT SETNAME` and `SELECT`, each if it is configured, in one write, and checks
/// the replies.
///
/// # Errors
/// An error names the first command that failed. An expired deadline is of that step, unless the
/// caller owns it.
pub(super) fn run(conn: &mut Conn, handshake: &Handshake<'_>, budget: &Budget) -> Result<()> {
    conn.run_within(budget.ctx(), |conn| {
        let mut steps = Vec::new();
        let mut replies = 0;
        exchange(conn, handshake, &mut steps, &mut replies).map_err(|error| {
            // The commands before it were answered. Without any, sending the last one failed.
            match steps.get(replies).or(steps.last()) {
                Some(step) => handshake.explain(error, step, replies, budget),
                None => error,
            }
        })
    })?;
    conn.session().set_baseline();
    Ok(())
}

fn exchange(
    conn: &mut Conn,
    handshake: &Handshake<'_>,
    steps: &mut Vec<Step>,
    replies: &mut usize,
) -> Result<()> {
    let mut send = |step, text: Cow<'static, str>, name: &str, args: &dyn ToArgs| {
        steps.push(Step { step, text });
        conn.send(name, args)
    };
    if let Some(password) = handshake.password {
        let text = if handshake.username.is_none() { "AUTH (default user)" } else { "AUTH" };
        // Without a user name, AUTH has one argument: the password of the default user.
        send(DialStep::Auth, text.into(), "AUTH", &(handshake.username, password))?;
    }
    if let Some(name) = handshake.client_name {
        let text = "CLIENT SETNAME".into();
        send(DialStep::ClientSetName, text, "CLIENT", &("SETNAME", name))?;
    }
    if handshake.database != 0 {
        let text = format!("SELECT {}", handshake.database).into();
        send(DialStep::Select, text, "SELECT", &handshake.database)?;
    }
    if steps.is_empty() && handshake.proves_server {
        steps.push(Step { step: DialStep::Ping, text: "PING".into() });
        conn.send("PING", ())?;
    }
    if !steps.is_empty() {
        conn.flush()?;
    }
    for Step { step, .. } in steps {
        check(*step, conn.receive())?;
        *replies += 1;
    }
    Ok(())
}

/// Checks that the server has done the step.
fn check(step: DialStep, reply: Result<Value>) -> Result<()> {
    match (step, reply) {
        (DialStep::Ping, Ok(reply)) if reply.as_str() == Some("PONG") => Ok(()),
        (DialStep::Ping, Ok(_)) => Err(ProtocolError::new("the reply is not PONG").into()),
        (DialStep::Ping, Err(Error::Server(refusal))) if answers(&refusal) => Ok(()),
        (_, Ok(reply)) if reply.as_str() == Some("OK") => Ok(()),
        (_, Ok(_)) => Err(ProtocolError::new("the reply is not OK").into()),
        (_, Err(error)) => Err(error),
    }
}

/// Returns true if an error reply to `PING` proves a server that serves this client: one that
/// does not permit `PING`, or is busy with a script.
fn answers(refusal: &ServerError) -> bool {
    !matches!(refusal.code(), "NOAUTH" | "LOADING" | "DENIED")
        && !refusal.message().starts_with("ERR max number of clients")
}

impl Handshake<'_> {
    /// Adds the step to an error, and a hint if the cause is not clear.
    fn explain(&self, error: Error, at: &Step, replies: usize, budget: &Budget) -> Error {
        let Step { step, text } = at;
        match error {
            Error::Timeout(error) if error.kind() == TimeoutKind::Context => {
                // The step says more than its activity, which is not kept.
                budget.expired(TimeoutKind::Handshake(*step), error.kind().into())
            }
            Error::Server(refusal) => {
                Error::from(self.without_secrets(&refusal)).in_step(*step, text)
            }
            Error::Io(source) if replies == 0 && is_close(&source) => {
                let hint = match self.tls {
                    true => "a proxy without a backend?",
                    false => "does it require TLS? then use rediss://; a proxy without a backend?",
                };
                let why = "the server closed the connection before its first reply";
                Error::io_explained(format!("{text}: {why} ({hint})"), source)
            }
            error => error.in_step(*step, text),
        }
    }

    /// Removes secrets from a refusal. A server that does not know the command quotes its
    /// arguments, truncated and with different line ends.
    fn without_secrets(&self, refusal: &ServerError) -> ServerError {
        let text = refusal.message();
        let text = text.split(" with args beginning with").next().unwrap_or(text);
        match self.password {
            Some(password) if !password.is_empty() => ServerError::new(mask_word(text, password)),
            _ => ServerError::new(text),
        }
    }
}

/// Returns true if the peer has closed the connection, and not within a reply.
fn is_close(error: &Arc<io::Error>) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset => true,
        UnexpectedEof => !error.to_string().contains("in the middle of a reply"),
        _ => false,
    }
}

/// Masks a word unless it is a part of a longer word: "PASS" does not change "WRONGPASS".
fn mask_word(text: &str, word: &str) -> String {
    let (mut masked, mut rest) = (String::new(), 0);
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        let mut around =
            text[..at].chars().next_back().into_iter().chain(text[end..].chars().next());
        if !around.any(char::is_alphanumeric) {
            masked.push_str(&text[rest..at]);
            masked.push_str("***");
            rest = end;
        }
    }
    masked + &text[rest..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::dial::dialer::Dialer;
    use crate::net::stream::Stream;
    use crate::testing::MemoryStream;

    #[test]
    fn a_refusal_never_shows_the_password() {
        let shown = |password, text| {
            let handshake = Handshake { password: Some(password), ..Handshake::default() };
            handshake.without_secrets(&ServerError::new(text)).message().to_owned()
        };
        let usual = "WRONGPASS invalid username-password pair or user is disabled.";
        assert_eq!(shown("hunter2", usual), usual);
        assert_eq!(shown("PASS", usual), usual);
        assert_eq!(shown("hunter2", "ERR no 'hunter2' (hunter2)"), "ERR no '***' (***)");
        let unknown = "ERR unknown command 'AUTH', with args beginning with: 'ursula' 'hunt";
        assert_eq!(shown("hunter2", unknown), "ERR unknown command 'AUTH',");
    }

    /// Dials a server that replies with these bytes, and returns the bytes that it received.
    fn prove(dialer: Dialer, replies: &str) -> (Result<Conn>, String) {
        let stream = MemoryStream::new(replies);
        let server = stream.clone();
        let dialer = dialer.connector(move |_, _| Ok(Box::new(server.clone()) as Box<dyn Stream>));
        let dialed = dialer.dial_proven(&Context::background());
        (dialed, String::from_utf8(stream.written()).unwrap())
    }

    #[test]
    fn a_proven_dial_sends_ping_if_nothing_else_is_sent() {
        let ping = "*1\r\n$4\r\nPING\r\n";
        let (dialed, written) = prove(Dialer::tcp(":6379"), "+PONG\r\n");
        assert_eq!((dialed.is_ok(), written.as_str()), (true, ping));
        let (dialed, written) = prove(Dialer::tcp(":6379").database(1), "+OK\r\n");
        assert!(dialed.is_ok() && !written.contains("PING"), "{written}");
    }

    #[test]
    fn a_proven_dial_fails_at_a_server_that_refuses_or_closes() {
        for reply in [
            "-NOAUTH Authentication required.\r\n",
            "-ERR max number of clients reached\r\n",
            "-LOADING Redis is loading the dataset in memory\r\n",
            "+OK\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "",
        ] {
            let (dialed, _) = prove(Dialer::tcp(":6379"), reply);
            let error = dialed.unwrap_err().to_string();
            assert!(error.starts_with("localhost:6379: ") && error.contains("PING"), "{error}");
        }
        for reply in [
            "-NOPERM this user has no permissions to run the 'ping' command\r\n",
            "-BUSY Redis is busy running a script.\r\n",
            "-ERR unknown command 'PING'\r\n",
        ] {
            let (dialed, _) = prove(Dialer::tcp(":6379"), reply);
            assert!(dialed.is_ok(), "{reply}: {dialed:?}");
        }
    }
}
