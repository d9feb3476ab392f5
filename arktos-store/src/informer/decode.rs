//! What an informer keeps of each object.

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
}

/// Keeps nothing of the object once a handler has taken it: for who keeps what it needs of it elsewhere.
pub struct Passing(Mutex<Option<Stored>>); // emptied by `take`

impl Passing {
    /// The object; nothing the second time.
    #[must_use]
    pub fn take(&self) -> Option<Stored> {
        self.0.lock().take()
    }
}

impl Decode for Passing {
    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(Self(Mutex::new(Some(stored.clone()))))
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
}

impl<T: DeserializeOwned + Send + Sync + 'static> Decode for Parsed<T> {
    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(Self { path: stored.path.clone(), revision: stored.revision, object: stored.object.parse()? })
    }
}

impl<T> Deref for Parsed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}
