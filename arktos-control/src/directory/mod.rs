//! The directory of a region: which partitions and resource managers there are, and where tenants live.
//!
//! ```text
//!  partitions, resource managers                     gateways, schedulers, resource managers, the aggregator
//!    │ Registration: I am here, and alive               ▲ Members: who there is, and how to reach them
//!    │ Keeper: this tenant is (not) mine                │ Placements: which partition has a tenant
//!    ▼                                                  │
//!  TenantPartition, ResourceManager, TenantPlacement: objects of the region, at an API server over any store
//! ```
//!
//! * Who follows the directory keeps what it knows when the directory does not answer: requests go on, and so does
//!   everything else but the making of new tenants.
//! * A member leaves by its operator's word alone: `spec.phase: Removed`. One that does not answer, whose object was
//!   deleted, or that has not been heard of is there all the same.
//! * A tenant is placed before it is made, by a creation that only one of several gateways can win. A placement whose
//!   tenant is not there is taken back by its partition, ten minutes after somebody last set out to make the tenant.

mod keeper;
mod members;
mod placements;
mod policy;
mod registration;

pub use keeper::keeper;
pub use members::{Contact, Followed, Members, follow, roster};
pub use placements::Placements;
pub use policy::{Candidate, PARTITION_ANNOTATION, SELECTOR_ANNOTATION, Wish, choose};
pub use registration::Registration;
