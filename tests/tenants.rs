//! Tenants of a whole control plane in process.

use std::sync::Arc;

use arktos::core::{GroupResource, ObjectKey, ObjectPath, TypeMeta};
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
        let pod = loop {
            match make_pod(&admin, &acme, namespace).await {
                Ok(pod) => break pod,
                Err(_) => tokio::task::yield_now().await, // it is yet to be given what every tenant has
            }
        };
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
