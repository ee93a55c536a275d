//! What a process takes of the system, to see that it gives it back.

use std::fs;

use crate::memory;
use crate::support::wait::wait_until;

/// What the allocator and the harness may keep for themselves.
const KEPT: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    descriptors: usize,
    threads: usize,
    memory: usize,
}

impl Resources {
    pub(crate) fn now() -> Resources {
        Resources {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            memory: memory::held(),
        }
    }

    /// Waits for what ends by itself, and for no more than that.
    #[track_caller]
    pub(crate) fn wait_until_back(self) {
        wait_until("file descriptors, threads and memory are given back", || {
            let now = Resources::now();
            now.descriptors <= self.descriptors
                && now.threads <= self.threads
                && now.memory <= self.memory + KEPT
        });
        println!("before {self:?}, after {:?}", Resources::now());
    }
}

/// Where there is no such folder there is nothing to count.
fn count(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
