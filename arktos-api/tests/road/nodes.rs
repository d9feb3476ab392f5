//! What a node may write (NodeRestriction), rule by rule, in upstream's words.

use arktos_api::{Delegate, Identity, TokenTable};
use arktos_core::GroupResource;
use http::Method;
use serde_json::{Value, json};

use crate::{Answer, World, pod};

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// A server with two nodes, whose users may do anything that is not kept from nodes, and pods on both.
async fn world() -> World {
    world_with(&[]).await
}

async fn world_with(disabled: &[&str]) -> World {
    let world = World::with(|config| {
        let tokens = "root,admin,,system:masters\nacme,alice,,system:masters,,acme\n\
                      umbra,uma,,system:masters,,umbra\n\
                      n1,system:node:n1,,\"system:nodes,system:masters\"\n\
                      weak,system:node:n1,,system:nodes\n\
                      theirs,system:node:n1,,system:nodes,,acme\n\
                      lost,system:node:,,\"system:nodes,system:masters\"\n\
                      fake,system:node:n1,,\"system:masters\"\n";
        config.tokens = TokenTable::parse(tokens).unwrap();
        config.admission.disabled.extend(disabled.iter().map(|name| (*name).to_owned()));
    })
    .await;
    for node in ["n1", "n2"] {
        assert_eq!(world.post("root", NODES, named("Node", node)).await.code, 201);
        assert_eq!(world.post("root", PODS, on(node, &format!("on-{node}"))).await.code, 201);
    }
    world
}

fn named(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
}

fn on(node: &str, name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["nodeName"] = json!(node);
    pod
}

/// It was forbidden, for this reason.
#[track_caller]
fn refused(answer: &Answer, why: &str) {
    assert_eq!(answer.code, 403, "{}", answer.body);
    let message = answer.body["message"].as_str().unwrap();
    assert!(message.ends_with(&format!("is forbidden: {why}")), "{message}");
}

#[tokio::test]
async fn a_node_writes_its_own_node_alone() {
    let world = world().await;
    let other = world.patch("n1", &format!("{NODES}/n2"), json!({"metadata": {"labels": {"a": "1"}}})).await;
    refused(&other, r#"node "n1" is not allowed to modify node "n2""#);
    refused(&world.post("n1", NODES, named("Node", "n3")).await, r#"node "n1" is not allowed to modify node "n3""#);
    refused(&world.delete("n1", &format!("{NODES}/n2")).await, r#"node "n1" is not allowed to modify node "n2""#);
    let status = json!({"status": {"addresses": [{"type": "Hostname", "address": "n2"}]}});
    let other = world.patch("n1", &format!("{NODES}/n2/status"), status.clone()).await;
    refused(&other, r#"node "n1" is not allowed to modify node "n2""#);
    assert_eq!(world.patch("n1", &format!("{NODES}/n1/status"), status).await.code, 200);
    assert_eq!(world.delete("n1", &format!("{NODES}/n1")).await.code, 200);
    assert_eq!(world.post("n1", NODES, named("Node", "n1")).await.code, 201);
}

#[tokio::test]
async fn a_node_sets_those_labels_of_kubernetes_that_describe_it_and_no_taints_and_no_source() {
    let world = world().await;
    let patch = |labels: Value| json!({ "metadata": { "labels": labels } });
    let own = format!("{NODES}/n1");
    let good = json!({"kubernetes.io/hostname": "n1", "node.kubernetes.io/x": "1", "topology.kubernetes.io/zone": "z", "disk": "ssd"});
    assert_eq!(world.patch("n1", &own, patch(good)).await.code, 200);
    let bad = json!({"node-restriction.kubernetes.io/x": "1", "node-role.kubernetes.io/master": "", "a": "b"});
    let labels = "node-restriction.kubernetes.io/x, node-role.kubernetes.io/master";
    for path in [own.clone(), format!("{own}/status")] {
        let why = format!("is not allowed to modify labels: {labels}");
        refused(&world.patch("n1", &path, patch(bad.clone())).await, &why);
    }
    assert_eq!(world.patch("root", &own, patch(bad.clone())).await.code, 200);
    let removed = world.patch("n1", &own, patch(json!({"node-role.kubernetes.io/master": null}))).await;
    refused(&removed, "is not allowed to modify labels: node-role.kubernetes.io/master");
    assert_eq!(world.patch("n1", &own, patch(json!({"a": "c"}))).await.code, 200, "what it leaves alone is no matter");

    let taints = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    refused(&world.patch("n1", &own, taints).await, r#"node "n1" is not allowed to modify taints"#);
    let source = json!({"spec": {"configSource": {"configMap": {
        "namespace": "kube-system", "name": "c", "kubeletConfigKey": "kubelet",
    }}}});
    let why = r#"node "n1" is not allowed to update configSource to a new non-nil configSource"#;
    refused(&world.patch("n1", &own, source.clone()).await, why);

    assert_eq!(world.delete("root", &own).await.code, 200);
    let mut node = named("Node", "n1");
    node["metadata"]["labels"] = bad;
    let why = format!(r#"node "n1" is not allowed to set the following labels: {labels}"#);
    refused(&world.post("n1", NODES, node.clone()).await, &why);
    node["metadata"]["labels"] = json!({});
    node["spec"] = source["spec"].clone();
    let why = r#"node "n1" is not allowed to create pods with a non-nil configSource"#;
    refused(&world.post("n1", NODES, node).await, why);
}

#[tokio::test]
async fn a_node_creates_mirror_pods_that_refer_to_nothing_but_itself() {
    let world = world().await;
    let uid = world.get("root", &format!("{NODES}/n1")).await.body["metadata"]["uid"].clone();
    let mut good = on("n1", "static");
    good["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
    good["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": true}]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut pod = good.clone();
        change(&mut pod);
        pod
    };
    let own = "can only create pods with an owner reference set to itself";
    let (secrets, maps) =
        ("can not create pods that reference secrets", "can not create pods that reference configmaps");
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: &[(Change<'_>, &str)] = &[
        (&|pod| pod["spec"]["nodeName"] = json!("n2"), "can only create pods with spec.nodeName set to itself"),
        (&|pod| pod["metadata"]["ownerReferences"] = json!([]), own),
        (&|pod| pod["metadata"]["ownerReferences"][0]["name"] = json!("n2"), own),
        (&|pod| pod["metadata"]["ownerReferences"][0]["kind"] = json!("Pod"), own),
        (
            &|pod| pod["metadata"]["ownerReferences"][0]["controller"] = json!(false),
            "can only create pods with a controller owner reference set to itself",
        ),
        (
            &|pod| pod["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = json!(true),
            "must not set blockOwnerDeletion on an owner reference",
        ),
        (&|pod| pod["spec"]["serviceAccountName"] = json!("a"), "can not create pods that reference a service account"),
        (&|pod| pod["spec"]["imagePullSecrets"] = json!([{"name": "s"}]), secrets),
        (&|pod| pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s"}}]), secrets),
        (
            &|pod| pod["spec"]["volumes"] = json!([{"name": "v", "azureFile": {"secretName": "s", "shareName": "x"}}]),
            secrets,
        ),
        (
            &|pod| {
                let variable = json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
                pod["spec"]["containers"][0]["env"] = json!([variable]);
            },
            secrets,
        ),
        (&|pod| pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "m"}}]), maps),
        (
            &|pod| {
                let sources = json!([{"configMap": {"name": "m"}}]);
                pod["spec"]["volumes"] = json!([{"name": "v", "projected": {"sources": sources}}]);
            },
            maps,
        ),
        (
            &|pod| pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
            "can not create pods that reference persistentvolumeclaims",
        ),
    ];
    for (change, why) in cases {
        refused(&world.post("n1", PODS, changed(*change)).await, &format!(r#"node "n1" {why}"#));
    }
    let plain = changed(&|pod| pod["metadata"]["annotations"] = json!({}));
    let why = r#"pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#;
    refused(&world.post("n1", PODS, plain).await, why);
    let older = changed(&|pod| pod["metadata"]["ownerReferences"][0]["uid"] = json!("old"));
    let uid = uid.as_str().unwrap();
    refused(&world.post("n1", PODS, older).await, &format!("node n1 UID mismatch: expected old got {uid}"));
    assert_eq!(world.post("n1", PODS, good.clone()).await.code, 201);
}

#[tokio::test]
async fn of_pods_a_node_reports_evicts_and_deletes_its_own() {
    let world = world().await;
    let report = json!({"status": {"phase": "Running"}});
    assert_eq!(world.patch("n1", &format!("{PODS}/on-n1/status"), report.clone()).await.code, 200);
    let why = r#"node "n1" can only update pod status for pods with spec.nodeName set to itself"#;
    refused(&world.patch("n1", &format!("{PODS}/on-n2/status"), report).await, why);
    let labelled = json!({"metadata": {"labels": {"app": "bank"}}});
    let why = r#"node "n1" cannot update labels through pod status"#;
    refused(&world.patch("n1", &format!("{PODS}/on-n1/status"), labelled.clone()).await, why);
    let claims = json!({"status": {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "x"}]}});
    let why = r#"node "n1" cannot update resource claim statues"#;
    refused(&world.patch("n1", &format!("{PODS}/on-n1/status"), claims).await, why);
    let why = r#"unexpected operation "UPDATE", node "n1" can only create and delete mirror pods"#;
    refused(&world.patch("n1", &format!("{PODS}/on-n1"), labelled).await, why);
    let resized = json!({"spec": {"containers": [{"name": "main", "resources": {}}]}}).to_string();
    let (path, kind) = (format!("{PODS}/on-n1/resize"), "application/strategic-merge-patch+json");
    let resized = world.send_as("n1", Method::PATCH, &path, kind, resized).await;
    let why = "unexpected pod subresource \"resize\", only 'status' and 'eviction' are allowed";
    refused(&resized, why);
    let binding =
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "free"}, "target": {"name": "n1"}});
    assert_eq!(world.post("root", PODS, pod("free")).await.code, 201);
    let why = "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed";
    refused(&world.post("n1", &format!("{PODS}/free/binding"), binding).await, why);

    let eviction = |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
    let why = "node n1 can only evict pods with spec.nodeName set to itself";
    refused(&world.post("n1", &format!("{PODS}/on-n2/eviction"), eviction("on-n2")).await, why);
    let why = r#"node "n1" can only delete pods with spec.nodeName set to itself"#;
    refused(&world.delete("n1", &format!("{PODS}/on-n2")).await, why);
    refused(&world.delete("n1", PODS).await, why);
    assert_eq!(world.post("root", PODS, on("n1", "more")).await.code, 201);
    assert_eq!(world.post("n1", &format!("{PODS}/more/eviction"), eviction("more")).await.code, 201);
    assert_eq!(world.delete("n1", &format!("{PODS}/on-n1")).await.code, 200);
}

/// A resource manager has its hosts' pods from elsewhere.
#[tokio::test]
async fn pods_that_are_kept_elsewhere_are_restricted_as_well() {
    let origin = world().await;
    let (engine, writes) = (origin.engine.clone(), origin.api.client(Identity::system_component("manager")));
    let manager = World::with(|config| {
        config.tokens = TokenTable::parse("n1,system:node:n1,,\"system:nodes,system:masters\"\n").unwrap();
        config.delegates.insert(GroupResource::core("pods"), Delegate { engine, writes });
    })
    .await;
    let report = json!({"status": {"phase": "Running"}});
    assert_eq!(manager.patch("n1", &format!("{PODS}/on-n1/status"), report.clone()).await.code, 200);
    assert_eq!(origin.get("root", &format!("{PODS}/on-n1")).await.body["status"]["phase"], "Running");
    let why = r#"node "n1" can only update pod status for pods with spec.nodeName set to itself"#;
    refused(&manager.patch("n1", &format!("{PODS}/on-n2/status"), report).await, why);
    let why = r#"node "n1" can only delete pods with spec.nodeName set to itself"#;
    refused(&manager.delete("n1", &format!("{PODS}/on-n2")).await, why);
    assert_eq!(manager.delete("n1", &format!("{PODS}/on-n1")).await.code, 200);
    let why = r#"pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#;
    refused(&manager.post("n1", PODS, pod("new")).await, why);
}

/// A resource manager knows no disruption budgets: who has the pods does, and is asked for the eviction.
#[tokio::test]
async fn evictions_and_dry_runs_of_pods_that_are_kept_elsewhere_are_judged_there() {
    let (origin, shown) = (world().await, world().await);
    let path = format!("{PODS}/on-n1");
    let labelled = json!({"metadata": {"labels": {"app": "bank"}}});
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    for world in [&origin, &shown] {
        assert_eq!(world.patch("root", &path, labelled.clone()).await.code, 200);
        assert_eq!(world.patch("root", &format!("{path}/status"), ready.clone()).await.code, 200);
    }
    let (engine, writes) = (shown.engine.clone(), origin.api.client(Identity::system_component("manager")));
    let manager = World::with(|config| {
        config.tokens = TokenTable::parse("root,admin,,system:masters\n").unwrap();
        config.delegates.insert(GroupResource::core("pods"), Delegate { engine, writes });
    })
    .await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "bank"}}}});
    assert_eq!(origin.post("root", budgets, budget).await.code, 201);
    let allows = async |count: u32| {
        let status = json!({"observedGeneration": 1, "disruptionsAllowed": count, "currentHealthy": 1,
            "desiredHealthy": 1, "expectedPods": 1});
        let answer = origin.patch("root", &format!("{budgets}/all/status"), json!({"status": status})).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
    };
    allows(0).await;
    let eviction = |options: Value| {
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": options,
        "metadata": {"name": "on-n1", "namespace": "default"}})
    };
    let evict = async |query: &str, options: Value| {
        manager.post("root", &format!("{path}/eviction{query}"), eviction(options)).await
    };
    let refused = evict("", json!({})).await;
    assert_eq!(refused.code, 429, "the budget allows none: {}", refused.body);
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "DisruptionBudget");
    allows(1).await;
    for precondition in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        assert_eq!(evict("", json!({"preconditions": precondition})).await.code, 409);
    }
    let revision = manager.get("root", &path).await.body["metadata"]["resourceVersion"].clone();
    assert_eq!(evict("?dryRun=All", json!({"preconditions": {"resourceVersion": revision}})).await.code, 201);
    // What cannot be tried there without doing it is not done.
    for answer in [
        manager.delete("root", &format!("{path}?dryRun=All")).await,
        manager.patch("root", &format!("{path}?dryRun=All"), labelled).await,
        manager.post("root", &format!("{PODS}?dryRun=All"), pod("new")).await,
    ] {
        assert_eq!(answer.code, 400, "{}", answer.body);
    }
    let spent =
        || async { origin.get("root", &format!("{budgets}/all")).await.body["status"]["disruptionsAllowed"].clone() };
    assert_eq!(spent().await, 1);
    assert_eq!(origin.get("root", &path).await.body["metadata"]["deletionTimestamp"], Value::Null);
    assert_eq!(evict("", json!({})).await.code, 201);
    assert_eq!(spent().await, 0, "the budget was asked");
    assert_ne!(origin.get("root", &path).await.body["metadata"]["deletionTimestamp"], Value::Null);
}

#[tokio::test]
async fn a_node_has_one_lease_and_one_csinode_and_reports_how_large_claims_are() {
    let world = world().await;
    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {"holderIdentity": name}});
    let why = "can only access node lease with the same name as the requesting node";
    assert_eq!(world.post("n1", LEASES, lease("n1")).await.code, 201);
    refused(&world.post("n1", LEASES, lease("n2")).await, why);
    assert_eq!(world.post("root", LEASES, lease("n2")).await.code, 201);
    refused(&world.patch("n1", &format!("{LEASES}/n2"), json!({"spec": {"holderIdentity": "n1"}})).await, why);
    refused(&world.delete("n1", &format!("{LEASES}/n2")).await, why);
    let elsewhere = LEASES.replace("kube-node-lease", "default");
    let why = r#"can only access leases in the "kube-node-lease" system namespace"#;
    refused(&world.post("n1", &elsewhere, lease("n1")).await, why);

    let csi = |name: &str| json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": name}, "spec": {"drivers": []}});
    let path = "/apis/storage.k8s.io/v1/csinodes";
    assert_eq!(world.post("n1", path, csi("n1")).await.code, 201);
    refused(
        &world.post("n1", path, csi("n2")).await,
        "can only access CSINode with the same name as the requesting node",
    );

    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    refused(&world.post("n1", claims, claim.clone()).await, "may only update PVC status");
    assert_eq!(world.post("root", claims, claim).await.code, 201);
    let status = format!("{claims}/c/status");
    assert_eq!(world.patch("n1", &status, json!({"status": {"capacity": {"storage": "2Gi"}}})).await.code, 200);
    let why = r#"node "n1" is not allowed to update fields other than status.capacity and status.conditions"#;
    for other in [json!({"status": {"phase": "Bound"}}), json!({"metadata": {"labels": {"a": "b"}}})] {
        refused(&world.patch("n1", &status, other).await, why);
    }
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods_and_what_they_ask_for() {
    let world = world().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(world.post("root", accounts, named("ServiceAccount", "robot")).await.code, 201);
    for (node, name) in [("n1", "mine"), ("n2", "theirs")] {
        let mut pod = on(node, name);
        let sources = json!([{"serviceAccountToken": {"path": "a"}}, {"serviceAccountToken": {"path": "b", "audience": "vault"}}]);
        pod["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": sources}}]);
        pod["spec"]["serviceAccountName"] = json!("robot");
        assert_eq!(world.post("root", PODS, pod).await.code, 201);
    }
    let uid = |answer: Answer| answer.body["metadata"]["uid"].clone();
    let (mine, theirs) = (
        uid(world.get("root", &format!("{PODS}/mine")).await),
        uid(world.get("root", &format!("{PODS}/theirs")).await),
    );
    let role = |kind: &str, more: Value| {
        let mut role = named(kind, "nodes");
        role["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role
    };
    let rules = json!({"rules": [
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["registry"], "verbs": ["request-serviceaccounts-token-audience"]},
    ]});
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nodes"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(world.post("root", &format!("{rbac}/clusterroles"), role("ClusterRole", rules)).await.code, 201);
    let bindings = format!("{rbac}/clusterrolebindings");
    assert_eq!(world.post("root", &bindings, role("ClusterRoleBinding", binding)).await.code, 201);
    let ask = async |bound: Value, audiences: &[&str]| {
        let spec = json!({"boundObjectRef": bound, "audiences": audiences});
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        world.post("weak", &format!("{accounts}/robot/token"), body).await
    };
    let to = |name: &str, uid: &Value| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    assert_eq!(ask(to("mine", &mine), &[]).await.code, 201);
    assert_eq!(ask(to("mine", &mine), &["vault"]).await.code, 201);
    refused(&ask(Value::Null, &[]).await, "node requested token not bound to a pod");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"});
    refused(&ask(secret, &[]).await, "node requested token not bound to a pod");
    let why = "node requested token with a pod binding without a uid";
    refused(&ask(json!({"apiVersion": "v1", "kind": "Pod", "name": "mine"}), &[]).await, why);
    let why = "node requested token bound to a pod scheduled on a different node";
    refused(&ask(to("theirs", &theirs), &[]).await, why);
    assert_eq!(ask(to("gone", &mine), &[]).await.code, 404);
    let why = format!(
        "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
         deleted and then recreated",
        theirs.as_str().unwrap()
    );
    refused(&ask(to("mine", &theirs), &[]).await, &why);
    let why = "audience \"bank\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for \
               this audience";
    refused(&ask(to("mine", &mine), &["bank"]).await, why);
    assert_eq!(ask(to("mine", &mine), &["registry"]).await.code, 201, "that it may have for any account");
    refused(&ask(to("mine", &mine), &["vault", "bank"]).await, "node may only request 0 or 1 audiences");
}

#[tokio::test]
async fn only_who_is_a_node_by_name_and_group_is_restricted_and_only_while_the_plugin_runs() {
    let world = world().await;
    let label = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}});
    let why = r#"could not determine node from user "system:node:""#;
    refused(&world.patch("lost", &format!("{NODES}/n1"), label.clone()).await, why);
    assert_eq!(world.patch("fake", &format!("{NODES}/n1"), label.clone()).await.code, 200);
    let unlimited = world_with(&["NodeRestriction"]).await;
    assert_eq!(unlimited.patch("n1", &format!("{NODES}/n2"), label).await.code, 200);
}

/// A node may get what pods that are bound to it name, and is told why it may not get the rest.
#[tokio::test]
async fn a_node_reads_what_its_pods_name_and_no_more() {
    let world = world().await;
    let place = "/api/v1/namespaces/default";
    for (kind, path) in [("Secret", "secrets"), ("ConfigMap", "configmaps"), ("ServiceAccount", "serviceaccounts")] {
        for name in ["env", "pull", "vol", "proj", "driver", "other"] {
            assert_eq!(world.post("root", &format!("{place}/{path}"), named(kind, name)).await.code, 201);
        }
    }
    let claim = json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v",
    }});
    let volume = json!({"metadata": {"name": "v"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "claimRef": {"namespace": "default", "name": "c"},
        "csi": {"driver": "a.example", "volumeHandle": "h", "nodePublishSecretRef": {"namespace": "default", "name": "driver"}},
    }});
    assert_eq!(world.post("root", "/api/v1/persistentvolumes", volume).await.code, 201);
    assert_eq!(world.post("root", &format!("{place}/persistentvolumeclaims"), claim).await.code, 201);
    let get = |path: &str| {
        let (world, path) = (world.clone(), format!("{place}/{path}"));
        async move { world.get("weak", &path).await }
    };
    let unrelated = |resource: &str| {
        format!(
            "User \"system:node:n1\" cannot get resource \"{resource}\" in API group \"\" in the namespace \"default\": no \
             relationship found between node 'n1' and this object"
        )
    };
    refused(&get("secrets/env").await, &unrelated("secrets"));

    let mut own = on("n1", "user");
    own["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    own["spec"]["serviceAccountName"] = json!("vol");
    own["spec"]["containers"][0]["env"] = json!([
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k"}}},
    ]);
    own["spec"]["volumes"] = json!([
        {"name": "a", "secret": {"secretName": "vol"}}, {"name": "b", "configMap": {"name": "vol"}},
        {"name": "c", "projected": {"sources": [{"secret": {"name": "proj"}}, {"configMap": {"name": "proj"}}]}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "c"}},
    ]);
    assert_eq!(world.post("root", PODS, own).await.code, 201);
    let mut others = on("n2", "others");
    others["spec"]["imagePullSecrets"] = json!([{"name": "other"}]);
    assert_eq!(world.post("root", PODS, others).await.code, 201);
    for name in ["env", "pull", "vol", "proj", "driver"] {
        assert_eq!(get(&format!("secrets/{name}")).await.code, 200, "{name}");
    }
    for name in ["env", "vol", "proj"] {
        assert_eq!(get(&format!("configmaps/{name}")).await.code, 200, "{name}");
    }
    assert_eq!(get("persistentvolumeclaims/c").await.code, 200);
    assert_eq!(world.get("weak", "/api/v1/persistentvolumes/v").await.code, 200);
    // A volume's secret may be in another namespace.
    assert_eq!(world.post("root", "/api/v1/namespaces", named("Namespace", "keys")).await.code, 201);
    assert_eq!(world.post("root", "/api/v1/namespaces/keys/secrets", named("Secret", "stage")).await.code, 201);
    let stage = json!({"metadata": {"name": "v2"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "claimRef": {"namespace": "default", "name": "c"},
        "csi": {"driver": "a.example", "volumeHandle": "h", "nodeStageSecretRef": {"namespace": "keys", "name": "stage"}},
    }});
    assert_eq!(world.post("root", "/api/v1/persistentvolumes", stage).await.code, 201);
    assert_eq!(world.get("weak", "/api/v1/namespaces/keys/secrets/stage").await.code, 403, "no claim is bound to it");
    let claim = json!({"metadata": {"name": "c2"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v2",
    }});
    assert_eq!(world.post("root", &format!("{place}/persistentvolumeclaims"), claim).await.code, 201);
    let mut second = on("n1", "second");
    second["spec"]["volumes"] = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "c2"}}]);
    assert_eq!(world.post("root", PODS, second).await.code, 201);
    assert_eq!(world.get("weak", "/api/v1/namespaces/keys/secrets/stage").await.code, 200);
    assert_eq!(world.get("weak", "/api/v1/namespaces/keys/secrets/other").await.code, 403);
    refused(&get("secrets/other").await, &unrelated("secrets"));
    refused(&get("configmaps/pull").await, &unrelated("configmaps"));
    assert_eq!(get("serviceaccounts/vol").await.code, 200);
    refused(&get("serviceaccounts/other").await, &unrelated("serviceaccounts"));
    assert_eq!(get("services").await.code, 200, "those beside its pods");
    assert_eq!(world.get("weak", "/api/v1/namespaces/kube-system/services").await.code, 403, "it has no pods there");
    assert_eq!(world.get("weak", "/api/v1/services").await.code, 403);
    let asks = |verb: &str, resource: &str, why: &str| {
        format!(
            "User \"system:node:n1\" cannot {verb} resource \"{resource}\" in API group \"\" in the namespace \"default\": {why}"
        )
    };
    refused(&get("secrets").await, &asks("list", "secrets", "No Object name found"));
    let deleted = world.delete("weak", &format!("{place}/secrets/vol")).await;
    refused(&deleted, &asks("delete", "secrets", "can only read resources of this type"));
    let listed = get("persistentvolumeclaims").await;
    refused(&listed, &asks("list", "persistentvolumeclaims", "can only get individual resources of this type"));

    let token = |account: &str| format!("{place}/serviceaccounts/{account}/token");
    let uid = world.get("root", &format!("{PODS}/user")).await.body["metadata"]["uid"].clone();
    let bound = json!({"spec": {"audiences": [], "boundObjectRef": {
        "apiVersion": "v1", "kind": "Pod", "name": "user", "uid": uid,
    }}});
    let refusal = world.post("weak", &token("other"), bound.clone()).await;
    let why = "no relationship found between node 'n1' and this object";
    refused(&refusal, &asks("create", "serviceaccounts/token", why));
    let given = world.post("weak", &token("vol"), bound).await;
    assert!(
        given.code != 403 || !given.body["message"].as_str().unwrap().contains("no relationship"),
        "{}",
        given.body
    );

    // When the pod is gone, so is the right.
    assert_eq!(world.send("root", Method::DELETE, &format!("{PODS}/user?gracePeriodSeconds=0"), None).await.code, 200);
    refused(&get("secrets/vol").await, &unrelated("secrets"));
}

/// With nothing but its name and its group: what upstream's role `system:node` says, of its own objects.
#[tokio::test]
async fn a_node_needs_no_role_to_register_and_to_report() {
    let world = world().await;
    let get = |path: &str| {
        let (world, path) = (world.clone(), path.to_owned());
        async move { world.get("weak", &path).await }
    };
    let (csi, own_pods) = ("/apis/storage.k8s.io/v1/csinodes", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1");
    let csi_node = |name: &str| json!({"metadata": {"name": name}, "spec": {"drivers": []}});
    let lease = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}});
    assert_eq!(world.delete("root", &format!("{NODES}/n1")).await.code, 200);
    for (path, body) in [
        (NODES, named("Node", "n1")),
        (LEASES, lease("n1")),
        (csi, csi_node("n1")),
        (
            "/api/v1/namespaces/default/events",
            json!({
                "metadata": {"name": "e"}, "involvedObject": {"kind": "Node", "name": "n1", "namespace": "default"},
            }),
        ),
    ] {
        let made = world.post("weak", path, body).await;
        assert_eq!(made.code, 201, "{path}: {}", made.body);
    }
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(world.patch("weak", &format!("{NODES}/n1/status"), ready).await.code, 200);
    let phase = json!({"status": {"phase": "Running"}});
    assert_eq!(world.patch("weak", &format!("{PODS}/on-n1/status"), phase).await.code, 200);
    for path in [
        &*format!("{NODES}/n1"),
        &*format!("{NODES}?fieldSelector=metadata.name%3Dn1"),
        &*format!("{LEASES}/n1"),
        &*format!("{csi}/n1"),
        own_pods,
        &*format!("{PODS}/on-n1"),
        "/apis/storage.k8s.io/v1/csidrivers",
        "/apis/node.k8s.io/v1/runtimeclasses",
        "/apis/certificates.k8s.io/v1/certificatesigningrequests",
        "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dn1",
    ] {
        let answer = get(path).await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    }

    for (path, why) in [
        (NODES.to_owned(), "node 'n1' cannot read all nodes, only its own Node object"),
        (format!("{NODES}/n2"), "node 'n1' cannot read 'n2', only its own Node object"),
        (LEASES.to_owned(), "can only get, create, update, patch, or delete a node lease"),
        (format!("{LEASES}/n2"), "can only access node lease with the same name as the requesting node"),
        (
            LEASES.replace("kube-node-lease", "default") + "/n1",
            "can only access leases in the \"kube-node-lease\" system namespace",
        ),
        (csi.to_owned(), "can only get, create, update, patch, or delete a CSINode"),
        (format!("{csi}/n2"), "can only access CSINode with the same name as the requesting node"),
        ("/api/v1/pods".to_owned(), "can only list/watch pods with spec.nodeName field selector"),
        (own_pods.replace("n1", "n2"), "can only list/watch pods with spec.nodeName field selector"),
        (format!("{PODS}/on-n2"), "no relationship found between node 'n1' and this object"),
    ] {
        let answer = get(&path).await;
        assert_eq!(answer.code, 403, "{path}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().ends_with(&format!(": {why}")), "{path}: {}", answer.body);
    }
    assert_eq!(world.delete("weak", &format!("{NODES}/n1")).await.code, 403);
    for (token, path) in [
        ("weak", "/api/v1/tenants/acme/pods?fieldSelector=spec.nodeName%3Dn1"),
        ("weak", "/apis/coordination.k8s.io/v1/tenants/acme/namespaces/kube-node-lease/leases/n1"),
        ("theirs", own_pods),
        ("theirs", "/apis/storage.k8s.io/v1/csidrivers"),
        ("theirs", &*format!("{NODES}/n1")),
    ] {
        assert_eq!(
            world.get(token, path).await.code,
            403,
            "{token} {path}: it is at home in `system`, as a node of the region"
        );
    }
    let binding = world.get("root", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:node").await.body;
    assert_eq!((&binding["roleRef"]["name"], &binding["subjects"]), (&json!("system:node"), &Value::Null));
}
