//! Which pods are behind a service, at which ports, in which state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arktos_core::typed::{
    Endpoint, EndpointConditions, EndpointPort, IntOrString, ObjectReference, Service, ServicePort,
};

use crate::breath::Breath;
use crate::pod::PodView;
use crate::service::is_foreign;

/// The label of the slices of services without an address of their own.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Pods that serve the same ports on addresses of one family.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// `IPv4` or `IPv6`.
    pub(super) family: &'static str,
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// Whether a service has no address of its own.
pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.cluster_ip == "None"
}

/// Whether a pod has the labels that a service selects.
pub(super) fn selects(service: &Service, pod: &PodView) -> bool {
    !is_foreign(service) && pod.has_labels(&service.spec.selector)
}

/// Whether two states of a pod look the same from behind a service.
pub(super) fn looks_alike(one: &PodView, other: &PodView) -> bool {
    let (before, after) = (one.object().header(), other.object().header());
    before.labels() == after.labels()
        && before.deletion().is_some() == after.deletion().is_some()
        && one.is_ready() == other.is_ready()
        && one.is_finished() == other.is_finished()
        && (&one.node, &one.ips, &one.host) == (&other.node, &other.ips, &other.host)
}

/// The families of a service's addresses.
pub(super) fn families(service: &Service) -> Vec<&'static str> {
    let families = service.spec.ip_families.iter();
    let named: Vec<&'static str> = families.map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    match named.is_empty() {
        false => named,
        true if service.spec.cluster_ip.contains(':') => vec!["IPv6"],
        true => vec!["IPv4"],
    }
}

/// What is behind a service, grouped by family and ports; endpoints are in the order of the pods.
pub(super) async fn groups(service: &Service, pods: &[Arc<PodView>]) -> Vec<Group> {
    let mut groups: BTreeMap<(&'static str, String), Group> = BTreeMap::new();
    let mut breath = Breath::default();
    for family in families(service) {
        for pod in pods {
            breath.after(weight(service, pod)).await;
            if pod.is_finished() || !selects(service, pod) {
                continue;
            }
            let Some(address) = address(pod, family) else { continue };
            let ports = ports(service, pod);
            let place = (family, serde_json::to_string(&ports).unwrap_or_default());
            let group = groups.entry(place).or_insert_with(|| Group { family, ports, endpoints: Vec::new() });
            group.endpoints.push(endpoint(service, pod, address));
        }
    }
    groups.into_values().collect()
}

/// What it takes to see whether a pod is behind a service, and at which ports.
pub(super) fn weight(service: &Service, pod: &PodView) -> usize {
    pod.weight() + 64 * (service.spec.ports.len() + pod.ports.len())
}

/// The first address of a family.
pub(super) fn address<'a>(pod: &'a PodView, family: &str) -> Option<&'a str> {
    pod.ips.iter().map(|ip| &**ip).find(|ip| ip.contains(':') == (family == "IPv6"))
}

/// The ports of a service as one pod serves them: a named port that the pod does not have is left out.
pub(super) fn ports(service: &Service, pod: &PodView) -> Vec<EndpointPort> {
    let mut named: HashMap<(&str, &str), u16> = HashMap::new();
    if service.spec.ports.iter().any(|port| matches!(port.target_port, Some(IntOrString::Text(_)))) {
        for port in &pod.ports {
            named.entry((&*port.name, &*port.protocol)).or_insert(port.port); // the first of a name counts
        }
    }
    let served = |port: &ServicePort| {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        let number = match &port.target_port {
            None | Some(IntOrString::Int(0)) => port.port,
            Some(IntOrString::Int(number)) => *number,
            Some(IntOrString::Text(name)) => i32::from(*named.get(&(name.as_str(), protocol))?),
        };
        Some(EndpointPort {
            name: Some(port.name.clone()),
            protocol: Some(protocol.to_owned()),
            port: Some(number),
            app_protocol: port.app_protocol.clone(),
            ..EndpointPort::default()
        })
    };
    service.spec.ports.iter().filter_map(served).collect()
}

fn endpoint(service: &Service, pod: &PodView, address: &str) -> Endpoint {
    let (serving, terminating) = (pod.is_ready(), pod.is_terminating());
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
            ..EndpointConditions::default()
        },
        hostname: hostname(service, pod),
        target_ref: Some(reference(pod)),
        node_name: (!pod.node.is_empty()).then(|| pod.node.to_string()),
        ..Endpoint::default()
    }
}

/// The name a pod has under a service: where the service is the pod's subdomain.
pub(super) fn hostname(service: &Service, pod: &PodView) -> Option<String> {
    let (hostname, subdomain) = &**pod.host.as_ref()?;
    (*subdomain == service.metadata.name).then(|| hostname.clone())
}

pub(super) fn reference(pod: &PodView) -> ObjectReference {
    ObjectReference {
        kind: "Pod".to_owned(),
        namespace: pod.stored.path.namespace().to_owned(),
        name: pod.name().to_owned(),
        uid: pod.uid().to_owned(),
        ..ObjectReference::default()
    }
}
