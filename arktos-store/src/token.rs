//! Where a list goes on: tokens that clients carry from one page to the next and can neither read anything into nor
//! change.
//!
//! ```
//! use arktos_core::{GroupResource, ObjectPath, Revision};
//! use arktos_store::token::{Continue, TokenKey};
//! use arktos_store::{Selection, Within};
//!
//! let key = TokenKey::new([7; 32]);
//! let pods = Selection::all(GroupResource::core("pods"), Within::Everywhere);
//! let place = Continue { revision: Some(Revision(9)), after: ObjectPath::new("acme", "a", "web"), left: Some(3) };
//! let token = place.seal(&key, &pods);
//! assert_eq!(Continue::open(&token, &key, &pods), Ok(place));
//!
//! let nodes = Selection::all(GroupResource::core("nodes"), Within::Everywhere);
//! assert!(Continue::open(&token, &key, &nodes).is_err());
//! ```
//!
//! # What a token is
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version: 1 |
//! | 4 | which key it was sealed with: the first bytes of a MAC of nothing under that key |
//! | 8 | the list's revision, little-endian; zero where the list goes on inconsistently |
//! | 8 | how many objects are left, little-endian; all ones where that is not known |
//! | … | the path after which the list goes on |
//! | 32 | HMAC-SHA-256 of all before, and of what the token is bound to |
//!
//! in the URL-safe alphabet of base 64 without padding. It is bound to the list it was given out for: the resource, the
//! range of paths with its tenant, and the selectors. With any other it does not open. How many objects are asked for
//! may change from page to page.
//!
//! # Keys
//!
//! The key comes from whoever owns the engine. API servers over one store need the same one, and one that stays the
//! same across restarts lets lists go on across them, as the log keeps past states. Where the key is drawn anew at each
//! start, tokens of an earlier one are told apart from forged ones ([`TokenError::OtherKey`]): their lists have expired
//! and begin anew.

use arktos_core::selector::Condition;
use arktos_core::{LabelSelector, ObjectPath, Revision};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::clock::Random;
use crate::select::{Field, Selection, Within};

/// The version of the form this writes, and the only one it reads.
const VERSION: u8 = 1;
/// The bytes before the path.
const HEAD: usize = 21;
/// The bytes of the code at the end.
const CODE: usize = 32;
/// A longer token was not given out by anyone.
const LONGEST: usize = 16 << 10;

/// A secret that seals tokens. Cloning it copies it.
#[derive(Clone)]
pub struct TokenKey {
    mac: Hmac<Sha256>,
    id: [u8; 4],
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue {
    /// The list's revision; none for a list that goes on at the newest state, whatever has changed meanwhile.
    pub revision: Option<Revision>,
    /// The last path that was given out.
    pub after: ObjectPath,
    /// How many objects come after it, where they were counted.
    pub left: Option<u64>,
}

/// Why a token does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token.
    #[error("continue key is not valid: it is not one of this server's")]
    Malformed,
    /// It was changed, made up, or given out for another list.
    #[error("continue key is not valid: it was not given out for this list")]
    Forged,
    /// It was sealed with another key, as by an earlier life of a server that draws its key at the start. Nothing in it
    /// can be believed; the list begins anew.
    #[error("continue key has expired: it is of an earlier life of this server")]
    OtherKey,
}

impl TokenKey {
    /// The key of a secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self::of_secret(&secret)
    }

    /// The key that belongs to a secret of any length which several servers have in common. The secret may serve other
    /// purposes as well: it cannot be had back from the key.
    #[must_use]
    pub fn of_secret(secret: &[u8]) -> Self {
        let derived = mac(secret).chain_update(b"arktos continue tokens").finalize().into_bytes();
        let mac = mac(&derived);
        let mut id = [0; 4];
        let code = mac.clone().finalize().into_bytes();
        id.iter_mut().zip(code).for_each(|(to, from)| *to = from);
        Self { mac, id }
    }

    /// A key of its own for each call.
    #[must_use]
    pub fn random(random: &dyn Random) -> Self {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Self::new(secret)
    }

    /// The code of what a token says, for a selection.
    fn code(&self, said: &[u8], selection: &Selection) -> Hmac<Sha256> {
        let mut bound = Vec::with_capacity(256);
        part(&mut bound, said);
        bind(&mut bound, selection);
        self.mac.clone().chain_update(&bound)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl Continue {
    /// The token, for the next page of what a selection lists.
    #[must_use]
    pub fn seal(&self, key: &TokenKey, selection: &Selection) -> String {
        let path = self.after.as_str();
        let mut bytes = Vec::with_capacity(HEAD + path.len() + CODE);
        bytes.push(VERSION);
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(&self.revision.unwrap_or_default().0.to_le_bytes());
        bytes.extend_from_slice(&self.left.unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(path.as_bytes());
        let code = key.code(&bytes, selection).finalize().into_bytes();
        bytes.extend_from_slice(&code);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens a token for the same selection.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn open(token: &str, key: &TokenKey, selection: &Selection) -> Result<Self, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Malformed)?;
        let (said, code) =
            bytes.len().checked_sub(CODE).and_then(|at| bytes.split_at_checked(at)).ok_or(TokenError::Malformed)?;
        let (head, path) = said.split_first_chunk::<HEAD>().ok_or(TokenError::Malformed)?;
        if head[0] != VERSION {
            return Err(TokenError::Malformed);
        }
        if head[1..5] != key.id {
            return Err(TokenError::OtherKey);
        }
        // in constant time: how much of a code is right is nobody's business
        key.code(said, selection).verify_slice(code).map_err(|_| TokenError::Forged)?;
        let number = |at: usize| head.get(at..at + 8).and_then(|b| b.first_chunk()).map(|b| u64::from_le_bytes(*b));
        let (revision, left) = number(5).zip(number(13)).ok_or(TokenError::Malformed)?;
        let after = std::str::from_utf8(path).ok().and_then(ObjectPath::parse).ok_or(TokenError::Malformed)?;
        Ok(Self {
            revision: Some(Revision(revision)).filter(|revision| *revision > Revision::ZERO),
            after,
            left: Some(left).filter(|left| *left < u64::MAX),
        })
    }

    /// The same place in a list that goes on at the newest state: for a client that is told that its list has expired.
    #[must_use]
    pub fn inconsistent(&self) -> Self {
        Self { revision: None, after: self.after.clone(), left: None }
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    // a key of any length is taken
    Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

/// Writes what a token is bound to, so that two different selections never write the same.
fn bind(out: &mut Vec<u8>, selection: &Selection) {
    part(out, selection.resource.as_str().as_bytes());
    let (kind, texts): (u8, [&str; 2]) = match &selection.within {
        Within::Everywhere => (0, ["", ""]),
        Within::Tenant(tenant) => (1, [tenant.as_str(), ""]),
        Within::Namespace(tenant, namespace) => (2, [tenant.as_str(), namespace]),
        Within::Object(path) => (3, [path.as_str(), ""]),
    };
    out.push(kind);
    texts.iter().for_each(|text| part(out, text.as_bytes()));
    bind_labels(out, &selection.labels);
    out.extend_from_slice(&(selection.fields.len() as u64).to_le_bytes());
    for test in &selection.fields {
        let field = match test.field {
            Field::Name => 0,
            Field::Namespace => 1,
            Field::At(place) => 2 + place as u64,
        };
        out.extend_from_slice(&field.to_le_bytes());
        out.push(u8::from(test.equal));
        part(out, test.value.as_bytes());
    }
}

fn bind_labels(out: &mut Vec<u8>, labels: &LabelSelector) {
    out.extend_from_slice(&(labels.requirements().len() as u64).to_le_bytes());
    for requirement in labels.requirements() {
        part(out, requirement.key.as_bytes());
        let (kind, values, bound): (u8, &[String], i64) = match &requirement.condition {
            Condition::In(values) => (0, values, 0),
            Condition::NotIn(values) => (1, values, 0),
            Condition::Exists => (2, &[], 0),
            Condition::DoesNotExist => (3, &[], 0),
            Condition::GreaterThan(bound) => (4, &[], *bound),
            Condition::LessThan(bound) => (5, &[], *bound),
        };
        out.push(kind);
        out.extend_from_slice(&bound.to_le_bytes());
        out.extend_from_slice(&(values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| part(out, value.as_bytes()));
    }
}

/// Writes bytes behind their number.
fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
