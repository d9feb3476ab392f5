//! What the server sets or keeps when an object is written, whatever the client sent.

use serde_json::{Map, Value};

use super::meta;
use super::table;
use crate::catalog::Kind;
use crate::object::Object;

/// The kinds whose objects carry a generation. It starts at one and grows with the desired state.
const GENERATIONS: &[(&str, &str)] = &[
    ("", "Pod"),
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
];

fn has_generation(kind: &Kind) -> bool {
    !kind.builtin || GENERATIONS.contains(&(&kind.group, &kind.kind))
}

/// Sets what creation sets, and takes away what only the server may say.
pub fn prepare_create(kind: &Kind, object: &mut Object) {
    let generation = has_generation(kind).then_some(1);
    meta::prepare_create(object.meta_mut(), generation);
    if kind.has_status() && kind.kind != "Node" {
        object.fields.remove("status");
    }
    if let Some(schema) = kind.schema.as_struct() {
        table::of(schema).set_created(&mut object.fields);
    }
}

/// Keeps what another path writes, and lets the generation grow with the desired state. Both objects are complete.
pub fn prepare_update(kind: &Kind, old: &Object, new: &mut Object) {
    if kind.has_status() {
        keep(old, new, "status");
    }
    meta::prepare_update(old, new.meta_mut());
    let grown = i64::from(has_generation(kind) && desired_differs(kind, old, new));
    if let Some(generation) = old.int_at(&["metadata", "generation"]) {
        new.set(&["metadata", "generation"], generation + grown);
    } else if grown > 0 {
        new.set(&["metadata", "generation"], 1);
    }
}

/// Keeps everything but the status, and of `metadata` what a status write may change.
pub fn prepare_status_update(kind: &Kind, old: &Object, new: &mut Object) {
    let _ = kind;
    let status = new.fields.remove("status");
    let kept = old.fields.iter().filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status"));
    let mut fields: Map<String, Value> = kept.map(|(field, value)| (field.clone(), value.clone())).collect();
    let metadata = new.fields.remove("metadata").unwrap_or_else(|| Value::Object(Map::new()));
    fields.insert("metadata".to_owned(), metadata);
    if let Some(status) = status {
        fields.insert("status".to_owned(), status);
    }
    new.fields = fields;
    meta::prepare_update(old, new.meta_mut());
    if let Some(generation) = old.at(&["metadata", "generation"]) {
        new.set(&["metadata", "generation"], generation.clone());
    }
}

fn keep(old: &Object, new: &mut Object, field: &str) {
    match old.fields.get(field) {
        Some(value) => {
            new.fields.insert(field.to_owned(), value.clone());
        }
        None => {
            new.fields.remove(field);
        }
    }
}

/// Whether what is asked for has changed: everything but `metadata` and `status`.
fn desired_differs(kind: &Kind, old: &Object, new: &Object) -> bool {
    let desired = |object: &Object| -> Vec<(String, Value)> {
        let fields = object.fields.iter();
        fields
            .filter(|(field, _)| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect()
    };
    let labels = |object: &Object| object.at(&["metadata", "labels"]).cloned();
    match kind.kind.as_str() {
        "PriorityClass" => false,
        "EndpointSlice" => desired(old) != desired(new) || labels(old) != labels(new),
        _ => desired(old) != desired(new),
    }
}
