//! A pod as controllers see it: decoded once an event, to the few things they ask.

use std::collections::{BTreeMap, HashMap};

use arktos_core::{Encoded, OwnerRef, Timestamp};
use arktos_store::Stored;
use arktos_store::informer::{Decode, DecodeError};
use serde::Deserialize;

/// So many labels are looked for one by one.
const FEW: usize = 8;

/// A pod's phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[allow(missing_docs)] // the API's own words
pub enum Phase {
    #[default]
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

/// What controllers ask of a pod.
#[derive(Debug, Clone)]
pub struct PodView {
    /// The pod itself.
    pub stored: Stored,
    /// Its phase.
    pub phase: Phase,
    /// Whether it has a deadline, and so is in the quota scope `Terminating`.
    pub ends: bool,
    /// Whether, and since when, its `Ready` condition is true.
    pub ready_since: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
    /// The host it is bound to; empty when it is not.
    pub node: Box<str>,
    /// Its addresses, the primary one first.
    pub ips: Vec<Box<str>>,
    /// How often its containers were restarted, all together.
    pub restarts: u32,
    /// What its deletion costs, as `controller.kubernetes.io/pod-deletion-cost` says.
    pub deletion_cost: i32,
    /// The name it is known by inside its subdomain, and the subdomain.
    pub host: Option<Box<(String, String)>>,
    /// The names of its container ports: name, protocol, port.
    pub ports: Vec<NamedPort>,
    /// The names of the persistent volume claims it uses, of those made for it as well.
    pub claims: Box<[Box<str>]>,
}

/// A port of a container that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPort {
    /// The name.
    pub name: Box<str>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// The number.
    pub port: u16,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Shape {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    creation_timestamp: Option<Timestamp>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize, Default)]
struct Annotations {
    #[serde(rename = "controller.kubernetes.io/pod-deletion-cost", default)]
    deletion_cost: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Box<str>,
    active_deadline_seconds: Option<i64>,
    hostname: String,
    subdomain: String,
    containers: Vec<Container>,
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: Box<str>,
    persistent_volume_claim: Option<ClaimSource>,
    ephemeral: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSource {
    claim_name: Box<str>,
}

impl Volume {
    /// The claim it comes from: a named one, or the one made for this pod.
    fn claim(self, pod: &str) -> Option<Box<str>> {
        let made = self.ephemeral.map(|_| format!("{pod}-{}", self.name).into());
        self.persistent_volume_claim.map(|source| source.claim_name).or(made)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Container {
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    name: Box<str>,
    protocol: Option<Box<str>>,
    container_port: u16,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Phase,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    #[serde(rename = "podIP")]
    pod_ip: Box<str>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<Ip>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    r#type: Box<str>,
    status: Box<str>,
    last_transition_time: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    restart_count: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ip {
    ip: Box<str>,
}

impl Decode for PodView {
    type Source = Stored;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        let Shape { metadata, spec, status } = stored.object.parse()?;
        let created = metadata.creation_timestamp.unwrap_or_default();
        let ready = status.conditions.iter().flatten().find(|it| &*it.r#type == "Ready" && &*it.status == "True");
        let mut ips: Vec<Box<str>> = status.pod_ips.into_iter().flatten().map(|it| it.ip).collect();
        if ips.is_empty() && !status.pod_ip.is_empty() {
            ips.push(status.pod_ip);
        }
        let volumes = spec.volumes.into_iter().flatten();
        let ports = spec.containers.into_iter().flat_map(|it| it.ports.unwrap_or_default());
        let host = (!spec.hostname.is_empty()).then(|| Box::new((spec.hostname, spec.subdomain)));
        let cost = metadata.annotations.and_then(|it| it.deletion_cost).and_then(|cost| cost.parse().ok());
        Ok(Self {
            phase: status.phase,
            ends: spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0),
            ready_since: ready.map(|it| it.last_transition_time.unwrap_or(created)),
            created,
            node: spec.node_name,
            ips,
            restarts: status
                .container_statuses
                .iter()
                .flatten()
                .fold(0, |sum: u32, it| sum.saturating_add(it.restart_count)),
            deletion_cost: cost.unwrap_or(0),
            host,
            ports: ports
                .filter(|port| !port.name.is_empty())
                .map(|port| NamedPort {
                    name: port.name,
                    protocol: port.protocol.unwrap_or_else(|| "TCP".into()),
                    port: port.container_port,
                })
                .collect(),
            claims: volumes.filter_map(|volume| volume.claim(stored.path.name())).collect(),
            stored: stored.clone(),
        })
    }

    fn source(&self) -> &Stored {
        &self.stored
    }
}

impl PodView {
    /// The object.
    #[must_use]
    pub fn object(&self) -> &Encoded {
        &self.stored.object
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.stored.path.name()
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.object().header().uid()
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.object().header().deletion().is_some()
    }

    /// Whether it has ended, well or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether it counts as a replica: neither ended nor being deleted.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.is_finished() && !self.is_terminating()
    }

    /// Whether its `Ready` condition is true.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// When it counts, or counted first, as available: ready for `min_ready_seconds`. `None` while it is not ready.
    #[must_use]
    pub fn available_at(&self, min_ready_seconds: u32) -> Option<Timestamp> {
        let wait = std::time::Duration::from_secs(min_ready_seconds.into());
        self.ready_since.map(|since| since.later(wait))
    }

    /// Whether it has all of these labels, with these values.
    #[must_use]
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let header = self.object().header();
        if labels.len() <= FEW {
            return labels.iter().all(|(key, value)| header.label(key) == Some(value));
        }
        // A header is gone through for each label that is asked for.
        let own: HashMap<&str, &str> = header.labels().collect();
        labels.iter().all(|(key, value)| own.get(key.as_str()) == Some(&value.as_str()))
    }

    /// What comparing its labels takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.object().header().labels().len().saturating_mul(64)
    }

    /// Who manages it.
    #[must_use]
    pub fn controller(&self) -> Option<OwnerRef<'_>> {
        self.object().header().controller()
    }
}
