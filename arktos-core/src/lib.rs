//! The language of Arktos: names, keys, kinds, objects, selectors, schemas, patches and errors.
//!
//! Every other crate of the project speaks in these types. Nothing here does I/O, spawns, sleeps or reads a clock:
//! time and randomness come in as arguments.
//!
//! | question | module |
//! |---|---|
//! | what is a legal name, who is a tenant | [`name`] |
//! | what identifies an object, what is a revision | [`key`] |
//! | what is a kind, where does it live | [`kind`] |
//! | what is in `metadata` | [`meta`] |
//! | which kinds there are | [`catalog`] |
//! | what a definition of a kind is, and what it makes of one | [`custom`] |
//! | what objects of a kind look like | [`schema`] |
//! | what no schema says of a kind | [`rules`] |
//! | an object that can be edited | [`object`] |
//! | an object as it is stored, cached and sent | [`encoded`] |
//! | a few fields of such an object set, and nothing else decoded | [`opened`] |
//! | what is known of it without decoding | [`header`] |
//! | who manages which of its fields | [`fields`]; before anybody looks into that: [`managed`] |
//! | how that is kept in few bytes | [`packed`] |
//! | which objects does a client mean | [`selector`] |
//! | what a client is told when it fails | [`status`] |
//! | time as the API writes it | [`time`] |
//! | when something is due that comes again and again | [`schedule`] |
//! | the forms objects travel in beside JSON | [`media`] |
//! | how patches change an object | [`merge`] |
//! | expressions that people write into policies | [`cel`] |
//! | amounts of resources | [`quantity`] |
//! | what an object uses of a quota | [`quota`] |
//! | what pods may ask of their host | [`pod_security`] |
//! | objects as Rust types | [`typed`] |

#![deny(missing_docs)]

mod alike;
pub mod catalog;
pub mod cel;
pub mod custom;
pub mod encoded;
pub mod fields;
pub mod header;
mod image;
pub mod key;
pub mod kind;
pub mod managed;
pub mod media;
pub mod merge;
pub mod meta;
pub mod name;
pub mod object;
pub mod opened;
pub mod packed;
pub mod pod_security;
pub mod quantity;
pub mod quota;
pub mod rules;
pub mod schedule;
pub mod schema;
pub mod selector;
pub mod status;
pub mod time;
pub mod typed;

pub use catalog::{Catalog, Kind};
pub use encoded::{Dialect, Encoded};
pub use header::{Header, OwnerRef};
pub use key::{ObjectKey, ObjectPath, Revision};
pub use kind::{GroupKind, GroupResource, Scope, TypeMeta};
pub use managed::Managed;
pub use meta::{ObjectMeta, OwnerReference};
pub use name::TenantName;
pub use object::Object;
pub use quantity::Quantity;
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Reason, Status, StatusCause};
pub use time::Timestamp;
