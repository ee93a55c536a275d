//! Redis for Rust programs that use threads: a synchronous client around a connection pool, with
//! the semantics of Go's [redigo](https://github.com/gomodule/redigo).
//!
//! No async runtime, no hidden threads, no unsafe code.
//!
//! ```no_run
//! use std::time::Duration;
//! use redigo::{Dialer, Pool};
//!
//! let dialer = Dialer::url("redis://localhost:6379")?.read_timeout(Duration::from_secs(1));
//! let pool = Pool::builder(dialer).max_active(16).wait(true).build()?;
//!
//! let mut conn = pool.acquire()?;
//! conn.call("SET", ("greeting", "hello", "EX", 60))?;
//! let greeting: Option<String> = conn.query("GET", "greeting")?;
//! conn.close()?; // back to the pool
//! # drop(greeting);
//! # Ok::<(), redigo::Error>(())
//! ```
//!
//! # Where to look
//!
//! - [`Pool`] lends connections to threads; [`PoolBuilder`] has its options, [`PoolStats`] its numbers,
//!   which the feature `metrics` publishes. The repository's `docs/pool.md` is the guide to it all.
//! - [`Conn`] is one connection: [`call`](Conn::call) and [`query`](Conn::query) for one command,
//!   [`send`](Conn::send), [`flush`](Conn::flush) and [`receive`](Conn::receive) for many.
//! - [`Pipeline`] sends many commands in one round trip, [`Conn::transaction`] all or none of
//!   them; [`Script`] is for Lua.
//! - [`Dialer`] says where to connect and how; with TLS, too (feature `tls`).
//! - [`ToArgs`] lists what may be a command's arguments, [`FromValue`] what a reply can become.
//! - [`PubSubConn`] subscribes to channels and receives what is published there.
//! - [`Context`] carries a deadline and a way to cancel.
//! - [`mod@reply`] has redigo's helper functions, for programs that are ported from Go.
//! - [`mod@scan`] makes replies structs of one's own and back, through serde (feature `serde`, on by
//!   default).
//! - [`logging()`] has a connection write what it does to the log.
//! - `testing`, with the feature of that name, has what tests need instead of a server.
//! - [`Error`] is everything that can go wrong.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod args;
mod conn;
mod context;
mod dial;
mod error;
mod from_value;
mod logging;
mod mux;
mod net;
mod pool;
mod pubsub;
pub mod reply;
mod resp;
#[cfg(feature = "serde")]
pub mod scan;
mod script;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod value;

pub use args::{ArgWriter, Args, ToArg, ToArgs};
pub use conn::Conn;
pub use conn::pipeline::Pipeline;
pub use conn::raw;
pub use conn::split::{ReceiveHalf, SendHalf};
pub use conn::transaction::Transaction;
pub use context::{CancelHandle, Context};
pub use dial::address::Address;
pub use dial::dialer::Dialer;
pub use error::{
    Borrow, ConvertError, DialStep, Error, PoolReport, ProtocolError, Result, ServerError,
    TimeoutKind, TlsError, TlsErrorKind,
};
pub use from_value::FromValue;
pub use logging::{logging, logging_filtered};
pub use mux::Mux;
pub use mux::mux_conn::MuxConn;
pub use mux::stats::MuxStats;
/// What [`Dialer::tls_connector`] takes, and [`Dialer::tls_min_version`].
#[cfg(feature = "tls")]
pub use native_tls;
pub use net::stream::{Peek, ShutdownHandle, Stream};
pub use pool::Pool;
pub use pool::builder::PoolBuilder;
pub use pool::check;
pub use pool::inner::lifecycle::CloseReport;
pub use pool::pooled_conn::PooledConn;
pub use pool::stats::close_reason::{CloseCounts, CloseReason};
pub use pool::stats::histogram::Histogram;
pub use pool::stats::{DialCounts, PoolStats};
pub use pubsub::PubSubConn;
pub use pubsub::event::PubSubEvent;
pub use pubsub::receiver::PubSubReceiver;
pub use pubsub::sender::PubSubSender;
pub use pubsub::subscription_kind::SubscriptionKind;
pub use pubsub::subscriptions::Subscriptions;
pub use script::Script;
pub use value::Value;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// And so are those of the guide to TLS.
#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../docs/tls.md")]
struct TlsGuide;
/// So are those of the guide to the pool.
#[cfg(doctest)]
#[doc = include_str!("../docs/pool.md")]
struct PoolGuide;
