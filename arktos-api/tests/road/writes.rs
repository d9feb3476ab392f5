//! Create, update, patch, delete: conflicts, no-ops, finalizers, places that end.

use http::Method;
use serde_json::{Value, json};

use crate::{MAPS, World, map, pod};

fn revision(body: &Value) -> String {
    body["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_replace_of_an_old_revision_is_a_conflict_and_a_patch_is_made_anew() {
    let world = World::new().await;
    let first = world.post("acme", MAPS, map("a")).await.body;
    let path = format!("{MAPS}/a");
    let changed = world.patch("acme", &path, json!({"data": {"b": "2"}})).await;
    assert_eq!(changed.body["data"], json!({"a": "1", "b": "2"}));
    let refused = world.put("acme", &path, first.clone()).await;
    assert_eq!(refused.code, 409);
    assert_eq!(
        refused.body["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    let mut unconditional = first.clone();
    unconditional["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    unconditional["data"]["c"] = json!("3");
    assert_eq!(world.put("acme", &path, unconditional).await.body["data"], json!({"a": "1", "c": "3"}));
    let stale = json!({"metadata": {"resourceVersion": revision(&first)}, "data": {"d": "4"}});
    assert_eq!(world.patch("acme", &path, stale).await.code, 409);
    assert_eq!(world.post("acme", MAPS, map("a")).await.body["reason"], "AlreadyExists");
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_revision_and_tells_nobody() {
    let world = World::new().await;
    let made = world.post("acme", MAPS, map("a")).await.body;
    let mut events = world.watch("acme", &format!("{MAPS}?watch=1&resourceVersion={}", revision(&made))).await;
    let path = format!("{MAPS}/a");
    let same = world.patch("acme", &path, json!({"data": {"a": "1"}})).await;
    assert_eq!(revision(&same.body), revision(&made));
    assert_eq!(revision(&world.put("acme", &path, map("a")).await.body), revision(&made));
    assert!(events.is_quiet().await);
    world.patch("acme", &path, json!({"data": {"a": "2"}})).await;
    assert_eq!(events.short().await, "MODIFIED a");
}

#[tokio::test]
async fn what_has_finalizers_goes_with_the_last_one() {
    let world = World::new().await;
    let mut body = map("a");
    body["metadata"]["finalizers"] = json!(["example.com/one"]);
    world.post("acme", MAPS, body).await;
    let path = format!("{MAPS}/a");
    let marked = world.delete("acme", &path).await;
    assert_eq!(marked.body["kind"], "ConfigMap");
    assert_eq!(marked.body["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = world.post("acme", MAPS, map("a")).await;
    assert_eq!(again.body["message"], "object is being deleted: configmaps \"a\" already exists");
    assert_eq!(world.patch("acme", &path, json!({"data": {"still": "here"}})).await.code, 200);
    assert_eq!(world.patch("acme", &path, json!({"metadata": {"finalizers": null}})).await.code, 200);
    assert_eq!(world.get("acme", &path).await.code, 404);
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
}

#[tokio::test]
async fn a_namespace_that_ends_takes_nothing_new() {
    let world = World::new().await;
    assert_eq!(world.delete("acme", "/api/v1/namespaces/default").await.code, 403);
    world.post("acme", "/api/v1/namespaces", json!({"metadata": {"name": "work"}})).await;
    let maps = "/api/v1/namespaces/work/configmaps";
    assert_eq!(world.post("acme", maps, map("a")).await.code, 201);
    let ending = world.delete("acme", "/api/v1/namespaces/work").await;
    assert_eq!(ending.body["status"]["phase"], "Terminating");
    let refused = world.post("acme", maps, map("b")).await;
    assert_eq!(refused.code, 403);
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(world.patch("acme", &format!("{maps}/a"), json!({"data": {"b": "2"}})).await.code, 200);
    assert_eq!(world.post("umbra", maps, map("b")).await.code, 404);
    let finalized = world.put("acme", "/api/v1/namespaces/work/finalize", json!({"metadata": {"name": "work"}})).await;
    assert_eq!(finalized.code, 200, "{:?}", finalized.body);
    assert_eq!(world.get("acme", "/api/v1/namespaces/work").await.code, 404);
}

#[tokio::test]
async fn who_finalizes_a_namespace_does_not_delete_it() {
    let world = World::new().await;
    world.post("acme", "/api/v1/namespaces", json!({"metadata": {"name": "work"}})).await;
    let gone = json!({"metadata": {"name": "work", "deletionTimestamp": "2020-01-01T00:00:00Z"}});
    let refused = world.put("acme", "/api/v1/namespaces/work/finalize", gone).await;
    assert_eq!(refused.code, 422, "{:?}", refused.body);
    let odd = json!({"metadata": {"name": "work", "labels": {"a b": "c"}}});
    assert_eq!(world.put("acme", "/api/v1/namespaces/work/finalize", odd).await.code, 422);
    let there = world.get("acme", "/api/v1/namespaces/work").await;
    assert_eq!((there.code, &there.body["metadata"]["deletionTimestamp"]), (200, &json!(null)));
}

#[tokio::test]
async fn the_first_write_to_a_claim_is_one_whatever_it_says() {
    let world = World::new().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let made = world.post("acme", claims, json!({"metadata": {"name": "c"}, "spec": spec})).await;
    let path = format!("{claims}/c");
    let revision = |answer: &crate::Answer| answer.body["metadata"]["resourceVersion"].clone();
    let tried = world.patch("acme", &format!("{path}?dryRun=All"), json!({})).await;
    assert_eq!(revision(&tried), revision(&made));
    let first = world.patch("acme", &path, json!({})).await;
    assert_ne!(revision(&first), revision(&made), "it is stored with the phase that it was read with");
    assert_eq!(first.body["metadata"]["managedFields"], made.body["metadata"]["managedFields"]);
    assert_eq!(revision(&world.patch("acme", &path, json!({})).await), revision(&first));
}

#[tokio::test]
async fn where_a_claim_has_its_content_from_is_said_in_both_forms_and_managed_in_one() {
    let world = World::new().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let source = json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "other"});
    for (said, other) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
        let mut spec = spec.clone();
        spec[said] = source.clone();
        let made = world.post("acme", claims, json!({"metadata": {"name": said.to_lowercase()}, "spec": spec})).await;
        assert_eq!((made.code, &made.body["spec"][other]), (201, &source), "{}", made.body);
        let fields = &made.body["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
        assert!(!fields[&format!("f:{said}")].is_null() && fields[&format!("f:{other}")].is_null(), "{fields}");
    }
    // What is no claim yet is as it was written.
    let mut set = json!({"metadata": {"name": "s"}, "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "m", "image": "i"}]}}}});
    let mut template = json!({"metadata": {"name": "v"}, "spec": spec});
    template["spec"]["dataSource"] = source;
    set["spec"]["volumeClaimTemplates"] = json!([template]);
    let made = world.post("acme", "/apis/apps/v1/namespaces/default/statefulsets", set).await;
    let template = &made.body["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!((made.code, &template["dataSourceRef"]), (201, &json!(null)), "{}", made.body);
}

#[tokio::test]
async fn who_changes_annotations_of_a_deployment_is_told_what_is_odd_in_its_template() {
    let world = World::new().await;
    let kind = |path: &str| format!("/apis/apps/v1/namespaces/default/{path}");
    let spread = json!([{"maxSkew": 1, "topologyKey": "t", "whenUnsatisfiable": "DoNotSchedule"}]);
    let template = json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "m", "image": "i"}], "topologySpreadConstraints": spread}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    for (path, told) in [("deployments", 1), ("replicasets", 0), ("daemonsets", 0)] {
        let made = world.post("acme", &kind(path), json!({"metadata": {"name": "d"}, "spec": spec})).await;
        assert_eq!((made.code, made.warnings.len()), (201, 1), "{}", made.body);
        let path = kind(&format!("{path}/d"));
        let noted = world.patch("acme", &path, json!({"metadata": {"annotations": {"a": "b"}}})).await;
        assert_eq!((noted.code, noted.warnings.len()), (200, told), "{path}");
        let labelled = world.patch("acme", &path, json!({"metadata": {"labels": {"a": "b"}}})).await;
        assert_eq!((labelled.code, labelled.warnings.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_leaves_nothing() {
    let world = World::new().await;
    let made = world.post("acme", &format!("{MAPS}?dryRun=All"), map("a")).await;
    assert_eq!(made.code, 201);
    assert!(made.body["metadata"]["uid"].is_string());
    assert_eq!(made.body["metadata"]["resourceVersion"], json!(null));
    assert_eq!(world.get("acme", &format!("{MAPS}/a")).await.code, 404);
    world.post("acme", MAPS, map("a")).await;
    let changed = world.patch("acme", &format!("{MAPS}/a?dryRun=All"), json!({"data": {"b": "2"}})).await;
    assert_eq!(changed.body["data"]["b"], "2");
    assert_eq!(world.delete("acme", &format!("{MAPS}/a?dryRun=All")).await.code, 200);
    assert_eq!(world.get("acme", &format!("{MAPS}/a")).await.body["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn unknown_fields_are_warned_of_refused_or_ignored() {
    let world = World::new().await;
    let mut body = map("a");
    body["bogus"] = json!(1);
    let strict = world.post("acme", &format!("{MAPS}?fieldValidation=Strict"), body.clone()).await;
    assert_eq!(strict.code, 400);
    assert!(strict.body["message"].as_str().unwrap().contains("unknown field \"bogus\""));
    let ignored = world.post("acme", &format!("{MAPS}?fieldValidation=Ignore&dryRun=All"), body.clone()).await;
    assert_eq!((ignored.code, ignored.warnings.len()), (201, 0));
    let warned = world.post("acme", MAPS, body).await;
    assert_eq!(
        (warned.code, warned.warnings.as_slice()),
        (201, &[r#"299 - "unknown field \"bogus\"""#.to_owned()][..])
    );
}

#[tokio::test]
async fn addresses_are_given_kept_refused_and_given_back() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, address: Option<&str>| {
        let mut body = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        if let Some(address) = address {
            body["spec"]["clusterIP"] = json!(address);
        }
        body
    };
    let made = world.post("acme", path, service("a", None)).await;
    let address = made.body["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.0."), "{address}");
    let taken = world.post("acme", path, service("b", Some(&address))).await;
    assert_eq!(taken.code, 422);
    // Another tenant has a network of its own.
    assert_eq!(world.post("umbra", path, service("b", Some(&address))).await.code, 201);
    let kept = world.put("acme", &format!("{path}/a"), service("a", None)).await;
    assert_eq!(kept.body["spec"]["clusterIP"], address.as_str());
    assert_eq!(world.delete("acme", &format!("{path}/a")).await.code, 200);
    assert_eq!(world.post("acme", path, service("b", Some(&address))).await.code, 201);
}

#[tokio::test]
async fn bound_pods_get_grace_and_others_go_at_once() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/pods";
    world.post("acme", path, pod("a")).await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(world.post("acme", &format!("{path}/a/binding"), binding.clone()).await.code, 201);
    assert_eq!(world.post("acme", &format!("{path}/a/binding"), binding).await.code, 409);
    let bound = world.get("acme", &format!("{path}/a")).await.body;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let ending = world.delete("acme", &format!("{path}/a")).await.body;
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(ending["metadata"]["deletionTimestamp"], "2026-11-23T10:00:30Z");
    assert_eq!(world.get("acme", &format!("{path}/a")).await.code, 200);
    world.delete("acme", &format!("{path}/a?gracePeriodSeconds=0")).await;
    assert_eq!(world.get("acme", &format!("{path}/a")).await.code, 404);
    world.post("acme", path, pod("b")).await;
    world.delete("acme", &format!("{path}/b")).await;
    assert_eq!(world.get("acme", &format!("{path}/b")).await.code, 404);
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let world = World::new().await;
    let body = format!(r#"{{"metadata":{{"name":"a"}},"data":{{"a":"{}"}}}}"#, "x".repeat(4 << 20));
    let answer = world.send_as("acme", Method::POST, MAPS, "application/json", body).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (413, Some("RequestEntityTooLarge")));
}

#[tokio::test]
async fn a_pod_selects_by_labels_of_its_own_where_it_says_so() {
    let world = World::new().await;
    let mut sent = pod("a");
    sent["metadata"]["labels"] = json!({"rev": "7", "app": "web"});
    let selector = json!({"matchLabels": {"app": "web"}});
    sent["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "zone", "labelSelector": selector, "matchLabelKeys": ["rev", "none"],
    }], "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {
        "topologyKey": "zone", "labelSelector": selector, "mismatchLabelKeys": ["rev"],
    }}]}});
    sent["spec"]["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
        "matchLabelKeys": ["rev"],
    }]);
    let made = world.post("acme", "/api/v1/namespaces/default/pods", sent).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let spec = &made.body["spec"];
    let by = |operator: &str| json!([{"key": "rev", "operator": operator, "values": ["7"]}]);
    let anti = &spec["affinity"]["podAntiAffinity"];
    let required = &anti["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(required["labelSelector"]["matchExpressions"], by("In"));
    let preferred = &anti["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
    assert_eq!(preferred["labelSelector"]["matchExpressions"], by("NotIn"));
    assert_eq!(spec["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"], by("In"));
    // An update adds nothing to them.
    let path = "/api/v1/namespaces/default/pods/a";
    let changed = world.patch("acme", path, json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(changed.body["spec"]["affinity"], spec["affinity"]);
}

#[tokio::test]
async fn a_pod_has_the_zone_and_region_of_its_host() {
    let world = World::new().await;
    let (zone, region) = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region");
    let node = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "labels": {zone: "z1", region: "r1", "other": "x"}}});
    assert_eq!(world.post("root", "/api/v1/nodes", node).await.code, 201);
    let pods = "/api/v1/namespaces/default/pods";
    for (name, node) in [("a", ""), ("b", ""), ("placed", "n1")] {
        let mut pod = pod(name);
        pod["metadata"]["labels"] = json!({"app": "web", zone: "asked"});
        if !node.is_empty() {
            pod["spec"]["nodeName"] = json!(node);
        }
        assert_eq!(world.post("acme", pods, pod).await.code, 201);
    }
    for (name, node) in [("a", "n1"), ("b", "unknown")] {
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": node});
        let meta = json!({"name": name, "labels": {"bound": "yes"}});
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target});
        let bound = world.post("acme", &format!("{pods}/{name}/binding"), binding).await;
        assert_eq!(bound.code, 201, "{}", bound.body);
    }
    for (name, labels) in [
        ("a", json!({"app": "web", "bound": "yes", zone: "z1", region: "r1"})),
        ("b", json!({"app": "web", "bound": "yes", zone: "asked"})),
        ("placed", json!({"app": "web", zone: "z1", region: "r1"})),
    ] {
        assert_eq!(world.get("acme", &format!("{pods}/{name}")).await.body["metadata"]["labels"], labels, "{name}");
    }
    let found = world.get("acme", &format!("{pods}?labelSelector={zone}%3Dz1")).await.body;
    assert_eq!(found["items"].as_array().unwrap().len(), 2, "{found}");
}

#[tokio::test]
async fn some_kinds_are_replaced_only_at_a_revision() {
    let world = World::new().await;
    for (kinds, spec, code) in [
        ("flowcontrol.apiserver.k8s.io/v1/flowschemas", json!({"priorityLevelConfiguration": {"name": "p"}}), 200),
        (
            "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            json!({"policyName": "p", "validationActions": ["Deny"]}),
            422,
        ),
    ] {
        let mut object = json!({"metadata": {"name": "a"}, "spec": spec});
        assert_eq!(world.post("acme", &format!("/apis/{kinds}"), object.clone()).await.code, 201);
        object["metadata"]["labels"] = json!({"a": "b"});
        let path = format!("/apis/{kinds}/a");
        let replaced = world.put("acme", &path, object.clone()).await;
        assert_eq!(replaced.code, code, "{}", replaced.body);
        object["metadata"]["resourceVersion"] = json!(revision(&world.get("acme", &path).await.body));
        assert_eq!(world.put("acme", &path, object).await.code, 200);
    }
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn lease(metadata: &Value) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {"holderIdentity": "a"}})
}

#[tokio::test]
async fn an_update_of_what_is_not_there_creates_it_at_any_revision_and_under_no_uid() {
    let world = World::new().await;
    let path = format!("{LEASES}/l");
    let other = world.put("acme", &path, lease(&json!({"name": "l", "uid": "x"}))).await;
    let message = "Operation cannot be fulfilled on leases.coordination.k8s.io \"l\": StorageError: invalid object, Code: 4, \
                   Key: /registry/leases/default/l, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
                   precondition: x, UID in object meta: ";
    assert_eq!((other.code, &other.body["message"]), (409, &json!(message)));
    let unread = world.put("acme", &path, lease(&json!({"name": "l", "resourceVersion": "x"}))).await;
    assert_eq!((unread.code, world.get("acme", &path).await.code), (500, 404), "{}", unread.body);
    let made = world.put("acme", &path, lease(&json!({"name": "l", "resourceVersion": "5"}))).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let class =
        json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "c"}, "handler": "h"});
    assert_eq!(world.put("acme", "/apis/node.k8s.io/v1/runtimeclasses/c", class).await.code, 201);
}

#[tokio::test]
async fn who_may_change_something_may_not_therefore_create_it() {
    let world = World::new().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "writer"}, "rules": [{"apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"], "verbs": ["get", "update", "patch"]}]});
    let binding = json!({"metadata": {"name": "writer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "clerks"}]});
    for (resource, object) in [("roles", role), ("rolebindings", binding)] {
        assert_eq!(world.post("acme", &format!("{rbac}/{resource}"), object).await.code, 201);
    }
    let path = format!("{LEASES}/l");
    let body = lease(&json!({"name": "l"}));
    let why = "leases.coordination.k8s.io \"l\" is forbidden: User \"clara\" cannot create resource \"leases\" in API group \
               \"coordination.k8s.io\" in the namespace \"default\"";
    let sent = world.put("clerk", &path, body.clone()).await;
    assert_eq!((sent.code, &sent.body["message"]), (403, &json!(why)));
    let kind = "application/apply-patch+yaml";
    let applied =
        world.send_as("clerk", Method::PATCH, &format!("{path}?fieldManager=m"), kind, body.to_string()).await;
    assert_eq!((applied.code, &applied.body["message"]), (403, &json!(why)));
    let made = world.put("acme", &path, body).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(world.put("clerk", &path, made.body).await.code, 200);
}

#[tokio::test]
async fn a_status_of_what_is_not_there_makes_a_service_and_nothing_else() {
    let world = World::new().await;
    let core = "/api/v1/namespaces/default";
    let kind = "application/apply-patch+yaml";
    let apply = |path: String, body: Value| {
        let world = &world;
        async move {
            let path = format!("{path}/status?fieldManager=m");
            world.send_as("acme", Method::PATCH, &path, kind, body.to_string()).await
        }
    };
    for (version, name, at, spec) in [
        ("v1", "Pod", format!("{core}/pods"), json!({"containers": [{"name": "c", "image": "i"}]})),
        ("v1", "Namespace", "/api/v1/namespaces".to_owned(), json!({})),
        ("batch/v1", "Job", "/apis/batch/v1/namespaces/default/jobs".to_owned(), json!({})),
    ] {
        let path = format!("{at}/absent");
        let body = json!({"apiVersion": version, "kind": name, "metadata": {"name": "absent"}, "spec": spec});
        assert_eq!(world.put("acme", &format!("{path}/status"), body.clone()).await.code, 404, "{name}");
        assert_eq!(apply(path.clone(), body).await.code, 404, "{name}");
        assert_eq!(world.get("acme", &path).await.code, 404, "{name}");
    }
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}})
    };
    let sent = world.put("acme", &format!("{core}/services/sent/status"), service("sent")).await;
    let applied = apply(format!("{core}/services/applied"), service("applied")).await;
    for made in [sent, applied] {
        assert_eq!((made.code, &made.body["status"]), (201, &json!({"loadBalancer": {}})), "{}", made.body);
        assert!(made.body["spec"]["clusterIP"].is_string(), "it has an address: {}", made.body);
    }
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {"validations": [{"expression": "true"}], "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}}});
    let path = format!("{policies}/p");
    assert_eq!(world.put("acme", &format!("{path}/status"), policy.clone()).await.code, 404);
    let made = apply(path, policy).await;
    assert_eq!(made.code, 201, "{}", made.body);
}
