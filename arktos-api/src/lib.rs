//! Serve: one [`tower::Service`] from HTTP request to HTTP response that speaks the Kubernetes API, tenant by tenant.
//!
//! No sockets here: a binary binds them, a test calls the service. Nothing is spawned: every request is a future.
//!
//! | question | module |
//! |---|---|
//! | what a server needs, and its options | [`config`] |
//! | who the caller is | [`identity`] |
//! | service account tokens | [`tokens`] |
//! | the audit log | [`audit`] |
//! | the trace that a request is part of | [`trace`] |
//! | response bodies | [`body`] |
//! | from request to response | [`server`] |
//! | the same verbs without HTTP | [`client`] |
//! | how tenants share the server | [`fairness`] |
//! | content negotiation | [`negotiate`] |
//! | what `kubectl get` shows | [`table`] |
//! | which resources exist, what they look like | [`discovery`], [`openapi`] |
//!
//! Inside, a request takes these steps:
//!
//! | step | module |
//! |---|---|
//! | parse the path and the query: which tenant, where, what | `request`, `query` |
//! | who is the caller; in whose name it acts | `authenticate`; `impersonate` |
//! | may they do this | `authorize` (the boundary between tenants, then the RBAC rules of the tenant that is asked) |
//! | may they still do it, for open watches | `standing` |
//! | find the kind, as the tenant sees it | `kinds`; custom definitions: `definitions` |
//! | objects that all tenants share; definitions that `system` forces on or offers to tenants | `shared`; `forced`, `offered` |
//! | dispatch to the verb | `resource`; paths that are not resources: `paths`; access reviews: `reviews` |
//! | decode the body, encode the answer | `input`, `reply`; many watches: `lines`; compression: `compress`; `If-None-Match`: `etag` |
//! | what only Arktos's own 1.15 clients see | `compat` |
//! | convert versions of custom kinds by webhook | `conversion` |
//! | what is kept of what tenants have, each its part | `kept` |
//! | admission; service addresses and ports | `admission`, `allocate` |
//! | the verbs, which HTTP and the in-process client share | `verbs` |
//! | objects that exist from the start; those that are made when they are asked for | `bootstrap`; `component_status` |

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
mod component_status;
mod compress;
pub mod config;
mod conversion;
mod definitions;
pub mod discovery;
mod etag;
pub mod fairness;
mod forced;
mod health;
pub mod identity;
mod impersonate;
mod input;
mod kept;
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

pub use audit::{Audit, AuditPolicy, AuditSink, Passing, PassingWatch};
pub use authenticate::authenticator;
pub use authenticate::source;
pub use body::Body;
pub use client::InProcessClient;
pub use config::{
    AdmissionConfig, Answered, ApiConfig, Aside, Caller, Claimer, Delegate, InPlace, NodePorts, NodeViews, Observer,
    Role, ServiceCidr, TokenAuthenticator, VirtualResource, WebhookTarget,
};
pub use definitions::DefinedKind;
pub use fairness::{Fairness, Passed, PeerRank, PeerRefusals, Shares, is_large};
pub use identity::{Identity, PeerAddress, PeerCertificate, SOURCE, TokenTable, network};
pub use request::resource_in;
pub use server::ApiServer;
pub use tokens::CREDENTIAL;
pub use tokens::keys::{TokenKeys, TokenKeysError};
pub use trace::TraceParent;
