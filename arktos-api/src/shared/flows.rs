//! The priority levels and flow schemas that every tenant sees, as upstream has them from the start. They say nothing
//! here: tenants take turns as the server's configuration says.

use arktos_core::Timestamp;
use serde_json::{Value, json};

/// The priority levels that every tenant has.
pub(super) fn priority_levels() -> Vec<(&'static str, Value)> {
    let limited = |shares: i64, lendable: i64, queues: i64, hand: i64| {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
        json!({
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": shares,
                "limitResponse": {"type": "Queue", "queuing": queuing},
                "lendablePercent": lendable,
            },
        })
    };
    let reject = json!({
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0},
    });
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    vec![
        ("catch-all", reject),
        ("exempt", exempt),
        ("global-default", limited(20, 50, 128, 6)),
        ("leader-election", limited(10, 0, 16, 4)),
        ("node-high", limited(40, 25, 64, 6)),
        ("system", limited(30, 33, 64, 6)),
        ("workload-high", limited(40, 50, 128, 6)),
        ("workload-low", limited(100, 90, 128, 6)),
    ]
}

/// The flow schemas, in the order in which they are asked.
pub(super) fn flow_schemas() -> Vec<(&'static str, Value)> {
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let user = |name: &str| json!({"kind": "User", "user": {"name": name}});
    let account =
        |name: &str| json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}});
    let resources = |verbs: &[&str], groups: &[&str], resources: &[&str], outside: bool| {
        let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "namespaces": ["*"]});
        if outside {
            rule["clusterScope"] = json!(true);
        }
        rule
    };
    let only = |subjects: Vec<Value>, rules: Vec<Value>| json!([{"subjects": subjects, "resourceRules": rules}]);
    let all = |subjects: Vec<Value>| {
        json!([{
            "subjects": subjects,
            "resourceRules": [resources(&["*"], &["*"], &["*"], true)],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }])
    };
    let schema = |level: &str, precedence: i64, by: &str, rules: Value| {
        let mut spec = json!({
            "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": rules,
        });
        if !by.is_empty() {
            spec["distinguisherMethod"] = json!({"type": by});
        }
        spec
    };
    let everybody = || vec![group("system:unauthenticated"), group("system:authenticated")];
    let (manager, scheduler) = ("system:kube-controller-manager", "system:kube-scheduler");
    let takes = ["get", "create", "update"];
    let leases = || resources(&takes, &["coordination.k8s.io"], &["leases"], false);
    let probes = json!([{
        "subjects": everybody(),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    }]);
    let endpoints = only(
        vec![user(manager), account("endpoint-controller"), account("endpointslicemirroring-controller")],
        vec![resources(&takes, &[""], &["endpoints"], false)],
    );
    let locks = vec![resources(&takes, &[""], &["endpoints", "configmaps"], false), leases()];
    let heartbeats = vec![
        resources(&["*"], &[""], &["nodes", "nodes/status"], true),
        resources(&["*"], &["coordination.k8s.io"], &["leases"], false),
    ];
    let (by_user, by_namespace) = ("ByUser", "ByNamespace");
    let leaders = only(vec![user(manager), user(scheduler), account("*")], vec![leases()]);
    vec![
        ("exempt", schema("exempt", 1, "", all(vec![group("system:masters")]))),
        ("probes", schema("exempt", 2, "", probes)),
        ("system-leader-election", schema("leader-election", 100, by_user, leaders)),
        ("endpoint-controller", schema("workload-high", 150, by_user, endpoints)),
        ("workload-leader-election", schema("leader-election", 200, by_user, only(vec![account("*")], locks))),
        ("system-node-high", schema("node-high", 400, by_user, only(vec![group("system:nodes")], heartbeats))),
        ("system-nodes", schema("system", 500, by_user, all(vec![group("system:nodes")]))),
        ("kube-controller-manager", schema("workload-high", 800, by_namespace, all(vec![user(manager)]))),
        ("kube-scheduler", schema("workload-high", 800, by_namespace, all(vec![user(scheduler)]))),
        ("kube-system-service-accounts", schema("workload-high", 900, by_namespace, all(vec![account("*")]))),
        ("service-accounts", schema("workload-low", 9000, by_user, all(vec![group("system:serviceaccounts")]))),
        ("global-default", schema("global-default", 9900, by_user, all(everybody()))),
        ("catch-all", schema("catch-all", 10_000, by_user, all(everybody()))),
    ]
}

/// What is said of a flow schema whose level is there.
pub(super) fn found(spec: &Value, since: Timestamp) -> Value {
    let level = spec["priorityLevelConfiguration"]["name"].as_str().unwrap_or("");
    json!({"conditions": [{
        "type": "Dangling", "status": "False", "lastTransitionTime": since.to_string(), "reason": "Found",
        "message": format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"
        ),
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_has_a_level_and_they_are_in_order() {
        let levels: Vec<&str> = priority_levels().into_iter().map(|(name, _)| name).collect();
        let mut last = 0;
        for (name, spec) in flow_schemas() {
            let level = spec["priorityLevelConfiguration"]["name"].as_str().unwrap_or("");
            assert!(levels.contains(&level), "{name}: {level}");
            let precedence = spec["matchingPrecedence"].as_i64().unwrap_or(0);
            assert!(precedence >= last, "{name}");
            last = precedence;
        }
    }
}
