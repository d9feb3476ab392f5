//! Services and the addresses behind them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Typed;
use super::condition::{Condition, ObjectReference};
use super::kind;
use super::record::record;
use super::value::IntOrString;
use crate::meta::ObjectMeta;

/// One address for many pods.
pub type Service = Typed<ServiceSpec, ServiceStatus>;
kind!(Service, "services", "v1", "Service");

record! {
    /// What a service offers.
    pub struct ServiceSpec {
        /// Its ports.
        ports: Vec<ServicePort>,
        /// The labels of its pods; without any, somebody else writes its endpoints.
        selector: BTreeMap<String, String>,
        /// Its address, or `None` for a service without one.
        #[serde(rename = "clusterIP")]
        cluster_ip: String,
        /// Its addresses, at most one of each family.
        #[serde(rename = "clusterIPs")]
        cluster_ips: Vec<String>,
        /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
        #[serde(rename = "type")]
        kind: String,
        /// The name it stands for, when it is an `ExternalName`.
        external_name: String,
        /// `None` or `ClientIP`.
        session_affinity: String,
        /// Whether pods that are not ready are served too.
        publish_not_ready_addresses: bool,
        /// The address families.
        ip_families: Vec<String>,
        /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
        ip_family_policy: Option<String>,
        /// `Cluster` or `Local`.
        internal_traffic_policy: Option<String>,
        /// `PreferClose` and its like.
        traffic_distribution: Option<String>,
    }
}

record! {
    /// A port of a service.
    pub struct ServicePort {
        /// Its name.
        name: String,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: String,
        /// What is spoken on it.
        app_protocol: Option<String>,
        /// The port of every host that leads to it.
        node_port: i32,
        /// The port of the pods, by number or name; the service's own when absent.
        target_port: Option<IntOrString>,
    } always {
        /// The port on the service's address.
        port: i32,
    }
}

record! {
    /// How a service is doing.
    pub struct ServiceStatus {
        /// Observed facts.
        conditions: Vec<Condition>,
    } always {
        /// Its load balancer.
        load_balancer: Map<String, Value>,
    }
}

/// Addresses behind a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// What every object carries.
    pub metadata: ObjectMeta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The addresses. Always written: `null` is not a legal list here.
    #[serde(deserialize_with = "super::record::null_is_default")]
    pub endpoints: Vec<Endpoint>,
    /// The ports that all of them serve.
    #[serde(deserialize_with = "super::record::null_is_default")]
    pub ports: Vec<EndpointPort>,
    /// All other fields, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
kind!(EndpointSlice, "endpointslices.discovery.k8s.io", "discovery.k8s.io/v1", "EndpointSlice");

record! {
    /// One backend of a service.
    pub struct Endpoint {
        /// What is known of its state.
        conditions: EndpointConditions,
        /// Its host name.
        hostname: Option<String>,
        /// The pod behind it.
        target_ref: Option<ObjectReference>,
        /// Its host.
        node_name: Option<String>,
        /// Its zone.
        zone: Option<String>,
    } always {
        /// Its addresses.
        addresses: Vec<String>,
    }
}

record! {
    /// What is known of a backend's state.
    pub struct EndpointConditions {
        /// Whether it takes new connections.
        ready: Option<bool>,
        /// Whether it serves, even while it is going.
        serving: Option<bool>,
        /// Whether it is going.
        terminating: Option<bool>,
    }
}

record! {
    /// A port that a slice's backends serve.
    pub struct EndpointPort {
        /// The service port's name; empty for the only one, and then still written.
        name: Option<String>,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: Option<String>,
        /// The number.
        port: Option<i32>,
        /// What is spoken on it.
        app_protocol: Option<String>,
    }
}
