//! The rows of configuration, identities, nodes, events and classes.

use std::collections::BTreeSet;

use super::row::{Cells, NONE, Row, cells, plain, text};

/// Of a kind that shows nothing but its age.
pub fn with_age(row: &Row<'_>) -> Cells {
    cells![row.name(), row.age()]
}

/// Of a namespace or a tenant.
pub fn with_phase(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/status/phase"), row.age()]
}

pub fn tenant_of_arktos(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/spec/storageClusterId"), row.text("/status/phase"), row.age()]
}

pub fn config_map(row: &Row<'_>) -> Cells {
    cells![row.name(), row.count("/data") + row.count("/binaryData"), row.age()]
}

pub fn secret(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/type"), row.count("/data"), row.age()]
}

pub fn lease(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/spec/holderIdentity"), row.age()]
}

pub fn priority_class(row: &Row<'_>) -> Cells {
    cells![row.name(), row.int("/value"), row.bool("/globalDefault"), row.age(), row.text("/preemptionPolicy")]
}

pub fn runtime_class(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/handler"), row.age()]
}

pub fn component_status(row: &Row<'_>) -> Cells {
    let healthy = row.list("/conditions").iter().find(|condition| text(condition, "/type") == "Healthy");
    let (status, message, error) = match healthy {
        Some(condition) => {
            let word = if text(condition, "/status") == "True" { "Healthy" } else { "Unhealthy" };
            (word, text(condition, "/message"), text(condition, "/error"))
        }
        None => ("Unknown", "", ""),
    };
    cells![row.name(), status, message, error]
}

pub fn event(row: &Row<'_>) -> Cells {
    let moment = |path: &str| row.at(path).map(|_| row.since(path));
    let unknown = || "<unknown>".to_owned();
    let first = moment("/firstTimestamp").or_else(|| moment("/eventTime")).unwrap_or_else(unknown);
    let last = moment("/series/lastObservedTime").or_else(|| moment("/lastTimestamp")).unwrap_or_else(|| first.clone());
    let count = if row.at("/series").is_some() { row.int("/series/count") } else { row.int("/count").max(1) };
    let kind = row.text("/involvedObject/kind").to_lowercase();
    let object = match row.text("/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let component = row.text_or("/source/component", row.text("/reportingComponent"));
    let source = match row.text_or("/source/host", row.text("/reportingInstance")) {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    };
    cells![
        last,
        row.text("/type"),
        row.text("/reason"),
        object,
        row.text("/involvedObject/fieldPath"),
        source,
        row.text("/message").trim(),
        first,
        count,
        row.name(),
    ]
}

pub fn node(row: &Row<'_>) -> Cells {
    // Of several conditions of one type, the last one counts.
    let ready = row.list("/status/conditions").iter().rev().find(|condition| text(condition, "/type") == "Ready");
    let mut status = match ready {
        Some(ready) if text(ready, "/status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if row.bool("/spec/unschedulable") {
        status += ",SchedulingDisabled";
    }
    let address = |kind: &str| {
        let found = row.list("/status/addresses").iter().find(|address| text(address, "/type") == kind);
        found.map_or(NONE, |address| text(address, "/address"))
    };
    let info = |field: &str| row.text_or(&format!("/status/nodeInfo/{field}"), "<unknown>").to_owned();
    let kernel = match row.text("/status/nodeInfo/architecture") {
        "" => info("kernelVersion"),
        machine => format!("{} ({machine})", info("kernelVersion")),
    };
    cells![
        row.name(),
        status,
        roles(row),
        row.age(),
        row.text("/status/nodeInfo/kubeletVersion"),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        kernel,
        info("containerRuntimeVersion"),
    ]
}

fn roles(row: &Row<'_>) -> String {
    let labels = row.map("/metadata/labels").into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { NONE.to_owned() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

pub fn resource_quota(row: &Row<'_>) -> Cells {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let used = row.map("/status/used");
    let hard: std::collections::BTreeMap<_, _> = row.map("/status/hard").into_iter().flatten().collect();
    for (resource, limit) in hard {
        let used = used.and_then(|used| used.get(resource)).map_or_else(|| "0".to_owned(), plain);
        let column = if resource.starts_with("limits.") { &mut limits } else { &mut requests };
        column.push(format!("{resource}: {used}/{}", plain(limit)));
    }
    cells![row.name(), requests.join(", "), limits.join(", "), row.age()]
}

pub fn resource_claim(row: &Row<'_>) -> Cells {
    let mut state = Vec::new();
    if row.is_deleted() {
        state.push("deleted");
    }
    if row.at("/status/allocation").is_some() {
        state.push("allocated");
    } else if !row.is_deleted() {
        state.push("pending");
    }
    if row.count("/status/reservedFor") > 0 {
        state.push("reserved");
    }
    cells![row.name(), state.join(","), row.age()]
}

pub fn resource_slice(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/spec/nodeName"), row.text("/spec/driver"), row.text("/spec/pool/name"), row.age()]
}
