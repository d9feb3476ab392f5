//! What is told of changes, how often, and what of them counts.

use serde_json::{Value, json};

use super::tests::{changed, created, told};
use super::{admit_status, admit_update};

fn fields(told: Vec<String>) -> Vec<String> {
    told.into_iter().map(|told| told.split(": ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_is_wrong_with_a_workload_is_told_once() {
    let container = json!({"name": "a", "image": "i"});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    let selector = json!({"matchLabels": {"a": "b"}});
    for (version, kind, selector) in [
        ("v1", "ReplicationController", json!({"a": "b"})),
        ("apps/v1", "ReplicaSet", selector.clone()),
        ("apps/v1", "DaemonSet", selector),
    ] {
        let spec = json!({"selector": selector, "template": template});
        let old = created(&json!({"apiVersion": version, "kind": kind, "spec": spec})).expect("a good object");
        let without = json!({"spec": {"template": {"spec": {"containers": null}}}});
        let told = fields(told(changed(admit_update, &old, &without)));
        assert_eq!(told, ["spec.template.spec.containers"], "{kind}");
    }
}

#[test]
fn a_status_is_told_what_is_wrong_with_metadata_as_often_as_its_kind_looks() {
    let pod = json!({"containers": [{"name": "a", "image": "i"}], "restartPolicy": "Never"});
    let cron = json!({"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": pod}}}});
    let budget = json!({"minAvailable": 1, "selector": {}});
    let flow = json!({"priorityLevelConfiguration": {"name": "a"}, "matchingPrecedence": 9});
    for (version, kind, spec, finalizers, labels, uid) in [
        ("v1", "Node", json!({}), 1, 3, 2),
        ("v1", "ResourceQuota", json!({}), 1, 3, 2),
        ("batch/v1", "CronJob", cron, 0, 2, 1),
        ("policy/v1", "PodDisruptionBudget", budget, 0, 2, 1),
        ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", flow, 0, 0, 0),
    ] {
        let old = created(&json!({"apiVersion": version, "kind": kind, "spec": spec})).expect("a good object");
        let odd = json!({"metadata": {"finalizers": ["x"], "labels": {"Bad!": "x"}, "uid": "x"}});
        let fields = fields(told(changed(admit_status, &old, &odd)));
        let count = |field: &str| fields.iter().filter(|told| **told == format!("metadata.{field}")).count();
        assert_eq!((count("finalizers[0]"), count("labels"), count("uid")), (finalizers, labels, uid), "{kind}");
    }
}

#[test]
fn what_a_slice_does_not_keep_counts_as_a_change() {
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": []});
    let old = created(&slice).expect("a good slice");
    let endpoint = json!({"addresses": ["10.0.0.1"], "deprecatedTopology": {"a": "b"}});
    let new = changed(admit_update, &old, &json!({"endpoints": [endpoint]})).expect("a good change");
    assert_eq!(new.at(&["metadata", "generation"]), Some(&json!(2)));
    assert_eq!(new.at(&["endpoints"]), old.at(&["endpoints"]));
}

#[test]
fn of_what_is_said_twice_the_single_one_counts() {
    let node = |spec: Value| created(&json!({"apiVersion": "v1", "kind": "Node", "spec": spec}));
    let both = node(json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.1.0/24"]})).expect("a good node");
    assert_eq!(both.at(&["spec", "podCIDRs"]), Some(&json!(["10.0.0.0/24"])));
    let config = json!({"configMap": {"name": "a", "namespace": "b", "kubeletConfigKey": "c"}});
    let node = node(json!({"podCIDRs": ["10.0.1.0/24"], "configSource": config})).expect("a good node");
    assert_eq!(node.at(&["spec"]), Some(&json!({"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.1.0/24"]})));
    let features = |names: Value| told(changed(admit_status, &node, &json!({"status": {"declaredFeatures": names}})));
    assert_eq!(
        fields(features(json!(["x", "B", "A", "A"]))),
        ["[0]", "[1]", "[2]", "[3]"].map(|at| format!("status.declaredFeatures{at}"))
    );
    assert_eq!(features(json!(["A", "B/c"])), Vec::<String>::new());
    let devices = json!({"status": {"capacity": {"a.b/c": "100m", "pods": "1500m", "cpu": "100m"}}});
    let told = fields(told(changed(admit_status, &node, &devices)));
    let wanted = ["capacity.a.b/c", "capacity.pods", "allocatable.a.b/c", "allocatable.pods"];
    assert_eq!(told, wanted.map(|name| format!("status.{name}")));
}

#[test]
fn only_a_balanced_service_says_how_its_addresses_are_reached() {
    let service = |kind: &str| {
        let spec = json!({"type": kind, "ports": [{"port": 80}], "clusterIP": "10.0.0.1"});
        created(&json!({"apiVersion": "v1", "kind": "Service", "spec": spec})).expect("a good service")
    };
    let report = |kind: &str| {
        let status = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "odd"}]}});
        fields(told(changed(admit_status, &service(kind), &json!({ "status": status }))))
    };
    assert_eq!(report("ClusterIP"), ["status.loadBalancer.ingress"]);
    assert_eq!(report("LoadBalancer"), ["status.loadBalancer.ingress[0].ipMode"]);
    let named = |name: &str| {
        let status = json!({"loadBalancer": {"ingress": [{"hostname": name}]}});
        fields(told(changed(admit_status, &service("LoadBalancer"), &json!({ "status": status }))))
    };
    let host = "status.loadBalancer.ingress[0].hostname";
    assert_eq!(
        (named("a.example"), named("A_b"), named("1.2.3.4")),
        (Vec::new(), vec![host.to_owned()], vec![host.to_owned()])
    );
}

#[test]
fn what_a_workload_counts_is_not_negative_and_collisions_only_grow() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    for (kind, more) in [
        ("Deployment", json!({"terminatingReplicas": -1})),
        ("StatefulSet", json!({"observedGeneration": -1})),
        ("DaemonSet", json!({"numberReady": -1})),
    ] {
        let old = created(&json!({"apiVersion": "apps/v1", "kind": kind, "spec": spec})).expect("a good workload");
        let report = |old, status: Value| changed(admit_status, old, &json!({ "status": status }));
        let count = report(&old, json!({"collisionCount": 2})).expect("a count");
        for fewer in [json!(1), json!(null)] {
            let told = told(report(&count, json!({ "collisionCount": fewer })));
            let why = format!("Invalid value: {}: cannot be decremented", fewer.as_i64().unwrap_or(0));
            assert_eq!(told, [format!("status.collisionCount: {why}")], "{kind}");
        }
        assert_eq!(told(report(&count, json!({"collisionCount": 3}))), Vec::<String>::new());
        assert_eq!(told(report(&old, json!({"collisionCount": -1}))).len(), 1, "{kind}");
        assert_eq!(told(report(&old, more)).len(), 1, "{kind}");
    }
    let old = created(&json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec})).expect("a good set");
    let status = json!({"status": {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}});
    let why = "status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas";
    assert_eq!(told(changed(admit_status, &old, &status)), [why]);
}

#[test]
fn who_reports_on_a_daemon_set_does_not_count_its_templates() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let old = created(&json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": spec})).expect("a good set");
    let annotations = ["metadata", "annotations", "deprecated.daemonset.template.generation"];
    assert_eq!(old.str_at(&annotations), "1");
    for said in [json!(null), json!({"deprecated.daemonset.template.generation": "9"})] {
        let report = json!({"metadata": {"annotations": said}, "status": {"numberReady": 0}});
        let new = changed(admit_status, &old, &report).expect("a good report");
        assert_eq!(new.str_at(&annotations), "1");
    }
}

#[test]
fn a_mutation_is_written_in_the_way_it_says_it_is() {
    let policy = |mutation: Value, kind: &str| {
        let rules =
            json!([{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]);
        let spec = json!({"matchConstraints": {"resourceRules": rules}, "mutations": [mutation],
            "reinvocationPolicy": "Never", "paramKind": {"apiVersion": "v1", "kind": kind}});
        let policy =
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "spec": spec});
        fields(told(created(&policy)))
    };
    let object = json!({"expression": "Object{}"});
    assert_eq!(
        policy(json!({"patchType": "ApplyConfiguration", "applyConfiguration": object}), "Pod"),
        Vec::<String>::new()
    );
    let both = json!({"patchType": "ApplyConfiguration", "applyConfiguration": object, "jsonPatch": {}});
    assert_eq!(policy(both, "Pod_"), ["spec.mutations[0].jsonPatch", "spec.paramKind.kind"]);
}

#[test]
fn an_event_of_the_newer_form_is_checked_when_its_series_goes_on() {
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"namespace": "default"},
        "eventTime": "2026-01-02T03:04:05.000000Z", "reportingController": "a.b/c", "reportingInstance": "i",
        "action": "a", "reason": "r", "type": "Normal",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let event = created(&event).expect("a good event");
    let on = json!({"series": {"count": 1, "lastObservedTime": "2026-01-02T03:04:05.000000Z"}});
    let told = fields(told(changed(admit_update, &event, &on)));
    assert_eq!(told, ["series.count"]);
}

#[test]
fn a_job_that_is_reported_on_without_labels_has_those_of_its_template() {
    let spec = json!({"template": {"spec": {"containers": [{"name": "a", "image": "i"}], "restartPolicy": "Never"}}});
    let old = created(&json!({"apiVersion": "batch/v1", "kind": "Job", "spec": spec})).expect("a good job");
    let report = json!({"metadata": {"labels": null}, "status": {}});
    let new = changed(admit_status, &old, &report).expect("a good report");
    let labels = old.at(&["spec", "template", "metadata", "labels"]);
    assert!(labels.is_some());
    assert_eq!(new.at(&["metadata", "labels"]), labels);
    let again = changed(admit_status, &new, &report).expect("a good report");
    assert_eq!(again.at(&["metadata", "labels"]), labels);
}

#[test]
fn what_is_empty_is_shown_as_it_was_sent() {
    let job = |spec: Value| {
        let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": spec});
        job["spec"]["template"] =
            json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
        told(created(&job))
    };
    assert_eq!(
        job(json!({"successPolicy": {"rules": []}})),
        ["spec.successPolicy: Invalid value: {\"Rules\":[]}: requires indexed completion mode"]
    );
    let codes = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": []}});
    assert_eq!(
        job(json!({"podFailurePolicy": {"rules": [codes]}})),
        ["spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required"]
    );
}

#[test]
fn how_far_an_autoscaler_looks_away_is_not_less_than_nothing() {
    let scale = |tolerance: &str| {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
        let behavior = json!({"scaleUp": {"tolerance": tolerance}});
        told(created(&json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "spec": {"scaleTargetRef": target, "maxReplicas": 3, "behavior": behavior}})))
    };
    let why = "spec.behavior.scaleUp.tolerance: Invalid value: \"-1\": must be greater than or equal to 0";
    assert_eq!(scale("-1"), [why]);
    assert!(scale("100m").is_empty());
}

#[test]
fn a_subject_of_an_odd_kind_is_looked_at_no_further() {
    let subject = |subject: Value| {
        let rule = json!({"subjects": [subject], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
        fields(told(created(&json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "spec": {"priorityLevelConfiguration": {"name": "x"}, "rules": [rule]}}))))
    };
    assert_eq!(subject(json!({"kind": "Odd", "user": {}})), ["spec.rules[0].subjects[0].kind"]);
    assert_eq!(subject(json!({"kind": "User", "user": {"name": ""}})), ["spec.rules[0].subjects[0].user.name"]);
}

#[test]
fn conditions_and_entries_of_policies_are_not_blank_and_not_too_long() {
    let policy = |more: Value| {
        let rules =
            json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
        let mut policy =
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "spec": more});
        policy["metadata"] = json!({"name": "p"});
        policy["spec"]["matchConstraints"] = json!({ "resourceRules": rules });
        policy["spec"]["validations"] = json!([{"expression": "true"}]);
        told(created(&policy))
    };
    assert_eq!(
        policy(json!({"matchConditions": [{"name": "a", "expression": "  "}]})),
        ["spec.matchConditions[0].expression: Required value"]
    );
    let long = format!("'{}'", "x".repeat(6000));
    assert_eq!(
        policy(json!({"auditAnnotations": [{"key": "a", "valueExpression": long}]})),
        ["spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length"]
    );
}

#[test]
fn a_stateful_set_that_rolls_nothing_out_has_no_partition_to_look_at() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = |kind: &str| {
        let strategy = json!({"type": kind, "rollingUpdate": {"partition": -1}});
        let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template, "serviceName": "s",
            "updateStrategy": strategy});
        fields(told(created(&json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec}))))
    };
    assert_eq!(set("OnDelete"), ["spec.updateStrategy.rollingUpdate"]);
    assert_eq!(set("RollingUpdate"), ["spec.updateStrategy.rollingUpdate.partition"]);
}

#[test]
fn an_update_keeps_the_address_that_it_does_not_name_and_tells_where_the_list_says_otherwise() {
    let mut old = created(&json!({"apiVersion": "v1", "kind": "Service",
        "spec": {"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}}))
    .expect("a good service");
    old.set(&["spec", "ipFamilies"], json!(["IPv4"]));
    old.set(&["spec", "ipFamilyPolicy"], "SingleStack");
    let update = |spec: Value| changed(admit_update, &old, &json!({ "spec": spec }));
    let kept = update(json!({"clusterIP": null})).expect("a good update");
    assert_eq!(kept.at(&["spec", "clusterIPs"]), Some(&json!(["10.0.0.1"])));
    let told = told(update(json!({"clusterIP": null, "clusterIPs": ["10.0.0.2"]})));
    let why = "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`";
    assert!(told.iter().any(|told| told == why), "{told:?}");
}

#[test]
fn how_high_a_priority_may_be_is_told_when_it_is_made() {
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 5});
    let old = created(&class).expect("a good class");
    let told = told(changed(admit_update, &old, &json!({"value": 2_000_000_000})));
    assert_eq!(told, ["value: Forbidden: may not be changed in an update."]);
}
