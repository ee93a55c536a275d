//! The fuzz targets and their properties. `make fuzz` searches for inputs that violate them;
//! `cargo test` replays the inputs in `tests/fuzz/corpus`.

// Each program of the driver uses one target.
#![allow(dead_code)]

pub(crate) mod args;
pub(crate) mod decoder;
pub(crate) mod pieces;
pub(crate) mod scan;
pub(crate) mod url;

/// Each target with the name of its corpus.
pub(crate) const ALL: [(&str, fn(&[u8])); 4] =
    [("args", args::run), ("decoder", decoder::run), ("scan", scan::run), ("url", url::run)];
