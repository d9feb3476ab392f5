//! Custom kinds: kinds that a definition, and not a data file, says everything of.
//!
//! A [`Structural`] schema is to a custom kind what the data files' schemas and rules are to a built-in one. The road
//! asks it through the same functions ([`schema::read`](crate::schema::read),
//! [`rules::admit_create`](crate::rules::admit_create) and their like).
//!
//! | question | module |
//! |---|---|
//! | the schema in memory | `structural` |
//! | what a body loses: unknown fields, nulls | `prune` |
//! | what it gains: defaults | `fill` |
//! | what must hold of values | `check`, `items`, `format`, `patterns` |
//! | what objects within objects say of themselves | `embedded` |
//! | rules in CEL: what they say, whether they may be taken, types and costs | `cel`, `rule_faults`, `declared` |
//! | what patches, apply and OpenAPI see of it; what policies see of any kind | `shape`; `resolved` |
//! | where columns, scales and selectable fields find their values | `json_path` |
//! | which fields rules and selectable fields may name | `field_path` |
//! | the kinds that a definition defines | `kinds` |
//! | what a definition must be like | `definition`, `schema_faults` |
//! | which names a definition gets, and whether it is served | `names` |

mod cel;
mod check;
mod declared;
mod definition;
mod embedded;
mod field_path;
mod fill;
mod format;
mod items;
mod json_path;
mod kinds;
mod names;
mod patterns;
mod prune;
mod read;
mod resolved;
mod rule_faults;
mod schema_faults;
mod shape;
mod structural;

pub use format::unrecognized_formats;
pub use json_path::{JsonPath, PathFault};
pub use kinds::{Hook, Own, Scale, ScalePath, kinds_of, received, stored_form, version_order};
pub use names::{
    FINALIZER, FORCED, SHARING, UsedNames, deletion_failed, deletion_finished, deletion_progresses, follows,
    is_established, is_forced, mark_terminating, settle,
};
pub use structural::Structural;

pub(crate) use cel::kept_faults;
pub(crate) use check::validate;
pub(crate) use declared::{Seen, Step, cel_field, cel_type};
pub(crate) use definition::{prepare_create, prepare_update, validate as validate_definition};
pub(crate) use kinds::to_stored;
pub(crate) use read::{complete, decode, decode_applied, drop_unknown, too_large};
pub(crate) use resolved::resolved;
pub(crate) use schema_faults::faults_of as schema_faults;
pub(crate) use shape::shape_of;
