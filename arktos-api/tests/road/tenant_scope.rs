//! Definitions with Arktos's scope `Tenant`: kinds that a tenant has without a namespace.

use serde_json::{Value, json};

use crate::World;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition(scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "regimes.example.org"},
        "spec": {
            "group": "example.org", "scope": scope,
            "names": {"plural": "regimes", "kind": "Regime", "shortNames": ["rg"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"size": {"type": "integer"}},
            }}}],
        },
    })
}

fn regime(size: i64) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Regime", "metadata": {"name": "same"}, "size": size})
}

#[tokio::test]
async fn objects_are_the_tenants_own_on_every_form_of_path() {
    let world = World::new().await;
    // What the one has without a namespace, the other has in one.
    assert_eq!(world.post("acme", DEFINITIONS, definition("Tenant")).await.code, 201);
    assert_eq!(world.post("umbra", DEFINITIONS, definition("Namespaced")).await.code, 201);
    assert_eq!(world.post("acme", "/apis/example.org/v1/regimes", regime(1)).await.code, 201);
    let (of_umbra, in_namespace) =
        ("/apis/example.org/v1/regimes/same", "/apis/example.org/v1/namespaces/default/regimes");
    assert_eq!(world.post("umbra", in_namespace, regime(2)).await.code, 201);
    for path in [
        "/apis/example.org/v1/regimes/same",
        "/apis/example.org/v1/tenants/acme/regimes/same",
        "/tenants/acme/apis/example.org/v1/regimes/same",
    ] {
        let one = world.get("acme", path).await;
        assert_eq!((one.code, &one.body["size"]), (200, &json!(1)), "{path}");
        assert_eq!(one.body["metadata"].get("namespace"), None);
        let tenant = (!path.starts_with("/tenants/")).then_some(json!("acme"));
        assert_eq!(one.body["metadata"].get("tenant"), tenant.as_ref(), "{path}");
    }
    assert_eq!(world.get("acme", in_namespace).await.code, 404);
    assert_eq!(world.get("umbra", of_umbra).await.code, 404);
    assert_eq!(world.get("umbra", "/apis/example.org/v1/tenants/acme/regimes/same").await.code, 403);
    let all = world.get("root", "/apis/example.org/v1/tenants/all/regimes").await;
    assert_eq!(all.code, 404, "`system` has no such kind");
    let watched = world.get("acme", "/apis/example.org/v1/regimes?fieldSelector=metadata.name%3Dsame").await;
    assert_eq!(watched.body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.delete("acme", "/apis/example.org/v1/regimes/same").await.code, 200);
    assert_eq!(world.get("umbra", &format!("{in_namespace}/same")).await.body["size"], 2);
}

#[tokio::test]
async fn discovery_and_openapi_say_what_they_say_of_scope_cluster() {
    let world = World::new().await;
    assert_eq!(world.post("acme", DEFINITIONS, definition("Tenant")).await.code, 201);
    assert_eq!(world.post("umbra", DEFINITIONS, definition("Cluster")).await.code, 201);
    for path in ["/apis/example.org/v1", "/openapi/v3/apis/example.org/v1", "/apis/example.org"] {
        let (acme, umbra) = (world.get("acme", path).await, world.get("umbra", path).await);
        assert_eq!(acme.code, 200, "{path}");
        assert_eq!(acme.body, umbra.body, "{path}");
    }
    let resources = world.get("acme", "/apis/example.org/v1").await.body;
    assert_eq!(
        (&resources["resources"][0]["name"], &resources["resources"][0]["namespaced"]),
        (&json!("regimes"), &json!(false))
    );
    let stored = world.get("acme", &format!("{DEFINITIONS}/regimes.example.org")).await.body;
    assert_eq!(stored["spec"]["scope"], "Tenant", "it stays as it was written");
}

#[tokio::test]
async fn other_scopes_are_refused_in_upstreams_words() {
    let world = World::new().await;
    let refused = world.post("acme", DEFINITIONS, definition("Region")).await;
    assert_eq!(refused.code, 422);
    let message = refused.body["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(r#"spec.scope: Unsupported value: "Region": supported values: "Cluster", "Namespaced""#),
        "{message}"
    );
}
