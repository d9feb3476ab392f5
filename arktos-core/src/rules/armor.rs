//! Profiles of AppArmor that annotations name. Today fields say the same, and a new pod says it there as well.

use serde_json::{Value, json};

use crate::object::Object;

/// What keys of such annotations begin with; the name of a container follows.
pub const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// How long the name of a profile may be, in bytes.
const NAME_MAX: usize = 4095;

/// The profile that an annotation names; none if it names none.
#[must_use]
pub fn named(text: &str) -> Option<Value> {
    match text {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => {
            let local = text.strip_prefix("localhost/")?;
            let fits = !local.is_empty() && local.trim() == local && local.len() <= NAME_MAX;
            fits.then(|| json!({"type": "Localhost", "localhostProfile": local}))
        }
    }
}

/// Says of a new pod's containers what its annotations say of them, where it is not what the whole pod has.
pub(super) fn settle(pod: &mut Object) {
    let annotations = pod.at(&["metadata", "annotations"]).and_then(Value::as_object);
    let Some(annotations) = annotations.filter(|all| all.keys().any(|key| key.starts_with(ANNOTATION))).cloned() else {
        return;
    };
    if pod.str_at(&["spec", "os", "name"]) == "windows" {
        return;
    }
    let whole = pod.at(&["spec", "securityContext", "appArmorProfile"]).cloned();
    let Some(spec) = pod.fields.get_mut("spec") else { return };
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            let text = annotations.get(&format!("{ANNOTATION}{name}")).and_then(Value::as_str);
            let Some(profile) = text.and_then(named).filter(|profile| Some(profile) != whole.as_ref()) else {
                continue;
            };
            let context = container.entry("securityContext").or_insert_with(|| json!({}));
            if let Some(context) = context.as_object_mut() {
                context.entry("appArmorProfile").or_insert(profile);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::admit_update;
    use super::super::tests::{changed, created, told};
    use super::*;

    fn pod(annotation: &str, context: &Value) -> Value {
        let key = format!("{ANNOTATION}c");
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {key: annotation}},
            "spec": {"securityContext": context, "containers": [{"name": "c", "image": "i"}]}})
    }

    #[test]
    fn a_new_pod_says_in_fields_what_its_annotations_say() {
        let profile = |annotation: &str, context: Value| {
            let pod = created(&pod(annotation, &context)).expect("a good pod").into_value();
            pod["spec"]["containers"][0]["securityContext"]["appArmorProfile"].clone()
        };
        assert_eq!(profile("unconfined", json!({})), json!({"type": "Unconfined"}));
        assert_eq!(profile("localhost/x", json!({})), json!({"type": "Localhost", "localhostProfile": "x"}));
        let same = json!({"appArmorProfile": {"type": "RuntimeDefault"}});
        assert_eq!(profile("runtime/default", same), Value::Null);
    }

    #[test]
    fn what_annotations_say_of_profiles_stays() {
        let old = created(&pod("unconfined", &json!({}))).expect("a good pod");
        let update = |key: &str, value: Value| {
            told(changed(admit_update, &old, &json!({"metadata": {"annotations": {key: value}}})))
        };
        let (key, other) = (format!("{ANNOTATION}c"), format!("{ANNOTATION}d"));
        let path = format!("metadata.annotations[{key}]");
        let removed = [format!("{path}: Forbidden: may not remove or update AppArmor annotations")];
        assert_eq!(update(&key, Value::Null), removed);
        assert_eq!(update(&key, json!("runtime/default")), removed);
        let added = update(&other, json!("unconfined"));
        assert!(added.iter().any(|told| told.ends_with("may not add AppArmor annotations")), "{added:?}");
    }

    #[test]
    fn what_a_new_pod_says_in_both_is_the_same() {
        let mut pod = pod("runtime/default", &json!({}));
        pod["spec"]["containers"][0]["securityContext"] = json!({"appArmorProfile": {"type": "Unconfined"}});
        let path = "spec.containers[0].securityContext.appArmorProfile.type";
        assert_eq!(
            told(created(&pod)),
            [format!("{path}: Forbidden: apparmor type in annotation and field must match")]
        );
    }
}
