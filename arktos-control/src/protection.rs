//! The `persistentvolumeclaim-protection`, `persistentvolume-protection` and `volumeattributesclass-protection`
//! controllers: what admission keeps from going while it is in use may go when it no longer is.

use std::sync::Arc;

use arktos_core::{ObjectPath, Status, TenantName};
use arktos_store::informer::{Decode, Event};
use arktos_store::{Client, Informer, Outcome, Query, Stored, Within};
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::kinds::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource, VOLUME_ATTRIBUTES_CLASSES};
use crate::pod::PodView;
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::{Setup, beside, namespace_of};
use crate::write::{amend, found, unreadable};

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
const CLASS_FINALIZER: &str = "kubernetes.io/vac-protection";

pub(crate) struct Claims {
    client: Arc<dyn Client>,
    claims: Informer<Stored>,
}

pub(crate) fn start_claims(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let claims = setup.informer(&PERSISTENT_VOLUME_CLAIMS.resource);
    let pods = setup.pods();
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    claims.handle(move |event| {
        if event.after().is_some_and(|claim| is_held(claim, CLAIM_FINALIZER)) {
            adds.add(event.path().clone());
        }
    });
    let (adds, known) = (queue.clone(), claims.clone());
    pods.handle(move |event| {
        let Event::Removed { path, old } = event else { return };
        for claim in &old.claims {
            let claim = beside(path, claim);
            if known.store().get(&claim).is_some_and(|claim| is_held(&claim, CLAIM_FINALIZER)) {
                adds.add(claim);
            }
        }
    });
    let informers = vec![synced(&claims)];
    run(Claims { client: setup.client.clone(), claims }, queue, setup.options.workers, informers)
}

impl Reconcile for Claims {
    type Key = ObjectPath;
    const NAME: &'static str = "persistentvolumeclaim-protection";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        if self.claims.store().get(path).is_none_or(|claim| !is_held(&claim, CLAIM_FINALIZER)) {
            return Ok(Outcome::Done);
        }
        // Asked anew: a pod that the informer does not show yet may use it.
        let pods = self.client.list(&Query::all(PODS.resource.clone(), namespace_of(path))).await?;
        for pod in &pods.items {
            let pod = PodView::decode(pod).map_err(unreadable)?;
            if !pod.node.is_empty() && pod.claims.iter().any(|claim| &**claim == path.name()) {
                return Ok(Outcome::Done); // until it is gone
            }
        }
        release(&*self.client, &PERSISTENT_VOLUME_CLAIMS, path, CLAIM_FINALIZER).await
    }
}

pub(crate) struct Volumes {
    client: Arc<dyn Client>,
}

pub(crate) fn start_volumes(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let volumes = setup.informer(&PERSISTENT_VOLUMES.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    volumes.handle(move |event| {
        if event.after().is_some_and(|volume| is_held(volume, VOLUME_FINALIZER)) {
            adds.add(event.path().clone());
        }
    });
    run(Volumes { client: setup.client.clone() }, queue, setup.options.workers, vec![synced(&volumes)])
}

/// As much of a volume as says whether it is in use.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Volume {
    status: VolumeStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VolumeStatus {
    phase: Box<str>,
}

impl Reconcile for Volumes {
    type Key = ObjectPath;
    const NAME: &'static str = "persistentvolume-protection";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = found(self.client.get(&PERSISTENT_VOLUMES.key(path)).await)? else {
            return Ok(Outcome::Done);
        };
        let volume: Volume = stored.object.parse().map_err(unreadable)?;
        if !is_held(&stored, VOLUME_FINALIZER) || &*volume.status.phase == "Bound" {
            return Ok(Outcome::Done); // a change of its phase brings it back
        }
        release(&*self.client, &PERSISTENT_VOLUMES, path, VOLUME_FINALIZER).await
    }
}

pub(crate) struct Classes {
    client: Arc<dyn Client>,
    classes: Informer<Stored>,
}

pub(crate) fn start_classes(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let classes = setup.informer(&VOLUME_ATTRIBUTES_CLASSES.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    classes.handle(move |event| {
        if event.after().is_some_and(|class| is_held(class, CLASS_FINALIZER)) {
            adds.add(event.path().clone());
        }
    });
    for resource in [&PERSISTENT_VOLUME_CLAIMS, &PERSISTENT_VOLUMES] {
        let (adds, known) = (queue.clone(), classes.clone());
        setup.informer(&resource.resource).handle(move |event| {
            let (path, old) = match event {
                Event::Updated { path, old, .. } | Event::Removed { path, old } => (path, old),
                Event::Added { .. } => return,
            };
            for class in classes_of(old) {
                let class = ObjectPath::new(path.tenant(), "", &class);
                if known.store().get(&class).is_some_and(|class| is_held(&class, CLASS_FINALIZER)) {
                    adds.add(class);
                }
            }
        });
    }
    let informers = vec![synced(&classes)];
    run(Classes { client: setup.client.clone(), classes }, queue, setup.options.workers, informers)
}

/// What of a claim or a volume names classes of attributes.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Classed {
    spec: ClassedSpec,
    status: ClassedStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClassedSpec {
    volume_attributes_class_name: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClassedStatus {
    current_volume_attributes_class_name: Option<Box<str>>,
    modify_volume_status: Option<Modification>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Modification {
    target_volume_attributes_class_name: Option<Box<str>>,
}

/// The classes that a claim or a volume names: the one it asks for, has, or is on its way to.
fn classes_of(stored: &Stored) -> Vec<Box<str>> {
    let Classed { spec, status } = stored.object.parse().unwrap_or_default();
    let target = status.modify_volume_status.and_then(|status| status.target_volume_attributes_class_name);
    let named = [spec.volume_attributes_class_name, status.current_volume_attributes_class_name, target];
    named.into_iter().flatten().filter(|name| !name.is_empty()).collect()
}

impl Reconcile for Classes {
    type Key = ObjectPath;
    const NAME: &'static str = "volumeattributesclass-protection";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        if self.classes.store().get(path).is_none_or(|class| !is_held(&class, CLASS_FINALIZER)) {
            return Ok(Outcome::Done);
        }
        let Ok(tenant) = TenantName::new(path.tenant()) else { return Ok(Outcome::Done) };
        // Asked anew: one that the informers do not show yet may use it.
        for resource in [&PERSISTENT_VOLUMES, &PERSISTENT_VOLUME_CLAIMS] {
            let query = Query::all(resource.resource.clone(), Within::Tenant(tenant.clone()));
            let found = self.client.list(&query).await?.items;
            if found.iter().any(|one| classes_of(one).iter().any(|class| &**class == path.name())) {
                return Ok(Outcome::Done); // until it names another, or is gone
            }
        }
        release(&*self.client, &VOLUME_ATTRIBUTES_CLASSES, path, CLASS_FINALIZER).await
    }
}

/// Whether an object is to go, and a finalizer keeps it.
fn is_held(stored: &Stored, finalizer: &str) -> bool {
    let header = stored.object.header();
    header.deletion().is_some() && header.finalizers().any(|it| it == finalizer)
}

/// Takes the finalizer off an object that is to go.
async fn release(
    client: &dyn Client,
    resource: &Resource,
    path: &ObjectPath,
    finalizer: &str,
) -> Result<Outcome, Status> {
    amend(client, &resource.key(path), None, |object| {
        let Ok(mut meta) = object.meta() else { return false };
        let before = meta.finalizers.len();
        meta.finalizers.retain(|it| it != finalizer);
        let edits = meta.deletion_timestamp.is_some() && meta.finalizers.len() < before;
        object.set(&["metadata", "finalizers"], meta.finalizers);
        edits
    })
    .await?;
    Ok(Outcome::Done)
}
