//! What an informer keeps of each object.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use arktos_core::{ObjectPath, Revision};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::select::Stored;

/// What a consumer keeps of each object: all of it ([`Stored`]), a typed form ([`Parsed`]), nothing ([`Passing`]), or a
/// few columns of its own.
pub trait Decode: Sized + Send + Sync + 'static {
    /// What says which object it was made from: the object itself ([`Stored`]) where that is kept, or its [`Origin`].
    type Source: Located;

    /// Makes it from the object as the store has it.
    ///
    /// # Errors
    /// When the object does not have the shape that is needed. The informer then keeps what it had for that object
    /// before, and goes on.
    fn decode(stored: &Stored) -> Result<Self, DecodeError>;

    /// As [`decode`](Self::decode), in the one allocation that it is kept in.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn share(stored: &Arc<Stored>) -> Result<Arc<Self>, DecodeError> {
        Self::decode(stored).map(Arc::new)
    }

    /// Which object it was made from.
    fn source(&self) -> &Self::Source;
}

/// What says which object is meant, and in which state.
pub trait Located {
    /// Where the object is.
    fn path(&self) -> &ObjectPath;

    /// The revision of the write that made it so.
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
}

impl Located for Origin {
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

impl Located for Stored {
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

/// A digest of an object's uid.
fn identity(stored: &Stored) -> u64 {
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

/// Keeps the object as it is encoded: it is shared with the store where that is in the same process, and costs nothing.
impl Decode for Stored {
    type Source = Self;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(stored.clone())
    }

    fn share(stored: &Arc<Stored>) -> Result<Arc<Self>, DecodeError> {
        Ok(stored.clone())
    }

    fn source(&self) -> &Self {
        self
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
    type Source = Origin;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(Self { object: Mutex::new(Some(stored.clone())), origin: Origin::of(stored) })
    }

    fn source(&self) -> &Origin {
        &self.origin
    }
}

/// An object decoded to a type of the consumer's, with where it is and since when. Reads as the object itself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Parsed<T> {
    /// Where it is, and since when.
    pub origin: Origin,
    /// The object.
    pub object: T,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Decode for Parsed<T> {
    type Source = Origin;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(Self { origin: Origin::of(stored), object: stored.object.parse()? })
    }

    fn source(&self) -> &Origin {
        &self.origin
    }
}

impl<T> Deref for Parsed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}
