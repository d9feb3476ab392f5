//! The write that is most frequent: a manager changes what it alone manages already. Nothing is new in `managedFields`
//! but its time, and the sets need not be made for that: they are asked as they are written.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Writer;
use super::compare::Change;
use crate::fields::FieldSet;
use crate::managed::Managed;

/// `managedFields` after such a write; `None` when the write is another one.
///
/// The result is what reading, moving and printing the sets would come to, for sets that the types of today do not
/// read otherwise: those of a schema that never changes.
pub(super) fn renewed(writer: &Writer<'_>, kept: Option<&Managed>, change: &Change) -> Option<Managed> {
    if !change.removed.is_empty() {
        return None;
    }
    let mut entries = kept?.entries()?;
    let name = writer.manager(false).name;
    let mut own = None;
    for (at, entry) in entries.iter().enumerate() {
        if entry.api_version != writer.api_version || entry.fields_v1.get() == "{}" {
            return None;
        }
        let asked = ask(entry.fields_v1, &change.written)?;
        let is_own = entry.operation == "Update"
            && entry.name() == name
            && entry.subresource.unwrap_or("") == writer.subresource;
        if is_own {
            own = asked.covers.then_some(at);
            own?;
        } else if asked.touches {
            return None;
        }
    }
    entries.get_mut(own?)?.time = Some(writer.now);
    Some(Managed::of_entries(entries))
}

/// What a set that is written as `FieldsV1` has of some paths.
struct Asked {
    /// Whether the path that ends here is in it.
    member: bool,
    /// Whether all of the paths are.
    covers: bool,
    /// Whether any of them is.
    touches: bool,
}

fn ask(set: &RawValue, paths: &FieldSet) -> Option<Asked> {
    Below(paths).deserialize(&mut serde_json::Deserializer::from_str(set.get())).ok()
}

/// What is asked of the set below a step.
struct Below<'p>(&'p FieldSet);

impl<'de> DeserializeSeed<'de> for Below<'_> {
    type Value = Asked;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Asked, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
        let (mut empty, mut covered) = (true, 0);
        let mut asked = Asked { member: false, covers: false, touches: false };
        while let Some(step) = map.next_key_seed(Step(self.0))? {
            empty = false;
            let Found::Of(member, below) = step else {
                asked.member |= matches!(step, Found::Here);
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let there = map.next_value_seed(Below(below))?;
            covered += usize::from((!member || there.member) && there.covers);
            asked.touches |= (member && there.member) || there.touches;
        }
        asked.member |= empty;
        asked.covers = covered == self.0.steps().count();
        Ok(asked)
    }
}

/// A step, looked up in the paths that are asked for.
struct Step<'p>(&'p FieldSet);

enum Found<'p> {
    /// The path that ends here.
    Here,
    /// One of those asked for: whether the path that ends there is, and what is below.
    Of(bool, &'p FieldSet),
    /// None of them.
    Other,
}

impl<'de, 'p> DeserializeSeed<'de> for Step<'p> {
    type Value = Found<'p>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'p>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Step<'p> {
    type Value = Found<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found<'p>, E> {
        if text == "." {
            return Ok(Found::Here);
        }
        Ok(self.0.step_of(text).map_or(Found::Other, |(member, below)| Found::Of(member, below)))
    }
}
