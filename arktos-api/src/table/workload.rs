//! The rows of workloads and of what scales and protects them.

use arktos_core::Timestamp;
use serde_json::Value;

use super::age;
use super::row::{Cells, NONE, Row, UNSET, cells, first_of, labels, plain, selector, selector_text, text};

pub fn pod_template(row: &Row<'_>) -> Cells {
    let (names, images) = row.containers("/template/spec");
    cells![row.name(), names, images, labels(row.map("/template/metadata/labels"))]
}

/// Of a ReplicaSet or a ReplicationController, whose selector is a plain map.
pub fn replica_set(row: &Row<'_>) -> Cells {
    let (names, images) = row.containers("/spec/template/spec");
    let chosen = match row.map("/spec/selector") {
        Some(map) if map.values().all(Value::is_string) => labels(Some(map)),
        _ => selector(row.at("/spec/selector")),
    };
    cells![
        row.name(),
        row.int("/spec/replicas"),
        row.int("/status/replicas"),
        row.int("/status/readyReplicas"),
        row.age(),
        names,
        images,
        chosen,
    ]
}

pub fn deployment(row: &Row<'_>) -> Cells {
    let (names, images) = row.containers("/spec/template/spec");
    cells![
        row.name(),
        format!("{}/{}", row.int("/status/readyReplicas"), row.int("/spec/replicas")),
        row.int("/status/updatedReplicas"),
        row.int("/status/availableReplicas"),
        row.age(),
        names,
        images,
        selector_text(row.at("/spec/selector")),
    ]
}

pub fn scale(row: &Row<'_>) -> Cells {
    cells![row.name(), row.int("/spec/replicas"), row.int("/status/replicas"), row.age()]
}

pub fn stateful_set(row: &Row<'_>) -> Cells {
    let (names, images) = row.containers("/spec/template/spec");
    let ready = format!("{}/{}", row.int("/status/readyReplicas"), row.int("/spec/replicas"));
    cells![row.name(), ready, row.age(), names, images]
}

pub fn daemon_set(row: &Row<'_>) -> Cells {
    let (names, images) = row.containers("/spec/template/spec");
    cells![
        row.name(),
        row.int("/status/desiredNumberScheduled"),
        row.int("/status/currentNumberScheduled"),
        row.int("/status/numberReady"),
        row.int("/status/updatedNumberScheduled"),
        row.int("/status/numberAvailable"),
        labels(row.map("/spec/template/spec/nodeSelector")),
        row.age(),
        names,
        images,
        selector(row.at("/spec/selector")),
    ]
}

pub fn controller_revision(row: &Row<'_>) -> Cells {
    let owners = row.list("/metadata/ownerReferences");
    let controller = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    let controller = controller.map_or_else(
        || NONE.to_owned(),
        |owner| {
            let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", text(owner, "/kind").to_lowercase(), text(owner, "/name"))
        },
    );
    cells![row.name(), controller, row.int("/revision"), row.age()]
}

pub fn job(row: &Row<'_>) -> Cells {
    let (names, images) = row.containers("/spec/template/spec");
    let succeeded = row.int("/status/succeeded");
    let completions = match (row.at("/spec/completions"), row.int("/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    };
    let duration = Timestamp::parse(row.text("/status/startTime")).map_or_else(String::new, |start| {
        age::between(start, Timestamp::parse(row.text("/status/completionTime")).unwrap_or(row.now))
    });
    cells![
        row.name(),
        job_status(row),
        completions,
        duration,
        row.age(),
        names,
        images,
        selector(row.at("/spec/selector"))
    ]
}

fn job_status(row: &Row<'_>) -> &'static str {
    let told = |conditions: &[(&str, &'static str)]| {
        conditions.iter().find(|(condition, _)| row.is_true(condition)).map(|(_, word)| *word)
    };
    told(&[("Complete", "Complete"), ("Failed", "Failed")])
        .or_else(|| row.is_deleted().then_some("Terminating"))
        .or_else(|| told(&[("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")]))
        .unwrap_or("Running")
}

pub fn cron_job(row: &Row<'_>) -> Cells {
    let (names, images) = row.containers("/spec/jobTemplate/spec/template/spec");
    let suspend = match row.at("/spec/suspend") {
        Some(Value::Bool(true)) => "True",
        Some(_) => "False",
        None => UNSET,
    };
    let last = if row.at("/status/lastScheduleTime").is_some() {
        row.since("/status/lastScheduleTime")
    } else {
        NONE.to_owned()
    };
    cells![
        row.name(),
        row.text("/spec/schedule"),
        row.text_or("/spec/timeZone", NONE),
        suspend,
        row.count("/status/active"),
        last,
        row.age(),
        names,
        images,
        selector(row.at("/spec/jobTemplate/spec/selector")),
    ]
}

pub fn disruption_budget(row: &Row<'_>) -> Cells {
    let limit = |path: &str| row.at(path).map_or_else(|| "N/A".to_owned(), plain);
    cells![
        row.name(),
        limit("/spec/minAvailable"),
        limit("/spec/maxUnavailable"),
        row.int("/status/disruptionsAllowed"),
        row.age(),
    ]
}

pub fn autoscaler(row: &Row<'_>) -> Cells {
    let target = "/spec/scaleTargetRef";
    let reference = format!("{}/{}", row.text(&format!("{target}/kind")), row.text(&format!("{target}/name")));
    cells![
        row.name(),
        reference,
        metrics(row.list("/spec/metrics"), row.list("/status/currentMetrics")),
        row.at("/spec/minReplicas").map_or_else(|| UNSET.to_owned(), plain),
        row.int("/spec/maxReplicas"),
        row.int("/status/currentReplicas"),
        row.age(),
    ]
}

fn metrics(wanted: &[Value], current: &[Value]) -> String {
    if wanted.is_empty() {
        return NONE.to_owned();
    }
    let nothing = Value::Null;
    let metric = |(index, metric): (usize, &Value)| one_metric(metric, current.get(index).unwrap_or(&nothing));
    first_of(&wanted.iter().enumerate().map(metric).collect::<Vec<_>>(), 2, ", ")
}

/// `current/target` of one metric.
fn one_metric(wanted: &Value, current: &Value) -> String {
    let source = match text(wanted, "/type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let target = |field: &str| wanted.pointer(&format!("/{source}/target/{field}"));
    let now = |field: &str, unit: &str| {
        let value = current.pointer(&format!("/{source}/current/{field}"));
        value.map_or_else(|| "<unknown>".to_owned(), |value| plain(value) + unit)
    };
    let average = target("averageValue").map(|average| format!("{}/{}", now("averageValue", ""), plain(average)));
    if source == "pods" {
        return average.unwrap_or_default();
    }
    if source == "external" || source == "object" {
        let value = || format!("{}/{}", now("value", ""), target("value").map_or_else(String::new, plain));
        return average.map_or_else(value, |average| format!("{average} (avg)"));
    }
    let name = text(wanted, &format!("/{source}/name"));
    let share = || {
        let target = target("averageUtilization").map_or_else(|| "<auto>".to_owned(), |share| format!("{share}%"));
        format!("{}/{target}", now("averageUtilization", "%"))
    };
    format!("{name}: {}", average.unwrap_or_else(share))
}
