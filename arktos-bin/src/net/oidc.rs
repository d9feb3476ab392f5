//! Bearer tokens of an OpenID Connect provider: signed by its keys, for this server, in time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arktos_api::{CREDENTIAL, Identity, TokenAuthenticator};
use arktos_core::TenantName;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::Request;
use parking_lot::Mutex;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::Value;

use super::{https, tls};

/// How far before its time a token is taken, in seconds: the provider's clock may be ahead.
const AHEAD: i64 = 300;
/// How soon the provider is asked again that did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Which provider, and what its claims mean here.
#[derive(Debug, Clone, Default)]
pub struct OidcOptions {
    /// The issuer: an `https` URL, below which its configuration is.
    pub issuer: String,
    /// The audience that tokens must be for.
    pub client_id: String,
    /// The claim that names the user.
    pub username_claim: String,
    /// What is put before the user's name; `-` for nothing. Without it, names that are no e-mail addresses get the
    /// issuer.
    pub username_prefix: String,
    /// The claim that lists groups; empty for none.
    pub groups_claim: String,
    /// What is put before each group.
    pub groups_prefix: String,
    /// The claim that names the tenant; empty where all users are of `system`.
    pub tenant_claim: String,
    /// Claims that must be there, each with its value.
    pub required: Vec<(String, String)>,
    /// The authority that signed the provider's certificate, as PEM.
    pub authority: String,
    /// How often the provider's keys are fetched anew at most, when none of those that are known has signed a token.
    pub refetch: Duration,
}

/// Says whose tokens of a provider are.
#[derive(Debug)]
pub struct Oidc {
    options: Arc<OidcOptions>,
    /// Written by whoever meets a token that none of the known keys has signed.
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    known: Arc<Vec<Key>>,
    /// They are not fetched anew before.
    not_before: Option<Instant>,
    /// They are being fetched: whoever else needs them waits for the same.
    fetching: Option<Fetching>,
}

/// The provider's keys, on their way.
type Fetching = Shared<BoxFuture<'static, Result<Arc<Vec<Key>>, String>>>;

/// A public key of the provider.
#[derive(Debug)]
struct Key {
    id: String,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point, uncompressed.
    P256(Vec<u8>),
}

/// A token, taken apart and not yet trusted.
struct Token<'a> {
    algorithm: String,
    key: String,
    claims: Value,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let read = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
        let head = read(head)?;
        let word = |field: &str| head[field].as_str().unwrap_or_default().to_owned();
        Some(Self {
            algorithm: word("alg"),
            key: word("kid"),
            claims: read(claims)?,
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

impl Token<'_> {
    /// Whether one of some keys has signed it, of those that have the name that it says.
    fn is_signed_by(&self, keys: &[Key]) -> bool {
        let named = |key: &&Key| self.key.is_empty() || key.id == self.key;
        keys.iter().filter(named).any(|key| key.has_signed(self))
    }
}

impl Key {
    fn parse(key: &Value) -> Option<Self> {
        let part = |field: &str| URL_SAFE_NO_PAD.decode(key[field].as_str()?).ok();
        let material = match (key["kty"].as_str()?, key["crv"].as_str()) {
            ("RSA", _) => Material::Rsa { modulus: part("n")?, exponent: part("e")? },
            ("EC", Some("P-256")) => Material::P256([vec![4], part("x")?, part("y")?].concat()),
            _ => return None,
        };
        Some(Self { id: key["kid"].as_str().unwrap_or_default().to_owned(), material })
    }

    /// Whether the key has signed it, in the way that the token says and the key allows.
    fn has_signed(&self, token: &Token<'_>) -> bool {
        match (&self.material, token.algorithm.as_str()) {
            (Material::Rsa { modulus, exponent }, algorithm @ ("RS256" | "RS384" | "RS512")) => {
                let parameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA512,
                };
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, token.signed, &token.signature).is_ok()
            }
            (Material::P256(point), "ES256") => {
                let algorithm: &dyn VerificationAlgorithm = &signature::ECDSA_P256_SHA256_FIXED;
                UnparsedPublicKey::new(algorithm, point).verify(token.signed, &token.signature).is_ok()
            }
            _ => false,
        }
    }
}

impl Oidc {
    /// Tokens of a provider. Its keys are fetched when the first of them comes.
    #[must_use]
    pub fn new(options: OidcOptions) -> Self {
        Self { options: Arc::new(options), keys: Mutex::default() }
    }

    /// Whose a token is by the provider's key set (JWKS), at a moment in seconds; none where it is no token of the
    /// provider.
    #[must_use]
    pub fn whose(&self, token: &str, key_set: &Value, now: i64) -> Option<Result<Identity, String>> {
        let token = self.of_provider(token)?;
        Some(self.judge(&token, &keys_of(key_set), now))
    }

    /// A token that says that it is the provider's, taken apart.
    fn of_provider<'a>(&self, token: &'a str) -> Option<Token<'a>> {
        Token::parse(token).filter(|token| token.claims["iss"] == self.options.issuer)
    }

    /// The provider's keys: those that are known where one of them has signed the token. Else they may be other ones by
    /// now, also under the same names, and are fetched anew, unless they were just now.
    async fn keys(&self, token: &Token<'_>) -> Result<Arc<Vec<Key>>, String> {
        #[allow(clippy::disallowed_methods)] // how long ago, at the edge
        let now = Instant::now();
        let fetching = {
            let mut keys = self.keys.lock();
            if token.is_signed_by(&keys.known) {
                return Ok(keys.known.clone());
            }
            match &keys.fetching {
                Some(fetching) => fetching.clone(),
                None if keys.not_before.is_some_and(|moment| now < moment) => return Ok(keys.known.clone()),
                None => {
                    let fetching = fetch_keys(self.options.clone()).boxed().shared();
                    keys.fetching.insert(fetching).clone()
                }
            }
        };
        let fetched = fetching.clone().await;
        let mut keys = self.keys.lock();
        if keys.fetching.as_ref().is_some_and(|current| current.ptr_eq(&fetching)) {
            keys.fetching = None;
            keys.not_before = Some(now + if fetched.is_ok() { self.options.refetch } else { AFTER_FAILURE });
            if let Ok(fetched) = &fetched {
                keys.known = fetched.clone();
            }
        }
        fetched
    }

    /// Whose a token is that one of the keys has signed.
    fn judge(&self, token: &Token<'_>, keys: &[Key], now: i64) -> Result<Identity, String> {
        if !token.is_signed_by(keys) {
            return Err("none of the provider's keys has signed it".to_owned());
        }
        let (claims, options) = (&token.claims, &self.options);
        let is_for = |wanted: &str| match &claims["aud"] {
            Value::Array(list) => list.iter().any(|one| one == wanted),
            one => one == wanted,
        };
        if !is_for(&options.client_id) {
            return Err("it is for somebody else".to_owned());
        }
        // Times may have fractions.
        #[allow(clippy::cast_possible_truncation)] // to whole seconds
        let moment = |claim: &str| claims[claim].as_i64().or_else(|| claims[claim].as_f64().map(|time| time as i64));
        if moment("exp").is_none_or(|end| now >= end) || moment("nbf").is_some_and(|start| now + AHEAD < start) {
            return Err("it is not valid now".to_owned());
        }
        for (claim, value) in &options.required {
            if claims[claim.as_str()] != value.as_str() {
                return Err(format!("the claim {claim} is not {value}"));
            }
        }
        let name = claims[options.username_claim.as_str()].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("it has no claim {}", options.username_claim))?;
        if options.username_claim == "email" && claims.get("email_verified").is_some_and(|verified| *verified != true) {
            return Err("its e-mail address is not verified".to_owned());
        }
        let prefix = match options.username_prefix.as_str() {
            "-" => String::new(),
            "" if options.username_claim == "email" => String::new(),
            "" => format!("{}#", options.issuer),
            prefix => prefix.to_owned(),
        };
        let tenant = match options.tenant_claim.as_str() {
            "" => TenantName::system(),
            claim => TenantName::new(claims[claim].as_str().unwrap_or_default()).map_err(|error| error.to_string())?,
        };
        let listed = listed(claims.get(options.groups_claim.as_str()));
        let listed = listed.ok_or_else(|| format!("its claim {} is no list of groups", options.groups_claim))?;
        let groups: Vec<String> = listed.iter().map(|group| format!("{}{group}", options.groups_prefix)).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let id = claims["jti"].as_str().filter(|id| !id.is_empty());
        let extra = id.map(|id| (CREDENTIAL.to_owned(), vec![format!("JTI={id}")])).into_iter().collect();
        Ok(Identity { extra, ..Identity::user(&format!("{prefix}{name}"), &groups, &tenant) })
    }
}

/// The groups that a claim lists, or the one that it names; none where there is no claim. Absent for what is neither.
fn listed(claim: Option<&Value>) -> Option<Vec<&str>> {
    fn text(value: &Value) -> Option<&str> {
        match value {
            Value::String(text) => Some(text.as_str()),
            Value::Null => Some(""), // as whatever reads it into a text
            _ => None,
        }
    }
    match claim {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(one) => text(one).map(|one| vec![one]),
    }
}

async fn fetch_keys(options: Arc<OidcOptions>) -> Result<Arc<Vec<Key>>, String> {
    let issuer = options.issuer.trim_end_matches('/');
    let about = fetch(&options, &format!("{issuer}/.well-known/openid-configuration")).await?;
    if about["issuer"] != options.issuer {
        return Err(format!("{issuer} says that it is {}", about["issuer"]));
    }
    let set = fetch(&options, about["jwks_uri"].as_str().ok_or("the provider names no keys")?).await?;
    Ok(Arc::new(keys_of(&set)))
}

/// The keys of a set that there is code for here.
fn keys_of(set: &Value) -> Vec<Key> {
    set["keys"].as_array().into_iter().flatten().filter_map(Key::parse).collect()
}

async fn fetch(options: &OidcOptions, url: &str) -> Result<Value, String> {
    let config = tls::client(None, &options.authority).map_err(|error| error.to_string())?;
    let request = Request::get(url).body(Bytes::new()).map_err(|error| format!("{url}: {error}"))?;
    let (status, body) = https::exchange(config, request).await?;
    if !status.is_success() {
        return Err(format!("{url}: {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))
}

#[async_trait]
impl TokenAuthenticator for Oidc {
    async fn authenticate(&self, token: &str) -> Result<Option<Identity>, String> {
        let Some(token) = self.of_provider(token) else { return Ok(None) };
        let keys = self.keys(&token).await?;
        #[allow(clippy::disallowed_methods)] // tokens are about the time on the wall
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.judge(&token, &keys, i64::try_from(now).unwrap_or(i64::MAX)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    fn key_pair() -> EcdsaKeyPair {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key")
    }

    fn public(pair: &EcdsaKeyPair, id: &str) -> Key {
        let point = pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = json!({"kty": "EC", "crv": "P-256", "kid": id, "x": part(1..33), "y": part(33..65)});
        Key::parse(&key).expect("a key")
    }

    fn signed(pair: &EcdsaKeyPair, head: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(head), part(claims));
        let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).expect("signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn oidc() -> Oidc {
        Oidc::new(OidcOptions {
            issuer: "https://id.example.com".to_owned(),
            client_id: "arktos".to_owned(),
            username_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            groups_prefix: "oidc:".to_owned(),
            tenant_claim: "org".to_owned(),
            required: vec![("hd".to_owned(), "example.com".to_owned())],
            ..OidcOptions::default()
        })
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example.com", "aud": ["other", "arktos"], "sub": "ann", "org": "acme", "hd": "example.com",
            "groups": ["dev"], "exp": 1000, "nbf": 10,
        })
    }

    #[test]
    fn claims_say_who_it_is_and_in_which_tenant() {
        let (pair, oidc) = (key_pair(), oidc());
        let text = signed(&pair, &json!({"alg": "ES256", "kid": "k1"}), &claims());
        let found = oidc.judge(&Token::parse(&text).expect("a token"), &[public(&pair, "k1")], 500).expect("somebody");
        assert_eq!(found.user, "https://id.example.com#ann");
        assert_eq!(found.groups, ["oidc:dev", "system:authenticated"]);
        assert_eq!(found.tenant.as_ref().map(TenantName::as_str), Some("acme"));
    }

    #[test]
    fn what_is_not_signed_not_for_us_or_not_in_time_counts_for_nothing() {
        let (pair, oidc) = (key_pair(), oidc());
        let keys = [public(&pair, "k1")];
        let fine = json!({"alg": "ES256", "kid": "k1"});
        let refused = |text: &str, now: i64| {
            let token = Token::parse(text).expect("a token");
            assert!(oidc.judge(&token, &keys, now).is_err(), "{text}");
        };
        let text = signed(&pair, &fine, &claims());
        refused(&text, 1000);
        let mut early = claims();
        early["nbf"] = json!(801);
        refused(&signed(&pair, &fine, &early), 500);
        refused(&signed(&key_pair(), &fine, &claims()), 500);
        for head in [
            json!({"alg": "none", "kid": "k1"}),
            json!({"alg": "HS256", "kid": "k1"}),
            json!({"alg": "ES256", "kid": "k2"}),
        ] {
            refused(&signed(&pair, &head, &claims()), 500);
        }
        for (claim, value) in
            [("aud", json!("other")), ("sub", json!("")), ("org", json!("")), ("org", json!("All")), ("hd", json!("x"))]
        {
            let mut other = claims();
            other[claim] = value;
            refused(&signed(&pair, &fine, &other), 500);
        }
        assert!(Token::parse("a.b").is_none() && Token::parse("...").is_none());
    }

    #[test]
    fn a_token_may_be_ahead_of_its_time_by_five_minutes_and_have_fractions_of_seconds() {
        let (pair, oidc) = (key_pair(), oidc());
        let keys = [public(&pair, "k1")];
        for (claim, value) in [("nbf", json!(800)), ("nbf", json!(800.9)), ("exp", json!(501.5)), ("nbf", json!(null))]
        {
            let mut said = claims();
            said[claim] = value;
            let text = signed(&pair, &json!({"alg": "ES256", "kid": "k1"}), &said);
            let found = oidc.judge(&Token::parse(&text).expect("a token"), &keys, 500);
            assert!(found.is_ok(), "{said}: {found:?}");
        }
    }

    #[test]
    fn a_claim_of_another_type_is_no_claim_and_groups_of_another_type_are_refused() {
        let (pair, oidc) = (key_pair(), oidc());
        let keys = [public(&pair, "k1")];
        let judged = |claim: &str, value: Value| {
            let mut said = claims();
            said[claim] = value;
            let text = signed(&pair, &json!({"alg": "ES256", "kid": "k1"}), &said);
            oidc.judge(&Token::parse(&text).expect("a token"), &keys, 500)
        };
        for (claim, value) in [
            ("sub", json!(7)),
            ("sub", json!(["ann"])),
            ("hd", json!(["example.com"])),
            ("groups", json!(7)),
            ("groups", json!({"a": "b"})),
            ("groups", json!(true)),
            ("groups", json!(["dev", 7])),
            ("groups", json!([["dev"]])),
        ] {
            assert!(judged(claim, value.clone()).is_err(), "{claim}: {value}");
        }
        for (value, groups) in [
            (json!("dev"), &["oidc:dev"][..]),
            (json!(null), &[][..]),
            (json!([]), &[][..]),
            (json!(["a", null]), &["oidc:a", "oidc:"][..]),
        ] {
            let found = judged("groups", value.clone()).expect("somebody");
            let wanted: Vec<&str> = groups.iter().copied().chain(["system:authenticated"]).collect();
            assert_eq!(found.groups, wanted, "{value}");
        }
    }

    #[test]
    fn what_has_a_name_of_its_own_says_so() {
        let (pair, oidc) = (key_pair(), oidc());
        for (id, extra) in [(json!("t1"), Some(vec!["JTI=t1".to_owned()])), (json!(""), None), (json!(7), None)] {
            let mut said = claims();
            said["jti"] = id;
            let text = signed(&pair, &json!({"alg": "ES256", "kid": "k1"}), &said);
            let found =
                oidc.judge(&Token::parse(&text).expect("a token"), &[public(&pair, "k1")], 500).expect("somebody");
            assert_eq!(found.extra.get(CREDENTIAL), extra.as_ref());
        }
    }
}
