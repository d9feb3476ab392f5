//! Fields whose features are switched off, as they are by default: they are taken away as an object is written.

use serde_json::{Map, Value};

use crate::catalog::Kind;
use crate::object::Object;

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
const UNAVAILABLE: [&str; 4] = ["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"];

/// Where a kind has a pod's spec; absent where it has none.
fn place(kind: &Kind) -> Option<&'static [&'static str]> {
    if !kind.builtin {
        return None;
    }
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => &["spec"],
        ("", "PodTemplate") => &["template", "spec"],
        ("", "ReplicationController") | ("apps", _) | ("batch", "Job") => &["spec", "template", "spec"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return None,
    })
}

/// Whether a stored object says something of features that are switched off: it may keep it, as upstream has it.
pub(super) fn is_in_use(kind: &Kind, object: &Object) -> bool {
    let Some(spec) = place(kind).and_then(|at| object.at(at)) else { return false };
    let list = |of: &Value, name: &str| of[name].as_array().cloned().unwrap_or_default();
    let stops = |container: &Value| !container["lifecycle"]["stopSignal"].is_null();
    let trusts = |source: &Value| source.get("clusterTrustBundle").or(source.get("podCertificate")).is_some();
    !spec["schedulingGroup"].is_null()
        || CONTAINERS.iter().any(|name| list(spec, name).iter().any(stops))
        || list(spec, "volumes").iter().any(|volume| list(&volume["projected"], "sources").iter().any(trusts))
        || kind.kind == "StatefulSet" && object.at(&UNAVAILABLE).is_some()
}

/// Takes away what a client says of features that are switched off.
pub(super) fn drop_fields(kind: &Kind, object: &mut Object) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("resource.k8s.io", "ResourceSlice") => drop_of_devices(object),
        ("storage.k8s.io", "CSIDriver") => {
            object.remove(&["spec", "preventPodSchedulingIfMissing"]);
        }
        _ => {}
    }
    let Some(at) = place(kind) else { return };
    if kind.kind == "StatefulSet" {
        object.remove(&UNAVAILABLE);
    }
    let Some((first, rest)) = at.split_first() else { return };
    let mut spec = object.fields.get_mut(*first);
    for field in rest {
        spec = spec.and_then(|value| value.get_mut(*field));
    }
    if let Some(spec) = spec {
        drop_of_pod(spec);
    }
}

/// Attributes of devices are single values.
fn drop_of_devices(slice: &mut Object) {
    let Some(spec) = slice.fields.get_mut("spec") else { return };
    for device in items(spec, "devices") {
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
        for attribute in attributes.into_iter().flat_map(Map::values_mut) {
            ["bools", "ints", "strings", "versions"].iter().for_each(|field| remove(attribute, field));
        }
    }
}

fn drop_of_pod(spec: &mut Value) {
    remove(spec, "schedulingGroup");
    for list in CONTAINERS {
        for container in items(spec, list) {
            let Some(lifecycle) = container.get_mut("lifecycle") else { continue };
            if lifecycle.get("stopSignal").is_some() {
                remove(lifecycle, "stopSignal");
                if lifecycle.as_object().is_some_and(Map::is_empty) {
                    remove(container, "lifecycle");
                }
            }
        }
    }
    for volume in items(spec, "volumes") {
        let Some(projected) = volume.get_mut("projected") else { continue };
        for source in items(projected, "sources") {
            remove(source, "clusterTrustBundle");
            remove(source, "podCertificate");
        }
    }
}

fn items<'a>(of: &'a mut Value, list: &str) -> &'a mut [Value] {
    of.get_mut(list).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

fn remove(of: &mut Value, field: &str) {
    if let Some(map) = of.as_object_mut() {
        map.remove(field);
    }
}
