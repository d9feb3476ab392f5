//! A commit as one transaction.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;

use arktos_core::ObjectKey;
use etcd_client::{Compare, CompareOp, GetResponse, Txn, TxnOp, TxnOpResponse, TxnResponse};
use futures::FutureExt;
use futures::future::{Either, select};

use super::Etcd;
use super::convert::{self, PLACES};
use crate::commit::{Change, Commit, CommitError, Committed, Expect};
use crate::select::Stored;

/// How often a transaction is tried whose only fault is that what was believed was not so.
const ATTEMPTS: usize = 64;

/// What a transaction is built on, where the commit itself does not say. When it is not so, the transaction fails and
/// brings back what is.
#[derive(Default)]
struct Beliefs {
    /// The counters' values.
    counters: BTreeMap<Arc<str>, i64>,
    /// Objects to be deleted whatever their state that are not there.
    absent: Vec<ObjectKey>,
}

/// What a transaction that failed has found.
#[derive(Default)]
struct Found {
    objects: Vec<(ObjectKey, Option<Stored>)>,
    counters: BTreeMap<Arc<str>, i64>,
}

impl Etcd {
    pub(super) async fn transact(&self, commit: &Commit) -> Result<Committed, CommitError> {
        if commit.writes.len() > PLACES {
            return Err(CommitError::TooLarge { size: commit.writes.len(), limit: PLACES });
        }
        let mut patience = self.members.patience().fuse();
        let _turns = match select(pin!(self.take_turns(commit)), &mut patience).await {
            Either::Left((turns, _)) => turns,
            Either::Right(_) => return Err(CommitError::Busy), // whoever is before it waits for a member
        };
        let mut beliefs = Beliefs { counters: self.believed(commit), absent: Vec::new() };
        for _ in 0..ATTEMPTS {
            // what is believed may say no, but only what is so may refuse: then the transaction only looks
            let counted = count(commit, &beliefs.counters);
            let txn = self.build(commit, &beliefs, counted.as_ref().ok());
            let before = self.known.lock().position;
            let answer = self.txn(txn).await.map_err(|failed| failed.of_commit(size(commit)))?;
            self.goes_forward(answer.header(), before).map_err(|why| match answer.succeeded() {
                true => CommitError::Unknown(why),
                false => CommitError::Unavailable(why),
            })?;
            if answer.succeeded() {
                return Ok(self.committed(commit, &beliefs, &counted?, &answer));
            }
            let found = self.found(commit, &answer)?;
            check(commit, &found)?;
            beliefs.absent = found.objects.iter().filter(|(_, it)| it.is_none()).map(|(key, _)| key.clone()).collect();
            beliefs.counters = found.counters;
            if (&mut patience).now_or_never().is_some() {
                break;
            }
        }
        Err(CommitError::Busy)
    }

    /// Waits until nobody else in this process is changing the commit's counters.
    async fn take_turns(&self, commit: &Commit) -> Vec<tokio::sync::MutexGuard<'_, ()>> {
        let mut places: Vec<usize> =
            commit.counters.iter().map(|change| shard(&change.counter, self.turns.len())).collect();
        places.sort_unstable(); // all in the same order: nobody waits for each other
        places.dedup();
        let mut turns = Vec::with_capacity(places.len());
        for turn in places.into_iter().filter_map(|place| self.turns.get(place)) {
            turns.push(turn.lock().await);
        }
        turns
    }

    fn believed(&self, commit: &Commit) -> BTreeMap<Arc<str>, i64> {
        let known = self.known.lock();
        let value = |counter| known.counters.get(counter).map_or(0, |(value, _)| *value);
        commit.counters.iter().map(|change| (change.counter.clone(), value(&change.counter))).collect()
    }

    /// The transaction. Without new values for the counters it changes nothing, and succeeds if what is believed is so.
    fn build(&self, commit: &Commit, beliefs: &Beliefs, counters: Option<&BTreeMap<Arc<str>, i64>>) -> Txn {
        let mut compares = Vec::new();
        for guard in &commit.guards {
            self.compare(&mut compares, &guard.key, guard.expect);
        }
        for write in &commit.writes {
            let expect = match (&write.change, write.expect) {
                (Change::Delete, Expect::Anything) if beliefs.absent.contains(&write.key) => Expect::Absent,
                (Change::Delete, Expect::Anything) => Expect::Present,
                (_, expect) => expect,
            };
            self.compare(&mut compares, &write.key, expect);
        }
        for (counter, value) in &beliefs.counters {
            let key = self.keys.counter(counter);
            compares.push(match value {
                0 => Compare::mod_revision(key, CompareOp::Equal, 0),
                value => Compare::value(key, CompareOp::Equal, value.to_le_bytes()),
            });
        }
        let mut operations = Vec::new();
        if let Some(counters) = counters {
            self.write(&mut operations, commit, beliefs);
            for (counter, value) in
                counters.iter().filter(|(counter, value)| beliefs.counters.get(*counter) != Some(*value))
            {
                let key = self.keys.counter(counter);
                operations.push(match value {
                    0 => TxnOp::delete(key, None),
                    value => TxnOp::put(key, value.to_le_bytes(), None),
                });
            }
        }
        operations.push(if operations.is_empty() {
            TxnOp::get(self.keys.last(), None)
        } else {
            TxnOp::put(self.keys.last(), self.clock.now().as_micros().to_le_bytes(), None)
        });
        let objects = touched(commit).map(|key| self.keys.object(key));
        let looks = objects.chain(beliefs.counters.keys().map(|counter| self.keys.counter(counter)));
        let looks: Vec<TxnOp> = looks.map(|key| TxnOp::get(key, None)).collect();
        Txn::new().when(compares).and_then(operations).or_else(looks)
    }

    fn compare(&self, compares: &mut Vec<Compare>, key: &ObjectKey, expect: Expect) {
        let object = self.keys.object(key);
        let at = |operator, revision| Compare::mod_revision(object.clone(), operator, revision);
        match expect {
            Expect::Anything => {}
            Expect::Absent => compares.push(at(CompareOp::Equal, 0)),
            Expect::Present => compares.push(at(CompareOp::Greater, 0)),
            Expect::Live => {
                compares.push(at(CompareOp::Greater, 0));
                compares.push(Compare::mod_revision(self.keys.deleting(key), CompareOp::Equal, 0));
            }
            // a revision that no write can have is nobody's
            Expect::At(revision) => {
                compares.push(at(CompareOp::Equal, convert::of_etcd(revision).unwrap_or(i64::MAX)));
            }
        }
    }

    /// The operations that write the objects, and their marks.
    fn write(&self, operations: &mut Vec<TxnOp>, commit: &Commit, beliefs: &Beliefs) {
        let mut place = 0;
        for write in commit.writes.iter().filter(|write| happens(&write.change, &write.key, beliefs)) {
            let (object, mark) = (self.keys.object(&write.key), self.keys.deleting(&write.key));
            match &write.change {
                Change::Delete => {
                    operations.push(TxnOp::delete(object, None));
                    operations.push(TxnOp::delete(mark, None));
                }
                Change::Put { object: new, expires } => {
                    operations.push(TxnOp::put(object, convert::object_value(place, new, *expires), None));
                    if new.header().deletion().is_some() {
                        operations.push(TxnOp::put(mark, "", None));
                    } else if !matches!(write.expect, Expect::Absent | Expect::Live) {
                        operations.push(TxnOp::delete(mark, None)); // in those two states there is none
                    }
                }
            }
            place = place.saturating_add(1);
        }
    }

    fn committed(
        &self,
        commit: &Commit,
        beliefs: &Beliefs,
        counters: &BTreeMap<Arc<str>, i64>,
        answer: &TxnResponse,
    ) -> Committed {
        let at = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let only_looked = answer.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(last) => Some(last.kvs().first().map_or(0, etcd_client::KeyValue::mod_revision)),
            _ => None,
        });
        let changes = commit.writes.iter().any(|write| happens(&write.change, &write.key, beliefs));
        let base = if changes { convert::revision(at, 0) } else { convert::last_revision(only_looked.unwrap_or(at)) };
        let mut known = self.known.lock();
        for (counter, value) in counters {
            known.count(counter, *value, at);
        }
        drop(known);
        let mut place = 0;
        let mut newest = base;
        let revisions = commit.writes.iter().map(|write| {
            if happens(&write.change, &write.key, beliefs) {
                newest = convert::revision(at, place);
                place = place.saturating_add(1);
            }
            newest
        });
        Committed { revisions: revisions.collect(), revision: newest }
    }

    /// What there is, as a transaction that failed has found it.
    fn found(&self, commit: &Commit, answer: &TxnResponse) -> Result<Found, CommitError> {
        let damaged = |damage: crate::codec::Damaged| CommitError::Poisoned(damage.to_string().into());
        let mut found = Found::default();
        let mut looks = answer.op_responses().into_iter().filter_map(|response| match response {
            TxnOpResponse::Get(look) => Some(look),
            _ => None,
        });
        let mut known = self.known.lock();
        for key in touched(commit) {
            let entry: Option<GetResponse> = looks.next();
            let stored = match entry.as_ref().and_then(|look| look.kvs().first()) {
                Some(entry) => Some(convert::stored(&mut known.reader, key.path.clone(), entry).map_err(damaged)?.0),
                None => None,
            };
            found.objects.push((key.clone(), stored));
        }
        let counters: std::collections::BTreeSet<&Arc<str>> =
            commit.counters.iter().map(|change| &change.counter).collect();
        for counter in counters {
            let look = looks.next();
            let value = match look.as_ref().and_then(|look| look.kvs().first()) {
                Some(entry) => convert::number(entry.value()).map_err(damaged)?,
                None => 0,
            };
            found.counters.insert(counter.clone(), value);
        }
        Ok(found)
    }
}

/// The objects a commit is about: guards, then writes.
fn touched(commit: &Commit) -> impl Iterator<Item = &ObjectKey> {
    commit.guards.iter().map(|guard| &guard.key).chain(commit.writes.iter().map(|write| &write.key))
}

/// Whether a write changes anything: the deletion of what is not there does not.
fn happens(change: &Change, key: &ObjectKey, beliefs: &Beliefs) -> bool {
    !matches!(change, Change::Delete) || !beliefs.absent.contains(key)
}

/// What of a commit does not fit what there is.
fn check(commit: &Commit, found: &Found) -> Result<(), CommitError> {
    let mut objects = found.objects.iter();
    for (guard, (_, found)) in commit.guards.iter().zip(objects.by_ref()) {
        if !guard.expect.holds(found.as_ref()) {
            return Err(CommitError::Guarded { key: guard.key.clone(), found: found.clone() });
        }
    }
    for (write, (_, found)) in commit.writes.iter().zip(objects) {
        if !write.expect.holds(found.as_ref()) {
            return Err(CommitError::Conflict { key: write.key.clone(), found: found.clone() });
        }
    }
    count(commit, &found.counters).map(drop)
}

/// The counters as a commit leaves them.
fn count(commit: &Commit, before: &BTreeMap<Arc<str>, i64>) -> Result<BTreeMap<Arc<str>, i64>, CommitError> {
    let mut counters = before.clone();
    for change in &commit.counters {
        let value = counters.get(&change.counter).copied().unwrap_or(0);
        counters.insert(change.counter.clone(), change.apply(value)?);
    }
    Ok(counters)
}

/// How many bytes a commit has, about.
fn size(commit: &Commit) -> usize {
    let bytes = |change: &Change| match change {
        Change::Put { object, .. } => object.tail_length(),
        Change::Delete => 0,
    };
    commit.writes.iter().map(|write| bytes(&write.change)).sum()
}

fn shard(counter: &str, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    counter.hash(&mut hasher);
    usize::try_from(hasher.finish() % shards.max(1) as u64).unwrap_or(0)
}
