//! Credentials that only the partition of their tenant can check, on their way to somebody else: tokens of service
//! accounts, and certificates that name the uid of their tenant. That partition is asked first whose they are; what it
//! says goes on as the identity of a certificate does.

use std::collections::HashMap;
use std::time::Duration;

use arktos_api::Identity;
use arktos_core::{Status, TenantName, Timestamp};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::destination::Destination;
use super::{Backends, Gateway, GatewayBody};

/// How long it counts what a partition has said.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Of how many credentials it is remembered.
const KEPT: usize = 10_000;
/// The longest answer about who somebody is, in bytes.
const LENGTH_MAX: usize = 64 << 10;
/// Where everybody may ask who they are, behind a tenant's prefix.
const WHO_AM_I: &str = "apis/authentication.k8s.io/v1/selfsubjectreviews";
const QUESTION: &str = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;

/// Who has come with which credential lately. Written by requests that go elsewhere.
#[derive(Default)]
pub(super) struct Vouched(Mutex<HashMap<[u8; 32], (Timestamp, Identity)>>);

impl Vouched {
    fn find(&self, credential: &[u8; 32], now: Timestamp) -> Option<Identity> {
        let known = self.0.lock();
        known.get(credential).filter(|(until, _)| now < *until).map(|(_, identity)| identity.clone())
    }

    fn remember(&self, credential: [u8; 32], identity: Identity, now: Timestamp) {
        let mut known = self.0.lock();
        if known.len() >= KEPT {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() < KEPT {
            known.insert(credential, (now.later(REMEMBERED), identity));
        }
    }
}

impl Gateway {
    /// Puts who somebody is in place of who they say they are, where that counts at home alone and they ask for what is
    /// elsewhere. Gives back the answer, where they are nobody.
    pub(super) async fn vouch(
        &self,
        identity: &mut Option<Identity>,
        (parts, destination, backends): (&Parts, &Destination, &Backends),
    ) -> Result<Option<Response<GatewayBody>>, Status> {
        let unsure = identity.as_ref().filter(|it| self.needs_voucher(destination, it, backends));
        let Some(unsure) = unsure else { return Ok(None) };
        match self.vouched(parts, unsure).await? {
            Ok(sure) => *identity = Some(sure),
            Err(refusal) => return Ok(Some(refusal)),
        }
        Ok(None)
    }

    /// Whether somebody comes with a credential that counts at home alone, and asks for what is elsewhere.
    pub(super) fn needs_voucher(&self, destination: &Destination, identity: &Identity, backends: &Backends) -> bool {
        let unsure = identity.user.is_empty() || !identity.tenant_uid.is_empty();
        let Some(own) = identity.tenant.as_ref().filter(|_| unsure) else { return false };
        let several = backends.partitions.len() > 1 || self.0.directory.changes();
        match destination {
            Destination::Identity | Destination::Hosts => false,
            Destination::Tenant(tenant) | Destination::Quota(tenant) => {
                let there = self.0.directory.find(tenant);
                there.is_some() && there != self.0.directory.find(own.as_str())
            }
            Destination::Directory => own.is_system() && backends.directory.is_some(),
            Destination::AllTenants | Destination::OneOfAll { .. } | Destination::NewTenant | Destination::NewQuota => {
                own.is_system() && several
            }
        }
    }

    /// Who somebody is, as the partition of their tenant says; or what it answers who is nobody there.
    pub(super) async fn vouched(
        &self,
        parts: &Parts,
        identity: &Identity,
    ) -> Result<Result<Identity, Response<GatewayBody>>, Status> {
        let Some(own) = &identity.tenant else { return Ok(Ok(identity.clone())) };
        let now = self.0.measures.as_ref().map(|(_, clock)| clock.now());
        let credential = credential(parts, identity);
        if let Some(known) = now.and_then(|now| self.0.vouched.find(&credential, now)) {
            return Ok(Ok(known));
        }
        let home = self.partition_for(own.as_str(), Some(identity)).await?;
        let body = Full::from(QUESTION).map_err(|never| match never {}).boxed_unsync();
        let question = http::Request::from_parts(question(parts, own)?, body);
        let answer = home.send(question, Some(identity.clone())).await;
        if !answer.status().is_success() {
            return Ok(Err(answer));
        }
        let answer = Limited::new(answer.into_body(), LENGTH_MAX).collect().await;
        let answer = answer.map_err(|error| Status::internal(format!("who somebody is could not be read: {error}")))?;
        let found = said(&answer.to_bytes(), own).ok_or_else(|| Status::internal("nobody says who somebody is"))?;
        if let Some(now) = now {
            self.0.vouched.remember(credential, found.clone(), now);
        }
        Ok(Ok(found))
    }
}

/// All that decides who somebody is: who the gateway takes them for, by a certificate or a token, and the header that
/// goes on to their partition. One alone does not do: where the header has no bearer token, the certificate counts.
fn credential(parts: &Parts, identity: &Identity) -> [u8; 32] {
    let mut digest = Sha256::new();
    let identity = format!("{identity:?}");
    digest.update(identity.len().to_be_bytes());
    digest.update(identity);
    if let Some(header) = parts.headers.get(header::AUTHORIZATION) {
        digest.update(header);
    }
    digest.finalize().into()
}

/// The head of the question, by the same client over the same connection.
fn question(parts: &Parts, own: &TenantName) -> Result<Parts, Status> {
    let mut asked = parts.clone();
    asked.method = Method::POST;
    asked.uri = format!("/tenants/{own}/{WHO_AM_I}").parse().map_err(Status::internal)?;
    let kept = [header::AUTHORIZATION, header::USER_AGENT].map(|name| (parts.headers.get(&name).cloned(), name));
    asked.headers.clear();
    for (value, name) in kept {
        if let Some(value) = value {
            asked.headers.insert(name, value);
        }
    }
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        asked.headers.insert(name, HeaderValue::from_static("application/json"));
    }
    Ok(asked)
}

/// The user that an answer names, of a tenant.
fn said(answer: &Bytes, own: &TenantName) -> Option<Identity> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let user = &answer["status"]["userInfo"];
    let name = user["username"].as_str().filter(|name| !name.is_empty())?;
    let groups = user["groups"].as_array().into_iter().flatten();
    Some(Identity {
        user: name.to_owned(),
        uid: user["uid"].as_str().unwrap_or_default().to_owned(),
        groups: groups.filter_map(|group| group.as_str().map(str::to_owned)).collect(),
        tenant: Some(own.clone()),
        ..Identity::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_partition_says_counts_for_a_while_and_of_so_many() {
        let (vouched, at) = (Vouched::default(), |seconds: i64| Timestamp::from_micros(seconds * 1_000_000));
        let ann = Identity::user("ann", &[], &TenantName::system());
        let key = |number: usize| Sha256::digest(number.to_string()).into();
        vouched.remember(key(0), ann.clone(), at(0));
        assert_eq!(vouched.find(&key(0), at(9)), Some(ann.clone()));
        assert_eq!((vouched.find(&key(0), at(10)), vouched.find(&key(1), at(9))), (None, None));
        for number in 1..KEPT + 9 {
            vouched.remember(key(number), ann.clone(), at(5));
        }
        assert_eq!(vouched.0.lock().len(), KEPT);
        vouched.remember(key(KEPT + 9), ann.clone(), at(60));
        assert_eq!((vouched.find(&key(KEPT + 9), at(60)), vouched.0.lock().len()), (Some(ann), 1));
    }

    #[test]
    fn who_comes_with_another_certificate_and_the_same_header_is_somebody_else() {
        let acme = TenantName::new("acme").expect("a name");
        let of = |user: &str, uid: &str| Identity { tenant_uid: uid.to_owned(), ..Identity::user(user, &[], &acme) };
        let with = |header: Option<&str>| {
            let request = http::Request::get("/api/v1/pods");
            let request = header.into_iter().fold(request, |request, value| request.header("authorization", value));
            request.body(()).expect("a request").into_parts().0
        };
        let claimed = Identity { tenant: Some(acme.clone()), ..Identity::default() };
        let all = [
            credential(&with(Some("Basic YTpi")), &of("ann", "1")),
            credential(&with(Some("Basic YTpi")), &of("bob", "1")),
            credential(&with(Some("Basic YTpi")), &of("ann", "2")),
            credential(&with(None), &of("ann", "1")),
            credential(&with(Some("Bearer t")), &claimed),
            credential(&with(Some("Bearer u")), &claimed),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(credential(&with(Some("Bearer t")), &claimed), all[4]);
    }

    #[test]
    fn an_answer_names_a_user_or_nobody() {
        let acme = TenantName::new("acme").expect("a name");
        let user = r#"{"status": {"userInfo": {"username": "u", "uid": "7", "groups": ["a", "b"]}}}"#;
        let found = said(&Bytes::from(user), &acme).expect("somebody");
        assert_eq!((&*found.user, &*found.uid, found.tenant.as_ref()), ("u", "7", Some(&acme)));
        assert_eq!((found.groups, found.tenant_uid), (vec!["a".to_owned(), "b".to_owned()], String::new()));
        for nobody in ["", "{}", r#"{"status": {"userInfo": {"username": ""}}}"#] {
            assert_eq!(said(&Bytes::from(nobody), &acme), None);
        }
    }
}
