//! Connections: commands, deadlines, faults, pipelines, scripts, dialing and URLs.

mod commands;
mod deadlines;
mod dial;
mod fault_proxy;
mod faults;
mod last_reply;
mod panics;
mod pipeline;
mod raw_conn;
mod script;
mod state;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
mod temp_server;
mod testing;
mod url;
mod wire;
