#![no_main]

#[path = "../../support/memory.rs"]
mod memory;
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::decoder::run(input));
