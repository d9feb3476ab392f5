//! What all controllers of one owner share: the client, the clock, one informer a resource, the events they write.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::{GroupResource, ObjectPath, TenantName};
use arktos_store::informer::{Builder, Decode, Driver};
use arktos_store::{Client, Clock, Informer, Query, Random, Stored, Within};
use futures::future::BoxFuture;

use crate::events::Recorder;
use crate::kinds::{CONTROLLER_REVISIONS, PODS, REPLICA_SETS, RESOURCE_QUOTAS, SERVICES};
use crate::options::Options;
use crate::pod::PodView;
use crate::service::ServiceView;

/// The index of every informer by the uids of an object's owners.
pub(crate) const BY_OWNER: &str = "owner";
/// The index of pods, replica sets and revisions that nobody manages, by [`namespace_key`].
pub(crate) const UNMANAGED: &str = "unmanaged";

/// What a set of controllers is built from. Used while they are set up; nothing of it is written afterwards.
pub(crate) struct Setup {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) options: Options,
    pub(crate) events: Recorder,
    pods: Option<Informer<PodView>>,
    services: Option<Informer<ServiceView>>,
    others: BTreeMap<GroupResource, Informer<Stored>>,
    drivers: Vec<(String, Driver)>,
}

impl Setup {
    pub(crate) fn new(
        client: Arc<dyn Client>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        options: Options,
    ) -> Self {
        let (events, writer) = Recorder::new(client.clone(), clock.clone());
        let drivers: Vec<(String, Driver)> = vec![("events".to_owned(), writer)];
        Self { client, clock, random, options, events, pods: None, services: None, others: BTreeMap::new(), drivers }
    }

    /// The informer of pods, in every tenant.
    pub(crate) fn pods(&mut self) -> Informer<PodView> {
        if let Some(pods) = &self.pods {
            return pods.clone();
        }
        let builder = by_namespace_if_unmanaged(self.builder::<PodView>(&PODS.resource));
        let pods = self.keep(&PODS.resource, builder);
        self.pods.insert(pods).clone()
    }

    /// The informer of services, in every tenant.
    pub(crate) fn services(&mut self) -> Informer<ServiceView> {
        if let Some(services) = &self.services {
            return services.clone();
        }
        let builder = self.builder(&SERVICES.resource);
        let services = self.keep(&SERVICES.resource, builder);
        self.services.insert(services).clone()
    }

    /// The informer of quotas, in every tenant, by namespace.
    pub(crate) fn quotas(&mut self) -> Informer<Stored> {
        let builder = self.builder(&RESOURCE_QUOTAS.resource).index("namespace", |path, _| vec![namespace_key(path)]);
        self.keep(&RESOURCE_QUOTAS.resource, builder)
    }

    /// An informer of what a query selects, with an index.
    pub(crate) fn selected(
        &mut self,
        query: Query,
        index: &'static str,
        keys: impl Fn(&Stored) -> Vec<String> + Send + Sync + 'static,
    ) -> Informer<Stored> {
        let resource = query.resource.clone();
        let builder = watch_all::<Stored>(self.client.clone(), query, self.clock.clone(), self.random.clone());
        self.keep(&resource, builder.index(index, move |_, stored| keys(stored)))
    }

    /// An informer of a resource, in every tenant, that keeps of each object what one controller asks of it.
    pub(crate) fn views<T: Decode<Source = Stored>>(&mut self, resource: &GroupResource) -> Informer<T> {
        let builder = self.builder::<T>(resource);
        self.keep(resource, builder)
    }

    /// The informer of any other resource, in every tenant.
    pub(crate) fn informer(&mut self, resource: &GroupResource) -> Informer<Stored> {
        if let Some(informer) = self.others.get(resource) {
            return informer.clone();
        }
        let mut builder = self.builder(resource);
        if [&REPLICA_SETS.resource, &CONTROLLER_REVISIONS.resource].contains(&resource) {
            builder = by_namespace_if_unmanaged(builder);
        }
        let informer = self.keep(resource, builder);
        self.others.insert(resource.clone(), informer.clone());
        informer
    }

    /// What must run beside the controllers.
    pub(crate) fn into_drivers(self) -> Vec<(String, BoxFuture<'static, ()>)> {
        self.drivers
    }

    fn builder<T: Decode<Source = Stored>>(&self, resource: &GroupResource) -> Builder<T> {
        let query = Query::everywhere(resource.clone());
        watch_all(self.client.clone(), query, self.clock.clone(), self.random.clone())
    }

    fn keep<T: Decode<Source = Stored>>(&mut self, resource: &GroupResource, builder: Builder<T>) -> Informer<T> {
        let (informer, driver) = builder.build();
        self.drivers.push((format!("informer {resource}"), driver));
        informer
    }
}

/// An informer with an index by owners.
pub(crate) fn watch_all<T: Decode<Source = Stored>>(
    client: Arc<dyn Client>,
    query: Query,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Builder<T> {
    Informer::builder(client, query, clock, random).index(BY_OWNER, |_, value: &T| {
        value.source().object.header().owners().map(|owner| owner.uid.to_owned()).collect::<Vec<String>>()
    })
}

fn by_namespace_if_unmanaged<T: Decode<Source = Stored>>(builder: Builder<T>) -> Builder<T> {
    builder.index(UNMANAGED, |path, value| match value.source().object.header().controller() {
        Some(_) => Vec::new(),
        None => vec![namespace_key(path)],
    })
}

/// The key of a namespace: `tenant/namespace`.
pub(crate) fn namespace_key(path: &ObjectPath) -> String {
    format!("{}/{}", path.tenant(), path.namespace())
}

/// The range of paths of the namespace that an object is in; for one without a tenant, the object alone.
pub(crate) fn namespace_of(path: &ObjectPath) -> Within {
    match TenantName::new(path.tenant()) {
        Ok(tenant) => Within::Namespace(tenant, path.namespace().to_owned()),
        Err(_) => Within::Object(path.clone()),
    }
}

/// The path of another object in the same namespace.
pub(crate) fn beside(path: &ObjectPath, name: &str) -> ObjectPath {
    ObjectPath::new(path.tenant(), path.namespace(), name)
}
