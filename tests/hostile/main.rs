//! Hostile servers and inputs, in a program that counts its memory.

#[cfg(feature = "serde")]
mod fuzz_replay;
#[path = "../support/memory.rs"]
mod memory;
mod servers;
#[path = "../support/mod.rs"]
mod support;
