//! Fields whose features are switched off, as they are by default: they are taken away as an object is written.

use serde_json::{Map, Value};

use crate::catalog::Kind;
use crate::object::Object;

/// Takes away what a client says of features that are switched off.
pub(super) fn drop_fields(kind: &Kind, object: &mut Object) {
    if !kind.builtin {
        return;
    }
    let at: &[&str] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => &["spec"],
        ("", "PodTemplate") => &["template", "spec"],
        ("", "ReplicationController") | ("apps", _) | ("batch", "Job") => &["spec", "template", "spec"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return,
    };
    if kind.kind == "StatefulSet" {
        object.remove(&["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"]);
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

fn drop_of_pod(spec: &mut Value) {
    remove(spec, "schedulingGroup");
    for list in ["containers", "initContainers", "ephemeralContainers"] {
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
