//! The time limits of the crate, and the error after one has passed.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::place::{Foreign, Place};

/// A time limit that passed. [`kind`](TimeoutError::kind) says which; the text also names the
/// server and the step of a dial.
///
/// ```
/// use redigo::{Error, TimeoutKind};
///
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         Error::Timeout(error) if error.kind() == TimeoutKind::Connect => "check the network",
///         _ => "see the server's log",
///     }
/// }
/// assert_eq!(advice(&TimeoutKind::Connect.into()), "check the network");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TimeoutError {
    kind: TimeoutKind,
    details: Option<Arc<Details>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Details {
    place: Place,
    /// The time that passed.
    after: Option<Duration>,
    /// The activity that took too long: `while connecting to 10.0.0.1:6379`.
    activity: Option<Cow<'static, str>>,
}

impl TimeoutError {
    /// Returns the limit that passed.
    ///
    /// ```
    /// use redigo::{TimeoutError, TimeoutKind};
    ///
    /// assert_eq!(TimeoutError::from(TimeoutKind::Read).kind(), TimeoutKind::Read);
    /// ```
    pub fn kind(&self) -> TimeoutKind {
        self.kind
    }

    /// Replaces the kind. The text keeps the activity of the previous kind.
    pub(crate) fn with_kind(mut self, kind: TimeoutKind) -> TimeoutError {
        if self.kind != TimeoutKind::Context && self.kind != kind {
            let activity = self.kind.activity();
            self.details().activity.get_or_insert(activity);
        }
        self.kind = kind;
        self
    }

    /// Adds the activity that took too long, as in `while connecting to 10.0.0.1:6379`.
    pub(crate) fn during(mut self, activity: impl Into<Cow<'static, str>>) -> TimeoutError {
        self.details().activity = Some(activity.into());
        self
    }

    /// Names the command whose reply did not arrive in time. An invalid name is escaped and cut.
    pub(super) fn awaiting_reply_to(self, command: &str) -> TimeoutError {
        self.during(format!("waiting for the reply to {}", Foreign(command)))
    }

    /// Adds the time that passed.
    pub(crate) fn after(mut self, time: Duration) -> TimeoutError {
        self.details().after.get_or_insert(time);
        self
    }

    pub(super) fn set_address(&mut self, address: &str) {
        self.details().place.set_address(address);
    }

    fn details(&mut self) -> &mut Details {
        Arc::make_mut(self.details.get_or_insert_default())
    }
}

impl From<TimeoutKind> for TimeoutError {
    fn from(kind: TimeoutKind) -> TimeoutError {
        TimeoutError { kind, details: None }
    }
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = self.details.as_deref();
        if let Some(details) = details {
            details.place.write_address(f)?;
        }
        let activity = details.and_then(|details| details.activity.as_deref());
        if self.kind == TimeoutKind::Context {
            f.write_str("the context's deadline has passed")?;
            let Some(activity) = activity else { return Ok(()) };
            let link = if activity.starts_with("waiting") { " while" } else { "" };
            return write!(f, "{link} {activity}");
        }
        f.write_str("timed out")?;
        if let Some(after) = details.and_then(|details| details.after) {
            write!(f, " after {after:.1?}")?;
        }
        match activity {
            Some(activity) => write!(f, " {activity}"),
            None => write!(f, " {}", self.kind.activity()),
        }
    }
}

impl fmt::Debug for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.kind)
    }
}

impl StdError for TimeoutError {}

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

impl TimeoutKind {
    fn activity(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            TimeoutKind::Connect => "while connecting",
            // A Redis port without TLS waits for the rest of what it takes for a command.
            TimeoutKind::TlsHandshake => {
                "in the TLS handshake (a Redis port without TLS? then use redis://)"
            }
            TimeoutKind::Handshake(step) => {
                return Cow::Owned(format!("waiting for the reply to {step}"));
            }
            TimeoutKind::Read => "waiting for a reply",
            TimeoutKind::Write => "while writing",
            TimeoutKind::PoolWait => "waiting for a connection from the pool",
            TimeoutKind::Context => "",
        })
    }
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TimeoutError::from(*self).fmt(f)
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
    /// `PING`: sent if there is nothing else to send and the dial must prove that the server
    /// answers.
    Ping,
}

impl fmt::Display for DialStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialStep::Auth => "AUTH",
            DialStep::ClientSetName => "CLIENT SETNAME",
            DialStep::Select => "SELECT",
            DialStep::Ping => "PING",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_names_server_time_and_activity() {
        let mut error = TimeoutError::from(TimeoutKind::Connect)
            .during("while connecting to 10.0.0.1:6379")
            .after(Duration::from_secs(2));
        error.set_address("redis.internal:6379");
        let text = "redis.internal:6379: timed out after 2.0s while connecting to 10.0.0.1:6379";
        assert_eq!(error.to_string(), text);
        assert!(format!("{error:?}").starts_with(text));

        let error = error.with_kind(TimeoutKind::Context);
        assert_eq!(error.kind(), TimeoutKind::Context);
        assert_eq!(
            error.to_string(),
            "redis.internal:6379: the context's deadline has passed while connecting to \
             10.0.0.1:6379"
        );
    }

    #[test]
    fn an_expired_context_keeps_the_activity_of_its_step() {
        let step = TimeoutKind::Handshake(DialStep::Select);
        let error = TimeoutError::from(step).with_kind(TimeoutKind::Context);
        let expected = "the context's deadline has passed while waiting for the reply to SELECT";
        assert_eq!(error.to_string(), expected);
        assert_eq!(TimeoutKind::Read.to_string(), "timed out waiting for a reply");
    }
}
