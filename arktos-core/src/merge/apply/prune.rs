//! What goes away when a manager no longer applies it.

use serde_json::Value;

use super::managers::{Manager, Managers, Owned};
use super::types::Type;
use super::walk::{faults_of, fields_of, told, without};
use super::{Versions, Writer};
use crate::fields::FieldSet;
use crate::schema::Schema;

/// An object in one version.
#[derive(Clone)]
struct Versioned {
    value: Value,
    schema: Schema,
}

impl Versioned {
    fn ty(&self) -> Type<'_> {
        Type::root(&self.schema)
    }

    /// Absent where there is no such version.
    fn at(&self, versions: &dyn Versions, from: &str, to: &str) -> Result<Option<Self>, String> {
        if from == to {
            return Ok(Some(self.clone()));
        }
        let Some((value, schema)) = versions.at(&self.value, to) else { return Ok(None) };
        let faults = faults_of(Type::root(&schema), &value);
        if faults.is_empty() { Ok(Some(Self { value, schema })) } else { Err(told(&faults)) }
    }

    fn fields(&self) -> FieldSet {
        self.ty().with_named(&fields_of(self.ty(), &self.value))
    }

    fn without(&self, gone: &FieldSet) -> Self {
        Self { value: without(self.ty(), &self.value, gone), schema: self.schema.clone() }
    }
}

/// The merged object without what the manager applied last time (`last`), does not apply now, and nobody else owns.
///
/// # Errors
/// What the schema of a version in which something is owned does not know.
pub(super) fn prune(
    writer: &Writer<'_>,
    merged: Value,
    managers: &Managers,
    applying: &Manager,
    last: Option<&Owned>,
) -> Result<Value, String> {
    let Some(last) = last.filter(|last| !last.set.is_empty()) else { return Ok(merged) };
    if last.api_version == writer.api_version
        && let Some(now) = managers.0.get(applying)
        && last.set.clone().difference(&now.set).is_empty()
    {
        return Ok(merged);
    }
    let versions = writer.versions;
    let whole = Versioned { value: merged, schema: writer.schema.clone() };
    let there = whole.at(versions, writer.api_version, &last.api_version);
    let there = there.map_err(|why| format!("failed to convert merged object to last applied version: {why}"))?;
    let Some(merged) = there else { return Ok(whole.value) };
    let dropped = merged.ty().with_named(&last.set);
    let mut pruned = merged.without(&dropped);

    // What others own, or the manager still does, comes back, in each version in which something is owned.
    let mut owned: Vec<(&str, FieldSet)> = vec![(&last.api_version, FieldSet::default())];
    for other in managers.0.values() {
        match owned.iter_mut().find(|(version, _)| *version == other.api_version) {
            Some((_, set)) => set.extend(other.set.clone()),
            None => owned.push((&other.api_version, other.set.clone())),
        }
    }
    let (mut all, mut at) = (merged.clone(), last.api_version.as_str());
    for (version, set) in owned.into_iter().filter(|(_, set)| !set.is_empty()) {
        let converted = |which: &str, object: &Versioned| {
            object.at(versions, at, version).map_err(|why| {
                format!("failed add back owned items: failed to convert {which} object at version {version}: {why}")
            })
        };
        let (Some(there), Some(rest)) = (converted("merged", &all)?, converted("pruned", &pruned)?) else { continue };
        let kept = rest.fields().union(&there.ty().with_named(&set));
        pruned = there.without(&there.fields().difference(&kept));
        (all, at) = (there, version);
    }

    // What the manager did not own comes back too.
    let rest = pruned.at(versions, at, &last.api_version).map_err(|why| {
        format!("failed add back dangling items: failed to convert pruned object to last applied version: {why}")
    })?;
    let Some(rest) = rest else { return Ok(whole.value) };
    let gone = merged.fields().difference(&rest.fields()).intersection(&dropped);
    if gone.is_empty() {
        return Ok(whole.value);
    }
    let done = merged.without(&gone).at(versions, &last.api_version, writer.api_version)?;
    Ok(done.map_or(whole.value, |done| done.value))
}
