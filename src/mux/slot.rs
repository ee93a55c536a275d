//! The place where a caller sleeps and finds its reply.

use std::time::Instant;

use crate::error::Result;
use crate::sync::{Condvar, Mutex};
use crate::value::Value;

/// How many times a caller yields before it parks.
const YIELDS: usize = 4;

/// The slot of one call. The reader stores the reply here and wakes only this caller.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<Value>>,
    woken: bool,
}

impl Slot {
    /// Ends the call. Does no harm if the caller has left.
    pub(crate) fn finish(&self, outcome: Result<Value>) {
        self.state.lock().outcome = Some(outcome);
        self.changed.notify_one();
    }

    /// Makes the caller take its next step.
    pub(crate) fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_one();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.state.lock().outcome.is_some()
    }

    /// Takes the outcome of the call without waiting. Clears a wakeup: the caller is awake.
    pub(crate) fn take_outcome(&self) -> Option<Result<Value>> {
        self.state.lock().take()
    }

    /// Sleeps until the call ends, the caller is woken, or the deadline passes. Returns the outcome
    /// if the call has ended.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> Option<Result<Value>> {
        let mut state = self.state.lock();
        while !state.is_ready() {
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        state.take()
    }

    /// Like [`park`](Slot::park), but yields a few times first. A reply that arrives meanwhile
    /// saves the wakeup.
    pub(crate) fn spin_then_park(&self, deadline: Option<Instant>) -> Option<Result<Value>> {
        for _ in 0..YIELDS {
            std::thread::yield_now();
            let mut state = self.state.lock();
            if state.is_ready() {
                return state.take();
            }
        }
        self.park(deadline)
    }

    /// Sleeps until the call ends, which another caller is about to do.
    pub(crate) fn wait_for_outcome(&self) -> Result<Value> {
        loop {
            if let Some(outcome) = self.park(None) {
                return outcome;
            }
        }
    }
}

impl State {
    fn is_ready(&self) -> bool {
        self.outcome.is_some() || self.woken
    }

    /// Takes the outcome, or clears the wakeup if there is none.
    fn take(&mut self) -> Option<Result<Value>> {
        let outcome = self.outcome.take();
        if outcome.is_none() {
            self.woken = false;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_finds_a_wakeup_once_and_then_the_outcome() {
        let slot = Slot::default();
        let past = Some(Instant::now());
        assert!(slot.spin_then_park(past).is_none(), "nothing has happened");
        slot.wake();
        assert!(slot.spin_then_park(None).is_none());
        assert!(!slot.state.lock().woken, "the wakeup is used up");
        assert!(slot.spin_then_park(past).is_none());
        slot.finish(Ok(Value::Int(1)));
        assert!(matches!(slot.spin_then_park(None), Some(Ok(Value::Int(1)))));
        assert!(slot.take_outcome().is_none(), "an outcome is taken once");
    }
}
