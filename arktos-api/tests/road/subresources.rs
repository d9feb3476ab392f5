//! Parts of objects: what is asked of what runs, what a status may say, how many are wanted.

use http::Method;
use serde_json::{Value, json};

use crate::{World, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn what_cannot_be_reached_is_refused_for_what_is_missing() {
    let world = World::new().await;
    let mut two = pod("two");
    two["spec"]["containers"] = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    for body in [pod("one"), two] {
        assert_eq!(world.post("acme", PODS, body).await.code, 201);
    }
    for (path, code, message) in [
        ("one/exec?command=ls", 400, "pod one does not have a host assigned"),
        ("one/log?container=zz", 400, "container zz is not valid for pod one"),
        ("one/proxy/", 400, "address not allowed"),
        ("http:one:80/proxy/", 400, "address not allowed"),
        ("x:one:80/proxy/", 400, "invalid pod request \"x:one:80\""),
        ("two/attach", 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("one/portforward?ports=x", 400, "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax"),
        (
            "none/log?tailLines=-1",
            422,
            "PodLogOptions \"none\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        ("none/log", 404, "pods \"none\" not found"),
    ] {
        let refused = world.get("acme", &format!("{PODS}/{path}")).await;
        assert_eq!((refused.code, refused.body["message"].as_str()), (code, Some(message)), "{path}");
    }
    assert_eq!(world.get("acme", &format!("{PODS}/one/log")).await.code, 204, "nothing was written yet");
}

#[tokio::test]
async fn a_binding_names_a_node() {
    let world = World::new().await;
    world.post("acme", PODS, pod("one")).await;
    let binding =
        |target| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "one"}, "target": target});
    let path = format!("{PODS}/one/binding");
    let refused = world.post("acme", &path, binding(json!({"kind": "Pod"}))).await;
    let message = "[target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", \
                   target.name: Required value]";
    assert_eq!((refused.code, &refused.body["message"]), (500, &json!(message)));
    let mut elsewhere = binding(json!({"name": "n"}));
    elsewhere["metadata"]["namespace"] = json!("other");
    assert_eq!(world.post("acme", &path, elsewhere).await.code, 400);
}

#[tokio::test]
async fn custom_kinds_say_what_a_verb_is_not_for() {
    let world = World::new().await;
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}}}]},
    });
    world.post("acme", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let widgets = "/apis/example.org/v1/namespaces/default/widgets";
    let options = world.send("acme", Method::OPTIONS, widgets, None).await;
    let message = " is not supported on resources of kind \"widgets.example.org\"";
    assert_eq!((options.code, &options.body["message"]), (405, &json!(message)));
    let posted = world.post("acme", &format!("{widgets}/a/status"), json!({})).await;
    assert_eq!((posted.code, &posted.body["message"]), (405, &json!(format!("create{message}"))));
    assert_eq!(posted.body["details"], json!({"group": "example.org", "kind": "widgets"}));
    let nameless = world.put("acme", widgets, json!({})).await;
    assert_eq!((nameless.code, &nameless.body["message"]), (400, &json!("name must be provided")));
    let html = world.get_as("acme", widgets, "text/html").await;
    let only = "only the following media types are accepted: application/json, application/yaml, \
                application/vnd.kubernetes.protobuf";
    assert_eq!((html.code, &html.body["message"]), (406, &json!(only)));
}

#[tokio::test]
async fn a_pods_status_stays_that_of_the_generation_it_was_observed_of() {
    let world = World::new().await;
    world.post("acme", PODS, pod("one")).await;
    let path = format!("{PODS}/one/status");
    let ready = json!([{"type": "Ready", "status": "True", "observedGeneration": 1}]);
    world.patch("acme", &path, json!({"status": {"observedGeneration": 1, "conditions": ready}})).await;
    let unsaid = json!({"status": {"observedGeneration": null, "conditions": [{"type": "Ready", "status": "False"}]}});
    let status = world.patch("acme", &path, unsaid).await.body["status"].clone();
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(
        (&status["conditions"][0]["status"], &status["conditions"][0]["observedGeneration"]),
        (&json!("False"), &json!(1))
    );
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "i"}]},
        }},
    })
}

const SCALE: &str = "/apis/apps/v1/namespaces/default/deployments/a/scale";

#[tokio::test]
async fn a_scale_is_of_the_object_that_is_meant_and_says_what_nobody_knows_of_it() {
    let world = World::new().await;
    assert_eq!(world.post("acme", "/apis/apps/v1/namespaces/default/deployments", deployment()).await.code, 201);
    let other = json!({"metadata": {"uid": "x"}, "spec": {"replicas": 2}});
    let patched = world.patch("acme", SCALE, other.clone()).await;
    let message = patched.body["message"].as_str().unwrap();
    let start =
        "Operation cannot be fulfilled on deployments/scale.apps \"a\": Precondition failed: UID in precondition: x";
    assert_eq!((patched.code, message.starts_with(start)), (409, true), "{message}");
    let mut whole = json!({"apiVersion": "autoscaling/v1", "kind": "Scale"});
    whole["metadata"] = json!({"name": "a", "uid": "x"});
    for (query, key) in [("", "/registry/deployments/default/a"), ("?dryRun=All", "/deployments/default/a")] {
        let put = world.put("acme", &format!("{SCALE}{query}"), whole.clone()).await;
        let message = put.body["message"].as_str().unwrap();
        assert_eq!((put.code, message.contains(&format!("Key: {key}, "))), (409, true), "{message}");
    }
    let odd = json!({"spec": {"odd": 1}});
    let warned = world.patch("acme", SCALE, odd.clone()).await;
    assert_eq!(warned.warnings, ["299 - \"unknown field \\\"spec.odd\\\"\""]);
    let strict = world.patch("acme", &format!("{SCALE}?fieldValidation=Strict"), odd).await;
    let why = strict.body["message"].as_str().unwrap();
    assert_eq!((strict.code, why.ends_with("strict decoding error: unknown field \"spec.odd\"")), (422, true), "{why}");
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Scale", "metadata": {"name": "a"}});
    let refused = world.put("acme", SCALE, old).await;
    let message =
        "the API version in the data (extensions/v1beta1) does not match the expected API version (autoscaling/v1)";
    assert_eq!((refused.code, &refused.body["message"]), (400, &json!(message)));
    let partial = world.get_as("acme", SCALE, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await;
    assert_eq!((&partial.body["kind"], &partial.body["spec"]), (&json!("PartialObjectMetadata"), &Value::Null));
}

#[tokio::test]
async fn what_no_scale_can_be_is_refused_as_the_outcome_of_a_patch() {
    let world = World::new().await;
    assert_eq!(world.post("acme", "/apis/apps/v1/namespaces/default/deployments", deployment()).await.code, 201);
    let wanted = |replicas: Value| json!({"spec": {"replicas": replicas}});
    let field = "into Go struct field ScaleSpec.spec.replicas of type int32";
    for (replicas, found) in [(json!("3"), "string"), (json!(1.0), "number 1.0"), (json!(true), "bool")] {
        let refused = world.patch("acme", SCALE, wanted(replicas.clone())).await;
        let message = refused.body["message"].as_str().unwrap();
        let why = format!("json: cannot unmarshal {found} {field}");
        assert_eq!((refused.code, message.ends_with(&why)), (422, true), "{message}");
        let mut whole = wanted(replicas);
        whole["metadata"] = json!({"name": "a"});
        assert_eq!(world.put("acme", SCALE, whole).await.code, 400);
    }
    let kind = "application/strategic-merge-patch+json";
    for (replicas, why) in [
        ("\"x\"", "\"map[spec:map[replicas:x]]\": unrecognized type: int32"),
        ("1.5", "\"map[spec:map[replicas:1.5]]\": cannot convert float64 to int32"),
    ] {
        let body = format!("{{\"spec\":{{\"replicas\":{replicas}}}}}");
        let refused = world.send_as("acme", Method::PATCH, SCALE, kind, body).await;
        let message = format!(" \"\" is invalid: patch: Invalid value: {why}");
        assert_eq!((refused.code, &refused.body["message"]), (422, &json!(message)));
    }
    for path in [SCALE, SCALE.trim_end_matches("/scale")] {
        for (written, replicas) in [("4.0", 4), ("1e1", 10)] {
            let body = format!("{{\"spec\":{{\"replicas\":{written}}}}}");
            let patched = world.send_as("acme", Method::PATCH, path, kind, body).await;
            assert_eq!((patched.code, &patched.body["spec"]["replicas"]), (200, &json!(replicas)), "{}", patched.body);
        }
    }
}

#[tokio::test]
async fn a_scale_stays_one_and_its_managers_are_told_by_its_version() {
    let world = World::new().await;
    assert_eq!(world.post("acme", "/apis/apps/v1/namespaces/default/deployments", deployment()).await.code, 201);
    let other = world.patch("acme", SCALE, json!({"kind": "x"})).await;
    let why = other.body["message"].as_str().unwrap();
    assert_eq!((other.code, why.contains("no kind \"x\" is registered for version \"autoscaling/v1\"")), (422, true));
    let path = format!("{SCALE}?fieldManager=a");
    assert_eq!(world.patch("acme", &path, json!({"spec": {"replicas": 5}})).await.code, 200);
    let body =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 6}});
    let kind = "application/apply-patch+yaml";
    let path = format!("{SCALE}?fieldManager=b");
    let refused = world.send_as("acme", Method::PATCH, &path, kind, body.to_string()).await;
    let why = "Apply failed with 1 conflict: conflict with \"a\" with subresource \"scale\" using autoscaling/v1: \
               .spec.replicas";
    assert_eq!((refused.code, &refused.body["message"]), (409, &json!(why)));
}

#[tokio::test]
async fn a_request_for_a_token_says_who_asked_for_what() {
    let world = World::new().await;
    let account = json!({"metadata": {"name": "robot"}});
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/serviceaccounts", account).await.code, 201);
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token?fieldManager=m";
    let answer = world.post("acme", path, json!({"spec": {"audiences": ["a"]}})).await;
    let entry = &answer.body["metadata"]["managedFields"][0];
    assert_eq!((&entry["manager"], &entry["subresource"]), (&json!("m"), &json!("token")), "{:?}", answer.body);
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:audiences": {}, "f:expirationSeconds": {}}}));
}

#[tokio::test]
async fn what_an_eviction_takes_off_a_budget_is_the_servers_doing() {
    let world = World::new().await;
    let mut web = pod("web");
    web["metadata"]["labels"] = json!({"a": "b"});
    web["metadata"]["finalizers"] = json!(["a.b/c"]);
    world.post("acme", PODS, web).await;
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    world.patch("acme", &format!("{PODS}/web/status"), running).await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let selector = json!({"matchLabels": {"a": "b"}});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 0, "selector": selector}});
    assert_eq!(world.post("acme", budgets, budget).await.code, 201);
    let status = json!({"status": {"disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 0,
        "expectedPods": 1, "observedGeneration": 1}});
    world.patch("acme", &format!("{budgets}/b/status?fieldManager=watcher"), status).await;
    let odd = json!({"status": {"conditions": [{"type": "T", "status": "Nope"}]}});
    let refused = world.patch("acme", &format!("{budgets}/b/status"), odd).await;
    let message = "PodDisruptionBudget.policy \"b\" is invalid: [status.conditions[0].status: Unsupported value: \"Nope\": \
                   supported values: \"False\", \"True\", \"Unknown\", status.conditions[0].lastTransitionTime: Required \
                   value, status.conditions[0].reason: Required value]";
    assert_eq!((refused.code, &refused.body["message"]), (422, &json!(message)));
    let evicted = world.post("acme", &format!("{PODS}/web/eviction"), json!({"metadata": {"name": "web"}})).await;
    assert_eq!(evicted.code, 201, "{:?}", evicted.body);
    let going = world.get("acme", &format!("{PODS}/web")).await.body;
    let conditions = going["status"]["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").expect("why it goes");
    let (reason, message) = (&target["reason"], &target["message"]);
    assert_eq!((reason, message), (&json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting")));
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let after = world.get("acme", &format!("{budgets}/b")).await.body;
    let entries = after["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == "kube-apiserver").unwrap();
    assert_eq!((&entry["subresource"], &entry["operation"]), (&json!("status"), &json!("Update")));
    assert!(!entry["fieldsV1"]["f:status"]["f:conditions"].is_null(), "{entry}");
    assert_eq!(after["status"]["conditions"][0]["message"], "", "{after}");
    assert_eq!(after["status"]["disruptionsAllowed"], 0);
}

#[tokio::test]
async fn a_resize_leaves_a_pod_its_containers_and_all_but_their_resources() {
    let world = World::new().await;
    assert_eq!(world.post("acme", PODS, pod("one")).await.code, 201);
    let name = pod("one")["spec"]["containers"][0]["name"].clone();
    let path = format!("{PODS}/one/resize");
    for (containers, why) in [
        (
            json!([{"name": "more", "image": "i"}]),
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
        (
            json!([{"name": name, "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}]),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
    ] {
        let patch = json!({"spec": {"containers": containers}}).to_string();
        let strategic = "application/strategic-merge-patch+json";
        let refused = world.send_as("acme", Method::PATCH, &path, strategic, patch).await;
        let message = format!("Pod \"one\" is invalid: {why}");
        assert_eq!((refused.code, &refused.body["message"]), (422, &json!(message)));
    }
}

#[tokio::test]
async fn a_service_is_reached_through_what_stands_behind_a_port_of_it() {
    let world = World::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "w", "port": 80}]}});
    assert_eq!(world.post("acme", services, service).await.code, 201);
    let answer = async |asked: &str| {
        let answer = world.get("acme", &format!("{services}/{asked}/proxy")).await;
        (answer.code, answer.body["message"].as_str().unwrap_or_default().to_owned())
    };
    let none = |of: &str| (503, format!("no endpoints available for service {of:?}"));
    assert_eq!(answer("web").await, (404, "services \"web\" not found".to_owned()));
    assert_eq!(answer("web:81").await, (503, "no service port 81 found for service \"web\"".to_owned()));
    let endpoints = "/api/v1/namespaces/default/endpoints";
    assert_eq!(world.post("acme", endpoints, json!({"metadata": {"name": "web"}})).await.code, 201);
    assert_eq!(answer("web:80").await, none("web"));
    let subsets = json!([{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"name": "w", "port": 8080}]}]);
    world.patch("acme", &format!("{endpoints}/web"), json!({"subsets": subsets})).await;
    assert_eq!(answer("http:web:x").await, none("http:web:x"));
    assert_eq!((answer("web:80").await.0, answer("web:w").await.0), (501, 501));
}

#[tokio::test]
async fn a_write_to_a_status_manages_only_what_it_can_change() {
    let world = World::new().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(world.post("acme", deployments, deployment()).await.code, 201);
    assert_eq!(world.post("acme", PODS, pod("one")).await.code, 201);
    let metadata = json!({"labels": {"x": "y"}, "annotations": {"x": "y"}});
    let patch = json!({"metadata": metadata, "spec": {"paused": true}, "status": {"observedGeneration": 1}});
    let pod_patch = json!({"metadata": metadata, "spec": {"priority": 1}, "status": {"observedGeneration": 1}});
    let annotations = json!({".": {}, "f:x": {}});
    let both = json!({"f:annotations": annotations, "f:labels": {".": {}, "f:x": {}}});
    for (path, patch, metadata) in [
        (format!("{deployments}/a"), patch, json!({"f:annotations": annotations})),
        (format!("{PODS}/one"), pod_patch, both),
    ] {
        let patched = world.patch("acme", &format!("{path}/status?fieldManager=m"), patch).await;
        assert_eq!(patched.code, 200, "{:?}", patched.body);
        let entries = patched.body["metadata"]["managedFields"].as_array().unwrap();
        let fields = &entries.iter().find(|entry| entry["manager"] == "m").unwrap()["fieldsV1"];
        assert_eq!((&fields["f:metadata"], &fields["f:spec"]), (&metadata, &Value::Null), "{path}");
        assert_eq!(fields["f:status"], json!({"f:observedGeneration": {}}), "{path}");
    }
}

#[tokio::test]
async fn the_data_of_a_revision_is_managed_as_one() {
    let world = World::new().await;
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions?fieldManager=m";
    let revision = json!({"metadata": {"name": "a"}, "revision": 1, "data": {"a": {"b": [1]}}});
    let made = world.post("acme", path, revision).await;
    let fields = &made.body["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!((made.code, fields), (201, &json!({"f:data": {}, "f:revision": {}})), "{:?}", made.body);
}

#[tokio::test]
async fn data_of_a_revision_that_go_writes_otherwise_is_changed_by_every_patch_and_apply() {
    let world = World::new().await;
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let revision = r#"{"metadata": {"name": "a"}, "revision": 1, "data": {"a": 1}}"#.to_owned();
    assert_eq!(world.send_as("acme", Method::POST, path, "application/json", revision).await.code, 201);
    let label = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": "a", "labels": {"a": "b"}}});
    let applied = "application/apply-patch+yaml";
    let of = |name: &str| format!("{path}/{name}?fieldManager=m");
    let refused = world.send_as("acme", Method::PATCH, &of("a"), applied, label.to_string()).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["field"]), (422, &json!("data")));
    let refused = world.patch("acme", &of("a"), json!({"metadata": {"uid": "u"}})).await;
    let causes = refused.body["details"]["causes"].as_array().unwrap();
    assert!(causes.iter().any(|cause| cause["field"] == "metadata.uid"), "{}", refused.body);
    let strict = format!("{}&fieldValidation=Strict", of("a"));
    let refused = world.patch("acme", &strict, json!({"nosuch": 1})).await;
    assert!(refused.body["message"].as_str().unwrap().contains("unknown field \"nosuch\""), "{}", refused.body);
    let same = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "a"},
        "revision": 1, "data": {"a": 1}});
    let forced = format!("{}&force=true", of("a"));
    let taken = world.send_as("acme", Method::PATCH, &forced, applied, same.to_string()).await;
    assert_eq!((taken.code, &taken.body["data"]), (200, &json!({"a": 1})), "what changes nothing: {}", taken.body);
}

#[tokio::test]
async fn a_taint_of_a_device_is_there_since_it_was_written() {
    let world = World::new().await;
    let path = "/apis/resource.k8s.io/v1/resourceslices";
    let devices = |taints: Value| json!([{"name": "a", "taints": taints}]);
    let one = json!({"key": "k", "effect": "NoSchedule"});
    let spec = json!({"driver": "d.e", "nodeName": "n", "devices": devices(json!([one])),
        "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}});
    let made = world.post("root", path, json!({"metadata": {"name": "s"}, "spec": spec})).await;
    let taint = made.body["spec"]["devices"][0]["taints"][0].clone();
    assert_eq!((made.code, &taint["timeAdded"]), (201, &made.body["metadata"]["creationTimestamp"]), "{}", made.body);
    world.advance(60);
    let more = devices(json!([taint, {"key": "l", "effect": "NoExecute"}]));
    let changed = world.patch("root", &format!("{path}/s"), json!({"spec": {"devices": more}})).await;
    let taints = &changed.body["spec"]["devices"][0]["taints"];
    assert_eq!((changed.code, &taints[0]), (200, &taint), "{}", changed.body);
    assert_eq!(taints[1]["timeAdded"], "2026-11-23T10:01:00Z");
}

#[tokio::test]
async fn what_is_added_to_a_pod_is_noted_with_all_that_is_said_beside_it() {
    let world = World::new().await;
    assert_eq!(world.post("acme", PODS, pod("one")).await.code, 201);
    let patch =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}});
    let added = world.patch("acme", &format!("{PODS}/one/ephemeralcontainers?fieldManager=m"), patch).await;
    assert_eq!((added.code, &added.body["metadata"]["labels"]["a"]), (200, &Value::Null), "{}", added.body);
    assert_eq!(added.body["metadata"]["generation"], 2);
    let entries = added.body["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == "m").expect("who added it");
    assert_eq!(entry["subresource"], "ephemeralcontainers");
    assert!(!entry["fieldsV1"]["f:metadata"]["f:labels"]["f:a"].is_null(), "{entry}");
}

#[tokio::test]
async fn a_service_is_told_what_is_wrong_with_it_before_what_it_cannot_have() {
    let world = World::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(world.post("acme", services, service).await.code, 201);
    let moved = world.patch("acme", &format!("{services}/s"), json!({"spec": {"clusterIP": "127.0.0.1"}})).await;
    let message =
        "Service \"s\" is invalid: spec.clusterIPs[0]: Invalid value: [\"127.0.0.1\"]: may not change once set";
    assert_eq!((moved.code, &moved.body["message"]), (422, &json!(message)));
}
