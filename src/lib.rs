//! Arktos: a multi-tenant, Kubernetes-compatible control plane, in process.
//!
//! ```
//! use arktos::{ControlPlane, TenantName};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let tenant = TenantName::new("acme")?;
//! let plane = ControlPlane::builder().tenant(&tenant).hosts(3).start().await?;
//! // `plane.service(&tenant)` is all a `kube::Client` needs; `plane.client(…)` is the same API without HTTP.
//! plane.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each control plane is a whole region: a tenant partition with its controllers and scheduler, a resource manager, and
//! hollow hosts that report pods as running. Any number of them run side by side in one process, each with its own
//! clock ([`Builder::clock`]). They need a tokio runtime (a current-thread one will do), and no socket.
//!
//! # A control plane of your own
//!
//! | to have | use |
//! |---|---|
//! | a kind of your own | [`Builder::kind`] with [`core::Kind::custom`]; as a Rust type: [`core::typed`] |
//! | a controller | [`ControlPlane::client`], [`store::informer`] for what it watches, [`store::queue`] for its work |
//! | a scheduler plugin | [`Builder::plugins`] with [`sched::plugin`] |
//! | a store of your own | [`Builder::journal`] with [`store::storage`], checked by [`store::conformance`] |
//! | admission plugins, tokens, webhooks, audit | [`Builder::api`] |
//! | other users than a tenant's administrator | [`ControlPlane::service_as`] |
//! | something that runs until the control plane stops | [`ControlPlane::tasks`] |
//!
//! `examples/own_plane.rs` puts a kind, a controller and a plugin together.
//!
//! The crates below can also be used by themselves: [`core`] is the language, [`store`] keeps and watches, [`api`]
//! serves, [`sched`] places, [`control`] reconciles.

#![deny(missing_docs)]

mod builder;
mod service;

/// Clients of an API elsewhere: of a region, or of any Kubernetes server (feature `remote`). Informers read from them
/// as from anything that can be listed and watched ([`store::informer`]).
#[cfg(feature = "remote")]
pub mod remote {
    pub use arktos_bin::net::kubeconfig::{Kubeconfig, KubeconfigError};
    pub use arktos_bin::net::remote::Remote;
    pub use arktos_bin::net::tls::{Credential, TlsError};
}

pub use arktos_api as api;
pub use arktos_control as control;
pub use arktos_core as core;
pub use arktos_sched as sched;
pub use arktos_store as store;

pub use arktos_api::Identity;
pub use arktos_bin::edge::{SystemClock, SystemRandom};
pub use arktos_bin::roles::ApiOptions;
pub use arktos_core::{Object, ObjectKey, Status, TenantName, Timestamp};
pub use arktos_store::clock::ManualClock;
pub use arktos_store::{Client, Clock, Random};
pub use builder::{Builder, ControlPlane, StartError};
pub use service::TenantService;
