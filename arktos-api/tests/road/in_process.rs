//! The client in process: the same verbs, the same rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arktos_api::{Claimer, Identity};
use arktos_core::{GroupResource, Object, ObjectKey, Reason, Status, TenantName};
use arktos_store::client::{DeleteOptions, Patch, WatchListEvent};
use arktos_store::{Delivery, Query, Within};
use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::{World, map, pod};

#[tokio::test]
async fn it_creates_lists_watches_patches_and_deletes() {
    let world = World::new().await;
    let client = world.api.client(Identity::system_component("arktos:test"));
    let maps = GroupResource::core("configmaps");
    let acme = TenantName::new("acme").unwrap();
    let query = Query::all(maps.clone(), Within::Tenant(acme.clone()));
    let listing = client.list(&query).await.unwrap();
    assert!(listing.items.is_empty());
    let mut events = client.watch(&query, listing.revision).await.unwrap();
    let made = client.create(&maps, "acme", "default", Object::from_value(map("a")).unwrap()).await.unwrap();
    assert_eq!(made.path.as_str(), "acme/default/a");
    let key = ObjectKey::namespaced(maps.clone(), &acme, "default", "a");
    client.patch(&key, None, Patch::Merge(json!({"data": {"b": "2"}}))).await.unwrap();
    client.delete(&key, DeleteOptions::default()).await.unwrap();
    assert!(client.get(&key).await.unwrap_err().is(Reason::NotFound));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(match events.next().await.unwrap().unwrap() {
            Delivery::Added(_) => "added",
            Delivery::Modified(_) => "modified",
            Delivery::Deleted(_) => "deleted",
            Delivery::Bookmark(_) => "bookmark",
        });
    }
    assert_eq!(seen, ["added", "modified", "deleted"]);
}

#[tokio::test]
async fn components_are_told_which_resources_a_tenant_has_objects_of_and_others_are_not() {
    let world = World::new().await;
    let acme = Within::Tenant(TenantName::new("acme").unwrap());
    let client = world.api.client(Identity::system_component("arktos:test"));
    assert_eq!(client.resources(&acme).await.unwrap(), Some(vec![GroupResource::core("namespaces")]));
    let maps = GroupResource::core("configmaps");
    client.create(&maps, "acme", "default", Object::from_value(map("a")).unwrap()).await.unwrap();
    let there = client.resources(&acme).await.unwrap().unwrap();
    assert_eq!(there, [maps.clone(), GroupResource::core("namespaces")]);
    client
        .delete(
            &ObjectKey::namespaced(maps, &TenantName::new("acme").unwrap(), "default", "a"),
            DeleteOptions::default(),
        )
        .await
        .unwrap();
    assert_eq!(client.resources(&acme).await.unwrap().unwrap().len(), 1, "what has nothing any more is left out");
    let alice = world.api.client(Identity::user("alice", &["system:masters"], &TenantName::new("acme").unwrap()));
    assert_eq!(alice.resources(&acme).await.unwrap(), None);
}

#[tokio::test]
async fn it_streams_the_initial_state_with_its_end() {
    let world = World::new().await;
    let client = world.api.client(Identity::system_component("arktos:test"));
    let maps = GroupResource::core("configmaps");
    for (tenant, name) in [("acme", "a"), ("umbra", "b")] {
        client.create(&maps, tenant, "default", Object::from_value(map(name)).unwrap()).await.unwrap();
    }
    let mut events = client.watch_list(&Query::everywhere(maps.clone())).await.unwrap();
    let mut seen = Vec::new();
    let revision = loop {
        match events.next().await.unwrap().unwrap() {
            WatchListEvent::Delivery(Delivery::Added(stored)) => seen.push(stored.path.to_string()),
            WatchListEvent::Delivery(other) => panic!("{other:?}"),
            WatchListEvent::InitialEnd(revision) => break revision,
        }
    };
    assert_eq!(seen, ["acme/default/a", "umbra/default/b"]);
    let made = client.create(&maps, "acme", "default", Object::from_value(map("c")).unwrap()).await.unwrap();
    assert!(made.revision > revision);
    let told = events.next().await.unwrap().unwrap();
    let WatchListEvent::Delivery(Delivery::Added(told)) = told else { panic!("{told:?}") };
    assert_eq!(*told, made);
    let (snapshot, within) = (world.engine.snapshot(), Within::Object(made.path));
    let stored = snapshot.range(&maps, &within, None).next().unwrap();
    assert!(Arc::ptr_eq(&told, &stored), "whoever follows shares what the store has");
    let umbra = TenantName::new("umbra").unwrap();
    let client = world.api.client(Identity::user("uma", &["system:masters"], &umbra));
    let refused = client.watch_list(&Query::everywhere(maps)).await.map(drop);
    assert!(refused.unwrap_err().is(Reason::Forbidden));
}

#[tokio::test]
async fn it_is_authorized_as_over_http() {
    let world = World::new().await;
    let umbra = TenantName::new("umbra").unwrap();
    let client = world.api.client(Identity::user("uma", &["system:masters"], &umbra));
    let maps = GroupResource::core("configmaps");
    let refused = client.create(&maps, "acme", "default", Object::from_value(map("a")).unwrap()).await;
    assert!(refused.unwrap_err().is(Reason::Forbidden));
    assert!(client.list(&Query::everywhere(maps.clone())).await.unwrap_err().is(Reason::Forbidden));
    assert!(client.list(&Query::everywhere(GroupResource::core("nodes"))).await.unwrap_err().is(Reason::Forbidden));
    assert!(client.create(&maps, "umbra", "default", Object::from_value(map("a")).unwrap()).await.is_ok());
}

#[tokio::test]
async fn it_binds_and_selects_by_the_control_planes_notes() {
    let world = World::new().await;
    let client = world.api.client(Identity::system_component("arktos:scheduler"));
    let pods = GroupResource::core("pods");
    let acme = TenantName::new("acme").unwrap();
    client.create(&pods, "acme", "default", Object::from_value(pod("a")).unwrap()).await.unwrap();
    let key = ObjectKey::namespaced(pods.clone(), &acme, "default", "a");
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": "a", "annotations": {"arktos.io/claim": "rm-0/c1"}},
        "target": {"kind": "Node", "name": "n1"},
    });
    client.post(&key, "binding", Object::from_value(binding).unwrap()).await.unwrap();
    let stored = client.get(&key).await.unwrap();
    assert_eq!(stored.object.header().note("claim"), Some("rm-0/c1"));
    let shown = world.get("acme", "/api/v1/namespaces/default/pods/a").await.body;
    assert_eq!(shown["metadata"]["annotations"], json!(null));
    assert_eq!(shown["metadata"]["arktosNotes"], json!(null));
    let query = Query::everywhere(pods).field("arktos.resourceManager", "rm-0");
    assert_eq!(client.list(&query).await.unwrap().items.len(), 1);
    let path = "/api/v1/namespaces/default/pods?fieldSelector=arktos.resourceManager=rm-0";
    assert_eq!(world.get("acme", path).await.code, 400);
}

#[tokio::test]
async fn a_binding_adds_what_it_says_to_its_pod_and_leaves_all_else_as_it_was() {
    let world = World::new().await;
    let client = world.api.client(Identity::system_component("arktos:scheduler"));
    let (pods, acme) = (GroupResource::core("pods"), TenantName::new("acme").unwrap());
    let mut made = Object::from_value(pod("a")).unwrap();
    made.set(&["metadata", "labels"], json!({"app": "web", "zone": "unknown"}));
    made.set(&["metadata", "annotations"], json!({"note": "\"spec\":{\u{e9}}"}));
    client.create(&pods, "acme", "default", made).await.unwrap();
    let key = ObjectKey::namespaced(pods.clone(), &acme, "default", "a");
    let mut expected = client.get(&key).await.unwrap().object.decode(None).unwrap();
    let binding = json!({
        "metadata": {"name": "a", "annotations": {"by": "me"}, "labels": {"zone": "z1"}},
        "target": {"kind": "Node", "name": "n1"},
    });
    client.post(&key, "binding", Object::from_value(binding).unwrap()).await.unwrap();
    let stored = client.get(&key).await.unwrap().object;
    let bound = stored.decode(None).unwrap();
    let conditions = bound.at(&["status", "conditions"]).unwrap().clone();
    assert_eq!((&conditions[0]["type"], &conditions[0]["status"]), (&json!("PodScheduled"), &json!("True")));
    expected.set(&["metadata", "labels", "zone"], "z1");
    expected.set(&["metadata", "annotations", "by"], "me");
    expected.set(&["spec", "nodeName"], "n1");
    expected.set(&["status", "conditions"], conditions);
    assert_eq!(bound, expected);
    assert_eq!((stored.header().label("app"), stored.header().label("zone")), (Some("web"), Some("z1")));
    for (field, found) in [("spec.nodeName=n1", 1), ("spec.nodeName=", 0)] {
        let (name, value) = field.split_once('=').unwrap();
        let query = Query::everywhere(pods.clone()).field(name, value);
        assert_eq!(client.list(&query).await.unwrap().items.len(), found, "{field}");
    }
}

/// Counts what is claimed.
#[derive(Default)]
struct Counted(AtomicUsize);

#[async_trait]
impl Claimer for Counted {
    async fn claim(&self, _: &TenantName, _: &Object) -> Result<String, Status> {
        Ok(format!("rm-0/c{}", self.0.fetch_add(1, Ordering::SeqCst)))
    }
}

#[tokio::test]
async fn a_binding_that_is_tried_or_refused_claims_nothing() {
    let claimer = Arc::new(Counted::default());
    let world = World::with(|config| config.claimer = Some(claimer.clone())).await;
    let made = world.post("acme", "/api/v1/namespaces/default/pods", pod("a")).await.body;
    let path = "/api/v1/namespaces/default/pods/a/binding";
    let target = json!({"kind": "Node", "name": "n1"});
    let binding = |revision: &Value| json!({"metadata": {"name": "a", "resourceVersion": revision}, "target": target});
    let revision = &made["metadata"]["resourceVersion"];
    let tried = world.post("acme", &format!("{path}?dryRun=All"), binding(revision)).await;
    let refused = world.post("acme", path, binding(&json!("1"))).await;
    assert_eq!((tried.code, refused.code), (201, 409), "{}", refused.body);
    assert_eq!(claimer.0.load(Ordering::SeqCst), 0);
    assert_eq!(world.post("acme", path, binding(revision)).await.code, 201);
    assert_eq!(claimer.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_pod_that_cannot_be_made_on_a_host_claims_nothing() {
    let claimer = Arc::new(Counted::default());
    let world = World::with(|config| config.claimer = Some(claimer.clone())).await;
    let mut on_host = pod("a");
    on_host["spec"]["nodeName"] = json!("n1");
    let path = "/api/v1/namespaces/default/pods";
    for code in [201, 409, 409] {
        assert_eq!(world.post("acme", path, on_host.clone()).await.code, code);
        assert_eq!(claimer.0.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_pod_that_was_resized_since_its_place_was_found_is_not_bound_to_it() {
    let world = World::new().await;
    let asking = |cpu: &str| {
        let mut pod = pod("a");
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}, "limits": {"cpu": "4"}});
        pod
    };
    let path = "/api/v1/namespaces/default/pods";
    let made = world.post("acme", path, asking("1")).await.body;
    let binding = json!({
        "metadata": {"name": "a", "generation": made["metadata"]["generation"]},
        "target": {"kind": "Node", "name": "n1"},
    });
    let resized = world.patch("acme", &format!("{path}/a/resize"), asking("3")).await;
    assert_eq!(resized.code, 200, "{}", resized.body);
    let refused = world.post("acme", &format!("{path}/a/binding"), binding.clone()).await;
    assert_eq!(refused.code, 409, "{}", refused.body);
    let meta = json!({"name": "a", "generation": resized.body["metadata"]["generation"]});
    let newer = json!({"metadata": meta, "target": binding["target"]});
    assert_eq!(world.post("acme", &format!("{path}/a/binding"), newer).await.code, 201);
}

#[tokio::test]
async fn a_pod_on_a_host_does_not_outgrow_its_claim() {
    let world = World::with(|config| config.claimer = Some(Arc::new(Counted::default()))).await;
    let asking = |cpu: &str| {
        let mut pod = pod("a");
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}, "limits": {"cpu": "4"}});
        pod
    };
    let mut on_host = asking("1");
    on_host["spec"]["nodeName"] = json!("n1");
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", on_host).await.code, 201);
    let path = "/api/v1/namespaces/default/pods/a/resize";
    for (cpu, code) in [("1", 200), ("1500m", 403), ("500m", 200)] {
        let resized = world.patch("acme", path, asking(cpu)).await;
        assert_eq!(resized.code, code, "{cpu}: {}", resized.body);
    }
}

#[tokio::test]
async fn nothing_is_bound_under_a_claim_that_has_ended() {
    let world = World::new().await;
    let client = world.api.client(Identity::system_component("arktos:scheduler"));
    let pods = GroupResource::core("pods");
    let acme = TenantName::new("acme").unwrap();
    client.create(&pods, "acme", "default", Object::from_value(pod("a")).unwrap()).await.unwrap();
    let fence = json!({"apiVersion": "region.arktos.io/v1", "kind": "ClaimFence", "metadata": {"name": "c1"}});
    let fences = GroupResource::new("region.arktos.io", "claimfences");
    client.create(&fences, "", "", Object::from_value(fence).unwrap()).await.unwrap();
    let key = ObjectKey::namespaced(pods, &acme, "default", "a");
    let binding = |claim: &str| {
        Object::from_value(json!({
            "metadata": {"name": "a", "annotations": {"arktos.io/claim": claim}},
            "target": {"kind": "Node", "name": "n1"},
        }))
        .unwrap()
    };
    let refused = client.post(&key, "binding", binding("rm-0/c1")).await.unwrap_err();
    assert!(refused.is(Reason::Conflict), "{refused:?}");
    assert_eq!(client.get(&key).await.unwrap().object.header().notes().len(), 0);
    client.post(&key, "binding", binding("rm-0/c2")).await.unwrap();
}

#[tokio::test]
async fn a_scheduler_binds_in_its_own_term_and_in_no_other() {
    let world = World::new().await;
    let client = world.api.client(Identity::system_component("arktos:scheduler"));
    let (pods, leases) = (GroupResource::core("pods"), GroupResource::new("coordination.k8s.io", "leases"));
    let acme = TenantName::new("acme").unwrap();
    let lease = |holder: &str, transitions: u32| {
        Object::from_value(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
            "spec": {"holderIdentity": holder, "leaseTransitions": transitions},
        }))
        .unwrap()
    };
    client.create(&leases, "system", "kube-system", lease("one", 3)).await.unwrap();
    let bind = async |pod_name: &str, term: &str| {
        client.create(&pods, "acme", "default", Object::from_value(pod(pod_name)).unwrap()).await.unwrap();
        let binding = Object::from_value(json!({
            "metadata": {"name": pod_name, "annotations": {"arktos.io/claim": "rm-0/c1", "arktos.io/term": term}},
            "target": {"kind": "Node", "name": "n1"},
        }));
        let key = ObjectKey::namespaced(pods.clone(), &acme, "default", pod_name);
        let outcome = client.post(&key, "binding", binding.unwrap()).await;
        let annotations = client.get(&key).await.unwrap().object.decode(None).unwrap();
        assert_eq!(annotations.at(&["metadata", "annotations"]), None);
        outcome.map(drop)
    };
    bind("a", "kube-scheduler/3/one").await.unwrap();
    for (pod, term) in [("b", "kube-scheduler/2/one"), ("c", "kube-scheduler/3/two"), ("d", "other/3/one")] {
        let refused = bind(pod, term).await.unwrap_err();
        assert!(refused.is(Reason::Conflict) && refused.message.contains("is over"), "{refused:?}");
    }
    assert!(bind("e", "nonsense").await.unwrap_err().is(Reason::BadRequest));
    let key = ObjectKey::namespaced(leases, &TenantName::system(), "kube-system", "kube-scheduler");
    let mut taken = lease("two", 4);
    taken.set(&["metadata", "resourceVersion"], client.get(&key).await.unwrap().revision.to_string());
    client.update(&key, None, taken).await.unwrap();
    assert!(bind("f", "kube-scheduler/3/one").await.unwrap_err().is(Reason::Conflict));
    bind("g", "kube-scheduler/4/two").await.unwrap();
}

#[tokio::test]
async fn tenants_cannot_name_claims() {
    let world = World::new().await;
    world.post("acme", "/api/v1/namespaces/default/pods", pod("a")).await;
    let binding = json!({
        "metadata": {"name": "a", "annotations": {"arktos.io/claim": "rm-0/mine"}},
        "target": {"kind": "Node", "name": "n1"},
    });
    let refused = world.post("acme", "/api/v1/namespaces/default/pods/a/binding", binding).await;
    assert_eq!(refused.code, 403);
}

#[tokio::test]
async fn it_applies_as_over_http() {
    let world = World::new().await;
    let client = world.api.client(Identity::system_component("arktos:test"));
    let acme = TenantName::new("acme").unwrap();
    let key = ObjectKey::namespaced(GroupResource::core("configmaps"), &acme, "default", "a");
    let apply = |manager: &str, value: &str, force| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": value}});
        client.patch(&key, None, Patch::Apply { config, manager: manager.to_owned(), force })
    };
    apply("one", "1", false).await.expect("is made");
    apply("one", "2", false).await.expect("is its own");
    let refused = apply("two", "3", false).await.unwrap_err();
    assert!(refused.is(Reason::Conflict), "{refused:?}");
    assert_eq!(apply("", "3", false).await.unwrap_err().code, 422);
    let stored = apply("two", "3", true).await.expect("is taken");
    let object = stored.object.decode(None).unwrap();
    assert_eq!(object.str_at(&["data", "x"]), "3");
    let answer = world.get("acme", "/api/v1/namespaces/default/configmaps/a").await;
    let managers = answer.body["metadata"]["managedFields"].as_array().unwrap();
    let two = managers.iter().find(|entry| entry["manager"] == "two").unwrap();
    assert_eq!((&two["operation"], managers.len()), (&json!("Apply"), 1));
}
