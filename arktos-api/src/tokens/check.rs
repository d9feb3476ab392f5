//! Whose token it is: signed here, in time, for this audience, and by objects that are still there.

use std::collections::BTreeMap;

use arktos_core::{TenantName, Timestamp};
use serde_json::Value;

use super::{ARKTOS, BINDABLE, KUBERNETES, Life, key_of};
use crate::config::ApiConfig;
use crate::identity::Identity;

/// How far the clocks of who signs and who checks may differ, in seconds.
const LEEWAY: i64 = 60;

/// How the sentence begins that tells of a token for somebody else: the one that who asks for a review is told.
pub(crate) const OTHER_AUDIENCES: &str = "token audiences ";

/// A token that counts.
pub(crate) struct Checked {
    /// Whose it is.
    pub(crate) identity: Identity,
    /// For which of the audiences that were asked about it is.
    pub(crate) audiences: Vec<String>,
}

/// Checks a token of a service account. Without audiences, it must be for this server itself.
///
/// # Errors
/// A sentence that says why it does not count.
pub(crate) fn check(config: &ApiConfig, token: &str, audiences: &[String]) -> Result<Checked, String> {
    let life = |tenant| super::life(&config.engine, tenant);
    let (Life { tenant, .. }, claims) = config.token_keys.verify(token, life).map_err(|why| why.to_string())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if claims["iss"] != config.issuer {
        return Err("it is of another issuer".to_owned());
    }
    let own = [config.issuer.clone()];
    let wanted = if audiences.is_empty() { &own[..] } else { audiences };
    let said: Vec<&str> = claims["aud"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let audiences: Vec<String> = wanted.iter().filter(|wanted| said.contains(&wanted.as_str())).cloned().collect();
    if audiences.is_empty() {
        let list = |all: &[&str]| all.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(" ");
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        return Err(format!(
            "{OTHER_AUDIENCES}[{}] is invalid for the target audiences [{}]",
            list(&said),
            list(&wanted)
        ));
    }
    let now = config.clock.now().as_micros() / 1_000_000;
    let moment = |claim: &str| claims[claim].as_i64();
    if moment("exp").is_none_or(|end| now >= end + LEEWAY) {
        return Err("it has expired".to_owned());
    }
    if moment("nbf").is_none_or(|start| now < start - LEEWAY) {
        return Err("it is not valid yet".to_owned());
    }
    let whose = &claims[KUBERNETES];
    let (namespace, account) = (text(&whose["namespace"]), &whose["serviceaccount"]);
    if !is_there(config, &tenant, &namespace, "serviceaccounts", account) {
        return Err("its service account is gone".to_owned());
    }
    for (kind, resource) in BINDABLE {
        let bound = &whose[kind.to_lowercase()];
        // The host of a pod is noted, and the token lives with the pod.
        let noted = kind == "Node" && whose["pod"].is_object();
        if bound.is_object() && !noted && !is_there(config, &tenant, &namespace, resource, bound) {
            return Err(format!("the {kind} that it is bound to is gone"));
        }
    }
    let identity = Identity {
        user: format!("system:serviceaccount:{namespace}:{}", text(&account["name"])),
        uid: text(&account["uid"]),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ],
        tenant: Some(tenant),
        extra: extra(&claims),
        ..Identity::default()
    };
    Ok(Checked { identity, audiences })
}

/// The tenant that a token says it is of. It counts only when that tenant's key has signed it.
pub(crate) fn tenant_of(claims: &Value) -> Option<TenantName> {
    TenantName::new(claims[ARKTOS]["tenant"].as_str()?).ok()
}

/// The tenant that a token claims, unchecked: enough to know where the request must go to be checked.
#[must_use]
pub fn claimed_tenant(token: &str) -> Option<TenantName> {
    use base64::Engine as _;
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    tenant_of(&serde_json::from_slice(&claims).ok()?)
}

/// Whether an object is there, the same as when the token was made. One that is being deleted counts for a little
/// longer than its grace.
fn is_there(config: &ApiConfig, tenant: &TenantName, namespace: &str, resource: &str, reference: &Value) -> bool {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let Some(key) = key_of(tenant, namespace, resource, text("name")) else { return false };
    let Some(found) = config.engine.snapshot().get(&key) else { return false };
    let header = found.object.header();
    let seconds = |moment: Timestamp| moment.as_micros() / 1_000_000;
    let now = seconds(config.clock.now());
    let over = header.deletion().is_some_and(|end| seconds(end) + LEEWAY < now);
    header.uid() == text("uid") && !over
}

fn extra(claims: &Value) -> BTreeMap<String, Vec<String>> {
    let mut extra = BTreeMap::new();
    let mut add = |name: &str, value: &Value| {
        if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
            extra.insert(format!("{}{name}", super::EXTRA), vec![value.to_owned()]);
        }
    };
    let whose = &claims[KUBERNETES];
    for kind in ["pod", "node"] {
        add(&format!("{kind}-name"), &whose[kind]["name"]);
        add(&format!("{kind}-uid"), &whose[kind]["uid"]);
    }
    let id = claims["jti"].as_str().map(|id| Value::from(format!("JTI={id}")));
    add(super::CREDENTIAL_ID, &id.unwrap_or_default());
    extra
}
