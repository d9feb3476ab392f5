//! The keys that sign tokens: one secret for the partition, from which each tenant's keys are derived.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arktos_core::TenantName;
use arktos_store::Random;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey};
use parking_lot::RwLock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How many tenants' derived keys are kept at hand.
const KEPT: usize = 4096;
/// How many tokens are known by their digests to be signed well.
const KNOWN: usize = 1 << 14;
/// What separates these keys from any other use of the same secret.
const DOMAIN: &[u8] = b"arktos service account token key 2";

/// The secrets behind the keys that sign service account tokens: the first signs, and what any of them has signed
/// counts. Cloning shares them, so that [`replace`](Self::replace) reaches every server that was made with them.
#[derive(Clone)]
pub struct TokenKeys(Arc<Shared>);

struct Shared {
    /// Written by whoever rotates the keys.
    secrets: RwLock<Vec<[u8; 32]>>,
    /// Written by whoever first needs a tenant's keys; emptied when the secrets change.
    derived: RwLock<HashMap<Life, Arc<[Key]>>>,
    /// Digests of tokens, each with the key that was found to have signed it: to find out takes more than all else
    /// about a small request. Written by whoever shows one first.
    known: RwLock<HashSet<[u8; 32]>>,
}

/// A tenant from its making to its end. One that is made anew under the name has other keys: who trusts the tokens of
/// the old one, out in the world, does not trust the new one's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    /// The tenant's name.
    pub(crate) tenant: TenantName,
    /// The uid of its object.
    pub(crate) uid: String,
}

/// Whose keys stand for those of who is not there: nothing is signed with them.
fn nobody() -> Life {
    Life { tenant: TenantName::system(), uid: String::new() }
}

/// A tenant's key.
struct Key {
    id: String,
    signing: SigningKey,
}

/// A line of a key file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenKeysError(String);

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unverified {
    #[error("it is not a token of a service account")]
    Malformed,
    #[error("no key known here has signed it")]
    UnknownSigner,
}

impl TokenKeys {
    /// One new secret.
    #[must_use]
    pub fn random(random: &dyn Random) -> Self {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Self::of(vec![secret])
    }

    fn of(secrets: Vec<[u8; 32]>) -> Self {
        Self(Arc::new(Shared { secrets: RwLock::new(secrets), derived: RwLock::default(), known: RwLock::default() }))
    }

    /// Reads a key file: one secret of 32 bytes a line, in base64; the first signs. Lines that begin with `#` say
    /// nothing.
    ///
    /// # Errors
    /// When a line is no such secret, or there is none. The text of the line is not told.
    pub fn parse(text: &str) -> Result<Self, TokenKeysError> {
        let mut secrets = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = STANDARD.decode(line).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let fault = || TokenKeysError(format!("line {} is not 32 bytes in base64", at + 1));
            secrets.push(bytes.ok_or_else(fault)?);
        }
        if secrets.is_empty() {
            return Err(TokenKeysError("it has no key".to_owned()));
        }
        Ok(Self::of(secrets))
    }

    /// The file that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_file(&self) -> String {
        let head = "# Secrets behind the keys of service account tokens. The first signs; all are accepted.\n";
        let lines = self.0.secrets.read().iter().map(|secret| STANDARD.encode(secret) + "\n").collect::<String>();
        format!("{head}{lines}")
    }

    /// Takes the secrets of other keys in place of its own, at once and for all who share them.
    pub fn replace(&self, other: &Self) {
        let secrets = other.0.secrets.read().clone();
        *self.0.secrets.write() = secrets;
        self.0.derived.write().clear();
    }

    fn of_tenant(&self, tenant: &Life) -> Arc<[Key]> {
        if let Some(keys) = self.0.derived.read().get(tenant) {
            return keys.clone();
        }
        let secrets = self.0.secrets.read().clone();
        let keys: Arc<[Key]> = secrets.iter().filter_map(|secret| Key::derive(secret, tenant)).collect();
        let mut derived = self.0.derived.write();
        // Between the two locks the secrets may have been replaced: then these keys serve this once.
        if *self.0.secrets.read() == secrets {
            if derived.len() >= KEPT {
                derived.clear();
            }
            derived.insert(tenant.clone(), keys.clone());
        }
        keys
    }

    /// A token that says this, signed for a tenant. Empty when there is no key.
    pub(crate) fn sign(&self, tenant: &Life, claims: &Value) -> String {
        let keys = self.of_tenant(tenant);
        let Some(key) = keys.first() else { return String::new() };
        let head = json!({"alg": "ES256", "kid": key.id});
        let said =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature: Signature = key.signing.sign(said.as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    /// What a token says, and the tenant whose key has signed it. `life` says which tenant of a name there is now.
    ///
    /// # Errors
    /// [`Unverified`]: nothing that it says counts.
    pub(crate) fn verify(
        &self,
        token: &str,
        life: impl Fn(TenantName) -> Option<Life>,
    ) -> Result<(Life, Value), Unverified> {
        let (said, signature) = token.rsplit_once('.').ok_or(Unverified::Malformed)?;
        let (head, claims) = said.split_once('.').ok_or(Unverified::Malformed)?;
        let json = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
        let (head, claims) = json(head).zip(json(claims)).ok_or(Unverified::Malformed)?;
        // One algorithm: what the token says of it is only compared.
        if head["alg"] != "ES256" {
            return Err(Unverified::Malformed);
        }
        let tenant = super::check::tenant_of(&claims).ok_or(Unverified::Malformed)?;
        // Who is refused has waited for as long whether there is such a tenant and such a key, or not.
        let tenant = life(tenant);
        let keys = self.of_tenant(tenant.as_ref().unwrap_or(&nobody()));
        let named = keys.iter().find(|key| head["kid"] == *key.id);
        let signature = URL_SAFE_NO_PAD.decode(signature).ok();
        let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok()).ok_or(Unverified::Malformed)?;
        let signed = named.or(keys.first()).is_some_and(|key| self.has_signed(key, token, said, &signature));
        match tenant.filter(|_| signed && named.is_some()) {
            Some(tenant) => Ok((tenant, claims)),
            None => Err(Unverified::UnknownSigner),
        }
    }

    /// Whether a key has signed a token, all of which this is, and of which this was signed.
    fn has_signed(&self, key: &Key, token: &str, said: &str, signature: &Signature) -> bool {
        let digest: [u8; 32] = Sha256::new_with_prefix(&key.id).chain_update(token).finalize().into();
        if self.0.known.read().contains(&digest) {
            return true;
        }
        let signed = key.signing.verifying_key().verify(said.as_bytes(), signature).is_ok();
        if signed {
            let mut known = self.0.known.write();
            if known.len() >= KNOWN {
                known.clear();
            }
            known.insert(digest);
        }
        signed
    }

    /// What shows that a token is a tenant's: its public keys, as a JSON Web Key Set.
    pub(crate) fn public(&self, tenant: &Life) -> Value {
        let keys = self.of_tenant(tenant);
        let keys: Vec<Value> = keys.iter().map(Key::public).collect();
        json!({ "keys": keys })
    }
}

impl std::fmt::Debug for TokenKeys {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeys({})", self.0.secrets.read().len())
    }
}

impl Key {
    /// A tenant's key: a number that only who has the secret can tell.
    fn derive(secret: &[u8; 32], tenant: &Life) -> Option<Self> {
        // Nearly every number is a key; the next is taken where one is not.
        let signing = (0..=u8::MAX).find_map(|attempt| {
            let number = Sha256::new_with_prefix(secret)
                .chain_update(DOMAIN)
                .chain_update([attempt])
                .chain_update(tenant.tenant.as_str())
                .chain_update("/")
                .chain_update(&tenant.uid)
                .finalize();
            SigningKey::from_slice(&number).ok()
        })?;
        let point = signing.verifying_key().to_encoded_point(false);
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(point.as_bytes()));
        Some(Self { id, signing })
    }

    fn public(&self) -> Value {
        let point = self.signing.verifying_key().to_encoded_point(false);
        let part = |part: Option<&p256::FieldBytes>| part.map(|part| URL_SAFE_NO_PAD.encode(part)).unwrap_or_default();
        json!({
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": part(point.x()), "y": part(point.y()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_store::clock::SeededRandom;

    fn tenant(name: &str) -> Life {
        Life { tenant: TenantName::new(name).expect("a name"), uid: "1".to_owned() }
    }

    #[allow(clippy::unnecessary_wraps)] // it stands for a look-up
    fn life(tenant: TenantName) -> Option<Life> {
        Some(Life { tenant, uid: "1".to_owned() })
    }

    fn claims(of: &str) -> Value {
        json!({"sub": "s", "arktos.io": {"tenant": of}})
    }

    #[test]
    fn a_token_counts_only_as_it_was_signed_and_only_for_its_tenant() {
        let keys = TokenKeys::random(&SeededRandom::new(1));
        let token = keys.sign(&tenant("acme"), &claims("acme"));
        assert_eq!(keys.verify(&token, life), Ok((tenant("acme"), claims("acme"))));
        // The same words under another tenant's name, signed with this one's key.
        let stolen = keys.sign(&tenant("acme"), &claims("globex"));
        assert_eq!(keys.verify(&stolen, life), Err(Unverified::UnknownSigner));
        let (said, signature) = token.rsplit_once('.').expect("three parts");
        let (head, _) = said.split_once('.').expect("three parts");
        let other = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "arktos.io": {"tenant": "acme"}}).to_string());
        assert!(keys.verify(&format!("{head}.{other}.{signature}"), life).is_err());
        for head in [json!({"alg": "none"}), json!({"alg": "HS256", "kid": "x"}), json!({})] {
            let head = URL_SAFE_NO_PAD.encode(head.to_string());
            let (_, claims) = said.split_once('.').expect("three parts");
            assert!(keys.verify(&format!("{head}.{claims}.{signature}"), life).is_err());
            assert!(keys.verify(&format!("{head}.{claims}."), life).is_err());
        }
        for nonsense in ["", ".", "..", "a.b.c", "💥.💥.💥"] {
            assert_eq!(keys.verify(nonsense, life), Err(Unverified::Malformed), "{nonsense}");
        }
    }

    #[test]
    fn what_was_found_signed_once_is_found_so_again_and_nothing_else_with_it() {
        let keys = TokenKeys::random(&SeededRandom::new(1));
        let token = keys.sign(&tenant("acme"), &claims("acme"));
        for _ in 0..2 {
            assert_eq!(keys.verify(&token, life), Ok((tenant("acme"), claims("acme"))));
            let (said, _) = token.rsplit_once('.').expect("three parts");
            let other = keys.sign(&tenant("acme"), &json!({"sub": "root", "arktos.io": {"tenant": "acme"}}));
            let (_, signature) = other.rsplit_once('.').expect("three parts");
            assert_eq!(keys.verify(&format!("{said}.{signature}"), life), Err(Unverified::UnknownSigner));
            let anew = |tenant| Some(Life { tenant, uid: "2".to_owned() });
            assert_eq!(keys.verify(&token, anew), Err(Unverified::UnknownSigner));
        }
        for _ in 0..2 {
            let token = keys.sign(&tenant("acme"), &json!({"sub": "s", "exp": 1, "arktos.io": {"tenant": "acme"}}));
            assert!(keys.verify(&token, life).is_ok(), "one after the other");
        }
    }

    #[test]
    fn a_tenant_that_is_made_anew_has_new_keys() {
        let keys = TokenKeys::random(&SeededRandom::new(1));
        let old = keys.sign(&tenant("acme"), &claims("acme"));
        let anew = |tenant| Some(Life { tenant, uid: "2".to_owned() });
        assert_eq!(keys.verify(&old, anew), Err(Unverified::UnknownSigner));
        assert_eq!(keys.verify(&old, |_| None), Err(Unverified::UnknownSigner));
        let again = Life { uid: "2".to_owned(), ..tenant("acme") };
        assert_ne!(keys.public(&tenant("acme"))["keys"][0]["kid"], keys.public(&again)["keys"][0]["kid"]);
    }

    #[test]
    fn tenants_share_no_key() {
        let keys = TokenKeys::random(&SeededRandom::new(1));
        let (one, other) = (keys.public(&tenant("acme")), keys.public(&tenant("globex")));
        assert_eq!(one["keys"].as_array().map(Vec::len), Some(1));
        assert_ne!(one["keys"][0]["kid"], other["keys"][0]["kid"]);
        assert_ne!(one["keys"][0]["x"], other["keys"][0]["x"]);
    }

    #[test]
    fn keys_rotate_for_all_who_share_them_and_old_tokens_count_while_their_secret_is_kept() {
        let keys = TokenKeys::random(&SeededRandom::new(1));
        let shared = keys.clone();
        let old = keys.sign(&tenant("acme"), &claims("acme"));
        let newer = TokenKeys::random(&SeededRandom::new(2)).to_file();
        keys.replace(&TokenKeys::parse(&format!("{newer}{}", keys.to_file())).expect("reads"));
        assert!(shared.verify(&old, life).is_ok());
        let new = shared.sign(&tenant("acme"), &claims("acme"));
        keys.replace(&TokenKeys::parse(&newer).expect("reads"));
        assert_eq!(shared.verify(&old, life), Err(Unverified::UnknownSigner));
        assert!(shared.verify(&new, life).is_ok());
    }

    #[test]
    fn a_key_file_reads_back_and_a_bad_one_is_not_repeated_in_the_fault() {
        let keys = TokenKeys::random(&SeededRandom::new(1));
        let read = TokenKeys::parse(&keys.to_file()).expect("reads");
        assert!(read.verify(&keys.sign(&tenant("acme"), &claims("acme")), life).is_ok());
        let fault = TokenKeys::parse("c2VjcmV0").expect_err("too short").to_string();
        assert_eq!(fault, "line 1 is not 32 bytes in base64");
        assert!(TokenKeys::parse("# nothing\n").is_err());
    }
}
