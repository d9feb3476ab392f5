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
//! | which kinds exist, and what is known of each | [`catalog`] |
//! | kinds that a CustomResourceDefinition defines | [`custom`] |
//! | what objects of a kind look like | [`schema`] |
//! | defaults and validation that no schema expresses | [`rules`] |
//! | an object as a tree that can be edited | [`object`] |
//! | an object as it is stored, cached and sent | [`encoded`] |
//! | changing a few fields of an encoded object without decoding it | [`opened`] |
//! | what is known of an encoded object without decoding it | [`header`] |
//! | who manages which fields of an object | [`fields`]; as unread text: [`managed`] |
//! | how headers are packed into few bytes | [`packed`] |
//! | label and field selectors | [`selector`] |
//! | the errors that clients get | [`status`] |
//! | time as the API writes it | [`time`] |
//! | schedules of cron jobs | [`schedule`] |
//! | encodings besides JSON: protobuf, YAML | [`media`] |
//! | patches and server-side apply | [`merge`] |
//! | CEL expressions in policies, webhooks and schemas | [`cel`] |
//! | amounts of resources | [`quantity`] |
//! | what an object uses of a quota | [`quota`] |
//! | pod security standards | [`pod_security`] |
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
