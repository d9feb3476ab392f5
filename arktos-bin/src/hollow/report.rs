//! What a node agent writes into a pod's status, in the words of the real one.

use std::net::Ipv4Addr;

use arktos_core::{Object, Timestamp};
use serde_json::{Value, json};

/// Whether one of the pod's images cannot be pulled: its tag is `404`.
pub fn is_unpullable(pod: &Object) -> bool {
    containers(pod, "containers").iter().any(unpullable_image)
}

/// The generation of a pod; zero where it has none.
pub fn generation(pod: &Object) -> i64 {
    pod.int_at(&["metadata", "generation"]).unwrap_or(0)
}

/// A status, of the generation of the pod that it is of.
fn of_generation(pod: &Object, mut status: Value) -> Value {
    if generation(pod) > 0 {
        status["observedGeneration"] = Value::from(generation(pod));
    }
    json!({ "status": status })
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
        "startTime": now.to_string(), "conditions": conditions(pod, true, now, None), "containerStatuses": statuses,
    });
    if !containers(pod, "initContainers").is_empty() {
        status["initContainerStatuses"] = container_statuses(pod, "initContainers", true, |_| done.clone());
    }
    if !containers(pod, "ephemeralContainers").is_empty() {
        status["ephemeralContainerStatuses"] = container_statuses(pod, "ephemeralContainers", false, |_| state.clone());
    }
    of_generation(pod, status)
}

/// The pod runs on, as it was changed meanwhile: containers of another image were started anew, others run with what
/// they are given now, and those that came to it run.
pub fn followed(pod: &Object, now: Timestamp) -> Value {
    let of = |condition: &Value| match gates_are_open(pod) {
        Some(open) if condition["type"] == "Ready" && open != is_ready(pod) => ready(pod, open, now),
        _ => json!({"type": condition["type"], "observedGeneration": generation(pod)}),
    };
    let mut status = json!({
        "conditions": reported_conditions(pod).iter().map(of).collect::<Vec<_>>(),
        "containerStatuses": kept_statuses(pod, "containers", "containerStatuses", true, now),
    });
    if !containers(pod, "ephemeralContainers").is_empty() {
        let statuses = kept_statuses(pod, "ephemeralContainers", "ephemeralContainerStatuses", false, now);
        status["ephemeralContainerStatuses"] = statuses;
    }
    of_generation(pod, status)
}

/// What the pod's status says of it in conditions.
fn reported_conditions(pod: &Object) -> &[Value] {
    pod.at(&["status", "conditions"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a condition of a pod is there and true.
fn holds(pod: &Object, kind: &str) -> bool {
    reported_conditions(pod).iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Whether the pod was reported ready.
pub fn is_ready(pod: &Object) -> bool {
    holds(pod, "Ready")
}

/// Whether all conditions are true that a pod waits for before it is ready; absent where it waits for none.
pub fn gates_are_open(pod: &Object) -> Option<bool> {
    let gates = pod.at(&["spec", "readinessGates"]).and_then(Value::as_array).filter(|gates| !gates.is_empty())?;
    Some(gates.iter().all(|gate| holds(pod, gate["conditionType"].as_str().unwrap_or_default())))
}

/// Whether a pod is ready whose containers are, and whose gates are open or not.
fn ready(pod: &Object, open: bool, now: Timestamp) -> Value {
    let status = if open { "True" } else { "False" };
    let mut ready = json!({"type": "Ready", "status": status, "lastTransitionTime": now.to_string()});
    ready["reason"] = if open { Value::Null } else { Value::from("ReadinessGatesNotReady") };
    if generation(pod) > 0 {
        ready["observedGeneration"] = Value::from(generation(pod));
    }
    ready
}

/// What is said of containers that run: of those that ran before with the same image, since when they did.
fn kept_statuses(pod: &Object, field: &str, reported: &str, ready: bool, now: Timestamp) -> Value {
    let state = json!({"running": {"startedAt": now.to_string()}});
    let mut statuses = container_statuses(pod, field, ready, |_| state.clone());
    for status in statuses.as_array_mut().into_iter().flatten() {
        let mut known = pod.at(&["status", reported]).and_then(Value::as_array).into_iter().flatten();
        let Some(before) = known.find(|before| before["name"] == status["name"]) else { continue };
        let restarts = before["restartCount"].as_i64().unwrap_or(0);
        let runs_on = before["image"] == status["image"] && before["state"]["running"].is_object();
        status["restartCount"] = Value::from(if runs_on { restarts } else { restarts + 1 });
        if runs_on {
            status["state"] = before["state"].clone();
        }
    }
    statuses
}

/// The pod has ended: well, or as its annotation says.
pub fn finished(pod: &Object, now: Timestamp) -> Value {
    let told = pod.str_at(&["metadata", "annotations", "hollow.arktos.io/exit-code"]);
    let code: i64 = told.parse().unwrap_or(0);
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let mut status = ended(pod, code, now);
    status["phase"] = Value::from(phase);
    of_generation(pod, status)
}

/// The pod was stopped because it was there for longer than it may be.
pub fn overdue(pod: &Object, now: Timestamp) -> Value {
    const STOPPED: i64 = 137;
    let mut status = ended(pod, STOPPED, now);
    status["phase"] = Value::from("Failed");
    status["reason"] = Value::from("DeadlineExceeded");
    status["message"] = Value::from("Pod was active on the node longer than the specified deadline");
    of_generation(pod, status)
}

fn ended(pod: &Object, code: i64, now: Timestamp) -> Value {
    let (reason, why) = if code == 0 { ("Completed", "PodCompleted") } else { ("Error", "PodFailed") };
    let started = pod.str_at(&["status", "startTime"]);
    let started = if started.is_empty() { now.to_string() } else { started.to_owned() };
    let state = json!({"terminated": {
        "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now.to_string(),
    }});
    json!({
        "conditions": conditions(pod, false, now, Some(why)),
        "containerStatuses": container_statuses(pod, "containers", false, |_| state.clone()),
    })
}

/// The pod waits for an image that cannot be pulled.
pub fn unpullable(pod: &Object, host: Ipv4Addr, now: Timestamp) -> Value {
    let state = |container: &Value| {
        let reason = if unpullable_image(container) { "ImagePullBackOff" } else { "ContainerCreating" };
        json!({"waiting": {"reason": reason}})
    };
    let started = pod.str_at(&["status", "startTime"]);
    let started = if started.is_empty() { now.to_string() } else { started.to_owned() };
    let status = json!({
        "phase": "Pending", "hostIP": host.to_string(), "hostIPs": [{"ip": host.to_string()}], "startTime": started,
        "containerStatuses": container_statuses(pod, "containers", false, state),
    });
    of_generation(pod, status)
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
        if running || status["state"].get("terminated").is_some() {
            let identity = format!("hollow://{}/{}", pod.uid(), name.as_str().unwrap_or_default());
            status["containerID"] = Value::from(identity);
            status["imageID"] = Value::from(format!("hollow://{}", image.as_str().unwrap_or_default()));
        }
        if running {
            // Also where there are none: only what is known to have some can be given others.
            let resources = container["resources"].as_object().cloned().unwrap_or_default();
            if let Some(requests) = resources.get("requests") {
                status["allocatedResources"] = requests.clone();
            }
            status["resources"] = Value::from(resources);
        }
        status
    };
    containers(pod, field).iter().map(status).collect()
}

fn conditions(pod: &Object, ready: bool, now: Timestamp, reason: Option<&str>) -> Value {
    let condition = |kind: &str, holds: bool| {
        let mut condition = json!({
            "type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now.to_string(),
        });
        if let Some(reason) = reason {
            condition["reason"] = Value::from(reason);
        }
        if generation(pod) > 0 {
            condition["observedGeneration"] = Value::from(generation(pod));
        }
        condition
    };
    let mut conditions = vec![
        condition("PodReadyToStartContainers", ready),
        condition("Initialized", true),
        match gates_are_open(pod) {
            Some(false) if ready => self::ready(pod, false, now),
            _ => condition("Ready", ready),
        },
        condition("ContainersReady", ready),
    ];
    let known = pod.at(&["status", "conditions"]).and_then(Value::as_array);
    if generation(pod) > 0 && known.is_some_and(|known| known.iter().any(|of| of["type"] == "PodScheduled")) {
        conditions.push(json!({"type": "PodScheduled", "observedGeneration": generation(pod)}));
    }
    Value::from(conditions)
}
