//! The writing side of a store of this process alone.

use std::sync::Arc;

use arktos_core::Timestamp;
use parking_lot::Mutex;

use super::sequencer::Sequencer;
use super::view::View;
use crate::clock::Clock;
use crate::commit::{Commit, CommitError, Committed};

/// Commits into memory: whoever commits steps the sequencer, under a short lock. There is no thread and no queue.
pub(crate) struct Local {
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    /// Written by whoever commits.
    sequencer: Mutex<Sequencer>,
}

impl Local {
    pub(crate) fn new(view: Arc<View>, clock: Arc<dyn Clock>, sequencer: Sequencer) -> Self {
        Self { view, clock, sequencer: Mutex::new(sequencer) }
    }

    pub(crate) fn commit(&self, commit: &Commit) -> Result<Committed, CommitError> {
        self.step(|sequencer, now| sequencer.stage(commit, now))
    }

    pub(crate) fn expire(&self, now: Timestamp) -> Result<usize, CommitError> {
        self.step(|sequencer, _| Ok(sequencer.stage_expired(now, usize::MAX)))
    }

    pub(crate) fn compact(&self, now: Timestamp) -> Result<(), CommitError> {
        self.step(|sequencer, _| {
            sequencer.stage_compaction(now);
            Ok(())
        })
    }

    fn step<R>(
        &self,
        stage: impl FnOnce(&mut Sequencer, Timestamp) -> Result<R, CommitError>,
    ) -> Result<R, CommitError> {
        if self.view.is_closed() {
            return Err(CommitError::Closed);
        }
        let now = self.clock.now();
        let mut sequencer = self.sequencer.lock();
        let outcome = stage(&mut sequencer, now)?;
        let sealed = sequencer.seal();
        self.view.publish(sealed.state);
        drop(sequencer);
        self.view.notify(&sealed.touched);
        Ok(outcome)
    }
}
