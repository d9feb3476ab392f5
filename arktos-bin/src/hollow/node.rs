//! The Node and Lease objects of a hollow host.

use arktos_core::{GroupResource, Object, ObjectKey, TenantName, Timestamp};
use serde_json::{Value, json};

use super::HollowOptions;
use super::host::Host;

/// Where hosts keep their heartbeats.
pub const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How long a heartbeat is good for, in seconds.
const LEASE_DURATION_SECONDS: u32 = 40;

/// The key of a host's Node.
pub fn node_key(host: &Host) -> ObjectKey {
    ObjectKey::region_scoped(GroupResource::core("nodes"), host.name())
}

/// The key of a host's Lease.
pub fn lease_key(host: &Host) -> ObjectKey {
    let leases = GroupResource::new("coordination.k8s.io", "leases");
    ObjectKey::namespaced(leases, &TenantName::system(), LEASE_NAMESPACE, host.name())
}

/// The Node a host registers.
pub fn node(host: &Host, options: &HollowOptions, now: Timestamp) -> Option<Object> {
    Object::from_value(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": host.name(),
            "labels": {
                "kubernetes.io/hostname": host.name(), "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64", "arktos.io/hollow": "true",
            },
        },
        "spec": {"podCIDR": host.pod_range(), "podCIDRs": [host.pod_range()]},
        "status": status(host, options, now),
    }))
}

/// The patch that reports a host's status.
pub fn status_patch(host: &Host, options: &HollowOptions, now: Timestamp) -> Value {
    json!({ "status": status(host, options, now) })
}

/// The Lease with which a host's heartbeats begin.
pub fn lease(host: &Host, now: Timestamp) -> Option<Object> {
    Object::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": host.name(), "namespace": LEASE_NAMESPACE},
        "spec": {
            "holderIdentity": host.name(), "leaseDurationSeconds": LEASE_DURATION_SECONDS,
            "renewTime": now.to_micro_string(),
        },
    }))
}

/// The patch that is a heartbeat.
pub fn heartbeat(host: &Host, now: Timestamp) -> Value {
    json!({"spec": {
        "holderIdentity": host.name(), "leaseDurationSeconds": LEASE_DURATION_SECONDS,
        "renewTime": now.to_micro_string(),
    }})
}

fn status(host: &Host, options: &HollowOptions, now: Timestamp) -> Value {
    let resources = json!({
        "cpu": options.cpu_cores.to_string(), "memory": format!("{}Gi", options.memory_gib),
        "pods": options.pods_max.to_string(), "ephemeral-storage": "100Gi",
    });
    let healthy = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "False", "reason": reason, "message": message,
            "lastHeartbeatTime": now.to_string(), "lastTransitionTime": now.to_string(),
        })
    };
    let mut ready = healthy("Ready", "KubeletReady", "the hollow host is ready");
    ready["status"] = Value::from("True");
    json!({
        "capacity": resources, "allocatable": resources,
        "conditions": [
            healthy("MemoryPressure", "KubeletHasSufficientMemory", "the hollow host has sufficient memory"),
            healthy("DiskPressure", "KubeletHasNoDiskPressure", "the hollow host has no disk pressure"),
            healthy("PIDPressure", "KubeletHasSufficientPID", "the hollow host has sufficient process ids"),
            ready,
        ],
        "addresses": [
            {"type": "InternalIP", "address": host.address().to_string()},
            {"type": "Hostname", "address": host.name()},
        ],
        "nodeInfo": {
            "machineID": host.name(), "systemUUID": host.name(), "bootID": host.name(),
            "kernelVersion": "hollow", "osImage": "Hollow host", "operatingSystem": "linux", "architecture": "amd64",
            "containerRuntimeVersion": "hollow://1", "kubeletVersion": "v1.36.2", "kubeProxyVersion": "",
        },
    })
}
