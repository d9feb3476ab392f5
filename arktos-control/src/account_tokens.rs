//! The `serviceaccount-token` controller: secrets that hold a token of a service account.
//!
//! A secret of type `kubernetes.io/service-account-token` that names an account is given a token of it, the authority
//! and the namespace, and goes with the account. The token is bound to the secret: without that, it does not count.
//! Where old clients are served, each account is given such a secret by itself, as in Kubernetes up to 1.23.

use std::sync::Arc;

use arktos_core::{Object, ObjectPath, Status};
use arktos_store::{Client, Informer, Outcome, Query, Stored};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kinds::{SECRETS, SERVICE_ACCOUNTS};
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::{Setup, beside};
use crate::write::{amend, delete, is_terminating, unless_there};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// The index of secrets by the path of the account that they name.
const BY_ACCOUNT: &str = "account";
/// How long a token counts, in seconds: as long as can be asked for. It ends with its secret.
const LASTS: i64 = 1 << 32;

pub(crate) struct AccountTokens {
    client: Arc<dyn Client>,
    accounts: Informer<Stored>,
    secrets: Informer<Stored>,
    root_ca: String,
    /// Whether each account has a secret, asked for or not.
    for_all: bool,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let accounts = setup.informer(&SERVICE_ACCOUNTS.resource);
    let typed = Query::everywhere(SECRETS.resource.clone()).field("type", TYPE);
    let secrets = setup.selected(typed, BY_ACCOUNT, |stored| {
        account_of(stored).map(|account| account.as_str().to_owned()).into_iter().collect()
    });
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    accounts.handle(move |event| {
        adds.add(event.path().clone());
    });
    let adds = queue.clone();
    secrets.handle(move |event| {
        let states = event.before().into_iter().chain(event.after());
        states.filter_map(|stored| account_of(stored)).for_each(|account| {
            adds.add(account);
        });
    });
    let informers = vec![synced(&accounts), synced(&secrets)];
    let controller = AccountTokens {
        client: setup.client.clone(),
        accounts,
        secrets,
        root_ca: setup.options.root_ca.clone().unwrap_or_default(),
        for_all: setup.options.token_secrets,
    };
    run(controller, queue, setup.options.workers, informers)
}

/// What a secret says, as far as it matters here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    metadata: Metadata,
    data: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    annotations: std::collections::BTreeMap<String, String>,
}

impl Said {
    fn annotation(&self, name: &str) -> &str {
        self.metadata.annotations.get(name).map_or("", String::as_str)
    }
}

/// The path of the account that a secret names.
fn account_of(secret: &Stored) -> Option<ObjectPath> {
    let said: Said = secret.object.parse().ok()?;
    let name = said.annotation(ACCOUNT);
    (!name.is_empty() && !name.contains('/')).then(|| beside(&secret.path, name))
}

impl Reconcile for AccountTokens {
    type Key = ObjectPath;
    const NAME: &'static str = "serviceaccount-token";

    async fn reconcile(&self, account: &ObjectPath) -> Result<Outcome, Status> {
        let found = self.accounts.store().get(account);
        let secrets = self.secrets.store().by(BY_ACCOUNT, account.as_str());
        let Some(found) = found.filter(|found| found.object.header().deletion().is_none()) else {
            for secret in secrets {
                self.end(&secret).await?;
            }
            return Ok(Outcome::Done);
        };
        let mut has_one = false;
        for secret in secrets.into_iter().filter(|secret| secret.object.header().deletion().is_none()) {
            has_one |= self.keep(&found, &secret).await?;
        }
        if self.for_all && !has_one {
            self.give(&found).await?;
        }
        Ok(Outcome::Done)
    }
}

impl AccountTokens {
    async fn end(&self, secret: &Stored) -> Result<(), Status> {
        delete(&*self.client, &SECRETS.key(&secret.path), secret.object.header().uid(), None).await
    }

    /// Sees to it that a secret has what it is for. One of an earlier account of the name goes: then this says no.
    async fn keep(&self, account: &Stored, secret: &Stored) -> Result<bool, Status> {
        let said: Said = secret.object.parse().map_err(crate::write::unreadable)?;
        let (uid, wanted) = (said.annotation(ACCOUNT_UID), account.object.header().uid());
        if !uid.is_empty() && uid != wanted {
            self.end(secret).await?;
            return Ok(false);
        }
        let known = [("ca.crt", self.root_ca.as_str()), ("namespace", secret.path.namespace())];
        let known = known.map(|(name, value)| (name, STANDARD.encode(value)));
        let has = |name: &str| said.data.get(name).is_some_and(|value| !value.is_empty());
        if !uid.is_empty() && has("token") && known.iter().all(|(name, value)| said.data.get(*name) == Some(value)) {
            return Ok(true);
        }
        let token = if has("token") { None } else { Some(STANDARD.encode(self.token(account, secret).await?)) };
        amend(&*self.client, &SECRETS.key(&secret.path), None, |newest| {
            if newest.uid() != secret.object.header().uid() {
                return false;
            }
            newest.set(&["metadata", "annotations", ACCOUNT_UID], wanted);
            for (name, value) in
                known.iter().map(|(name, value)| (*name, value)).chain(token.as_ref().map(|token| ("token", token)))
            {
                newest.set(&["data", name], value.as_str());
            }
            true
        })
        .await?;
        Ok(true)
    }

    /// A token of an account, bound to a secret.
    async fn token(&self, account: &Stored, secret: &Stored) -> Result<String, Status> {
        let bound = json!({
            "apiVersion": "v1", "kind": "Secret", "name": secret.path.name(), "uid": secret.object.header().uid(),
        });
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": LASTS, "boundObjectRef": bound},
        });
        let request = Object::from_value(request).unwrap_or_default();
        let answer = self.client.post(&SERVICE_ACCOUNTS.key(&account.path), "token", request).await?;
        Ok(answer.str_at(&["status", "token"]).to_owned())
    }

    /// Gives an account a secret that asks for a token, and names it there.
    async fn give(&self, account: &Stored) -> Result<(), Status> {
        let (tenant, namespace, of) = account.path.parts();
        let uid = account.object.header().uid();
        let name = secret_name(of, uid);
        let mut secret = Object::new(&SECRETS.type_meta, &name);
        secret.set(&["metadata", "annotations"], json!({ACCOUNT: of, ACCOUNT_UID: uid}));
        secret.set(&["type"], TYPE);
        match unless_there(self.client.create(&SECRETS.resource, tenant, namespace, secret).await) {
            Err(status) if is_terminating(&status) => return Ok(()),
            outcome => drop(outcome?),
        }
        let named = json!({ "name": name });
        amend(&*self.client, &SERVICE_ACCOUNTS.key(&account.path), None, |account| {
            let mut secrets = match account.at(&["secrets"]) {
                Some(Value::Array(secrets)) => secrets.clone(),
                _ => Vec::new(),
            };
            if account.uid() != uid || secrets.contains(&named) {
                return false;
            }
            secrets.push(named.clone());
            account.set(&["secrets"], secrets);
            true
        })
        .await
        .map(drop)
    }
}

/// What the secret of an account is called: always the same, so that it is never made twice.
fn secret_name(account: &str, uid: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(uid.as_bytes());
    let suffix: String =
        digest.iter().take(5).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    format!("{account}-token-{suffix}")
}
