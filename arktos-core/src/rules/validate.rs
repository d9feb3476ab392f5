//! One walk over an object that checks what its types and the rules files say.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

use super::check::Check;
use super::fault::{Faults, Site};
use super::table;
use crate::catalog::Kind;
use crate::custom;
use crate::object::Object;
use crate::schema::{Path, Schema, Shape, Struct};
use crate::status::StatusCause;

/// The faults of an object that is to be stored; `old` is what it replaces.
#[must_use]
pub fn validate(kind: &Kind, object: &Object, old: Option<&Object>) -> Vec<StatusCause> {
    walk(kind, object, old, false)
}

/// As [`validate`], for a write that leaves all but `metadata` and `status` as it is.
#[must_use]
pub fn validate_status(kind: &Kind, object: &Object, old: &Object) -> Vec<StatusCause> {
    walk(kind, object, Some(old), true)
}

fn walk(kind: &Kind, object: &Object, old: Option<&Object>, only_status: bool) -> Vec<StatusCause> {
    let mut faults = Faults::default();
    super::meta::validate(kind, object, old, only_status, &mut faults);
    if kind.builtin && kind.kind == "CustomResourceDefinition" && kind.group == "apiextensions.k8s.io" {
        custom::validate_definition(object, old, only_status, &mut faults);
        return faults.0;
    }
    if let Some(structural) = kind.schema.structural() {
        custom::validate(structural, kind, object, old, &mut faults);
        return faults.0;
    }
    let Some(schema) = kind.schema.as_struct() else { return faults.0 };
    let again = false;
    let templates = object.at(&["spec", "volumeClaimTemplates"]).and_then(Value::as_array);
    let templates = templates.filter(|_| kind.kind == "StatefulSet").map_or(&[][..], Vec::as_slice);
    let (kind_name, name, updates) = (&kind.kind, object.name(), old.is_some());
    let walk = Walk { kind: kind_name, name, templates, options: true, updates, only_status, again };
    walk.object(schema, &object.fields, old.map(|old| &old.fields), &Path::Root, &mut faults);
    if let Some(old) = old {
        walk.forgive(schema, old, &mut faults);
    }
    if !faults.1.is_empty() {
        return faults.1;
    }
    let twice = CHECKED_TWICE.contains(&(&kind.group, &kind.kind));
    if twice && old.is_some() && !only_status && !faults.0.is_empty() {
        let mut alone = Faults::default();
        let walk = Walk { updates: false, again: true, ..walk };
        walk.object(schema, &object.fields, None, &Path::Root, &mut alone);
        let known = alone.0.into_iter().filter(|fault| faults.0.contains(fault)).collect::<Vec<_>>();
        faults.0.extend(known);
    }
    // What a claim asks for cannot change, and is not looked at again.
    match (&*kind.group, &*kind.kind) {
        ("resource.k8s.io", "ResourceClaim") if old.is_some() => {
            faults.0.retain(|fault| !fault.field.starts_with("spec.") && !fault.field.starts_with("spec["));
        }
        ("apps", "StatefulSet") if old.is_some() => {
            faults.0.retain(|fault| !fault.field.starts_with("spec.volumeClaimTemplates["));
        }
        _ => {}
    }
    faults.forget_below_refused();
    if kind.builtin && kind.kind == "StatefulSet" && !only_status {
        super::functions::as_of_pods(templates, object.at(&["spec", "template"]), &mut faults);
    }
    if kind.builtin {
        faults.forget_unread();
    }
    let of_metadata = |fault: &StatusCause| fault.field.starts_with("metadata.");
    if METADATA_LAST.contains(&(&kind.group, &kind.kind)) && !faults.0.iter().all(of_metadata) {
        faults.0.retain(|fault| !of_metadata(fault));
    }
    faults.0
}

/// The kinds whose metadata is looked at when all else is as it must be.
const METADATA_LAST: &[(&str, &str)] = &[("policy", "PodDisruptionBudget")];

/// The kinds of which an update is checked as a new object and as a change, and both tell what is wrong with the new
/// state.
const CHECKED_TWICE: &[(&str, &str)] = &[("", "PersistentVolume"), ("batch", "Job")];

#[derive(Clone, Copy)]
struct Walk<'a> {
    kind: &'a str,
    name: &'a str,
    /// The claims that each pod of a stateful set is given: volumes that its template does not name.
    templates: &'a [Value],
    /// Whether values must be of those the schema lists. In a status they need not.
    options: bool,
    updates: bool,
    /// Whether all but the status is as it was, and needs no look.
    only_status: bool,
    /// Whether this is the second look at an update.
    again: bool,
}

/// An object whose rules are being checked.
struct Owner<'a> {
    map: &'a Map<String, Value>,
    old: Option<&'a Map<String, Value>>,
    at: &'a Path<'a>,
}

/// What is refused of new values alone, by its words: objects from before the rule, or from elsewhere, keep theirs.
const MAY_STAY: [&str; 7] = [
    "must not have leading 0s",
    "IPv4-mapped IPv6 address",
    "must not have bits set beyond the prefix length",
    "must be in canonical form",
    "a valid label must",
    "non-sidecar initContainers",
    "\"MountOption\"",
];

/// Whether a fault is one of those. A label's value may stay in what a pod requires of its host.
fn may_stay(fault: &StatusCause) -> bool {
    let labels = fault.message.contains("a valid label must");
    MAY_STAY.iter().any(|words| fault.message.contains(words)) && (!labels || fault.field.contains("nodeAffinity"))
}

impl Walk<'_> {
    /// Takes back what is as wrong in the old object. Messages hold the values, so these are what it goes by, as
    /// upstream does.
    fn forgive(&self, schema: &Struct, old: &Object, faults: &mut Faults) {
        if !faults.0.iter().chain(&faults.1).any(may_stay) {
            return;
        }
        let mut before = Faults::default();
        Walk { updates: false, ..*self }.object(schema, &old.fields, None, &Path::Root, &mut before);
        let known: HashSet<&str> = before.0.iter().chain(&before.1).map(|fault| &*fault.message).collect();
        for told in [&mut faults.0, &mut faults.1] {
            told.retain(|fault| !may_stay(fault) || !known.contains(&*fault.message));
        }
    }

    fn object(
        &self,
        schema: &Struct,
        map: &Map<String, Value>,
        old: Option<&Map<String, Value>>,
        at: &Path<'_>,
        faults: &mut Faults,
    ) {
        let rules = table::of(schema);
        let skipped = |field: Option<&&str>| {
            self.only_status && matches!(at, Path::Root) && field.is_none_or(|field| *field != "status")
        };
        let checks = || rules.checks.iter().filter(|(path, _)| !skipped(path.first()));
        for (path, check) in checks().filter(|(_, check)| !check.is_last()) {
            self.check(check, &Owner { map, old, at }, path, faults);
        }
        if schema.own {
            for field in schema.fields.iter().filter(|field| field.required && !map.contains_key(&*field.name)) {
                faults.required(&Path::Field(at, &field.name).to_string(), "");
            }
        }
        for (name, value) in map {
            let Some(field) = schema.field(name) else { continue };
            if matches!(at, Path::Root) && name == "metadata" || skipped(Some(&name.as_str())) {
                continue;
            }
            let in_status = Walk { options: false, ..*self };
            let walk = if matches!(at, Path::Root) && name == "status" { &in_status } else { self };
            let path = Path::Field(at, name);
            let ruled = || {
                let mut checks = rules.checks.iter();
                checks.any(|(ruled, check)| ruled.first() == Some(&&**name) && ruled.len() < 3 && check.lists_options())
            };
            if walk.options && field.schema.lists_options() && !ruled() {
                options(&field.schema, value, &path, faults);
                if let (Some(items), Value::Array(list)) = (field.schema.items(), value) {
                    for (index, item) in list.iter().enumerate() {
                        options(items, item, &Path::Item(&path, index), faults);
                    }
                }
            }
            if !rules.unchecked.contains(&&**name) {
                walk.inner(&field.schema, value, old.and_then(|old| old.get(name)), &path, faults);
            }
        }
        for (path, check) in checks().filter(|(_, check)| check.is_last()) {
            self.check(check, &Owner { map, old, at }, path, faults);
        }
    }

    /// Finds the field of a rule and checks it.
    fn check(&self, check: &Check, owner: &Owner<'_>, path: &[&str], faults: &mut Faults) {
        if self.again && check.is_told_once() {
            return;
        }
        match path.split_first() {
            None => self.steps(check, owner, Cow::Borrowed(""), (None, None), &[], faults),
            Some((first, rest)) => {
                let old = owner.old.and_then(|old| old.get(*first));
                self.steps(check, owner, Cow::Borrowed(first), (owner.map.get(*first), old), rest, faults);
            }
        }
    }

    /// Goes down the rest of a rule's path, to each item of the lists on the way. What is not there has no fields.
    fn steps(
        &self,
        check: &Check,
        owner: &Owner<'_>,
        field: Cow<'_, str>,
        (value, old): (Option<&Value>, Option<&Value>),
        rest: &[&str],
        faults: &mut Faults,
    ) {
        match rest.split_first() {
            None => {
                let Owner { map, old: old_map, at } = *owner;
                let Walk { kind: root_kind, name: root_name, templates, .. } = *self;
                // What an update adds is new: nothing of it was there before.
                let updates = self.updates && old_map.is_some();
                let site = Site { map, at, field, value, old, old_map, root_kind, root_name, templates, updates };
                check.run(&site, faults);
            }
            Some((&"[]", rest)) => {
                for (index, item) in value.and_then(Value::as_array).into_iter().flatten().enumerate() {
                    self.steps(check, owner, format!("{field}[{index}]").into(), (Some(item), None), rest, faults);
                }
            }
            Some((name, rest)) => {
                if let Some(Value::Object(map)) = value {
                    let old = old.and_then(|old| old.get(*name));
                    self.steps(check, owner, format!("{field}.{name}").into(), (map.get(*name), old), rest, faults);
                }
            }
        }
    }

    fn inner(&self, schema: &Schema, value: &Value, old: Option<&Value>, at: &Path<'_>, faults: &mut Faults) {
        match (&schema.shape, value) {
            (Shape::Struct(object), Value::Object(map)) => {
                self.object(object.get(), map, old.and_then(Value::as_object), at, faults);
            }
            (Shape::List(items), Value::Array(list)) => {
                for (index, item) in list.iter().enumerate() {
                    let path = Path::Item(at, index);
                    self.inner(items, item, None, &path, faults);
                }
            }
            (Shape::Map(values), Value::Object(map)) => {
                for (name, item) in map {
                    let path = Path::Field(at, name);
                    self.inner(values, item, old.and_then(|old| old.get(name)), &path, faults);
                }
            }
            _ => {}
        }
    }
}

/// A value of those the schema lists.
fn options(schema: &Schema, value: &Value, at: &Path<'_>, faults: &mut Faults) {
    if let Value::String(text) = value
        && !schema.options.is_empty()
        && !schema.options.iter().any(|option| **option == **text)
    {
        let options: Vec<&str> = schema.options.iter().map(|option| &**option).collect();
        faults.not_supported(&at.to_string(), value, &options);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::admit_update;
    use super::super::tests::{changed, created, told};

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": "b"}]}})
    }

    #[test]
    fn what_new_values_alone_are_refused_for_may_stay() {
        let ports = json!([{"port": 80}]);
        let service = json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer", "ports": ports}});
        let mut service = created(&service).expect("a good service");
        service.set(&["spec", "loadBalancerSourceRanges"], json!(["10.0.0.1/24"]));
        let patched = |patch: &Value| told(changed(admit_update, &service, patch));
        assert_eq!(patched(&json!({"metadata": {"labels": {"a": "b"}}})), Vec::<String>::new());
        let other = patched(&json!({"spec": {"loadBalancerSourceRanges": ["10.0.0.1/24", "10.0.0.2/24"]}}));
        assert!(matches!(other.as_slice(), [one] if one.starts_with("spec.LoadBalancerSourceRanges[1]")), "{other:?}");
    }

    #[test]
    fn what_a_stored_pod_says_of_a_feature_that_is_off_stays() {
        let mut old = created(&pod()).expect("a good pod");
        let signalled = json!([{"name": "a", "image": "b", "lifecycle": {"stopSignal": "SIGUSR1"}}]);
        let dropped = changed(admit_update, &old, &json!({"spec": {"containers": signalled}})).expect("as before");
        assert_eq!(dropped.at(&["spec"]), old.at(&["spec"]));
        let mut spec = old.at(&["spec"]).cloned().expect("a spec");
        spec["containers"][0]["lifecycle"] = signalled[0]["lifecycle"].clone();
        old.set(&["spec"], spec.clone());
        let new = changed(admit_update, &old, &json!({"metadata": {"labels": {"a": "b"}}})).expect("a good change");
        assert_eq!(new.at(&["spec"]), Some(&spec));
    }

    #[test]
    fn of_many_faults_no_more_are_told_than_somebody_reads() {
        let mut many = pod();
        many["spec"]["volumes"] = vec![json!({}); 5000].into();
        assert_eq!(told(created(&many)).len(), 1000);
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "a",
            "allowedTopologies": vec![json!({}); 3000]});
        assert_eq!(told(created(&class)).len(), 1000);
    }
}
