//! The upstream conformance tests that need controllers and nothing that runs, written anew and named after what they
//! are called there. `cargo xtask conformance` counts them.

use arktos_store::Within;
use arktos_store::client::Propagation;
use serde_json::{Value, json};

use crate::world::{World, condition, deployment, path_of};

const RC: &str = "acme/e2e/simpletest.rc";
const RCS: &str = "replicationcontrollers";
const QUOTAS: &str = "resourcequotas";
const QUOTA: &str = "acme/e2e/test-quota";
const CRON: &str = "acme/e2e/concurrent";
const CRONS: &str = "cronjobs.batch";
const JOBS: &str = "jobs.batch";
const BUDGETS: &str = "poddisruptionbudgets.policy";
const SLICES: &str = "endpointslices.discovery.k8s.io";

/// A partition whose tenant has an empty namespace for the test.
fn fresh() -> World {
    let mut world = World::on_the_road();
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "e2e"}})).expect("created");
    world.settle();
    world
}

fn controller(name: &str, replicas: i32) -> Value {
    let spec = json!({"containers": [{"name": "nginx", "image": "registry.example/nginx:1"}]});
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"name": name},
            "template": {"metadata": {"labels": {"name": name}}, "spec": spec},
        },
    })
}

/// The objects of a resource in the namespace of these tests.
fn here(world: &World, resource: &str) -> Vec<Value> {
    let mut all = world.list(resource, Within::Everywhere);
    all.retain(|object| path_of(object).starts_with("acme/e2e/"));
    all
}

fn owners(object: &Value) -> Vec<String> {
    let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners.iter().map(|owner| owner["name"].as_str().expect("a name").to_owned()).collect()
}

fn with_pods(replicas: i32) -> World {
    let mut world = fresh();
    world.create(RCS, "acme", "e2e", controller("simpletest.rc", replicas)).expect("created");
    world.run_pods();
    let count = usize::try_from(replicas).expect("a number");
    assert_eq!(here(&world, "pods").len(), count);
    let rc = world.get(RCS, RC);
    assert_eq!((&rc["status"]["replicas"], &rc["status"]["readyReplicas"]), (&json!(replicas), &json!(replicas)));
    world
}

#[test]
fn should_delete_pods_created_by_rc_when_not_orphaning() {
    let mut world = with_pods(2);
    world.delete(RCS, RC, Some(Propagation::Background));
    world.run_pods();
    assert!(here(&world, "pods").is_empty());
}

#[test]
fn should_orphan_pods_created_by_rc_if_delete_options_say_so() {
    let mut world = with_pods(100);
    world.delete(RCS, RC, Some(Propagation::Orphan));
    world.run_pods();
    world.pass(30);
    assert!(here(&world, RCS).is_empty());
    let pods = here(&world, "pods");
    assert_eq!(pods.len(), 100);
    assert!(pods.iter().all(|pod| owners(pod).is_empty()));
}

#[test]
fn should_delete_rs_created_by_deployment_when_not_orphaning() {
    let mut world = fresh();
    world.create("deployments.apps", "acme", "e2e", deployment(2, "nginx:1")).expect("created");
    world.run_pods();
    world.delete("deployments.apps", "acme/e2e/web", Some(Propagation::Background));
    world.run_pods();
    assert!(here(&world, "replicasets.apps").is_empty() && here(&world, "pods").is_empty());
}

#[test]
fn should_orphan_rs_created_by_deployment_when_delete_options_propagation_policy_is_orphan() {
    let mut world = fresh();
    world.create("deployments.apps", "acme", "e2e", deployment(2, "nginx:1")).expect("created");
    world.run_pods();
    world.delete("deployments.apps", "acme/e2e/web", Some(Propagation::Orphan));
    world.run_pods();
    world.pass(30);
    assert!(here(&world, "deployments.apps").is_empty());
    let sets = here(&world, "replicasets.apps");
    assert_eq!(sets.len(), 1);
    assert!(owners(&sets[0]).is_empty());
    assert_eq!(here(&world, "pods").len(), 2);
}

#[test]
fn should_keep_the_rc_around_until_all_its_pods_are_deleted_if_the_delete_options_says_so() {
    let mut world = with_pods(4);
    let held = path_of(&here(&world, "pods")[0]);
    world.edit("pods", &held, |pod| pod["metadata"]["finalizers"] = json!(["example.com/hold"]));
    world.delete(RCS, RC, Some(Propagation::Foreground));
    world.run_pods();
    assert_eq!(here(&world, "pods").len(), 1);
    let rc = world.get(RCS, RC);
    assert!(rc["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(rc["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    world.edit("pods", &held, |pod| drop(pod["metadata"].as_object_mut().expect("a map").remove("finalizers")));
    world.run_pods();
    assert!(here(&world, "pods").is_empty());
    assert_eq!(world.find(RCS, RC), None);
}

#[test]
fn should_not_delete_dependents_that_have_both_valid_owner_and_owner_that_s_waiting_for_dependents_to_be_deleted() {
    let mut world = with_pods(10);
    world.create(RCS, "acme", "e2e", controller("to-stay", 0)).expect("created");
    world.settle();
    let stays = world.get(RCS, "acme/e2e/to-stay")["metadata"]["uid"].clone();
    for pod in here(&world, "pods").iter().take(5) {
        world.edit("pods", &path_of(pod), |pod| {
            let owner =
                json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "to-stay", "uid": stays.clone()});
            pod["metadata"]["ownerReferences"].as_array_mut().expect("a list").push(owner);
        });
    }
    world.delete(RCS, RC, Some(Propagation::Foreground));
    world.run_pods();
    assert_eq!(world.find(RCS, RC), None);
    let left = here(&world, "pods");
    assert_eq!(left.len(), 5);
    for pod in &left {
        assert!(pod["metadata"].get("deletionTimestamp").is_none());
        assert_eq!(owners(pod), ["to-stay"]);
    }
}

#[test]
fn should_not_be_blocked_by_dependency_circle() {
    let mut world = fresh();
    let spec = json!({"containers": [{"name": "nginx", "image": "registry.example/nginx:1"}]});
    for name in ["pod1", "pod2", "pod3"] {
        world.create("pods", "acme", "e2e", json!({"metadata": {"name": name}, "spec": spec})).expect("created");
    }
    for (pod, owner) in [("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")] {
        let uid = world.get("pods", &format!("acme/e2e/{owner}"))["metadata"]["uid"].clone();
        world.edit("pods", &format!("acme/e2e/{pod}"), |pod| {
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": uid,
                "controller": true, "blockOwnerDeletion": true});
            pod["metadata"]["ownerReferences"] = json!([owner]);
        });
    }
    world.delete("pods", "acme/e2e/pod1", Some(Propagation::Foreground));
    world.run_pods();
    world.pass(30);
    world.run_pods();
    assert!(here(&world, "pods").is_empty());
}

fn quota(hard: &Value) -> Value {
    json!({"metadata": {"name": "test-quota"}, "spec": {"hard": hard}})
}

fn with_quota(hard: &Value) -> World {
    let mut world = fresh();
    world.create(QUOTAS, "acme", "e2e", quota(hard)).expect("created");
    world.settle();
    world
}

fn used(world: &World, quota: &str) -> Value {
    world.get(QUOTAS, &format!("acme/e2e/{quota}"))["status"]["used"].clone()
}

/// An object is counted when it is made, refused when it is too much, and given back when it goes.
fn lives_under_a_quota(resource: &str, key: &str, object: &Value, before: &str, with: &str) {
    let mut world = with_quota(&json!({key: with}));
    assert_eq!(used(&world, "test-quota")[key], before);
    world.create(resource, "acme", "e2e", object.clone()).expect("created");
    world.settle();
    assert_eq!(used(&world, "test-quota")[key], with);
    let mut second = object.clone();
    second["metadata"]["name"] = json!("second");
    let refused = world.create(resource, "acme", "e2e", second).expect_err("too many");
    assert!(refused.message.contains("exceeded quota: test-quota"), "{refused}");
    let name = object["metadata"]["name"].as_str().expect("a name");
    world.delete(resource, &format!("acme/e2e/{name}"), Some(Propagation::Background));
    world.run_pods();
    world.settle(); // at once: upstream's test waits for a minute at most
    assert_eq!(used(&world, "test-quota")[key], before);
}

#[test]
fn should_create_a_resource_quota_and_ensure_its_status_is_promptly_calculated() {
    let hard = json!({"pods": "5", "services": "3", "count/replicasets.apps": "5", "cpu": "1", "memory": "500Mi"});
    let world = with_quota(&hard);
    let status = world.get(QUOTAS, QUOTA)["status"].clone();
    assert_eq!(status["hard"], hard);
    let none = json!({"pods": "0", "services": "0", "count/replicasets.apps": "0", "cpu": "0", "memory": "0"});
    assert_eq!(status["used"], none);
}

#[test]
fn should_create_a_resource_quota_and_capture_the_life_of_a_config_map() {
    let map = json!({"metadata": {"name": "test-configmap"}, "data": {"a": "b"}});
    lives_under_a_quota("configmaps", "configmaps", &map, "1", "2"); // kube-root-ca.crt is one
}

#[test]
fn should_create_a_resource_quota_and_capture_the_life_of_a_secret() {
    let secret = json!({"metadata": {"name": "test-secret"}, "data": {"data-1": "dmFsdWUtMQ=="}});
    lives_under_a_quota("secrets", "secrets", &secret, "0", "1");
}

#[test]
fn should_create_a_resource_quota_and_capture_the_life_of_a_service() {
    let port = json!([{"port": 80, "targetPort": 80}]);
    let service = json!({"metadata": {"name": "test-service"}, "spec": {"type": "ClusterIP", "ports": port}});
    lives_under_a_quota("services", "services", &service, "0", "1");
    let node = json!({"metadata": {"name": "test-service-np"}, "spec": {"type": "NodePort", "ports": port}});
    lives_under_a_quota("services", "services.nodeports", &node, "0", "1");
    let balanced = json!({"metadata": {"name": "test-service-lb"}, "spec": {"type": "LoadBalancer", "ports": port}});
    lives_under_a_quota("services", "services.loadbalancers", &balanced, "0", "1");
}

fn asking(name: &str, resources: &Value) -> Value {
    let containers = json!([{"name": "pause", "image": "registry.example/pause:1", "resources": resources}]);
    json!({"metadata": {"name": name}, "spec": {"containers": containers}})
}

#[test]
fn should_create_a_resource_quota_and_capture_the_life_of_a_pod() {
    let mut world = with_quota(&json!({
        "pods": "5", "cpu": "1", "memory": "500Mi", "requests.ephemeral-storage": "50Gi", "requests.example.com/dongle": "3",
    }));
    let asks = json!({
        "requests": {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "example.com/dongle": "2"},
        "limits": {"example.com/dongle": "2"},
    });
    world.create("pods", "acme", "e2e", asking("test-pod", &asks)).expect("created");
    world.settle();
    let with = json!({"pods": "1", "cpu": "500m", "memory": "252Mi", "requests.ephemeral-storage": "30Gi",
        "requests.example.com/dongle": "2"});
    assert_eq!(used(&world, "test-quota"), with);
    let too_much = json!({"requests": {"cpu": "600m", "memory": "100Mi"}});
    world.create("pods", "acme", "e2e", asking("fail-pod", &too_much)).expect_err("too much cpu");
    let dongles = json!({
        "requests": {"cpu": "500m", "memory": "100Mi", "ephemeral-storage": "1Gi", "example.com/dongle": "2"},
        "limits": {"example.com/dongle": "2"},
    });
    world.create("pods", "acme", "e2e", asking("fail-pod-dongles", &dongles)).expect_err("too many dongles");
    // What it asks for cannot be changed so that it would get round the quota.
    let pod = world.get("pods", "acme/e2e/test-pod");
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "500m");
    assert_eq!(used(&world, "test-quota"), with);
    world.delete("pods", "acme/e2e/test-pod", None);
    world.run_pods();
    let none = json!({"pods": "0", "cpu": "0", "memory": "0", "requests.ephemeral-storage": "0",
        "requests.example.com/dongle": "0"});
    assert_eq!(used(&world, "test-quota"), none);
}

#[test]
fn should_create_a_resource_quota_and_capture_the_life_of_a_replication_controller() {
    lives_under_a_quota(RCS, "replicationcontrollers", &controller("test-rc", 0), "0", "1");
}

#[test]
fn should_create_a_resource_quota_and_capture_the_life_of_a_replica_set() {
    let mut set = controller("test-rs", 0);
    set["spec"]["selector"] = json!({"matchLabels": {"name": "test-rs"}});
    lives_under_a_quota("replicasets.apps", "count/replicasets.apps", &set, "0", "1");
}

/// Two quotas of opposite scopes: each counts its own pods alone.
fn count_their_own(scopes: [&str; 2], pods: [(&str, Value); 2]) {
    let mut world = fresh();
    for (name, scope) in ["quota-one", "quota-two"].iter().zip(scopes) {
        let object = json!({"metadata": {"name": name}, "spec": {"hard": {"pods": "5"}, "scopes": [scope]}});
        world.create(QUOTAS, "acme", "e2e", object).expect("created");
    }
    world.settle();
    for (at, (name, pod)) in pods.iter().enumerate() {
        world.create("pods", "acme", "e2e", pod.clone()).expect("created");
        world.settle();
        let both = [used(&world, "quota-one")["pods"].clone(), used(&world, "quota-two")["pods"].clone()];
        assert_eq!(both, if at == 0 { ["1", "0"] } else { ["0", "1"] }, "{name}");
        world.delete("pods", &format!("acme/e2e/{name}"), None);
        world.run_pods();
        let both = [used(&world, "quota-one")["pods"].clone(), used(&world, "quota-two")["pods"].clone()];
        assert_eq!(both, ["0", "0"], "{name}");
    }
}

#[test]
fn should_verify_resource_quota_with_terminating_scopes() {
    let asks = json!({"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "1", "memory": "400Mi"}});
    let stays = asking("stays", &asks);
    let mut ends = asking("ends", &asks);
    ends["spec"]["activeDeadlineSeconds"] = json!(3600);
    count_their_own(["NotTerminating", "Terminating"], [("stays", stays), ("ends", ends)]);
}

#[test]
fn should_verify_resource_quota_with_best_effort_scope() {
    let asks = json!({"requests": {"cpu": "500m", "memory": "200Mi"}, "limits": {"cpu": "500m", "memory": "200Mi"}});
    let pods = [("modest", asking("modest", &json!({}))), ("asking", asking("asking", &asks))];
    count_their_own(["BestEffort", "NotBestEffort"], pods);
}

#[test]
fn should_be_able_to_update_and_delete_resource_quota() {
    let mut world = with_quota(&json!({"cpu": "1", "memory": "500Mi"}));
    let read = world.get(QUOTAS, QUOTA);
    assert_eq!(read["spec"]["hard"], json!({"cpu": "1", "memory": "500Mi"}));
    world.edit(QUOTAS, QUOTA, |quota| quota["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"}));
    world.settle();
    let changed = world.get(QUOTAS, QUOTA);
    assert_eq!(changed["spec"]["hard"], json!({"cpu": "2", "memory": "1Gi"}));
    assert_eq!(changed["status"]["hard"], changed["spec"]["hard"]);
    world.delete(QUOTAS, QUOTA, None);
    assert_eq!(world.find(QUOTAS, QUOTA), None);
}

#[test]
fn should_manage_the_lifecycle_of_a_resource_quota() {
    let mut world = fresh();
    let mut object = quota(&json!({"cpu": "1", "memory": "500Mi"}));
    object["metadata"]["labels"] = json!({"test-quota": "yes"});
    world.create(QUOTAS, "acme", "e2e", object).expect("created");
    world.settle();
    world.edit(QUOTAS, QUOTA, |quota| {
        quota["metadata"]["labels"]["test-quota"] = json!("patched");
        quota["spec"]["hard"] = json!({"memory": "750Mi"});
    });
    world.settle();
    let all = here(&world, QUOTAS);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["metadata"]["labels"]["test-quota"], "patched");
    assert_eq!(all[0]["status"]["hard"], json!({"memory": "750Mi"}));
    world.delete(QUOTAS, QUOTA, None);
    assert!(here(&world, QUOTAS).is_empty());
}

#[test]
fn should_apply_changes_to_a_resourcequota_status() {
    let mut world = with_quota(&json!({"cpu": "500m", "memory": "500Mi"}));
    world.edit_status(QUOTAS, QUOTA, |quota| quota["status"]["hard"] = json!({"cpu": "1", "memory": "1Gi"}));
    // The controller looks at what is wanted, and says so again.
    world.settle();
    world.pass(600);
    assert_eq!(world.get(QUOTAS, QUOTA)["status"]["hard"], json!({"cpu": "500m", "memory": "500Mi"}));
    assert_eq!(world.get(QUOTAS, QUOTA)["spec"]["hard"], json!({"cpu": "500m", "memory": "500Mi"}));
}

#[test]
fn should_ensure_that_all_services_are_removed_when_a_namespace_is_deleted() {
    let mut world = fresh();
    let make = |world: &mut World| {
        world.create("namespaces", "acme", "", json!({"metadata": {"name": "nsdeletetest"}})).expect("created");
        world.settle();
    };
    make(&mut world);
    let spec = json!({"selector": {"foo": "bar"}, "ports": [{"port": 80, "targetPort": 80}]});
    let service = json!({"metadata": {"name": "test-service"}, "spec": spec});
    world.create("services", "acme", "nsdeletetest", service).expect("created");
    world.settle();
    world.delete("namespaces", "acme//nsdeletetest", None);
    world.run_pods();
    world.pass(30);
    assert_eq!(world.find("namespaces", "acme//nsdeletetest"), None);
    make(&mut world);
    assert_eq!(world.find("services", "acme/nsdeletetest/test-service"), None);
}

/// A cron job that makes a job every minute, of pods that never end.
fn cron(policy: &str) -> Value {
    let spec =
        json!({"containers": [{"name": "c", "image": "registry.example/busybox:1"}], "restartPolicy": "OnFailure"});
    json!({
        "metadata": {"name": "concurrent"},
        "spec": {
            "schedule": "*/1 * * * ?", "concurrencyPolicy": policy,
            "jobTemplate": {"spec": {"parallelism": 1, "completions": 1, "template": {"spec": spec}}},
        },
    })
}

fn active(world: &World) -> usize {
    world.get(CRONS, CRON)["status"]["active"].as_array().map_or(0, Vec::len)
}

#[test]
fn should_not_schedule_jobs_when_suspended() {
    let mut world = fresh();
    let mut object = cron("Allow");
    object["spec"]["suspend"] = json!(true);
    world.create(CRONS, "acme", "e2e", object).expect("created");
    world.settle();
    world.pass(300);
    assert!(here(&world, JOBS).is_empty());
}

#[test]
fn should_not_schedule_new_jobs_when_forbid_concurrent() {
    let mut world = fresh();
    world.create(CRONS, "acme", "e2e", cron("Forbid")).expect("created");
    world.settle();
    world.pass(61);
    assert_eq!((here(&world, JOBS).len(), active(&world)), (1, 1));
    world.pass(120);
    assert_eq!((here(&world, JOBS).len(), active(&world)), (1, 1));
    assert!(!world.events("JobAlreadyActive").is_empty());
}

#[test]
fn should_replace_jobs_when_replace_concurrent() {
    let mut world = fresh();
    world.create(CRONS, "acme", "e2e", cron("Replace")).expect("created");
    world.settle();
    world.pass(61);
    let first = path_of(&here(&world, JOBS)[0]);
    world.pass(60);
    world.run_pods();
    let jobs = here(&world, JOBS);
    assert_eq!((jobs.len(), active(&world)), (1, 1));
    assert_ne!(path_of(&jobs[0]), first);
    assert_eq!(owners(&jobs[0]), ["concurrent"]);
}

#[test]
fn should_schedule_multiple_jobs_concurrently() {
    let mut world = fresh();
    world.create(CRONS, "acme", "e2e", cron("Allow")).expect("created");
    world.settle();
    world.pass(121);
    assert_eq!((here(&world, JOBS).len(), active(&world)), (2, 2));
    assert_eq!(world.get(CRONS, CRON)["status"]["lastScheduleTime"], "2026-11-23T10:02:00Z");
}

#[test]
fn should_surface_a_failure_condition_on_a_common_issue_like_exceeded_quota() {
    let mut world = with_quota(&json!({"pods": "2"}));
    world.create(RCS, "acme", "e2e", controller("condition-test", 3)).expect("created");
    world.settle();
    let path = "acme/e2e/condition-test";
    let failure = condition(&world.get(RCS, path), "ReplicaFailure");
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("FailedCreate")));
    assert!(failure["message"].as_str().is_some_and(|text| text.contains("exceeded quota")), "{failure}");
    world.edit(RCS, path, |rc| rc["spec"]["replicas"] = json!(2));
    world.run_pods();
    assert_eq!(condition(&world.get(RCS, path), "ReplicaFailure"), Value::Null);
    assert_eq!(here(&world, "pods").len(), 2);
}

fn budget(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"kind": "test"}}, "spec": spec})
}

#[test]
fn should_create_a_pod_disruption_budget() {
    let mut world = fresh();
    let selector = json!({"matchLabels": {"foo": "bar"}});
    world
        .create(BUDGETS, "acme", "e2e", budget("foo", &json!({"minAvailable": "1%", "selector": selector})))
        .expect("created");
    world.settle();
    let path = "acme/e2e/foo";
    assert_eq!(world.get(BUDGETS, path)["status"]["observedGeneration"], 1);
    world.edit(BUDGETS, path, |budget| budget["spec"]["minAvailable"] = json!("2%"));
    world.settle();
    let changed = world.get(BUDGETS, path);
    assert_eq!((&changed["spec"]["minAvailable"], &changed["status"]["observedGeneration"]), (&json!("2%"), &json!(2)));
    let said = condition(&changed, "DisruptionAllowed");
    assert_eq!((&said["status"], &said["reason"]), (&json!("False"), &json!("InsufficientPods")));
    world.delete(BUDGETS, path, None);
    assert_eq!(world.find(BUDGETS, path), None);
}

#[test]
fn should_list_and_delete_a_collection_of_pod_disruption_budgets() {
    let mut world = fresh();
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"foo": "bar"}}});
    for name in ["foo", "foo2"] {
        world.create(BUDGETS, "acme", "e2e", budget(name, &spec)).expect("created");
    }
    world.settle();
    let all = here(&world, BUDGETS);
    assert!(all.iter().all(|budget| budget["status"]["observedGeneration"] == 1));
    assert_eq!(all.len(), 2);
    for object in all {
        world.delete(BUDGETS, &path_of(&object), None);
    }
    world.settle();
    assert!(here(&world, BUDGETS).is_empty());
}

#[test]
fn should_guarantee_kube_root_ca_crt_exist_in_any_namespace() {
    let mut world = fresh();
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "svcaccounts"}})).expect("created");
    world.settle();
    let path = "acme/svcaccounts/kube-root-ca.crt";
    let published = world.get("configmaps", path)["data"].clone();
    assert!(published["ca.crt"].as_str().is_some_and(|pem| pem.contains("BEGIN CERTIFICATE")));
    world.delete("configmaps", path, None);
    world.settle();
    assert_eq!(world.get("configmaps", path)["data"], published);
    world.edit("configmaps", path, |map| map["data"] = json!({"ca.crt": "somebody else's"}));
    world.settle();
    assert_eq!(world.get("configmaps", path)["data"], published);
}

#[test]
fn should_create_and_delete_endpoints_and_endpoint_slices_for_a_service_with_a_selector_specified() {
    let mut world = fresh();
    let spec = json!({
        "selector": {"does-not-match-anything": "endpoints-and-endpoint-slices-should-still-be-created"},
        "ports": [{"name": "example", "port": 80, "protocol": "TCP"}],
    });
    let service = json!({"metadata": {"name": "example-empty-selector"}, "spec": spec});
    world.create("services", "acme", "e2e", service).expect("created");
    world.settle();
    let path = "acme/e2e/example-empty-selector";
    assert!(world.find("endpoints", path).is_some());
    let ours = |world: &World| {
        let mut slices = here(world, SLICES);
        slices.retain(|it| it["metadata"]["labels"]["kubernetes.io/service-name"] == "example-empty-selector");
        slices
    };
    let slices = ours(&world);
    assert_eq!(slices.len(), 1);
    assert_eq!(
        slices[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(owners(&slices[0]), ["example-empty-selector"]);
    world.delete("services", path, None);
    world.settle();
    world.pass(5);
    assert_eq!(world.find("endpoints", path), None);
    assert!(ours(&world).is_empty());
}

#[test]
fn should_mirror_a_custom_endpoints_resource_through_create_update_and_delete() {
    let mut world = fresh();
    let service = json!({"metadata": {"name": "example"}, "spec": {"ports": [{"name": "example", "port": 80}]}});
    world.create("services", "acme", "e2e", service).expect("created");
    let subsets = json!([{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]);
    let endpoints = json!({"metadata": {"name": "example", "labels": {"mine": "yes"}}, "subsets": subsets});
    world.create("endpoints", "acme", "e2e", endpoints).expect("created");
    world.settle();
    let ours = |world: &World| {
        let mut slices = here(world, SLICES);
        slices.retain(|it| it["metadata"]["labels"]["kubernetes.io/service-name"] == "example");
        slices
    };
    let slices = ours(&world);
    assert_eq!(slices.len(), 1);
    let labels = &slices[0]["metadata"]["labels"];
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslicemirroring-controller.k8s.io");
    assert_eq!(labels["mine"], "yes");
    assert_eq!((&slices[0]["addressType"], &slices[0]["ports"][0]["port"]), (&json!("IPv4"), &json!(80)));
    assert_eq!(slices[0]["endpoints"], json!([{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}]));
    world.edit("endpoints", "acme/e2e/example", |endpoints| {
        endpoints["subsets"] = json!([{"addresses": [{"ip": "10.2.3.4"}], "ports": [{"port": 8080}]}]);
    });
    world.settle();
    let slices = ours(&world);
    assert_eq!(slices.len(), 1);
    assert_eq!(
        (&slices[0]["endpoints"][0]["addresses"], &slices[0]["ports"][0]["port"]),
        (&json!(["10.2.3.4"]), &json!(8080))
    );
    world.delete("endpoints", "acme/e2e/example", None);
    world.settle();
    world.pass(5);
    assert!(ours(&world).is_empty());
}
