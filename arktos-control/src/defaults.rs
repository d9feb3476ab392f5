//! What every namespace has: the `serviceaccount` controller's account `default`, and the
//! `root-ca-certificate-publisher`'s config map `kube-root-ca.crt`.

use std::sync::Arc;

use arktos_core::{Object, ObjectPath, Status};
use arktos_store::{Client, Informer, Outcome, Stored, WorkQueue};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::kinds::{CONFIG_MAPS, NAMESPACES, Resource, SERVICE_ACCOUNTS};
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::Setup;
use crate::write::{amend, is_terminating, unless_there};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";

pub(crate) struct Accounts(InEveryNamespace);

pub(crate) struct RootCa {
    each: InEveryNamespace,
    pem: String,
}

/// An object of one name in every namespace that is not going.
struct InEveryNamespace {
    client: Arc<dyn Client>,
    namespaces: Informer<Stored>,
    resource: &'static Resource,
    objects: Informer<Stored>,
    name: &'static str,
}

pub(crate) fn start_accounts(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (each, queue) = InEveryNamespace::new(setup, &SERVICE_ACCOUNTS, ACCOUNT);
    let informers = vec![synced(&each.namespaces), synced(&each.objects)];
    run(Accounts(each), queue, setup.options.workers, informers)
}

/// Without a certificate there is nothing to publish.
pub(crate) fn start_root_ca(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let Some(pem) = setup.options.root_ca.clone() else { return Box::pin(std::future::pending()) };
    let (each, queue) = InEveryNamespace::new(setup, &CONFIG_MAPS, ROOT_CA);
    let informers = vec![synced(&each.namespaces), synced(&each.objects)];
    run(RootCa { each, pem }, queue, setup.options.workers, informers)
}

impl Reconcile for Accounts {
    type Key = ObjectPath;
    const NAME: &'static str = "serviceaccount";

    async fn reconcile(&self, namespace: &ObjectPath) -> Result<Outcome, Status> {
        if self.0.find(namespace).is_some_and(|found| found.is_none()) {
            self.0.create(namespace, Object::new(&SERVICE_ACCOUNTS.type_meta, ACCOUNT)).await?;
        }
        Ok(Outcome::Done)
    }
}

impl Reconcile for RootCa {
    type Key = ObjectPath;
    const NAME: &'static str = "root-ca-certificate-publisher";

    async fn reconcile(&self, namespace: &ObjectPath) -> Result<Outcome, Status> {
        let data = json!({"ca.crt": self.pem});
        match self.each.find(namespace) {
            None => {}
            Some(None) => {
                let mut map = Object::new(&CONFIG_MAPS.type_meta, ROOT_CA);
                let about = "The certificate authority by which this API server's own endpoints can be verified.";
                map.set(&["metadata", "annotations"], json!({ DESCRIPTION: about }));
                map.set(&["data"], data);
                self.each.create(namespace, map).await?;
            }
            Some(Some(map)) => {
                let published: Value = map.object.parse().map_err(crate::write::unreadable)?;
                if published["data"] != data {
                    amend(&*self.each.client, &CONFIG_MAPS.key(&map.path), None, |map| {
                        let differs = map.at(&["data"]) != Some(&data);
                        map.set(&["data"], data.clone());
                        differs
                    })
                    .await?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}

impl InEveryNamespace {
    fn new(setup: &mut Setup, resource: &'static Resource, name: &'static str) -> (Self, WorkQueue<ObjectPath>) {
        let namespaces = setup.informer(&NAMESPACES.resource);
        let objects = setup.informer(&resource.resource);
        let queue = queue(&setup.clock);
        let adds = queue.clone();
        namespaces.handle(move |event| {
            if event.after().is_some() {
                adds.add(event.path().clone());
            }
        });
        let adds = queue.clone();
        objects.handle(move |event| {
            let changed = event.before().is_some() && event.path().name() == name;
            if changed {
                adds.add(ObjectPath::new(event.path().tenant(), "", event.path().namespace()));
            }
        });
        (Self { client: setup.client.clone(), namespaces, resource, objects, name }, queue)
    }

    /// The namespace's object, or that there is none; `None` when the namespace is going or gone.
    fn find(&self, namespace: &ObjectPath) -> Option<Option<Arc<Stored>>> {
        let live = self.namespaces.store().get(namespace)?.object.header().deletion().is_none();
        let path = ObjectPath::new(namespace.tenant(), namespace.name(), self.name);
        live.then(|| self.objects.store().get(&path))
    }

    async fn create(&self, namespace: &ObjectPath, object: Object) -> Result<(), Status> {
        let created = self.client.create(&self.resource.resource, namespace.tenant(), namespace.name(), object).await;
        match unless_there(created) {
            Err(status) if is_terminating(&status) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}
