//! The `namespace` controller: a namespace that is deleted takes everything in it along, and goes last.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{KindOf, Namespace};
use arktos_core::{ObjectPath, Scope, Status, TenantName};
use arktos_store::informer::Event;
use arktos_store::{Client, Clock, Informer, Outcome, Stored, Within};
use futures::future::BoxFuture;
use serde_json::json;

use crate::content::{Left, delete_all};
use crate::kinds::{Kinds, NAMESPACES, StoredKind};
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::Setup;
use crate::write::{amend, delete, found, unreadable};

/// The finalizer in `spec.finalizers` that is this controller's.
const FINALIZER: &str = "kubernetes";

pub(crate) struct Namespaces {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    kinds: Kinds,
    namespaces: Informer<Stored>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let namespaces = setup.informer(&NAMESPACES.resource);
    let pods = setup.pods();
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    namespaces.handle(move |event| {
        if event.after().is_some_and(|namespace| namespace.object.header().deletion().is_some()) {
            adds.add(event.path().clone());
        }
    });
    let (adds, known) = (queue.clone(), namespaces.clone());
    pods.handle(move |event| {
        if let Event::Removed { path, .. } = event {
            let namespace = ObjectPath::new(path.tenant(), "", path.namespace());
            if known.store().get(&namespace).is_some_and(|known| known.object.header().deletion().is_some()) {
                adds.add(namespace);
            }
        }
    });
    let (client, clock) = (setup.client.clone(), setup.clock.clone());
    let informers = vec![synced(&namespaces)];
    let controller = Namespaces { client, clock, kinds: setup.options.kinds.clone(), namespaces };
    run(controller, queue, setup.options.workers, informers)
}

impl Reconcile for Namespaces {
    type Key = ObjectPath;
    const NAME: &'static str = "namespace";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        if self.namespaces.store().get(path).is_none() {
            return Ok(Outcome::Done);
        }
        let key = NAMESPACES.key(path);
        let Some(stored) = found(self.client.get(&key).await)? else { return Ok(Outcome::Done) };
        let namespace = Namespace::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)?;
        let Ok(tenant) = TenantName::new(path.tenant()) else { return Ok(Outcome::Done) };
        if stored.object.header().deletion().is_none() || !namespace.spec.finalizers.iter().any(|it| it == FINALIZER) {
            return Ok(Outcome::Done);
        }
        self.note(path, &stored, None).await?;
        let within = Within::Namespace(tenant, path.name().to_owned());
        let namespaced = |kind: &&StoredKind| kind.scope == Scope::Namespace;
        let resources = self.kinds.borrow().iter().filter(namespaced).map(|kind| kind.resource.clone()).collect();
        let left = delete_all(&*self.client, &within, &resources, self.clock.now()).await;
        let held = stored.object.header().finalizers().len() > 0
            || namespace.spec.finalizers.iter().any(|finalizer| finalizer != FINALIZER);
        if held || !left.is_nothing() {
            self.note(path, &stored, Some(&left)).await?; // else it goes now, and nobody could read it
        }
        if left.is_nothing() {
            self.finalize(path, &stored).await?;
            return Ok(Outcome::Done);
        }
        if left.failures.is_empty() && left.finalizers.is_empty() && left.estimate > Duration::from_secs(1) {
            return Ok(Outcome::After(left.estimate / 2 + Duration::from_secs(1)));
        }
        Ok(Outcome::Retry)
    }
}

impl Namespaces {
    /// Notes that the namespace is going, and what holds it up.
    async fn note(&self, path: &ObjectPath, stored: &Stored, left: Option<&Left>) -> Result<(), Status> {
        let (uid, now) = (stored.object.header().uid(), self.clock.now());
        amend(&*self.client, &NAMESPACES.key(path), Some("status"), |object| {
            let Ok(mut namespace) = Namespace::from_object(object) else { return false };
            let before = namespace.status.clone();
            namespace.status.phase = "Terminating".to_owned();
            if let Some(left) = left {
                left.note("Namespace", &mut namespace.status.conditions, now);
            }
            object.set(&["status"], serde_json::to_value(&namespace.status).unwrap_or_default());
            object.uid() == uid && namespace.status != before
        })
        .await
        .map(drop)
    }

    /// Takes this controller's finalizer off: the namespace goes, unless somebody else holds it.
    async fn finalize(&self, path: &ObjectPath, stored: &Stored) -> Result<(), Status> {
        let key = NAMESPACES.key(path);
        let uid = stored.object.header().uid();
        amend(&*self.client, &key, Some("finalize"), |object| {
            let others: Vec<String> = match Namespace::from_object(object) {
                Ok(namespace) => namespace.spec.finalizers.into_iter().filter(|it| it != FINALIZER).collect(),
                Err(_) => return false,
            };
            object.set(&["spec", "finalizers"], json!(others));
            object.uid() == uid
        })
        .await?;
        // A server that does not delete with the last finalizer is told to.
        match found(self.client.get(&key).await)? {
            Some(held) if held.object.header().finalizers().len() == 0 => delete(&*self.client, &key, uid, None).await,
            _ => Ok(()),
        }
    }
}
