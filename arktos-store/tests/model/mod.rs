//! A store too simple to be wrong, and random things to do to it.
#![allow(dead_code)] // each test uses its own part

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::{
    Encoded, GroupResource, LabelSelector, Object, ObjectKey, ObjectPath, Revision, TenantName, TypeMeta,
};
use arktos_store::commit::{Change, Commit, Expect};
use arktos_store::select::{Field, FieldTest};
use arktos_store::{Selection, Stored, Within};
use proptest::prelude::*;

/// All states there ever were, by their revision.
#[derive(Default)]
pub struct Model {
    states: Vec<(Revision, BTreeMap<ObjectKey, Stored>)>,
    counter: i64,
}

impl Model {
    pub fn revision(&self) -> Revision {
        self.states.last().map_or(Revision::ZERO, |(revision, _)| *revision)
    }

    pub fn counter(&self) -> i64 {
        self.counter
    }

    fn at(&self, revision: Revision) -> BTreeMap<ObjectKey, Stored> {
        let newest = self.states.iter().rev().find(|(known, _)| *known <= revision);
        newest.map(|(_, state)| state.clone()).unwrap_or_default()
    }

    pub fn get(&self, revision: Revision, key: &ObjectKey) -> Option<Stored> {
        self.at(revision).get(key).cloned()
    }

    pub fn list(&self, revision: Revision, selection: &Selection) -> BTreeMap<ObjectPath, Stored> {
        self.at(revision)
            .into_iter()
            .filter(|(key, stored)| key.resource == selection.resource && selection.matches(&key.path, &stored.object))
            .map(|(key, stored)| (key.path, stored))
            .collect()
    }

    pub fn commit(&mut self, commit: &Commit) -> Result<Vec<Revision>, &'static str> {
        let state = self.at(self.revision());
        let holds = |key: &ObjectKey, expect: Expect| expect.holds(state.get(key));
        if !commit.guards.iter().all(|guard| holds(&guard.key, guard.expect)) {
            return Err("guarded");
        }
        if !commit.writes.iter().all(|write| holds(&write.key, write.expect)) {
            return Err("conflict");
        }
        for change in &commit.counters {
            let after = self.counter + change.delta;
            if after < 0 || (change.delta > 0 && change.limit.is_some_and(|limit| after > limit)) {
                return Err("limit");
            }
            self.counter = after;
        }
        let mut revisions = Vec::new();
        for write in &commit.writes {
            let mut state = self.at(self.revision());
            let revision = self.revision().next();
            let changed = match &write.change {
                Change::Put { object, .. } => {
                    let stored = Stored { path: write.key.path.clone(), revision, object: object.clone() };
                    state.insert(write.key.clone(), stored);
                    true
                }
                Change::Delete => state.remove(&write.key).is_some(),
            };
            if changed {
                self.states.push((revision, state));
            }
            revisions.push(self.revision());
        }
        Ok(revisions)
    }
}

#[derive(Debug, Clone)]
pub enum Step {
    Commit(Plan),
    Watch(Selection, u64),
    Drain(usize),
    Bookmark(usize),
    Read(Selection, u64),
    Pass(u64),
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub writes: Vec<PlannedWrite>,
    pub guard: Option<(u8, u8, u8)>,
    pub counter: Option<(i64, Option<i64>)>,
}

#[derive(Debug, Clone)]
pub struct PlannedWrite {
    pub resource: u8,
    pub path: u8,
    pub expect: u8,
    /// The value of its label and of its field; absent for a deletion.
    pub labels: Option<(u8, u8)>,
}

const TENANTS: [&str; 3] = ["", "acme", "acme-b"];
const NAMESPACES: [&str; 2] = ["", "default"];

pub fn resource(number: u8) -> GroupResource {
    GroupResource::new("", ["pods", "nodes"][usize::from(number % 2)])
}

pub fn path(number: u8) -> ObjectPath {
    let number = usize::from(number % 18);
    let name = ["a", "b", "c"][number / 6];
    ObjectPath::new(TENANTS[number % 3], NAMESPACES[number / 3 % 2], name)
}

pub fn key(resource_number: u8, path_number: u8) -> ObjectKey {
    ObjectKey { resource: resource(resource_number), path: path(path_number) }
}

pub fn object(path_number: u8, (label, field): &(u8, u8)) -> Encoded {
    let type_meta = Arc::new(TypeMeta::new("", "v1", "Thing"));
    let value = serde_json::json!({
        "metadata": {"name": path(path_number).name(), "labels": {"app": format!("l{}", label % 3), "value": label.to_string()}},
        "spec": {"nodeName": format!("n{}", field % 3)},
    });
    let object = Object::from_value(value).expect("an object");
    Encoded::encode(&type_meta, &object, &[&["spec", "nodeName"]]).expect("encodes")
}

pub fn selection() -> impl Strategy<Value = Selection> {
    let tenant = || TenantName::new("acme").expect("a name");
    let within = prop_oneof![
        Just(Within::Everywhere),
        Just(Within::Tenant(tenant())),
        Just(Within::Namespace(tenant(), "default".to_owned())),
        Just(Within::Namespace(tenant(), String::new())),
        any::<u8>().prop_map(|number| Within::Object(path(number))),
    ];
    let label = prop_oneof![
        3 => Just(LabelSelector::everything()),
        1 => Just(LabelSelector::parse("app=l1").expect("parses")),
        1 => Just(LabelSelector::parse("app notin (l0)").expect("parses")),
    ];
    let test = |field, value: &str, equal| FieldTest { field, value: value.to_owned(), equal };
    let fields = prop_oneof![
        2 => Just(Vec::new()),
        2 => Just(vec![test(Field::At(0), "n1", true)]),
        1 => Just(vec![test(Field::At(0), "n1", false)]),
        1 => Just(vec![test(Field::Name, "a", true)]),
        1 => Just(vec![test(Field::Name, "a", true), test(Field::At(0), "n2", true)]),
    ];
    (any::<u8>(), within, label, fields).prop_map(|(number, within, labels, fields)| {
        let mut selection = Selection::all(resource(number), within).labels(labels);
        selection.fields = fields;
        selection
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let write = (any::<u8>(), any::<u8>(), any::<u8>(), prop::option::weighted(0.75, (any::<u8>(), any::<u8>())))
        .prop_map(|(resource, path, expect, labels)| PlannedWrite { resource, path, expect, labels });
    let writes = prop::collection::vec(write, 1..4).prop_map(|mut writes: Vec<PlannedWrite>| {
        let mut seen = Vec::new();
        writes.retain(|write| {
            let key = key(write.resource, write.path);
            let new = !seen.contains(&key);
            seen.push(key);
            new
        });
        writes
    });
    let guard = prop::option::weighted(0.2, (any::<u8>(), any::<u8>(), any::<u8>()));
    let counter = prop::option::weighted(0.3, (-2_i64..4, prop::option::of(0_i64..6)));
    (writes, guard, counter).prop_map(|(writes, guard, counter)| Plan { writes, guard, counter })
}

pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let back = || prop_oneof![3 => 0_u64..8, 1 => 0_u64..200];
    let step = prop_oneof![
        10 => plan().prop_map(Step::Commit),
        3 => (selection(), back()).prop_map(|(selection, back)| Step::Watch(selection, back)),
        4 => any::<usize>().prop_map(Step::Drain),
        1 => any::<usize>().prop_map(Step::Bookmark),
        3 => (selection(), back()).prop_map(|(selection, back)| Step::Read(selection, back)),
        1 => (0_u64..40).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..most)
}
