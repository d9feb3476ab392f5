//! Tenants of a whole control plane in process.

use std::sync::Arc;
use std::time::Duration;

use arktos::control::NetworkTemplate;
use arktos::core::{GroupResource, ObjectKey, ObjectPath, TypeMeta};
use arktos::store::client::DeleteOptions;
use arktos::store::{Query, Within};
use arktos::{Client, ControlPlane, Identity, Object, Status, TenantName};
use serde_json::{Value, json};

fn name(name: &str) -> TenantName {
    TenantName::new(name).expect("a name")
}

async fn make(
    client: &Arc<dyn Client>,
    tenant: &TenantName,
    namespace: &str,
    (kind, resource): (TypeMeta, GroupResource),
    (field, value): (&str, Value),
) -> Result<Object, Status> {
    let mut object = Object::new(&kind, "first");
    object.set(&[field], value);
    let made = client.create(&resource, tenant.as_str(), namespace, object).await?;
    Ok(made.object.decode(None).expect("decodes"))
}

async fn make_pod(client: &Arc<dyn Client>, tenant: &TenantName, namespace: &str) -> Result<Object, Status> {
    let pod = (TypeMeta::new("", "v1", "Pod"), GroupResource::core("pods"));
    let spec = json!({"containers": [{"name": "main", "image": "main"}]});
    make(client, tenant, namespace, pod, ("spec", spec)).await
}

/// Asks until the answer is the one that is waited for, and gives up where that never comes.
async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let asks = async {
        loop {
            match ask().await {
                Some(found) => break found,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asks).await.expect("it comes within a minute")
}

/// Nobody does anything for it but to make it.
#[tokio::test]
async fn a_new_tenant_can_be_used_by_its_administrator_and_by_no_other() {
    let plane = ControlPlane::builder().start().await.expect("it starts");
    let region = plane.client(Identity::system_component("administrator"));
    let acme = name("acme");
    let tenant = Object::new(&TypeMeta::new("", "v1", "Tenant"), acme.as_str());
    region.create(&GroupResource::core("tenants"), "", "", tenant).await.expect("it is made");

    let admin = plane.client(Identity::user("admin", &[], &acme));
    for namespace in ["default", "kube-system", "kube-public"] {
        // It is yet to be given what every tenant has.
        let pod = until(async || make_pod(&admin, &acme, namespace).await.ok()).await;
        assert_eq!(pod.at(&["spec", "serviceAccountName"]), Some(&json!("default")), "{namespace}");
    }
    let group = "rbac.authorization.k8s.io";
    let role = (TypeMeta::new(group, "v1", "ClusterRole"), GroupResource::new(group, "clusterroles"));
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    make(&admin, &acme, "", role, ("rules", rules)).await.expect("it manages its roles");
    let own = Query::all(GroupResource::core("pods"), Within::Tenant(acme.clone()));
    assert_eq!(admin.list(&own).await.expect("it lists").items.len(), 3);

    // Its programs find the API where those of `system` do.
    let service = |tenant: &TenantName| {
        let path = ObjectPath::new(tenant.as_str(), "default", "kubernetes");
        ObjectKey { resource: GroupResource::core("services"), path }
    };
    let spec = async |tenant| {
        let found = region.get(&service(tenant)).await.expect("it is there").object;
        found.decode(None).expect("decodes").at(&["spec"]).cloned()
    };
    assert_eq!(spec(&acme).await, spec(&TenantName::system()).await);

    let stranger = plane.client(Identity::user("admin", &[], &name("globex")));
    make_pod(&stranger, &acme, "default").await.expect_err("the administrator of another tenant");
    assert_eq!(admin.list(&own).await.expect("it lists").items.len(), 3);
    plane.stop().await;
}

/// As Arktos's tenant controller does with a template; the definition may come later than the tenant.
#[tokio::test]
async fn a_tenant_is_given_the_network_of_the_template() {
    let text = r#"{"apiVersion": "arktos.futurewei.com/v1", "kind": "Network", "metadata": {"name": "default"},
                   "spec": {"type": "vpc", "vpcID": "{{.}}-default"}}"#;
    let template = NetworkTemplate::new(text).expect("a template");
    let acme = name("acme");
    let plane = ControlPlane::builder().tenant(&acme).network(template).start().await.expect("it starts");
    let region = plane.client(Identity::system_component("administrator"));
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "networks.arktos.futurewei.com",
            "labels": {"arktos.futurewei.com/crd-sharing-policy": "forced"}},
        "spec": {"group": "arktos.futurewei.com", "scope": "Tenant", "names": {"plural": "networks", "kind": "Network"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "type": {"type": "string"}, "vpcID": {"type": "string"}}}}}}}]},
    });
    let definitions = GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions");
    let definition = Object::from_value(definition).expect("an object");
    region.create(&definitions, "system", "", definition).await.expect("it is made");

    let admin = plane.client(Identity::user("admin", &[], &acme));
    let networks = GroupResource::new("arktos.futurewei.com", "networks");
    let key = |tenant: &TenantName| ObjectKey {
        resource: networks.clone(),
        path: ObjectPath::new(tenant.as_str(), "", "default"),
    };
    let network = until(async || admin.get(&key(&acme)).await.ok()).await.object.decode(None).expect("decodes");
    assert_eq!(network.at(&["spec"]), Some(&json!({"type": "vpc", "vpcID": "acme-default"})));

    let tenants = GroupResource::core("tenants");
    let tenant = ObjectKey { resource: tenants, path: ObjectPath::new("", "", acme.as_str()) };
    region.delete(&tenant, DeleteOptions::default()).await.expect("it is deleted");
    until(async || region.get(&tenant).await.err()).await;
    let left = region.list(&Query::all(networks.clone(), Within::Everywhere)).await.expect("a list");
    let tenants: Vec<&str> = left.items.iter().map(|network| network.path.tenant()).collect();
    assert_eq!(tenants, ["system"], "that of the tenant is gone with it");
    plane.stop().await;
}
