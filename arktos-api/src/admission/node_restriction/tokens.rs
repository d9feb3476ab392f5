//! Which tokens of service accounts a node may ask for.

use arktos_core::{GroupResource, Object, ObjectKey, Status};
use arktos_store::Stored;
use serde_json::Value;

use super::{node, projected};
use crate::call::Call;
use crate::request::ResourceInfo;

/// The verb of the right to tokens for an audience that no pod of the node asks for.
const REQUEST_AUDIENCE: &str = "request-serviceaccounts-token-audience";

/// Judges a request for a service account's token: it must be bound to a pod that runs on the node, and for an audience
/// that the pod asks for.
///
/// # Errors
/// 403, and 404 when the pod is not there.
pub(crate) fn token(call: &Call<'_>, request: &Object) -> Result<(), Status> {
    let Some(node) = node(call)? else { return Ok(()) };
    let refuse = |why: String| Err(Status::forbidden(&call.kind.group_resource, &call.name, why));
    let bound = |field: &str| request.str_at(&["spec", "boundObjectRef", field]);
    let (name, uid) = (bound("name"), bound("uid"));
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || name.is_empty() {
        return refuse("node requested token not bound to a pod".to_owned());
    }
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid".to_owned());
    }
    let pods = GroupResource::core("pods");
    let found = pod(call, &pods, name)?.ok_or_else(|| Status::not_found(&pods, name))?;
    if found.object.header().uid() != uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        );
        return refuse(why);
    }
    let pod = found.object.decode(None).map_err(Status::internal)?;
    if pod.str_at(&["spec", "nodeName"]) != node {
        return refuse("node requested token bound to a pod scheduled on a different node".to_owned());
    }
    let audiences = request.at(&["spec", "audiences"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let audience = match audiences {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return refuse("node may only request 0 or 1 audiences".to_owned()),
    };
    if asks_for(&pod, audience) || may_request(call, audience) {
        return Ok(());
    }
    let user = &call.identity.user;
    refuse(format!(
        "audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this \
         audience"
    ))
}

fn pod(call: &Call<'_>, pods: &GroupResource, name: &str) -> Result<Option<Stored>, Status> {
    if name.contains('/') {
        return Ok(None);
    }
    let config = &call.state.config;
    let engine = config.delegates.get(pods).map_or(&config.engine, |delegate| &delegate.engine);
    let key = ObjectKey::namespaced(pods.clone(), call.one_tenant()?, &call.namespace, name);
    Ok(engine.snapshot().get(&key))
}

/// Whether a pod has a volume with a token for an audience. (The API server itself is the audience without a name.)
fn asks_for(pod: &Object, audience: &str) -> bool {
    let tokens = projected(pod).map(|source| &source["serviceAccountToken"]).filter(|token| token.is_object());
    tokens.into_iter().any(|token| token["audience"].as_str().unwrap_or_default() == audience)
}

fn may_request(call: &Call<'_>, audience: &str) -> bool {
    let info = ResourceInfo {
        version: "v1".to_owned(),
        namespace: call.namespace.clone().into_owned(),
        resource: audience.to_owned(),
        name: call.name.clone().into_owned(),
        ..ResourceInfo::default()
    };
    call.state.authorize(call.identity, call.tenant.as_ref(), REQUEST_AUDIENCE, &info).is_ok()
}
