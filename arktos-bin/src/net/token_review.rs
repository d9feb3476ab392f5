//! Bearer tokens that somebody else judges: each is shown to a webhook as a TokenReview (`authentication.k8s.io/v1`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arktos_api::{Identity, TokenAuthenticator};
use arktos_core::TenantName;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::kubeconfig::Kubeconfig;
use super::{https, tls};

/// How many verdicts are remembered.
const REMEMBERED: usize = 10_000;
/// The key of `extra` in which a verdict names the user's tenant.
pub const TENANT: &str = "arktos.io/tenant";

/// Asks a webhook whose a token is, and remembers what it said for a while.
pub struct TokenReviews {
    webhook: Kubeconfig,
    remembers: Duration,
    /// By the token's hash: the tokens themselves are not kept. Written by whoever asks.
    known: Mutex<HashMap<[u8; 32], Verdict>>,
}

/// Until when a verdict counts, and whose the token is.
type Verdict = (Instant, Option<Identity>);

impl std::fmt::Debug for TokenReviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenReviews({})", self.webhook.server)
    }
}

impl TokenReviews {
    /// Asks the server that a kubeconfig names.
    #[must_use]
    pub fn new(webhook: Kubeconfig, remembers: Duration) -> Self {
        Self { webhook, remembers, known: Mutex::default() }
    }

    async fn ask(&self, token: &str) -> Result<Option<Identity>, String> {
        let config = tls::client(self.webhook.credential.as_ref(), &self.webhook.authority);
        let config = config.map_err(|error| error.to_string())?;
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let mut request = Request::post(self.webhook.server.as_str()).header(header::CONTENT_TYPE, "application/json");
        if let Some(own) = &self.webhook.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {own}"));
        }
        let request = request.body(Bytes::from(review.to_string())).map_err(|error| error.to_string())?;
        let (status, body) = https::exchange(config, request).await?;
        if !status.is_success() {
            return Err(format!("{}: {status}", self.webhook.server));
        }
        let review: Value =
            serde_json::from_slice(&body).map_err(|error| format!("the answer is not JSON: {error}"))?;
        verdict(&review)
    }
}

#[async_trait]
impl TokenAuthenticator for TokenReviews {
    async fn authenticate(&self, token: &str) -> Result<Option<Identity>, String> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        #[allow(clippy::disallowed_methods)] // how long ago, at the edge
        let now = Instant::now();
        if let Some((until, known)) = self.known.lock().get(&hash)
            && now < *until
        {
            return Ok(known.clone());
        }
        let found = self.ask(token).await?;
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() < REMEMBERED {
            known.insert(hash, (now + self.remembers, found.clone()));
        }
        Ok(found)
    }
}

fn verdict(review: &Value) -> Result<Option<Identity>, String> {
    let status = &review["status"];
    if status["authenticated"] != true {
        return Ok(None);
    }
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let user = &status["user"];
    let name = user["username"].as_str().filter(|name| !name.is_empty()).ok_or("it names no user")?;
    let mut extra: std::collections::BTreeMap<String, Vec<String>> =
        user["extra"].as_object().into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect();
    let tenant = match extra.remove(TENANT).unwrap_or_default().first() {
        Some(tenant) => TenantName::new(tenant).map_err(|error| error.to_string())?,
        None => TenantName::system(),
    };
    let groups = texts(&user["groups"]);
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let uid = user["uid"].as_str().unwrap_or_default().to_owned();
    Ok(Some(Identity { uid, extra, ..Identity::user(name, &groups, &tenant) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_the_user_and_the_tenant_and_anything_else_is_nobody() {
        let user = json!({
            "username": "ann", "uid": "u1", "groups": ["dev"], "extra": {TENANT: ["acme"], "scopes": ["a", "b"]},
        });
        let found =
            verdict(&json!({"status": {"authenticated": true, "user": user}})).expect("reads").expect("somebody");
        assert_eq!((found.user.as_str(), found.uid.as_str()), ("ann", "u1"));
        assert_eq!(found.tenant.as_ref().map(TenantName::as_str), Some("acme"));
        assert_eq!(found.groups, ["dev", "system:authenticated"]);
        assert_eq!(found.extra.keys().collect::<Vec<_>>(), ["scopes"]);
        let plain = verdict(&json!({"status": {"authenticated": true, "user": {"username": "bob"}}}));
        assert!(plain.expect("reads").expect("somebody").is_system());
        for nobody in [json!({}), json!({"status": {"authenticated": false, "user": {"username": "x"}}})] {
            assert_eq!(verdict(&nobody), Ok(None));
        }
        assert!(verdict(&json!({"status": {"authenticated": true, "user": {}}})).is_err());
    }
}
