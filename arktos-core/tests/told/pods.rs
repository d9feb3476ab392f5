//! Pods, and what makes them.

use arktos_core::catalog::Catalog;
use arktos_core::quota::Quota;
use arktos_core::rules::admit_update;
use arktos_core::{Dialect, GroupResource, Timestamp, TypeMeta, schema};
use serde_json::{Value, json};

use crate::{created, read, said, told, with_status};

#[test]
fn a_report_of_a_pod_keeps_its_class_and_names_the_hosts_address_alike() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let old = created(&pod).expect("a good pod");
    let said = |status: Value| told(with_status(&old, &status));
    assert_eq!(
        said(json!({"qosClass": "Guaranteed"})),
        ["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"]
    );
    let other = "status.hostIPs[0].ip: Invalid value: \"9.9.9.9\": must be equal to `hostIP`";
    assert_eq!(said(json!({"hostIPs": [{"ip": "9.9.9.9"}]})), [other]);
    let bound = "status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node";
    assert_eq!(said(json!({"nominatedNodeName": "m"})), [bound]);
    let new =
        with_status(&old, &json!({"hostIP": "9.9.9.9", "hostIPs": [{"ip": "9.9.9.9"}], "podIPs": [{"ip": "1.2.3.4"}]}));
    assert_eq!(new.expect("a good report").str_at(&["status", "podIP"]), "1.2.3.4");
}

#[test]
fn the_old_name_of_a_pods_account_follows_the_new_one() {
    let account = ["spec", "template", "spec", "serviceAccount"];
    let old = created(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"serviceAccountName": "one", "containers": [{"name": "c", "image": "i"}]}}}}));
    let old = old.expect("a good deployment");
    assert_eq!(old.str_at(&account), "one");
    let mut new = old.clone().into_value();
    new["spec"]["template"]["spec"]["serviceAccountName"] = json!("two");
    let (kind, new) = read(&new);
    let new = admit_update(&kind, &old, new).expect("a good update");
    assert_eq!(new.str_at(&account), "two");
}

#[test]
fn what_cannot_be_read_is_told_where_it_stands() {
    let said = |object: &Value| {
        let text = |field: &str| object[field].as_str().expect("a text").to_owned();
        let type_meta = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
        let kind = Catalog::builtin().by_type(&type_meta).expect("a built-in kind");
        schema::read(&kind, object.to_string().as_bytes(), Dialect::Plain).expect_err("does not fit").message
    };
    let controller = json!({"apiVersion": "v1", "kind": "ReplicationController",
        "spec": {"template": {"metadata": {"labels": 5}}}});
    let field = "Go struct field ObjectMeta.spec.template.metadata.labels of type map[string]string";
    assert!(said(&controller).ends_with(&format!("json: cannot unmarshal number into {field}")));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "binaryData": {"c": [1, {}]}});
    let field = "Go struct field ConfigMap.binaryData of type uint8";
    assert!(said(&map).ends_with(&format!("json: cannot unmarshal object into {field}")));
}

#[test]
fn the_name_of_a_cron_job_may_be_wrong_in_two_ways_and_its_prefix_is_not_counted() {
    let job = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    let mut cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "A".repeat(53)},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job}}});
    let faults = said(&cron);
    assert!(faults.len() == 2 && faults[1].ends_with("must be no more than 52 characters"), "{faults:?}");
    cron["metadata"] = json!({"name": "a", "generateName": "a".repeat(60)});
    assert_eq!(said(&cron), Vec::<String>::new());
}

#[test]
fn a_job_that_says_nothing_any_more_runs_as_often_as_before() {
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {
        "manualSelector": true, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let old = created(&job).expect("a good job");
    assert_eq!(old.at(&["spec", "completions"]), Some(&json!(1)));
    for spec in [Value::Null, json!({})] {
        job["spec"] = spec;
        let (kind, mut new) = read(&job);
        new.set(&["metadata"], old.fields["metadata"].clone());
        let told = told(admit_update(&kind, &old, new));
        assert!(told.contains(&"spec.selector: Required value".to_owned()), "{told:?}");
        assert!(!told.iter().any(|fault| fault.starts_with("spec.completions")), "{told:?}");
    }
}

#[test]
fn a_pod_that_says_as_a_whole_what_it_takes_is_asked_for_no_more() {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "status": {"hard": {"cpu": "500m", "memory": "1Gi"}, "used": {"cpu": "0", "memory": "0"}}});
    let quota = read(&quota).1;
    let charge = |spec: Value| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
        let now = Timestamp::parse("2026-01-02T03:04:05Z").expect("a time");
        let charged = Quota::of(&quota).charge(&GroupResource::core("pods"), None, &read(&pod).1, now);
        charged.map(|_| ()).map_err(|why| why.to_string())
    };
    let containers = json!([{"name": "c", "image": "i"}]);
    let silent = charge(json!({"containers": containers}));
    assert_eq!(silent, Err("failed quota: q: must specify cpu for: c; memory for: c".to_owned()));
    let more = charge(json!({"containers": containers, "resources": {"requests": {"cpu": "2"}}}));
    let why = "exceeded quota: q, requested: cpu=2, used: cpu=0, limited: cpu=500m";
    assert_eq!(more, Err(why.to_owned()));
    assert_eq!(charge(json!({"containers": containers, "resources": {"requests": {"cpu": "200m"}}})), Ok(()));
}

#[test]
fn what_is_not_read_because_of_another_fault_is_not_told_of() {
    let level = |spec: Value| {
        said(&json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
            "spec": spec}))
    };
    let unread = json!({"borrowingLimitPercent": -1, "limitResponse": {"type": "Odd"}});
    assert_eq!(
        level(json!({"type": "Odd", "limited": unread, "exempt": {"lendablePercent": -1}})),
        ["spec.type: Unsupported value: \"Odd\": supported values: \"Exempt\", \"Limited\""]
    );
    let response = json!({"limitResponse": {"type": "Reject"}});
    assert_eq!(
        level(json!({"type": "Limited", "limited": response, "exempt": {"lendablePercent": -1}})),
        ["spec.exempt: Forbidden: must be nil if the type is Limited"]
    );
    let set = |kind: &str| {
        let odd = json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist", "values": ["b"]}]});
        let told = said(&json!({"apiVersion": "apps/v1", "kind": kind, "spec": {"selector": odd,
            "template": {"spec": {"containers": []}}}}));
        told.iter().all(|fault| fault.starts_with("spec.selector"))
    };
    assert!(set("Deployment") && set("ReplicaSet") && set("StatefulSet") && !set("DaemonSet"));
    let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"count": -1}, "firstAvailable": [{"name": "B!"}]}]}}});
    assert_eq!(said(&claim).len(), 1, "{:?}", said(&claim));
}

#[test]
fn what_was_not_told_of_pods_is_told() {
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
    let one = json!([{"name": "a", "image": "i"}]);
    let huge = json!({"containers": one, "overhead": {"hugepages-2Mi": "2Mi"}});
    assert_eq!(said(&pod(huge)), ["spec.overhead: Forbidden: HugePages require cpu or memory"]);
    let nameless = json!({"containers": [{"name": "", "image": "i"}, {"name": "", "image": "i"}]});
    assert!(said(&pod(nameless)).contains(&"spec.containers[1].name: Duplicate value: \"\"".to_owned()));
    let gated = json!({"containers": one, "nodeName": "n", "schedulingGates": [{"name": "a.b/c"}]});
    assert_eq!(said(&pod(gated.clone())).len(), 1);
    let template = json!({"apiVersion": "v1", "kind": "PodTemplate", "template": {"spec": gated}});
    assert_eq!(said(&template), Vec::<String>::new());
    let bound = created(&pod(json!({"containers": one, "nodeName": "n"}))).expect("a good pod");
    assert_eq!(
        told(with_status(&bound, &json!({"phase": "Running", "qosClass": "BestEffort", "nominatedNodeName": "m"}))),
        ["status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"]
    );
}
