//! A small API in memory, for tests: a partition or a resource manager over an engine of its own, which can be made not
//! to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arktos_core::catalog::Catalog;
use arktos_core::typed::{Binding, ClaimFence, KindOf};
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason, Revision, Status};
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchStream};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{
    Change, Client, Clock, Commit, CommitError, Delivery, Engine, Expect, Query, Random, Selection, Source, Stored,
    Within,
};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::claim::{CLAIM_ANNOTATION, CLAIM_NOTE, ClaimReviewHandler, Fence};

/// An API over an engine.
pub(crate) struct Api {
    pub(crate) engine: Engine,
    pub(crate) clock: ManualClock,
    random: Arc<SeededRandom>,
    catalog: Arc<Catalog>,
    reviews: Option<Arc<ClaimReviewHandler>>,
    /// While false, every request fails.
    pub(crate) answers: AtomicBool,
    /// While true, no request that comes ends.
    pub(crate) silent: AtomicBool,
    /// Requests give way to others up to so many times on their way.
    pub(crate) jitter: AtomicU64,
    /// What is told of pods of this tenant is never taken: its webhooks do not answer.
    pub(crate) deaf: parking_lot::Mutex<Option<String>>,
    /// So many bindings fail, after which they work again.
    pub(crate) failing_binds: AtomicU64,
    /// So many reviews are carried out, but their answers are lost.
    pub(crate) lost_answers: AtomicU64,
}

impl Api {
    pub(crate) fn partition(clock: &ManualClock, seed: u64) -> Arc<Self> {
        Arc::new(Self::new(clock, seed))
    }

    pub(crate) fn resource_manager(clock: &ManualClock, seed: u64) -> Arc<Self> {
        let mut api = Self::new(clock, seed);
        let handler = ClaimReviewHandler::new(
            api.engine.clone(),
            &api.catalog,
            Arc::new(clock.clone()),
            Arc::new(SeededRandom::new(seed + 1000)),
        );
        api.reviews = Some(Arc::new(handler.expect("claims are a kind")));
        Arc::new(api)
    }

    fn new(clock: &ManualClock, seed: u64) -> Self {
        Self {
            engine: Engine::memory(Arc::new(clock.clone())),
            clock: clock.clone(),
            random: Arc::new(SeededRandom::new(seed)),
            catalog: Catalog::builtin(),
            reviews: None,
            answers: AtomicBool::new(true),
            silent: AtomicBool::new(false),
            deaf: parking_lot::Mutex::default(),
            jitter: AtomicU64::new(0),
            failing_binds: AtomicU64::new(0),
            lost_answers: AtomicU64::new(0),
        }
    }

    pub(crate) fn handler(&self) -> Arc<ClaimReviewHandler> {
        self.reviews.clone().expect("a resource manager")
    }

    /// Answers reviews after a partition was removed.
    pub(crate) fn handler_without(&self, partition: &str) -> ClaimReviewHandler {
        let (clock, random) = (Arc::new(self.clock.clone()), self.random.clone());
        let handler = ClaimReviewHandler::new(self.engine.clone(), &self.catalog, clock, random);
        handler.expect("claims are a kind").without([partition.to_owned()])
    }

    /// Creates an object from JSON; tenant and namespace are part of the path.
    pub(crate) async fn make<K: KindOf>(&self, tenant: &str, namespace: &str, value: Value) -> Stored {
        let mut object = Object::from_value(value).expect("an object");
        object.fields.insert("apiVersion".to_owned(), K::TYPE.0.into());
        object.fields.insert("kind".to_owned(), K::TYPE.1.into());
        self.create(&K::resource(), tenant, namespace, object).await.expect("it is made")
    }

    pub(crate) async fn make_node(&self, name: &str, cpu: &str, memory: &str, pods: u32) {
        let amounts = json!({"cpu": cpu, "memory": memory, "pods": pods.to_string()});
        let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {}, "status": {"allocatable": amounts}});
        self.make::<arktos_core::typed::Node>("", "", node).await;
    }

    pub(crate) async fn make_pod(&self, tenant: &str, name: &str, cpu: &str) {
        self.make_pod_like(tenant, name, cpu, json!({})).await;
    }

    pub(crate) async fn make_pod_like(&self, tenant: &str, name: &str, cpu: &str, more: Value) {
        self.make_any(tenant, name, cpu, json!({}), more).await;
    }

    pub(crate) async fn make_labelled(&self, tenant: &str, name: &str, app: &str, more: Value) {
        self.make_any(tenant, name, "1", json!({"app": app}), more).await;
    }

    async fn make_any(&self, tenant: &str, name: &str, cpu: &str, labels: Value, more: Value) {
        let mut spec = json!({"schedulerName": "default-scheduler",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}}]});
        for (field, value) in more.as_object().expect("fields of a spec") {
            spec[field] = value.clone();
        }
        let uid = format!("uid-{tenant}-{name}");
        let metadata = json!({"name": name, "namespace": "default", "uid": uid, "labels": labels, "generation": 1});
        let pod = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}});
        self.make::<arktos_core::typed::Pod>(tenant, "default", pod).await;
    }

    /// All objects of a kind, now.
    pub(crate) fn all<K: KindOf>(&self) -> Vec<(Stored, K)> {
        let within = Within::Everywhere;
        let snapshot = self.engine.snapshot();
        let objects = snapshot.range(&K::resource(), &within, None);
        let parsed = |stored: &Stored| stored.object.parse().expect("its shape");
        objects.map(|stored| (parsed(&stored), stored)).map(|(parsed, it)| (Arc::unwrap_or_clone(it), parsed)).collect()
    }

    /// Changes an object in place.
    pub(crate) async fn change(&self, key: &ObjectKey, change: impl Fn(&mut Object)) -> Result<Stored, Status> {
        loop {
            let stored = self.get(key).await?;
            let mut object = stored.object.decode(None).expect("it was encoded");
            change(&mut object);
            match self.write(key, Expect::At(stored.revision), &object).await {
                Err(status) if status.is(Reason::Conflict) => {}
                outcome => return outcome,
            }
        }
    }

    async fn write(&self, key: &ObjectKey, expect: Expect, object: &Object) -> Result<Stored, Status> {
        self.commit(key, expect, object, Vec::new()).await
    }

    async fn commit(
        &self,
        key: &ObjectKey,
        expect: Expect,
        object: &Object,
        guards: Vec<ObjectKey>,
    ) -> Result<Stored, Status> {
        let kind = self.catalog.storage(&key.resource).expect("a kind");
        let encoded = kind.encode(object).expect("it encodes");
        let mut commit = Commit::one(key.clone(), expect, Change::put(encoded.clone()));
        self.pause().await;
        for guard in guards {
            commit = commit.guarded(guard, Expect::Absent);
        }
        match self.engine.commit(commit).await {
            Ok(done) => Ok(Stored { path: key.path.clone(), revision: done.revision, object: encoded }),
            Err(CommitError::Conflict { found: Some(_), .. }) if expect == Expect::Absent => {
                Err(Status::already_exists(&key.resource, key.path.name()))
            }
            Err(error) => Err(Status::conflict(&key.resource, key.path.name(), error)),
        }
    }

    /// A request on its way.
    async fn check(&self) -> Result<(), Status> {
        self.pause().await;
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.answers.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Status::failure(Reason::ServiceUnavailable, "nobody answers"))
    }

    /// What is told in a tenant, on its way.
    async fn told(&self, tenant: &str) {
        if self.deaf.lock().as_deref() == Some(tenant) {
            std::future::pending::<()>().await;
        }
    }

    async fn pause(&self) {
        for _ in 0..self.random.next() % (self.jitter.load(Ordering::SeqCst) + 1) {
            tokio::task::yield_now().await;
        }
    }

    fn selection(query: &Query) -> Selection {
        Selection::all(query.resource.clone(), query.within.clone())
    }

    async fn bind(&self, key: &ObjectKey, body: &Object) -> Result<Object, Status> {
        let binding = Binding::from_object(body).map_err(Status::internal)?;
        if self.failing_binds.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Status::failure(Reason::ServiceUnavailable, "not now"));
        }
        let note = binding.metadata.annotations.get(CLAIM_ANNOTATION).expect("a claim");
        let (_, claim) = note.split_once('/').expect("a resource manager");
        let stored = self.get(key).await?;
        let mut pod = stored.object.decode(None).expect("it was encoded");
        let generation = pod.int_at(&["metadata", "generation"]).unwrap_or(0);
        if !pod.str_at(&["spec", "nodeName"]).is_empty()
            || (pod.uid(), generation) != (&binding.metadata.uid, binding.metadata.generation)
        {
            return Err(Status::conflict(&key.resource, key.path.name(), "it is not the pod that was to be bound"));
        }
        pod.set(&["spec", "nodeName"], binding.target.name);
        pod.notes.insert(CLAIM_NOTE.to_owned(), note.clone());
        let fence = ObjectKey::region_scoped(ClaimFence::resource(), claim);
        self.commit(key, Expect::At(stored.revision), &pod, vec![fence]).await?;
        Ok(Object::default())
    }
}

#[async_trait]
impl Source for Api {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        self.check().await?;
        let (snapshot, selection) = (self.engine.snapshot(), Self::selection(query));
        let items = snapshot.range(&selection.resource, &selection.within, None);
        let items = items.map(Arc::unwrap_or_clone).collect();
        Ok(Listing::new(snapshot.revision(), items))
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        self.check().await?;
        let cursor =
            self.engine.watch(Self::selection(query), after).map_err(|error| Status::expired(error.to_string()))?;
        Ok(futures::stream::unfold((cursor, false), |(mut cursor, idle)| async move {
            if !idle {
                // Whoever has caught up is told so.
                let next = cursor.next().now_or_never();
                let caught_up = || Ok(Delivery::Bookmark(cursor.revision()));
                let (idle, next) = (next.is_none(), next.unwrap_or_else(caught_up));
                return Some((next.map_err(|error| Status::expired(error.to_string())), (cursor, idle)));
            }
            let next = cursor.next().await.map_err(|error| Status::expired(error.to_string()));
            Some((next, (cursor, false)))
        })
        .boxed())
    }
}

#[async_trait]
impl Client for Api {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        self.check().await?;
        let found = self.engine.snapshot().get(key);
        found.ok_or_else(|| Status::not_found(&key.resource, key.path.name()))
    }

    async fn create(
        &self,
        resource: &GroupResource,
        tenant: &str,
        namespace: &str,
        mut object: Object,
    ) -> Result<Stored, Status> {
        self.check().await?;
        if *resource == arktos_core::typed::Event::resource() {
            self.told(tenant).await;
        }
        if object.uid().is_empty() {
            object.set(&["metadata", "uid"], self.random.uid());
        }
        object.set(&["metadata", "creationTimestamp"], self.clock.now().to_string());
        let path = ObjectPath::new(tenant, namespace, object.name());
        self.write(&ObjectKey { resource: resource.clone(), path }, Expect::Absent, &object).await
    }

    async fn update(&self, key: &ObjectKey, _: Option<&str>, object: Object) -> Result<Stored, Status> {
        self.check().await?;
        self.write(key, Expect::Present, &object).await
    }

    /// Only what the scheduler writes: the conditions of a status.
    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        self.check().await?;
        self.told(key.path.tenant()).await;
        assert_eq!(subresource, Some("status"));
        let Patch::Strategic(patch) = patch else { panic!("a strategic patch") };
        self.change(key, |object| object.set(&["status", "conditions"], patch["status"]["conditions"].clone())).await
    }

    async fn delete(&self, key: &ObjectKey, _: DeleteOptions) -> Result<(), Status> {
        self.check().await?;
        let commit = Commit::one(key.clone(), Expect::Present, Change::Delete);
        let gone = |_| Status::not_found(&key.resource, key.path.name());
        self.engine.commit(commit).await.map(|_| ()).map_err(gone)
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        self.check().await?;
        match (action, &self.reviews) {
            ("binding", _) => self.bind(key, &body).await,
            (_, Some(reviews)) => {
                let answer = reviews.review(body).await?;
                self.pause().await;
                let lost =
                    self.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if lost.is_ok() {
                    return Err(Status::failure(Reason::Timeout, "the answer was lost"));
                }
                Ok(answer)
            }
            (_, None) => {
                // a partition is asked; it reads itself
                let api = self.share();
                Fence::new(Arc::new(api), Arc::new(self.clock.clone())).review(body).await
            }
        }
    }
}

impl Api {
    fn share(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
            catalog: self.catalog.clone(),
            reviews: self.reviews.clone(),
            answers: AtomicBool::new(true),
            silent: AtomicBool::new(false),
            deaf: parking_lot::Mutex::default(),
            jitter: AtomicU64::new(0),
            failing_binds: AtomicU64::new(0),
            lost_answers: AtomicU64::new(0),
        }
    }
}
