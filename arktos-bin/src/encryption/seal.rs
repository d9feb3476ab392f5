//! How each provider seals an object.
//!
//! ```text
//!  aesgcm      16 random bytes │ nonce, 12 │ ciphertext │ tag, 16
//!  secretbox   k8s:enc:secretbox:v1:NAME: │ nonce, 24 │ box of (code, 32 │ object)
//!  aescbc      k8s:enc:aescbc:v1:NAME: │ initial vector, 16 │ blocks of (code, 32 │ object), padded (PKCS #7)
//! ```
//!
//! AES-256-GCM has a key of its own for each object, which is derived (HMAC-SHA-256) from the configured one and 16
//! random bytes: so no key wears out, however often snapshots are written. The other two are as upstream writes them.
//! Neither is bound to where the object is, and AES-CBC does not notice what is changed: a code (HMAC-SHA-256) inside,
//! of the place and the object, makes up for that.

use arktos_store::Random;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// How many random bytes a key is derived with.
const SALT: usize = 16;
/// What separates derived keys from any other use of the same secret.
const DOMAIN: &[u8] = b"arktos object at rest 1";
/// As `DOMAIN`, for the codes.
const CODE_DOMAIN: &[u8] = b"arktos code at rest 1";
/// The length of a code.
const CODE: usize = 32;
/// The length of a nonce of secretbox, and of an initial vector of AES-CBC.
const BOX_NONCE: usize = 24;
const BLOCK: usize = 16;

/// What a provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// AES-256-GCM, with a key for each object.
    AesGcm,
    /// AES-CBC.
    AesCbc,
    /// XSalsa20 and Poly1305.
    SecretBox,
}

impl Provider {
    /// The provider that a configuration means.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "aesgcm" => Self::AesGcm,
            "aescbc" => Self::AesCbc,
            "secretbox" => Self::SecretBox,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aesgcm",
            Self::AesCbc => "aescbc",
            Self::SecretBox => "secretbox",
        }
    }

    /// How many bytes a secret may have, and how that is said.
    pub(super) fn lengths(self) -> (&'static [usize], &'static str) {
        match self {
            Self::AesGcm | Self::AesCbc => (&[16, 24, 32], "16, 24 or 32 bytes"),
            Self::SecretBox => (&[32], "32 bytes"),
        }
    }
}

/// What a key is made of.
pub(super) struct Secret {
    provider: Provider,
    bytes: Vec<u8>,
    code: hmac::Key,
}

impl Secret {
    /// A secret of one of the provider's lengths.
    pub(super) fn new(provider: Provider, bytes: Vec<u8>) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let code = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, CODE_DOMAIN).as_ref());
        Self { provider, bytes, code }
    }

    /// What upstream writes in front; `name` is the key's, without its provider.
    fn prefix(&self, name: &str) -> Vec<u8> {
        format!("k8s:enc:{}:v1:{name}:", self.provider.name()).into_bytes()
    }

    /// Seals an object that is at a place.
    ///
    /// # Errors
    /// A sentence: it is too large.
    pub(super) fn seal(&self, random: &dyn Random, name: &str, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, String> {
        let fill = |length: usize| {
            let mut bytes = vec![0; length];
            random.fill(&mut bytes);
            bytes
        };
        if self.provider == Provider::AesGcm {
            return self.seal_gcm(fill(SALT + NONCE_LEN), place, plain);
        }
        let inner = [self.code(place, plain).as_ref(), plain].concat();
        let (nonce, sealed) = match self.provider {
            Provider::SecretBox => {
                let nonce = fill(BOX_NONCE);
                let cipher = XSalsa20Poly1305::new_from_slice(&self.bytes).map_err(|_| wrong_length())?;
                let sealed = cipher.encrypt(nonce.as_slice().into(), inner.as_slice());
                (nonce, sealed.map_err(|_| "an object is too large to be encrypted".to_owned())?)
            }
            _ => {
                let vector = fill(BLOCK);
                let sealed = self.cbc_encrypt(&vector, &inner).ok_or_else(wrong_length)?;
                (vector, sealed)
            }
        };
        Ok([self.prefix(name), nonce, sealed].concat())
    }

    /// Opens what was sealed with this secret, under this name, for this place.
    pub(super) fn open(&self, name: &str, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        if self.provider == Provider::AesGcm {
            return self.open_gcm(place, sealed);
        }
        let sealed = sealed.strip_prefix(self.prefix(name).as_slice())?;
        let inner = match self.provider {
            Provider::SecretBox => {
                let (nonce, sealed) = sealed.split_at_checked(BOX_NONCE)?;
                XSalsa20Poly1305::new_from_slice(&self.bytes).ok()?.decrypt(nonce.into(), sealed).ok()?
            }
            _ => {
                let (vector, sealed) = sealed.split_at_checked(BLOCK)?;
                self.cbc_decrypt(vector, sealed)?
            }
        };
        let (code, plain) = inner.split_at_checked(CODE)?;
        hmac::verify(&self.code, &coded(place, plain), code).ok()?;
        Some(plain.to_vec())
    }

    fn code(&self, place: &[u8], plain: &[u8]) -> hmac::Tag {
        hmac::sign(&self.code, &coded(place, plain))
    }

    fn cbc_encrypt(&self, vector: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        macro_rules! with {
            ($cipher:ty) => {
                cbc::Encryptor::<$cipher>::new_from_slices(&self.bytes, vector)
                    .ok()?
                    .encrypt_padded_vec_mut::<Pkcs7>(plain)
            };
        }
        Some(match self.bytes.len() {
            16 => with!(aes::Aes128),
            24 => with!(aes::Aes192),
            _ => with!(aes::Aes256),
        })
    }

    fn cbc_decrypt(&self, vector: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        macro_rules! with {
            ($cipher:ty) => {
                cbc::Decryptor::<$cipher>::new_from_slices(&self.bytes, vector)
                    .ok()?
                    .decrypt_padded_vec_mut::<Pkcs7>(sealed)
            };
        }
        match self.bytes.len() {
            16 => with!(aes::Aes128),
            24 => with!(aes::Aes192),
            _ => with!(aes::Aes256),
        }
        .ok()
    }

    fn seal_gcm(&self, mut bytes: Vec<u8>, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, String> {
        let (salt, nonce) = bytes.split_at(SALT);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| "a nonce has another length".to_owned())?;
        let derived = self.derived(salt)?;
        let mut sealed = plain.to_vec();
        let done = derived.seal_in_place_append_tag(nonce, Aad::from(place), &mut sealed);
        done.map_err(|_| "an object is too large to be encrypted".to_owned())?;
        bytes.append(&mut sealed);
        Ok(bytes)
    }

    fn open_gcm(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = sealed.split_at_checked(SALT)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let length = self.derived(salt).ok()?.open_in_place(nonce, Aad::from(place), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }

    /// The key of one object.
    fn derived(&self, salt: &[u8]) -> Result<LessSafeKey, String> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, &self.bytes);
        let mut context = hmac::Context::with_key(&master);
        context.update(DOMAIN);
        context.update(salt);
        let key = UnboundKey::new(&AES_256_GCM, context.sign().as_ref());
        key.map(LessSafeKey::new).map_err(|_| wrong_length())
    }
}

/// What a code is of: the place, with its length, and the object.
fn coded(place: &[u8], plain: &[u8]) -> Vec<u8> {
    [&(place.len() as u64).to_be_bytes(), place, plain].concat()
}

fn wrong_length() -> String {
    "a key has another length".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_store::clock::SeededRandom;

    #[test]
    fn each_provider_opens_what_it_sealed_and_only_in_its_place_and_unchanged() {
        let random = SeededRandom::new(3);
        let lengths = [Provider::AesGcm, Provider::AesCbc, Provider::SecretBox]
            .into_iter()
            .flat_map(|provider| provider.lengths().0.iter().map(move |length| (provider, *length)));
        for (provider, length) in lengths {
            let secret = Secret::new(provider, vec![7; length]);
            for plain in [&b""[..], b"x", &[5; 1000]] {
                let sealed = secret.seal(&random, "k", b"place", plain).expect("seals");
                assert_eq!(secret.open("k", b"place", &sealed).as_deref(), Some(plain), "{provider:?} {length}");
                assert_ne!(secret.seal(&random, "k", b"place", plain).expect("seals"), sealed);
                assert_eq!(secret.open("k", b"plac", &sealed), None);
                assert_eq!(Secret::new(provider, vec![8; length]).open("k", b"place", &sealed), None);
                for at in 0..sealed.len() {
                    let mut changed = sealed.clone();
                    changed[at] ^= 1;
                    assert_eq!(secret.open("k", b"place", &changed), None, "{provider:?} {length}: byte {at}");
                }
                for short in [0, 1, 20, sealed.len() - 1] {
                    assert_eq!(secret.open("k", b"place", &sealed[..short]), None);
                }
            }
        }
    }

    #[test]
    fn what_upstream_knows_begins_as_upstream_writes_it() {
        let random = SeededRandom::new(3);
        for (provider, prefix, overhead) in [
            (Provider::SecretBox, "k8s:enc:secretbox:v1:key-1:", BOX_NONCE + 16),
            (Provider::AesCbc, "k8s:enc:aescbc:v1:key-1:", BLOCK + 16),
        ] {
            let secret = Secret::new(provider, vec![7; 32]);
            let sealed = secret.seal(&random, "key-1", b"place", &[9; 32]).expect("seals");
            assert!(sealed.starts_with(prefix.as_bytes()));
            assert_eq!(sealed.len(), prefix.len() + overhead + CODE + 32);
            assert_eq!(secret.open("key-2", b"place", &sealed), None);
        }
    }
}
