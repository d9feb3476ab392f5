//! `metadata`: what names look like, and what of it may change.

use serde_json::{Map, Value};

use super::addresses::canonical_ip_faults;
use super::check::{check_labels, qualified_name_faults};
use super::fault::Faults;
use crate::catalog::Kind;
use crate::name::{label_faults, path_segment_faults, subdomain_faults};
use crate::object::Object;

/// The characters of generated names: no vowels, and no digits that look like letters.
pub const NAME_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The longest that all annotations of an object may be together, in bytes.
const ANNOTATIONS_LENGTH_MAX: usize = 256 * 1024;

/// A name from a prefix (`metadata.generateName`) and random bytes.
#[must_use]
pub fn generated_name(prefix: &str, random: [u8; 5]) -> String {
    let suffix = random.iter().map(|byte| char::from(NAME_LETTERS[usize::from(*byte) % NAME_LETTERS.len()]));
    prefix.chars().take(58).chain(suffix).collect()
}

/// Why a name is not one for a kind, in the API's words; empty when it is one. A `prefix` is a name that something
/// will be added to.
#[must_use]
pub fn name_faults(kind: &Kind, name: &str, prefix: bool) -> Vec<String> {
    // Of a prefix the last two letters stand for one, where they end in a dash.
    let cut = name.strip_suffix('-').filter(|_| prefix).and_then(|name| name.char_indices().next_back());
    let masked = cut.map_or_else(|| name.to_owned(), |(at, _)| format!("{}a", name.get(..at).unwrap_or_default()));
    let name = masked.as_str();
    match (kind.group.as_str(), kind.kind.as_str()) {
        // Only what all objects are asked for.
        ("policy", "PodDisruptionBudget") if !prefix => return path_segment_faults(name),
        ("policy", "PodDisruptionBudget") | ("", "ReplicationController") | ("resource.k8s.io", "DeviceClass")
            if prefix =>
        {
            return path_segment_faults(name.trim_matches('.'));
        }
        ("", "ReplicationController") | ("resource.k8s.io", "DeviceClass") => {
            let faults = subdomain_faults(name).into_iter();
            return faults.map(|fault| fault.replace(" 253 characters", " 253 bytes")).collect();
        }
        _ => {}
    }
    let mut faults: Vec<String> = match (kind.group.as_str(), kind.resource.as_str()) {
        ("", "namespaces" | "services" | "tenants") | ("apps", "statefulsets") => label_faults(name),
        ("", "events")
        | ("rbac.authorization.k8s.io", _)
        | ("apiregistration.k8s.io", "apiservices")
        | ("certificates.k8s.io", "certificatesigningrequests") => path_segment_faults(name),
        ("networking.k8s.io", "ipaddresses") => canonical_ip_faults(name).into_iter().take(1).collect(),
        _ => subdomain_faults(name),
    };
    // The jobs that a cron job makes are named after it, with a time behind the name.
    if kind.kind == "CronJob" && !prefix && name.len() > 52 {
        faults.push("must be no more than 52 characters".to_owned());
    }
    faults
}

/// Takes away what a client may not say of a new object.
pub(super) fn prepare_create(metadata: &mut Map<String, Value>, generation: Option<i64>) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(field);
    }
    if let Some(generation) = generation {
        metadata.insert("generation".to_owned(), Value::from(generation));
    }
}

/// Keeps what a client may not change of an object.
pub(super) fn prepare_update(old: &Object, metadata: &mut Map<String, Value>) {
    let before = |field: &str| old.at(&["metadata", field]).filter(|value| !value.is_null()).cloned();
    for (field, even_if_sent) in [
        ("creationTimestamp", true),
        ("deletionTimestamp", true),
        ("uid", false),
        ("deletionGracePeriodSeconds", false),
        ("name", false),
        ("namespace", false),
    ] {
        if let Some(value) = before(field)
            && (even_if_sent || !metadata.contains_key(field))
        {
            metadata.insert(field.to_owned(), value);
        }
    }
    metadata.remove("selfLink");
    metadata.remove("generation");
}

/// The faults of `metadata`.
pub(super) fn validate(kind: &Kind, object: &Object, old: Option<&Object>, only_status: bool, faults: &mut Faults) {
    if !kind.can("get") {
        return;
    }
    let empty = Map::new();
    let metadata = object.at(&["metadata"]).and_then(Value::as_object).unwrap_or(&empty);
    if old.is_none() {
        validate_name(kind, object, faults);
    }
    // An update is checked by the machinery and by the kind's own rules, and each tells what it finds.
    let any = |kinds: &[(&str, &str)]| kinds.iter().any(|(group, name)| is(kind, group, name));
    let (content, finalizers, changes) = match old {
        None => (1, 1, 0),
        Some(_) if any(CHECKS_NOTHING) || only_status && any(CHECKS_NOTHING_WITH_STATUS) => (2, 0, 1),
        Some(_) if only_status && !is(kind, "certificates.k8s.io", "") => (3, 1, 2),
        Some(_) if is(kind, "", "PersistentVolume") => (4, 2, 1),
        Some(_) if any(CHECKS_ONLY_CHANGES) => (3, 1, 2),
        Some(_) if any(CHECKS_ONLY_THE_WHOLE) => (3, 1, 1),
        Some(_) => (4, 2, 2),
    };
    for _ in 0..content {
        let own = !object.notes.contains_key(super::hooks::LABELS_AS_READ);
        if let Some(labels) = metadata.get("labels").and_then(Value::as_object).filter(|_| own) {
            check_labels(faults, "metadata.labels", labels);
        }
        if let Some(annotations) = metadata.get("annotations").and_then(Value::as_object) {
            validate_annotations(annotations, faults);
        }
        if let Some(generation) = metadata.get("generation").filter(|number| number.as_i64().is_some_and(|n| n < 0)) {
            faults.invalid("metadata.generation", generation, "must be greater than or equal to 0");
        }
        let owners = metadata.get("ownerReferences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        validate_owners(owners, faults);
    }
    for _ in 0..finalizers {
        validate_finalizers(kind, metadata, faults);
    }
    for old in std::iter::repeat_n(old, changes).flatten() {
        validate_update(object, old, faults);
    }
}

/// The kinds whose own rules look at nothing of `metadata`.
const CHECKS_NOTHING: &[(&str, &str)] = &[("", "Event"), ("policy", "PodDisruptionBudget")];

/// The kinds of which that holds for a write of the status.
const CHECKS_NOTHING_WITH_STATUS: &[(&str, &str)] =
    &[("admissionregistration.k8s.io", ""), ("batch", "CronJob"), ("storage.k8s.io", "VolumeAttachment")];

/// The kinds whose own rules look at what an update changes of `metadata`, and not at the whole of it once more.
const CHECKS_ONLY_CHANGES: &[(&str, &str)] = &[
    ("apiextensions.k8s.io", ""),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("autoscaling", ""),
    ("batch", "CronJob"),
    ("coordination.k8s.io", ""),
    ("events.k8s.io", ""),
    ("", "PodTemplate"),
    ("", "ReplicationController"),
    ("", "ResourceQuota"),
    ("", "Service"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("resource.k8s.io", "ResourceSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
];

/// The kinds whose own rules look at the whole of it, and not at what an update changes.
const CHECKS_ONLY_THE_WHOLE: &[(&str, &str)] = &[
    ("admissionregistration.k8s.io", ""),
    ("discovery.k8s.io", ""),
    ("", "LimitRange"),
    ("flowcontrol.apiserver.k8s.io", ""),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "VolumeAttachment"),
];

fn is(kind: &Kind, group: &str, name: &str) -> bool {
    kind.group == group && (name.is_empty() || kind.kind == name)
}

fn validate_name(kind: &Kind, object: &Object, faults: &mut Faults) {
    let prefix = object.str_at(&["metadata", "generateName"]);
    if !prefix.is_empty() {
        for fault in name_faults(kind, prefix, true) {
            faults.invalid("metadata.generateName", &Value::from(prefix), &fault);
        }
    }
    let name = object.name();
    if name.is_empty() {
        faults.required("metadata.name", "name or generateName is required");
    }
    for fault in name_faults(kind, name, false).into_iter().filter(|_| !name.is_empty()) {
        faults.invalid("metadata.name", &Value::from(name), &fault);
    }
}

fn validate_annotations(annotations: &Map<String, Value>, faults: &mut Faults) {
    let mut length = 0;
    for (key, value) in annotations {
        length += key.len() + value.as_str().map_or(0, str::len);
        for fault in qualified_name_faults(&key.to_lowercase()) {
            faults.invalid("metadata.annotations", &Value::from(key.as_str()), &fault);
        }
    }
    if length > ANNOTATIONS_LENGTH_MAX {
        faults.too_long("metadata.annotations", ANNOTATIONS_LENGTH_MAX);
    }
}

/// The finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// The groups whose kinds leave the names of finalizers to the machinery, as custom kinds do: any label's key is one.
const ANY_FINALIZER: [&str; 6] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "policy",
];

fn validate_finalizers(kind: &Kind, metadata: &Map<String, Value>, faults: &mut Faults) {
    let any = !kind.builtin || ANY_FINALIZER.contains(&kind.group.as_str()) || is(kind, "", "Event");
    let finalizers = metadata.get("finalizers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, finalizer) in finalizers.iter().enumerate() {
        let path = format!("metadata.finalizers[{index}]");
        let name = finalizer.as_str().unwrap_or_default();
        for fault in qualified_name_faults(name) {
            faults.invalid("metadata.finalizers", finalizer, &fault);
        }
        if !any && !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            faults.invalid(&path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

fn validate_owners(owners: &[Value], faults: &mut Faults) {
    let path = "metadata.ownerReferences";
    for owner in owners {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let mut parts = text("apiVersion").split('/');
        let version = parts.next_back().unwrap_or_default();
        if version.is_empty() || parts.count() > 1 {
            faults.invalid(
                &format!("{path}.apiVersion"),
                &Value::from(text("apiVersion")),
                "version must not be empty",
            );
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                faults.invalid(&format!("{path}.{field}"), &Value::from(""), "must not be empty");
            }
        }
        if text("kind") == "Event" && matches!(text("apiVersion"), "v1" | "events.k8s.io/v1") {
            let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
            let why = format!("{group}/{version}, Kind=Event is disallowed from being an owner");
            faults.invalid_text(path, &owner_text(owner), &why);
        }
    }
    let controllers: Vec<&Value> = owners.iter().filter(|owner| owner["controller"] == true).collect();
    if let [first, second, ..] = controllers.as_slice() {
        let text = |owner: &Value, field: &str| owner[field].as_str().unwrap_or_default().to_owned();
        let name = |owner: &Value| format!("{}/{}", text(owner, "kind"), text(owner, "name"));
        let texts: Vec<String> = owners.iter().map(owner_text).collect();
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            name(first),
            name(second)
        );
        faults.invalid_text(path, &format!("[{}]", texts.join(",")), &why);
    }
}

/// A reference as messages show it: the fields in the order of the upstream type.
fn owner_text(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"].into_iter();
    let shown = fields.filter_map(|field| Some(format!("\"{field}\":{}", owner.get(field)?)));
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

fn validate_update(object: &Object, old: &Object, faults: &mut Faults) {
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (before, after) = (old.at(&["metadata", field]), object.at(&["metadata", field]));
        if before != after {
            faults.invalid(&format!("metadata.{field}"), after.unwrap_or(&Value::Null), "field is immutable");
        }
    }
    let finalizers = |object: &Object| -> Vec<String> {
        let list = object.at(&["metadata", "finalizers"]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    if old.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null()) {
        let before = finalizers(old);
        let added: Vec<String> = finalizers(object).into_iter().filter(|name| !before.contains(name)).collect();
        if !added.is_empty() {
            let names: Vec<String> = added.iter().map(|name| format!("\"{name}\"")).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                names.join(", ")
            );
            faults.forbidden("metadata.finalizers", &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn what_agents_and_controllers_name_after_other_things_need_be_no_more_than_a_part_of_a_path() {
        let catalog = Catalog::builtin();
        let faults = |group: &str, resource: &str, name: &str| {
            let kind = catalog.by_path(group, "v1", resource).expect("it is built in");
            name_faults(&kind, name, false)
        };
        for (group, resource) in [("", "events"), ("certificates.k8s.io", "certificatesigningrequests")] {
            assert!(faults(group, resource, "node-csr-Dx_4").is_empty());
            assert_eq!(faults(group, resource, "a/b"), ["may not contain '/'"]);
        }
        assert_eq!(faults("events.k8s.io", "events", "Dx_4").len(), 1);
        assert_eq!(faults("", "configmaps", "Dx_4").len(), 1);
        assert_eq!(faults("", "configmaps", &"A_".repeat(127)).len(), 2, "too long, and of other letters");
        assert_eq!(faults("resource.k8s.io", "deviceclasses", &"a".repeat(254)), ["must be no more than 253 bytes"]);
        let classes = catalog.by_path("resource.k8s.io", "v1", "deviceclasses").expect("it is built in");
        assert!(name_faults(&classes, "G_", true).is_empty());
    }

    #[test]
    fn a_prefix_may_end_in_a_dash_and_is_not_one() {
        let kind = Catalog::builtin().by_path("", "v1", "configmaps").expect("it is built in");
        for (prefix, faults) in [("a-", 0), ("a--", 0), ("a.-", 0), ("--", 0), ("-", 1), ("---", 1), ("", 1)] {
            assert_eq!(name_faults(&kind, prefix, true).len(), faults, "{prefix}");
        }
    }
}
