//! Fields of pods that the server sets, and that later writes cannot change.

use arktos_core::Object;
use serde_json::{Value, json};

/// How long a pod stays on a host that is not ready or not reachable, in seconds.
const TOLERATION_SECONDS: i64 = 300;

/// A pod stays on a host that is not ready for a while. (DefaultTolerationSeconds)
pub(super) fn default_tolerations(pod: &mut Object) {
    let tolerations = pod.map_mut(&["spec"]).entry("tolerations").or_insert_with(|| json!([]));
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    let Some(tolerations) = tolerations.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let text = |toleration: &Value, field: &str| toleration[field].as_str().unwrap_or("").to_owned();
        let covers = |toleration: &Value| {
            let own = text(toleration, "key");
            let effect = text(toleration, "effect");
            (own == key || own.is_empty()) && (effect.is_empty() || effect == "NoExecute")
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
}
