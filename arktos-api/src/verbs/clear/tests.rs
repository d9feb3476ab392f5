use std::sync::Arc;

use arktos_core::{Object, Timestamp, TypeMeta};
use arktos_store::Engine;
use arktos_store::client::DeleteOptions;
use arktos_store::clock::{ManualClock, SeededRandom};
use futures::future::BoxFuture;
use futures::{FutureExt, poll};
use serde_json::json;

use super::*;
use crate::config::ApiConfig;
use crate::server::ApiServer;

const MAPS: &str = "configmaps";

async fn server() -> ApiServer {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
    let config = ApiConfig::new(Engine::memory(clock.clone()), clock, Arc::new(SeededRandom::new(7)));
    let api = ApiServer::new(config);
    api.bootstrap().await.expect("it begins");
    api
}

/// Makes a tenant with a namespace of each of these names.
async fn make(api: &ApiServer, tenant: &str, namespaces: &[&str]) {
    let client = api.client(Identity::system_component("test"));
    let object = Object::new(&TypeMeta::new("", "v1", "Tenant"), tenant);
    client.create(&GroupResource::core("tenants"), "", "", object).await.expect("it is made");
    for name in namespaces {
        let object = Object::new(&TypeMeta::new("", "v1", "Namespace"), name);
        client.create(&GroupResource::core("namespaces"), tenant, "", object).await.expect("it is made");
    }
}

/// Makes config maps, of which so many are held by a finalizer, many a commit.
async fn fill(api: &ApiServer, tenant: &TenantName, namespace: &str, (many, held): (usize, usize)) {
    let kind = api.0.kinds.stored(None, &GroupResource::core(MAPS)).expect("it is built in");
    let mut commit = Commit::default();
    for at in 0..many {
        let mut object = Object::new(&kind.type_meta, &format!("map-{at}"));
        object.set(&["metadata", "uid"], format!("uid-{at}"));
        object.set(&["metadata", "namespace"], namespace);
        if at < held {
            object.set(&["metadata", "finalizers"], json!(["example.com/held"]));
        }
        let key = ObjectKey::namespaced(GroupResource::core(MAPS), tenant, namespace, object.name());
        let change = Change::put(kind.encode(&object).expect("it encodes"));
        commit.writes.push(Write { key, expect: Expect::Absent, change });
        if commit.writes.len() == 500 || at + 1 == many {
            api.0.config.engine.commit(std::mem::take(&mut commit)).await.expect("they are written");
        }
    }
}

async fn begin_to_delete(api: &ApiServer, tenant: &TenantName) {
    let client = api.client(Identity::system_component("test"));
    client.delete(&tenant_key(tenant), DeleteOptions::default()).await.expect("it is there");
}

fn count(api: &ApiServer, within: &Within) -> usize {
    api.0.config.engine.snapshot().count(&GroupResource::core(MAPS), within)
}

#[tokio::test]
async fn a_large_tenant_is_cleared_in_small_steps_between_which_others_go_on() {
    let (api, acme) = (server().await, TenantName::new("acme").expect("a name"));
    make(&api, "acme", &["free", "held"]).await;
    fill(&api, &acme, "free", (4000, 0)).await;
    fill(&api, &acme, "held", (3000, 2500)).await;
    begin_to_delete(&api, &acme).await;
    let (identity, within) = (Identity::system_component("test"), Within::Tenant(acme.clone()));
    let mut clearing: BoxFuture<'_, _> = clear(&api.0, &identity, &within).boxed();
    let (mut steps, mut left) = (0, count(&api, &within));
    while poll!(&mut clearing).is_pending() {
        let now = count(&api, &within);
        assert!(left - now <= COMMIT_WEIGHT / 2, "{} went at once", left - now);
        (steps, left) = (steps + 1, now);
    }
    assert_eq!(count(&api, &within), 2500, "what is held stays");
    assert!(steps > 75, "{steps} steps");
    let namespaces = api.0.config.engine.snapshot().count(&GroupResource::core("namespaces"), &within);
    assert_eq!(namespaces, 2, "and so do namespaces, as long as anything is in one");
}

#[tokio::test]
async fn what_a_tenant_has_outside_of_its_namespaces_goes_when_these_are_empty() {
    let (api, acme) = (server().await, TenantName::new("acme").expect("a name"));
    make(&api, "acme", &["one", "two"]).await;
    fill(&api, &acme, "one", (1500, 0)).await;
    begin_to_delete(&api, &acme).await;
    let (identity, within) = (Identity::system_component("test"), Within::Tenant(acme));
    clear(&api.0, &identity, &within).await.expect("it is cleared");
    assert!(api.0.config.engine.snapshot().resources_within(&within).is_empty());
}
