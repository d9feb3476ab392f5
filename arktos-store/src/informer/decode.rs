//! What an informer keeps of each object.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;

use arktos_core::{ObjectPath, Revision};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::select::Stored;

/// What a consumer keeps of each object: all of it ([`Stored`]), a typed form ([`Parsed`]), nothing ([`Passing`]), or a
/// few columns of its own.
pub trait Decode: Sized + Send + Sync + 'static {
    /// Makes it from the object as the store has it.
    ///
    /// # Errors
    /// When the object does not have the shape that is needed. The informer then keeps what it had for that object
    /// before, and goes on.
    fn decode(stored: &Stored) -> Result<Self, DecodeError>;

    /// Where the object is.
    fn path(&self) -> &ObjectPath;

    /// The revision of the object that it was made from.
    fn revision(&self) -> Revision;

    /// A digest of the object's uid: whether it was replaced by another one of the same name while nobody watched.
    fn identity(&self) -> u64;
}

/// Where an object is, which it is, and since when: for who keeps that of it and not the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    path: ObjectPath,
    revision: Revision,
    identity: u64,
}

impl Origin {
    /// That of an object.
    #[must_use]
    pub fn of(stored: &Stored) -> Self {
        Self { path: stored.path.clone(), revision: stored.revision, identity: identity(stored) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &ObjectPath {
        &self.path
    }

    /// Since when it is as it was seen.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// A digest of its uid.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.identity
    }
}

/// A digest of an object's uid.
pub(super) fn identity(stored: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    stored.object.header().uid().hash(&mut hasher);
    hasher.finish()
}

/// Why an object could not be decoded; for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    /// One that says this.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Keeps the object as it is encoded: it is shared with the store, and costs next to nothing.
impl Decode for Stored {
    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(stored.clone())
    }

    fn path(&self) -> &ObjectPath {
        &self.path
    }

    fn revision(&self) -> Revision {
        self.revision
    }

    fn identity(&self) -> u64 {
        identity(self)
    }
}

/// Keeps nothing of the object once a handler has taken it: for who keeps what it needs of it elsewhere.
pub struct Passing {
    object: Mutex<Option<Stored>>, // emptied by `take`
    origin: Origin,
}

impl Passing {
    /// The object; nothing the second time.
    #[must_use]
    pub fn take(&self) -> Option<Stored> {
        self.object.lock().take()
    }
}

impl Decode for Passing {
    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(Self { object: Mutex::new(Some(stored.clone())), origin: Origin::of(stored) })
    }

    fn path(&self) -> &ObjectPath {
        self.origin.path()
    }

    fn revision(&self) -> Revision {
        self.origin.revision()
    }

    fn identity(&self) -> u64 {
        self.origin.identity()
    }
}

/// An object decoded to a type of the consumer's, with where it is and since when. Reads as the object itself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Parsed<T> {
    /// Tenant, namespace and name.
    pub path: ObjectPath,
    /// The revision of the write that made it so.
    pub revision: Revision,
    /// The object.
    pub object: T,
    identity: u64,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Decode for Parsed<T> {
    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        let object = stored.object.parse()?;
        Ok(Self { path: stored.path.clone(), revision: stored.revision, object, identity: identity(stored) })
    }

    fn path(&self) -> &ObjectPath {
        &self.path
    }

    fn revision(&self) -> Revision {
        self.revision
    }

    fn identity(&self) -> u64 {
        self.identity
    }
}

impl<T> Deref for Parsed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}
