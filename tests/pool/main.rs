//! The pool: checkout, waiting, dialing, health, upkeep and control.

mod basics;
mod borrow;
mod cleaning;
mod config;
mod control;
mod dials;
mod everything;
mod handles;
mod health;
mod hooks;
mod leaks;
mod liveness;
mod reports;
mod returns;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod upkeep;
mod wait;
mod wait_dials;
mod wait_load;
