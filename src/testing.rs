//! What tests need instead of a server: a server that follows a script, a stream in memory, and
//! a clock set by hand.
//!
//! Part of the feature `testing`; meant for `[dev-dependencies]`.
//!
//! | To test | use |
//! |---|---|
//! | code that is given a [`Conn`](crate::Conn) or a [`Pool`](crate::Pool) | [`ScriptedServer`]: commands that are expected, and what they are answered |
//! | code that cares for the bytes | [`MemoryStream`] under [`Dialer::wrap`](crate::Dialer::wrap) |
//! | a pool's rules of age | [`ManualClock`] |
//!
//! For those who come from redigomock:
//!
//! | redigomock | here |
//! |---|---|
//! | `NewConn()` | [`ScriptedServer::unordered`], then [`conn`](ScriptedServer::conn) |
//! | `Command(name, args...)` | [`expect(name, args)`](ScriptedServer::expect), with [`at_least_once`](Expectation::at_least_once) if it may come again |
//! | `GenericCommand(name)` | [`expect_any(name)`](ScriptedServer::expect_any) |
//! | `NewAnyInt()`, `NewAnyDouble()`, `NewAnyData()`, `FuzzyMatcher` | [`expect_args(name, [Arg::is("key"), Arg::int()])`](ScriptedServer::expect_args) |
//! | `Script(src, keys, args...)` | [`expect_script(&script, args)`](ScriptedServer::expect_script) |
//! | `Expect(value)`, several in a row | [`reply(value)`](Expectation::reply), the same |
//! | `ExpectSlice`, `ExpectStringSlice`, `ExpectMap` | [`reply_list`](Expectation::reply_list), [`reply_map`](Expectation::reply_map) |
//! | `ExpectError(err)` | [`error(text)`](Expectation::error) from the server, [`fail(error)`](Expectation::fail) of the connection |
//! | `Handle(fn)`, `ExpectPanic(msg)` | [`reply_with`](Expectation::reply_with) a function, which may panic |
//! | `Stats(cmd)` | [`Expectation::calls`] |
//! | `ExpectationsWereMet()`, `Errors` | [`verify`](ScriptedServer::verify), [`problems`](ScriptedServer::problems) |
//! | `Clear()` | [`clear`](ScriptedServer::clear) |
//! | `AddSubscriptionMessage(msg)` | [`push(value)`](ScriptedServer::push), [`Expectation::then_push`] |
//! | `ReceiveWait`, `ReceiveNow` | [`stay_open`](ScriptedServer::stay_open), then `push` when it is time |
//! | `FlushMock` | [`fail_flush`](ScriptedServer::fail_flush) |
//! | `CloseMock`, `ErrMock` | the real `close` and `err`; [`open_conns`](ScriptedServer::open_conns) counts |

mod expectation;
mod memory;
mod message;
mod scripted;
mod scripted_conn;

pub use crate::pool::timer::ManualClock;
pub use expectation::{Arg, Expectation};
pub use memory::MemoryStream;
pub use message::{message, pmessage, pong, subscription};
pub use scripted::{Received, ScriptedServer};
