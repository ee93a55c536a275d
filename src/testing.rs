//! Tools for tests: a scripted server, a stream in memory, a clock that the test sets, and a private
//! `redis-server`.
//!
//! They need the feature `testing`, which is meant for `[dev-dependencies]`.
//!
//! | To test | use |
//! |---|---|
//! | code that takes a [`Conn`](crate::Conn), a [`Dialer`](crate::Dialer) or a [`Pool`](crate::Pool) | [`ScriptedServer`]: expected commands and their answers |
//! | code that depends on the bytes on the wire | [`MemoryStream`] under [`Dialer::wrap`](crate::Dialer::wrap) |
//! | a pool's timeouts and lifetimes | [`ManualClock`] |
//! | against a real server | [`TempServer`]: a private `redis-server`, with TLS, replicas, sentinels or a [`TempCluster`] |
//!
//! Coming from redigomock:
//!
//! | redigomock | here |
//! |---|---|
//! | `NewConn()` | [`ScriptedServer::unordered`], then [`conn`](ScriptedServer::conn) |
//! | `Command(name, args...)` | [`expect(name, args)`](ScriptedServer::expect), with [`at_least_once`](Expectation::at_least_once) if it can repeat |
//! | `GenericCommand(name)` | [`expect_any(name)`](ScriptedServer::expect_any) |
//! | `NewAnyInt()`, `NewAnyDouble()`, `NewAnyData()`, `FuzzyMatcher` | [`expect_args(name, [Arg::is("key"), Arg::int()])`](ScriptedServer::expect_args) |
//! | `Script(src, keys, args...)` | [`expect_script(&script, args)`](ScriptedServer::expect_script) |
//! | `Expect(value)`, several in a row | [`reply(value)`](Expectation::reply), the same |
//! | `ExpectSlice`, `ExpectStringSlice`, `ExpectMap` | [`reply_list`](Expectation::reply_list), [`reply_map`](Expectation::reply_map) |
//! | `ExpectError(err)` | [`error(text)`](Expectation::error) for an error reply, [`fail(error)`](Expectation::fail) for a failed connection |
//! | `Handle(fn)`, `ExpectPanic(msg)` | [`reply_with`](Expectation::reply_with) a function, which can panic |
//! | `Stats(cmd)` | [`Expectation::calls`] |
//! | `ExpectationsWereMet()`, `Errors` | [`verify`](ScriptedServer::verify), [`problems`](ScriptedServer::problems) |
//! | `Clear()` | [`clear`](ScriptedServer::clear) |
//! | `AddSubscriptionMessage(msg)` | [`push(value)`](ScriptedServer::push), [`Expectation::then_push`] |
//! | `ReceiveWait`, `ReceiveNow` | [`stay_open`](ScriptedServer::stay_open), then `push` |
//! | `FlushMock` | [`fail_flush`](ScriptedServer::fail_flush) |
//! | `CloseMock`, `ErrMock` | the real `close` and `err`; [`open_conns`](ScriptedServer::open_conns) counts connections |

mod arg;
mod expectation;
mod memory;
mod message;
mod received;
mod rule;
mod script_state;
mod scripted;
mod scripted_conn;
mod temp_server;

pub use crate::pool::timer::ManualClock;
pub use arg::Arg;
pub use expectation::Expectation;
pub use memory::MemoryStream;
pub use message::{message, pmessage, pong, subscription};
pub use received::Received;
pub use scripted::ScriptedServer;
pub use temp_server::TempServer;
pub use temp_server::builder::TempServerBuilder;
pub use temp_server::cluster::TempCluster;
pub use temp_server::port::unused_port;
pub use temp_server::temp_dir::TempDir;
