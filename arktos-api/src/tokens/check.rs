//! Whose token it is: signed here, in time, for this audience, and by objects that are still there.

use std::collections::BTreeMap;

use arktos_core::{TenantName, Timestamp};
use serde_json::Value;

use super::{ARKTOS, BINDABLE, KUBERNETES, Life, key_of};
use crate::config::ApiConfig;
use crate::identity::Identity;

/// How far the clocks of who signs and who checks may differ, in seconds.
const LEEWAY: i64 = 60;

/// A token that counts.
pub(crate) struct Checked {
    /// Whose it is.
    pub(crate) identity: Identity,
    /// For which of the audiences that were asked about it is.
    pub(crate) audiences: Vec<String>,
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The tenant whose key has signed it; none where nobody's has. Only who is of that tenant is told why.
    pub(crate) tenant: Option<TenantName>,
    /// Why, in a sentence.
    pub(crate) why: String,
}

/// Checks a token of a service account. Without audiences, it must be for this server itself.
///
/// # Errors
/// [`Refused`] says why it does not count.
pub(crate) fn check(config: &ApiConfig, token: &str, audiences: &[String]) -> Result<Checked, Refused> {
    let life = |tenant| super::life(&config.engine, tenant);
    let unknown = |why: String| Refused { tenant: None, why };
    let (Life { tenant, .. }, claims) =
        config.token_keys.verify(token, life).map_err(|why| unknown(why.to_string()))?;
    if claims["iss"] != config.issuer {
        return Err(unknown("it is of another issuer".to_owned()));
    }
    signed(config, &tenant, &claims, audiences).map_err(|why| Refused { tenant: Some(tenant), why })
}

/// Checks what a token says that the tenant has signed.
fn signed(config: &ApiConfig, tenant: &TenantName, claims: &Value, audiences: &[String]) -> Result<Checked, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = [config.issuer.clone()];
    let wanted = if audiences.is_empty() { &own[..] } else { audiences };
    let said: Vec<&str> = claims["aud"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let audiences: Vec<String> = wanted.iter().filter(|wanted| said.contains(&wanted.as_str())).cloned().collect();
    if audiences.is_empty() {
        let list = |all: &[&str]| all.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(" ");
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        return Err(format!(
            "token audiences [{}] is invalid for the target audiences [{}]",
            list(&said),
            list(&wanted)
        ));
    }
    let now = config.clock.now().as_micros() / 1_000_000;
    let moment = |claim: &str| claims[claim].as_i64();
    if moment("exp").is_none_or(|end| now >= end + LEEWAY) {
        return Err("service account token has expired".to_owned());
    }
    if moment("nbf").is_none_or(|start| now < start - LEEWAY) {
        return Err("service account token is not valid yet".to_owned());
    }
    let whose = &claims[KUBERNETES];
    let (namespace, account) = (text(&whose["namespace"]), &whose["serviceaccount"]);
    match found(config, tenant, &namespace, "serviceaccounts", account) {
        Found::Same => {}
        Found::Nothing => return Err(format!("serviceaccounts {} not found", account["name"])),
        Found::Other(uid) => {
            let said = text(&account["uid"]);
            return Err(format!("service account UID ({uid}) does not match claim ({said})"));
        }
        Found::Over => return Err(format!("service account {namespace}/{} has been deleted", text(&account["name"]))),
    }
    for (kind, resource) in BINDABLE {
        let kind = kind.to_lowercase();
        let bound = &whose[kind.as_str()];
        // The host of a pod is noted, and the token lives with the pod.
        let noted = kind == "node" && whose["pod"].is_object();
        if !bound.is_object() || noted {
            continue;
        }
        match found(config, tenant, &namespace, resource, bound) {
            Found::Same => {}
            Found::Nothing | Found::Over => return Err("service account token has been invalidated".to_owned()),
            Found::Other(uid) => {
                let said = text(&bound["uid"]);
                return Err(format!("{kind} UID ({uid}) does not match service account {kind} ref claim ({said})"));
            }
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
        tenant: Some(tenant.clone()),
        extra: extra(claims),
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
    tenant_of(&claimed(token)?)
}

/// What a token claims, unchecked.
fn claimed(token: &str) -> Option<Value> {
    use base64::Engine as _;
    let claims = token.split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// What is to be entered of a token that was checked, and counts for longer than it was asked for: it is used after
/// that.
pub(crate) fn stale(token: &str, now: Timestamp) -> Option<String> {
    let claims = claimed(token)?;
    let since = now.as_micros() / 1_000_000 - claims[KUBERNETES]["warnafter"].as_i64()?;
    let subject = claims["sub"].as_str().unwrap_or_default();
    (since > 0).then(|| format!("subject: {subject}, seconds after warning threshold: {since}"))
}

/// What there is now of something that a token names.
enum Found {
    /// The same as when the token was made.
    Same,
    /// Nothing.
    Nothing,
    /// Another of its name, with this uid.
    Other(String),
    /// The same, deleted for longer than its grace.
    Over,
}

/// What there is now. One that is being deleted counts for a little longer than its grace.
fn found(config: &ApiConfig, tenant: &TenantName, namespace: &str, resource: &str, reference: &Value) -> Found {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let key = key_of(tenant, namespace, resource, text("name"));
    let Some(found) = key.and_then(|key| config.engine.snapshot().get(&key)) else { return Found::Nothing };
    let header = found.object.header();
    if header.uid() != text("uid") {
        return Found::Other(header.uid().to_owned());
    }
    let seconds = |moment: Timestamp| moment.as_micros() / 1_000_000;
    let now = seconds(config.clock.now());
    let over = header.deletion().is_some_and(|end| seconds(end) + LEEWAY < now);
    if over { Found::Over } else { Found::Same }
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
