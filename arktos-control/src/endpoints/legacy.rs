//! The `endpoints` controller: one object a service, of the name of the service, for clients that know nothing newer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::typed::{EndpointPort, Service};
use arktos_core::{Object, ObjectPath, Status};
use arktos_store::{Client, Informer, Outcome, Stored};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::backends::{self, HEADLESS};
use crate::breath::Breath;
use crate::kinds::ENDPOINTS;
use crate::pod::PodView;
use crate::reconcile::{Reconcile, run, synced};
use crate::service::ServiceView;
use crate::setup::{Setup, namespace_of};
use crate::write::{delete, is_terminating, tree, unless_there};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The most addresses in one object.
const FULL: usize = 1000;

pub(crate) struct Endpoints {
    client: Arc<dyn Client>,
    services: Informer<ServiceView>,
    pods: Informer<PodView>,
    endpoints: Informer<Stored>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (services, pods, queue) = super::watch(setup);
    let endpoints = setup.informer(&ENDPOINTS.resource);
    let adds = queue.clone();
    endpoints.handle(move |event| {
        adds.add(event.path().clone());
    });
    let informers = vec![synced(&services), synced(&pods), synced(&endpoints)];
    let client = setup.client.clone();
    run(Endpoints { client, services, pods, endpoints }, queue, setup.options.workers, informers)
}

impl Reconcile for Endpoints {
    type Key = ObjectPath;
    const NAME: &'static str = "endpoints";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let known = self.endpoints.store().get(path);
        let Some(service) = self.services.store().get(path) else {
            if let Some(left) = known.filter(|left| left.object.header().label(MANAGED_BY) == Some(MANAGER)) {
                delete(&*self.client, &ENDPOINTS.key(path), left.object.header().uid(), None).await?;
            }
            return Ok(Outcome::Done);
        };
        if service.is_foreign || service.stored.object.header().deletion().is_some() {
            return Ok(Outcome::Done);
        }
        let pods = self.pods.store().within(&namespace_of(path));
        let service = service.read()?;
        let (subsets, over) = subsets(&service, &pods).await;
        let edit = |object: &mut Object| {
            object.set(&["metadata", "labels"], labels(&service));
            if over {
                object.set(&["metadata", "annotations", OVER_CAPACITY], "truncated");
            } else {
                object.remove(&["metadata", "annotations", OVER_CAPACITY]);
            }
            match subsets.is_empty() {
                true => drop(object.remove(&["subsets"])),
                false => object.set(&["subsets"], subsets.clone()),
            }
        };
        match known {
            Some(known) => {
                let before = tree(&known)?;
                let mut object = before.clone();
                edit(&mut object);
                if object != before {
                    self.client.update(&ENDPOINTS.key(path), None, object).await?;
                }
            }
            None => {
                let mut object = Object::new(&ENDPOINTS.type_meta, path.name());
                edit(&mut object);
                let resource = &ENDPOINTS.resource;
                match unless_there(self.client.create(resource, path.tenant(), path.namespace(), object).await) {
                    Err(status) if is_terminating(&status) => {}
                    outcome => drop(outcome?),
                }
            }
        }
        Ok(Outcome::Done)
    }
}

fn labels(service: &Service) -> Value {
    let mut labels: Map<String, Value> =
        service.metadata.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.into());
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    Value::Object(labels)
}

/// Ports, and the addresses that serve them: those that are ready, and those that are not.
type Group = (Vec<EndpointPort>, Vec<Value>, Vec<Value>);

/// Addresses that serve the same ports, those that are ready and those that are not; and whether some were left out.
async fn subsets(service: &Service, pods: &[Arc<PodView>]) -> (Vec<Value>, bool) {
    let family = backends::families(service).first().copied().unwrap_or("IPv4");
    let even_unready = service.spec.publish_not_ready_addresses;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let (mut count, mut breath) = (0, Breath::default());
    for pod in pods {
        breath.after(backends::weight(service, pod)).await;
        if pod.is_finished() || !backends::selects(service, pod) {
            continue;
        }
        let Some(ip) = backends::address(pod, family) else { continue };
        let ports = backends::ports(service, pod);
        let nowhere = ports.is_empty() && !service.spec.ports.is_empty();
        if nowhere || (pod.is_terminating() && !even_unready) {
            continue;
        }
        count += 1;
        if count > FULL {
            continue;
        }
        let place = serde_json::to_string(&ports).unwrap_or_default();
        let group = groups.entry(place).or_insert_with(|| (ports, Vec::new(), Vec::new()));
        let place = if even_unready || pod.is_ready() { &mut group.1 } else { &mut group.2 };
        place.push(address(service, pod, ip));
    }
    let mut subsets: Vec<Value> =
        groups.into_values().map(|(ports, ready, unready)| subset(&ports, ready, unready)).collect();
    subsets.sort_by_cached_key(|subset| subset["ports"].to_string());
    (subsets, count > FULL)
}

fn subset(ports: &[EndpointPort], ready: Vec<Value>, unready: Vec<Value>) -> Value {
    let mut subset = Map::new();
    for (field, mut addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
        addresses.sort_by_cached_key(|address| address["ip"].to_string());
        if !addresses.is_empty() {
            subset.insert(field.to_owned(), Value::Array(addresses));
        }
    }
    let port = |port: &EndpointPort| {
        let mut port = json!(port);
        if port["name"] == "" {
            port.as_object_mut().map(|port| port.remove("name"));
        }
        port
    };
    if !ports.is_empty() {
        subset.insert("ports".to_owned(), ports.iter().map(port).collect());
    }
    Value::Object(subset)
}

fn address(service: &Service, pod: &PodView, ip: &str) -> Value {
    let mut address = json!({"ip": ip, "targetRef": backends::reference(pod)});
    if let Some(hostname) = backends::hostname(service, pod) {
        address["hostname"] = hostname.into();
    }
    if !pod.node.is_empty() {
        address["nodeName"] = (*pod.node).into();
    }
    address
}
