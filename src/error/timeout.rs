//! The time limits of the crate, and the steps of a dial.

use std::fmt;

/// The time limit that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// The limit for resolving the name and connecting.
    Connect,
    /// The limit of the TLS handshake.
    TlsHandshake,
    /// The limit for the reply to one of the commands that set up a new connection.
    Handshake(DialStep),
    /// The limit for a reply, or for the replies of one pipelined call.
    Read,
    /// The limit for writing commands.
    Write,
    /// The limit for getting a connection from the pool.
    PoolWait,
    /// The deadline of a [`Context`](crate::Context).
    Context,
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeoutKind::Connect => f.write_str("timed out while connecting"),
            TimeoutKind::TlsHandshake => {
                // A Redis port without TLS waits for the rest of what it takes for a command.
                f.write_str("timed out in the TLS handshake (does the peer speak TLS?)")
            }
            TimeoutKind::Handshake(step) => write!(f, "timed out waiting for the reply to {step}"),
            TimeoutKind::Read => f.write_str("timed out waiting for a reply"),
            TimeoutKind::Write => f.write_str("timed out while writing"),
            TimeoutKind::PoolWait => {
                f.write_str("timed out waiting for a connection from the pool")
            }
            TimeoutKind::Context => f.write_str("the context's deadline has passed"),
        }
    }
}

/// A command that a dialer sends to set up a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialStep {
    /// `AUTH`: user name and password.
    Auth,
    /// `CLIENT SETNAME`: the connection's name.
    ClientSetName,
    /// `SELECT`: the database.
    Select,
}

impl fmt::Display for DialStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialStep::Auth => "AUTH",
            DialStep::ClientSetName => "CLIENT SETNAME",
            DialStep::Select => "SELECT",
        })
    }
}
