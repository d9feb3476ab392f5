//! What a node agent writes into a pod's status, in the words of the real one.

use std::net::Ipv4Addr;

use arktos_core::{Object, Timestamp};
use serde_json::{Value, json};

/// Whether one of the pod's images cannot be pulled: its tag is `404`.
pub fn is_unpullable(pod: &Object) -> bool {
    containers(pod, "containers").iter().any(unpullable_image)
}

/// The pod runs and is ready.
pub fn running(pod: &Object, host: Ipv4Addr, address: Ipv4Addr, now: Timestamp) -> Value {
    let state = json!({"running": {"startedAt": now.to_string()}});
    let statuses = container_statuses(pod, "containers", true, |_| state.clone());
    let done = json!({"terminated": {
        "exitCode": 0, "reason": "Completed", "startedAt": now.to_string(), "finishedAt": now.to_string(),
    }});
    let mut status = json!({
        "phase": "Running", "hostIP": host.to_string(), "hostIPs": [{"ip": host.to_string()}],
        "podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}],
        "startTime": now.to_string(), "conditions": conditions(true, now, None), "containerStatuses": statuses,
    });
    if !containers(pod, "initContainers").is_empty() {
        status["initContainerStatuses"] = container_statuses(pod, "initContainers", true, |_| done.clone());
    }
    json!({ "status": status })
}

/// The pod has ended: well, or as its annotation says.
pub fn finished(pod: &Object, now: Timestamp) -> Value {
    let told = pod.str_at(&["metadata", "annotations", "hollow.arktos.io/exit-code"]);
    let code: i64 = told.parse().unwrap_or(0);
    let (phase, reason) = if code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
    let started = pod.str_at(&["status", "startTime"]);
    let started = if started.is_empty() { now.to_string() } else { started.to_owned() };
    let state = json!({"terminated": {
        "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now.to_string(),
    }});
    json!({"status": {
        "phase": phase,
        "conditions": conditions(false, now, Some(if code == 0 { "PodCompleted" } else { "PodFailed" })),
        "containerStatuses": container_statuses(pod, "containers", false, |_| state.clone()),
    }})
}

/// The pod waits for an image that cannot be pulled.
pub fn unpullable(pod: &Object, host: Ipv4Addr) -> Value {
    let state = |container: &Value| {
        let reason = if unpullable_image(container) { "ImagePullBackOff" } else { "ContainerCreating" };
        json!({"waiting": {"reason": reason}})
    };
    json!({"status": {
        "phase": "Pending", "hostIP": host.to_string(), "hostIPs": [{"ip": host.to_string()}],
        "containerStatuses": container_statuses(pod, "containers", false, state),
    }})
}

fn unpullable_image(container: &Value) -> bool {
    container["image"].as_str().is_some_and(|image| image.ends_with(":404"))
}

fn containers<'a>(pod: &'a Object, field: &str) -> &'a [Value] {
    pod.at(&["spec", field]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn container_statuses(pod: &Object, field: &str, ready: bool, state: impl Fn(&Value) -> Value) -> Value {
    let status = |container: &Value| {
        let (name, image) = (&container["name"], &container["image"]);
        let state = state(container);
        let running = state.get("running").is_some();
        let mut status = json!({
            "name": name, "image": image, "imageID": "", "restartCount": 0, "ready": ready, "started": running,
            "state": state,
        });
        if ready || status["state"].get("terminated").is_some() {
            let identity = format!("hollow://{}/{}", pod.uid(), name.as_str().unwrap_or_default());
            status["containerID"] = Value::from(identity);
            status["imageID"] = Value::from(format!("hollow://{}", image.as_str().unwrap_or_default()));
        }
        status
    };
    containers(pod, field).iter().map(status).collect()
}

fn conditions(ready: bool, now: Timestamp, reason: Option<&str>) -> Value {
    let condition = |kind: &str, holds: bool| {
        let mut condition = json!({
            "type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now.to_string(),
        });
        if let Some(reason) = reason {
            condition["reason"] = Value::from(reason);
        }
        condition
    };
    json!([
        condition("PodReadyToStartContainers", ready),
        condition("Initialized", true),
        condition("Ready", ready),
        condition("ContainersReady", ready),
    ])
}
