//! Objects that must exist before the first request.

use arktos_core::{GroupResource, Object, ObjectKey, Reason, Status, TenantName, TypeMeta};
use arktos_store::{Client, Stored};
use serde_json::{Value, json};

use crate::config::Role;
use crate::identity::Identity;
use crate::server::ApiServer;

/// Makes the tenant `system`, its namespaces, and the service under which the API is found. What is there stays.
pub(crate) async fn run(server: &ApiServer) -> Result<(), Status> {
    let client = server.client(Identity::system_component("arktos:bootstrap"));
    let system = TenantName::system();
    made(client.create(&GroupResource::core("tenants"), "", "", object("", "v1", "Tenant", system.as_str())).await)?;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace = object("", "v1", "Namespace", name);
        made(client.create(&GroupResource::core("namespaces"), system.as_str(), "", namespace).await)?;
    }
    if server.0.config.role == Role::Partition {
        service(server, &*client).await?;
    }
    Ok(())
}

/// A create, of which it is fine that it was done before.
fn made(result: Result<Stored, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.is(Reason::AlreadyExists) => Ok(()),
        result => result.map(|_| ()),
    }
}

fn object(group: &str, version: &str, kind: &str, name: &str) -> Object {
    Object::new(&TypeMeta::new(group, version, kind), name)
}

/// `default/kubernetes`, at the first address of the range, with the endpoints that lead here.
async fn service(server: &ApiServer, client: &dyn Client) -> Result<(), Status> {
    let config = &server.0.config;
    let address = config.service_cidr.address(0).to_string();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let endpoint = config.endpoint.unwrap_or(config.advertise);
    let port = endpoint.port();
    let mut service = object("", "v1", "Service", "kubernetes");
    service.set(&["metadata", "labels"], labels);
    let ports = json!([{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]);
    let spec = json!({"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": ports});
    service.fields.insert("spec".to_owned(), spec);
    let system = TenantName::SYSTEM;
    let services = GroupResource::core("services");
    let key = ObjectKey::namespaced(services.clone(), &TenantName::system(), "default", "kubernetes");
    let created = client.create(&services, system, "default", service).await;
    // Where it is there, its address is taken.
    if created.is_err() && client.get(&key).await.is_err() {
        made(created)?;
    }

    // A server that only this machine can reach is no endpoint: no pod could follow it.
    if endpoint.ip().is_loopback() || endpoint.ip().is_unspecified() {
        return Ok(());
    }
    let mut slice = object("discovery.k8s.io", "v1", "EndpointSlice", "kubernetes");
    slice.set(&["metadata", "labels"], json!({"kubernetes.io/service-name": "kubernetes"}));
    slice.set(&["addressType"], if endpoint.is_ipv4() { "IPv4" } else { "IPv6" });
    let addresses = json!([endpoint.ip().to_string()]);
    slice.fields.insert("endpoints".to_owned(), json!([{"addresses": addresses, "conditions": {"ready": true}}]));
    let ports = json!([{"name": "https", "protocol": "TCP", "port": port}]);
    slice.fields.insert("ports".to_owned(), ports.clone());
    let slices = GroupResource::new("discovery.k8s.io", "endpointslices");
    made(client.create(&slices, system, "default", slice).await)?;

    let mut endpoints = object("", "v1", "Endpoints", "kubernetes");
    endpoints.set(&["metadata", "labels"], json!({"endpointslice.kubernetes.io/skip-mirror": "true"}));
    let subsets: Value = json!([{"addresses": [{"ip": endpoint.ip().to_string()}], "ports": ports}]);
    endpoints.fields.insert("subsets".to_owned(), subsets);
    let resource = GroupResource::core("endpoints");
    made(client.create(&resource, system, "default", endpoints).await)
}
