use std::sync::atomic::Ordering;

use arktos_core::{GroupResource, Object, Timestamp, TypeMeta};
use arktos_store::clock::{ManualClock, SeededRandom};
use serde_json::json;

use super::*;
use crate::server::ApiServer;

/// A server with two tenants; `paul` may watch config maps of each.
struct World {
    api: ApiServer,
    clock: ManualClock,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
        let engine = Engine::memory(Arc::new(clock.clone()));
        let config = ApiConfig::new(engine, Arc::new(clock.clone()), Arc::new(SeededRandom::new(7)));
        let world = Self { api: ApiServer::new(config), clock };
        world.api.bootstrap().await.expect("it begins");
        for tenant in ["acme", "umbra"] {
            let object = Object::new(&TypeMeta::new("", "v1", "Tenant"), tenant);
            let client = world.api.client(Identity::system_component("test"));
            client.create(&GroupResource::core("tenants"), "", "", object).await.expect("it is made");
            world.bind(tenant, "reads", "paul").await;
        }
        world
    }

    async fn bind(&self, tenant: &str, name: &str, user: &str) {
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "subjects": [{"kind": "User", "name": user, "apiGroup": group}],
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": group},
        });
        let client = self.api.client(Identity::system_component("test"));
        let object = Object::from_value(binding).expect("an object");
        let resource = GroupResource::new(group, "clusterrolebindings");
        client.create(&resource, tenant, "", object).await.expect("it is made");
    }

    async fn unbind(&self, tenant: &str, name: &str) {
        let resource = GroupResource::new("rbac.authorization.k8s.io", "clusterrolebindings");
        let tenant = TenantName::new(tenant).expect("a name");
        let key = arktos_core::ObjectKey::tenant_scoped(resource, &tenant, name);
        let client = self.api.client(Identity::system_component("test"));
        client.delete(&key, Default::default()).await.expect("it is there");
    }

    fn watch(&self, tenant: &str, namespace: &str) -> Standing {
        let state = &self.api.0;
        let tenant = TenantName::new(tenant).expect("a name");
        let identity = Identity::user("paul", &[], &tenant);
        let credentials = Credentials::of(&state.config, &identity, &HeaderMap::new());
        let resource = ResourceInfo {
            version: "v1".to_owned(),
            resource: "configmaps".to_owned(),
            namespace: namespace.to_owned(),
            ..ResourceInfo::default()
        };
        let shared = (state.config.clone(), state.authorizer.clone(), state.standings.clone());
        let who = (credentials, &identity, crate::fairness::flow(&identity));
        Standing::new(shared, who, Some(tenant), "watch", resource)
    }

    /// How often roles and bindings were gone through.
    fn asked(&self) -> usize {
        self.api.0.standings.asked.load(Ordering::Relaxed)
    }
}

async fn ask(watch: &mut Standing) -> Result<(), u16> {
    futures::future::poll_fn(|context| watch.poll_ask(context)).await.map_err(|status| status.code)
}

#[tokio::test]
async fn rights_are_looked_for_once_for_all_who_ask_the_same_and_again_only_after_a_change() {
    let world = World::new().await;
    let mut watches: Vec<Standing> = (0..50).map(|_| world.watch("acme", "default")).collect();
    watches.push(world.watch("acme", "other"));
    for (after, asked) in [("nothing", 2), ("a minute", 2), ("a binding of another tenant", 2), ("one of its own", 4)] {
        match after {
            "a minute" => world.clock.advance(Duration::from_secs(61)),
            "a binding of another tenant" => world.bind("umbra", "more", "uma").await,
            "one of its own" => world.bind("acme", "more", "alice").await,
            _ => {}
        }
        for watch in &mut watches {
            assert_eq!(ask(watch).await, Ok(()), "after {after}");
        }
        assert_eq!(world.asked(), asked, "after {after}");
    }
    world.unbind("acme", "reads").await;
    for watch in &mut watches {
        assert_eq!(ask(watch).await, Err(403));
    }
    assert_eq!(world.asked(), 6);
    world.bind("acme", "reads", "paul").await;
    assert_eq!(ask(&mut watches[0]).await, Ok(()));
}

#[tokio::test]
async fn a_tenant_whose_watches_have_many_questions_waits_for_itself() {
    let world = World::new().await;
    let mut noisy: Vec<Standing> = (0..100).map(|at| world.watch("acme", &format!("n-{at}"))).collect();
    for watch in &mut noisy {
        assert!(futures::poll!(futures::future::poll_fn(|context| watch.poll_ask(context))).is_pending());
    }
    assert_eq!(ask(&mut world.watch("umbra", "default")).await, Ok(()), "they are before it, and it waits for none");
    assert_eq!(world.asked(), 1);
    drop(noisy.split_off(10)); // who closes its watch does not wait any more
    for watch in &mut noisy {
        assert_eq!(ask(watch).await, Ok(()));
    }
    assert_eq!(world.asked(), 11);
}
