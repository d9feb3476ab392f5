//! A token for a service account, as a TokenRequest asks for it.

use arktos_core::{Object, Status, Timestamp, TypeMeta};
use arktos_store::Stored;
use serde_json::{Value, json};

use super::{ARKTOS, BINDABLE, KUBERNETES, key_of};
use crate::call::Call;
use crate::query::cause;
use crate::verbs::{managers, node_view};

const GROUP: &str = "authentication.k8s.io";
/// The shortest life of a token, in seconds.
const SHORTEST: i64 = 600;
/// The longest, in seconds.
const LONGEST: i64 = 1 << 32;
/// The life of the tokens that pods have from the start, in seconds: what is asked for so long is for a pod that may
/// not know that tokens end.
const OF_PODS: i64 = 3607;
/// How long such a token counts, in seconds. That it is used after its time is entered in the audit log.
const EXTENDED: i64 = 365 * 24 * 60 * 60;
/// What an audit entry names the token by that was given out.
const ISSUED: &str = "authentication.kubernetes.io/issued-credential-id";

/// Answers a TokenRequest.
///
/// # Errors
/// 404 for an account or a bound object that is not there, 403 where its namespace ends, 409 for an account or an
/// object with another uid, 400 and 422.
pub(crate) async fn request(call: &Call<'_>, mut request: Object) -> Result<Object, Status> {
    if let Some(given) = node_view::token(call, &request).await? {
        return Ok(given);
    }
    crate::admission::lives(call)?;
    crate::admission::node_restriction::token(call, &request)?;
    placed(call, &request)?;
    let account = call.found().await?;
    same_account(call, request.uid(), account.object.header().uid())?;
    let seconds = request.int_at(&["spec", "expirationSeconds"]).unwrap_or(3600);
    lasting(seconds)?;
    let audiences = request.at(&["spec", "audiences"]).and_then(Value::as_array).filter(|list| !list.is_empty());
    let audiences = audiences.cloned().unwrap_or_else(|| vec![Value::from(call.state.config.issuer.as_str())]);
    let bound = bound(call, &account, request.at(&["spec", "boundObjectRef"]))?;

    let now = call.state.config.clock.now();
    let starts = now.as_micros() / 1_000_000;
    let mut whose = json!({
        "namespace": call.namespace,
        "serviceaccount": {"name": call.name, "uid": account.object.header().uid()},
    });
    if let (Some(whose), Some(bound)) = (whose.as_object_mut(), bound) {
        whose.extend(bound);
    }
    let own = audiences.iter().all(|audience| *audience == *call.state.config.issuer);
    let extended = seconds == OF_PODS && own && whose.get("pod").is_some();
    if extended {
        whose["warnafter"] = Value::from(starts + seconds);
    }
    let life_time = if extended { EXTENDED } else { seconds };
    let id = call.state.config.random.uid();
    let tenant = call.one_tenant()?;
    let claims = json!({
        "iss": call.state.config.issuer, "sub": format!("system:serviceaccount:{}:{}", call.namespace, call.name),
        "aud": audiences, "iat": starts, "nbf": starts, "exp": starts + life_time, "jti": id,
        KUBERNETES: whose, ARKTOS: {"tenant": tenant.as_str()},
    });
    let life = super::life(&call.state.config.engine, tenant.clone());
    let life = life.ok_or_else(|| Status::not_found(&arktos_core::GroupResource::core("tenants"), tenant.as_str()))?;
    let token = call.state.config.token_keys.sign(&life, &claims);
    if token.is_empty() {
        return Err(Status::internal("there is no key to sign tokens with"));
    }
    call.annotate(ISSUED, &format!("JTI={id}"));

    request.set(&["spec", "expirationSeconds"], seconds);
    let managed = managers::of_asked(call, "token", &TypeMeta::new(GROUP, "v1", "TokenRequest"), &request);
    if let Some(managed) = managed {
        request.set(&["metadata", "managedFields"], managed.tree());
    }
    request.set(&["metadata", "name"], call.name.as_ref());
    request.set(&["metadata", "namespace"], call.namespace.as_ref());
    request.set(&["metadata", "uid"], account.object.header().uid());
    request.set(&["metadata", "creationTimestamp"], now.to_string());
    request.set(&["spec", "audiences"], audiences);
    if request.at(&["spec", "boundObjectRef"]).is_none() {
        request.set(&["spec", "boundObjectRef"], Value::Null);
    }
    let ends = Timestamp::from_micros((starts + seconds).saturating_mul(1_000_000));
    request.fields.insert("status".to_owned(), json!({"token": token, "expirationTimestamp": ends.to_string()}));
    Ok(request)
}

pub(crate) fn placed(call: &Call<'_>, request: &Object) -> Result<(), Status> {
    let (name, namespace) = (request.name(), request.namespace());
    if !name.is_empty() && name != call.name {
        let text = format!("Invalid value: {name:?}: must match the service account name if specified");
        let causes = vec![cause("FieldValueInvalid", "metadata.name", &text)];
        return Err(Status::invalid(GROUP, "TokenRequest", &call.name, causes));
    }
    crate::verbs::create::in_namespace(call, namespace)
}

/// Who names an account by its uid means that one, and none that has its name since.
fn same_account(call: &Call<'_>, uid: &str, found: &str) -> Result<(), Status> {
    if uid.is_empty() || uid == found {
        return Ok(());
    }
    let why = format!("the UID in the token request ({uid}) does not match the UID of the service account ({found})");
    Err(Status::conflict(&arktos_core::GroupResource::new(GROUP, "TokenRequest"), &call.name, why))
}

fn lasting(seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        _ if seconds > LONGEST => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let text = format!("Invalid value: {seconds}: {why}");
    Err(Status::invalid(GROUP, "TokenRequest", "", vec![cause("FieldValueInvalid", "spec.expirationSeconds", &text)]))
}

/// The claims of what the token is bound to: it must be there, and be the one that is meant.
fn bound(
    call: &Call<'_>,
    account: &Stored,
    reference: Option<&Value>,
) -> Result<Option<serde_json::Map<String, Value>>, Status> {
    let Some(reference) = reference.filter(|reference| reference.is_object()) else { return Ok(None) };
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (kind, name, uid) = (text("kind"), text("name"), text("uid"));
    let known = BINDABLE.into_iter().find(|(known, _)| *known == kind && !text("apiVersion").contains('/'));
    let Some((_, resource)) = known else {
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        return Err(Status::bad_request(format!("cannot bind token to object of type {group}/{version}, Kind={kind}")));
    };
    let tenant = call.one_tenant()?;
    let missing = || Status::not_found(&arktos_core::GroupResource::core(resource), name);
    let key = key_of(tenant, &call.namespace, resource, name).ok_or_else(missing)?;
    let found = call.state.config.engine.snapshot().get(&key).ok_or_else(missing)?;
    let found_uid = found.object.header().uid();
    let pod = if kind == "Pod" { Some(found.object.decode(None).map_err(Status::internal)?) } else { None };
    let account = account.path.name();
    if pod.as_ref().is_some_and(|pod| pod.str_at(&["spec", "serviceAccountName"]) != account) {
        let text = format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        );
        return Err(Status::bad_request(text));
    }
    if !uid.is_empty() && uid != found_uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        );
        return Err(Status::conflict(&arktos_core::GroupResource::core(kind), name, why));
    }
    let mut claims = serde_json::Map::new();
    claims.insert(kind.to_lowercase(), json!({"name": name, "uid": found_uid}));
    if let Some(node) = pod.and_then(|pod| node_of(call, &pod)) {
        claims.insert("node".to_owned(), node);
    }
    Ok(Some(claims))
}

/// A pod's token names the host it runs on, where that is known here.
fn node_of(call: &Call<'_>, pod: &Object) -> Option<Value> {
    let name = pod.str_at(&["spec", "nodeName"]);
    if name.is_empty() {
        return None;
    }
    let key = key_of(call.tenant.as_ref()?, "", "nodes", name)?;
    let node = call.state.config.engine.snapshot().get(&key);
    Some(match node {
        Some(node) => json!({"name": name, "uid": node.object.header().uid()}),
        None => json!({ "name": name }),
    })
}
