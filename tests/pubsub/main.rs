//! Publish/subscribe: commands, events, waiting, the two halves and closing.

mod closing;
mod commands;
mod events;
mod halves;
mod harness;
mod redigo_rows;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
