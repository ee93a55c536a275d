//! The commands that make a new connection ready.

use super::budget::Budget;
use crate::conn::Conn;
use crate::error::{DialStep, Error, Result, ServerError, TimeoutKind};

/// The set-up of a new connection.
pub(super) struct Handshake<'a> {
    pub(super) username: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    pub(super) client_name: Option<&'a str>,
    pub(super) database: i64,
}

/// Sends `AUTH`, `CLIENT SETNAME` and `SELECT`, each if it is configured, in one write. An error
/// names the first command that failed.
pub(super) fn run(conn: &mut Conn, handshake: &Handshake<'_>, budget: &Budget) -> Result<()> {
    conn.run_within(budget.ctx(), |conn| {
        exchange(conn, handshake).map_err(|(step, error)| match error {
            Error::Timeout(TimeoutKind::Context) => {
                Error::Timeout(budget.timeout_kind(TimeoutKind::Handshake(step)))
            }
            Error::Server(error) if step == DialStep::Auth => {
                Error::from(handshake.without_secrets(&error)).in_step(step)
            }
            error => error.in_step(step),
        })
    })?;
    conn.session().set_baseline();
    Ok(())
}

fn exchange(conn: &mut Conn, handshake: &Handshake<'_>) -> Result<(), (DialStep, Error)> {
    let mut steps = Vec::new();
    if let Some(password) = handshake.password {
        // Without a user name, AUTH has one argument: the password of the default user.
        let sent = conn.send("AUTH", (handshake.username, password));
        sent.map_err(|error| (DialStep::Auth, error))?;
        steps.push(DialStep::Auth);
    }
    if let Some(name) = handshake.client_name {
        let sent = conn.send("CLIENT", ("SETNAME", name));
        sent.map_err(|error| (DialStep::ClientSetName, error))?;
        steps.push(DialStep::ClientSetName);
    }
    if handshake.database != 0 {
        let sent = conn.send("SELECT", handshake.database);
        sent.map_err(|error| (DialStep::Select, error))?;
        steps.push(DialStep::Select);
    }
    if let Some(&first) = steps.first() {
        conn.flush().map_err(|error| (first, error))?;
    }
    for step in steps {
        conn.receive().map_err(|error| (step, error))?;
    }
    Ok(())
}

impl Handshake<'_> {
    /// Removes the password from a refusal. A server that does not know `AUTH` quotes the
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

    #[test]
    fn a_refusal_never_shows_the_password() {
        let shown = |password, text| {
            let password = Some(password);
            let handshake = Handshake { username: None, password, client_name: None, database: 0 };
            handshake.without_secrets(&ServerError::new(text)).message().to_owned()
        };
        let usual = "WRONGPASS invalid username-password pair or user is disabled.";
        assert_eq!(shown("hunter2", usual), usual);
        assert_eq!(shown("PASS", usual), usual);
        assert_eq!(shown("hunter2", "ERR no 'hunter2' (hunter2)"), "ERR no '***' (***)");
        let unknown = "ERR unknown command 'AUTH', with args beginning with: 'ursula' 'hunt";
        assert_eq!(shown("hunter2", unknown), "ERR unknown command 'AUTH',");
    }
}
