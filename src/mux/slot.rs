//! Where a call finds its reply, and where it sleeps until then.

use std::time::Instant;

use crate::error::Result;
use crate::sync::{Condvar, Mutex};
use crate::value::Value;

/// How often one who lingers lets others run.
const TURNS: usize = 4;

/// One call's place: whoever reads the connection puts the reply here, and wakes this call and
/// nobody else.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<Value>>,
    nudged: bool,
}

/// What a call finds in its slot.
#[derive(Debug)]
pub(crate) enum Found {
    /// The end of the call.
    Outcome(Result<Value>),
    /// There may be something to do, or time is up.
    Nothing,
}

impl Slot {
    /// Ends the call. Its owner may be gone; then nobody looks here any more.
    pub(crate) fn finish(&self, outcome: Result<Value>) {
        self.state.lock().outcome = Some(outcome);
        self.woken.notify_one();
    }

    /// Has the owner look whether there is something to do.
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.woken.notify_one();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.state.lock().outcome.is_some()
    }

    /// Looks without waiting.
    pub(crate) fn look(&self) -> Found {
        self.state.lock().look().unwrap_or(Found::Nothing)
    }

    /// Lets others run a few times before the caller sleeps: what comes meanwhile needs no waking up.
    pub(crate) fn linger(&self) -> Option<Found> {
        (0..TURNS).find_map(|_| {
            std::thread::yield_now();
            self.state.lock().look()
        })
    }

    /// Sleeps until there is something, or until the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Found {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = state.look() {
                return found;
            }
            match deadline {
                None => self.woken.wait(&mut state),
                Some(deadline) => {
                    if self.woken.wait_until(&mut state, deadline).timed_out() {
                        return state.look().unwrap_or(Found::Nothing);
                    }
                }
            }
        }
    }

    /// Sleeps until the call has its end, which is on its way.
    pub(crate) fn wait_for_outcome(&self) -> Result<Value> {
        loop {
            if let Found::Outcome(outcome) = self.wait(None) {
                return outcome;
            }
        }
    }
}

impl State {
    fn look(&mut self) -> Option<Found> {
        if let Some(outcome) = self.outcome.take() {
            return Some(Found::Outcome(outcome));
        }
        std::mem::take(&mut self.nudged).then_some(Found::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lingers_finds_what_comes_and_does_not_stay() {
        let slot = Slot::default();
        assert!(slot.linger().is_none(), "there was nothing to find");
        slot.nudge();
        assert!(matches!(slot.linger(), Some(Found::Nothing)));
        assert!(slot.linger().is_none(), "it was nudged once");
        slot.finish(Ok(Value::Int(1)));
        assert!(matches!(slot.linger(), Some(Found::Outcome(Ok(Value::Int(1))))));
    }
}
