//! How far a watch has come, as an object of its kind says it: one of which nothing else is said.

use arktos_core::catalog::Kind;
use arktos_core::merge::apply::blank;
use serde_json::Value;

/// A bookmark with some metadata. What a built-in kind writes even when nothing is said of it is there, as upstream
/// has it.
pub(super) fn of(kind: &Kind, mut metadata: Value) -> Value {
    const TEMPLATES: &str = "deprecated.daemonset.template.generation";
    let mut object = blank(&kind.schema).clone();
    match kind.storage_resource.as_str() {
        "daemonsets.apps" if kind.builtin => metadata["annotations"][TEMPLATES] = Value::from("0"),
        "controllerrevisions.apps" if kind.builtin => object["data"] = Value::Null,
        // Of these upstream knows only a number of replicas, and not that nobody has said one.
        "deployments.apps" | "replicasets.apps" | "statefulsets.apps" if kind.builtin => {
            object["spec"]["replicas"] = Value::from(0);
        }
        _ => {}
    }
    object["kind"] = Value::from(kind.kind.as_str());
    object["apiVersion"] = Value::from(kind.type_meta.api_version.as_str());
    object["metadata"] = metadata;
    object
}
