//! What hosts read of partitions because pods that are bound to them name it, and the Events of these pods.
//!
//! A host asks under the namespace that it is shown. The question goes on to the partition that the namespace is of, in
//! the host's name, so that the partition judges once more, by the pods it has bound to the host; the answer comes back
//! as hosts see it. Nothing is kept here. Revisions are the partition's own: what a host lists and watches in one
//! namespace is of one partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Revision, Status, TenantName};
use arktos_store::client::{Listing, Patch, WatchListEvent, WatchListStream};
use arktos_store::{Client, Delivery, Engine, Query, Roster, Stored, Within};
use futures::{FutureExt, StreamExt, stream};

use super::classes::HostClasses;
use super::project::{is_projected, original_namespace};
use super::services::HostServices;
use super::{Origin, projection, volumes};

/// What the name of a host's user begins with.
const USER: &str = "system:node:";
/// The group of hosts.
const GROUP: &str = "system:nodes";

/// What pods name, and hosts may ask for in the pods' namespaces; and what they tell there.
const NAMED: [&str; 7] = [
    "configmaps",
    "events",
    "persistentvolumeclaims",
    "resourceclaims.resource.k8s.io",
    "secrets",
    "serviceaccounts",
    "services",
];

/// What is of no namespace, and hosts may ask for because a claim of theirs is bound to it.
const VOLUMES: [&str; 2] = ["persistentvolumes", ATTACHMENTS];
const ATTACHMENTS: &str = "volumeattachments.storage.k8s.io";
/// What is answered to who asks for more than one of these.
const ONE_BY_ONE: &str = "can only get individual resources of this type";
const CLAIMS: &str = "persistentvolumeclaims";
/// How many tenants are asked for an attachment at a time.
const AT_ONCE: usize = 32;

/// Answers hosts for what their pods name. Whoever asks it has judged whether the host may.
pub struct HostViews {
    pods: Engine,
    partitions: Roster,
    services: HostServices,
    classes: HostClasses,
}

/// A namespace of a partition, as one host asks about it.
struct Place {
    partition: String,
    tenant: TenantName,
    namespace: String,
    /// What hosts see of it.
    shown: String,
    client: Arc<dyn Client>,
}

impl HostViews {
    /// Views over the engine that holds the projected pods, the partitions that they come from, these services and
    /// classes.
    pub fn new(pods: Engine, partitions: impl Into<Roster>, services: HostServices, classes: HostClasses) -> Self {
        Self { pods, partitions: partitions.into(), services, classes }
    }

    /// Whether hosts are answered here for a resource in a namespace (in all, where it is empty): for what pods name
    /// in namespaces that have any, for the volumes of their claims and the secrets of these, for all services, and for
    /// the region's classes.
    #[must_use]
    pub fn covers(&self, resource: &GroupResource, namespace: &str) -> bool {
        match namespace {
            "" if self.classes.has(resource) => true,
            "" => resource.as_str() == "services" || VOLUMES.contains(&resource.as_str()),
            namespace if resource.as_str() == "secrets" && is_projected(namespace) => true,
            namespace => NAMED.contains(&resource.as_str()) && self.origin(namespace).is_some(),
        }
    }

    /// One object, as its partition has it now.
    ///
    /// # Errors
    /// What the partition answers; 503 where it cannot be reached.
    pub async fn get(&self, host: &str, key: &ObjectKey) -> Result<Stored, Status> {
        match key.resource.as_str() {
            ATTACHMENTS => return self.attachment(host, key).await,
            of if VOLUMES.contains(&of) => return self.volume(host, key).await,
            _ if self.classes.has(&key.resource) => return self.classes.get(key, &self.partitions_of(host)).await,
            _ => {}
        }
        let place = self.place(host, key.path.namespace())?;
        let found = place.client.get(&place.key(key)).await;
        place.shown(&found.map_err(|status| told(status, &[key.path.name()]))?)
    }

    /// A volume, of the tenant of a pod of the host.
    async fn volume(&self, host: &str, key: &ObjectKey) -> Result<Stored, Status> {
        let shown = key.path.name();
        let found = self.homes(host).into_iter().find_map(|(partition, tenant)| {
            let name = volumes::original_volume(shown, &partition, tenant.as_str())?;
            Some((partition, ObjectKey::tenant_scoped(key.resource.clone(), &tenant, name)))
        });
        let (partition, volume) = found.ok_or_else(|| unrelated(host, key))?;
        let found = self.client(host, &partition)?.get(&volume).await;
        let found = found.map_err(|status| told(status, &[volume.path.name()]))?;
        volumes::volume(&partition, &found).ok_or_else(unshown)
    }

    /// An attachment of a volume to the host. Its name, which the host makes of the driver, the handle and its own,
    /// does not say whose it is: all whose pods the host has are asked, side by side. Where two have one, they name one
    /// handle, and which of them tells the truth about it nobody here knows: neither is shown.
    async fn attachment(&self, host: &str, key: &ObjectKey) -> Result<Stored, Status> {
        let mut refused = unrelated(host, key);
        let mut shown = None;
        let homes = self.homes(host).into_iter();
        let asked = homes.map(|(partition, tenant)| self.attached(host, key, partition, tenant).boxed());
        let mut answers = stream::iter(asked.collect::<Vec<_>>()).buffered(AT_ONCE);
        while let Some((partition, found)) = answers.next().await {
            match found {
                Ok(_) if shown.is_some() => {
                    let why = "several tenants have an attachment of this name, and so a volume of one handle";
                    return Err(Status::forbidden(&key.resource, key.path.name(), why));
                }
                Ok(found) => shown = Some(volumes::attachment(&partition, &found).ok_or_else(unshown)?),
                // Whoever cannot be asked may have it.
                Err(status) if status.is(Reason::ServiceUnavailable) => refused = status,
                Err(_) => {}
            }
        }
        shown.ok_or(refused)
    }

    /// The attachment of this name that a tenant has, with its partition.
    async fn attached(
        &self,
        host: &str,
        key: &ObjectKey,
        partition: String,
        tenant: TenantName,
    ) -> (String, Result<Stored, Status>) {
        let asked = ObjectKey::tenant_scoped(key.resource.clone(), &tenant, key.path.name());
        let found = match self.client(host, &partition) {
            Ok(client) => client.get(&asked).await.map_err(|status| told(status, &[asked.path.name()])),
            Err(status) => Err(status),
        };
        (partition, found)
    }

    /// What a query selects in one namespace, as its partition has it now; or of all services, or of the region's
    /// classes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn list(&self, host: &str, query: &Query) -> Result<Listing, Status> {
        if self.classes.has(&query.resource) {
            return self.classes.list(query, &self.partitions_of(host)).await;
        }
        let Some(place) = self.place_of(host, query)? else { return self.services.list(host, query).await };
        let listing = place.client.list(&place.query(query)?).await.map_err(|status| told(status, &[]))?;
        let items = listing.items.iter().map(|stored| place.shown(stored));
        Ok(Listing::new(listing.revision, items.collect::<Result<_, _>>()?))
    }

    /// What happens to what a query selects, after a revision; without one, what there is first.
    ///
    /// # Errors
    /// As [`get`](Self::get), also in the stream.
    pub async fn watch(&self, host: &str, query: &Query, after: Option<Revision>) -> Result<WatchListStream, Status> {
        if self.classes.has(&query.resource) {
            return self.classes.watch(query, after, &self.partitions_of(host)).await;
        }
        let Some(place) = self.place_of(host, query)? else { return self.services.watch(host, query, after).await };
        let (query, client) = (place.query(query)?, &place.client);
        let events = match after {
            None => client.watch_list(&query).await,
            Some(after) => client.watch(&query, after).await.map(|changes| {
                let changes: WatchListStream = changes.map(|change| change.map(WatchListEvent::Delivery)).boxed();
                changes
            }),
        };
        let events = events.map_err(|status| told(status, &[]))?;
        let shown = move |event: Result<WatchListEvent, Status>| match event {
            Ok(event) => place.event(event),
            Err(status) => Err(told(status, &[])),
        };
        Ok(events.map(shown).boxed())
    }

    /// A token of a service account.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn token(&self, host: &str, account: &ObjectKey, mut request: Object) -> Result<Object, Status> {
        let place = self.place(host, account.path.namespace())?;
        let pod = request.str_at(&["spec", "boundObjectRef", "name"]).to_owned();
        request.set(&["apiVersion"], "authentication.k8s.io/v1");
        request.set(&["kind"], "TokenRequest");
        request.set(&["metadata", "namespace"], place.namespace.as_str());
        request.remove(&["metadata", "tenant"]);
        let given = place.client.post(&place.key(account), "token", request).await;
        let mut given = given.map_err(|status| told(status, &[account.path.name(), &pod]))?;
        given.set(&["metadata", "namespace"], place.shown.as_str());
        given.remove(&["metadata", "tenant"]);
        Ok(given)
    }

    /// Keeps an Event of a pod, at the pod's partition.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn tell(&self, host: &str, namespace: &str, mut event: Object) -> Result<Stored, Status> {
        let place = self.place(host, namespace)?;
        for about in [&["metadata", "namespace"], &["involvedObject", "namespace"], &["related", "namespace"]] {
            if event.str_at(about) == namespace {
                event.set(about, place.namespace.as_str());
            }
        }
        event.remove(&["metadata", "tenant"]);
        let (name, events) = (event.name().to_owned(), GroupResource::core("events"));
        let kept = place.client.create(&events, place.tenant.as_str(), &place.namespace, event).await;
        place.shown(&kept.map_err(|status| told(status, &[&name]))?)
    }

    /// Patches an Event that was told there, or the status of a volume's claim.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn tell_more(&self, host: &str, of: &ObjectKey, patch: Patch) -> Result<Stored, Status> {
        let place = self.place(host, of.path.namespace())?;
        let part = (of.resource.as_str() == CLAIMS).then_some("status");
        let patched = place.client.patch(&place.key(of), part, patch).await;
        place.shown(&patched.map_err(|status| told(status, &[of.path.name()]))?)
    }

    /// The place that a query is about; none for one about all namespaces.
    fn place_of(&self, host: &str, query: &Query) -> Result<Option<Place>, Status> {
        if VOLUMES.contains(&query.resource.as_str()) {
            return Err(Status::forbidden(&query.resource, "", ONE_BY_ONE));
        }
        match &query.within {
            Within::Namespace(_, namespace) => self.place(host, namespace).map(Some),
            Within::Object(path) => self.place(host, path.namespace()).map(Some),
            Within::Everywhere | Within::Tenant(_) => Ok(None),
        }
    }

    fn place(&self, host: &str, namespace: &str) -> Result<Place, Status> {
        let shown = namespace.to_owned();
        if let Some(Origin { partition, key }) = self.origin(namespace) {
            let tenant = TenantName::new(key.path.tenant()).map_err(Status::internal)?;
            let (namespace, client) = (key.path.namespace().to_owned(), self.client(host, &partition)?);
            return Ok(Place { partition, tenant, namespace, shown, client });
        }
        // There may be a secret for a volume in it, though no pod is.
        for (partition, tenant) in self.homes(host) {
            if let Some(namespace) = original_namespace(namespace, &partition, tenant.as_str()) {
                let (namespace, client) = (namespace.to_owned(), self.client(host, &partition)?);
                return Ok(Place { partition, tenant, namespace, shown, client });
            }
        }
        Err(unavailable("no pod is bound here in this namespace"))
    }

    /// A partition, as a host asks it.
    fn client(&self, host: &str, partition: &str) -> Result<Arc<dyn Client>, Status> {
        let members = self.partitions.now();
        let client = members.find(partition).and_then(|client| client.acting_as(&format!("{USER}{host}"), &[GROUP]));
        client.ok_or_else(|| unavailable(format!("the partition {partition} of this namespace cannot be asked yet")))
    }

    /// The tenants whose pods a host has, with their partitions.
    fn homes(&self, host: &str) -> BTreeSet<(String, TenantName)> {
        let (selection, snapshot) = (self.services.pods_on(host), self.pods.snapshot());
        let origins = snapshot.select(&selection, None).filter_map(|pod| {
            let key = ObjectKey { resource: selection.resource.clone(), path: pod.path.clone() };
            let origin = Origin::of(&key, pod.object.header())?;
            Some((origin.partition, TenantName::new(origin.key.path.tenant()).ok()?))
        });
        origins.collect()
    }

    /// The partitions whose pods a host has.
    fn partitions_of(&self, host: &str) -> Vec<String> {
        self.homes(host).into_iter().map(|(partition, _)| partition).collect()
    }

    /// Where a namespace comes from that has pods.
    fn origin(&self, namespace: &str) -> Option<Origin> {
        let (resource, snapshot) = (GroupResource::core("pods"), self.pods.snapshot());
        let within = Within::Namespace(TenantName::system(), namespace.to_owned());
        let mut pods = snapshot.range(&resource, &within, None);
        pods.find_map(|pod| {
            Origin::of(&ObjectKey { resource: resource.clone(), path: pod.path.clone() }, pod.object.header())
        })
    }
}

impl Place {
    fn path(&self, name: &str) -> ObjectPath {
        ObjectPath::new(self.tenant.as_str(), &self.namespace, name)
    }

    fn key(&self, key: &ObjectKey) -> ObjectKey {
        ObjectKey { resource: key.resource.clone(), path: self.path(key.path.name()) }
    }

    fn query(&self, query: &Query) -> Result<Query, Status> {
        let mut asked = query.clone();
        asked.within = match &query.within {
            Within::Object(path) => Within::Object(self.path(path.name())),
            Within::Namespace(..) => Within::Namespace(self.tenant.clone(), self.namespace.clone()),
            Within::Everywhere | Within::Tenant(_) => return Err(Status::internal("a place is one namespace")),
        };
        Ok(asked)
    }

    fn shown(&self, stored: &Stored) -> Result<Stored, Status> {
        let shown = match stored.object.header().type_meta().kind.as_str() {
            "PersistentVolumeClaim" => volumes::claim(&self.partition, stored),
            _ => projection(&self.partition, stored),
        };
        shown.ok_or_else(unshown)
    }

    fn event(&self, event: WatchListEvent) -> Result<WatchListEvent, Status> {
        let WatchListEvent::Delivery(delivery) = event else { return Ok(event) };
        Ok(WatchListEvent::Delivery(match delivery {
            Delivery::Added(stored) => Delivery::Added(self.shown(&stored)?.into()),
            Delivery::Modified(stored) => Delivery::Modified(self.shown(&stored)?.into()),
            Delivery::Deleted(stored) => Delivery::Deleted(self.shown(&stored)?.into()),
            bookmark @ Delivery::Bookmark(_) => bookmark,
        }))
    }
}

fn unshown() -> Status {
    Status::internal("the object cannot be shown to a host")
}

/// 403, in the words in which it is said of what is there.
fn unrelated(host: &str, key: &ObjectKey) -> Status {
    let why = format!("no relationship found between node '{host}' and this object");
    Status::forbidden(&key.resource, key.path.name(), why)
}

/// What a host is told when a partition refuses: a host takes a 404 for a deletion, so that is what the partition says
/// of one of these objects alone. All else that says nothing of them is worth another try.
fn told(status: Status, about: &[&str]) -> Status {
    let details = status.details.as_ref();
    let named = details.is_some_and(|details| !details.name.is_empty() && about.contains(&&*details.name));
    let waits = details.is_some_and(|details| details.retry_after_seconds > 0);
    match status.reason {
        Some(Reason::NotFound) if named => status,
        Some(Reason::ServiceUnavailable) if waits => status,
        Some(Reason::NotFound | Reason::Unauthorized | Reason::ServiceUnavailable) | None => {
            unavailable(status.message)
        }
        Some(_) => status,
    }
}

/// 503, with a time after which to try again.
pub(super) fn unavailable(why: impl Into<String>) -> Status {
    Status::failure(Reason::ServiceUnavailable, why).retry_after(1)
}

#[cfg(test)]
mod tests {
    use arktos_core::Timestamp;
    use arktos_core::catalog::Catalog;
    use arktos_store::aggregate::Aggregate;
    use arktos_store::client::{DeleteOptions, WatchStream};
    use arktos_store::clock::{ManualClock, SeededRandom};
    use arktos_store::engine::EngineConfig;
    use arktos_store::{Change, Clock, Commit, Expect, Random, Source, Tasks};
    use async_trait::async_trait;
    use futures::future::BoxFuture;
    use serde_json::{Value, json};
    use tokio::sync::Barrier;

    use super::*;

    /// A partition that answers whoever asks for one object once as many ask, and in which `acme` has an attachment.
    #[derive(Clone)]
    struct Partition(Arc<Barrier>);

    #[async_trait]
    impl Source for Partition {
        async fn list(&self, _: &Query) -> Result<Listing, Status> {
            Err(unshown())
        }

        async fn watch(&self, _: &Query, _: Revision) -> Result<WatchStream, Status> {
            Err(unshown())
        }
    }

    #[async_trait]
    impl Client for Partition {
        async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
            self.0.wait().await;
            if key.path.tenant() != "acme" {
                return Err(Status::not_found(&key.resource, key.path.name()));
            }
            let attachment = json!({"metadata": {"name": key.path.name(), "uid": "u"},
                "spec": {"attacher": "d", "nodeName": "n1", "source": {"persistentVolumeName": "v"}}});
            Ok(stored(&key.resource, key.path.clone(), attachment))
        }

        async fn create(&self, _: &GroupResource, _: &str, _: &str, _: Object) -> Result<Stored, Status> {
            Err(unshown())
        }

        async fn update(&self, _: &ObjectKey, _: Option<&str>, _: Object) -> Result<Stored, Status> {
            Err(unshown())
        }

        async fn patch(&self, _: &ObjectKey, _: Option<&str>, _: Patch) -> Result<Stored, Status> {
            Err(unshown())
        }

        async fn delete(&self, _: &ObjectKey, _: DeleteOptions) -> Result<(), Status> {
            Err(unshown())
        }

        async fn post(&self, _: &ObjectKey, _: &str, _: Object) -> Result<Object, Status> {
            Err(unshown())
        }

        fn acting_as(&self, _: &str, _: &[&str]) -> Option<Arc<dyn Client>> {
            Some(Arc::new(self.clone()))
        }
    }

    fn stored(resource: &GroupResource, path: ObjectPath, object: Value) -> Stored {
        let kind = Catalog::builtin().storage(resource).expect("is built in");
        let object = Object::from_value(object).expect("an object");
        Stored { path, revision: Revision(5), object: kind.encode(&object).expect("encodes") }
    }

    /// The pods of two tenants on the host `n1`, as it is shown them.
    fn pods(clock: &Arc<dyn Clock>) -> Engine {
        let (engine, resource) = (Engine::memory(clock.clone()), GroupResource::core("pods"));
        for tenant in ["acme", "globex"] {
            let pod = json!({"metadata": {"name": "a", "namespace": "default", "uid": tenant},
                "spec": {"nodeName": "n1"}});
            let pod = stored(&resource, ObjectPath::new(tenant, "default", "a"), pod);
            let shown = projection("tp-1", &pod).expect("it is shown");
            let key = ObjectKey { resource: resource.clone(), path: shown.path };
            let commit = Commit::one(key, Expect::Absent, Change::put(shown.object));
            futures::executor::block_on(engine.commit(commit)).expect("it is taken");
        }
        engine
    }

    #[test]
    fn all_whose_attachment_it_may_be_are_asked_side_by_side() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_micros(1_000_000)));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let (pods, config) = (pods(&clock), EngineConfig::default());
        let partition: Arc<dyn Client> = Arc::new(Partition(Arc::new(Barrier::new(2))));
        let partitions = Roster::from(vec![("tp-1".to_owned(), partition)]);
        let kind = |resource: &str| Catalog::builtin().storage(&GroupResource::core(resource)).expect("is built in");
        let place = kind("pods").field("spec.nodeName").expect("it has one");
        let all = Query::everywhere(GroupResource::core("services"));
        let (services, driver) =
            Aggregate::new([], &all, Arc::new(projection), config.clone(), clock.clone(), random.clone());
        let tasks = Tasks::spawning(Arc::new(|_: BoxFuture<'static, ()>| {}));
        let services = (kind("services"), services, driver);
        let services = HostServices::new((pods.clone(), place), services, &tasks, clock.clone());
        let classes = HostClasses::new(("rm-1", &pods), &partitions, &config, &clock, &random, &tasks);
        let views = HostViews::new(pods, partitions, services, classes);

        let resource = GroupResource::new("storage.k8s.io", "volumeattachments");
        let key = ObjectKey { resource, path: ObjectPath::new("system", "", "csi-1") };
        let mut asked = Box::pin(views.get("n1", &key));
        let found = (0..10).find_map(|_| asked.as_mut().now_or_never());
        let found = found.expect("nobody waits for what another one answers");
        assert_eq!(found.map(|found| found.path.name().to_owned()), Ok("csi-1".to_owned()));
    }

    #[test]
    fn only_what_a_partition_says_of_the_object_itself_counts_as_its_absence() {
        let code = |status: Status, about: &[&str]| {
            let told = told(status, about);
            let waits = told.details.is_some_and(|details| details.retry_after_seconds > 0);
            assert_eq!(waits, told.code == 503);
            told.code
        };
        let missing = |name: &str| Status::not_found(&GroupResource::core("secrets"), name);
        assert_eq!(code(missing("s"), &["s"]), 404);
        assert_eq!(code(missing("acme"), &["s"]), 503, "it has not the tenant, or is somebody else");
        assert_eq!(code(Status::failure(Reason::NotFound, "no such page"), &["s"]), 503);
        assert_eq!(code(missing("s"), &[]), 503, "a list is there, if empty");
        assert_eq!(code(Status::failure(Reason::Unauthorized, "who?"), &["s"]), 503);
        assert_eq!(code(Status::failure(Reason::ServiceUnavailable, "cannot be reached"), &["s"]), 503);
        assert_eq!(code(Status::forbidden(&GroupResource::core("secrets"), "s", "no"), &["s"]), 403);
        assert_eq!(code(Status::expired("too old"), &[]), 410);
    }
}
