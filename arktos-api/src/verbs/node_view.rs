//! Objects of other roles that nodes read because pods bound to them name them, and the Events of those pods
//! ([`NodeViews`]).

use arktos_core::{FieldSelector, Object, Revision, Status, TenantName};
use arktos_store::client::{Listing, Patch, WatchListStream};
use arktos_store::{Query, Stored};

use super::modify::Part;
use super::read;
use crate::admission::node_restriction;
use crate::call::Call;
use crate::config::NodeViews;
use crate::query::{ReadOptions, VersionMatch};
use crate::tokens::issue;

/// Who answers, and which node asks; none where it is kept here, or somebody else asks.
fn view<'a>(call: &'a Call<'_>) -> Option<(&'a dyn NodeViews, &'a str)> {
    let views = call.state.config.node_views.as_deref().filter(|_| call.tenant == Some(TenantName::system()))?;
    let node = call.identity.node().filter(|node| !node.is_empty())?;
    views.covers(&call.kind.storage_resource, &call.namespace).then_some((views, node))
}

/// One object; none where it is to be read here.
///
/// # Errors
/// What its keeper answers.
pub(crate) async fn get(call: &Call<'_>) -> Result<Option<Stored>, Status> {
    let Some((views, node)) = view(call) else { return Ok(None) };
    views.get(node, &call.key()?).await.map(Some)
}

/// What is selected, at its newest; none where it is to be read here.
///
/// # Errors
/// As [`get`]; 410 for an older state, which is not kept.
pub(crate) async fn list(call: &Call<'_>, options: &ReadOptions) -> Result<Option<Listing>, Status> {
    let Some((views, node)) = view(call) else { return Ok(None) };
    let query = query(call, options)?;
    if !options.continue_token.is_empty() || options.version_match == Some(VersionMatch::Exact) {
        return Err(Status::expired("only the newest state can be listed here: list anew"));
    }
    views.list(node, &query).await.map(Some)
}

/// What happens to what is selected, after a revision or from the start; none where it is to be watched here.
///
/// # Errors
/// As [`get`].
pub(crate) async fn watch(
    call: &Call<'_>,
    options: &ReadOptions,
    after: Option<Revision>,
) -> Result<Option<WatchListStream>, Status> {
    let Some((views, node)) = view(call) else { return Ok(None) };
    views.watch(node, &query(call, options)?, after).await.map(Some)
}

/// A token; none where it is to be given out here.
///
/// # Errors
/// As [`get`]; 403 for one that the node may not have.
pub(crate) async fn token(call: &Call<'_>, request: &Object) -> Result<Option<Object>, Status> {
    let Some((views, node)) = view(call) else { return Ok(None) };
    issue::placed(call, request)?;
    node_restriction::token(call, request)?;
    views.token(node, &call.key()?, request.clone()).await.map(Some)
}

/// An Event of a pod, kept where the pod is; none where it is to be kept here.
///
/// # Errors
/// As [`get`].
pub(crate) async fn tell(call: &Call<'_>, event: &Object) -> Result<Option<Stored>, Status> {
    let Some((views, node)) = view(call).filter(|_| is_event(call) && !call.options.dry_run) else { return Ok(None) };
    views.tell(node, &call.namespace, call.to_admit(event.clone())).await.map(Some)
}

/// A patch of an Event of a pod, or of the status of a volume's claim, sent on; none where it is to be made here.
///
/// # Errors
/// As [`get`].
pub(crate) async fn tell_more(call: &Call<'_>, part: Part<'_>, patch: &Patch) -> Result<Option<Stored>, Status> {
    let is_claim = call.kind.storage_resource.as_str() == "persistentvolumeclaims";
    let told = is_event(call) && part == Part::Whole || is_claim && part == Part::Status;
    let sent_on = told && call.kind.storage && !call.options.dry_run;
    let Some((views, node)) = view(call).filter(|_| sent_on) else { return Ok(None) };
    views.tell_more(node, &call.key()?, patch.clone()).await.map(Some)
}

fn is_event(call: &Call<'_>) -> bool {
    call.kind.storage_resource.as_str() == "events"
}

/// What is selected, as clients of the region say it.
fn query(call: &Call<'_>, options: &ReadOptions) -> Result<Query, Status> {
    let _ = read::selection(call, options)?; // its faults are the same everywhere
    let named = if call.name.is_empty() { options.fields.required("metadata.name") } else { Some(&*call.name) };
    let resource = call.kind.storage_resource.clone();
    let mut query = match named {
        Some(name) if !call.namespace.is_empty() => Query::object(resource, call.key_of(name)?.path),
        _ => Query::all(resource, call.within()),
    };
    query.labels = options.labels.clone();
    query.fields = fields(call, options)?;
    Ok(query)
}

/// The selector of fields, without the namespace: that is another one where the objects are.
fn fields(call: &Call<'_>, options: &ReadOptions) -> Result<FieldSelector, Status> {
    let (of_namespaces, terms): (Vec<_>, Vec<_>) =
        options.fields.terms.iter().cloned().partition(|term| term.field == "metadata.namespace");
    if of_namespaces.iter().any(|term| !term.equal || call.namespace.is_empty() || term.value != call.namespace) {
        return Err(Status::bad_request("a node names the namespace in the path, and not in the field selector"));
    }
    Ok(FieldSelector { terms })
}
