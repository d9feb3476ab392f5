//! Definitions of kinds: who gets which names, and what becomes of the objects of a definition that is deleted.
//!
//! Whether a definition is established is settled by whoever writes it, right after the write.
//! [`look_after`] does what takes longer, and what was cut off: it is driven by the server's owner, and
//! begins anew after a crash where the store says that things stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::custom::UsedNames;
use arktos_core::{GroupResource, ObjectKey};
use arktos_core::{Object, ObjectPath, Revision, Scope, Status, TenantName, custom};
use arktos_store::client::DeleteOptions;
use arktos_store::{Change, Commit, CommitError, Cursor, Delivery, Expect, Selection, Stored, Within};
use futures::StreamExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;

use crate::call::{Call, commit_fault};
use crate::forced;
use crate::identity::Identity;
use crate::kinds::{DEFINITION, definition_key, place};
use crate::offered;
use crate::query::WriteOptions;
use crate::server::State;
use crate::verbs::delete;

/// How often a write is made anew on a newer state.
const RETRIES: usize = 8;
/// How long what could not be finished waits for another attempt.
const AGAIN: Duration = Duration::from_secs(1);
/// Of how many definitions the objects are deleted at once, and of how many of one tenant.
const CLEANED_MAX: usize = 256;
const CLEANED_OF_ONE: usize = 4;
/// How many objects are deleted before others have a turn.
const AT_ONCE: usize = 500;

/// A kind that some tenant defines: its resource, its name, and where its objects live. Tenants can define one resource
/// in several ways; each is told of.
pub type DefinedKind = (GroupResource, String, Scope);

/// Settles the names of all definitions of a group in a tenant: what one gives up, another may be waiting for.
pub(crate) async fn settle(state: &State, tenant: &TenantName, group: &str) {
    for _ in 0..RETRIES {
        let snapshot = state.config.engine.snapshot();
        let within = Within::Tenant(tenant.clone());
        let all = snapshot.range(&DEFINITION, &within, None);
        let of_group: Vec<(Arc<Stored>, Object)> = all
            .filter(|stored| GroupResource::from(stored.path.name().to_owned()).group() == group)
            .filter_map(|stored| Some((stored.clone(), stored.object.decode(None).ok()?)))
            .collect();
        let used = UsedNames::of(of_group.iter().map(|(_, definition)| definition));
        let mut again = false;
        for (stored, definition) in &of_group {
            if stored.object.header().deletion().is_some() {
                continue;
            }
            let mut settled = definition.clone();
            if !custom::settle(&mut settled, &used, state.config.clock.now()) {
                continue;
            }
            if put(state, stored, &settled).await.is_err() {
                return; // whoever writes next, or looks after it, tries again
            }
            again = true; // what it has now, the others must know
            break;
        }
        if !again {
            return;
        }
    }
}

/// Writes a definition over the one that was read. Somebody else's write in between is no fault.
pub(crate) async fn put(state: &State, stored: &Stored, definition: &Object) -> Result<(), Status> {
    let kind =
        state.kinds.builtin().storage(&DEFINITION).ok_or_else(|| Status::internal("there are no definitions"))?;
    let object = kind.encode(definition).map_err(Status::internal)?;
    let key = ObjectKey { resource: DEFINITION.clone(), path: stored.path.clone() };
    match state.config.engine.commit(Commit::one(key, Expect::At(stored.revision), Change::put(object))).await {
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(error) => Err(commit_fault(&error)),
    }
}

/// Deletes objects of a definition that is being deleted, and lets it go once there are none. Whether it is gone.
async fn clean_up(state: &State, path: &ObjectPath) -> Result<bool, Status> {
    let key = ObjectKey { resource: DEFINITION.clone(), path: path.clone() };
    let Some(stored) = state.config.engine.snapshot().get(&key) else { return Ok(true) };
    let header = stored.object.header();
    if header.deletion().is_none() || !header.finalizers().any(|name| name == custom::FINALIZER) {
        return Ok(true); // it is no business of this one, or not any more
    }
    let now = state.config.clock.now();
    let mut definition = stored.object.decode(Some(stored.revision)).map_err(Status::internal)?;
    match empty(state, &stored).await {
        Ok(true) => {}
        Ok(false) => {
            if custom::deletion_progresses(&mut definition, now) {
                put(state, &stored, &definition).await?;
            }
            return Ok(false);
        }
        Err(status) => {
            if custom::deletion_failed(&mut definition, &status.message, now) {
                put(state, &stored, &definition).await?;
            }
            return Ok(false);
        }
    }
    custom::deletion_finished(&mut definition, now);
    if definition.at(&["metadata", "finalizers"]).is_some() {
        put(state, &stored, &definition).await?;
        return Ok(true);
    }
    let commit = Commit::one(key, Expect::At(stored.revision), Change::Delete);
    match state.config.engine.commit(commit).await {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict { .. }) => Ok(false),
        Err(error) => Err(commit_fault(&error)),
    }
}

/// Deletes objects of a definition. Whether there are none left.
async fn empty(state: &State, definition: &Stored) -> Result<bool, Status> {
    let Some(kind) = state.kinds.compiled(definition).stored().cloned() else { return Ok(true) };
    let Ok(tenant) = TenantName::new(definition.path.tenant()) else { return Ok(true) };
    let forced = forced::is_forced(definition);
    let within = if forced { Within::Everywhere } else { Within::Tenant(tenant.clone()) };
    let resource = kind.storage_resource.clone();
    let objects = || {
        let snapshot = state.config.engine.snapshot();
        let all = snapshot.range(&resource, &within, None);
        all.filter(|stored| forced::rules(&snapshot, definition, stored.path.tenant()))
            .take(AT_ONCE)
            .map(Arc::unwrap_or_clone)
            .collect::<Vec<_>>()
    };
    let all = objects();
    let waiting: Vec<Stored> =
        all.iter().filter(|stored| stored.object.header().deletion().is_none()).cloned().collect();
    let identity = Identity::system_component("arktos:definitions");
    let call = Call {
        state,
        identity: &identity,
        namespace: "".into(),
        name: "".into(),
        tenant: Some(tenant),
        kind,
        options: WriteOptions::default(),
        warnings: parking_lot::Mutex::default(),
        old: false,
        record: None,
        purse: arktos_core::cel::Purse::default(),
    };
    delete::delete_all(&call, waiting, &DeleteOptions::default()).await?;
    Ok(objects().is_empty())
}

/// What is known of all definitions there are.
#[derive(Default)]
struct Known {
    /// What each of them defines.
    established: HashMap<ObjectPath, DefinedKind>,
    /// How many of them define the same.
    kinds: BTreeMap<DefinedKind, usize>,
    /// Those whose objects are to be deleted.
    leaving: BTreeSet<ObjectPath>,
    /// The groups whose names are to be settled.
    unsettled: BTreeSet<(TenantName, String)>,
    /// Those that may say something else than what `system` offers, and offers that may have changed.
    behind: BTreeSet<ObjectPath>,
}

impl Known {
    /// Takes in what a definition is now; absent when it is gone. Whether another kind has come or gone.
    fn note(&mut self, state: &State, path: &ObjectPath, stored: Option<&Stored>) -> bool {
        let resource = GroupResource::from(path.name().to_owned());
        if let Ok(tenant) = TenantName::new(path.tenant()) {
            self.unsettled.insert((tenant, resource.group().to_owned()));
        }
        match stored.filter(|stored| stored.object.header().deletion().is_some()) {
            Some(_) => self.leaving.insert(path.clone()),
            None => self.leaving.remove(path),
        };
        if stored.is_some_and(offered::takes_part) {
            self.behind.insert(path.clone());
        }
        let now = stored.and_then(|stored| state.kinds.compiled(stored).stored().map(|kind| place(kind)));
        if self.established.get(path) == now.as_ref() {
            return false;
        }
        let mut changed = false;
        if let Some(kind) = &now {
            let count = self.kinds.entry(kind.clone()).or_default();
            *count += 1;
            changed |= *count == 1;
        }
        let before = match now {
            Some(kind) => self.established.insert(path.clone(), kind),
            None => self.established.remove(path),
        };
        if let Some(kind) = before
            && let Some(count) = self.kinds.get_mut(&kind)
        {
            *count -= 1;
            if *count == 0 {
                self.kinds.remove(&kind);
                changed = true;
            }
        }
        changed
    }

    fn all(&self) -> Vec<DefinedKind> {
        self.kinds.keys().cloned().collect()
    }
}

/// Looks after the definitions of all tenants until the store is closed.
pub(crate) async fn look_after(state: &State, tell: impl Fn(Vec<DefinedKind>) + Send + Sync) {
    let (mut known, mut cleaning) = (Known::default(), Cleaning::default());
    loop {
        let Ok(mut cursor) = begin(state, &mut known).await else {
            state.config.clock.sleep(AGAIN).await;
            continue;
        };
        tell(known.all());
        loop {
            act(state, &mut known, &mut cleaning).await;
            match next(state, &mut known, &mut cleaning, &mut cursor).await {
                Ok(true) => tell(known.all()),
                Ok(false) => {}
                Err(arktos_store::WatchError::Closed) => return,
                Err(_) => break, // history has moved on without it: begin anew
            }
        }
    }
}

/// Reads all definitions there are, and opens a watch of what comes after.
async fn begin(state: &State, known: &mut Known) -> Result<Cursor, arktos_store::WatchError> {
    let snapshot = state.config.engine.latest().await?;
    *known = Known::default();
    for stored in snapshot.range(&DEFINITION, &Within::Everywhere, None) {
        known.note(state, &stored.path, Some(&stored));
    }
    known.behind.retain(|path| path.tenant() == TenantName::SYSTEM); // who takes an offer is found with it
    let after: Revision = snapshot.revision();
    state.config.engine.watch(Selection::all(DEFINITION.clone(), Within::Everywhere), after)
}

/// The definitions whose objects are being deleted. What a tenant's webhooks say to that may take long: nothing else
/// waits for it.
#[derive(Default)]
struct Cleaning<'a> {
    paths: BTreeSet<ObjectPath>,
    /// Each says whether it is done.
    under_way: FuturesUnordered<BoxFuture<'a, (ObjectPath, bool)>>,
}

impl<'a> Cleaning<'a> {
    fn begin(&mut self, state: &'a State, leaving: &BTreeSet<ObjectPath>) {
        for path in leaving {
            let of_tenant = self.paths.iter().filter(|other| other.tenant() == path.tenant()).count();
            if self.paths.len() >= CLEANED_MAX || of_tenant >= CLEANED_OF_ONE || !self.paths.insert(path.clone()) {
                continue;
            }
            let path = path.clone();
            self.under_way.push(Box::pin(async move {
                let done = matches!(clean_up(state, &path).await, Ok(true));
                if !done {
                    state.config.clock.sleep(AGAIN).await;
                }
                (path, done)
            }));
        }
    }

    /// Completes with one that is done, or is to be begun anew.
    async fn next(&mut self) -> (ObjectPath, bool) {
        match self.under_way.next().await {
            Some((path, done)) => {
                self.paths.remove(&path);
                (path, done)
            }
            None => std::future::pending().await,
        }
    }
}

/// Does what is to be done. What cannot be finished stays.
async fn act<'a>(state: &'a State, known: &mut Known, cleaning: &mut Cleaning<'a>) {
    for (tenant, group) in std::mem::take(&mut known.unsettled) {
        settle(state, &tenant, &group).await;
    }
    for path in std::mem::take(&mut known.behind) {
        if offered::follow(state, &path).await.is_err() {
            known.behind.insert(path);
        }
    }
    cleaning.begin(state, &known.leaving);
}

/// Waits for the next event, or for another attempt at what was not finished. Whether a kind has come or gone.
async fn next(
    state: &State,
    known: &mut Known,
    cleaning: &mut Cleaning<'_>,
    cursor: &mut Cursor,
) -> Result<bool, arktos_store::WatchError> {
    let again = if known.behind.is_empty() {
        Either::Left(std::future::pending::<()>())
    } else {
        Either::Right(state.config.clock.sleep(AGAIN))
    };
    let delivery = {
        let (event, other) = (std::pin::pin!(cursor.next()), std::pin::pin!(cleaning.next()));
        match select(select(other, again), event).await {
            Either::Left((Either::Left(((path, done), _)), _)) => {
                if done {
                    known.leaving.remove(&path);
                }
                return Ok(false);
            }
            Either::Left((Either::Right(_), _)) => return Ok(false),
            Either::Right((event, _)) => event?,
        }
    };
    let mut changed = false;
    let mut delivery = Some(delivery);
    while let Some(one) = delivery {
        changed |= match &one {
            Delivery::Added(stored) | Delivery::Modified(stored) => known.note(state, &stored.path, Some(stored)),
            Delivery::Deleted(stored) => known.note(state, &stored.path, None),
            Delivery::Bookmark(_) => false,
        };
        delivery = cursor.try_next()?;
    }
    Ok(changed)
}

/// The guard that a new object's definition is there, and stays.
pub(crate) fn guard(call: &Call<'_>, name: &str, commit: &mut Commit) -> Result<(), Status> {
    if call.kind.builtin {
        return Ok(());
    }
    let Some(key) = call.state.kinds.definition_of(call.one_tenant()?, &call.kind) else { return Ok(()) };
    let found = call.state.config.engine.snapshot().get(&key);
    if !Expect::Live.holds(found.as_ref()) {
        return Err(terminating(call, name));
    }
    commit.guards.push(arktos_store::Guard { key, expect: Expect::Live });
    Ok(())
}

/// 403 for a new object of a definition that is being deleted.
pub(crate) fn terminating(call: &Call<'_>, name: &str) -> Status {
    let why = "create not allowed while custom resource definition is terminating";
    Status::forbidden(&call.kind.group_resource, name, why)
}

/// The key of the definition that a call is about.
pub(crate) fn is_definition(call: &Call<'_>) -> bool {
    call.kind.storage_resource == *DEFINITION
}

/// Settles after a write to a definition.
pub(crate) async fn written(call: &Call<'_>, stored: &Stored) {
    let (Some(tenant), false) = (&call.tenant, call.options.dry_run) else { return };
    let key = definition_key(tenant, stored.path.name());
    let group = GroupResource::from(key.path.name().to_owned()).group().to_owned();
    settle(call.state, tenant, &group).await;
}
