//! Pods, their templates, and what binds them to nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Typed;
use super::condition::{Condition, ObjectReference};
use super::container::{Container, ContainerStatus, ResourceList};
use super::kind;
use super::placement::{Affinity, Toleration, TopologySpreadConstraint};
use super::record::record;
use crate::meta::ObjectMeta;
use crate::time::Timestamp;

/// A group of containers that run together on one host.
pub type Pod = Typed<PodSpec, PodStatus>;
kind!(Pod, "pods", "v1", "Pod");

record! {
    /// What a pod is to run, and where.
    pub struct PodSpec {
        /// What is mounted into it.
        volumes: Vec<Map<String, Value>>,
        /// Containers that run to their end, one after the other, before the others start.
        init_containers: Vec<Container>,
        /// The containers.
        containers: Vec<Container>,
        /// `Always`, `OnFailure` or `Never`.
        restart_policy: String,
        /// How long it has to stop, in seconds.
        termination_grace_period_seconds: Option<i64>,
        /// How long it may be active, in seconds.
        active_deadline_seconds: Option<i64>,
        /// Labels its node must have.
        node_selector: BTreeMap<String, String>,
        /// The account it acts as.
        service_account_name: String,
        /// The account's old name.
        #[serde(rename = "serviceAccount")]
        deprecated_service_account: String,
        /// Whether the account's token is mounted.
        automount_service_account_token: Option<bool>,
        /// The node it is bound to; empty until then.
        node_name: String,
        /// Whether it shares the host's network.
        host_network: bool,
        /// The secrets its images are pulled with.
        image_pull_secrets: Vec<Map<String, Value>>,
        /// Its host name.
        hostname: String,
        /// Its sub-domain.
        subdomain: String,
        /// What it asks of its surroundings.
        affinity: Affinity,
        /// The scheduler that places it.
        scheduler_name: String,
        /// Which taints it puts up with.
        tolerations: Vec<Toleration>,
        /// The name of its priority.
        priority_class_name: String,
        /// Its priority.
        priority: Option<i32>,
        /// `PreemptLowerPriority` or `Never`.
        preemption_policy: Option<String>,
        /// What its sandbox itself takes.
        overhead: ResourceList,
        /// How its like are to be spread.
        topology_spread_constraints: Vec<TopologySpreadConstraint>,
        /// Its sandbox.
        runtime_class_name: Option<String>,
        /// What it waits for before it may be placed.
        scheduling_gates: Vec<SchedulingGate>,
    }
}

record! {
    /// Something a pod waits for before it may be placed.
    pub struct SchedulingGate {
    } always {
        /// Its name.
        name: String,
    }
}

record! {
    /// How a pod is doing.
    pub struct PodStatus {
        /// The generation of the spec that the host has taken in.
        observed_generation: i64,
        /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
        phase: String,
        /// Observed facts.
        conditions: Vec<Condition>,
        /// Why it is as it is, for a person.
        message: String,
        /// Why it is as it is, for a program.
        reason: String,
        /// The node that is being cleared for it.
        nominated_node_name: String,
        /// Its host's address.
        #[serde(rename = "hostIP")]
        host_ip: String,
        /// Its host's addresses.
        #[serde(rename = "hostIPs")]
        host_ips: Vec<PodIp>,
        /// Its address.
        #[serde(rename = "podIP")]
        pod_ip: String,
        /// Its addresses, at most one of each family.
        #[serde(rename = "podIPs")]
        pod_ips: Vec<PodIp>,
        /// When its host took it in.
        start_time: Option<Timestamp>,
        /// How its init containers are doing.
        init_container_statuses: Vec<ContainerStatus>,
        /// How its containers are doing.
        container_statuses: Vec<ContainerStatus>,
        /// `Guaranteed`, `Burstable` or `BestEffort`.
        qos_class: String,
    }
}

record! {
    /// An address.
    pub struct PodIp {
        /// The address.
        ip: String,
    }
}

impl PodStatus {
    /// Whether the pod has ended and will not run again.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

record! {
    /// What pods are made from.
    pub struct PodTemplate {
        /// Labels and annotations of the pods.
        metadata: ObjectMeta,
        /// What they are to run.
        spec: PodSpec,
    }
}

/// The placement of a pod on a node, posted to `pods/<name>/binding`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The pod's name, and what the scheduler notes on it.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The node.
    #[serde(default)]
    pub target: ObjectReference,
    /// All other fields, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
kind!(Binding, "bindings", "v1", "Binding");
