//! The `persistentvolumeclaim-protection` and `persistentvolume-protection` controllers: what admission keeps from
//! going while it is in use may go when it no longer is.

use std::sync::Arc;

use arktos_core::{ObjectPath, Status};
use arktos_store::informer::{Decode, Event};
use arktos_store::{Client, Informer, Outcome, Query, Stored};
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::kinds::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource};
use crate::pod::PodView;
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::{Setup, beside, namespace_of};
use crate::write::{amend, found, unreadable};

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";

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
