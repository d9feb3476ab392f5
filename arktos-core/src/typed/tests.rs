use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

#[test]
fn unknown_fields_survive_at_every_level() {
    let value = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "novel": {"a": 1}},
        "novel": [1],
        "spec": {
            "novel": true, "nodeName": "n1",
            "containers": [{
                "name": "c", "image": "i", "novel": 1,
                "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "novel": {}},
                "ports": [{"containerPort": 80, "novel": null}],
                "env": [{"name": "E", "value": "v", "novel": ""}],
            }],
            "tolerations": [{"key": "k", "operator": "Exists", "novel": 0}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "z", "operator": "In", "values": ["a"], "novel": 1}]}],
            }}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "novel": 1},
            ],
        },
        "status": {
            "phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "1.2.3.4", "novel": 1,
            "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": "2026-11-23T10:00:00Z", "novel": 1}],
            "containerStatuses": [{
                "name": "c", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
                "state": {"running": {"startedAt": "2026-11-23T10:00:00Z"}},
            }],
        },
    });
    let pod = Pod::from_object(&object(value.clone())).expect("a pod");
    assert_eq!(pod.spec.containers[0].resources.requests["cpu"].milli(), 100);
    assert_eq!(pod.to_object().into_value(), value);
}

#[test]
fn empty_fields_are_not_written() {
    let pod = Pod::from_object(&object(json!({
        "metadata": {"name": "web"},
        "spec": {"containers": null, "hostNetwork": false, "nodeSelector": {}},
        "status": {},
    })));
    assert_eq!(
        pod.expect("a pod").to_object().into_value(),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}})
    );
}

#[test]
fn a_stored_object_is_read_with_its_revision() {
    let type_meta = Arc::new(Lease::type_meta());
    let mut lease = Lease::named("n1");
    lease.spec.renew_time = crate::Timestamp::parse("2026-11-23T10:11:12.5Z").map(MicroTime);
    let encoded = Encoded::encode(&type_meta, &lease.to_object(), &[]).expect("encodes");
    let read = Lease::from_encoded(&encoded, Some(Revision(7))).expect("a lease");
    assert_eq!(read.metadata.resource_version, "7");
    assert_eq!(read.spec, lease.spec);
    assert_eq!(lease.to_object().str_at(&["spec", "renewTime"]), "2026-11-23T10:11:12.500000Z");
    assert_eq!(Lease::resource(), GroupResource::new("coordination.k8s.io", "leases"));
}

#[test]
fn a_field_of_the_wrong_type_is_an_error() {
    assert!(Pod::from_object(&object(json!({"spec": {"nodeName": 1}}))).is_err());
}

#[test]
fn percentages_are_taken_of_a_total() {
    let quarter = IntOrString::Text("25%".to_owned());
    assert_eq!((quarter.scaled(10, true), quarter.scaled(10, false)), (Some(3), Some(2)));
    assert_eq!(IntOrString::Int(4).scaled(10, true), Some(4));
    assert_eq!(IntOrString::Text("http".to_owned()).scaled(10, true), None);
}

#[test]
fn a_condition_keeps_its_transition_time_while_its_status_stays() {
    let at = |text| crate::Timestamp::parse(text);
    let mut ready = Condition::new("Ready", "True");
    ready.last_transition_time = at("2026-11-23T10:00:00Z");
    let mut conditions = vec![ready.clone()];
    let later = Condition { last_transition_time: at("2026-11-23T11:00:00Z"), ..ready.clone() };
    assert!(!later.clone().set(&mut conditions));
    assert_eq!(conditions[0].last_transition_time, ready.last_transition_time);
    assert!(Condition { status: "False".to_owned(), ..later.clone() }.set(&mut conditions));
    assert_eq!(conditions[0].last_transition_time, later.last_transition_time);
    assert!(!Condition::is_true(&conditions, "Ready"));
}

#[test]
fn claims_are_written_as_the_schedulers_and_managers_agreed() {
    let review = ClaimReview::from_object(&object(json!({
        "metadata": {},
        "spec": {"partition": "tp-1", "claims": [{
            "name": "c1", "tenant": "acme", "namespace": "default", "pod": "web", "podUID": "u", "node": "n1",
            "requests": {"cpu": 100, "memory": 1, "pods": 1, "other": {"example.com/gpu": 2}},
        }]},
        "status": {"results": [{"name": "c1", "accepted": false, "reason": "full"}]},
    })));
    let review = review.expect("a review");
    assert_eq!(review.spec.claims[0].requests.extended["example.com/gpu"], 2);
    let written = review.to_object();
    assert_eq!(written.at(&["status", "results"]), Some(&json!([{"name": "c1", "accepted": false, "reason": "full"}])));
    assert_eq!(ClaimReview::from_object(&written).expect("reads back"), review);
}
