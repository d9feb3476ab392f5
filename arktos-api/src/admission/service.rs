//! Where a service of a tenant is to be found, for webhooks that are behind one.

use std::net::{IpAddr, SocketAddr};

use arktos_core::{GroupResource, Object, ObjectKey, TenantName};
use arktos_store::{Snapshot, Within};
use serde_json::Value;

/// A service's port, or what says that it cannot be found.
pub(crate) struct Place {
    /// Its URL.
    pub(crate) url: String,
    /// The address of one of its ready endpoints, where the URL does not say it; or what of it is not there.
    pub(crate) address: Result<Option<SocketAddr>, String>,
}

/// Where the port of a service is.
pub(crate) fn locate(snapshot: &Snapshot, tenant: Option<&TenantName>, reference: &Value) -> Place {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (name, namespace) = (text("name"), text("namespace"));
    let port = reference["port"].as_i64().unwrap_or(443);
    let path = text("path").trim_start_matches('/');
    let at = |host: &str| format!("https://{host}:{port}/{path}");
    let place = |address| Place { url: at(&format!("{name}.{namespace}.svc")), address };
    let missing = || place(Err(format!("service {name:?} not found")));
    if name.is_empty() || name.contains('/') || namespace.contains('/') {
        return missing();
    }
    let Some(tenant) = tenant else { return missing() };
    let key = ObjectKey::namespaced(GroupResource::core("services"), tenant, namespace, name);
    let service = snapshot.get(&key).and_then(|stored| stored.object.decode(None).ok());
    let Some(service) = service else { return missing() };
    if service.str_at(&["spec", "type"]) == "ExternalName" {
        return Place { url: at(service.str_at(&["spec", "externalName"])), address: Ok(None) };
    }
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
    let known = ports.into_iter().flatten().find(|known| known["port"].as_i64() == Some(port));
    let Some(known) = known else { return place(Err(format!("no service port {port} found for service {name:?}"))) };
    let slices = GroupResource::new("discovery.k8s.io", "endpointslices");
    let within = Within::Namespace(tenant.clone(), namespace.to_owned());
    let slices = snapshot.range(&slices, &within, None);
    let address = slices
        .filter(|stored| stored.object.header().label("kubernetes.io/service-name") == Some(name))
        .filter_map(|stored| stored.object.decode(None).ok())
        .find_map(|slice| ready(&slice, known["name"].as_str().unwrap_or_default()));
    place(address.map(Some).ok_or_else(|| format!("no endpoints available for service {name:?}")))
}

/// The address of a ready endpoint, at the port of a name.
fn ready(slice: &Object, port: &str) -> Option<SocketAddr> {
    let list = |field: &str| slice.at(&[field]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let named = |known: &&Value| known["name"].as_str().unwrap_or_default() == port;
    let port = list("ports").iter().find(named)?["port"].as_u64()?;
    let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
    let addresses = list("endpoints").iter().filter(ready).filter_map(|endpoint| endpoint["addresses"].as_array());
    let address: IpAddr = addresses.flatten().find_map(|address| address.as_str()?.parse().ok())?;
    Some(SocketAddr::new(address, u16::try_from(port).ok()?))
}
