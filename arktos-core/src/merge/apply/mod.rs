//! Server-side apply: who manages which field, and what happens when somebody applies a configuration.
//!
//! Each manager of an object owns a set of fields ([`FieldSet`]), written down in `metadata.managedFields`. Whoever
//! updates an object comes to own what the update changed ([`update`]); whoever applies a configuration comes to own
//! all that it mentions ([`apply`]): what others own is a conflict unless it has their value, and what the manager
//! applied before and does not mention any more goes away, unless somebody else owns it too.
//!
//! Everything here works on JSON values and a [`Schema`]; it knows nothing of requests.

mod combine;
mod compare;
mod conflict;
mod last_applied;
mod managers;
mod prune;
mod renew;
mod track;
mod types;
mod walk;

pub use types::blank;

use serde_json::Value;

use crate::fields::FieldSet;
use crate::managed::Managed;
use crate::schema::Schema;
use crate::status::Status;

/// Objects in other versions than the one that is written: managers may own fields of those.
pub trait Versions: Sync {
    /// The object in another version, with what its defaults say left out, and that version's schema; `None` when there
    /// is no such version.
    fn at(&self, object: &Value, api_version: &str) -> Option<(Value, Schema)>;
}

/// There is one version only.
pub struct OneVersion;

impl Versions for OneVersion {
    fn at(&self, _: &Value, _: &str) -> Option<(Value, Schema)> {
        None
    }
}

/// Which fields a write can change at all, and so can come to own.
#[derive(Debug, Clone)]
pub enum Reach {
    /// All but these and what is below.
    AllBut(FieldSet),
    /// These and what is below; `*` stands for any item.
    Only(&'static [&'static [&'static str]]),
}

impl Reach {
    /// What of a set can be reached.
    fn of(&self, set: &mut FieldSet) {
        match self {
            Self::AllBut(none) if none.is_empty() => {}
            Self::AllBut(fields) => set.remove_below(fields),
            Self::Only(patterns) => *set = set.only(patterns),
        }
    }
}

/// Who writes, and what.
pub struct Writer<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The version of the object that is written.
    pub api_version: &'a str,
    /// The subresource through which it is written; empty for the object itself.
    pub subresource: &'a str,
    /// The time, as `managedFields` has it.
    pub now: &'a str,
    /// Which fields the write can change.
    pub reach: &'a Reach,
    /// The schema of the version.
    pub schema: &'a Schema,
    /// Whether the schema never changes, as those of built-in kinds.
    pub fixed: bool,
    /// The other versions.
    pub versions: &'a dyn Versions,
}

/// What there is.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    /// The object, without `managedFields`.
    pub object: &'a Value,
    /// Its `managedFields`.
    pub managed: Option<&'a Managed>,
}

/// Who manages what, now that an update makes `new` of `live` (absent for a creation).
///
/// `managedFields` that the update `sent` itself count instead of the live ones, unless they cannot be read; those of
/// `[{}]` make the object forget its managers. Those that stand in `new` do not count.
pub fn update(writer: &Writer<'_>, live: Option<Live<'_>>, new: &Value, sent: Option<&Value>) -> Option<Managed> {
    track::update(writer, live, new, sent)
}

/// What an apply makes: the new object, without `managedFields`, and these.
pub type Applied = (Value, Option<Managed>);

/// Applies a configuration to what there is (absent where there is nothing).
///
/// What comes out is not yet in the form in which the API writes objects, and defaults are not set.
///
/// # Errors
/// 409 with a cause for each field that somebody else manages, unless `force`; 400 for a configuration of another
/// version or with `managedFields`; 500 (as upstream has it) for one that the schema does not allow.
pub fn apply(writer: &Writer<'_>, live: Option<Live<'_>>, config: &Value, force: bool) -> Result<Applied, Status> {
    last_applied::apply(writer, live, config, force)
}

#[cfg(test)]
mod tests;

/// Why a configuration is not put over an object by a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmerged {
    /// What of it the schema does not allow.
    #[error("failed to convert patch object to typed object: {0}")]
    Unfit(String),
    /// It has what is owned as one, all of which would be replaced.
    #[error("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {0}")]
    Atomic(String),
}

/// An object with a configuration put over it, as an apply would put it, without asking or noting who manages what.
///
/// # Errors
/// [`Unmerged`].
pub fn merged(schema: &Schema, live: &Value, config: &Value) -> Result<Value, Unmerged> {
    let root = types::Type::root(schema);
    let faults = walk::faults_of_made(root, config);
    if !faults.is_empty() {
        return Err(Unmerged::Unfit(walk::told(&faults)));
    }
    let wholes = walk::wholes_of(root, config);
    if wholes.is_empty() { Ok(combine::combine(root, live, config)) } else { Err(Unmerged::Atomic(wholes.join(", "))) }
}
