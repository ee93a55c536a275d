//! A synchronous Redis client for programs that use threads, built around a connection pool, with
//! the semantics of Go's [redigo](https://github.com/gomodule/redigo).
//!
//! It has no async runtime and no `unsafe` code, and an idle pool has no threads unless an option
//! needs one.
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
//! conn.close()?; // returns the connection to the pool
//! # drop(greeting);
//! # Ok::<(), redigo::Error>(())
//! ```
//!
//! # Overview
//!
//! | To | use |
//! |---|---|
//! | say where and how to connect | [`Dialer`] |
//! | share connections between threads | [`Pool`]: its options are in [`PoolBuilder`], its statistics in [`PoolStats`] |
//! | run one command | [`Conn::call`] for a [`Value`], [`Conn::query`] for a typed reply |
//! | run many commands in one round trip | [`Conn::pipeline`] |
//! | write code for connections, pools and muxes alike | [`Executor`] |
//! | run commands atomically | [`Conn::transaction`], or a Lua [`Script`] |
//! | send and receive separately | [`Conn::send`], [`Conn::flush`], [`Conn::receive`], [`Conn::split`] |
//! | subscribe to channels | [`PubSubConn`] |
//! | share one connection between many threads | [`Mux`] |
//! | limit calls, or cancel them from another thread | [`Conn::with_timeout`], [`Conn::with_context`], [`Context`] |
//! | handle errors | [`Error`] |
//! | pass your own types as arguments | [`ToArgs`], [`ToArg`] |
//! | read your own types from replies | [`FromValue`], and [`mod@scan`] for structs |
//! | port code from Go | [`mod@reply`], redigo's helper functions. The search finds renamed items under their Go names |
//! | log commands | [`logging()`] |
//! | test without a server | the module `testing`, with the feature of that name |
//!
//! The repository has guides: `docs/pool.md` for the pool, `docs/tls.md` for TLS,
//! `docs/porting-from-go.md` and `docs/differences.md` for redigo's users.
//!
//! # Features
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `serde` | yes | [`mod@scan`] and [`Args::add_flat`]: structs from replies and back, through serde |
//! | `tls` | no | TLS and mutual TLS with the system's library: `rediss://` URLs and the `tls_…` options of [`Dialer`] |
//! | `tls-vendored` | no | `tls` with an OpenSSL that is built from source |
//! | `metrics` | no | `PoolBuilder::metrics`, `Pool::publish_metrics`: the pool's metrics through the [`metrics`](https://docs.rs/metrics) facade |
//! | `testing` | no | the module `testing`: a scripted server, an in-memory stream and a manual clock |
//!
//! The README has the number of dependencies of each.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod args;
mod conn;
mod context;
mod dial;
mod error;
mod executor;
mod from_value;
mod limited;
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
pub use conn::batch::Batch;
pub use conn::pipeline::Pipeline;
pub use conn::raw;
pub use conn::split::{ReceiveHalf, SendHalf};
pub use conn::transaction::Transaction;
pub use context::{CancelHandle, Context};
pub use dial::address::Address;
pub use dial::dialer::Dialer;
pub use error::{
    Borrow, ConvertError, DialStep, Error, PoolReport, ProtocolError, Result, ServerError,
    TimeoutError, TimeoutKind, TlsError, TlsErrorKind,
};
pub use executor::Executor;
pub use executor::ext::ExecutorExt;
pub use from_value::FromValue;
pub use limited::Limited;
pub use logging::{logging, logging_filtered};
pub use mux::Mux;
pub use mux::mux_conn::MuxConn;
pub use mux::stats::MuxStats;
/// The TLS library, for [`Dialer::tls_connector`] and [`Dialer::tls_min_version`].
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

// The examples of the README and the guides are doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/pool.md")]
struct PoolGuide;

#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../docs/tls.md")]
struct TlsGuide;
