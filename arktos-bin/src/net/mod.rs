//! Sockets, TLS, certificates and the API over HTTP: everything about the network, and nothing else.
//!
//! With the feature `client`, only what it takes to be a client.

#[cfg(feature = "net")]
pub mod address;
#[cfg(feature = "net")]
mod aside;
#[cfg(feature = "net")]
mod brief;
#[cfg(feature = "net")]
pub mod first_version;
#[cfg(feature = "net")]
pub mod forward;
#[cfg(feature = "net")]
mod gathered;
#[cfg(feature = "net")]
mod giving_way;
#[cfg(feature = "net")]
mod holders;
#[cfg(feature = "net")]
pub mod https;
pub mod kubeconfig;
#[cfg(feature = "net")]
pub mod oidc;
#[cfg(feature = "net")]
pub mod pki;
#[cfg(feature = "net")]
mod prompt;
pub mod remote;
pub mod route;
#[cfg(feature = "net")]
pub mod serve;
#[cfg(feature = "net")]
mod signer;
#[cfg(feature = "net")]
mod strangers;
#[cfg(feature = "net")]
mod subject;
pub mod tls;
#[cfg(feature = "net")]
pub mod token_review;
#[cfg(feature = "net")]
pub mod webhooks;
