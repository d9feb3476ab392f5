//! The road of a write, and what is read right after: through the API in process, over the store in memory. What the
//! disk and HTTP add is not in it.
//!
//!     cargo xtask bench write_path

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use arktos::api::{ApiConfig, ApiServer};
use arktos::core::{GroupResource, Object, ObjectKey, Revision, TypeMeta};
use arktos::store::client::{Query, WatchStream};
use arktos::store::{Delivery, Engine, Within};
use arktos::{Client, Clock, Identity, Random, TenantName};
use arktos_bin::edge::{SystemClock, SystemRandom};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures::StreamExt;
use tokio::runtime::Runtime;

const NAMESPACE: &str = "default";
const LISTED: usize = 1000;
const WATCHERS: usize = 100;

/// An API server with nothing but what it makes at the start, and a runtime on one thread.
struct World {
    runtime: Runtime,
    client: Arc<dyn Client>,
    tenant: TenantName,
    next: Cell<u64>,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
        let server = ApiServer::new(ApiConfig::new(Engine::memory(clock.clone()), clock, random));
        runtime.block_on(server.bootstrap()).expect("bootstraps");
        let client = server.client(Identity::system_component("bench"));
        Self { runtime, client, tenant: TenantName::system(), next: Cell::new(0) }
    }

    fn resource() -> GroupResource {
        GroupResource::core("configmaps")
    }

    /// A config map of about 1 KiB that was not there before.
    fn new_map(&self) -> Object {
        let number = self.next.replace(self.next.get() + 1);
        let mut object = Object::new(&TypeMeta::new("", "v1", "ConfigMap"), &format!("map-{number}"));
        object.set(&["data", "text"], "x".repeat(1024));
        object
    }

    fn create(&self, object: Object) -> Revision {
        let resource = Self::resource();
        let created = self.client.create(&resource, self.tenant.as_str(), NAMESPACE, object);
        self.runtime.block_on(created).expect("creates").revision
    }

    fn update(&self, object: Object) -> Revision {
        let key = ObjectKey::namespaced(Self::resource(), &self.tenant, NAMESPACE, object.name());
        self.runtime.block_on(self.client.update(&key, None, object)).expect("updates").revision
    }

    /// The same object with another text.
    fn changed(&self, object: &Object) -> Object {
        let number = self.next.replace(self.next.get() + 1);
        let mut object = object.clone();
        object.set(&["data", "number"], number.to_string());
        object
    }

    fn query(&self) -> Query {
        Query::all(Self::resource(), Within::Namespace(self.tenant.clone(), NAMESPACE.to_owned()))
    }

    fn watch(&self, after: Revision) -> WatchStream {
        let query = self.query();
        self.runtime.block_on(self.client.watch(&query, after)).expect("watches")
    }
}

fn writes(criterion: &mut Criterion) {
    let world = World::new();
    criterion.bench_function("write_path/create", |bencher| {
        bencher.iter_batched(|| world.new_map(), |object| world.create(object), BatchSize::SmallInput);
    });
    let object = world.new_map();
    world.create(object.clone());
    criterion.bench_function("write_path/update", |bencher| {
        bencher.iter_batched(|| world.changed(&object), |object| world.update(object), BatchSize::SmallInput);
    });
}

fn lists(criterion: &mut Criterion) {
    let world = World::new();
    let already = world.runtime.block_on(world.client.list(&world.query())).expect("lists").items.len();
    for _ in already..LISTED {
        world.create(world.new_map());
    }
    criterion.bench_function("write_path/list_1000", |bencher| {
        bencher.iter(|| {
            let listing = world.runtime.block_on(world.client.list(&world.query())).expect("lists");
            assert_eq!(black_box(listing).items.len(), LISTED);
        });
    });
}

fn fan_out(criterion: &mut Criterion) {
    let world = World::new();
    let object = world.new_map();
    let mut revision = world.create(object.clone());
    let mut watchers: Vec<WatchStream> = (0..WATCHERS).map(|_| world.watch(revision)).collect();
    criterion.bench_function("write_path/update_seen_by_100_watchers", |bencher| {
        bencher.iter_batched(
            || world.changed(&object),
            |object| {
                revision = world.update(object);
                for watcher in &mut watchers {
                    world.runtime.block_on(until(watcher, revision));
                }
            },
            BatchSize::SmallInput,
        );
    });
}

/// Reads a watch up to a revision.
async fn until(watcher: &mut WatchStream, revision: Revision) {
    loop {
        match watcher.next().await.expect("goes on").expect("delivers") {
            Delivery::Modified(stored) if stored.revision == revision => return,
            _ => {}
        }
    }
}

criterion_group!(benches, writes, lists, fan_out);
criterion_main!(benches);
