//! Takes the partitions' changes in, one after the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectKey, ObjectPath};

use super::mailbox::{Mail, Mailbox};
use crate::clock::Clock;
use crate::commit::{Change, Commit, CommitError, Durability, Expect, Write};
use crate::engine::{Engine, write_bytes};
use crate::select::Stored;

/// The most writes of one commit.
const BATCH: usize = 256;
/// About how many bytes one commit has at most.
const BATCH_BYTES: usize = 1 << 20;
/// How long a store that is busy or full is left alone.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes what the partitions show to the engine. The only writer there is.
pub(super) struct Merge {
    engine: Engine,
    resource: GroupResource,
    mailbox: Arc<Mailbox>,
    clock: Arc<dyn Clock>,
    /// Which partition shows the object at a path.
    owners: HashMap<ObjectPath, usize>,
    /// What other partitions would show at a path as well. Hardly ever anything: a tenant is in one partition.
    waiting: HashMap<ObjectPath, BTreeMap<usize, Stored>>,
    commit: Commit,
    /// How many bytes it has, and how many it may have before it is carried out.
    bytes: usize,
    bytes_max: usize,
    touched: HashSet<ObjectPath>,
}

impl Merge {
    pub(super) fn new(
        engine: Engine,
        resource: GroupResource,
        mailbox: Arc<Mailbox>,
        clock: Arc<dyn Clock>,
        commit_bytes: usize,
    ) -> Self {
        let (owners, waiting) = (HashMap::new(), HashMap::new());
        let (commit, touched) = (Commit::default(), HashSet::new());
        let bytes_max = BATCH_BYTES.min(commit_bytes / 2);
        Self { engine, resource, mailbox, clock, owners, waiting, commit, bytes: 0, bytes_max, touched }
    }

    pub(super) async fn run(mut self) {
        loop {
            let mails = self.mailbox.take().await;
            let count = mails.len();
            for mail in mails {
                if self.apply(mail).await.is_err() {
                    return;
                }
            }
            if self.flush().await.is_err() {
                return;
            }
            self.mailbox.settle(count);
        }
    }

    async fn apply(&mut self, mail: Mail) -> Result<(), CommitError> {
        let (source, old, new) = match mail {
            Mail::Change { source, old, new } => (source, old, new),
            Mail::Gone(source) => return self.forget(source).await,
        };
        if let Some(path) = old
            && new.as_ref().is_none_or(|shown| shown.path != path)
        {
            self.let_go(source, path).await?;
        }
        match new {
            Some(shown) => self.show(source, shown).await,
            None => Ok(()),
        }
    }

    /// Takes away all that a source shows, or would show.
    async fn forget(&mut self, source: usize) -> Result<(), CommitError> {
        self.waiting.retain(|_, waiting| {
            waiting.remove(&source);
            !waiting.is_empty()
        });
        let shown = self.owners.iter().filter(|(_, owner)| **owner == source).map(|(path, _)| path.clone());
        for path in shown.collect::<Vec<_>>() {
            self.let_go(source, path).await?;
        }
        Ok(())
    }

    /// Shows an object, unless another partition shows one at that path.
    async fn show(&mut self, source: usize, shown: Stored) -> Result<(), CommitError> {
        let owner = *self.owners.entry(shown.path.clone()).or_insert(source);
        if owner == source {
            return self.write(shown.path, Change::put(shown.object)).await;
        }
        let path = shown.path.clone();
        let waiting = self.waiting.entry(path.clone()).or_default();
        if waiting.insert(source, shown).is_none() {
            tracing::warn!(resource = %self.resource, %path, "two partitions show the same object");
        }
        Ok(())
    }

    /// Takes an object away, and shows that of another partition at the same path, if there is one.
    async fn let_go(&mut self, source: usize, path: ObjectPath) -> Result<(), CommitError> {
        if self.owners.get(&path) != Some(&source) {
            if let Some(waiting) = self.waiting.get_mut(&path) {
                waiting.remove(&source);
                if waiting.is_empty() {
                    self.waiting.remove(&path);
                }
            }
            return Ok(());
        }
        self.owners.remove(&path);
        self.write(path.clone(), Change::Delete).await?;
        for (next, shown) in self.waiting.remove(&path).unwrap_or_default() {
            self.show(next, shown).await?;
        }
        Ok(())
    }

    async fn write(&mut self, path: ObjectPath, change: Change) -> Result<(), CommitError> {
        let key = ObjectKey { resource: self.resource.clone(), path: path.clone() };
        let write = Write { key, expect: Expect::Anything, change };
        let bytes = write_bytes(&write);
        let full = self.commit.writes.len() >= BATCH || self.bytes + bytes > self.bytes_max;
        if !self.touched.insert(path.clone()) || full {
            self.flush().await?;
            self.touched.insert(path);
        }
        self.bytes += bytes;
        self.commit.writes.push(write);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), CommitError> {
        self.touched.clear();
        self.bytes = 0;
        let commit = std::mem::take(&mut self.commit);
        if commit.writes.is_empty() {
            return Ok(());
        }
        let mut commit = Commit { durability: Durability::Relaxed, ..commit };
        loop {
            match self.engine.commit(commit.clone()).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Busy | CommitError::DiskFull) => self.clock.sleep(PAUSE).await,
                // one object, as a batch of several is smaller: it is left out, and the others are shown all the same
                Err(error @ CommitError::TooLarge { .. }) => match commit.writes.first_mut() {
                    Some(Write { key, change: change @ Change::Put { .. }, .. }) => {
                        tracing::error!(%key, %error, "the aggregate does not show an object");
                        *change = Change::Delete;
                    }
                    _ => return Err(error),
                },
                Err(error) => {
                    if !matches!(error, CommitError::Closed) {
                        tracing::error!(resource = %self.resource, %error, "the aggregate has stopped");
                    }
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for Merge {
    fn drop(&mut self) {
        self.mailbox.end();
    }
}

#[cfg(test)]
mod tests {
    use arktos_core::{Encoded, Object, Revision, Timestamp, TypeMeta};

    use super::*;
    use crate::clock::ManualClock;
    use crate::step::settle;

    #[test]
    fn nothing_is_kept_of_a_path_that_no_other_partition_shows_any_more() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let (engine, mailbox) = (Engine::memory(clock.clone()), Arc::new(Mailbox::new()));
        let mut merge = Merge::new(engine, GroupResource::core("pods"), mailbox, clock, 1 << 20);
        let types = Arc::new(TypeMeta::new("", "v1", "Pod"));
        let object = Encoded::encode(&types, &Object::new(&types, "web"), &[]).expect("encodes");
        let path = ObjectPath::new("acme", "default", "web");
        let stored = Stored { path: path.clone(), revision: Revision(1), object };
        let shows = |source| Mail::Change { source, old: None, new: Some(stored.clone()) };
        let lets_go = |source| Mail::Change { source, old: Some(path.clone()), new: None };
        for mail in [shows(0), shows(1), lets_go(1), shows(2), Mail::Gone(2)] {
            assert!(settle(std::pin::pin!(merge.apply(mail))).is_ready());
        }
        assert!(merge.waiting.is_empty());
        assert_eq!(merge.owners.get(&path), Some(&0));
    }
}
