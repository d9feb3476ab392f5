//! Definitions of `system` that are forced on all tenants: what Arktos's suite `crd/test_system_share_crd` is about,
//! and what it leaves out (watches, definitions that tenants had before, the end of one).

use arktos_api::Identity;
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, TenantName};
use arktos_store::client::{DeleteOptions, WatchListEvent};
use arktos_store::{Delivery, Query, Within};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::World;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OF_ACME: &str = "/apis/apiextensions.k8s.io/v1/tenants/acme/customresourcedefinitions";
const GADGET: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.example.org";
const GADGETS: &str = "/apis/example.org/v1/namespaces/default/gadgets";

/// A definition whose objects have a size of this type.
fn definition(policy: Option<&str>, size: &str) -> Value {
    let mut made = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"size": {"type": size}},
            }}}],
        },
    });
    if let Some(policy) = policy {
        made["metadata"]["labels"] = json!({"arktos.futurewei.com/crd-sharing-policy": policy});
    }
    made
}

fn gadget(name: &str, size: Value) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": name}, "size": size})
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn test_system_share_crd_every_tenant_has_it_and_objects_of_its_own() {
    let world = World::new().await;
    for (token, path) in [("acme", DEFINITIONS), ("umbra", DEFINITIONS)] {
        assert_eq!(names(&world.get(token, path).await.body), Vec::<String>::new());
    }
    assert_eq!(world.post("root", DEFINITIONS, definition(Some("forced"), "integer")).await.code, 201);
    for token in ["acme", "umbra"] {
        assert_eq!(names(&world.get(token, DEFINITIONS).await.body), ["gadgets.example.org"]);
        let one = world.get(token, GADGET).await;
        assert_eq!((one.code, &one.body["metadata"]["tenant"]), (200, &json!(token)));
        assert!(world.get(token, "/apis").await.body.to_string().contains("example.org"));
        assert_eq!(world.get(token, "/openapi/v3/apis/example.org/v1").await.code, 200);
        assert_eq!(world.post(token, GADGETS, gadget(&format!("of-{token}"), json!(1))).await.code, 201);
        assert_eq!(world.post(token, GADGETS, gadget("odd", json!("x"))).await.code, 422, "the schema is system's");
        assert_eq!(names(&world.get(token, GADGETS).await.body), [format!("of-{token}")]);
    }
    assert_eq!(names(&world.get("root", OF_ACME).await.body), ["gadgets.example.org"], "whoever looks sees one view");
    let all = world.get("root", "/apis/example.org/v1/tenants/all/gadgets").await;
    assert_eq!(names(&all.body), ["of-acme", "of-umbra"]);
}

#[tokio::test]
async fn test_system_share_crd_one_that_is_not_forced_stays_in_system() {
    let world = World::new().await;
    world.post("root", DEFINITIONS, definition(None, "integer")).await;
    assert_eq!(world.get("acme", GADGET).await.code, 404);
    assert_eq!(world.get("acme", GADGETS).await.code, 404);
    // A tenant's own label shares nothing.
    world.delete("root", GADGET).await;
    assert_eq!(world.post("acme", DEFINITIONS, definition(Some("forced"), "integer")).await.code, 201);
    assert_eq!(world.get("umbra", GADGETS).await.code, 404);
    assert_eq!(world.get("umbra", GADGET).await.code, 404);
}

#[tokio::test]
async fn test_system_share_crd_tenants_can_neither_change_nor_delete_it() {
    let world = World::new().await;
    world.post("root", DEFINITIONS, definition(Some("forced"), "integer")).await;
    let overwritten = "gadgets.example.org is a system CRD, you cannot overwrite it.";
    for policy in [Some("forced"), None] {
        let refused = world.post("acme", DEFINITIONS, definition(policy, "string")).await;
        assert_eq!((refused.code, refused.body["message"].as_str()), (403, Some(overwritten)));
    }
    let refused = world.patch("acme", GADGET, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!((refused.code, refused.body["message"].as_str()), (403, Some(overwritten)));
    let refused = world.delete("acme", GADGET).await;
    let message = "Forbidden: gadgets.example.org is a system CRD, it can only be deleted by a cluster admin.";
    assert_eq!((refused.code, refused.body["message"].as_str()), (403, Some(message)));
    assert_eq!(world.delete("acme", DEFINITIONS).await.code, 200, "there is nothing of its own to delete");
    assert_eq!(world.get("acme", GADGET).await.code, 200);
}

#[tokio::test]
async fn test_system_share_crd_no_group_name_makes_a_tenant_s_user_a_component_that_sees_past_it() {
    let world = World::new().await;
    world.post("root", DEFINITIONS, definition(Some("forced"), "integer")).await;
    let groups = ["system:masters", "arktos:components"];
    let client = world.api.client(Identity::user("mallory", &groups, &TenantName::new("acme").unwrap()));
    let resource = GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions");
    let own = Object::from_value(definition(None, "string")).unwrap();
    let refused = client.create(&resource, "acme", "", own).await.unwrap_err();
    assert!(refused.is(Reason::Forbidden), "{refused}");
    let acme = TenantName::new("acme").unwrap();
    let key = ObjectKey::tenant_scoped(resource, &acme, "gadgets.example.org");
    assert_eq!(
        client.get(&key).await.unwrap().object.header().label("arktos.futurewei.com/crd-sharing-policy"),
        Some("forced")
    );
    assert!(client.delete(&key, DeleteOptions::default()).await.unwrap_err().is(Reason::Forbidden));
}

#[tokio::test]
async fn test_system_share_crd_it_goes_before_one_that_a_tenant_had_and_gives_way_when_it_ends() {
    let world = World::new().await;
    tokio::spawn(world.api.clone().look_after(|_| {}));
    world.post("acme", DEFINITIONS, definition(None, "string")).await;
    assert_eq!(world.post("acme", GADGETS, gadget("old", json!("x"))).await.code, 201);
    world.post("root", DEFINITIONS, definition(Some("forced"), "integer")).await;
    assert_eq!(names(&world.get("acme", DEFINITIONS).await.body), ["gadgets.example.org"], "once, not twice");
    assert_eq!(world.post("acme", GADGETS, gadget("new", json!(1))).await.code, 201);
    assert_eq!(world.post("umbra", GADGETS, gadget("gone", json!(1))).await.code, 201);
    let kept = world.patch("root", GADGET, json!({"metadata": {"labels": null}})).await;
    assert_eq!(kept.code, 403, "objects of tenants would be left behind: {}", kept.body);
    assert_eq!(world.delete("root", GADGET).await.code, 200);
    for _ in 0..200 {
        world.advance(1);
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get("root", GADGET).await.code, 404);
    assert_eq!(world.get("umbra", GADGETS).await.code, 404);
    let of_umbra = Within::Tenant(TenantName::new("umbra").unwrap());
    let gadgets = GroupResource::new("example.org", "gadgets");
    assert_eq!(world.engine.snapshot().count(&gadgets, &of_umbra), 0, "its objects go along");
    assert_eq!(names(&world.get("acme", GADGETS).await.body), ["new", "old"], "and what a tenant defines itself stays");
    assert_eq!(world.post("acme", GADGETS, gadget("again", json!("x"))).await.code, 201);
}

#[tokio::test]
async fn test_system_share_crd_watches_see_what_lists_see() {
    let world = World::new().await;
    world.post("acme", DEFINITIONS, definition(None, "string")).await;
    let alice = Identity::user("alice", &["system:masters"], &TenantName::new("umbra").unwrap());
    let client = world.api.client(alice);
    let resource = GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions");
    let umbra = TenantName::new("umbra").unwrap();
    let mut all = client.watch_list(&Query::all(resource.clone(), Within::Tenant(umbra))).await.unwrap();
    let one = Query::object(resource.clone(), ObjectPath::new("umbra", "", "gadgets.example.org"));
    let mut one = client.watch_list(&one).await.unwrap();
    for events in [&mut all, &mut one] {
        let first = events.next().await.unwrap().unwrap();
        assert!(matches!(first, WatchListEvent::InitialEnd(_)), "another tenant's is none of its business: {first:?}");
    }
    world.post("root", DEFINITIONS, definition(Some("forced"), "integer")).await;
    for events in [&mut all, &mut one] {
        let WatchListEvent::Delivery(Delivery::Added(stored)) = events.next().await.unwrap().unwrap() else {
            panic!("a forced definition is new to every tenant")
        };
        assert_eq!(stored.path.as_str(), "umbra//gadgets.example.org");
    }
    world.delete("root", GADGET).await;
    tokio::spawn(world.api.clone().look_after(|_| {}));
    world.advance(1);
    let gone = async {
        while !matches!(all.next().await.unwrap().unwrap(), WatchListEvent::Delivery(Delivery::Deleted(_))) {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.expect("the end is told");
    let late = client.watch_list(&Query::all(resource, Within::Tenant(TenantName::new("umbra").unwrap()))).await;
    assert!(matches!(late.unwrap().next().await.unwrap().unwrap(), WatchListEvent::InitialEnd(_)));
}
