//! Replays the fuzzer's corpus, and deterministic mutations of it, so that a machine without a
//! fuzzer tests a little more than the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use crate::support::wait::alone;

/// The number of mutations of each input.
const CHANGES: u64 = 50;
/// Longer inputs are slow, and are in the corpus for their length only.
const LONGEST_CHANGED: usize = 2000;

/// One test, and alone, because memory is counted for the whole program.
#[test]
fn corpus_and_mutations_cause_no_panic() {
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

/// Replaces a byte, removes bytes, or repeats bytes.
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
