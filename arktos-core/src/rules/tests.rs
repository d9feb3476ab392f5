//! What becomes of objects that are made and changed: tables of JSON merge patches, and of what is said of each.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::Dialect;
use crate::catalog::Catalog;
use crate::kind::TypeMeta;

const UID: &str = "11111111-2222-3333-4444-555555555555";

fn kind_of(object: &Value) -> Arc<Kind> {
    let text = |field: &str| object[field].as_str().expect("a text").to_owned();
    let type_meta = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
    Catalog::builtin().by_type(&type_meta).expect("a built-in kind")
}

fn read(kind: &Kind, object: &Value) -> Object {
    schema::read(kind, object.to_string().as_bytes(), Dialect::Plain).expect("fits its type").object
}

pub(super) fn created(object: &Value) -> Result<Object, Status> {
    let kind = kind_of(object);
    let mut new = read(&kind, object);
    if new.name().is_empty() {
        new.set(&["metadata", "name"], "a");
    }
    new.set(&["metadata", "uid"], UID);
    new.set(&["metadata", "creationTimestamp"], "2026-01-02T03:04:05Z");
    admit_create(&kind, new)
}

pub(super) type Admit = fn(&Kind, &Object, Object) -> Result<Object, Status>;

pub(super) fn changed(admit: Admit, old: &Object, patch: &Value) -> Result<Object, Status> {
    let mut new = old.clone().into_value();
    json_patch::merge(&mut new, patch);
    let kind = kind_of(&new);
    admit(&kind, old, read(&kind, &new))
}

pub(super) fn told(result: Result<Object, Status>) -> Vec<String> {
    let Err(status) = result else { return Vec::new() };
    let causes = status.details.unwrap_or_default().causes;
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// Checks what is said of changes of an object.
fn check(admit: Admit, old: &Value, changes: &[(Value, &[&str])]) {
    let old = created(old).expect("a good object");
    for (patch, wanted) in changes {
        assert_eq!(told(changed(admit, &old, patch)), *wanted, "{patch}");
    }
}

/// As [`check`], for objects that are created.
fn check_created(object: &Value, changes: &[(Value, &[&str])]) {
    for (patch, wanted) in changes {
        let mut new = object.clone();
        json_patch::merge(&mut new, patch);
        assert_eq!(told(created(&new)), *wanted, "{patch}");
    }
}

fn deployment(kind: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn pod(spec: &Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "c", "image": "i"}]}});
    json_patch::merge(&mut pod["spec"], spec);
    pod
}

fn service(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "spec": spec})
}

fn job(spec: &Value) -> Value {
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pod}});
    json_patch::merge(&mut job["spec"], spec);
    job
}

#[test]
fn some_kinds_are_replaced_only_at_a_revision() {
    let mut conditional: Vec<&str> = Vec::new();
    let catalog = Catalog::builtin();
    for kind in catalog.kinds().filter(|kind| !kind.allows_unconditional_update()) {
        if !conditional.contains(&&*kind.kind) {
            conditional.push(&kind.kind);
        }
    }
    conditional.sort_unstable();
    let wanted = [
        "APIService",
        "CSIDriver",
        "CSINode",
        "CSIStorageCapacity",
        "CustomResourceDefinition",
        "Lease",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "PodDisruptionBudget",
        "RuntimeClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
    ];
    assert_eq!(conditional, wanted);
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "a"}, "spec": {}});
    let refused = refuse_unconditional(&kind_of(&driver), &read(&kind_of(&driver), &driver)).expect_err("refused");
    assert_eq!(
        refused.message,
        "csidrivers.storage.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for \
         an update"
    );
}

#[test]
fn a_service_without_affinity_has_no_settings_of_it() {
    let old = created(&service(&json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}))).unwrap();
    assert_eq!(old.int_at(&["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"]), Some(10800));
    let new = changed(admit_update, &old, &json!({"spec": {"sessionAffinity": "None"}})).unwrap();
    assert_eq!(new.at(&["spec", "sessionAffinityConfig"]), None);
}

#[test]
fn an_address_of_a_load_balancer_says_whose_it_is() {
    let ingress = |ingress: Value| json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
    let balancer = service(&json!({"ports": [{"port": 80}], "type": "LoadBalancer"}));
    let old = created(&balancer).unwrap();
    for (sent, kept) in [
        (json!({"ip": "192.0.2.1"}), json!({"ip": "192.0.2.1", "ipMode": "VIP"})),
        (json!({"ip": "192.0.2.1", "ipMode": "Proxy"}), json!({"ip": "192.0.2.1", "ipMode": "Proxy"})),
        (json!({"hostname": "a.b"}), json!({"hostname": "a.b"})),
    ] {
        let new = changed(admit_status, &old, &ingress(sent)).unwrap();
        assert_eq!(new.at(&["status", "loadBalancer", "ingress"]), Some(&json!([kept])));
    }
    let path = "status.loadBalancer.ingress[0].ipMode";
    check(
        admit_status,
        &balancer,
        &[
            (
                ingress(json!({"ip": "192.0.2.1", "ipMode": "Odd"})),
                &[&*format!("{path}: Unsupported value: \"Odd\": supported values: \"Proxy\", \"VIP\"")],
            ),
            (
                ingress(json!({"hostname": "a.b", "ipMode": "VIP"})),
                &[&*format!("{path}: Forbidden: may not be specified when `ip` is not set")],
            ),
        ],
    );
}

#[test]
fn what_a_service_says_of_its_addresses_fits_together() {
    let none = "Forbidden: may not be set for ExternalName services";
    check_created(
        &service(&json!({"type": "ExternalName", "externalName": "a.b"})),
        &[
            (json!({"spec": {"externalName": "a.b."}}), &[]),
            (json!({"spec": {"externalName": "."}}), &["spec.externalName: Required value"]),
            (json!({"spec": {"clusterIP": "10.0.0.1"}}), &[&*format!("spec.clusterIPs: {none}")]),
            (
                json!({"spec": {"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}}),
                &[
                    &*format!("spec.clusterIPs: {none}"),
                    &*format!("spec.ipFamilies: {none}"),
                    &*format!("spec.ipFamilyPolicy: {none}"),
                ],
            ),
        ],
    );
    let refused = told(created(&service(&json!({"type": "ExternalName", "externalName": "A."}))));
    assert!(refused[0].starts_with("spec.externalName: Invalid value: \"A\": a lowercase RFC 1123"), "{refused:?}");
    check_created(
        &service(&json!({"ports": [{"port": 80}]})),
        &[
            (
                json!({"spec": {"clusterIPs": ["10.0.0.1"]}}),
                &["spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified"],
            ),
            (
                json!({"spec": {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.1"]}}),
                &["spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: first value must match `clusterIP`"],
            ),
        ],
    );
}

#[test]
fn a_way_to_roll_out_that_nobody_knows_is_told_whole() {
    let odd = "Unsupported value: {\"Type\":\"Odd\",\"RollingUpdate\":null}: supported values:";
    check_created(
        &deployment("Deployment"),
        &[(
            json!({"spec": {"strategy": {"type": "Odd"}}}),
            &[&*format!("spec.strategy: {odd} \"Recreate\", \"RollingUpdate\"")],
        )],
    );
    check_created(
        &deployment("DaemonSet"),
        &[(
            json!({"spec": {"updateStrategy": {"type": "Odd"}}}),
            &[&*format!("spec.updateStrategy: {odd} \"RollingUpdate\", \"OnDelete\"")],
        )],
    );
}

#[test]
fn effects_of_taints_are_listed_as_upstream_lists_them() {
    let odd = "Unsupported value: \"Odd\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"";
    check_created(
        &json!({"apiVersion": "v1", "kind": "Node"}),
        &[(
            json!({"spec": {"taints": [{"key": "a", "effect": "Odd"}]}}),
            &[&*format!("metadata.taints[0].effect: {odd}")],
        )],
    );
    check_created(
        &pod(&json!({})),
        &[(
            json!({"spec": {"tolerations": [{"key": "a", "operator": "Exists", "effect": "Odd"}]}}),
            &[&*format!("spec.tolerations[0].effect: {odd}")],
        )],
    );
}

#[test]
fn a_quota_counts_what_it_counted_from_the_start() {
    let why = "field is immutable";
    check(
        admit_update,
        &json!({"apiVersion": "v1", "kind": "ResourceQuota",
            "spec": {"hard": {"pods": "1"}, "scopes": ["Terminating", "NotBestEffort"]}}),
        &[
            (json!({"spec": {"scopes": ["NotBestEffort", "Terminating"]}}), &[]),
            (json!({"spec": {"hard": {"pods": "2"}}}), &[]),
            (
                json!({"spec": {"scopes": ["Terminating"]}}),
                &[&*format!("spec.scopes: Invalid value: [\"Terminating\"]: {why}")],
            ),
            (json!({"spec": {"scopes": null}}), &[&*format!("spec.scopes: Invalid value: null: {why}")]),
        ],
    );
}

#[test]
fn a_drivers_generations_begin_with_its_first_change() {
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "spec": {}});
    let mut driver = created(&driver).unwrap();
    assert_eq!(driver.int_at(&["metadata", "generation"]), None);
    for (patch, generation) in [
        (json!({"metadata": {"labels": {"a": "b"}}}), None),
        (json!({"spec": {"podInfoOnMount": true}}), Some(1)),
        (json!({"spec": {"podInfoOnMount": false}}), Some(2)),
        (json!({"metadata": {"labels": null}}), Some(2)),
    ] {
        driver = changed(admit_update, &driver, &patch).unwrap();
        assert_eq!(driver.int_at(&["metadata", "generation"]), generation, "{patch}");
    }
}

#[test]
fn where_a_gated_pod_may_go_is_only_narrowed() {
    let key = "requiredDuringSchedulingIgnoredDuringExecution";
    let required = |terms: Value| json!({"nodeAffinity": {key: {"nodeSelectorTerms": terms}}});
    let term = |keys: &[&str]| {
        let expressions: Vec<Value> = keys.iter().map(|key| json!({"key": key, "operator": "Exists"})).collect();
        json!({ "matchExpressions": expressions })
    };
    let terms = format!("spec.affinity.nodeAffinity.{key}.nodeSelectorTerms");
    let affinity = required(json!([term(&["a"])]));
    let gated = json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}, "affinity": affinity});
    let select = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    let fixed = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
    let shown = r#"{"MatchExpressions":[{"Key":"b","Operator":"Exists","Values":null}],"MatchFields":null}"#;
    check(
        admit_update,
        &pod(&gated),
        &[
            (json!({"spec": {"nodeSelector": {"c": "d"}}}), &[]),
            (
                json!({"spec": {"nodeSelector": {"a": "z", "c": "d"}}}),
                &[&*format!("spec.nodeSelector: Invalid value: {{\"a\":\"z\",\"c\":\"d\"}}: {select}")],
            ),
            (json!({"spec": {"nodeSelector": null}}), &[&*format!("spec.nodeSelector: Invalid value: null: {select}")]),
            (json!({"spec": {"affinity": required(json!([term(&["a", "b"])]))}}), &[]),
            (
                json!({"spec": {"affinity": required(json!([term(&["b"])]))}}),
                &[&*format!(
                    "{terms}[0]: Invalid value: {shown}: only additions are allowed (no mutations or deletions)"
                )],
            ),
            (json!({"spec": {"affinity": null}}), &[&*format!("{terms}: Invalid value: null: {fixed}")]),
        ],
    );
    let beside = json!({"podAffinity": {key: [
        {"topologyKey": "t", "labelSelector": {"matchLabels": {"a": "b"}}}]}});
    let old = created(&pod(&json!({"schedulingGates": [{"name": "g"}]}))).unwrap();
    let placed = changed(admit_update, &old, &json!({"spec": {"affinity": required(json!([term(&["a"])]))}}));
    assert_eq!(told(placed), [""; 0], "what was open may be said");
    let refused = told(changed(admit_update, &old, &json!({"spec": {"affinity": beside}})));
    assert!(refused[0].starts_with("spec: Forbidden: pod updates may not change fields other than"), "{refused:?}");
}

#[test]
fn how_often_a_job_succeeds_changes_with_how_many_run_at_once() {
    check(
        admit_update,
        &job(&json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3})),
        &[
            (json!({"spec": {"completions": 2, "parallelism": 2}}), &[]),
            (
                json!({"spec": {"completions": 2}}),
                &["spec.completions: Invalid value: 2: can only be modified in tandem with spec.parallelism"],
            ),
            (
                json!({"spec": {"completions": null}}),
                // A job is checked as a new one and as a change.
                &["spec.completions: Required value: when completion mode is Indexed"; 2],
            ),
        ],
    );
    check(
        admit_update,
        &job(&json!({"completions": 3, "parallelism": 3})),
        &[(
            json!({"spec": {"completions": 2, "parallelism": 2}}),
            &["spec.completions: Invalid value: 2: field is immutable"],
        )],
    );
}

#[test]
fn a_job_ends_once_and_for_one_reason() {
    let start = "2026-01-02T03:04:05Z";
    let is = |kinds: &[&str]| -> Value { kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect() };
    let status = |status: Value| json!({ "status": status });
    let under_way = created(&job(&json!({"completionMode": "Indexed", "completions": 5, "parallelism": 2}))).unwrap();
    let running = json!({"startTime": start, "active": 1, "failed": 2, "succeeded": 1, "completedIndexes": "0"});
    let under_way = changed(admit_status, &under_way, &status(running)).unwrap();
    let ended = json!({"conditions": is(&["SuccessCriteriaMet", "Complete"]), "completionTime": start, "active": 0});
    let done = changed(admit_status, &under_way, &status(ended)).unwrap();
    let no_criteria = "status.conditions: Invalid value: cannot set Complete=True condition without the \
                       SuccessCriteriaMet=true condition";
    for (old, patch, wanted) in [
        (&under_way, json!({"active": 2, "ready": 2}), vec![]),
        (
            &under_way,
            json!({"active": -1}),
            vec!["status.active: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            &under_way,
            json!({"ready": 2}),
            vec!["status.ready: Invalid value: 2: cannot set more ready pods than active"],
        ),
        (
            &under_way,
            json!({"conditions": is(&["Complete"])}),
            vec![
                no_criteria,
                "status.completionTime: Required value: completionTime is required for Complete jobs",
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
            ],
        ),
        (
            &under_way,
            json!({"conditions": is(&["Failed", "FailureTarget"]), "active": 0, "startTime": null}),
            vec![
                "status.startTime: Invalid value: null: field is immutable for unsuspended job once set",
                "status.startTime: Required value: startTime is required for finished job",
            ],
        ),
        (
            &under_way,
            json!({"conditions": is(&["SuccessCriteriaMet", "FailureTarget"])}),
            vec![
                "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            ],
        ),
        (&under_way, json!({"failed": 1}), vec!["status.failed: Invalid value: 1: cannot decrease the failed counter"]),
        (
            &under_way,
            json!({"completedIndexes": "0,9"}),
            vec![
                "status.completedIndexes: Invalid value: \"0,9\": error parsing completedIndexes: too large index: \"9\"",
            ],
        ),
        (
            &under_way,
            json!({"failedIndexes": "0-2"}),
            vec![
                "status.failedIndexes: Invalid value: \"0-2\": cannot set non-null failedIndexes when \
                 backoffLimitPerIndex is null",
                "status.failedIndexes: Invalid value: \"0-2\": failedIndexes and completedIndexes overlap at index: 0",
            ],
        ),
        (
            &under_way,
            json!({"uncountedTerminatedPods": {"succeeded": ["a", ""], "failed": ["a"]}}),
            vec![
                "status.uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
                "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
            ],
        ),
        (
            &done,
            json!({"conditions": is(&["SuccessCriteriaMet"]), "completionTime": null}),
            vec!["status.conditions: Invalid value: cannot disable the terminal Complete=True condition"],
        ),
        (
            &done,
            json!({"completionTime": "2026-01-02T03:04:04Z"}),
            vec![
                "status.completionTime: Invalid value: \"2026-01-02T03:04:04Z\": must be equal to or after `startTime`",
                "status.completionTime: Invalid value: \"2026-01-02T03:04:04Z\": completionTime cannot be mutated",
            ],
        ),
    ] {
        assert_eq!(told(changed(admit_status, old, &status(patch.clone()))), wanted, "{patch}");
    }
}

#[test]
fn a_slice_of_endpoints_has_an_end() {
    let endpoints = |count: usize, addresses: usize| -> Value {
        let addresses: Vec<String> = (0..addresses).map(|at| format!("10.0.0.{at}")).collect();
        json!({ "endpoints": vec![json!({ "addresses": addresses }); count] })
    };
    check_created(
        &json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": []}),
        &[
            (endpoints(1000, 1), &[]),
            (endpoints(1001, 1), &["endpoints: Too many: 1001: must have at most 1000 items"]),
            (endpoints(1, 100), &[]),
            (endpoints(1, 101), &["endpoints[0].addresses: Too many: 101: must have at most 100 items"]),
        ],
    );
}

#[test]
fn what_others_pay_for_is_bounded() {
    let many = |item: Value, count: usize| Value::from(vec![item; count]);
    let term = json!({"topologyKey": "zone"});
    let weighted = json!({"weight": 1, "podAffinityTerm": term});
    let of = |affinity: &str, field: &str, terms| created(&pod(&json!({"affinity": {affinity: {field: terms}}})));
    let [required, preferred] =
        ["required", "preferred"].map(|it| format!("{it}DuringSchedulingIgnoredDuringExecution"));
    for affinity in ["podAffinity", "podAntiAffinity"] {
        for (field, item) in [(&required, &term), (&preferred, &weighted)] {
            assert!(of(affinity, field, many(item.clone(), 100)).is_ok(), "{affinity} {field}");
            let wanted = format!("spec.affinity.{affinity}.{field}: Too many: 101: must have at most 100 items");
            assert_eq!(told(of(affinity, field, many(item.clone(), 101))), [wanted]);
        }
    }
    let ports: Vec<Value> = (1..1003).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
    let faults = told(created(&service(&json!({"ports": ports}))));
    assert_eq!(faults, ["spec.ports: Too many: 1002: must have at most 1000 items"]);
}

#[test]
fn what_a_pod_was_promised_is_not_taken_back() {
    let resources = |requests: Value, limits: Value| json!({"requests": requests, "limits": limits});
    let containers = |init: Value, main: Value| {
        json!({"initContainers": [{"name": "i", "image": "i", "resources": {}},
                {"name": "s", "image": "i", "restartPolicy": "Always", "resources": init}],
            "containers": [{"name": "c", "image": "i", "resources": main}]})
    };
    let both = || resources(json!({"cpu": "1", "memory": "1Gi"}), json!({"cpu": "2"}));
    let change = |init: Value, main: Value| json!({ "spec": containers(init, main) });
    let mut first = change(both(), both());
    first["spec"]["initContainers"][0]["resources"] = both();
    check(
        admit_resize,
        &pod(&containers(both(), both())),
        &[
            (change(both(), resources(json!({"cpu": "2", "memory": "2Gi"}), json!({"cpu": "3"}))), &[]),
            (
                change(both(), resources(json!({"cpu": "1"}), json!({}))),
                &[
                    "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                    "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
                ],
            ),
            (
                change(resources(json!({"cpu": "1", "memory": "1Gi"}), json!({})), both()),
                &["spec.initContainers[1].resources.limits: Forbidden: resource limits cannot be removed"],
            ),
            (
                change(
                    both(),
                    resources(json!({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1"}), json!({"cpu": "2"})),
                ),
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (first, &["spec: Forbidden: resources for non-sidecar init containers are immutable"]),
        ],
    );
}

#[test]
fn a_pod_as_a_whole_asks_for_no_less_than_its_containers() {
    let asks = json!({"requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}});
    let whole = |resources: Value| json!({"spec": {"resources": resources}});
    let container = json!([{"name": "c", "image": "i", "resources": asks}]);
    check_created(
        &pod(&json!({ "containers": container })),
        &[
            (whole(json!({"requests": {"cpu": "2"}})), &[]),
            (
                whole(json!({"requests": {"cpu": "1"}})),
                &["spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate \
                   container requests of 1500m"],
            ),
            (
                whole(json!({"requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"cpu": "1500m"}})),
                &["spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or equal to pod \
                   limits of 1500m"],
            ),
            (
                whole(json!({"requests": {"ephemeral-storage": "1"}})),
                &["spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported \
                   values: \"cpu\", \"hugepages-\", \"memory\""],
            ),
            (
                json!({"spec": {"resources": {"claims": [{"name": "a"}]},
                    "resourceClaims": [{"name": "a", "resourceClaimName": "b"}]}}),
                &["spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level"],
            ),
        ],
    );
    let asked = json!({"cpu": "1500m", "memory": "1Gi"});
    for (spec, requests, class) in [
        (json!({"containers": container, "resources": {"limits": {"cpu": "2"}}}), asked, "Burstable"),
        (
            json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
            json!({"cpu": "1", "memory": "1Gi"}),
            "Guaranteed",
        ),
    ] {
        let made = created(&pod(&spec)).unwrap();
        assert_eq!(made.at(&["spec", "resources", "requests"]), Some(&requests));
        assert_eq!(made.str_at(&["status", "qosClass"]), class);
    }
}

#[test]
fn what_a_claim_says_of_devices_is_about_its_requests() {
    let class = "gpu.example.com";
    let devices = |devices: Value| json!({"spec": {"devices": devices}});
    let why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let constraint = |names: &[&str]| devices(json!({"constraints": [{"requests": names, "matchAttribute": "a.b/c"}]}));
    let exactly = |mode: Value| devices(json!({"requests": [{"name": "a", "exactly": mode}]}));
    check_created(
        &json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": class}},
            {"name": "b", "firstAvailable": [{"name": "c", "deviceClassName": class}]}]}}}),
        &[
            (constraint(&["a", "b", "b/c"]), &[]),
            (
                constraint(&["c", "a/b/c"]),
                &[
                    &*format!("spec.devices.constraints[0].requests[0]: Invalid value: \"c\": {why}"),
                    &*format!("spec.devices.constraints[0].requests[1]: Invalid value: \"a/b/c\": {why}"),
                ],
            ),
            (constraint(&["a", "a"]), &["spec.devices.constraints[0].requests[1]: Duplicate value: \"a\""]),
            (
                devices(json!({"constraints": [{}]})),
                &["spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or \
                   \"distinctAttribute\" is required, but multiple fields are set"],
            ),
            (devices(json!({"config": [{}]})), &["spec.devices.config[0].opaque: Required value"]),
            (
                exactly(json!({"deviceClassName": class, "allocationMode": "All", "count": 2})),
                &[
                    "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is \
                   'All'",
                ],
            ),
            (
                exactly(json!({"deviceClassName": class, "tolerations": [{"operator": "Exists", "value": "v"}]})),
                &["spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"v\": must be empty for \
                   operator `Exists`"],
            ),
        ],
    );
}
