//! What an aggregate's informers keep of each object: not the object, which the aggregate's own store has.

use std::sync::OnceLock;

use arktos_core::ObjectPath;

use crate::informer::{Decode, DecodeError, Origin, Passing};
use crate::select::Stored;

/// An object on its way through an informer, and where it is shown once it has passed.
pub(super) struct Shown {
    object: Passing,
    /// Written by the informer's handler.
    at: OnceLock<ObjectPath>,
}

impl Shown {
    /// What is shown of the object; nothing the second time.
    pub(super) fn show(&self, project: impl FnOnce(&Stored) -> Option<Stored>) -> Option<Stored> {
        let shown = project(&self.object.take()?)?;
        let _ = self.at.set(shown.path.clone()); // nobody else sets it
        Some(shown)
    }

    /// Where the object is shown, if it is.
    pub(super) fn at(&self) -> Option<ObjectPath> {
        self.at.get().cloned()
    }
}

impl Decode for Shown {
    type Source = Origin;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        Ok(Self { object: Passing::decode(stored)?, at: OnceLock::new() })
    }

    fn source(&self) -> &Origin {
        self.object.source()
    }
}
