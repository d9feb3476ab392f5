//! Controller references: adopting objects that nobody controls, releasing those that no longer match.

use arktos_core::typed::LabelSelectorSpec;
use arktos_core::{Header, Object, OwnerReference, Status};
use arktos_store::{Client, Stored};
use serde_json::Value;

use crate::kinds::Resource;
use crate::write::{amend, found};

/// The reference by which `owner` manages an object.
pub(crate) fn controller_reference(kind: &Resource, owner: &Stored) -> OwnerReference {
    OwnerReference {
        api_version: kind.type_meta.api_version.clone(),
        kind: kind.type_meta.kind.clone(),
        name: owner.path.name().to_owned(),
        uid: owner.object.header().uid().to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What is to become of an object in the eyes of a possible manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is managed by this manager and fits its selector.
    Mine,
    /// It is managed by this manager and does not fit: it is let go.
    Release,
    /// Nobody manages it and it fits: it is taken.
    Adopt,
    /// It is none of this manager's business.
    NotMine,
}

/// What is to become of an object in the eyes of a manager with this uid and selector.
pub(crate) fn claim(manager: &Stored, selector: &LabelSelectorSpec, object: &Header) -> Claim {
    let going = manager.object.header().deletion().is_some();
    let fits = selector.matches_header(object);
    match object.controller() {
        Some(owner) if *owner.uid != *manager.object.header().uid() => Claim::NotMine,
        Some(_) if fits => Claim::Mine,
        Some(_) if going => Claim::NotMine,
        Some(_) => Claim::Release,
        None if going || !fits || object.deletion().is_some() => Claim::NotMine,
        None => Claim::Adopt,
    }
}

/// Makes `manager` the manager of an object that has none; says whether it is now. The manager is looked up first: one
/// that is going, or is another of the same name, takes nothing.
pub(crate) async fn adopt(
    client: &dyn Client,
    managers: &Resource,
    manager: &Stored,
    objects: &Resource,
    object: &Stored,
) -> Result<Option<Stored>, Status> {
    let Some(fresh) = found(client.get(&managers.key(&manager.path)).await)? else { return Ok(None) };
    let (now, read) = (fresh.object.header(), manager.object.header());
    if now.uid() != read.uid() || now.deletion().is_some() {
        return Ok(None);
    }
    let uid = object.object.header().uid().to_owned();
    let reference = serde_json::to_value(controller_reference(managers, manager)).map_err(Status::internal)?;
    amend(client, &objects.key(&object.path), None, |edited| {
        let managed = edited.meta().is_ok_and(|meta| meta.controller().is_some() || meta.deletion_timestamp.is_some());
        if managed || edited.uid() != &*uid {
            return false;
        }
        owners(edited).push(reference.clone());
        true
    })
    .await
}

/// Takes references to an owner off an object.
pub(crate) async fn disown(
    client: &dyn Client,
    objects: &Resource,
    object: &Stored,
    owner_uids: &[&str],
) -> Result<(), Status> {
    let uid = object.object.header().uid().to_owned();
    let key = objects.key(&object.path);
    amend(client, &key, None, |edited| edited.uid() == &*uid && remove_owners(edited, owner_uids)).await.map(drop)
}

/// Takes references to owners off an object, and says whether there were any.
pub(crate) fn remove_owners(object: &mut Object, uids: &[&str]) -> bool {
    let owners = owners(object);
    let before = owners.len();
    owners.retain(|owner| !owner["uid"].as_str().is_some_and(|uid| uids.contains(&uid)));
    let removed = owners.len() != before;
    if owners.is_empty() {
        object.meta_mut().remove("ownerReferences");
    }
    removed
}

fn owners(object: &mut Object) -> &mut Vec<Value> {
    let owners = object.meta_mut().entry("ownerReferences").or_insert_with(|| Value::Array(Vec::new()));
    if !owners.is_array() {
        *owners = Value::Array(Vec::new());
    }
    let Value::Array(owners) = owners else { unreachable!("made a list right above") };
    owners
}
