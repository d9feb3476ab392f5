//! What the clients do, and what they write down of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Revision, TypeMeta};
use arktos_store::clock::SeededRandom;
use arktos_store::commit::{Change, Commit, CommitError, CounterChange, Guard, Write};
use arktos_store::{Delivery, Engine, Expect, Random, Selection, Snapshot, Stored, Within};
use futures::future::join_all;

use super::{Entry, How, Key, Op, Outcome, Plan, PlannedWrite, Read, Seen, What, Written, resource_of};

/// So few that everybody meets everybody.
const KEYS: u64 = 10;
const COUNTERS: u64 = 2;
const LIMIT: i64 = 3;

/// What one history is about: names of its own, so that histories can share a store, and the tickets.
#[derive(Clone)]
pub struct Stage {
    name: Arc<str>,
    type_meta: Arc<TypeMeta>,
    // Written by all clients: when something happened, and what is written.
    tickets: Arc<AtomicU64>,
    values: Arc<AtomicU64>,
}

/// One client of an engine.
pub struct Client {
    stage: Stage,
    engine: Engine,
    number: usize,
    random: SeededRandom,
    /// What it saw last of each object.
    known: BTreeMap<Key, Seen>,
    newest: u64,
}

impl Stage {
    pub fn new(name: &str) -> Self {
        let type_meta = Arc::new(TypeMeta::new("linear.arktos.io", "v1", "Thing"));
        Self { name: name.into(), type_meta, tickets: Arc::default(), values: Arc::default() }
    }

    fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::SeqCst)
    }

    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::SeqCst)
    }

    fn resource(&self, number: u8) -> GroupResource {
        GroupResource::new("linear.arktos.io", &format!("{}-{number}", self.name))
    }

    fn key(&self, key: Key) -> ObjectKey {
        let path = ObjectPath::new("acme", "default", &format!("thing-{key}"));
        ObjectKey { resource: self.resource(resource_of(key)), path }
    }

    fn counter(&self, number: u8) -> Arc<str> {
        format!("{}/{number}", self.name).into()
    }

    fn object(&self, key: Key, value: u64) -> Encoded {
        let mut object = Object::new(&self.type_meta, &format!("thing-{key}"));
        object.set(&["spec", "value"], value.to_string());
        Encoded::encode(&self.type_meta, &object, &[&["spec", "value"]]).expect("encodes")
    }

    /// Lets clients work on engines at the same time, each with a thread or what the runtime has of them. Gives back
    /// what they wrote down.
    pub async fn play(&self, engines: &[Engine], first: usize, clients: usize, each: usize, seed: u64) -> Vec<Op> {
        let start = Arc::new(tokio::sync::Barrier::new(clients));
        let playing = (0..clients).map(|client| {
            let number = client % engines.len();
            let random = SeededRandom::new(seed.wrapping_mul(1000).wrapping_add(client as u64));
            let (stage, engine, start) = (self.clone(), engines[number].clone(), start.clone());
            tokio::spawn(async move {
                let known = BTreeMap::new();
                let mut client = Client { stage, engine, number: first + number, random, known, newest: 0 };
                start.wait().await;
                let mut ops = Vec::with_capacity(each);
                for _ in 0..each {
                    ops.push(client.act().await);
                    if client.random.next().is_multiple_of(8) {
                        tokio::task::yield_now().await;
                    }
                }
                ops
            })
        });
        join_all(playing).await.into_iter().flat_map(|ops| ops.expect("a client has panicked")).collect()
    }

    /// All writes after a revision, as the engine's watches tell them.
    pub async fn order(&self, engine: &Engine, after: Revision) -> Vec<Entry> {
        let newest = engine.latest().await.expect("reads").revision();
        let mut order = Vec::new();
        for number in 0..2 {
            let selection = Selection::all(self.resource(number), Within::Everywhere);
            let mut cursor = engine.watch(selection, after).expect("all history is kept");
            loop {
                let until = cursor.bookmark_now();
                while let Some(delivery) = cursor.try_next().expect("all history is kept") {
                    let stored = delivery.stored().expect("an object");
                    let value = seen(stored).value;
                    let deleted = matches!(delivery, Delivery::Deleted(_));
                    let change = if deleted { Written::Deleted(value) } else { Written::Put(value) };
                    order.push(Entry { revision: stored.revision.0, key: key_of(stored), change });
                }
                if until >= newest {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        order.sort_unstable_by_key(|entry| entry.revision);
        order
    }
}

impl Client {
    fn below(&self, bound: u64) -> u64 {
        self.random.next() % bound
    }

    fn any_key(&self) -> Key {
        Key::try_from(self.below(KEYS)).expect("small")
    }

    async fn act(&mut self) -> Op {
        let call_what = match self.below(20) {
            0..11 => None,
            _ => Some(self.plan()),
        };
        // what takes time to prepare is prepared before the call
        let commit = call_what.as_ref().map(|plan| self.commit(plan));
        let how = self.how();
        let call = self.stage.ticket();
        self.give_way().await;
        let what = match (call_what, commit) {
            (Some(plan), Some(commit)) => self.write(plan, commit).await,
            _ => match self.look(how).await {
                Some(snapshot) => Ok(What::Read(self.read(how, &snapshot))),
                None => Err(What::Commit(Plan::default(), Outcome::Unknown)), // the store is gone: nothing was read
            },
        };
        self.give_way().await;
        let ended = self.stage.ticket();
        let (what, ended) = match what {
            Ok(what) => (what, Some(ended)),
            Err(what) => (what, None),
        };
        self.remember(&what);
        Op { engine: self.number, call, ended, what }
    }

    /// Lets others go on while an operation is under way, now and then.
    async fn give_way(&self) {
        if self.below(4) == 0 {
            tokio::task::yield_now().await;
        }
    }

    fn how(&self) -> How {
        match self.below(3) {
            0 => How::Latest,
            1 => How::NotOlderThan(self.newest),
            _ => How::Snapshot,
        }
    }

    async fn look(&self, how: How) -> Option<Snapshot> {
        match how {
            How::Latest => self.engine.latest().await.ok(),
            How::Snapshot => Some(self.engine.snapshot()),
            How::NotOlderThan(revision) => self.engine.not_older_than(Revision(revision)).await.ok(),
        }
    }

    fn read(&self, how: How, snapshot: &Snapshot) -> Read {
        let (mut objects, mut count, mut counters) = (Vec::new(), None, Vec::new());
        let resource = u8::try_from(self.below(2)).expect("small");
        match self.below(4) {
            0 => {
                let listed: BTreeMap<Key, Seen> = snapshot
                    .range(&self.stage.resource(resource), &Within::Everywhere, None)
                    .map(|stored| (key_of(&stored), seen(&stored)))
                    .collect();
                let keys = (0..Key::try_from(KEYS).expect("small")).filter(|key| resource_of(*key) == resource);
                objects.extend(keys.map(|key| (key, listed.get(&key).copied())));
            }
            1 => count = Some((resource, snapshot.count(&self.stage.resource(resource), &Within::Everywhere))),
            2 => {
                let number = u8::try_from(self.below(COUNTERS)).expect("small");
                let name = self.stage.counter(number);
                let found = snapshot.counters().find(|(counter, _)| **counter == name);
                counters.push((number, found.map_or(0, |(_, value)| value)));
            }
            _ => {}
        }
        let key = self.any_key();
        objects.push((key, snapshot.get(&self.stage.key(key)).map(|stored| seen(&stored))));
        Read { how, revision: snapshot.revision().0, objects, count, counters }
    }

    fn plan(&self) -> Plan {
        let key = self.any_key();
        let at_known =
            |key: Key| self.known.get(&key).map_or(Expect::Absent, |seen| Expect::At(Revision(seen.revision)));
        let put = |key: Key, expect: Expect| PlannedWrite { key, expect, value: Some(self.stage.value()) };
        let delete = |key: Key, expect: Expect| PlannedWrite { key, expect, value: None };
        let mut plan = Plan::default();
        match self.below(10) {
            0 | 1 => plan.writes.push(put(key, Expect::Absent)),
            2..5 => plan.writes.push(put(key, at_known(key))),
            5 => plan.writes.push(put(key, Expect::Anything)),
            6 => plan.writes.push(delete(key, Expect::Anything)),
            7 => plan.writes.push(match at_known(key) {
                Expect::Absent => delete(key, Expect::Present),
                known => delete(key, known),
            }),
            8 => {
                let other = Key::try_from((u64::from(key) + 1 + self.below(KEYS - 1)) % KEYS).expect("small");
                plan.writes = vec![put(key, at_known(key)), put(other, Expect::Anything)];
                let third = (other + 1) % Key::try_from(KEYS).expect("small");
                if third != key {
                    plan.writes.push(delete(third, Expect::Present));
                }
            }
            _ => plan.writes.push(put(key, Expect::Anything)),
        }
        if self.below(4) == 0 {
            let guard = self.any_key();
            let expect = [Expect::Present, Expect::Absent, Expect::Live, at_known(guard)];
            plan.guards.push((guard, expect[usize::try_from(self.below(4)).expect("small")]));
        }
        if self.below(3) == 0 && plan.writes.iter().all(|write| write.value.is_some()) {
            let counter = u8::try_from(self.below(COUNTERS)).expect("small");
            let change = if self.below(2) == 0 { (counter, -1, None) } else { (counter, 1, Some(LIMIT)) };
            plan.counters.push(change);
        }
        if self.below(30) == 0 {
            plan.writes.clear();
            plan.counters.clear();
        }
        plan
    }

    fn commit(&self, plan: &Plan) -> Commit {
        let change = |write: &PlannedWrite| {
            write.value.map_or(Change::Delete, |value| Change::put(self.stage.object(write.key, value)))
        };
        let write = |write: &PlannedWrite| Write {
            key: self.stage.key(write.key),
            expect: write.expect,
            change: change(write),
        };
        let guard = |(key, expect): &(Key, Expect)| Guard { key: self.stage.key(*key), expect: *expect };
        let counter = |(counter, delta, limit): &(u8, i64, Option<i64>)| CounterChange {
            counter: self.stage.counter(*counter),
            delta: *delta,
            limit: *limit,
        };
        Commit {
            writes: plan.writes.iter().map(write).collect(),
            guards: plan.guards.iter().map(guard).collect(),
            counters: plan.counters.iter().map(counter).collect(),
            ..Commit::default()
        }
    }

    /// Commits; an error is an outcome that nobody waited for, or knows.
    async fn write(&self, plan: Plan, commit: Commit) -> Result<What, What> {
        let mut committing = Box::pin(self.engine.commit(commit));
        let polled = futures::poll!(&mut committing);
        let answer = match polled {
            Poll::Ready(answer) => answer,
            // the caller gives up: at once, or a moment later
            Poll::Pending if self.below(100) == 0 => return Err(What::Commit(plan, Outcome::Unknown)),
            Poll::Pending if self.below(50) == 0 => {
                let patience = Duration::from_micros(self.below(2000));
                match tokio::time::timeout(patience, committing).await {
                    Ok(answer) => answer,
                    Err(_) => return Err(What::Commit(plan, Outcome::Unknown)),
                }
            }
            Poll::Pending => committing.await,
        };
        let key_of = |key: &ObjectKey| key_of_path(&key.path);
        let seen = |found: Option<Stored>| found.as_ref().map(seen);
        let outcome = match answer {
            Ok(committed) => Outcome::Committed {
                revisions: committed.revisions.iter().map(|revision| revision.0).collect(),
                revision: committed.revision.0,
            },
            Err(CommitError::Conflict { key, found }) => Outcome::Conflict { key: key_of(&key), found: seen(found) },
            Err(CommitError::Guarded { key, found }) => Outcome::Guarded { key: key_of(&key), found: seen(found) },
            Err(CommitError::Limit { counter, value, .. }) => {
                let number = counter.rsplit_once('/').and_then(|(_, number)| number.parse().ok()).expect("a counter");
                Outcome::Limit { counter: number, value }
            }
            Err(CommitError::Unknown(_)) => return Err(What::Commit(plan, Outcome::Unknown)),
            Err(_) => Outcome::Refused,
        };
        Ok(What::Commit(plan, outcome))
    }

    fn remember(&mut self, what: &What) {
        match what {
            What::Read(read) => {
                self.newest = self.newest.max(read.revision);
                for (key, found) in &read.objects {
                    match found {
                        Some(found) => self.known.insert(*key, *found),
                        None => self.known.remove(key),
                    };
                }
            }
            What::Commit(_, Outcome::Conflict { key, found: Some(found) }) => {
                self.known.insert(*key, *found);
            }
            What::Commit(plan, Outcome::Committed { revisions, revision }) => {
                self.newest = self.newest.max(*revision);
                for (write, revision) in plan.writes.iter().zip(revisions) {
                    match write.value {
                        Some(value) => self.known.insert(write.key, Seen { revision: *revision, value }),
                        None => self.known.remove(&write.key),
                    };
                }
            }
            What::Commit(..) => {}
        }
    }
}

fn key_of(stored: &Stored) -> Key {
    key_of_path(&stored.path)
}

fn key_of_path(path: &ObjectPath) -> Key {
    path.name().strip_prefix("thing-").and_then(|number| number.parse().ok()).expect("a thing")
}

fn seen(stored: &Stored) -> Seen {
    let value = stored.object.header().field(0);
    Seen { revision: stored.revision.0, value: value.parse().expect("a value") }
}
