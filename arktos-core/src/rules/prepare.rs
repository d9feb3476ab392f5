//! What the server sets or keeps when an object is written, whatever the client sent.

use serde_json::{Map, Value};

use super::hooks;
use super::meta;
use super::table;
use crate::catalog::Kind;
use crate::object::Object;

/// The kinds whose objects carry a generation. It starts at one and grows with the desired state.
const GENERATIONS: &[(&str, &str)] = &[
    ("", "Pod"),
    ("", "PodTemplate"),
    ("", "ReplicationController"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
];

fn has_generation(kind: &Kind) -> bool {
    !kind.builtin || GENERATIONS.contains(&(&kind.group, &kind.kind))
}

/// The kinds that take an update only with the revision that it changes.
const REVISION_NEEDED: &[(&str, &str)] = &[
    ("admissionregistration.k8s.io", ""),
    ("apiextensions.k8s.io", ""),
    ("apiregistration.k8s.io", ""),
    ("coordination.k8s.io", ""),
    ("node.k8s.io", ""),
    ("policy", ""),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "CSIStorageCapacity"),
    ("storage.k8s.io", "VolumeAttachment"),
];

/// The kinds that an update creates where there is nothing to update.
const MADE_BY_UPDATE: &[(&str, &str)] = &[
    ("", "Endpoints"),
    ("", "Event"),
    ("", "LimitRange"),
    ("", "Service"),
    ("coordination.k8s.io", "Lease"),
    ("events.k8s.io", "Event"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", ""),
];

/// What a write to `status` cannot change of `metadata`, where it cannot change all that others can.
const STATUS_KEEPS: &[(&str, &str, &[&str])] = &[
    ("apps", "Deployment", &["labels"]),
    ("", "Pod", &["ownerReferences"]),
    ("admissionregistration.k8s.io", "", RESET),
    ("apiregistration.k8s.io", "", RESET),
    ("flowcontrol.apiserver.k8s.io", "", ALL),
    ("networking.k8s.io", "ServiceCIDR", RESET),
    ("resource.k8s.io", "", RESET),
    ("storage.k8s.io", "", RESET),
];

const RESET: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];

/// Where a write to `status` cannot even say of what it is one.
const ALL: &[&str] = &[
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "uid",
    "generateName",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

fn is(kind: &Kind, group: &str, name: &str) -> bool {
    kind.group == group && (name.is_empty() || kind.kind == name)
}

impl Kind {
    /// Whether an update may leave the revision that it changes open.
    #[must_use]
    pub fn allows_unconditional_update(&self) -> bool {
        self.builtin && !REVISION_NEEDED.iter().any(|(group, name)| is(self, group, name))
    }

    /// Whether a write to `status` leaves labels, annotations, finalizers and owners as they are.
    #[must_use]
    pub fn status_keeps_metadata(&self) -> bool {
        !self.builtin
            || STATUS_KEEPS.iter().any(|(group, name, fields)| is(self, group, name) && fields.starts_with(RESET))
    }

    /// Whether an update of an object that is not there creates it.
    #[must_use]
    pub fn allows_create_on_update(&self) -> bool {
        MADE_BY_UPDATE.iter().any(|(group, name)| is(self, group, name))
    }

    /// Whether a write to the status of an object that is not there creates it, without that status. Upstream means
    /// none to, and two kinds do all the same: services, and one that is only made where the status `is_applied`.
    #[must_use]
    pub fn status_creates(&self, is_applied: bool) -> bool {
        is(self, "", "Service") || is_applied && is(self, "admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
    }
}

/// Sets what creation sets, and takes away what only the server may say.
pub fn prepare_create(kind: &Kind, object: &mut Object) {
    // A driver's first generation is its first change.
    let generation = (has_generation(kind) && kind.kind != "CSIDriver").then_some(1);
    meta::prepare_create(object.meta_mut(), generation);
    if kind.has_status() && kind.kind != "Node" {
        object.fields.remove("status");
    }
    if let Some(schema) = kind.schema.as_struct() {
        table::of(schema).set_created(&mut object.fields);
    }
    hooks::created(kind, object);
}

/// Keeps what another path writes, and lets the generation grow with the desired state. Both objects are complete.
pub fn prepare_update(kind: &Kind, old: &Object, new: &mut Object) {
    if kind.has_status() {
        keep(old, new, &["status"]);
    }
    if let Some(schema) = kind.schema.as_struct() {
        for path in &table::of(schema).kept {
            keep(old, new, path);
        }
    }
    hooks::updated(kind, old, new);
    meta::prepare_update(old, new.meta_mut());
    let grown = i64::from(has_generation(kind) && desired_differs(kind, old, new));
    if let Some(generation) = old.int_at(&["metadata", "generation"]) {
        new.set(&["metadata", "generation"], generation + grown);
    } else if grown > 0 {
        new.set(&["metadata", "generation"], 1);
    }
    hooks::written(kind, new);
}

/// Keeps everything but the status, and of `metadata` what a status write may change.
pub fn prepare_status_update(kind: &Kind, old: &Object, new: &mut Object) {
    let status = new.fields.remove("status");
    let kept = old.fields.iter().filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status"));
    let mut fields: Map<String, Value> = kept.map(|(field, value)| (field.clone(), value.clone())).collect();
    let metadata = new.fields.remove("metadata").unwrap_or_else(|| Value::Object(Map::new()));
    fields.insert("metadata".to_owned(), metadata);
    if let Some(status) = status {
        fields.insert("status".to_owned(), status);
    }
    new.fields = fields;
    let class = ["status", "qosClass"];
    if kind.kind == "Pod" && kind.builtin && new.str_at(&class).is_empty() {
        // Node agents of old leave it out.
        if let Some(known) = old.at(&class) {
            new.set(&class, known.clone());
        }
    }
    if kind.kind == "Pod" && kind.builtin {
        keep_observed(old, new);
    }
    let kept = if kind.builtin {
        STATUS_KEEPS.iter().find(|(group, name, _)| is(kind, group, name)).map_or(&[][..], |(_, _, fields)| fields)
    } else {
        RESET
    };
    for field in kept {
        keep(old, new, &["metadata", field]);
    }
    hooks::reported(kind, old, new);
    meta::prepare_update(old, new.meta_mut());
    if let Some(generation) = old.at(&["metadata", "generation"]) {
        new.set(&["metadata", "generation"], generation.clone());
    }
}

/// What a pod's state was observed of stays known when who reports it leaves that out, of each condition as well.
fn keep_observed(old: &Object, new: &mut Object) {
    const OBSERVED: &str = "observedGeneration";
    if new.int_at(&["status", OBSERVED]).unwrap_or(0) == 0
        && let Some(known) = old.int_at(&["status", OBSERVED]).filter(|known| *known != 0)
    {
        new.set(&["status", OBSERVED], known);
    }
    let before = old.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if before.iter().all(|condition| condition.get(OBSERVED).is_none()) {
        return;
    }
    let status = new.map_mut(&["status"]);
    let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) else { return };
    let mut before: Vec<&Value> = before.iter().collect();
    for condition in conditions {
        let Some(at) = before.iter().position(|known| known["type"] == condition["type"]) else { continue };
        let known = before.remove(at);
        if condition[OBSERVED].as_i64().unwrap_or(0) == 0
            && let (Some(observed), Some(fields)) = (known.get(OBSERVED), condition.as_object_mut())
        {
            fields.insert(OBSERVED.to_owned(), observed.clone());
        }
    }
}

fn keep(old: &Object, new: &mut Object, path: &[&str]) {
    match old.at(path) {
        Some(value) => new.set(path, value.clone()),
        None => {
            new.remove(path);
        }
    }
}

/// Whether what is asked for has changed: everything but `metadata` and `status`.
fn desired_differs(kind: &Kind, old: &Object, new: &Object) -> bool {
    fn desired(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
        let fields = object.fields.iter();
        fields.filter(|(field, _)| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
    }
    // What a custom kind reports is part of what it is asked for, unless it has a path of its own.
    let reported = !kind.builtin && !kind.has_status() && old.at(&["status"]) != new.at(&["status"]);
    let changed = || reported || !desired(old).eq(desired(new));
    let differs = |field: &str| old.at(&["metadata", field]) != new.at(&["metadata", field]);
    match kind.kind.as_str() {
        "PriorityClass" => false,
        "EndpointSlice" => changed() || differs("labels"),
        "Deployment" => changed() || differs("annotations"),
        _ => changed(),
    }
}
