//! What the fuzzer has found, and what it begins with, again on every run of the tests. After it
//! come changes of these inputs that are the same each time, so that a machine without a fuzzer
//! looks a little further than the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use crate::support::wait::alone;

/// How many changes of each input are tried.
const CHANGES: u64 = 50;
/// Longer ones are there for their length, and take their time.
const LONGEST_CHANGED: usize = 2000;

/// In one test, and alone, as the memory is counted for the whole program.
#[test]
fn every_input_of_the_corpus() {
    let _alone = alone();
    for (name, target) in targets::ALL {
        let inputs = corpus(name);
        assert!(inputs.len() >= 5, "the corpus of {name} is gone");
        for (path, input) in &inputs {
            replay(&format!("{name}: {}", path.display()), target, input);
            let mut state = input.len() as u64;
            let changes = if input.len() > LONGEST_CHANGED { 0 } else { CHANGES };
            for change in 0..changes {
                let changed = change_of(input, &mut state);
                let shown = changed.escape_ascii().to_string();
                replay(
                    &format!("{name}: change {change} of {}: {shown}", path.display()),
                    target,
                    &changed,
                );
            }
        }
    }
}

fn replay(what: &str, target: fn(&[u8]), input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    assert!(outcome.is_ok(), "{what}");
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    inputs.sort();
    inputs
}

/// One byte another, some left out, or some twice.
fn change_of(input: &[u8], state: &mut u64) -> Vec<u8> {
    let mut random = |below: usize| {
        // The constants are Knuth's, for MMIX.
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as usize % below.max(1)
    };
    let mut changed = input.to_vec();
    for _ in 0..1 + random(3) {
        let from = random(changed.len());
        let to = (from + random(8)).min(changed.len());
        match random(3) {
            0 => drop(changed.drain(from..to)),
            1 => {
                let piece = changed[from..to].to_vec();
                changed.splice(from..from, piece).for_each(drop);
            }
            _ => {
                const LIKELY: &[u8] = b"*$:+-\r\n0123456789@/%?&=x\0\xff";
                if let Some(byte) = changed.get_mut(from) {
                    *byte = LIKELY[random(LIKELY.len())];
                }
            }
        }
    }
    changed
}
