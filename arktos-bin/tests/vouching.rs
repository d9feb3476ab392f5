//! Tokens that others vouch for, over real connections: an OpenID Connect provider whose keys change, and a webhook
//! that judges tokens.

mod process;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arktos_api::TokenAuthenticator;
use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::oidc::{Oidc, OidcOptions};
use arktos_bin::net::pki::Authority;
use arktos_bin::net::token_review::TokenReviews;
use arktos_bin::net::{serve, tls};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use process::world::World;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// A key of the provider, and what it is called.
struct Key {
    name: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(name: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self { name, pair: pair.expect("a key") }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": part(1..33), "y": part(33..65)});
        if !self.name.is_empty() {
            key["kid"] = json!(self.name);
        }
        key
    }

    /// A token of `ann`, in the tenant `acme`.
    fn token(&self, issuer: &str) -> String {
        let claims = json!({"iss": issuer, "aud": "arktos", "sub": "ann", "org": "acme", "groups": ["dev"], "exp": 4_000_000_000_u64});
        let head = json!({"alg": "ES256", "kid": self.name});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&head), part(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).expect("signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A provider of identities, and a judge of tokens, at one address.
struct Others {
    address: SocketAddr,
    authority: String,
    /// What is published.
    keys: Arc<Mutex<Vec<Value>>>,
    /// How often the keys were asked for, and how often the judge was.
    fetched: Arc<AtomicUsize>,
    judged: Arc<AtomicUsize>,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Others {
    async fn start(directory: &Path) -> Self {
        let authority = Authority::open(&directory.join("others-pki")).expect("an authority");
        let ip = [127, 0, 0, 1].into();
        let credential = authority.server("others", &[ip], &[]).expect("a certificate");
        let tls = tls::server(&credential, authority.certificate()).expect("usable");
        let listener = tokio::net::TcpListener::bind((ip, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (keys, fetched, judged) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::default(), Arc::default());
        let state = (keys.clone(), Arc::clone(&fetched), Arc::clone(&judged));
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let (keys, fetched, judged): (Arc<Mutex<Vec<Value>>>, Arc<AtomicUsize>, Arc<AtomicUsize>) = state.clone();
            async move {
                let answer = match request.uri().path() {
                    "/.well-known/openid-configuration" => {
                        let issuer = format!("https://{address}");
                        json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})
                    }
                    "/keys" => {
                        fetched.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(50)).await; // others come meanwhile
                        let keys = keys.lock().clone();
                        json!({ "keys": keys })
                    }
                    _ => {
                        judged.fetch_add(1, Ordering::Relaxed);
                        judge(request).await
                    }
                };
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string()))))
            }
        });
        let (stop, stopping) = tokio::sync::watch::channel(false);
        tokio::spawn(serve::serve(listener, Some(tls), service, stopping));
        let authority = authority.certificate().to_owned();
        Self { address, authority, keys, fetched, judged, _stop: stop }
    }

    fn issuer(&self) -> String {
        format!("https://{}", self.address)
    }

    fn publish(&self, keys: &[&Key]) {
        *self.keys.lock() = keys.iter().map(|key| key.public()).collect();
    }

    fn oidc(&self, refetch: Duration) -> Oidc {
        Oidc::new(OidcOptions {
            issuer: self.issuer(),
            client_id: "arktos".to_owned(),
            username_claim: "sub".to_owned(),
            tenant_claim: "org".to_owned(),
            authority: self.authority.clone(),
            refetch,
            ..OidcOptions::default()
        })
    }
}

/// Whoever shows `good-NAME` is NAME, of `acme`.
async fn judge(request: Request<Incoming>) -> Value {
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let review: Value = serde_json::from_slice(&body).expect("a review");
    let token = review["spec"]["token"].as_str().expect("a token");
    let status = match token.strip_prefix("good-") {
        Some(name) => {
            let user = json!({"username": name, "groups": ["dev"], "extra": {"arktos.io/tenant": ["acme"]}});
            json!({"authenticated": true, "user": user})
        }
        None => json!({"authenticated": false}),
    };
    json!({"apiVersion": review["apiVersion"], "kind": "TokenReview", "status": status})
}

async fn who(oidc: &Oidc, token: &str) -> Result<String, String> {
    let found = oidc.authenticate(token).await?.ok_or("it is nobody's")?;
    Ok(format!("{} of {}", found.user, found.tenant.expect("a tenant")))
}

#[tokio::test]
async fn a_providers_keys_are_fetched_once_for_all_who_come_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let others = Others::start(directory.path()).await;
    let key = Key::new("one");
    others.publish(&[&key]);
    let oidc = others.oidc(Duration::from_secs(3600));
    let token = key.token(&others.issuer());
    let all = futures::future::join_all((0..20).map(|_| who(&oidc, &token))).await;
    for one in all {
        assert_eq!(one, Ok(format!("{}#ann of acme", others.issuer())));
    }
    assert_eq!(others.fetched.load(Ordering::Relaxed), 1);
    let stranger = Key::new("other").token(&others.issuer());
    assert!(who(&oidc, &stranger).await.is_err());
    assert_eq!(others.fetched.load(Ordering::Relaxed), 1, "they were just fetched");
    assert_eq!(oidc.authenticate("of-somebody-else").await, Ok(None));
}

#[tokio::test]
async fn a_provider_changes_its_keys_whatever_it_calls_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let others = Others::start(directory.path()).await;
    for (before, after) in [("one", "two"), ("same", "same"), ("", "")] {
        let (old, new) = (Key::new(before), Key::new(after));
        let oidc = others.oidc(Duration::ZERO);
        others.publish(&[&old]);
        who(&oidc, &old.token(&others.issuer())).await.expect("is known");
        assert!(who(&oidc, &new.token(&others.issuer())).await.is_err(), "not published yet");
        others.publish(&[&new]);
        who(&oidc, &new.token(&others.issuer())).await.expect("is known by now");
        assert!(who(&oidc, &old.token(&others.issuer())).await.is_err(), "{before}: it was withdrawn");
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_token_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let others = Others::start(directory.path()).await;
    let key = Key::new("one");
    others.publish(&[&key]);
    let (issuer, authority) = (others.issuer(), others.authority.clone());
    let token = key.token(&issuer);
    let options = OidcOptions { issuer, authority, client_id: "arktos".to_owned(), ..OidcOptions::default() };
    let nameless = Oidc::new(OidcOptions { username_claim: "email".to_owned(), ..options.clone() });
    assert!(who(&nameless, &token).await.expect_err("has no such claim").contains("no claim email"));
    let stranger = Authority::open(&directory.path().join("strange-pki")).expect("an authority");
    let mistrustful = Oidc::new(OidcOptions { authority: stranger.certificate().to_owned(), ..options });
    assert!(who(&mistrustful, &token).await.expect_err("trusts another authority").contains("tls"));
}

#[tokio::test]
async fn a_judge_is_asked_once_for_a_while_about_a_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let others = Others::start(directory.path()).await;
    let config = Kubeconfig {
        server: format!("https://{}/judge", others.address),
        authority: others.authority.clone(),
        credential: None,
        token: None,
    };
    let judge = TokenReviews::new(config.clone(), Duration::from_secs(3600));
    for _ in 0..3 {
        let ann = judge.authenticate("good-ann").await.expect("is judged").expect("is somebody");
        assert_eq!((ann.user.as_str(), ann.tenant.expect("a tenant").as_str()), ("ann", "acme"));
        assert_eq!(judge.authenticate("bad").await, Ok(None));
    }
    assert_eq!(others.judged.load(Ordering::Relaxed), 2, "one question a token");
    let forgetful = TokenReviews::new(config, Duration::ZERO);
    for _ in 0..2 {
        forgetful.authenticate("good-ann").await.expect("is judged").expect("is somebody");
    }
    assert_eq!(others.judged.load(Ordering::Relaxed), 4);
}

#[test]
fn who_others_vouch_for_is_of_the_tenant_that_they_say() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let others = runtime.block_on(Others::start(directory.path()));
    let key = Key::new("one");
    others.publish(&[&key]);
    let (ca, judge) = (directory.path().join("ca.crt"), directory.path().join("judge.kubeconfig"));
    std::fs::write(&ca, &others.authority).expect("writes");
    let config = Kubeconfig {
        server: format!("https://{}/judge", others.address),
        authority: others.authority.clone(),
        credential: None,
        token: None,
    };
    std::fs::write(&judge, config.render("judge")).expect("writes");
    let issuer = others.issuer();
    let world = World::start(&[
        "--tenants=acme,globex",
        "--hosts=0",
        "--store=memory",
        &format!("--oidc-issuer-url={issuer}"),
        "--oidc-client-id=arktos",
        &format!("--oidc-ca-file={}", ca.display()),
        "--oidc-tenant-claim=org",
        "--oidc-groups-claim=groups",
        &format!("--authentication-token-webhook-config-file={}", judge.display()),
    ]);
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let token = key.token(&issuer);
    for (token, name) in [(token.as_str(), format!("{issuer}#ann")), ("good-bob", "bob".to_owned())] {
        let caller = world.region.caller(token);
        let (code, who) = caller.post(path, &review);
        assert_eq!((code, who["status"]["userInfo"]["username"].as_str()), (201, Some(name.as_str())), "{who}");
        assert_eq!(who["status"]["userInfo"]["groups"], json!(["dev", "system:authenticated"]));
        let (code, refused) = caller.get("/tenants/globex/api/v1/namespaces/default");
        assert_eq!(code, 403, "{refused}");
    }
    // A tenant is told whose such a token is, of its own; of audiences they have the server's alone.
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    for (caller, audiences, known) in [
        (world.acme(), json!([]), true),
        (world.acme(), json!(["https://kubernetes.default.svc", "vault"]), true),
        (world.acme(), json!(["vault"]), false),
        (world.globex(), json!([]), false),
    ] {
        for token in [token.as_str(), "good-bob"] {
            let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "spec": {"token": token, "audiences": audiences}});
            let (code, told) = caller.post(path, &review);
            assert_eq!((code, told["status"]["authenticated"] == true), (201, known), "{audiences}: {told}");
        }
    }
    let (code, _) = world.region.caller("bad").get("/api/v1/namespaces/default");
    assert_eq!(code, 401);
}
