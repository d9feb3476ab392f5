//! Where a service of a tenant is to be found, for webhooks that are behind one.

use std::net::{IpAddr, SocketAddr};

use arktos_core::{GroupResource, Object, ObjectKey, TenantName};
use arktos_store::{Snapshot, Within};
use serde_json::Value;

/// The URL of a service's port, and the address of one of its ready endpoints.
///
/// # Errors
/// A sentence that says what of it is not there.
pub(crate) fn locate(
    snapshot: &Snapshot,
    tenant: Option<&TenantName>,
    reference: &Value,
) -> Result<(String, Option<SocketAddr>), String> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (name, namespace) = (text("name"), text("namespace"));
    let port = reference["port"].as_i64().unwrap_or(443);
    let path = text("path").trim_start_matches('/');
    let missing = || format!("service {name:?} not found");
    if name.is_empty() || name.contains('/') || namespace.contains('/') {
        return Err(missing());
    }
    let tenant = tenant.ok_or_else(missing)?;
    let key = ObjectKey::namespaced(GroupResource::core("services"), tenant, namespace, name);
    let service = snapshot.get(&key).and_then(|stored| stored.object.decode(None).ok()).ok_or_else(missing)?;
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
    let known = ports.into_iter().flatten().find(|known| known["port"].as_i64() == Some(port));
    if service.str_at(&["spec", "type"]) == "ExternalName" {
        return Ok((format!("https://{}:{port}/{path}", service.str_at(&["spec", "externalName"])), None));
    }
    let known = known.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let slices = GroupResource::new("discovery.k8s.io", "endpointslices");
    let within = Within::Namespace(tenant.clone(), namespace.to_owned());
    let slices = snapshot.range(&slices, &within, None);
    let address = slices
        .filter(|stored| stored.object.header().label("kubernetes.io/service-name") == Some(name))
        .filter_map(|stored| stored.object.decode(None).ok())
        .find_map(|slice| ready(&slice, known["name"].as_str().unwrap_or_default()));
    let address = address.ok_or_else(|| format!("no endpoints available for service {name:?}"))?;
    Ok((format!("https://{name}.{namespace}.svc:{port}/{path}"), Some(address)))
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
