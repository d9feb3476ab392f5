//! Serve: one [`tower::Service`] from HTTP request to HTTP response that speaks the Kubernetes API, tenant by tenant.
//!
//! No sockets here: a binary binds them, a test calls the service. Nothing is spawned: every request is a future.
//!
//! | question | module |
//! |---|---|
//! | what does a server need, what can be switched | [`config`] |
//! | who is asking | [`identity`] |
//! | whose a service account token is | [`tokens`] |
//! | what is entered in the audit log | [`audit`] |
//! | which trace a request is part of | [`trace`] |
//! | what do responses look like on the wire | [`body`] |
//! | from request to response | [`server`] |
//! | the same verbs without HTTP | [`client`] |
//! | how tenants share the server | [`fairness`] |
//! | in which media type and form | [`negotiate`] |
//! | what `kubectl get` shows | [`table`] |
//! | which resources there are, what they look like | [`discovery`], [`openapi`] |
//!
//! Inside, a request takes this road:
//!
//! | step | module |
//! |---|---|
//! | the path: whose, where, what | `request`, `query` |
//! | who | `authenticate` |
//! | may they | `authorize` (the wall between tenants, then the rules of the tenant that is asked) |
//! | may they still, of watches | `standing` |
//! | which kind, as the tenant sees it | `kinds`, and `definitions`, which come and go |
//! | what all tenants have and none stores; what `system` forces on them, or offers | `shared`; `forced`, `offered` |
//! | from verb to function | `resource`; paths that are no resource's: `paths`; questions of rights: `reviews` |
//! | from bytes to an object, and back | `input`, `reply`; what many are sent alike: `lines` |
//! | what only Arktos's own clients find | `compat` |
//! | between the versions of a custom kind that a webhook converts | `conversion` |
//! | what is added, what stands against it | `admission`, `allocate` |
//! | the verbs, shared by HTTP and the in-process client | `verbs` |
//! | what is there before anyone asks | `bootstrap` |

#![deny(missing_docs)]
// The error of every verb is a Status, which is made seldom and read whole.
#![allow(clippy::result_large_err)]

mod admission;
mod allocate;
mod allowed;
pub mod audit;
mod authenticate;
mod authorize;
pub mod body;
mod bootstrap;
mod call;
pub mod client;
mod compat;
pub mod config;
mod conversion;
mod definitions;
pub mod discovery;
pub mod fairness;
mod forced;
mod health;
pub mod identity;
mod input;
mod kinds;
mod lines;
pub mod negotiate;
mod observed;
mod offered;
pub mod openapi;
mod paths;
mod query;
mod reply;
mod request;
mod resource;
mod reviews;
pub mod server;
mod shared;
mod standing;
pub mod table;
pub mod tokens;
pub mod trace;
mod verbs;
mod warnings;

pub use audit::{Audit, AuditPolicy, AuditSink};
pub use authenticate::authenticator;
pub use authenticate::source;
pub use body::Body;
pub use client::InProcessClient;
pub use config::{
    AdmissionConfig, Answered, ApiConfig, Aside, Caller, Claimer, Delegate, InPlace, NodePorts, NodeViews, Observer,
    Role, ServiceCidr, TokenAuthenticator, VirtualResource, WebhookTarget,
};
pub use definitions::DefinedKind;
pub use fairness::{Fairness, PeerRank, PeerRefusals, Shares, is_large};
pub use identity::{Identity, PeerAddress, PeerCertificate, SOURCE, TokenTable, network};
pub use request::resource_in;
pub use server::ApiServer;
pub use tokens::keys::{TokenKeys, TokenKeysError};
pub use trace::TraceParent;
