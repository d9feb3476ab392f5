//! The row of a pod.

use arktos_core::Timestamp;
use serde_json::Value;

use super::age;
use super::row::{Cells, NONE, Row, cells, text};

/// What is shown of a pod while its containers are looked at one by one.
struct State {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl State {
    fn count_restarts(&mut self, container: &Value) {
        self.restarts += number(container, "/restartCount");
        self.last_restart =
            self.last_restart.max(Timestamp::parse(text(container, "/lastState/terminated/finishedAt")));
    }
}

pub fn pod(row: &Row<'_>) -> Cells {
    let sidecars = row.list("/spec/initContainers").iter().filter(|container| is_sidecar(container)).count();
    let total = row.count("/spec/containers") + sidecars;
    let state = state(row);
    let restarts = match state.last_restart {
        Some(moment) if state.restarts != 0 => format!("{} ({} ago)", state.restarts, age::between(moment, row.now)),
        _ => state.restarts.to_string(),
    };
    cells![
        row.name(),
        format!("{}/{total}", state.ready),
        state.reason,
        restarts,
        row.age(),
        row.text_or("/status/podIPs/0/ip", NONE),
        row.text_or("/spec/nodeName", NONE),
        row.text_or("/status/nominatedNodeName", NONE),
        readiness_gates(row),
    ]
}

fn state(row: &Row<'_>) -> State {
    let phase = row.text("/status/phase");
    let mut reason = row.text_or("/status/reason", phase);
    if row.condition("PodScheduled").is_some_and(|condition| text(condition, "/reason") == "SchedulingGated") {
        reason = "SchedulingGated";
    }
    let mut state = State { reason: reason.to_owned(), ready: 0, restarts: 0, last_restart: None };
    let (initializing, of_sidecars) = initialize(row, &mut state);
    if !initializing || row.is_true("Initialized") {
        (state.restarts, state.last_restart) = (of_sidecars.restarts, of_sidecars.last_restart);
        run(row, &mut state);
    }
    if row.is_deleted() {
        if row.text("/status/reason") == "NodeLost" {
            state.reason = "Unknown".to_owned();
        } else if !["Succeeded", "Failed"].contains(&phase) {
            state.reason = "Terminating".to_owned();
        }
    }
    state
}

/// Looks at the init containers; says whether one of them is not through, and what the sidecars among them restarted.
fn initialize(row: &Row<'_>, state: &mut State) -> (bool, State) {
    let specs = row.list("/spec/initContainers");
    let mut of_sidecars = State { reason: String::new(), ready: 0, restarts: 0, last_restart: None };
    for (index, container) in row.list("/status/initContainerStatuses").iter().enumerate() {
        let spec = specs.iter().find(|spec| text(spec, "/name") == text(container, "/name"));
        let sidecar = spec.is_some_and(is_sidecar);
        state.count_restarts(container);
        if sidecar {
            of_sidecars.count_restarts(container);
        }
        let ended = container.pointer("/state/terminated").filter(|ended| !ended.is_null());
        if ended.is_some_and(|ended| number(ended, "/exitCode") == 0) {
            continue;
        }
        if sidecar && flag(container, "/started") {
            state.ready += usize::from(flag(container, "/ready"));
            continue;
        }
        let waiting = text(container, "/state/waiting/reason");
        state.reason = match ended {
            Some(ended) => format!("Init:{}", ending(ended)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", specs.len()),
        };
        return (true, of_sidecars);
    }
    (false, of_sidecars)
}

/// Looks at the containers, the last one first: what the first one says counts.
fn run(row: &Row<'_>, state: &mut State) {
    let mut any_running = false;
    for container in row.list("/status/containerStatuses").iter().rev() {
        state.count_restarts(container);
        let waiting = text(container, "/state/waiting/reason");
        let ended = container.pointer("/state/terminated").filter(|ended| !ended.is_null());
        if !waiting.is_empty() {
            state.reason = waiting.to_owned();
        } else if let Some(ended) = ended {
            state.reason = ending(ended);
        } else if flag(container, "/ready") && container.pointer("/state/running").is_some() {
            any_running = true;
            state.ready += 1;
        }
    }
    if state.reason == "Completed" && any_running {
        state.reason = if row.is_true("Ready") { "Running" } else { "NotReady" }.to_owned();
    }
}

/// Why a container has ended.
fn ending(ended: &Value) -> String {
    match (text(ended, "/reason"), number(ended, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(ended, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn readiness_gates(row: &Row<'_>) -> String {
    let gates = row.list("/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| row.is_true(text(gate, "/conditionType"))).count();
    format!("{open}/{}", gates.len())
}

/// What a row says of a pod that has ended.
pub fn write_conditions(row: &Row<'_>, out: &mut Vec<u8>) {
    let condition = match row.text("/status/phase") {
        "Succeeded" => r#""reason":"Succeeded","message":"The pod has completed successfully.""#,
        "Failed" => r#""reason":"Failed","message":"The pod failed.""#,
        _ => return,
    };
    out.extend_from_slice(format!(r#","conditions":[{{"type":"Completed","status":"True",{condition}}}]"#).as_bytes());
}

/// Whether an init container goes on running beside the others.
fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn number(value: &Value, path: &str) -> i64 {
    value.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

fn flag(value: &Value, path: &str) -> bool {
    value.pointer(path).and_then(Value::as_bool).unwrap_or(false)
}
