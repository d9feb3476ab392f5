//! Who has a policy read objects may read them: what a policy is parametrized by, it can tell in its messages.

use arktos_core::{GroupResource, Object, ObjectKey, Status, TypeMeta};
use serde_json::Value;

use super::{Review, mutations, policies};
use crate::call::Call;
use crate::identity::MASTERS;
use crate::query;
use crate::request::ResourceInfo;
use crate::verbs::modify::Part;

/// Judges what a policy is to be parametrized by, or what one of its bindings names for that, where it is new.
///
/// # Errors
/// 422 for what the asker may not read.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let (Part::Whole, Some(new)) = (review.part, review.new) else { return Ok(()) };
    if call.kind.group != policies::GROUP || call.identity.is_in(MASTERS) {
        return Ok(());
    }
    for (policies, bindings) in [&*policies::VALIDATING, &*mutations::MUTATING] {
        if call.kind.storage_resource == *policies {
            return of_policy(call, review.old, new);
        }
        if call.kind.storage_resource == *bindings {
            return of_binding(call, review.old, new, policies);
        }
    }
    Ok(())
}

fn of_policy(call: &Call<'_>, old: Option<&Object>, new: &Object) -> Result<(), Status> {
    const FIELD: &[&str] = &["spec", "paramKind"];
    let Some(kind) = new.at(FIELD).filter(|kind| kind.is_object()) else { return Ok(()) };
    if old.is_some_and(|old| old.at(FIELD) == Some(kind)) {
        return Ok(());
    }
    let all = || "*".to_owned();
    if may(call, "get", ResourceInfo { namespace: all(), name: all(), ..resource(call, Some(kind)) }) {
        return Ok(());
    }
    let text = |field: &str| kind[field].as_str().unwrap_or_default();
    let which = format!("(kind={}, apiVersion={})", text("kind"), text("apiVersion"));
    let user = &call.identity.user;
    let why = format!("user {user:?} must have \"get\" permission on all objects of the referenced paramKind {which}");
    Err(refusal(call, new, "spec.paramKind", &why))
}

fn of_binding(call: &Call<'_>, old: Option<&Object>, new: &Object, policies: &GroupResource) -> Result<(), Status> {
    const FIELD: &[&str] = &["spec", "paramRef"];
    const POLICY: &[&str] = &["spec", "policyName"];
    let Some(named) = new.at(FIELD).filter(|named| named.is_object()) else { return Ok(()) };
    if old.is_some_and(|old| old.at(FIELD) == Some(named) && old.at(POLICY) == new.at(POLICY)) {
        return Ok(());
    }
    let policy = policy(call, policies, new.str_at(POLICY))?;
    let kind = policy.as_ref().and_then(|policy| policy.at(&["spec", "paramKind"]));
    let text = |field: &str| named[field].as_str().unwrap_or_default().to_owned();
    let verb = if text("name").is_empty() { "list" } else { "get" };
    if may(call, verb, ResourceInfo { namespace: text("namespace"), name: text("name"), ..resource(call, kind) }) {
        return Ok(());
    }
    let user = &call.identity.user;
    let why = format!("user {user:?} does not have {verb:?} permission on the object referenced by paramRef");
    Err(refusal(call, new, "spec.paramRef", &why))
}

/// The policy of a name, if it is there.
fn policy(call: &Call<'_>, policies: &GroupResource, name: &str) -> Result<Option<Object>, Status> {
    if name.contains('/') {
        return Ok(None);
    }
    let key = ObjectKey::tenant_scoped(policies.clone(), call.one_tenant()?, name);
    let found = call.state.config.engine.snapshot().get(&key);
    found.map(|found| found.object.decode(None).map_err(Status::internal)).transpose()
}

/// What a kind is asked for as; everything, where it is not known.
fn resource(call: &Call<'_>, kind: Option<&Value>) -> ResourceInfo {
    let all = || "*".to_owned();
    let everything = ResourceInfo { group: all(), version: all(), resource: all(), ..ResourceInfo::default() };
    let Some(kind) = kind else { return everything };
    let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
    let types = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
    let told = call.state.kinds.described(call.tenant.as_ref());
    let found = told.catalog.kinds().find(|kind| *kind.type_meta == types);
    let resource = found.map_or_else(all, |found| found.resource.clone());
    ResourceInfo { group: types.group().to_owned(), version: types.version().to_owned(), resource, ..everything }
}

fn may(call: &Call<'_>, verb: &str, asked: ResourceInfo) -> bool {
    call.state.authorize(call.identity, call.tenant.as_ref(), verb, &asked).is_ok()
}

fn refusal(call: &Call<'_>, new: &Object, field: &str, why: &str) -> Status {
    let causes = vec![query::forbidden(field, why)];
    Status::invalid(&call.kind.group, &call.kind.kind, new.name(), causes)
}
