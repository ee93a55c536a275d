//! The commands that make a new connection ready.

use crate::conn::command::{Home, Session};
use crate::conn::conn::Conn;
use crate::context::Context;
use crate::error::{DialStep, Result};

/// What a new connection is told.
pub(crate) struct Handshake<'a> {
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) home: Home,
}

/// Sends `AUTH`, `CLIENT SETNAME` and `SELECT`, as far as they are wanted, in one write; the
/// first that fails gives its name to the error.
pub(crate) fn run(conn: &mut Conn, handshake: &Handshake<'_>, budget: &Context) -> Result<()> {
    conn.within(budget, |conn| talk(conn, handshake))?;
    // What the set-up did is the state to come back to.
    *conn.session() = Session::at_home(handshake.home.clone());
    Ok(())
}

fn talk(conn: &mut Conn, handshake: &Handshake<'_>) -> Result<()> {
    let mut steps = Vec::new();
    if let Some(password) = handshake.password {
        // Without a user name it is one argument, and the default user's.
        conn.send("AUTH", (handshake.username, password))?;
        steps.push(DialStep::Auth);
    }
    if !handshake.home.client_name.is_empty() {
        conn.send("CLIENT", ("SETNAME", &handshake.home.client_name))?;
        steps.push(DialStep::ClientSetName);
    }
    if handshake.home.database != 0 {
        conn.send("SELECT", handshake.home.database)?;
        steps.push(DialStep::Select);
    }
    if let Some(&first) = steps.first() {
        conn.flush().map_err(|error| error.in_step(first))?;
    }
    for step in steps {
        conn.receive().map_err(|error| error.in_step(step))?;
    }
    Ok(())
}
