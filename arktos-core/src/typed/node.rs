//! Hosts.

use serde_json::{Map, Value};

use super::Typed;
use super::condition::Condition;
use super::container::ResourceList;
use super::kind;
use super::record::record;
use crate::time::Timestamp;

/// A host of the region's pool.
pub type Node = Typed<NodeSpec, NodeStatus>;
kind!(Node, "nodes", "v1", "Node");

record! {
    /// What is wanted of a host.
    pub struct NodeSpec {
        /// The addresses its pods get.
        #[serde(rename = "podCIDR")]
        pod_cidr: String,
        /// The addresses its pods get, at most one range of each family.
        #[serde(rename = "podCIDRs")]
        pod_cidrs: Vec<String>,
        /// Its name at the machine's provider.
        #[serde(rename = "providerID")]
        provider_id: String,
        /// Whether new pods are kept away.
        unschedulable: bool,
        /// What keeps pods away that do not tolerate it.
        taints: Vec<Taint>,
    }
}

record! {
    /// What keeps pods away that do not tolerate it.
    pub struct Taint {
        /// The value.
        value: String,
        /// Since when.
        time_added: Option<Timestamp>,
    } always {
        /// The key.
        key: String,
        /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
        effect: String,
    }
}

record! {
    /// How a host is doing.
    pub struct NodeStatus {
        /// What it has.
        capacity: ResourceList,
        /// What of it pods may use.
        allocatable: ResourceList,
        /// Observed facts.
        conditions: Vec<Condition>,
        /// Where it is reached.
        addresses: Vec<AttachedAddress>,
        /// The ports of its agents.
        daemon_endpoints: Map<String, Value>,
        /// What it is.
        node_info: NodeSystemInfo,
        /// The images it holds.
        images: Vec<ContainerImage>,
    }
}

record! {
    /// An address of a host.
    pub struct AttachedAddress {
    } always {
        /// `Hostname`, `InternalIP`, `ExternalIP`, `InternalDNS` or `ExternalDNS`.
        #[serde(rename = "type")]
        kind: String,
        /// The address.
        address: String,
    }
}

record! {
    /// An image that a host holds.
    pub struct ContainerImage {
        /// Its names.
        names: Vec<String>,
        /// Its size.
        size_bytes: i64,
    }
}

record! {
    /// What a host is. Every field is always written.
    pub struct NodeSystemInfo {
    } always {
        /// The machine's id.
        #[serde(rename = "machineID")]
        machine_id: String,
        /// The system's id.
        #[serde(rename = "systemUUID")]
        system_uuid: String,
        /// The id of this boot.
        #[serde(rename = "bootID")]
        boot_id: String,
        /// The kernel.
        kernel_version: String,
        /// The system's name and version.
        os_image: String,
        /// The container runtime and its version.
        container_runtime_version: String,
        /// The node agent's version.
        kubelet_version: String,
        /// The service proxy's version.
        kube_proxy_version: String,
        /// `linux` or `windows`.
        operating_system: String,
        /// `amd64`, `arm64`…
        architecture: String,
    }
}
