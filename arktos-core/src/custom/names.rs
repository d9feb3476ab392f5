//! Which names a definition gets, and what its status says of it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::structural::texts;
use crate::header::Header;
use crate::object::Object;
use crate::time::Timestamp;

/// What keeps a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The label of a definition of the tenant `system` that says with whom it is shared.
pub const SHARING: &str = "arktos.futurewei.com/crd-sharing-policy";
/// The value of [`SHARING`] where the definition is forced on all tenants.
pub const FORCED: &str = "forced";

/// Whether a definition of the tenant `system` is forced on all tenants.
#[must_use]
pub fn is_forced(definition: &Header) -> bool {
    definition.label(SHARING) == Some(FORCED)
}

/// The names that the definitions of a group have been given.
#[derive(Debug, Default)]
pub struct UsedNames {
    /// Plurals, singulars and short names, and how often each was given.
    resources: HashMap<String, usize>,
    /// Kinds and kinds of lists.
    kinds: HashMap<String, usize>,
}

impl UsedNames {
    /// The names that these definitions, of one group, have been given.
    #[must_use]
    pub fn of<'a>(definitions: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut used = Self::default();
        for definition in definitions {
            let accepted = |field: &str| definition.str_at(&["status", "acceptedNames", field]).to_owned();
            let short = texts(definition.at(&["status", "acceptedNames", "shortNames"]));
            let short = short.iter().map(ToString::to_string);
            for name in [accepted("plural"), accepted("singular")].into_iter().chain(short) {
                *used.resources.entry(name).or_default() += 1;
            }
            for name in [accepted("kind"), accepted("listKind")] {
                *used.kinds.entry(name).or_default() += 1;
            }
        }
        used
    }

    fn count(&self, kinds: bool, name: &str) -> usize {
        let names = if kinds { &self.kinds } else { &self.resources };
        names.get(name).copied().unwrap_or_default()
    }
}

/// Whether its kind is served.
#[must_use]
pub fn is_established(definition: &Object) -> bool {
    condition(definition, "Established").is_some_and(|condition| condition["status"] == "True")
}

fn condition<'a>(definition: &'a Object, name: &str) -> Option<&'a Value> {
    let conditions = definition.at(&["status", "conditions"]).and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition["type"] == name)
}

fn set_condition(definition: &mut Object, name: &str, (status, reason, message): (&str, &str, &str), now: Timestamp) {
    let since = condition(definition, name)
        .filter(|condition| condition["status"] == status)
        .and_then(|condition| condition["lastTransitionTime"].as_str().map(str::to_owned));
    let condition = json!({
        "type": name, "status": status, "lastTransitionTime": since.unwrap_or_else(|| now.to_string()),
        "reason": reason, "message": message,
    });
    let conditions = definition.map_mut(&["status"]).entry("conditions").or_insert(Value::Null);
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else { return };
    match list.iter_mut().find(|known| known["type"] == name) {
        Some(known) => *known = condition,
        None => list.push(condition),
    }
}

/// Gives a definition the names that nobody else has, and establishes it when it has all that it wants; `used` are
/// those of the whole group, its own with them. Whether its status has changed.
pub fn settle(definition: &mut Object, used: &UsedNames, now: Timestamp) -> bool {
    let before = definition.at(&["status"]).cloned();
    let fault = accept(definition, used);
    let was_established = is_established(definition);
    match fault {
        Some((reason, why)) => {
            set_condition(definition, "NamesAccepted", ("False", reason, &why), now);
            if !was_established {
                let why = ("False", "NotAccepted", "not all names are accepted");
                set_condition(definition, "Established", why, now);
            }
        }
        None => {
            set_condition(definition, "NamesAccepted", ("True", "NoConflicts", "no conflicts found"), now);
            if !was_established {
                let why = ("True", "InitialNamesAccepted", "the initial names have been accepted");
                set_condition(definition, "Established", why, now);
            }
        }
    }
    approve(definition, now);
    definition.at(&["status"]) != before.as_ref()
}

/// Takes the names that are free. The reason and the text are those of the last that is not.
fn accept(definition: &mut Object, used: &UsedNames) -> Option<(&'static str, String)> {
    let mut fault = None;
    let own = UsedNames::of([&*definition]);
    for (field, kinds, reason) in [
        ("plural", false, "PluralConflict"),
        ("singular", false, "SingularConflict"),
        ("shortNames", false, "ShortNamesConflict"),
        ("kind", true, "KindConflict"),
        ("listKind", true, "ListKindConflict"),
    ] {
        let wanted = definition.at(&["spec", "names", field]).cloned();
        let had = definition.at(&["status", "acceptedNames", field]).cloned();
        let all = |value: &Option<Value>| -> Vec<String> {
            match value {
                Some(Value::String(name)) if !name.is_empty() => vec![name.clone()],
                Some(list @ Value::Array(_)) => texts(Some(list)).iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            }
        };
        let mine = all(&had);
        let taken: Vec<String> = all(&wanted)
            .into_iter()
            .filter(|name| !mine.contains(name) && used.count(kinds, name) > own.count(kinds, name))
            .map(|name| format!("{name:?} is already in use"))
            .collect();
        match taken.as_slice() {
            [] => set_name(definition, field, wanted),
            [one] => fault = Some((reason, one.clone())),
            many => fault = Some((reason, format!("[{}]", many.join(", ")))),
        }
    }
    let categories = definition.at(&["spec", "names", "categories"]).cloned();
    set_name(definition, "categories", categories);
    fault
}

fn set_name(definition: &mut Object, field: &str, value: Option<Value>) {
    let empty = value.as_ref().is_none_or(|value| value.is_null() || *value == json!([]) || *value == "");
    match value.filter(|_| !empty) {
        Some(value) => definition.set(&["status", "acceptedNames", field], value),
        None if matches!(field, "plural" | "kind") => definition.set(&["status", "acceptedNames", field], ""),
        None => {
            definition.remove(&["status", "acceptedNames", field]);
        }
    }
}

/// The annotation by which a group of the project's own is approved.
pub(super) const APPROVED: &str = "api-approved.kubernetes.io";

/// Whether a group is one of the project's own.
pub(super) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")))
}

fn approve(definition: &mut Object, now: Timestamp) {
    if !is_protected(definition.str_at(&["spec", "group"])) {
        return;
    }
    let said = definition.str_at(&["metadata", "annotations", APPROVED]).to_owned();
    let name = "KubernetesAPIApprovalPolicyConformant";
    if said.starts_with("unapproved") {
        set_condition(definition, name, ("False", "UnapprovedAnnotation", &format!("not approved: {said:?}")), now);
    } else if !said.is_empty() {
        set_condition(definition, name, ("True", "ApprovedAnnotation", &format!("approved in {said}")), now);
    }
}

/// Marks a definition for deletion: first its objects go.
pub fn mark_terminating(definition: &mut Object, now: Timestamp) {
    let finalizers = definition.map_mut(&["metadata"]).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|name| name == FINALIZER)
    {
        list.push(Value::from(FINALIZER));
    }
    definition.set(&["metadata", "deletionTimestamp"], now.to_string());
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(definition, "Terminating", ("True", "InstanceDeletionPending", message), now);
}

/// Notes that objects are being deleted. Whether that is news.
pub fn deletion_progresses(definition: &mut Object, now: Timestamp) -> bool {
    terminating(definition, ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"), now)
}

/// Notes why objects could not be deleted. Whether that is news.
pub fn deletion_failed(definition: &mut Object, why: &str, now: Timestamp) -> bool {
    terminating(definition, ("True", "InstanceDeletionFailed", &format!("could not delete instances: {why}")), now)
}

fn terminating(definition: &mut Object, what: (&str, &str, &str), now: Timestamp) -> bool {
    let before = condition(definition, "Terminating").cloned();
    set_condition(definition, "Terminating", what, now);
    condition(definition, "Terminating") != before.as_ref()
}

/// Notes why a definition that follows another does not say the same; absent when it does. A definition that always did
/// says nothing of it.
pub fn follows(definition: &mut Object, fault: Option<&str>, now: Timestamp) {
    let name = "FollowsSystem";
    match fault {
        Some(why) => set_condition(definition, name, ("False", "NotCompatible", why), now),
        None if condition(definition, name).is_some() => {
            set_condition(definition, name, ("True", "Followed", "it is as the system tenant has it"), now);
        }
        None => {}
    }
}

/// Lets go of a definition whose objects are gone.
pub fn deletion_finished(definition: &mut Object, now: Timestamp) {
    terminating(definition, ("False", "InstanceDeletionCompleted", "removed all instances"), now);
    let empty = Map::new();
    let metadata = definition.at(&["metadata"]).and_then(Value::as_object).unwrap_or(&empty);
    let mut left = texts(metadata.get("finalizers")).into_vec();
    left.retain(|name| **name != *FINALIZER);
    if left.is_empty() {
        definition.remove(&["metadata", "finalizers"]);
    } else {
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        definition.set(&["metadata", "finalizers"], left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str) -> Object {
        let value = json!({"metadata": {"name": format!("{plural}.example.org")}, "spec": {
            "group": "example.org",
            "names": {"plural": plural, "kind": kind, "listKind": format!("{kind}List"), "shortNames": ["x"]},
        }});
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn a_name_has_one_owner_and_is_free_when_it_goes() {
        let now = Timestamp::from_micros(0);
        let (mut first, mut second) = (definition("as", "A"), definition("bs", "A"));
        assert!(settle(&mut first, &UsedNames::default(), now));
        assert!(is_established(&first));
        assert!(!settle(&mut first, &UsedNames::default(), now.later(std::time::Duration::from_secs(1))));
        settle(&mut second, &UsedNames::of([&first]), now);
        assert!(!is_established(&second));
        let accepted = second.at(&["status", "acceptedNames"]);
        assert_eq!(accepted, Some(&json!({"plural": "bs"})));
        assert_eq!(condition(&second, "NamesAccepted").expect("a condition")["reason"], "ListKindConflict");
        settle(&mut second, &UsedNames::default(), now);
        assert!(is_established(&second));
    }

    #[test]
    fn an_established_definition_stays_so_when_it_wants_a_name_that_is_taken() {
        let now = Timestamp::from_micros(0);
        let (mut first, mut second) = (definition("as", "A"), definition("bs", "B"));
        second.set(&["spec", "names", "shortNames"], json!(["y"]));
        settle(&mut first, &UsedNames::default(), now);
        settle(&mut second, &UsedNames::of([&first]), now);
        second.set(&["spec", "names", "shortNames"], json!(["x"]));
        settle(&mut second, &UsedNames::of([&first]), now);
        assert!(is_established(&second));
        assert_eq!(second.at(&["status", "acceptedNames", "shortNames"]), Some(&json!(["y"])));
        assert_eq!(condition(&second, "NamesAccepted").expect("a condition")["status"], "False");
    }
}
