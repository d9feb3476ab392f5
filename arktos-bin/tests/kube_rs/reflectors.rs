//! Reflectors: what they hold is what the server has, with either way to get the first state, and after a restart.

use std::collections::BTreeSet;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{client, make, maps, until, world};

fn config() -> watcher::Config {
    watcher::Config::default().labels("seen=yes").timeout(5)
}

/// A store that is kept up to date as long as the runtime runs.
fn reflect(client: &Client, config: watcher::Config) -> Store<ConfigMap> {
    let (store, writer) = reflector::store();
    let stream = reflector::reflector(writer, watcher(maps(client), config).default_backoff());
    tokio::spawn(stream.for_each(|_| std::future::ready(())));
    store
}

/// As [`reflect`], of metadata alone.
fn reflect_metadata(client: &Client) -> Store<PartialObjectMeta<ConfigMap>> {
    let (store, writer) = reflector::store();
    let maps: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), "default");
    let stream = watcher(maps, config()).default_backoff();
    tokio::spawn(reflector::reflector(writer, stream).for_each(|_| std::future::ready(())));
    store
}

async fn holds<K>(store: &Store<K>, names: &[&str])
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let held = || store.state().iter().map(|it| it.name_any()).collect::<BTreeSet<_>>();
    until(&format!("{names:?}"), || async { (held() == wanted).then_some(()) }).await;
}

#[test]
fn reflectors_hold_what_the_server_has_also_after_its_restart() {
    let mut world = world();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (client, paged, streamed, metadata) = runtime.block_on(async {
        let client = client(&world).await;
        for name in ["a", "b", "c"] {
            make(&client, name).await;
        }
        let paged = reflect(&client, config().page_size(1));
        let streamed = reflect(&client, config().streaming_lists());
        let metadata = reflect_metadata(&client);
        (client, paged, streamed, metadata)
    });
    runtime.block_on(async {
        for store in [&paged, &streamed] {
            holds(store, &["a", "b", "c"]).await;
        }
        holds(&metadata, &["a", "b", "c"]).await;
        maps(&client).delete("a", &DeleteParams::default()).await.expect("deleted");
        // It goes out of what is selected, and does not end.
        let out = Patch::Merge(json!({"metadata": {"labels": {"seen": "no"}}}));
        maps(&client).patch("b", &PatchParams::default(), &out).await.expect("patched");
        for store in [&paged, &streamed] {
            holds(store, &["c"]).await;
        }
        holds(&metadata, &["c"]).await;
    });
    world.region.restart();
    runtime.block_on(async {
        until("a write after the restart", || async { maps(&client).get_opt("c").await.ok() }).await;
        make(&client, "d").await;
        maps(&client).delete("c", &DeleteParams::default()).await.expect("deleted");
        for store in [&paged, &streamed] {
            holds(store, &["d"]).await;
        }
        holds(&metadata, &["d"]).await;
    });
}
