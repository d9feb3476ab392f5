//! Plugins that only add: labels, finalizers, taints, default classes.

use std::collections::HashMap;
use std::sync::LazyLock;

use arktos_core::{GroupResource, Object};
use serde::Deserialize;
use serde_json::{Value, json};

use super::decoded::Declared;
use super::list;
use crate::call::Call;

static STORAGE_CLASSES: LazyLock<GroupResource> =
    LazyLock::new(|| GroupResource::new("storage.k8s.io", "storageclasses"));
static INGRESS_CLASSES: LazyLock<GroupResource> =
    LazyLock::new(|| GroupResource::new("networking.k8s.io", "ingressclasses"));

/// What is looked at of a class, of storage or of ingresses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Class {
    metadata: ClassMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClassMeta {
    creation_timestamp: String,
    annotations: HashMap<String, String>,
}

impl Declared for Class {}

/// The label by which namespaces are selected by name.
pub(crate) fn namespace_label(object: &mut Object) {
    let name = object.name().to_owned();
    if !name.is_empty() {
        object.map_mut(&["metadata", "labels"]).insert("kubernetes.io/metadata.name".to_owned(), Value::from(name));
    }
}

/// A tenant goes when the tenant controller says that all it had is gone.
pub(super) fn tenant_finalizer(object: &mut Object) {
    let finalizers = object.map_mut(&["spec"]).entry("finalizers").or_insert_with(|| json!([]));
    let Some(finalizers) = finalizers.as_array_mut() else { return };
    if !finalizers.iter().any(|one| one == "arktos") {
        finalizers.push(Value::from("arktos"));
    }
}

/// Hosts start as not ready. (TaintNodesByCondition)
pub(super) fn node_taint(object: &mut Object) {
    const KEY: &str = "node.kubernetes.io/not-ready";
    let taints = object.map_mut(&["spec"]).entry("taints").or_insert_with(|| json!([]));
    let Some(taints) = taints.as_array_mut() else { return };
    if !taints.iter().any(|taint| taint["key"] == KEY && taint["effect"] == "NoSchedule") {
        taints.push(json!({"key": KEY, "effect": "NoSchedule"}));
    }
}

/// Volumes and their claims stay while they are in use. (StorageObjectInUseProtection)
pub(super) fn finalizer(object: &mut Object, name: &str) {
    let finalizers = object.map_mut(&["metadata"]).entry("finalizers").or_insert_with(|| json!([]));
    if finalizers.is_null() {
        *finalizers = json!([]);
    }
    let Some(finalizers) = finalizers.as_array_mut() else { return };
    if !finalizers.iter().any(|one| one == name) {
        finalizers.push(Value::from(name));
    }
}

/// A volume says when it came into its phase, unless whoever changes the phase says it.
pub(super) fn phase_time(call: &Call<'_>, old: &Object, new: &mut Object) {
    const TIME: &[&str] = &["status", "lastPhaseTransitionTime"];
    let phase = |volume: &Object| match volume.str_at(&["status", "phase"]) {
        "" => "Pending".to_owned(),
        phase => phase.to_owned(),
    };
    let (before, sent) = (old.at(TIME).cloned(), new.at(TIME).filter(|time| !time.is_null()));
    match (phase(old) == phase(new), sent) {
        (true, None) => {
            if let Some(time) = before {
                new.set(TIME, time);
            }
        }
        (false, sent) if sent.is_none() || sent == before.as_ref() => {
            new.set(TIME, call.state.config.clock.now().to_string());
        }
        _ => {}
    }
}

/// A volume claim without a class gets the default one. (DefaultStorageClass)
pub(super) fn storage_class(call: &Call<'_>, object: &mut Object) {
    let asked = object.at(&["spec", "storageClassName"]).is_some()
        || object.at(&["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]).is_some();
    if asked {
        return;
    }
    let marks = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    if let Some(name) = default_class(call, &STORAGE_CLASSES, &marks) {
        object.set(&["spec", "storageClassName"], name);
    }
}

/// An ingress without a class gets the default one. (DefaultIngressClass)
pub(super) fn ingress_class(call: &Call<'_>, object: &mut Object) {
    let asked = object.at(&["spec", "ingressClassName"]).is_some()
        || object.at(&["metadata", "annotations", "kubernetes.io/ingress.class"]).is_some();
    let marks = ["ingressclass.kubernetes.io/is-default-class"];
    if asked {
        return;
    }
    if let Some(name) = default_class(call, &INGRESS_CLASSES, &marks) {
        object.set(&["spec", "ingressClassName"], name);
    }
}

/// The class that is marked as default; of several, the newest, and of equally new ones the first by name.
fn default_class(call: &Call<'_>, resource: &GroupResource, marks: &[&str]) -> Option<String> {
    let classes = list::<Class>(call, resource, "");
    let is_marked = |class: &Class, mark: &str| class.metadata.annotations.get(mark).is_some_and(|is| is == "true");
    let default = classes.iter().filter(|class| marks.iter().any(|mark| is_marked(class, mark)));
    let newest = default.min_by(|one, other| {
        let made = |class: &Class| class.metadata.creation_timestamp.clone();
        made(other).cmp(&made(one))
    });
    newest.map(|class| class.name().to_owned())
}

/// A certificate request says who asked for it, whatever it said itself.
pub(super) fn requester(call: &Call<'_>, object: &mut Object) {
    let spec = object.map_mut(&["spec"]);
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    let who = call.identity;
    spec.insert("username".to_owned(), Value::from(who.user.as_str()));
    if !who.uid.is_empty() {
        spec.insert("uid".to_owned(), Value::from(who.uid.as_str()));
    }
    if !who.groups.is_empty() {
        spec.insert("groups".to_owned(), json!(who.groups));
    }
    if !who.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(who.extra));
    }
}
