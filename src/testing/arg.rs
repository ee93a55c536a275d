//! A pattern for one argument of an expected command.

use std::fmt;
use std::sync::Arc;

use crate::args::{Args, ToArg};

/// A pattern for one argument of an expected command; see
/// [`ScriptedServer::expect_args`](super::ScriptedServer::expect_args).
#[derive(Clone)]
#[doc(alias = "FuzzyMatcher")]
pub struct Arg(ArgKind);

type ArgTest = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

#[derive(Clone)]
enum ArgKind {
    Is(Args),
    Any,
    Int,
    Float,
    Fits(ArgTest),
}

impl Arg {
    /// Matches exactly this argument.
    ///
    /// ```
    /// # use redigo::testing::{Arg, ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// server.expect_args("EXPIRE", [Arg::is("session"), Arg::int()]).reply(1);
    /// # server.conn().call("EXPIRE", ("session", 60))?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn is(arg: impl ToArg) -> Arg {
        Arg(ArgKind::Is(Args::new().arg(arg)))
    }

    /// Matches any argument.
    ///
    /// ```
    /// # use redigo::testing::{Arg, ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// server.expect_args("SET", [Arg::is("token"), Arg::any()]).ok();
    /// # server.conn().call("SET", ("token", "x"))?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "NewAnyData")]
    pub fn any() -> Arg {
        Arg(ArgKind::Any)
    }

    /// Matches an integer that fits in an `i64`.
    ///
    /// ```
    /// # use redigo::testing::{Arg, ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// server.expect_args("INCRBY", [Arg::is("visits"), Arg::int()]).reply(5);
    /// # server.conn().call("INCRBY", ("visits", 5))?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "NewAnyInt")]
    pub fn int() -> Arg {
        Arg(ArgKind::Int)
    }

    /// Matches a number, with or without a fraction.
    ///
    /// ```
    /// # use redigo::testing::{Arg, ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// server.expect_args("ZADD", [Arg::is("scores"), Arg::float(), Arg::is("ada")]).reply(1);
    /// # server.conn().call("ZADD", ("scores", 1.5, "ada"))?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "NewAnyDouble")]
    pub fn float() -> Arg {
        Arg(ArgKind::Float)
    }

    /// Matches an argument for which `test` returns true. The function must not use the server.
    ///
    /// ```
    /// # use redigo::testing::{Arg, ScriptedServer};
    /// # let server = ScriptedServer::new();
    /// server.expect_args("GET", [Arg::fits(|key| key.starts_with(b"user:"))]).reply("Ada");
    /// # server.conn().call("GET", "user:1")?;
    /// # server.verify();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn fits(test: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Arg {
        Arg(ArgKind::Fits(Arc::new(test)))
    }

    pub(super) fn matches(&self, arg: &[u8]) -> bool {
        let text = std::str::from_utf8(arg);
        match &self.0 {
            ArgKind::Is(expected) => expected.iter().eq([arg]),
            ArgKind::Any => true,
            ArgKind::Int => text.is_ok_and(|text| text.parse::<i64>().is_ok()),
            ArgKind::Float => text.is_ok_and(|text| text.parse::<f64>().is_ok()),
            ArgKind::Fits(test) => test(arg),
        }
    }
}

impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ArgKind::Is(expected) => {
                expected.iter().try_for_each(|arg| write!(f, "\"{}\"", arg.escape_ascii()))
            }
            ArgKind::Any => f.write_str("any"),
            ArgKind::Int => f.write_str("an integer"),
            ArgKind::Float => f.write_str("a number"),
            ArgKind::Fits(_) => f.write_str("an argument that fits"),
        }
    }
}
