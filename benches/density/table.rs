//! What the test found, as the rows of its table.

use crate::Shape;
use crate::harness::region::ROLES;
use crate::phase::Phase;
use crate::report::{Found, Goal, Row, figure, percentile};

/// Kubernetes' own objectives in the steady phase, in seconds: the start of a pod, and a request.
const POD_START: f64 = 5.0;
const REQUEST: f64 = 1.0;

/// The table.
pub fn found(shape: &Shape, mut fill: Phase, mut steady: Phase) -> Found {
    let wanted = shape.layout.hosts * shape.pods_per_host;
    let mut rows = vec![
        Row::of(
            format!(
                "{} hosts, {wanted} pods, {} × {}",
                shape.layout.hosts, shape.layout.partitions, shape.layout.managers
            ),
            figure(wanted as f64 / fill.took.as_secs_f64(), "pods/s"),
        ),
        Row::of("  until the last pod ran", figure(fill.took.as_secs_f64(), "s")),
    ];
    spread(&mut rows, "filling: pod start", &mut fill.starts, None);
    spread(&mut rows, "filling: a tenant's create of a Deployment", &mut fill.requests.create, None);
    spread(&mut rows, "steady: pod start", &mut steady.starts, Some(POD_START));
    spread(&mut rows, "steady: a tenant's get of a pod", &mut steady.requests.get, Some(REQUEST));
    spread(&mut rows, "steady: a tenant's delete of a pod", &mut steady.requests.delete, Some(REQUEST));
    for verb in ["get", "list", "create", "update", "patch", "delete"] {
        rows.extend(of_verb(verb, &steady));
    }
    for (phase, name) in [(&fill, "filling"), (&steady, "steady")] {
        for (role, usage) in ROLES.iter().zip(phase.usage) {
            let cores = usage.cpu / phase.samples.last().map_or(1.0, |sample| sample.at);
            rows.push(Row::of(format!("{name}: {role}, cores"), figure(cores, "")));
        }
    }
    let cpu: f64 = fill.usage.iter().map(|usage| usage.cpu).sum();
    rows.push(Row::of("filling: CPU of a pod, all roles", figure(cpu / wanted as f64 * 1e6, "µs")));
    for (role, usage) in ROLES.iter().zip(steady.usage) {
        rows.push(Row::of(format!("memory of {role}, at most"), figure(usage.peak, "B")));
    }
    for (phase, name) in [(&fill, "filling"), (&steady, "steady")] {
        let of = |result| phase.metrics.sum("arktos_claim_requests_total", result);
        let (granted, refused) = (of("result=\"granted\""), of("result=\"refused\""));
        rows.push(Row::of(format!("{name}: claims refused, of {}", granted + refused), figure(refused, "")));
    }
    let notes = vec![
        format!(
            "steady: {} of the tenants' {} requests failed; churn of {} pods/s for {} min",
            steady.requests.failed,
            steady.requests.get.len() + steady.requests.delete.len(),
            shape.churn,
            shape.minutes
        ),
        format!(
            "filling: {} of the tenants' {} requests were tried again",
            fill.requests.failed,
            fill.requests.create.len()
        ),
        "over sockets: all between tenants, gateway, partitions, resource managers and hosts; in process: each \
         partition's controllers and scheduler"
            .to_owned(),
        "pod start is from when the test's watch shows a pod to when it shows it running".to_owned(),
        "what API servers measured is rounded up to the bounds of their histograms".to_owned(),
    ];
    Found { rows, notes }
}

/// The percentiles of what was measured, in seconds; nothing where nothing was.
fn spread(rows: &mut Vec<Row>, what: &str, values: &mut [f64], goal: Option<f64>) {
    for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        if values.is_empty() {
            return;
        }
        let row = Row::of(format!("{what}, {name}"), figure(percentile(values, part) * 1e3, "ms"));
        let goal = goal.filter(|_| name == "p99").map(|goal| Goal::AtMost(goal * 1e3));
        rows.push(if let Some(goal) = goal { row.goal(goal) } else { row });
    }
}

/// What the API servers measured of a verb.
fn of_verb(verb: &str, phase: &Phase) -> Option<Row> {
    let label = format!("verb=\"{verb}\"");
    let (count, [p50, p90, p99]) =
        phase.metrics.percentiles("apiserver_request_duration_seconds", &label, [0.5, 0.9, 0.99])?;
    let what =
        format!("steady: {verb} at the API servers, {count:.0}: p50 {} ms, p90 {} ms, p99", p50 * 1e3, p90 * 1e3);
    Some(Row::of(what, figure(p99 * 1e3, "ms")).goal(Goal::AtMost(REQUEST * 1e3)))
}
