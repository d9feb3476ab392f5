//! The whole state at one revision of etcd, and the history since.

use std::sync::Arc;

use arktos_core::{GroupResource, ObjectKey, Revision, Timestamp};
use etcd_client::GetOptions;

use super::convert::{self, About};
use super::failed::{Failed, Why};
use super::feed::Batch;
use super::{Etcd, Known};
use crate::codec::Damaged;
use crate::commit::Change;
use crate::select::Stored;
use crate::storage::{Group, Restore};

/// How many entries are read at once: at first, and at most.
const PAGE: (i64, i64) = (256, 8192);
/// How many bytes a page is to have, about.
const PAGE_BYTES: usize = 8 << 20;
/// How many revisions of etcd are read back at most when an engine opens.
const HISTORY_MAX: i64 = 100_000;
/// How often a load begins anew because etcd was compacted, or a member lost, meanwhile.
const ATTEMPTS: usize = 5;

/// What was read.
#[derive(Clone, Default)]
pub(super) struct Loaded {
    /// The revision of etcd of the state.
    at: i64,
    /// The revision of etcd up to which the history goes.
    until: i64,
    objects: Vec<(GroupResource, Stored, Option<Timestamp>)>,
    counters: Vec<(Arc<str>, i64)>,
    history: Vec<Group>,
    /// How many transactions there have been up to `until`. Zero: that is not known.
    transactions: i64,
}

/// How far etcd is.
pub(super) struct Newest {
    /// The newest revision of etcd.
    pub newest: i64,
    /// That of the last transaction on this store; zero if there was none.
    pub last: i64,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Etcd(#[from] Failed),
    #[error("{0}. Restore a backup")]
    Damaged(#[from] Damaged),
    #[error("its history was compacted, or members were lost, again and again, while it was read")]
    Compacted,
}

impl Etcd {
    /// The state, and as much history as there is.
    pub(super) async fn load_all(&self) -> Result<Loaded, LoadError> {
        for _ in 0..ATTEMPTS {
            let Newest { newest, last } = self.newest().await?;
            let at = if last == 0 { newest } else { self.oldest(last).await?.min(newest) };
            match self.load_from(at, last).await {
                Err(LoadError::Etcd(failed)) if matches!(failed.why, Why::Compacted | Why::Unreached) => {}
                Err(LoadError::Compacted) => {}
                other => return other,
            }
        }
        Err(LoadError::Compacted)
    }

    /// The state alone, at its newest.
    pub(super) async fn load_newest(&self) -> Result<Loaded, LoadError> {
        let Newest { newest, .. } = self.newest().await?;
        self.load_from(newest, 0).await
    }

    /// How far etcd is.
    pub(super) async fn newest(&self) -> Result<Newest, Failed> {
        let before = self.known.lock().position;
        let read = self.get(self.keys.last(), None).await?;
        let gone_back = |why: Arc<str>| Failed { why: Why::Unknown, text: why.to_string() };
        self.goes_forward(read.header(), before).map_err(gone_back)?;
        let last = read.kvs().first();
        Ok(Newest {
            newest: read.header().map_or(0, etcd_client::ResponseHeader::revision),
            last: last.map_or(0, etcd_client::KeyValue::mod_revision),
        })
    }

    /// The oldest revision of etcd from which the history can be read back, or should be.
    async fn oldest(&self, last: i64) -> Result<i64, LoadError> {
        let wanted = (last - HISTORY_MAX).max(1);
        let look = GetOptions::new().with_revision(wanted).with_count_only();
        match self.get(self.keys.last(), Some(look)).await {
            Ok(_) => Ok(wanted),
            // what is refused says how far the compaction went
            Err(failed) if failed.why == Why::Compacted => Ok(self.compacted(wanted).await?.max(wanted)),
            Err(failed) => Err(failed.into()),
        }
    }

    /// The revision up to which etcd is compacted, when it is beyond `wanted`.
    async fn compacted(&self, wanted: i64) -> Result<i64, LoadError> {
        let mut watch = self.open(wanted).await?;
        loop {
            let response = watch.next().await?;
            if response.canceled() || !response.events().is_empty() {
                return Ok(response.compact_revision());
            }
        }
    }

    async fn load_from(&self, at: i64, last: i64) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded { at, until: at, ..Loaded::default() };
        let (mut from, end) = self.keys.watched();
        let mut limit = PAGE.0;
        while let Some(next) = self.load_page(&mut loaded, from, &end, &mut limit).await? {
            from = next;
        }
        if last > at {
            let mut watch = self.open(at + 1).await?;
            while loaded.until < last {
                let response = watch.next().await?;
                if response.canceled() {
                    return Err(LoadError::Compacted);
                }
                let batch = {
                    let mut known = self.known.lock();
                    Batch::read(&self.keys, &mut known.reader, response.events())?
                };
                loaded.until = loaded.until.max(batch.until);
                loaded.transactions = loaded.transactions.max(batch.transactions.1);
                loaded.history.push(batch.group);
            }
        }
        Ok(loaded)
    }

    /// Reads a page of at most `limit` entries, and says where the next begins. Sets the limit for the next, so that
    /// pages have about the same size whatever the objects' is.
    async fn load_page(
        &self,
        loaded: &mut Loaded,
        from: String,
        end: &str,
        limit: &mut i64,
    ) -> Result<Option<String>, LoadError> {
        let options = GetOptions::new().with_range(end).with_limit(*limit).with_revision(loaded.at);
        let page = self.get(from, Some(options)).await?;
        let bytes: usize = page.kvs().iter().map(|entry| entry.value().len()).sum();
        let each = bytes / page.kvs().len().max(1);
        *limit = i64::try_from(PAGE_BYTES / each.max(1)).unwrap_or(PAGE.1).clamp(1, PAGE.1.min(*limit * 4));
        let mut known = self.known.lock();
        for entry in page.kvs() {
            match self.keys.about(entry.key())? {
                About::Last => loaded.transactions = entry.version(),
                About::Counter(counter) => loaded.counters.push((counter, convert::number(entry.value())?)),
                About::Object(ObjectKey { resource, path }) => {
                    let (stored, expires) = convert::stored(&mut known.reader, path, entry)?;
                    loaded.objects.push((resource, stored, expires));
                }
            }
        }
        let next = page.kvs().last().filter(|_| page.more());
        Ok(next.map(|last| format!("{}\0", String::from_utf8_lossy(last.key()))))
    }
}

impl Loaded {
    /// Gives it to an engine.
    pub(super) fn fill(self, restore: &mut Restore) {
        for (resource, stored, expires) in self.objects {
            restore.object(&resource, stored, expires);
        }
        for (counter, value) in &self.counters {
            restore.counter(counter, *value);
        }
        restore.origin(convert::last_revision(self.at));
        for group in &self.history {
            restore.group(group);
        }
        restore.revision(reached(self.until));
    }
}

impl Known {
    /// Begins anew with what was loaded.
    pub(super) fn take_in(&mut self, loaded: &Loaded) {
        self.position = loaded.until;
        self.transactions = loaded.transactions;
        self.counters = loaded.counters.iter().map(|(name, value)| (name.clone(), (*value, loaded.at))).collect();
        self.expiries.clear();
        self.expiring.clear();
        for (resource, stored, expires) in &loaded.objects {
            if let Some(at) = expires {
                let key = ObjectKey { resource: resource.clone(), path: stored.path.clone() };
                self.expires(&key, Some((*at, stored.revision)));
            }
        }
        for group in &loaded.history {
            self.note(group, loaded.until);
        }
    }

    /// Whether transactions that are told of begin after the last that was. If not, some were lost on the way.
    pub(super) fn follows(&mut self, (before, last): (i64, i64)) -> bool {
        let follows = last == 0 || before == self.transactions;
        if follows && last != 0 {
            self.transactions = last;
        }
        follows
    }

    /// Takes note of what was fed, up to a revision of etcd.
    pub(super) fn note(&mut self, group: &Group, until: i64) {
        for (counter, value) in &group.counters {
            self.count(counter, *value, until);
        }
        for record in &group.records {
            let due = match &record.change {
                Change::Put { expires, .. } => expires.map(|at| (at, record.revision)),
                Change::Delete => None,
            };
            self.expires(&record.key, due);
        }
        self.position = self.position.max(until);
    }
}

/// The revision of a state in which everything up to a revision of etcd is: the same in every process, whatever it has
/// seen of the last transaction.
pub(super) fn reached(until: i64) -> Revision {
    convert::last_revision(until)
}
