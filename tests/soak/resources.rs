//! The system resources of the process, to check that they are released.

use std::fs;

use crate::memory;
use crate::support::wait::wait_until;

/// Bytes that the allocator and the test harness may keep.
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

    /// Waits until the process uses no more than at `self`.
    #[track_caller]
    pub(crate) fn wait_until_back(self) {
        wait_until("file descriptors, threads and memory are released", || {
            let now = Resources::now();
            now.descriptors <= self.descriptors
                && now.threads <= self.threads
                && now.memory <= self.memory + KEPT
        });
        println!("before {self:?}, after {:?}", Resources::now());
    }
}

/// Returns zero if the folder does not exist.
fn count(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
