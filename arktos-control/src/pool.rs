//! The hosts of all resource managers as one pool.
//!
//! An aggregate shows them ([`projection`]); what is written of a host goes to the resource manager that has it
//! ([`Pool`]), under the revision that the object has there.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Kind;
use arktos_core::{GroupResource, Object, ObjectKey, Revision, Status};
use arktos_store::client::{DeleteOptions, Listing, Patch, WatchStream};
use arktos_store::{Client, Clock, Engine, Query, Roster, Snapshot, Source, Stored};
use async_trait::async_trait;
use futures::future::{Either, select};

/// The notes by which an object of the pool says whose it is, and its revision there.
const MANAGER: &str = "origin-resource-manager";
const REVISION: &str = "origin-revision";
/// How long whoever wrote waits until the pool shows it.
const SHOWN: Duration = Duration::from_secs(3);

/// Turns what a resource manager has into what the pool shows: the same, with notes of where it came from. `kind` is
/// the kind of the objects.
///
/// An object that cannot be decoded is left out: its resource manager could not have stored it.
pub fn projection(kind: Arc<Kind>) -> impl Fn(&str, &Stored) -> Option<Stored> + Send + Sync + 'static {
    move |manager, stored| {
        let mut object = stored.object.decode(None).ok()?;
        object.notes.insert(MANAGER.to_owned(), manager.to_owned());
        object.notes.insert(REVISION.to_owned(), stored.revision.to_string());
        Some(Stored { object: kind.encode(&object).ok()?, ..stored.clone() })
    }
}

/// A client for what belongs to hosts that sends each write to the resource manager that has the host. Lists and
/// watches come from the engine, and not from here. What was written is answered when the pool shows it, and as it
/// does: who reads next sees no less, and all revisions that anybody is told are the pool's. What is not shown in time
/// is answered as the resource manager has it.
#[derive(Clone)]
pub struct Pool {
    engine: Engine,
    managers: Roster,
    clock: Arc<dyn Clock>,
}

/// Where an object came from.
struct Origin {
    manager: Arc<dyn Client>,
    /// Its revision in the pool, and there.
    shown: Revision,
    own: Revision,
    /// Whether it was being deleted already.
    ends: bool,
}

impl Pool {
    /// A client over the engine that holds the pool, and the resource managers, by name.
    #[must_use]
    pub fn new(engine: Engine, managers: impl Into<Roster>, clock: Arc<dyn Clock>) -> Self {
        Self { engine, managers: managers.into(), clock }
    }

    /// What was written, as the pool shows it.
    async fn shown(&self, key: &ObjectKey, written: Stored) -> Stored {
        let coming = self.until(|pool| {
            let shown = pool.get(key)?;
            let own = own_revision(&shown).filter(|own| *own >= written.revision)?;
            Some((own, shown))
        });
        match coming.await {
            // What goes with its last finalizer is answered as it was left, and shown as it was before.
            Some((own, shown)) if own == written.revision => Stored { revision: shown.revision, ..written },
            Some((_, newer)) => newer,
            None => written,
        }
    }

    /// Waits a little until something is found in the pool.
    async fn until<T: Send>(&self, find: impl Fn(&Snapshot) -> Option<T> + Send + Sync) -> Option<T> {
        let coming = std::pin::pin!(async {
            loop {
                let seen = {
                    let pool = self.engine.snapshot();
                    if let Some(found) = find(&pool) {
                        return Some(found);
                    }
                    pool.revision()
                };
                self.engine.not_older_than(Revision(seen.0.saturating_add(1))).await.ok()?;
            }
        });
        match select(coming, self.clock.sleep(SHOWN)).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => None,
        }
    }

    fn origin(&self, key: &ObjectKey) -> Result<Origin, Status> {
        let stored = self.engine.snapshot().get(key);
        let stored = stored.ok_or_else(|| Status::not_found(&key.resource, key.path.name()))?;
        let header = stored.object.header();
        let manager = header.note(MANAGER).and_then(|name| self.managers.now().find(name).cloned());
        let ends = header.deletion().is_some();
        match (manager, own_revision(&stored)) {
            (Some(manager), Some(own)) => Ok(Origin { manager, shown: stored.revision, own, ends }),
            _ => Err(Status::internal("it is not known which resource manager has this object")),
        }
    }
}

/// The revision that an object of the pool has at its resource manager.
fn own_revision(shown: &Stored) -> Option<Revision> {
    shown.object.header().note(REVISION).and_then(Revision::parse)
}

impl Origin {
    /// A revision of the pool as the resource manager knows it. Any other is the manager's own, or out of date: the
    /// manager says which.
    fn revision(&self, given: Revision) -> Revision {
        if given == self.shown { self.own } else { given }
    }

    fn translate(&self, mut object: Object) -> Object {
        let given = Revision::parse(object.str_at(&["metadata", "resourceVersion"]));
        if let Some(given) = given {
            object.set(&["metadata", "resourceVersion"], self.revision(given).to_string());
        }
        object.notes.remove(MANAGER);
        object.notes.remove(REVISION);
        object
    }
}

#[async_trait]
impl Source for Pool {
    async fn list(&self, _: &Query) -> Result<Listing, Status> {
        Err(writes_only())
    }

    async fn watch(&self, _: &Query, _: Revision) -> Result<WatchStream, Status> {
        Err(writes_only())
    }
}

#[async_trait]
impl Client for Pool {
    async fn get(&self, key: &ObjectKey) -> Result<Stored, Status> {
        self.origin(key)?.manager.get(key).await // what is shown may be behind
    }

    async fn create(&self, resource: &GroupResource, tenant: &str, ns: &str, object: Object) -> Result<Stored, Status> {
        let members = self.managers.now();
        match members.present.as_slice() {
            [(_, only)] => {
                let made = only.create(resource, tenant, ns, object).await?;
                let key = ObjectKey { resource: resource.clone(), path: made.path.clone() };
                Ok(self.shown(&key, made).await)
            }
            _ => {
                let why = "there are several resource managers: create it at the one that shall have it";
                Err(Status::forbidden(resource, object.name(), why))
            }
        }
    }

    async fn update(&self, key: &ObjectKey, subresource: Option<&str>, object: Object) -> Result<Stored, Status> {
        let origin = self.origin(key)?;
        let written = origin.manager.update(key, subresource, origin.translate(object)).await?;
        Ok(self.shown(key, written).await)
    }

    async fn patch(&self, key: &ObjectKey, subresource: Option<&str>, patch: Patch) -> Result<Stored, Status> {
        let written = self.origin(key)?.manager.patch(key, subresource, patch).await?;
        Ok(self.shown(key, written).await)
    }

    async fn delete(&self, key: &ObjectKey, mut options: DeleteOptions) -> Result<(), Status> {
        let origin = self.origin(key)?;
        options.revision = options.revision.map(|given| origin.revision(given));
        origin.manager.delete(key, options).await?;
        if !origin.ends {
            self.until(|pool| pool.get(key).is_none_or(|now| now.revision != origin.shown).then_some(())).await;
        }
        Ok(())
    }

    async fn post(&self, key: &ObjectKey, action: &str, body: Object) -> Result<Object, Status> {
        self.origin(key)?.manager.post(key, action, body).await
    }
}

fn writes_only() -> Status {
    Status::internal("what belongs to hosts is read from the pool's engine")
}
