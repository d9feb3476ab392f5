//! The services of the namespaces in which a host has pods, as one list: node agents ask for all services, to tell each
//! container where those beside it are.
//!
//! An aggregate has the services of all partitions, under the namespaces that hosts see. It begins to follow them when
//! the first host asks. A host's watch follows its pods as well: with the first pod in a namespace come the services of
//! it, with the last one they go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Kind;
use arktos_core::{GroupResource, ObjectKey, Revision, Status, TenantName};
use arktos_store::aggregate::Aggregate;
use arktos_store::client::{Listing, WatchListEvent, WatchListStream};
use arktos_store::select::{Field, FieldTest};
use arktos_store::{Clock, Cursor, Delivery, Engine, Query, Selection, Snapshot, Stored, Tasks, WatchError, Within};
use futures::future::{BoxFuture, Either, select};
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use super::Origin;
use super::views::unavailable;

/// How long a host waits for partitions that were not heard of yet.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a quiet watch is told how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// The services beside hosts' pods.
pub struct HostServices {
    /// The pods, as hosts see them, and where their headers have the host.
    pods: Engine,
    place: usize,
    services: Aggregate,
    /// What services can be selected by.
    kind: Arc<Kind>,
    /// What keeps them current, until somebody asks, and what runs it from then on.
    driver: Mutex<Option<BoxFuture<'static, ()>>>,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
}

/// The namespaces that have pods of a host, with how many, and the partition each is of.
type Inhabited = BTreeMap<String, (usize, String)>;

impl HostServices {
    /// Services, of a kind, beside the pods in an engine, whose headers have their host at `place`. `tasks` is given
    /// what keeps the services current once somebody asks for them.
    #[must_use]
    pub fn new(
        (pods, place): (Engine, usize),
        (kind, services, driver): (Arc<Kind>, Aggregate, BoxFuture<'static, ()>),
        tasks: &Tasks,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { pods, place, services, kind, driver: Mutex::new(Some(driver)), tasks: tasks.clone(), clock }
    }

    /// Those that a host is shown now.
    ///
    /// # Errors
    /// 503 while a partition of one of its pods was not heard of.
    pub async fn list(&self, host: &str, query: &Query) -> Result<Listing, Status> {
        let selection = self.selection(query)?;
        let inhabited = self.inhabited(&self.pods.snapshot(), host);
        self.heard_of(&inhabited).await?;
        let snapshot = self.services.engine().latest().await.map_err(|error| fault(&error))?;
        let items = inhabited.keys().flat_map(|namespace| of(&snapshot, &selection, namespace));
        Ok(Listing::new(snapshot.revision(), items.map(Arc::unwrap_or_clone).collect()))
    }

    /// What happens to them after a revision; without one, what there is first.
    ///
    /// A namespace may have come since that revision without anything having happened to its services. So they all come
    /// first, and a bookmark says where the watch stands.
    ///
    /// # Errors
    /// As [`list`](Self::list), also in the stream.
    pub async fn watch(&self, host: &str, query: &Query, after: Option<Revision>) -> Result<WatchListStream, Status> {
        let selection = self.selection(query)?;
        let now = self.pods.snapshot();
        let inhabited = self.inhabited(&now, host);
        self.heard_of(&inhabited).await?;
        let pods = self.pods.watch(self.pods_on(host), now.revision()).map_err(|error| fault(&error))?;
        let engine = self.services.engine().clone();
        let snapshot = engine.latest().await.map_err(|error| fault(&error))?;
        let from = after.unwrap_or(snapshot.revision());
        let services = engine.watch(selection.clone(), from).map_err(|error| fault(&error))?;
        let tick = self.clock.sleep(BOOKMARK_EVERY);
        let (inhabited, ready) =
            (inhabited.into_iter().map(|(name, (count, _))| (name, count)).collect(), VecDeque::new());
        let clock = self.clock.clone();
        let mut changes = Changes { engine, selection, services, pods, inhabited, ready, clock, tick, ended: false };
        for namespace in changes.inhabited.keys().cloned().collect::<Vec<_>>() {
            changes.show(&snapshot, &namespace, from);
        }
        changes.ready.push_back(match after {
            None => WatchListEvent::InitialEnd(from),
            Some(_) => WatchListEvent::Delivery(Delivery::Bookmark(from)),
        });
        let next = |mut changes: Changes| async move { changes.next().await.map(|next| (next, changes)) };
        Ok(stream::unfold(changes, next).boxed())
    }

    fn selection(&self, query: &Query) -> Result<Selection, Status> {
        let mut selection = Selection::all(query.resource.clone(), Within::Tenant(TenantName::system()));
        selection.labels = query.labels.clone();
        for term in &query.fields.terms {
            let field = match term.field.as_str() {
                "metadata.name" => Some(Field::Name),
                name => self.kind.field(name).map(Field::At),
            };
            let unknown = || Status::bad_request(format!("all services cannot be selected by {:?} here", term.field));
            let field = field.ok_or_else(unknown)?;
            selection.fields.push(FieldTest { field, value: term.value.clone(), equal: term.equal });
        }
        Ok(selection)
    }

    fn inhabited(&self, pods: &Snapshot, host: &str) -> Inhabited {
        let (selection, mut found) = (self.pods_on(host), Inhabited::new());
        for pod in pods.select(&selection, None) {
            let entry = found.entry(pod.path.namespace().to_owned()).or_insert_with(|| {
                let key = ObjectKey { resource: selection.resource.clone(), path: pod.path.clone() };
                let origin = Origin::of(&key, pod.object.header());
                (0, origin.map(|origin| origin.partition).unwrap_or_default())
            });
            entry.0 += 1;
        }
        found
    }

    /// The pods of a host.
    pub(super) fn pods_on(&self, host: &str) -> Selection {
        let on_it = FieldTest { field: Field::At(self.place), value: host.to_owned(), equal: true };
        Selection::all(GroupResource::core("pods"), Within::Tenant(TenantName::system())).field(on_it)
    }

    /// Returns when the services of the partitions of some namespaces are here.
    async fn heard_of(&self, inhabited: &Inhabited) -> Result<(), Status> {
        if let Some(driver) = self.driver.lock().take() {
            self.tasks.add("services beside pods", driver);
        }
        if self.silent(inhabited).is_some() {
            let synced = std::pin::pin!(self.services.synced());
            let _ = select(synced, self.clock.sleep(PATIENCE)).await; // it may be another one that is silent
        }
        match self.silent(inhabited) {
            Some(partition) => Err(unavailable(format!("the services of {partition} are not known yet"))),
            None => Ok(()),
        }
    }

    /// A partition of one of the namespaces that was not heard of yet.
    fn silent(&self, inhabited: &Inhabited) -> Option<String> {
        let mut silent = self.services.progress().into_iter().filter(|(_, progress)| !progress.synced);
        silent.find(|(name, _)| inhabited.values().any(|(_, partition)| partition == name)).map(|(name, _)| name)
    }
}

/// One watch, as its stream pulls it along.
struct Changes {
    engine: Engine,
    selection: Selection,
    services: Cursor,
    pods: Cursor,
    /// The namespaces that are shown, with how many pods the host has in each.
    inhabited: BTreeMap<String, usize>,
    ready: VecDeque<WatchListEvent>,
    clock: Arc<dyn Clock>,
    tick: BoxFuture<'static, ()>,
    ended: bool,
}

/// What a watch that waited was woken by.
enum Woken {
    Service(Result<Delivery, WatchError>),
    Pod(Result<Delivery, WatchError>),
    Tick,
}

impl Changes {
    async fn next(&mut self) -> Option<Result<WatchListEvent, Status>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            let woken = {
                let (service, pod) = (std::pin::pin!(self.services.next()), std::pin::pin!(self.pods.next()));
                match select(service, select(pod, &mut self.tick)).await {
                    Either::Left((service, _)) => Woken::Service(service),
                    Either::Right((Either::Left((pod, _)), _)) => Woken::Pod(pod),
                    Either::Right((Either::Right(_), _)) => Woken::Tick,
                }
            };
            match woken {
                Woken::Service(Ok(delivery)) if self.shows(&delivery) => {
                    return Some(Ok(WatchListEvent::Delivery(delivery)));
                }
                Woken::Service(Ok(_)) => {}
                Woken::Pod(Ok(delivery)) => self.moved(&delivery),
                Woken::Service(Err(error)) | Woken::Pod(Err(error)) => {
                    self.ended = true;
                    return (error != WatchError::Closed).then(|| Err(fault(&error)));
                }
                Woken::Tick => {
                    self.tick = self.clock.sleep(BOOKMARK_EVERY);
                    self.bookmark();
                }
            }
        }
    }

    fn shows(&self, delivery: &Delivery) -> bool {
        match delivery {
            Delivery::Added(stored) | Delivery::Modified(stored) | Delivery::Deleted(stored) => {
                self.inhabited.contains_key(stored.path.namespace())
            }
            Delivery::Bookmark(_) => false,
        }
    }

    /// A pod of the host has come, or gone.
    fn moved(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Added(pod) => {
                let namespace = pod.path.namespace();
                let count = self.inhabited.entry(namespace.to_owned()).or_default();
                *count += 1;
                if *count == 1 {
                    let (snapshot, stands) = (self.engine.snapshot(), self.services.bookmark_now());
                    self.show(&snapshot, namespace, stands);
                    self.bookmark();
                }
            }
            Delivery::Deleted(pod) => {
                let namespace = pod.path.namespace();
                let left = self.inhabited.get(namespace).map_or(0, |count| count.saturating_sub(1));
                if left > 0 {
                    self.inhabited.insert(namespace.to_owned(), left);
                } else if self.inhabited.remove(namespace).is_some() {
                    let (snapshot, revision) = (self.engine.snapshot(), self.services.bookmark_now());
                    let gone = of(&snapshot, &self.selection, namespace);
                    let gone = gone.into_iter().map(|stored| Stored { revision, ..Arc::unwrap_or_clone(stored) });
                    self.ready.extend(gone.map(|gone| WatchListEvent::Delivery(Delivery::Deleted(gone.into()))));
                }
            }
            Delivery::Modified(_) | Delivery::Bookmark(_) => {}
        }
    }

    /// Shows the services of a namespace, but for those that the cursor will come to.
    fn show(&mut self, snapshot: &Snapshot, namespace: &str, stands: Revision) {
        let there = of(snapshot, &self.selection, namespace).into_iter().filter(|stored| stored.revision <= stands);
        self.ready.extend(there.map(|stored| WatchListEvent::Delivery(Delivery::Added(stored))));
    }

    fn bookmark(&mut self) {
        let stands = self.services.bookmark_now();
        self.ready.push_back(WatchListEvent::Delivery(Delivery::Bookmark(stands)));
    }
}

/// The services of a namespace that are selected.
fn of(snapshot: &Snapshot, selection: &Selection, namespace: &str) -> Vec<Arc<Stored>> {
    let within = Within::Namespace(TenantName::system(), namespace.to_owned());
    let there = snapshot.range(&selection.resource, &within, None);
    there.filter(|stored| selection.matches(&stored.path, &stored.object)).collect()
}

fn fault(error: &WatchError) -> Status {
    match error {
        WatchError::Compacted { .. } => Status::expired(error.to_string()),
        _ => unavailable(error.to_string()),
    }
}
