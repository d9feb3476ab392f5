//! The `endpointslice` controller.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arktos_core::typed::{Endpoint, EndpointPort, EndpointSlice, KindOf, Service};
use arktos_core::{ObjectPath, Reason, Status};
use arktos_store::{Client, Informer, Outcome, Stored};
use futures::future::BoxFuture;

use super::backends::{self, Group, HEADLESS};
use crate::kinds::{ENDPOINT_SLICES, SERVICES};
use crate::owner::controller_reference;
use crate::pod::PodView;
use crate::reconcile::{Reconcile, run, synced};
use crate::service::ServiceView;
use crate::setup::{BY_OWNER, Setup, beside, namespace_of};
use crate::write::{delete, found, tree, unless_there, unreadable};

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The most endpoints in one slice.
pub(super) const FULL: usize = 100;

pub(crate) struct Slices {
    client: Arc<dyn Client>,
    services: Informer<ServiceView>,
    pods: Informer<PodView>,
    slices: Informer<Stored>,
}

/// A slice as it is to be; what is not there yet has no `stored`.
struct Slice {
    stored: Option<Stored>,
    name: String,
    before: EndpointSlice,
    endpoints: Vec<Endpoint>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (services, pods, queue) = super::watch(setup);
    let slices = setup.informer(&ENDPOINT_SLICES.resource);
    let adds = queue.clone();
    slices.handle(move |event| {
        // Somebody else may have changed what is ours.
        if let Some(before) = event.before()
            && let Some(service) = before.object.header().label(SERVICE_NAME)
        {
            adds.add(beside(event.path(), service));
        }
    });
    let informers = vec![synced(&services), synced(&pods), synced(&slices)];
    let client = setup.client.clone();
    run(Slices { client, services, pods, slices }, queue, setup.options.workers, informers)
}

impl Reconcile for Slices {
    type Key = ObjectPath;
    const NAME: &'static str = "endpointslice";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(service) = self.services.store().get(path) else { return Ok(Outcome::Done) }; // its slices are garbage
        let going = service.stored.object.header().deletion().is_some();
        if going || service.is_foreign {
            return Ok(Outcome::Done);
        }
        let pods = self.pods.store().within(&namespace_of(path));
        let read = service.read()?;
        let mut groups = backends::groups(&read, &pods).await;
        for family in backends::families(&read) {
            if !groups.iter().any(|group| group.family == family) {
                groups.push(Group { family, ports: Vec::new(), endpoints: Vec::new() }); // a place to look at
            }
        }
        let mut existing = self.existing(&service)?;
        let labels = labels(&read);
        for group in groups {
            let fits =
                |slice: &(Stored, EndpointSlice)| slice.1.address_type == group.family && slice.1.ports == group.ports;
            let (mine, others): (Vec<_>, Vec<_>) = existing.into_iter().partition(fits);
            existing = others;
            for slice in plan(path.name(), &group, mine) {
                self.write(&service, &labels, &group, slice).await?;
            }
        }
        for (stored, _) in existing {
            delete(&*self.client, &ENDPOINT_SLICES.key(&stored.path), stored.object.header().uid(), None).await?;
        }
        Ok(Outcome::Done)
    }
}

/// Spreads a group's endpoints over slices: each stays in the slice it is in, the others fill what has room, then new
/// slices. Slices that end up empty, beyond the first, are to go.
fn plan(service: &str, group: &Group, existing: Vec<(Stored, EndpointSlice)>) -> Vec<Slice> {
    let uid = |endpoint: &Endpoint| endpoint.target_ref.as_ref().map(|it| it.uid.clone()).unwrap_or_default();
    let mut wanted: HashMap<String, &Endpoint> = group.endpoints.iter().map(|it| (uid(it), it)).collect();
    let mut slices: Vec<Slice> = Vec::new();
    for (stored, before) in existing {
        let kept = before.endpoints.iter().filter_map(|it| wanted.remove(&uid(it)).cloned()).collect();
        slices.push(Slice { name: stored.path.name().to_owned(), stored: Some(stored), before, endpoints: kept });
    }
    let mut new = group.endpoints.iter().filter(|it| wanted.contains_key(&uid(it))).cloned().peekable();
    let mut ordinal = 0;
    while new.peek().is_some() || slices.is_empty() {
        if let Some(slice) = slices.iter_mut().find(|slice| slice.endpoints.len() < FULL && new.peek().is_some()) {
            slice.endpoints.extend(new.by_ref().take(FULL - slice.endpoints.len()));
            continue;
        }
        let name = loop {
            let name = name(service, group.family, &group.ports, ordinal);
            ordinal += 1;
            if !slices.iter().any(|slice| slice.name == name) {
                break name;
            }
        };
        let endpoints = new.by_ref().take(FULL).collect();
        slices.push(Slice { stored: None, name, before: EndpointSlice::default(), endpoints });
    }
    slices
}

/// The name of a service's slice: the same for the same service, ports and ordinal.
pub(super) fn name(service: &str, family: &str, ports: &[EndpointPort], ordinal: u32) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = format!("{family} {} {ordinal}", serde_json::to_string(ports).unwrap_or_default());
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    let mut suffix = String::new();
    for _ in 0..5 {
        suffix.push(char::from(LETTERS[usize::try_from(hash % 27).unwrap_or(0)]));
        hash /= 27;
    }
    let prefix: String = service.chars().take(57).collect();
    format!("{prefix}-{suffix}")
}

/// The labels of a service's slices.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let reserved = [SERVICE_NAME, MANAGED_BY, HEADLESS];
    let own = service.metadata.labels.iter().filter(|(key, _)| !reserved.contains(&key.as_str()));
    let mut labels: BTreeMap<String, String> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

impl Slices {
    /// The slices of a service that are this controller's.
    fn existing(&self, service: &ServiceView) -> Result<Vec<(Stored, EndpointSlice)>, Status> {
        let owned = self.slices.store().by(BY_OWNER, service.stored.object.header().uid());
        let ours = owned.into_iter().filter(|slice| {
            let header = slice.object.header();
            header.label(MANAGED_BY) == Some(MANAGER)
                && header.deletion().is_none()
                && slice.path.tenant() == service.stored.path.tenant()
                && slice.path.namespace() == service.stored.path.namespace()
        });
        let read = |slice: Arc<Stored>| {
            let object = EndpointSlice::from_encoded(&slice.object, None).map_err(unreadable)?;
            Ok(((*slice).clone(), object))
        };
        ours.map(read).collect()
    }

    /// Writes a slice where it differs from what is there.
    async fn write(
        &self,
        service: &ServiceView,
        labels: &BTreeMap<String, String>,
        group: &Group,
        slice: Slice,
    ) -> Result<(), Status> {
        let Some(stored) = &slice.stored else { return self.create(service, labels, group, slice).await };
        let key = ENDPOINT_SLICES.key(&stored.path);
        if slice.endpoints.is_empty() && !group.endpoints.is_empty() {
            return delete(&*self.client, &key, stored.object.header().uid(), None).await;
        }
        if slice.endpoints == slice.before.endpoints && *labels == slice.before.metadata.labels {
            return Ok(());
        }
        let mut object = tree(stored)?;
        object.set(&["metadata", "labels"], serde_json::json!(labels));
        object.set(&["endpoints"], serde_json::json!(slice.endpoints));
        let written = self.client.update(&key, None, object).await?;
        self.wait_for(&written).await
    }

    async fn create(
        &self,
        service: &ServiceView,
        labels: &BTreeMap<String, String>,
        group: &Group,
        slice: Slice,
    ) -> Result<(), Status> {
        let path = &service.stored.path;
        let mut object = EndpointSlice::named(&slice.name);
        object.metadata.labels = labels.clone();
        object.metadata.owner_references = vec![controller_reference(&SERVICES, &service.stored)];
        object.address_type = group.family.to_owned();
        object.endpoints = slice.endpoints;
        object.ports = group.ports.clone();
        let resource = &ENDPOINT_SLICES.resource;
        let created = self.client.create(resource, path.tenant(), path.namespace(), object.to_object()).await;
        match unless_there(created)? {
            Some(created) => self.wait_for(&created).await,
            None => self.make_room(service, &slice.name).await,
        }
    }

    /// The name is taken: by a slice that does not show yet, or by one of an earlier service of the same name, which
    /// goes.
    async fn make_room(&self, service: &ServiceView, name: &str) -> Result<(), Status> {
        let key = ENDPOINT_SLICES.key(&beside(&service.stored.path, name));
        let Some(there) = found(self.client.get(&key).await)? else { return Ok(()) };
        let header = there.object.header();
        let earlier = header.controller().is_some_and(|owner| *owner.uid != *service.stored.object.header().uid());
        if earlier && header.label(MANAGED_BY) == Some(MANAGER) {
            delete(&*self.client, &key, header.uid(), None).await?;
        }
        Err(Status::already_exists(&ENDPOINT_SLICES.resource, name))
    }

    async fn wait_for(&self, written: &Stored) -> Result<(), Status> {
        let stopped = |_| Status::failure(Reason::ServiceUnavailable, "the controller is stopping");
        self.slices.reached(written.revision).await.map_err(stopped)
    }
}
