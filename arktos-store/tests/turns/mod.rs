//! A journal whose keeper says when it has had its turn. It has a thread of its own, which a busy machine or a slow
//! disk may hold up for long.

use arktos_core::Revision;
use arktos_store::Snapshot;
use arktos_store::storage::{AppendError, Group, Journal, Keeper, OpenError, Restore};
use tokio::sync::watch;

/// The turns that a keeper has had.
pub struct Turns(watch::Receiver<u64>);

impl Turns {
    /// A journal that counts the turns of its keeper.
    pub fn of<J: Journal>(journal: J) -> (Box<dyn Journal>, Self) {
        let (had, turns) = watch::channel(0);
        (Box::new(Counted { journal, had }), Self(turns))
    }

    /// Does what leaves the keeper a state, and waits until it has been kept. Every state must be left in this way.
    pub async fn next(&mut self, leaves: impl Future<Output = ()>) {
        self.0.mark_unchanged();
        leaves.await;
        self.0.changed().await.expect("the keeper lives");
    }
}

struct Counted<J> {
    journal: J,
    had: watch::Sender<u64>,
}

impl<J: Journal> Journal for Counted<J> {
    fn load(&mut self, restore: &mut Restore) -> Result<(), OpenError> {
        self.journal.load(restore)
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        self.journal.append(group)
    }

    fn renew(&mut self) -> Result<(), AppendError> {
        self.journal.renew()
    }

    fn keeper(&mut self) -> Option<Box<dyn Keeper>> {
        let keeper = self.journal.keeper()?;
        Some(Box::new(Counting { keeper, had: self.had.clone() }))
    }

    fn close(&mut self) -> Result<(), AppendError> {
        self.journal.close()
    }
}

struct Counting {
    keeper: Box<dyn Keeper>,
    had: watch::Sender<u64>,
}

impl Keeper for Counting {
    fn keep(&mut self, state: &Snapshot, history: Revision) -> Result<(), AppendError> {
        let kept = self.keeper.keep(state, history);
        self.had.send_modify(|turns| *turns += 1);
        kept
    }

    fn renew(&mut self, state: &Snapshot) -> Result<(), AppendError> {
        self.keeper.renew(state)
    }
}
