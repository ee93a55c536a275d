//! Daily use: one trait for everything that runs commands, limits as an adaptor, scripts anywhere.

mod executors;
mod limits;
mod scripts;
#[path = "../support/mod.rs"]
mod support;
