//! Attacks of one tenant on another, in process: what another tenant has is not seen, not touched and not told of.
//!
//! | attack | file |
//! |---|---|
//! | every route, verb and kind of another tenant, with everything a tenant can be | `every_route` |
//! | paths that hide a tenant, bodies, queries and headers that claim one | `spoofs` |
//! | tokens and certificates of a tenant that is gone, or of another one | `credentials` |
//! | watches that outlive the right to watch | `watches` |
//! | the same names in two tenants: users, roles, definitions, webhooks, owners | `names` |
//! | continue tokens, versions, field selectors, reviews: questions that answer more than they should | `questions` |
//! | bodies, patches and expressions that cost more than they should | `bombs` |
//! | rights that somebody in a tenant does not have: by roles, policies, paths, requests for certificates | `rights` |
//! | more objects than a tenant may have, by many writers at once | `quotas` |
//! | more requests than a tenant may make | `fairness` |
//! | the published vulnerabilities that could apply, by number | `published` |

#![allow(missing_docs, clippy::unwrap_used)] // a test fails by panicking

mod bombs;
mod credentials;
mod every_route;
mod fairness;
mod names;
mod published;
mod questions;
mod quotas;
mod rights;
mod spoofs;
mod watches;
mod world;

use world::World;
