//! What is fuzzed, and what must hold for any input. `make fuzz` looks for inputs for which it does
//! not; `cargo test` replays those that are kept in `tests/fuzz/corpus`.

// The driver has a program for each.
#![allow(dead_code)]

pub(crate) mod args;
pub(crate) mod decoder;
pub(crate) mod pieces;
pub(crate) mod scan;
pub(crate) mod url;

/// A target by the name of its corpus.
pub(crate) const ALL: [(&str, fn(&[u8])); 4] =
    [("args", args::run), ("decoder", decoder::run), ("scan", scan::run), ("url", url::run)];
