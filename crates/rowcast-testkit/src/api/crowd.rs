//! A service that takes so many requests at once and refuses what comes beside them.
//!
//! What happens together is made certain, not left to time: requests are held until as many are
//! there as the test asks for. It must never hold them after the test's patience.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::PATIENCE;

/// What a service takes at once, and what it has seen of that.
#[derive(Debug)]
pub struct Crowd {
    capacity: usize,
    mended_after: usize,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    gatherings: VecDeque<Gathering>,
    present: usize,
    /// Most requests present together since the last gathering was complete.
    most: usize,
    counts: Counts,
}

/// Requests are held until so many are present, from when so many were taken.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    pub from: usize,
    pub together: usize,
}

/// What became of a crowd.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub taken: usize,
    pub refused: usize,
    /// Most requests present together until each gathering was complete, and after it until the next.
    pub most: Vec<usize>,
    /// A gathering that was waited for in vain: fewer were sent together.
    pub in_vain: Option<usize>,
}

impl Crowd {
    /// A service that takes `capacity` requests at once, and any number after so many were taken.
    pub fn new(
        capacity: usize,
        mended_after: usize,
        gatherings: impl IntoIterator<Item = Gathering>,
    ) -> Self {
        let gatherings = gatherings.into_iter().collect();
        Self {
            capacity,
            mended_after,
            state: Mutex::new(State {
                gatherings,
                ..State::default()
            }),
            bell: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has become of it.
    pub fn counts(&self) -> Counts {
        let state = self.lock();
        let mut counts = state.counts.clone();
        counts.most.push(state.most);
        counts
    }

    /// A request arrives. Whether it is taken; one that is leaves later.
    pub(super) fn enter(&self) -> bool {
        let mut state = self.lock();
        let taken = state.present < self.capacity || state.counts.taken >= self.mended_after;
        state.present += 1;
        state.most = state.most.max(state.present);
        let gathering = state.gatherings.front().copied();
        if let Some(Gathering { together, .. }) =
            gathering.filter(|gathering| state.counts.taken >= gathering.from)
        {
            let left = state.gatherings.len();
            if state.present == together {
                self.gathered(&mut state);
            }
            let (mut waited, timeout) = self
                .bell
                .wait_timeout_while(state, PATIENCE, |state| state.gatherings.len() == left)
                .unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                waited.counts.in_vain.get_or_insert(together);
                self.gathered(&mut waited);
            }
            state = waited;
        }
        if taken {
            state.counts.taken += 1;
        } else {
            state.counts.refused += 1;
            state.present -= 1;
        }
        taken
    }

    fn gathered(&self, state: &mut State) {
        state.gatherings.pop_front();
        let most = std::mem::take(&mut state.most);
        state.counts.most.push(most);
        self.bell.notify_all();
    }

    /// A request that was taken is answered.
    pub(super) fn leave(&self) {
        self.lock().present -= 1;
    }
}
