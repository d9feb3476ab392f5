//! Requests for certificates: approved where a role says so, signed by the region's authority, removed when they are of
//! no more use. (`csrapproving`, `csrsigning`, `csrcleaner`)
//!
//! What a certificate is made of, and with which key it is signed, is a [`CertificateSigner`]'s business. What may be
//! in it is decided here, and by whose tenant a request is in: a tenant's certificate is for a client, and names its
//! tenant, whatever was asked for.

mod approve;
mod clean;
mod request;
mod sign;
mod signers;

use std::fmt;

use arktos_core::{ObjectPath, Timestamp};
use arktos_store::{Informer, Stored, WorkQueue};

pub(crate) use approve::start as start_approving;
pub(crate) use clean::start as start_cleaning;
pub(crate) use sign::start as start_signing;

use crate::kinds::CERTIFICATE_SIGNING_REQUESTS;
use crate::reconcile::queue;
use crate::setup::Setup;

/// The requests there are, and a queue into which each goes that is new or has changed.
fn requests(setup: &mut Setup) -> (Informer<Stored>, WorkQueue<ObjectPath>) {
    let requests = setup.informer(&CERTIFICATE_SIGNING_REQUESTS.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    requests.handle(move |event| {
        if event.after().is_some() {
            adds.add(event.path().clone());
        }
    });
    (requests, queue)
}

/// Reads requests for certificates, and signs what is made of them.
pub trait CertificateSigner: fmt::Debug + Send + Sync + 'static {
    /// What a request (PEM) asks for. It is signed with the key that it is for.
    ///
    /// # Errors
    /// A sentence: why it cannot be read.
    fn read(&self, request: &[u8]) -> Result<Asked, String>;

    /// A certificate for the key in a request, as PEM. Nothing else of the request is in it, but its names where
    /// [`Certificate::serves`].
    ///
    /// # Errors
    /// A sentence: why it cannot be signed.
    fn sign(&self, request: &[u8], certificate: &Certificate) -> Result<String, String>;
}

/// What a request for a certificate asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The common name: the user.
    pub user: String,
    /// The organizations: the user's groups.
    pub groups: Vec<String>,
    /// DNS names to be known by.
    pub dns_names: Vec<String>,
    /// Addresses to be known by.
    pub addresses: Vec<String>,
    /// Mail addresses to be known by.
    pub mails: Vec<String>,
    /// URIs to be known by.
    pub uris: Vec<String>,
}

/// What a certificate is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The user.
    pub user: String,
    /// The tenant the user is of, and its uid, so that it ends with it: `NAME:UID`. Absent for the tenant `system`.
    pub tenant: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// It is a server's, with the names in the request; else a client's.
    pub serves: bool,
    /// Whether the key may encipher other keys.
    pub enciphers: bool,
    /// From when on it is valid.
    pub begins: Timestamp,
    /// Until when.
    pub ends: Timestamp,
}
