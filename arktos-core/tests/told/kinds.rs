//! The other kinds, and patches.

use arktos_core::rules::refuse_as_sent;
use arktos_core::{media, merge, schema};
use serde_json::{Value, json};

use crate::{created, read, said, told, with_status};

#[test]
fn a_window_of_a_scaler_begins_at_zero() {
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 2,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": -1}}}});
    let at = "spec.behavior.scaleDown.stabilizationWindowSeconds";
    assert_eq!(said(&scaler), [format!("{at}: Invalid value: -1: must be greater than or equal to zero")]);
}

#[test]
fn what_a_quotas_status_says_is_checked_as_what_it_limits() {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "1"}}});
    let old = created(&quota).expect("a good quota");
    let said = |status: Value| told(with_status(&old, &status));
    assert_eq!(
        said(json!({"used": {"pods": "-1", "zz": "1"}})),
        [
            "status.used[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
            "status.used[zz]: Invalid value: \"zz\": must be a standard resource type or fully qualified",
            "status.used[zz]: Invalid value: \"zz\": must be a standard resource for quota",
        ]
    );
    assert_eq!(said(json!({"hard": {"pods": "1500m"}})).len(), 1);
    assert!(said(json!({"hard": {"pods": "2"}, "used": {"count/a.b": "1"}})).is_empty());
}

#[test]
fn what_is_not_shared_is_asked_for_as_it_is_limited() {
    let range = |name: &str, asked: &str| {
        said(&json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [
            {"type": "Container", "default": {name: "2Mi"}, "defaultRequest": {name: asked}}]}}))
    };
    let why = "default value 2Mi must equal to defaultRequest value 1Mi in hugepages-2Mi";
    assert_eq!(
        range("hugepages-2Mi", "1Mi"),
        [format!("spec.limits[0].defaultRequest[hugepages-2Mi]: Invalid value: \"1Mi\": {why}")]
    );
    assert!(range("hugepages-2Mi", "2Mi").is_empty());
    assert!(range("memory", "1Mi").is_empty());
    assert_eq!(range("example.com/gpu", "1Mi").len(), 1);
}

#[test]
fn directives_that_nobody_knows_or_that_have_no_place() {
    let spec = schema::builtin("io.k8s.api.core.v1.PodSpec").expect("a built-in type");
    let patched = |patch: Value| {
        let mut document = json!({"containers": [{"name": "e"}]});
        merge::strategic(&spec, &mut document, patch).map(|()| document)
    };
    let told = |patch: Value| patched(patch).expect_err("refused").message;
    assert_eq!(told(json!({"$patch": "bogus"})), "unknown patch type: bogus in map: map[$patch:bogus]");
    assert_eq!(
        told(json!({"$setElementOrder/containers": ["e"], "containers": [{"name": "e", "image": "i"}]})),
        "expected a map[string]interface {}, but received a string"
    );
    // In an item that is new, it stays: it is a field that nobody knows.
    let port = json!({"containerPort": 1, "$patch": "delete"});
    let new = json!({"containers": [{"name": "n", "ports": [port], "image": null}]});
    let after = patched(new).expect("applies");
    assert_eq!(after["containers"][0], json!({"name": "n", "ports": [port]}));
}

#[test]
fn what_is_not_shown_is_an_escape_in_quotes() {
    assert_eq!(media::go_quoted("a\0b\u{1}\u{7f}\u{85}\u{7}\t\"\\é"), r#""a\x00b\x01\x7f\u0085\a\t\"\\é""#);
}

#[test]
fn what_was_not_told_of_nodes_drivers_classes_and_owners_is_told() {
    let ranges = |list: Value| {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"podCIDRs": list}});
        said(&node).into_iter().filter(|fault| fault.starts_with("spec.podCIDRs:")).collect::<Vec<_>>()
    };
    let check = "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[1]: <nil> (invalid CIDR \
                 address: x)";
    let why = "may specify no more than one CIDR for each IP family";
    assert_eq!(
        ranges(json!(["10.0.0.0/24", "x"])),
        [
            format!("spec.podCIDRs: Internal error: {check}"),
            format!("spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"x\"]: {why}"),
        ]
    );
    assert_eq!(ranges(json!(["10.0.0.0/24", "10.0.1.0/24"])).len(), 1);
    assert!(ranges(json!(["10.0.0.0/24", "fd00::/64"])).is_empty());
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver",
        "spec": {"serviceAccountTokenInSecrets": false}});
    assert_eq!(said(&driver).len(), 1);
    let class = |parameters: Value| {
        said(&json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "driverName": "a.b",
            "parameters": parameters}))
    };
    assert_eq!(class(json!({"k": "x".repeat(262_144)})), ["parameters: Too long: may not be more than 262144 bytes"]);
    let many: serde_json::Map<String, Value> = (0..513).map(|at| (format!("k{at}"), json!("v"))).collect();
    assert_eq!(class(Value::Object(many)), ["parameters: Too long: may not be more than 512 bytes"]);
    let owned = |version: &str| {
        let owner = json!({"apiVersion": version, "kind": "K", "name": "n", "uid": "u"});
        said(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "ownerReferences": [owner]}}))
    };
    let why = "metadata.ownerReferences.apiVersion: Invalid value: \"a/b/c\": version must not be empty";
    assert_eq!(owned("a/b/c"), [why]);
    assert!(owned("a/b").is_empty() && owned("v1").is_empty());
}

#[test]
fn an_autoscaler_is_checked_as_it_is_stored() {
    let (kind, sent) = read(&json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a", "annotations": {"a b": "c"}}, "spec": {"maxReplicas": 0, "scaleTargetRef": {}}}));
    assert!(refuse_as_sent(&kind, &sent).is_ok());
}

#[test]
fn a_service_that_is_a_name_has_no_policy_for_traffic_from_outside() {
    let service = |spec: Value| created(&json!({"apiVersion": "v1", "kind": "Service", "spec": spec}));
    let policy = |spec: Value| service(spec).expect("good").str_at(&["spec", "externalTrafficPolicy"]).to_owned();
    let ports = json!([{"port": 80}]);
    let named = json!({"type": "ExternalName", "externalName": "a.b", "externalIPs": ["1.2.3.4"]});
    assert_eq!(policy(named.clone()), "");
    assert_eq!(policy(json!({"ports": ports})), "");
    assert_eq!(policy(json!({"ports": ports, "externalIPs": ["1.2.3.4"]})), "Cluster");
    assert_eq!(policy(json!({"ports": ports, "type": "NodePort"})), "Cluster");
    let mut said = named;
    said["externalTrafficPolicy"] = json!("Local");
    let why =
        "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services";
    assert_eq!(told(service(said)), [why]);
}

#[test]
fn what_was_not_told_of_quotas_policies_and_budgets_is_told() {
    let quota = |name: &str| {
        let hard = json!({name: "1500m"});
        said(&json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": hard}}))
    };
    let why = "spec.hard[example.com/gpu]: Invalid value: \"1500m\": must be an integer";
    assert_eq!(quota("example.com/gpu"), [why]);
    assert!(quota("requests.example.com/gpu").is_empty());
    let types = json!(["Ingress", "Egress", "Odd"]);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "spec": {"podSelector": {}, "policyTypes": types}});
    assert_eq!(said(&policy).len(), 1);
    let budget = |spec: Value| {
        said(&json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "a", "labels": {"a b": "c"}}, "spec": spec}))
    };
    assert!(budget(json!({"minAvailable": 1}))[0].starts_with("metadata.labels"));
    let odd = budget(json!({"minAvailable": -1}));
    assert!(odd.iter().all(|fault| fault.starts_with("spec.minAvailable")) && !odd.is_empty(), "{odd:?}");
}

#[test]
fn a_role_that_gathers_by_what_cannot_be_read_is_told_so() {
    let odd = json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": ["b"]}]});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "aggregationRule": {"clusterRoleSelectors": [odd]}});
    let why = "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.";
    assert!(said(&role).contains(&why.to_owned()), "{:?}", said(&role));
}
