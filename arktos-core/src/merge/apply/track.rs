//! Ownership, as writes move it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::combine::combine;
use super::compare::{Change, compare};
use super::conflict::Conflicts;
use super::managers::{Manager, Managers, Owned, is_reset};
use super::prune::prune;
use super::renew::renewed;
use super::types::{Type, blank};
use super::walk::{faults_of, faults_of_live, fields_of, told};
use super::{Applied, Live, Writer};
use crate::fields::FieldSet;
use crate::managed::Managed;
use crate::schema::Schema;
use crate::status::Status;

/// Who owns what an object had before anybody applied to it, where nobody kept track.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The subresource whose writers have no time.
const SCALE: &str = "scale";

/// What nobody owns.
static NOBODYS: LazyLock<FieldSet> = LazyLock::new(|| {
    let meta = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
        "tenant",
    ];
    let mut set = FieldSet::of(&[&["apiVersion"], &["kind"], &["metadata"]]);
    for field in meta {
        set.extend(FieldSet::of(&[&["metadata", field]]));
    }
    set
});

/// Why a configuration was not applied.
pub(super) enum Refusal {
    Conflicts(Conflicts),
    Status(Status),
}

/// Why nobody can say who owns what: what the schema of a version does not know, or items that nothing tells apart.
struct Untold(String);

impl From<Untold> for Refusal {
    fn from(Untold(why): Untold) -> Self {
        Self::Status(Status::unexplained(why))
    }
}

/// `metadata.managedFields`.
pub(super) fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Takes `metadata.managedFields` away.
#[cfg(test)]
pub(super) fn take_managed_fields(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

impl Writer<'_> {
    /// The writer as a manager.
    pub(super) fn manager(&self, applies: bool) -> Manager {
        self.named(self.manager, applies)
    }

    fn named(&self, name: &str, applies: bool) -> Manager {
        Manager {
            name: if name.is_empty() { "unknown".to_owned() } else { name.to_owned() },
            applies,
            api_version: if applies { String::new() } else { self.api_version.to_owned() },
            subresource: self.subresource.to_owned(),
        }
    }

    /// What this writer owns now. Of a scale nobody notes when it was written: what was known of that stays.
    fn owned(&self, set: FieldSet, before: Option<String>) -> Owned {
        let time = if self.subresource == SCALE { before } else { Some(self.now.to_owned()) };
        Owned { set, api_version: self.api_version.to_owned(), time }
    }

    /// Whether upstream can make nothing of the version that an entry is of; and then it makes nothing of any entry.
    fn is_lost(&self, live: &Value, api_version: &str) -> bool {
        let known = || api_version == self.api_version || self.versions.at(live, api_version).is_some();
        api_version.matches('/').count() > 1 || !self.fixed && !known()
    }

    /// What a write changes, of what it can change.
    fn change(&self, ty: Type<'_>, live: &Value, new: &Value) -> Change {
        let mut change = compare(ty, live, new).into_change();
        for set in [&mut change.written, &mut change.removed] {
            self.reach.of(set);
        }
        change
    }

    /// The sets of managers, as the types are owned now.
    fn reconciled(&self, live: &Value, managers: &mut Managers) -> Result<(), Untold> {
        let reconcile = |ty: Type<'_>, owned: &mut Owned| {
            if ty.is_stale(&owned.set) {
                owned.set = ty.reconciled(&owned.set);
            }
        };
        let mut schemas: BTreeMap<String, Option<Schema>> = BTreeMap::new();
        for owned in managers.0.values().filter(|owned| owned.api_version != self.api_version) {
            if !schemas.contains_key(&owned.api_version) {
                let there = self.at(live, &owned.api_version)?;
                schemas.insert(owned.api_version.clone(), there.map(|(_, schema)| schema));
            }
        }
        managers.0.retain(|_, owned| {
            if owned.api_version == self.api_version {
                reconcile(Type::root(self.schema), owned);
                return true;
            }
            // Nobody knows what the fields of a version mean that is gone.
            let Some(Some(schema)) = schemas.get(&owned.api_version) else { return false };
            reconcile(Type::root(schema), owned);
            true
        });
        Ok(())
    }

    /// The object in another version, and that version's schema; absent where there is no such version.
    fn at(&self, object: &Value, api_version: &str) -> Result<Option<(Value, Schema)>, Untold> {
        let Some((object, schema)) = self.versions.at(object, api_version) else { return Ok(None) };
        let faults = faults_of(Type::root(&schema), &object);
        if faults.is_empty() { Ok(Some((object, schema))) } else { Err(Untold(told(&faults))) }
    }
}

/// See [`super::update`].
pub(super) fn update(
    writer: &Writer<'_>,
    live: Option<Live<'_>>,
    new: &Value,
    sent: Option<&Value>,
) -> Option<Managed> {
    let kept = live.and_then(|live| live.managed);
    let sent = sent.filter(|sent| writer.subresource.is_empty() && !kept.is_some_and(|kept| kept.is(sent)));
    let is_new = live.is_none();
    let live = live.map_or_else(|| blank(writer.schema), |live| live.object);
    let change = difference(writer, live, new);
    if change.odd {
        // Who owns what cannot be told of items that nothing tells apart: then nobody owns anything.
        return None;
    }
    if sent.is_none() && change.is_empty() {
        return kept.cloned();
    }
    if sent.is_none()
        && writer.fixed
        && writer.subresource != SCALE
        && let Some(renewed) = renewed(writer, kept, &change)
    {
        return Some(renewed);
    }
    let mut managers = if is_reset(sent) {
        Managers::default()
    } else {
        match Managers::parse(sent) {
            Ok(managers) if !managers.0.is_empty() => managers,
            _ => Managers::parse(kept.map(Managed::tree).as_ref()).unwrap_or_default(),
        }
    };
    // What nobody kept track of so far is not begun to be tracked by an update.
    if managers.0.is_empty() && !is_new {
        return None;
    }
    if sent.is_some() {
        if managers.0.values().any(|owned| writer.is_lost(live, &owned.api_version)) {
            return None;
        }
        writer.reconciled(live, &mut managers).ok()?;
        managers.0.retain(|_, owned| !owned.set.is_empty());
    }
    // Nor is it where a scale is written that is nobody's.
    let is_anyones = || {
        let touched = |owned: &Owned| {
            [&change.written, &change.removed].iter().any(|set| !owned.set.intersection(set).is_empty())
        };
        managers.0.values().any(touched)
    };
    if writer.subresource == SCALE && !is_anyones() {
        return kept.cloned();
    }
    if !change.is_empty() {
        updated(writer, live, new, &mut managers, change, writer.manager(false)).ok()?;
    }
    managers.cap();
    managers.print()
}

/// What an update changes. `managedFields` do not count.
fn difference(writer: &Writer<'_>, live: &Value, new: &Value) -> Change {
    let mut change = writer.change(Type::root(writer.schema), live, new);
    for set in [&mut change.written, &mut change.removed] {
        set.remove(&NOBODYS);
        set.remove_below(&MANAGED_FIELDS);
    }
    change
}

static MANAGED_FIELDS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of(&[&["metadata", "managedFields"]]));

/// Moves what an update changes to its manager.
fn updated(
    writer: &Writer<'_>,
    live: &Value,
    new: &Value,
    managers: &mut Managers,
    change: Change,
    manager: Manager,
) -> Result<(), Untold> {
    writer.reconciled(live, managers)?;
    // By force, so there is nothing to refuse.
    let _ = settle(writer, live, new, &change, managers, None)?;
    if change.written.is_empty() {
        return Ok(());
    }
    let (mut set, time) = managers.0.remove(&manager).map_or_else(Default::default, |before| (before.set, before.time));
    set.extend(change.written);
    managers.0.insert(manager, writer.owned(set, time));
    Ok(())
}

/// Takes what is written from those who own it. With an `applying` manager, which keeps what it has, and unless it is
/// by force, that is a conflict.
fn settle(
    writer: &Writer<'_>,
    live: &Value,
    new: &Value,
    change: &Change,
    managers: &mut Managers,
    applying: Option<(&Manager, bool)>,
) -> Result<Result<(), Conflicts>, Untold> {
    let mut conflicts = Conflicts::default();
    let mut others: BTreeMap<String, Option<Change>> = BTreeMap::new();
    let mut losses: Vec<(Manager, FieldSet)> = Vec::new();
    for (manager, owned) in &managers.0 {
        if applying.is_some_and(|(applying, _)| applying == manager) {
            continue;
        }
        let change = if owned.api_version == writer.api_version {
            Some(change)
        } else {
            if !others.contains_key(&owned.api_version) {
                others.insert(owned.api_version.clone(), elsewhere(writer, live, new, &owned.api_version)?);
            }
            others.get(&owned.api_version).and_then(Option::as_ref)
        };
        let Some(change) = change else {
            losses.push((manager.clone(), owned.set.clone()));
            continue;
        };
        let taken = owned.set.intersection(&change.written);
        if !taken.is_empty() {
            conflicts.0.insert(manager.clone(), taken.clone());
        }
        let lost = taken.union(&change.removed);
        if !lost.is_empty() {
            losses.push((manager.clone(), lost));
        }
    }
    if applying.is_some_and(|(_, force)| !force) && !conflicts.0.is_empty() {
        return Ok(Err(conflicts));
    }
    for (manager, lost) in losses {
        if let Some(owned) = managers.0.get_mut(&manager) {
            owned.set.remove(&lost);
        }
    }
    managers.0.retain(|_, owned| !owned.set.is_empty());
    Ok(Ok(()))
}

/// What is different in another version.
fn elsewhere(writer: &Writer<'_>, live: &Value, new: &Value, api_version: &str) -> Result<Option<Change>, Untold> {
    let at = |object: &Value, which: &str| {
        writer.at(object, api_version).map_err(|why| Untold(format!("failed to convert {which} object: {}", why.0)))
    };
    let (Some((live, schema)), Some((new, _))) = (at(live, "old")?, at(new, "new")?) else { return Ok(None) };
    Ok(Some(writer.change(Type::root(&schema), &live, &new)))
}

/// See [`super::apply`].
pub(super) fn apply(
    writer: &Writer<'_>,
    live: Option<Live<'_>>,
    config: &Value,
    force: bool,
) -> Result<Applied, Refusal> {
    let is_new = live.is_none();
    let entries = live.and_then(|live| live.managed).map(Managed::tree);
    let live = live.map_or_else(|| blank(writer.schema), |live| live.object);
    let mut managers = Managers::parse(entries.as_ref())
        .map_err(|fault| Refusal::Status(Status::internal(format!("failed to decode managed fields: {fault}"))))?;
    let ty = Type::root(writer.schema);
    if managers.0.is_empty() && !is_new {
        let none = blank(writer.schema);
        let change = difference(writer, none, live);
        let before = writer.named(BEFORE_FIRST_APPLY, false);
        let untracked = |why: &str| Untold(format!("failed to create manager for existing fields: {why}"));
        if change.odd {
            let faults = told(&faults_of_live(ty, live));
            let whole = named_kind(writer, live);
            return Err(untracked(&format!("failed to convert new object ({whole}) to smd typed: {faults}")).into());
        }
        updated(writer, none, live, &mut managers, change, before).map_err(|why| untracked(&why.0))?;
    }
    if writer.subresource == SCALE && !is_new {
        keep_scale(writer, live, &mut managers);
    }
    checked(writer, config).map_err(Refusal::Status)?;
    let faults = faults_of_live(ty, live);
    if !faults.is_empty() {
        let whole = named_kind(writer, live);
        return Err(Untold(format!("failed to create typed live object ({whole}): {}", told(&faults))).into());
    }
    writer.reconciled(live, &mut managers)?;
    let applying = writer.manager(true);
    let last = managers.0.get(&applying).cloned();
    let mut set = fields_of(ty, config);
    writer.reach.of(&mut set);
    let time = last.as_ref().and_then(|last| last.time.clone());
    managers.0.insert(applying.clone(), Owned { set, api_version: writer.api_version.to_owned(), time });
    let new = prune(writer, combine(ty, live, config), &managers, &applying, last.as_ref())
        .map_err(|why| Untold(format!("failed to prune fields: {why}")))?;
    let change = writer.change(ty, live, &new);
    settle(writer, live, &new, &change, &mut managers, Some((&applying, force)))?.map_err(Refusal::Conflicts)?;
    if let Some(owned) = managers.0.get_mut(&applying) {
        owned.set.remove(&NOBODYS);
        if new != *live && writer.subresource != SCALE {
            owned.time = Some(writer.now.to_owned());
        }
    }
    managers.0.retain(|_, owned| !owned.set.is_empty());
    Ok((new, managers.print()))
}

/// What is scaled, and is nobody's, has the number that it had before anybody applied a scale.
fn keep_scale(writer: &Writer<'_>, live: &Value, managers: &mut Managers) {
    let mut scaled = fields_of(Type::root(writer.schema), live);
    writer.reach.of(&mut scaled);
    let is_zero = live.pointer("/spec/replicas").is_none_or(|number| *number == 0);
    if is_zero || managers.0.values().any(|owned| !owned.set.intersection(&scaled).is_empty()) {
        return;
    }
    let before = Manager { api_version: "autoscaling/v1".to_owned(), ..writer.named(BEFORE_FIRST_APPLY, false) };
    managers.0.insert(before, Owned { set: scaled, api_version: writer.api_version.to_owned(), time: None });
}

/// Refuses a configuration that is none of this version, or that the schema does not allow.
fn checked(writer: &Writer<'_>, config: &Value) -> Result<(), Status> {
    let text = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or("");
    if text("apiVersion") != writer.api_version {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            text("apiVersion"),
            writer.api_version
        )));
    }
    if managed_fields(config).is_some_and(|entries| !entries.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let faults = faults_of(Type::root(writer.schema), config);
    if faults.is_empty() {
        return Ok(());
    }
    let whole = named_kind(writer, config);
    Err(Status::unexplained(format!("failed to create typed patch object ({whole}): {}", told(&faults))))
}

/// The namespace, name and kind of an object, as upstream's errors name it.
fn named_kind(writer: &Writer<'_>, object: &Value) -> String {
    let meta = |field: &str| {
        object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or("").to_owned()
    };
    format!(
        "{}/{}; {}{}, Kind={}",
        meta("namespace"),
        meta("name"),
        if writer.api_version.contains('/') { "" } else { "/" },
        writer.api_version,
        object.get("kind").and_then(Value::as_str).unwrap_or("")
    )
}
