//! How much each tenant has in a store: the ones that have most by name, all others as one.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{GroupResource, ObjectPath, TenantName};
use arktos_store::{Engine, Within};

use super::tenants::{NAMED, OTHERS};

/// How often it is counted.
pub(super) const PERIOD: Duration = Duration::from_secs(60);
/// How many objects are counted before others have a turn.
const AT_ONCE: usize = 5_000;

/// What a tenant has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    bytes: u64,
    objects: u64,
}

/// Who has how much, most first, and all others last.
pub(super) type Stored = Vec<(Arc<str>, Held)>;

impl Held {
    pub(super) fn objects(&self) -> u64 {
        self.objects
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// Counts all objects of tenants. They are not counted at one moment: what changes meanwhile is in or not.
pub(super) async fn count(engine: &Engine) -> Stored {
    let mut all = HashMap::new();
    for resource in engine.snapshot().resources() {
        let mut after = None;
        loop {
            after = count_some(engine, &resource, after.as_ref(), &mut all);
            if after.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    shown(all)
}

/// Counts objects of a resource after one. Where to go on; absent at the end.
fn count_some(
    engine: &Engine,
    resource: &GroupResource,
    after: Option<&ObjectPath>,
    all: &mut HashMap<Arc<str>, Held>,
) -> Option<ObjectPath> {
    // Objects come tenant by tenant: each tenant is looked for once.
    let (mut tenant, mut held) = (String::new(), Held::default());
    let (mut left, mut last) = (AT_ONCE, None);
    let _ = engine.snapshot().walk(resource, &Within::Everywhere, after, |stored| {
        if stored.path.tenant() != tenant {
            put(all, &tenant, std::mem::take(&mut held));
            stored.path.tenant().clone_into(&mut tenant);
        }
        let bytes = u64::try_from(stored.object.weight()).unwrap_or(u64::MAX);
        held.add(Held { bytes, objects: 1 });
        left -= 1;
        if left > 0 {
            return ControlFlow::Continue(());
        }
        last = Some(stored.path.clone());
        ControlFlow::Break(())
    });
    put(all, &tenant, held);
    last
}

/// Adds what a tenant has of a resource. What belongs to the region is no tenant's.
fn put(all: &mut HashMap<Arc<str>, Held>, tenant: &str, held: Held) {
    if held.objects == 0 || tenant.is_empty() {
        return;
    }
    match all.get_mut(tenant) {
        Some(known) => known.add(held),
        None => {
            all.insert(tenant.into(), held);
        }
    }
}

fn shown(all: HashMap<Arc<str>, Held>) -> Stored {
    let mut all: Stored = all.into_iter().collect();
    // The region's own has its name, however much the others have.
    let rank = |name: &str, held: &Held| (name != TenantName::SYSTEM, std::cmp::Reverse(held.bytes));
    all.sort_by(|one, other| rank(&one.0, &one.1).cmp(&rank(&other.0, &other.1)).then_with(|| one.0.cmp(&other.0)));
    let rest = all.split_off(all.len().min(NAMED));
    if !rest.is_empty() {
        let mut others = Held::default();
        rest.into_iter().for_each(|(_, held)| others.add(held));
        all.push((OTHERS.into(), others));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::{Catalog, Object, ObjectKey};
    use arktos_store::clock::ManualClock;
    use arktos_store::{Change, Commit, Expect};
    use serde_json::json;

    async fn put_map(engine: &Engine, tenant: &str, name: &str, text: &str) {
        let resource = GroupResource::core("configmaps");
        let kind = Catalog::builtin().storage(&resource).expect("a kind");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": text}});
        let object = kind.encode(&Object::from_value(object).expect("an object")).expect("encodes");
        let key = ObjectKey { resource, path: ObjectPath::new(tenant, "default", name) };
        engine.commit(Commit::one(key, Expect::Absent, Change::put(object))).await.expect("made");
    }

    #[tokio::test]
    async fn of_ten_thousand_tenants_those_that_have_most_are_named() {
        let engine = Engine::memory(Arc::new(ManualClock::new(arktos_core::Timestamp::from_micros(0))));
        for number in 0..10_000 {
            put_map(&engine, &format!("t-{number}"), "a", "").await;
        }
        put_map(&engine, "system", "a", "").await;
        put_map(&engine, "wide", "a", &"x".repeat(10_000)).await;
        put_map(&engine, "many", "a", "").await;
        put_map(&engine, "many", "b", "").await;
        let counted = count(&engine).await;
        assert_eq!(counted.len(), NAMED + 1);
        let names: Vec<&str> = counted.iter().map(|(name, _)| &**name).take(3).collect();
        assert_eq!(names, ["system", "wide", "many"]);
        assert_eq!(counted.iter().map(|(_, held)| held.objects).sum::<u64>(), 10_004);
        assert_eq!((counted[2].1.objects, &*counted[NAMED].0), (2, OTHERS));
        assert!(counted[1].1.bytes > 10_000);
    }
}
