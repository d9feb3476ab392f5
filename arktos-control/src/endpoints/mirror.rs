//! The `endpointslicemirroring` controller: `Endpoints` that somebody writes by hand, for a service without a selector,
//! are shown as slices to those who read slices alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::typed::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice, KindOf, ObjectReference};
use arktos_core::{Object, ObjectPath, Reason, Status};
use arktos_store::{Client, Informer, Outcome, Stored};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;

use super::slices::{self, MANAGED_BY, SERVICE_NAME};
use crate::kinds::{ENDPOINT_SLICES, ENDPOINTS};
use crate::owner::controller_reference;
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::service::ServiceView;
use crate::setup::{BY_OWNER, Setup, beside};
use crate::write::{delete, is_terminating, tree, unreadable};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const ELECTION: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that are about the endpoints alone.
const OWN_ANNOTATIONS: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];
/// The most addresses of one subset that are mirrored, as upstream.
const SUBSET_MAX: usize = 1000;
/// So much may all slices of one object say together, in bytes; what comes after is not mirrored. Each has the labels,
/// annotations and ports of the whole, and there may be as many as the object has addresses.
const SLICES_MAX: usize = 16 << 20;

pub(crate) struct Mirror {
    client: Arc<dyn Client>,
    services: Informer<ServiceView>,
    endpoints: Informer<Stored>,
    slices: Informer<Stored>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    subsets: Option<Vec<Subset>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Subset {
    addresses: Option<Vec<Address>>,
    not_ready_addresses: Option<Vec<Address>>,
    ports: Option<Vec<EndpointPort>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Address {
    ip: String,
    hostname: Option<String>,
    node_name: Option<String>,
    target_ref: Option<ObjectReference>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (services, slices) = (setup.services(), setup.informer(&ENDPOINT_SLICES.resource));
    let endpoints = setup.informer(&ENDPOINTS.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    services.handle(move |event| {
        adds.add(event.path().clone());
    });
    let adds = queue.clone();
    endpoints.handle(move |event| {
        adds.add(event.path().clone());
    });
    let adds = queue.clone();
    slices.handle(move |event| {
        let header = event.before().map(|slice| slice.object.header());
        if let Some(header) = header.filter(|header| header.label(MANAGED_BY) == Some(MANAGER))
            && let Some(service) = header.label(SERVICE_NAME)
        {
            adds.add(beside(event.path(), service));
        }
    });
    let informers = vec![synced(&services), synced(&endpoints), synced(&slices)];
    let client = setup.client.clone();
    run(Mirror { client, services, endpoints, slices }, queue, setup.options.workers, informers)
}

impl Reconcile for Mirror {
    type Key = ObjectPath;
    const NAME: &'static str = "endpointslicemirroring";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(endpoints) = self.endpoints.store().get(path) else { return Ok(Outcome::Done) }; // slices are garbage
        if endpoints.object.header().deletion().is_some() {
            return Ok(Outcome::Done);
        }
        let wanted = if self.is_mirrored(&endpoints)? { mirrored(&endpoints)? } else { BTreeMap::new() };
        let mut existing: BTreeMap<String, Arc<Stored>> = BTreeMap::new();
        for slice in self.slices.store().by(BY_OWNER, endpoints.object.header().uid()) {
            let beside = slice.path.tenant() == path.tenant() && slice.path.namespace() == path.namespace();
            if beside && slice.object.header().label(MANAGED_BY) == Some(MANAGER) {
                existing.insert(slice.path.name().to_owned(), slice);
            }
        }
        for (name, slice) in wanted {
            self.write(path, slice, existing.remove(&name)).await?;
        }
        for left in existing.into_values() {
            delete(&*self.client, &ENDPOINT_SLICES.key(&left.path), left.object.header().uid(), None).await?;
        }
        Ok(Outcome::Done)
    }
}

impl Mirror {
    /// Whether endpoints are shown as slices: they are those of a service that has no selector.
    fn is_mirrored(&self, endpoints: &Stored) -> Result<bool, Status> {
        let service = self.services.store().get(&endpoints.path);
        let by_hand = service.is_some_and(|service| service.selector.is_empty());
        if !by_hand || endpoints.object.header().label(SKIP) == Some("true") {
            return Ok(false);
        }
        Ok(tree(endpoints)?.at(&["metadata", "annotations", ELECTION]).is_none())
    }

    async fn write(&self, of: &ObjectPath, slice: EndpointSlice, known: Option<Arc<Stored>>) -> Result<(), Status> {
        let mut wanted = slice.to_object();
        let Some(known) = known else {
            let resource = &ENDPOINT_SLICES.resource;
            return match self.client.create(resource, of.tenant(), of.namespace(), wanted).await {
                Ok(created) => self.wait_for(&created).await,
                Err(status) if is_terminating(&status) => Ok(()),
                Err(status) => Err(status),
            };
        };
        let before = tree(&known)?;
        let mut object = before.clone();
        for path in [&["metadata", "labels"][..], &["metadata", "annotations"], &["endpoints"], &["ports"]] {
            match wanted.remove(path) {
                Some(value) => object.set(path, value),
                None => drop(object.remove(path)),
            }
        }
        if same(&object, &before)? {
            return Ok(());
        }
        let written = self.client.update(&ENDPOINT_SLICES.key(&known.path), None, object).await?;
        self.wait_for(&written).await
    }

    async fn wait_for(&self, written: &Stored) -> Result<(), Status> {
        let stopped = |_| Status::failure(Reason::ServiceUnavailable, "the controller is stopping");
        self.slices.reached(written.revision).await.map_err(stopped)
    }
}

/// Whether two slices say the same; what is a default may be left out in one of them.
fn same(one: &Object, other: &Object) -> Result<bool, Status> {
    let read = |object: &Object| EndpointSlice::from_object(object).map_err(unreadable);
    let (one, other) = (read(one)?, read(other)?);
    Ok(one == other)
}

/// The slices that show endpoints, by name: one for the addresses of each family of each subset.
fn mirrored(endpoints: &Stored) -> Result<BTreeMap<String, EndpointSlice>, Status> {
    let written: Written = endpoints.object.parse().map_err(unreadable)?;
    let object = tree(endpoints)?;
    let name = endpoints.path.name();
    let (mut slices, mut said) = (BTreeMap::new(), 0_usize);
    for subset in written.subsets.unwrap_or_default() {
        let ports: Vec<EndpointPort> = subset.ports.unwrap_or_default().into_iter().map(named).collect();
        let of = |addresses: Option<Vec<Address>>, ready: bool| {
            addresses.unwrap_or_default().into_iter().map(move |address| (address, ready))
        };
        let all = of(subset.addresses, true).chain(of(subset.not_ready_addresses, false)).take(SUBSET_MAX);
        let mut families: BTreeMap<&'static str, Vec<Endpoint>> = BTreeMap::new();
        for (address, ready) in all {
            let family = if address.ip.contains(':') { "IPv6" } else { "IPv4" };
            families.entry(family).or_default().push(endpoint(address, ready));
        }
        for (family, backends) in families {
            for (ordinal, chunk) in (0..).zip(backends.chunks(slices::FULL)) {
                let slice_name = slices::name(name, family, &ports, ordinal);
                let mut slice = EndpointSlice::named(&slice_name);
                slice.metadata = dressed(&object, endpoints, slice_name.clone());
                slice.address_type = family.to_owned();
                slice.ports = ports.clone();
                slice.endpoints = chunk.to_vec();
                said = said.saturating_add(serde_json::to_vec(&slice).map_or(SLICES_MAX, |text| text.len()));
                if said > SLICES_MAX {
                    tracing::debug!(endpoints = %endpoints.path, "too much to be mirrored whole");
                    return Ok(slices);
                }
                slices.insert(slice_name, slice);
            }
        }
    }
    Ok(slices)
}

/// A port with a name and a protocol, as slices have them.
fn named(mut port: EndpointPort) -> EndpointPort {
    port.name.get_or_insert_default();
    port.protocol.get_or_insert_with(|| "TCP".to_owned());
    port
}

fn endpoint(address: Address, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip],
        conditions: EndpointConditions { ready: Some(ready), ..EndpointConditions::default() },
        hostname: address.hostname.filter(|name| !name.is_empty()),
        node_name: address.node_name.filter(|name| !name.is_empty()),
        target_ref: address.target_ref,
        ..Endpoint::default()
    }
}

/// What a mirroring slice carries: the labels and annotations of the endpoints, and whom it belongs to.
fn dressed(object: &Object, endpoints: &Stored, name: String) -> arktos_core::ObjectMeta {
    let text = |field: &str| -> BTreeMap<String, String> {
        let map = object.at(&["metadata", field]).cloned().unwrap_or(json!({}));
        serde_json::from_value(map).unwrap_or_default()
    };
    let (mut labels, mut annotations) = (text("labels"), text("annotations"));
    labels.insert(SERVICE_NAME.to_owned(), endpoints.path.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    annotations.retain(|key, _| !OWN_ANNOTATIONS.contains(&key.as_str()));
    arktos_core::ObjectMeta {
        name,
        labels,
        annotations,
        owner_references: vec![controller_reference(&ENDPOINTS, endpoints)],
        ..arktos_core::ObjectMeta::default()
    }
}
