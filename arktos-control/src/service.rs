//! What controllers keep of a service: most never change, and every tenant has one.

use std::collections::BTreeMap;

use arktos_core::Status;
use arktos_core::typed::{KindOf, Service};
use arktos_store::Stored;
use arktos_store::informer::{Decode, DecodeError};

use crate::write::unreadable;

/// A service as it is stored, and what is asked of it whenever a pod changes. Decoded whole it takes several times as
/// much memory as the object itself, so that is done when it is looked at.
pub(crate) struct ServiceView {
    /// The service.
    pub(crate) stored: Stored,
    /// The labels of its pods.
    pub(crate) selector: BTreeMap<String, String>,
    /// Whether somebody else says what is behind it.
    pub(crate) is_foreign: bool,
}

impl ServiceView {
    /// All of it, decoded.
    pub(crate) fn read(&self) -> Result<Service, Status> {
        Service::from_encoded(&self.stored.object, Some(self.stored.revision)).map_err(unreadable)
    }
}

/// Whether somebody else says what is behind a service.
pub(crate) fn is_foreign(service: &Service) -> bool {
    service.spec.selector.is_empty() || service.spec.kind == "ExternalName"
}

impl Decode for ServiceView {
    type Source = Stored;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        let service = Service::from_encoded(&stored.object, None)?;
        let is_foreign = is_foreign(&service);
        Ok(Self { stored: stored.clone(), selector: service.spec.selector, is_foreign })
    }

    fn source(&self) -> &Stored {
        &self.stored
    }
}
