//! Kinds whose objects can be made, read, changed and deleted, whatever becomes of them.

use http::Method;
use serde_json::{Value, json};

use super::{Subject, fine, names, operations};
use crate::certificates::signing_request;
use crate::{MAPS, World, map, pod};

async fn has_operations(subject: Subject) {
    operations(&World::new().await, &subject).await;
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {
        "containers": [{"name": "main", "image": "registry.example/app:1"}], "restartPolicy": "OnFailure",
    }})
}

#[tokio::test]
async fn should_support_flow_schema_api_operations() {
    let spec = json!({"priorityLevelConfiguration": {"name": "global-default"}, "matchingPrecedence": 9000});
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
    has_operations(Subject::new(path, json!({"spec": spec})).with_status().settling()).await;
}

#[tokio::test]
async fn should_support_priority_level_configuration_api_operations() {
    let spec = json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"},
    }});
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    has_operations(Subject::new(path, json!({"spec": spec})).with_status()).await;
}

#[tokio::test]
async fn should_support_cron_job_api_operations() {
    let spec = json!({"schedule": "*/1 * * * ?", "jobTemplate": {"spec": {"template": template()}}});
    let subject = Subject::new("/apis/batch/v1/namespaces/default/cronjobs", json!({"spec": spec}));
    has_operations(subject.everywhere("/apis/batch/v1/cronjobs").with_status()).await;
}

#[tokio::test]
async fn should_support_csr_api_operations() {
    let request = signing_request();
    let spec = json!({"request": request, "signerName": "example.com/e2e", "usages": ["digital signature"]});
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let (world, subject) = (World::new().await, Subject::new(path, json!({"spec": spec})).with_status());
    operations(&world, &subject).await;
    let made = fine(world.post("acme", path, subject.object("approved")).await, 201);
    assert_eq!(made["spec"]["username"], "alice");
    let condition = json!([{"type": "Approved", "status": "True", "reason": "E2E", "message": "set by a test"}]);
    let mut approved = made;
    approved["status"] = json!({"conditions": condition});
    let approved = fine(world.put("acme", &format!("{path}/approved/approval"), approved).await, 200);
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
    // What is written beside the conditions is written as well.
    let patch = json!({"metadata": {"annotations": {"patchedapproval": "true"}}, "spec": {"signerName": "example.com/b"},
        "status": {"conditions": [{"type": "ApprovalPatch", "status": "True", "reason": "E2E"}], "certificate": "QQ=="}});
    let other = fine(world.post("acme", path, subject.object("patched")).await, 201);
    let patched = fine(world.patch("acme", &format!("{path}/patched/approval"), patch).await, 200);
    assert_eq!(patched["metadata"]["annotations"]["patchedapproval"], "true");
    assert_eq!(patched["status"]["conditions"][0]["type"], "ApprovalPatch");
    assert_eq!(patched["status"]["certificate"], Value::Null);
    assert_eq!(patched["spec"], other["spec"]);
}

#[tokio::test]
async fn should_support_creating_endpoint_slice_api_operations() {
    let fields = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 80}]});
    let subject = Subject::new("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", fields);
    has_operations(subject.everywhere("/apis/discovery.k8s.io/v1/endpointslices")).await;
}

#[tokio::test]
async fn should_support_creating_ingress_api_operations() {
    let spec = json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}});
    let subject = Subject::new("/apis/networking.k8s.io/v1/namespaces/default/ingresses", json!({"spec": spec}));
    has_operations(subject.everywhere("/apis/networking.k8s.io/v1/ingresses").with_status()).await;
}

#[tokio::test]
async fn should_support_creating_ingress_class_api_operations() {
    let fields = json!({"spec": {"controller": "example.com/controller"}});
    has_operations(Subject::new("/apis/networking.k8s.io/v1/ingressclasses", fields)).await;
}

#[tokio::test]
async fn should_support_runtime_classes_api_operations() {
    has_operations(Subject::new("/apis/node.k8s.io/v1/runtimeclasses", json!({"handler": "runsc"}))).await;
}

#[tokio::test]
async fn lease_api_should_be_available() {
    let spec = json!({"holderIdentity": "holder", "leaseDurationSeconds": 30, "leaseTransitions": 0});
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    has_operations(Subject::new(path, json!({"spec": spec})).everywhere("/apis/coordination.k8s.io/v1/leases")).await;
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_pod_templates() {
    let subject = Subject::new("/api/v1/namespaces/default/podtemplates", json!({"template": template()}));
    has_operations(subject.everywhere("/api/v1/podtemplates")).await;
}

#[tokio::test]
async fn should_replace_a_pod_template() {
    let (world, path) = (World::new().await, "/api/v1/namespaces/default/podtemplates");
    let made = json!({"metadata": {"name": "t"}, "template": template()});
    let mut made = fine(world.post("acme", path, made).await, 201);
    made["template"]["spec"]["containers"][0]["image"] = json!("registry.example/other:2");
    let replaced = fine(world.put("acme", &format!("{path}/t"), made).await, 200);
    assert_eq!(replaced["template"]["spec"]["containers"][0]["image"], "registry.example/other:2");
    assert_eq!(replaced["metadata"]["generation"], 2);
}

#[tokio::test]
async fn should_delete_a_collection_of_pod_templates() {
    let (world, path) = (World::new().await, "/api/v1/namespaces/default/podtemplates");
    for (name, set) in [("a", "one"), ("b", "one"), ("c", "two")] {
        let object = json!({"metadata": {"name": name, "labels": {"set": set}}, "template": template()});
        fine(world.post("acme", path, object).await, 201);
    }
    fine(world.send("acme", Method::DELETE, &format!("{path}?labelSelector=set%3Done"), None).await, 200);
    assert_eq!(names(&world.get("acme", path).await.body), ["c"]);
}

#[tokio::test]
async fn should_run_through_a_config_map_lifecycle() {
    has_operations(Subject::new(MAPS, json!({"data": {"a": "1"}})).everywhere("/api/v1/configmaps")).await;
}

#[tokio::test]
async fn should_fail_to_create_config_map_with_empty_key() {
    let world = World::new().await;
    let mut bad = map("a");
    bad["data"] = json!({"": "value"});
    assert_eq!(world.post("acme", MAPS, bad).await.code, 422);
}

#[tokio::test]
async fn should_fail_to_create_secret_due_to_empty_secret_key() {
    let bad = json!({"metadata": {"name": "a"}, "data": {"": "dmFsdWU="}});
    assert_eq!(World::new().await.post("acme", "/api/v1/namespaces/default/secrets", bad).await.code, 422);
}

#[tokio::test]
async fn should_patch_a_secret() {
    let subject = Subject::new("/api/v1/namespaces/default/secrets", json!({"data": {"a": "dmFsdWU="}}));
    has_operations(subject.everywhere("/api/v1/secrets")).await;
}

async fn stays_as_it_is(path: &str, fields: Value) {
    let world = World::new().await;
    let mut object = fields;
    object["metadata"] = json!({"name": "a"});
    fine(world.post("acme", path, object).await, 201);
    let at = format!("{path}/a");
    fine(world.patch("acme", &at, json!({"data": {"a": "Mg=="}})).await, 200);
    fine(world.patch("acme", &at, json!({"immutable": true})).await, 200);
    assert_eq!(world.patch("acme", &at, json!({"data": {"a": "Mw=="}})).await.code, 422);
    assert_eq!(world.patch("acme", &at, json!({"immutable": false})).await.code, 422);
    fine(world.patch("acme", &at, json!({"metadata": {"labels": {"a": "b"}}})).await, 200);
    fine(world.delete("acme", &at).await, 200);
}

#[tokio::test]
async fn config_map_should_be_immutable_if_immutable_field_is_set() {
    stays_as_it_is(MAPS, json!({"data": {"a": "1"}})).await;
}

#[tokio::test]
async fn secret_should_be_immutable_if_immutable_field_is_set() {
    stays_as_it_is("/api/v1/namespaces/default/secrets", json!({"data": {"a": "MQ=="}})).await;
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_service_account() {
    has_operations(
        Subject::new("/api/v1/namespaces/default/serviceaccounts", json!({})).everywhere("/api/v1/serviceaccounts"),
    )
    .await;
}

#[tokio::test]
async fn should_update_a_service_account() {
    let (world, path) = (World::new().await, "/api/v1/namespaces/default/serviceaccounts");
    let made = json!({"metadata": {"name": "a"}, "automountServiceAccountToken": false});
    let mut made = fine(world.post("acme", path, made).await, 201);
    made["automountServiceAccountToken"] = json!(true);
    assert_eq!(fine(world.put("acme", &format!("{path}/a"), made).await, 200)["automountServiceAccountToken"], true);
}

#[tokio::test]
async fn a_service_that_becomes_a_name_keeps_nothing_of_what_it_was() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/services";
    for kind in ["ClusterIP", "NodePort", "LoadBalancer"] {
        let name = kind.to_lowercase();
        let ports = json!([{"name": "http", "port": 80}]);
        let made = json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": ports}});
        let mut service = fine(world.post("acme", path, made).await, 201);
        service["spec"]["type"] = json!("ExternalName");
        service["spec"]["externalName"] = json!("example.com");
        let named = fine(world.put("acme", &format!("{path}/{name}"), service).await, 200)["spec"].clone();
        for gone in ["clusterIP", "clusterIPs", "externalTrafficPolicy", "allocateLoadBalancerNodePorts"] {
            assert_eq!(named[gone], Value::Null, "{kind}: {gone}");
        }
        assert_eq!(named["ports"][0]["nodePort"], Value::Null, "{kind}");
    }
}

#[tokio::test]
async fn should_complete_a_service_status_lifecycle() {
    let (world, path) = (World::new().await, "/api/v1/namespaces/default/services");
    let service = json!({"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    fine(world.post("acme", path, service).await, 201);
    let at = format!("{path}/web/status");
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}});
    let patched = fine(world.patch("acme", &at, status).await, 200);
    assert_eq!(patched["status"]["loadBalancer"]["ingress"][0]["ip"], "203.0.113.1");
    let mut shown = fine(world.get("acme", &at).await, 200);
    let time = "2026-11-23T10:00:00Z";
    shown["status"]["conditions"] = json!([{
        "type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set by a test", "lastTransitionTime": time,
    }]);
    assert_eq!(fine(world.put("acme", &at, shown).await, 200)["status"]["conditions"][0]["reason"], "E2E");
    fine(world.delete("acme", &format!("{path}/web")).await, 200);
}

#[tokio::test]
async fn should_delete_a_collection_of_services() {
    let (world, path) = (World::new().await, "/api/v1/namespaces/default/services");
    for (name, set) in [("a", "one"), ("b", "one"), ("c", "two")] {
        let object = json!({"metadata": {"name": name, "labels": {"set": set}}, "spec": {"ports": [{"port": 80}]}});
        fine(world.post("acme", path, object).await, 201);
    }
    fine(world.send("acme", Method::DELETE, &format!("{path}?labelSelector=set%3Done"), None).await, 200);
    assert_eq!(names(&world.get("acme", &format!("{path}?labelSelector=set")).await.body), ["c"]);
}

#[tokio::test]
async fn should_find_a_service_from_listing_all_namespaces() {
    let world = World::new().await;
    let service = json!({"metadata": {"name": "here"}, "spec": {"ports": [{"port": 80}]}});
    fine(world.post("acme", "/api/v1/namespaces/default/services", service).await, 201);
    assert!(names(&fine(world.get("acme", "/api/v1/services").await, 200)).contains(&"here".to_owned()));
}

#[tokio::test]
async fn should_provide_secure_master_service() {
    let service = fine(World::new().await.get("root", "/api/v1/namespaces/default/services/kubernetes").await, 200);
    assert_eq!(
        (&service["spec"]["ports"][0]["port"], &service["spec"]["ports"][0]["name"]),
        (&json!(443), &json!("https"))
    );
}

#[tokio::test]
async fn should_test_the_lifecycle_of_an_endpoint() {
    let subsets = json!([{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]);
    let subject = Subject::new("/api/v1/namespaces/default/endpoints", json!({"subsets": subsets}));
    has_operations(subject.everywhere("/api/v1/endpoints")).await;
}

#[tokio::test]
async fn should_manage_the_lifecycle_of_an_event() {
    let fields = json!({
        "involvedObject": {"namespace": "default"}, "reason": "Test", "message": "a test", "type": "Normal",
        "source": {"component": "test"},
    });
    has_operations(Subject::new("/api/v1/namespaces/default/events", fields).everywhere("/api/v1/events")).await;
}

#[tokio::test]
async fn should_delete_a_collection_of_events() {
    let (world, path) = (World::new().await, "/api/v1/namespaces/default/events");
    for name in ["a", "b"] {
        let object =
            json!({"metadata": {"name": name, "labels": {"set": "one"}}, "involvedObject": {"namespace": "default"}});
        fine(world.post("acme", path, object).await, 201);
    }
    fine(world.send("acme", Method::DELETE, &format!("{path}?labelSelector=set%3Done"), None).await, 200);
    assert!(names(&world.get("acme", path).await.body).is_empty());
}

fn event() -> Value {
    json!({
        "eventTime": "2026-11-23T10:00:00.000000Z", "action": "Do", "reason": "Test", "type": "Normal", "note": "a test",
        "regarding": {"namespace": "default"}, "reportingController": "test-controller", "reportingInstance": "test-node",
    })
}

#[tokio::test]
async fn should_ensure_that_an_event_can_be_fetched_patched_deleted_and_listed() {
    let subject = Subject::new("/apis/events.k8s.io/v1/namespaces/default/events", event());
    has_operations(subject.everywhere("/apis/events.k8s.io/v1/events")).await;
}

#[tokio::test]
async fn should_delete_a_collection_of_events_of_the_new_api() {
    let (world, path) = (World::new().await, "/apis/events.k8s.io/v1/namespaces/default/events");
    let subject = Subject::new(path, event());
    for name in ["a", "b"] {
        fine(world.post("acme", path, subject.object(name)).await, 201);
    }
    fine(world.send("acme", Method::DELETE, &format!("{path}?labelSelector=test%3Dyes"), None).await, 200);
    assert!(names(&world.get("acme", path).await.body).is_empty());
}

#[tokio::test]
async fn verify_priority_class_endpoints_can_be_operated_with_different_http_methods() {
    has_operations(Subject::new("/apis/scheduling.k8s.io/v1/priorityclasses", json!({"value": 1000}))).await;
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_csi_driver() {
    has_operations(Subject::new("/apis/storage.k8s.io/v1/csidrivers", json!({"spec": {"attachRequired": false}})))
        .await;
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_csi_node() {
    let drivers = json!({"drivers": [{"name": "driver.example.com", "nodeID": "n"}]});
    has_operations(Subject::new("/apis/storage.k8s.io/v1/csinodes", json!({"spec": drivers})).by("root")).await;
}

#[tokio::test]
async fn should_support_csi_storage_capacities_api_operations() {
    let fields = json!({"storageClassName": "fast", "nodeTopology": {}, "capacity": "1Gi"});
    let subject = Subject::new("/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities", fields);
    has_operations(subject.everywhere("/apis/storage.k8s.io/v1/csistoragecapacities")).await;
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_storage_class() {
    let fields = json!({"provisioner": "example.com/provisioner"});
    has_operations(Subject::new("/apis/storage.k8s.io/v1/storageclasses", fields)).await;
}

fn attachment() -> Value {
    json!({"spec": {"attacher": "example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}})
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_volume_attachment() {
    has_operations(Subject::new("/apis/storage.k8s.io/v1/volumeattachments", attachment())).await;
}

#[tokio::test]
async fn should_apply_changes_to_a_volume_attachment_status() {
    let (world, path) = (World::new().await, "/apis/storage.k8s.io/v1/volumeattachments");
    let mut object = attachment();
    object["metadata"] = json!({"name": "a"});
    fine(world.post("acme", path, object).await, 201);
    let at = format!("{path}/a/status");
    assert_eq!(
        fine(world.patch("acme", &at, json!({"status": {"attached": true}})).await, 200)["status"]["attached"],
        true
    );
    let mut shown = fine(world.get("acme", &at).await, 200);
    shown["status"]["attached"] = json!(false);
    assert_eq!(fine(world.put("acme", &at, shown).await, 200)["status"]["attached"], false);
}

fn volume() -> Value {
    json!({"spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/test"},
        "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "none",
    }})
}

fn claim() -> Value {
    json!({"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none",
    }})
}

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_pv_and_a_pvc() {
    // What protects volumes and claims would keep them for a controller that is not here.
    let world = World::with(|config| {
        config.admission.disabled.insert("StorageObjectInUseProtection".to_owned());
    })
    .await;
    operations(&world, &Subject::new("/api/v1/persistentvolumes", volume()).with_status()).await;
    let subject = Subject::new(CLAIMS, claim()).everywhere("/api/v1/persistentvolumeclaims");
    operations(&world, &subject.with_status()).await;
}

#[tokio::test]
async fn should_apply_changes_to_a_pv_pvc_status() {
    let world = World::new().await;
    for (path, object) in [("/api/v1/persistentvolumes", volume()), (CLAIMS, claim())] {
        let mut object = object;
        object["metadata"] = json!({"name": "a"});
        fine(world.post("acme", path, object).await, 201);
        let at = format!("{path}/a/status");
        let patched = fine(world.patch("acme", &at, json!({"status": {"phase": "Bound"}})).await, 200);
        assert_eq!(patched["status"]["phase"], "Bound");
        let mut shown = fine(world.get("acme", &at).await, 200);
        shown["status"]["phase"] = json!("Lost");
        if path != CLAIMS {
            shown["status"]["phase"] = json!("Failed");
        }
        fine(world.put("acme", &at, shown).await, 200);
    }
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_node() {
    let subject = Subject::new("/api/v1/nodes", json!({})).by("root");
    has_operations(subject.with_status()).await;
}

#[tokio::test]
async fn should_reject_invalid_sysctls() {
    let world = World::new().await;
    let mut bad = pod("a");
    let sysctl = |name: &str| json!({"name": name, "value": "1"});
    bad["spec"]["securityContext"] = json!({"sysctls": [sysctl("kernel.shmmax"), sysctl("foo-"), sysctl("bar..")]});
    let refused = world.post("acme", "/api/v1/namespaces/default/pods", bad).await;
    let message = refused.body["message"].as_str().unwrap();
    assert_eq!(refused.code, 422);
    assert!(message.contains("Invalid value: \"foo-\"") && message.contains("Invalid value: \"bar..\""), "{message}");
    assert!(!message.contains("kernel.shmmax"), "{message}");
}

#[tokio::test]
async fn should_be_set_on_pods_with_matching_resource_requests_and_limits() {
    let world = World::new().await;
    let mut guaranteed = pod("a");
    let amounts = json!({"cpu": "100m", "memory": "100Mi"});
    guaranteed["spec"]["containers"][0]["resources"] = json!({"requests": amounts, "limits": amounts});
    let made = fine(world.post("acme", "/api/v1/namespaces/default/pods", guaranteed).await, 201);
    assert_eq!(made["status"]["qosClass"], "Guaranteed");
}

#[tokio::test]
async fn should_reject_a_pod_requesting_a_non_existent_runtime_class() {
    let mut bad = pod("a");
    bad["spec"]["runtimeClassName"] = json!("nowhere");
    assert_eq!(World::new().await.post("acme", "/api/v1/namespaces/default/pods", bad).await.code, 403);
}

#[tokio::test]
async fn should_reject_a_pod_requesting_a_deleted_runtime_class() {
    let (world, path) = (World::new().await, "/apis/node.k8s.io/v1/runtimeclasses");
    fine(world.post("acme", path, json!({"metadata": {"name": "r"}, "handler": "runsc"})).await, 201);
    fine(world.delete("acme", &format!("{path}/r")).await, 200);
    let mut bad = pod("a");
    bad["spec"]["runtimeClassName"] = json!("r");
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", bad).await.code, 403);
}

#[tokio::test]
async fn should_create_a_limit_range_with_defaults_and_ensure_pod_has_those_defaults_applied() {
    let (world, path) = (World::new().await, "/api/v1/namespaces/default/limitranges");
    let limits = json!([{"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]);
    fine(world.post("acme", path, json!({"metadata": {"name": "l"}, "spec": {"limits": limits}})).await, 201);
    let made = fine(world.post("acme", "/api/v1/namespaces/default/pods", pod("a")).await, 201);
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}));
    let mut greedy = pod("b");
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", greedy).await.code, 403);
}

#[tokio::test]
async fn should_list_patch_and_delete_a_limit_range_by_collection() {
    let limits = json!([{"type": "Container", "max": {"cpu": "1"}}]);
    let subject = Subject::new("/api/v1/namespaces/default/limitranges", json!({"spec": {"limits": limits}}));
    has_operations(subject.everywhere("/api/v1/limitranges")).await;
}

#[tokio::test]
async fn should_support_subject_review_api_operations() {
    let world = World::new().await;
    let attributes = json!({"verb": "list", "resource": "configmaps", "version": "v1", "namespace": "default"});
    let review = json!({"spec": {"resourceAttributes": attributes, "user": "system:serviceaccount:default:e2e"}});
    let group = "/apis/authorization.k8s.io/v1";
    let answer = fine(world.post("acme", &format!("{group}/subjectaccessreviews"), review.clone()).await, 201);
    assert_eq!(answer["status"]["allowed"], false);
    let local = format!("{group}/namespaces/default/localsubjectaccessreviews");
    let mut within = review;
    within["metadata"] = json!({"namespace": "default"});
    assert_eq!(fine(world.post("acme", &local, within).await, 201)["status"]["allowed"], false);
}

#[tokio::test]
async fn should_run_through_the_lifecycle_of_a_csi_inline_volume() {
    let driver = json!({"metadata": {"name": "inline.example.com"}, "spec": {"volumeLifecycleModes": ["Ephemeral"]}});
    let world = World::new().await;
    let made = fine(world.post("acme", "/apis/storage.k8s.io/v1/csidrivers", driver).await, 201);
    assert_eq!(made["spec"]["volumeLifecycleModes"], json!(["Ephemeral"]));
    let spec = json!({
        "containers": [{"name": "main", "image": "registry.example/app:1"}],
        "volumes": [{"name": "v", "csi": {"driver": "inline.example.com", "volumeAttributes": {"a": "b"}}}],
    });
    let path = "/api/v1/namespaces/default/pods";
    fine(world.post("acme", path, json!({"metadata": {"name": "a"}, "spec": spec})).await, 201);
    let found = fine(world.get("acme", &format!("{path}/a")).await, 200);
    assert_eq!(found["spec"]["volumes"][0]["csi"]["driver"], "inline.example.com");
    fine(world.patch("acme", &format!("{path}/a"), json!({"metadata": {"labels": {"a": "b"}}})).await, 200);
    assert_eq!(names(&fine(world.get("acme", "/api/v1/pods?labelSelector=a%3Db").await, 200)), ["a"]);
    fine(world.delete("acme", &format!("{path}/a")).await, 200);
    assert_eq!(world.get("acme", &format!("{path}/a")).await.code, 404);
}

#[tokio::test]
async fn should_allow_opting_out_of_api_token_automount() {
    let world = World::with(|config| {
        config.admission.disabled.remove("ServiceAccount");
    })
    .await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    for (name, mounts) in [("default", Value::Null), ("mount", json!(true)), ("nomount", json!(false))] {
        let account = json!({"metadata": {"name": name}, "automountServiceAccountToken": mounts});
        fine(world.post("acme", accounts, account).await, 201);
    }
    for (account, asked, mounted) in [
        ("default", Value::Null, true),
        ("mount", Value::Null, true),
        ("nomount", Value::Null, false),
        ("default", json!(true), true),
        ("mount", json!(true), true),
        ("nomount", json!(true), true),
        ("default", json!(false), false),
        ("mount", json!(false), false),
        ("nomount", json!(false), false),
    ] {
        let mut one = pod(&format!("{account}-{asked}").replace("null", "unset"));
        one["spec"]["serviceAccountName"] = json!(account);
        one["spec"]["automountServiceAccountToken"] = asked.clone();
        let made = fine(world.post("acme", "/api/v1/namespaces/default/pods", one).await, 201);
        let mounts = made["spec"]["containers"][0]["volumeMounts"].to_string();
        assert_eq!(mounts.contains("/var/run/secrets/kubernetes.io/serviceaccount"), mounted, "{account} {asked}");
    }
}

#[tokio::test]
async fn should_have_endpoints_and_endpoint_slices_pointing_to_api_server() {
    // A server that only this machine can reach is no endpoint.
    let world = World::with(|config| config.advertise = ([192, 0, 2, 1], 6443).into()).await;
    let endpoints = fine(world.get("root", "/api/v1/namespaces/default/endpoints/kubernetes").await, 200);
    let address = &endpoints["subsets"][0]["addresses"][0]["ip"];
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let selected = format!("{slices}?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes");
    let found = fine(world.get("root", &selected).await, 200);
    assert_eq!(found["items"][0]["endpoints"][0]["addresses"][0], *address);
    assert_eq!(found["items"][0]["ports"][0]["port"], endpoints["subsets"][0]["ports"][0]["port"]);
}
