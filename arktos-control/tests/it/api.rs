//! A small API server in memory: what controllers rely on of one, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::catalog::Catalog;
use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Reason, Revision, Status};
use arktos_store::client::{DeleteOptions, Listing, Patch, Propagation, WatchStream};
use arktos_store::{Client, Clock, Delivery, Query, Random, Source, Stored};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The server. Cloning it shares it.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: Mutex<State>,
    written: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(GroupResource, ObjectPath), Stored>,
    log: Vec<Change>,
    revision: u64,
    /// Requests that are refused, by verb and resource, and those in one tenant alone, with what they are told.
    faults: Vec<(String, String, Option<String>, Status)>,
    /// How many requests were made, by verb and resource.
    requests: BTreeMap<String, usize>,
    /// Lists are not answered, nor refused.
    paused: bool,
}

#[derive(Clone)]
struct Change {
    resource: GroupResource,
    before: Option<Stored>,
    after: Option<Stored>,
    revision: Revision,
}

impl Api {
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let (written, _) = watch::channel(0);
        Self(Arc::new(Shared { clock, random, state: Mutex::default(), written }))
    }

    /// Refuses requests of a verb on a resource until [`heal`](Self::heal).
    pub fn fail(&self, verb: &str, resource: &str, status: Status) {
        self.0.state.lock().faults.push((verb.to_owned(), resource.to_owned(), None, status));
    }

    /// The same, of requests in one tenant.
    pub fn fail_in(&self, tenant: &str, verb: &str, resource: &str, status: Status) {
        let fault = (verb.to_owned(), resource.to_owned(), Some(tenant.to_owned()), status);
        self.0.state.lock().faults.push(fault);
    }

    pub fn heal(&self) {
        self.0.state.lock().faults.clear();
        self.pause(false);
    }

    /// Answers no list until it goes on, as a process that is held.
    pub fn pause(&self, paused: bool) {
        let mut state = self.0.state.lock();
        state.paused = paused;
        self.0.written.send_replace(state.revision);
    }

    async fn goes_on(&self) {
        let (mut written, is_paused) = (self.0.written.subscribe(), || self.0.state.lock().paused);
        while is_paused() && written.changed().await.is_ok() {}
    }

    /// How many requests of a verb on a resource were made.
    pub fn requests(&self, verb: &str, resource: &str) -> usize {
        self.0.state.lock().requests.get(&format!("{verb} {resource}")).copied().unwrap_or(0)
    }

    fn admit(&self, verb: &str, resource: &GroupResource, tenant: &str) -> Result<(), Status> {
        let mut state = self.0.state.lock();
        *state.requests.entry(format!("{verb} {resource}")).or_insert(0) += 1;
        let is = |(on, what, of, _): &&(String, String, Option<String>, Status)| {
            on == verb && *what == resource.as_str() && of.as_deref().is_none_or(|of| of == tenant)
        };
        state.faults.iter().find(is).map_or(Ok(()), |(.., status)| Err(status.clone()))
    }

    /// Puts an object as it is (or takes it away) and tells watchers.
    fn write(&self, state: &mut State, key: &ObjectKey, object: Option<Object>) -> Option<Stored> {
        state.revision += 1;
        let revision = Revision(state.revision);
        let place = (key.resource.clone(), key.path.clone());
        let before = state.objects.get(&place).cloned();
        let after = object.map(|object| {
            let object = match Catalog::builtin().storage(&key.resource) {
                Some(kind) => kind.encode(&object),
                None => Encoded::encode(&Arc::new(object.type_meta()), &object, &[]),
            };
            let object = object.expect("encodes");
            Stored { path: key.path.clone(), revision, object }
        });
        match &after {
            Some(stored) => state.objects.insert(place, stored.clone()),
            None => state.objects.remove(&place),
        };
        state.log.push(Change { resource: key.resource.clone(), before, after: after.clone(), revision });
        self.0.written.send_replace(state.revision);
        after
    }

    fn find(state: &State, key: &ObjectKey) -> Result<Stored, Status> {
        let found = state.objects.get(&(key.resource.clone(), key.path.clone())).cloned();
        found.ok_or_else(|| Status::not_found(&key.resource, key.path.name()))
    }

    /// Fails where the namespace, or the tenant, of a new object is not there or is going.
    fn home(state: &State, resource: &GroupResource, path: &ObjectPath) -> Result<(), Status> {
        let mut homes = Vec::new();
        if !path.tenant().is_empty() {
            homes.push(("tenants", ObjectPath::new("", "", path.tenant())));
        }
        if !path.namespace().is_empty() {
            homes.push(("namespaces", ObjectPath::new(path.tenant(), "", path.namespace())));
        }
        for (kind, home) in homes {
            let home = Self::find(state, &ObjectKey { resource: GroupResource::core(kind), path: home })?;
            if home.object.header().deletion().is_some() {
                let why = format!("unable to create new content in {kind} because it is being terminated");
                return Err(Status::forbidden(resource, path.name(), why));
            }
        }
        Ok(())
    }

    /// Stores a change of an object, or takes the object away when nothing holds a deleted one any more.
    fn settle(&self, state: &mut State, key: &ObjectKey, before: &Stored, object: Object) -> Stored {
        let old = before.object.decode(Some(before.revision)).expect("decodes");
        if old.fields == object.fields {
            return before.clone();
        }
        let meta = object.meta().expect("metadata");
        let held = !meta.finalizers.is_empty()
            || object.at(&["spec", "finalizers"]).and_then(Value::as_array).is_some_and(|held| !held.is_empty())
            || (key.resource.as_str() == "pods" && meta.deletion_grace_period_seconds != Some(0));
        if meta.deletion_timestamp.is_some() && !held {
            self.write(state, key, None);
            return before.clone();
        }
        self.write(state, key, Some(object)).expect("written")
    }

    fn replace(&self, key: &ObjectKey, subresource: Option<&str>, new: Object) -> Result<Stored, Status> {
        let mut state = self.0.state.lock();
        let before = Self::find(&state, key)?;
        let old = before.object.decode(Some(before.revision)).expect("decodes");
        let revision = new.str_at(&["metadata", "resourceVersion"]);
        if !revision.is_empty() && revision != before.revision.to_string() {
            return Err(Status::conflict(&key.resource, key.path.name(), "the object has been modified"));
        }
        let mut object = match subresource {
            None => new,
            Some(part) => {
                let path: &[&str] = if part == "finalize" { &["spec", "finalizers"] } else { &["status"] };
                let mut object = old.clone();
                object.set(path, new.at(path).cloned().unwrap_or(Value::Null));
                object
            }
        };
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "resourceVersion", "generation"] {
            match old.at(&["metadata", field]) {
                Some(value) => object.set(&["metadata", field], value.clone()),
                None => drop(object.remove(&["metadata", field])),
            }
        }
        if subresource.is_none() {
            match old.at(&["status"]) {
                Some(status) => object.set(&["status"], status.clone()),
                None => drop(object.remove(&["status"])),
            }
            if object.at(&["spec"]) != old.at(&["spec"]) {
                let generation = old.int_at(&["metadata", "generation"]).unwrap_or(0) + 1;
                object.set(&["metadata", "generation"], generation);
            }
        }
        object.set(&["apiVersion"], old.str_at(&["apiVersion"]));
        object.set(&["kind"], old.str_at(&["kind"]));
        Ok(self.settle(&mut state, key, &before, object))
    }
}

#[async_trait]
impl Source for Api {
    async fn list(&self, query: &Query) -> Result<Listing, Status> {
        self.admit("list", &query.resource, "")?;
        self.goes_on().await;
        let state = self.0.state.lock();
        let inside = state.objects.iter().filter(|((resource, _), _)| *resource == query.resource);
        let items = inside.map(|(_, stored)| stored).filter(|stored| selected(query, stored)).cloned().collect();
        Ok(Listing::new(Revision(state.revision), items))
    }

    async fn watch(&self, query: &Query, after: Revision) -> Result<WatchStream, Status> {
        self.admit("watch", &query.resource, "")?;
        let (api, query, written) = (self.clone(), query.clone(), self.0.written.subscribe());
        let start = self.0.state.lock().log.partition_point(|change| change.revision <= after);
        Ok(Box::pin(futures::stream::unfold((start, written), move |(mut at, mut written)| {
            let (api, query) = (api.clone(), query.clone());
            async move {
                loop {
                    written.mark_unchanged();
                    if let Err(status) = api.admit("watching", &query.resource, "") {
                        return Some((Err(status), (at, written)));
                    }
                    loop {
                        let Some(change) = api.0.state.lock().log.get(at).cloned() else { break };
                        at += 1;
                        if let Some(delivery) = delivery(&query, change) {
                            return Some((Ok(delivery), (at, written)));
                        }
                    }
                    written.changed().await.ok()?;
                }
            }
        })))
    }
}

#[async_trait]
impl Client for Api {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        self.admit("get", &key.resource, key.path.tenant())?;
        Self::find(&self.0.state.lock(), key)
    }

    async fn create(
        &self,
        resource: &GroupResource,
        tenant: &str,
        namespace: &str,
        mut object: Object,
    ) -> Result<Stored, Status> {
        self.admit("create", resource, tenant)?;
        let mut meta = object.meta().map_err(Status::internal)?;
        if meta.name.is_empty() {
            meta.name = format!("{}{}", meta.generate_name, self.0.random.suffix());
        }
        meta.uid = self.0.random.uid();
        meta.namespace = namespace.to_owned();
        meta.creation_timestamp = Some(self.0.clock.now());
        meta.generation = 1;
        object.set_meta(&meta);
        match resource.as_str() {
            "namespaces" => {
                object.set(&["spec", "finalizers"], json!(["kubernetes"]));
                object.set(&["status"], json!({"phase": "Active"}));
            }
            "tenants" => object.set(&["spec", "finalizers"], json!(["arktos"])),
            "pods" => object.set(&["status"], json!({"phase": "Pending"})),
            _ => {}
        }
        let key = ObjectKey { resource: resource.clone(), path: ObjectPath::new(tenant, namespace, &meta.name) };
        let mut state = self.0.state.lock();
        if Self::find(&state, &key).is_ok() {
            return Err(Status::already_exists(resource, &meta.name));
        }
        Self::home(&state, resource, &key.path)?;
        Ok(self.write(&mut state, &key, Some(object)).expect("written"))
    }

    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status> {
        self.admit("update", &key.resource, key.path.tenant())?;
        self.replace(key, subresource, object)
    }

    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        self.admit("patch", &key.resource, key.path.tenant())?;
        let Patch::Merge(patch) = patch else { return Err(Status::bad_request("merge patches only")) };
        let before = Self::find(&self.0.state.lock(), key)?;
        let mut value = before.object.decode(Some(before.revision)).expect("decodes").into_value();
        merge(&mut value, patch);
        self.replace(key, subresource, Object::from_value(value).expect("an object"))
    }

    async fn delete(&self, key: &ObjectKey, options: DeleteOptions) -> Result<(), Status> {
        self.admit("delete", &key.resource, key.path.tenant())?;
        let mut state = self.0.state.lock();
        let before = Self::find(&state, key)?;
        let other_uid = options.uid.as_ref().is_some_and(|uid| **uid != *before.object.header().uid());
        if other_uid || options.revision.is_some_and(|revision| revision != before.revision) {
            return Err(Status::conflict(&key.resource, key.path.name(), "the precondition does not hold"));
        }
        let mut object = before.object.decode(Some(before.revision)).expect("decodes");
        let mut meta = object.meta().map_err(Status::internal)?;
        if meta.deletion_timestamp.is_none() {
            let finalizer = match options.propagation {
                Some(Propagation::Foreground) => Some("foregroundDeletion"),
                Some(Propagation::Orphan) => Some("orphan"),
                _ => None,
            };
            meta.finalizers.extend(finalizer.map(str::to_owned));
        }
        let bound = key.resource.as_str() == "pods" && !object.str_at(&["spec", "nodeName"]).is_empty();
        let grace = if bound { options.grace_period_seconds.unwrap_or(30) } else { 0 };
        if meta.deletion_timestamp.is_none() || grace == 0 {
            let wait = std::time::Duration::from_secs(grace.unsigned_abs());
            meta.deletion_timestamp.get_or_insert(self.0.clock.now().later(wait));
            meta.deletion_grace_period_seconds = Some(grace);
        }
        object.set_meta(&meta);
        if ["namespaces", "tenants"].contains(&key.resource.as_str()) {
            object.set(&["status", "phase"], "Terminating");
        }
        self.settle(&mut state, key, &before, object);
        Ok(())
    }

    async fn post(&self, _: &ObjectKey, _: &str, _: Object) -> Result<Object, Status> {
        Err(Status::failure(Reason::NotImplemented, "no actions here"))
    }
}

fn delivery(query: &Query, change: Change) -> Option<Delivery> {
    if change.resource != query.resource {
        return None;
    }
    let was = change.before.filter(|stored| selected(query, stored));
    let is = change.after.filter(|stored| selected(query, stored));
    match (was, is) {
        (None, Some(new)) => Some(Delivery::Added(new.into())),
        (Some(_), Some(new)) => Some(Delivery::Modified(new.into())),
        (Some(old), None) => {
            let gone = Stored { revision: change.revision, ..old };
            Some(Delivery::Deleted(gone.into()))
        }
        (None, None) => None,
    }
}

fn selected(query: &Query, stored: &Stored) -> bool {
    query.within.contains(&stored.path)
        && query.labels.matches_header(stored.object.header())
        && query.fields.terms.iter().all(|term| {
            let object = stored.object.decode(None).expect("decodes");
            let path: Vec<&str> = term.field.split('.').collect();
            (object.str_at(&path) == term.value) == term.equal
        })
}

fn merge(value: &mut Value, patch: Value) {
    match patch {
        Value::Object(fields) => {
            if !value.is_object() {
                *value = json!({});
            }
            for (name, part) in fields {
                if part.is_null() {
                    value.as_object_mut().expect("a map").remove(&name);
                } else {
                    merge(&mut value[name], part);
                }
            }
        }
        leaf => *value = leaf,
    }
}
