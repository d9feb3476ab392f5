//! What Arktos's own multi-tenancy suites are about, as far as it takes controllers and hosts: against the real
//! program with `--arktos-compat`. What takes neither is in `arktos-api/tests/road/old_clients.rs`; each test says
//! which suites it stands for.

mod process;

use std::sync::Arc;

use arktos_api::Identity;
use arktos_bin::hollow::HollowOptions;
use arktos_bin::roles::ApiOptions;
use arktos_bin::roles::region::{Region, RegionOptions};
use arktos_bin::roles::store::StoreArgs;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, TenantName, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{Delivery, Query, Within};
use futures::StreamExt;
use process::PATIENCE;
use process::http::Caller;
use process::world::World;
use serde_json::{Value, json};

const NODE: &str = "/api/v1/nodes/hollow-0";

fn start() -> World {
    World::start(&["--arktos-compat", "--hosts=1", "--store=memory"])
}

/// A tenant and a namespace in it, as every suite makes them first.
fn tenant(root: &Caller<'_>, name: &str) {
    let body = json!({"kind": "Tenant", "apiVersion": "v1", "metadata": {"name": name, "creationTimestamp": null},
        "spec": {"storageClusterId": "0"}, "status": {}});
    make(root, "/api/v1/tenants", &body);
    let meta = json!({"name": "work", "creationTimestamp": null});
    let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": meta, "spec": {}, "status": {}});
    make(root, &format!("/api/v1/tenants/{name}/namespaces"), &namespace);
}

fn make(caller: &Caller<'_>, path: &str, object: &Value) -> Value {
    let (code, made) = caller.post(path, object);
    assert_eq!(code, 201, "{path}: {made}");
    made
}

fn gone(caller: &Caller<'_>, path: &str) {
    caller.until(path, |code, _| code == 404);
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn named(list: &Value) -> Vec<&str> {
    items(list).iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

/// `spec` of pods that run, and the labels by which a deployment knows them.
fn deployment(name: &str) -> Value {
    let labels = json!({"app": "web"});
    let spec = json!({"containers": [{"name": "main", "image": "registry.example/app:1"}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec}},
    })
}

fn pod(name: &str) -> Value {
    let spec = json!({"containers": [{"name": "main", "image": "registry.example/app:1"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

/// `create`, `replace`, `rollout` and `scale_diff` look at a deployment's status and history with their next command.
#[tokio::test]
async fn what_has_become_of_a_deployment_is_written_down_without_a_rest() {
    let acme = TenantName::new("acme").expect("a name");
    let region = Region::start(RegionOptions {
        store: StoreArgs::default(),
        api: ApiOptions { arktos_compat: true, ..ApiOptions::default() },
        catalog: Catalog::builtin(),
        hosts: HollowOptions { count: 1, ..HollowOptions::default() },
        controllers: vec!["*".to_owned()],
        plugins: Arc::new(arktos_sched::plugin::Plugins::default),
        tenants: vec![acme.clone()],
        clock: Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000))), // who rests, rests for ever
        random: Arc::new(SeededRandom::new(5)),
        spawn: Arc::new(|future| drop(tokio::spawn(future))),
    })
    .await
    .expect("the region starts");
    let client = region.client(Identity::user("root", &["system:masters"], &TenantName::system()));
    let deployments = GroupResource::new("apps", "deployments");
    let object = Object::from_value(deployment("web")).expect("an object");
    let made = client.create(&deployments, "acme", "default", object).await.expect("made");
    let query = Query::all(deployments, Within::Tenant(acme));
    let mut changes = client.watch(&query, made.revision).await.expect("watched");
    let counted = async {
        while let Some(delivery) = changes.next().await {
            let Ok(Delivery::Modified(stored)) = delivery else { continue };
            if stored.object.decode(None).expect("read").int_at(&["status", "replicas"]) == Some(1) {
                return;
            }
        }
        panic!("the watch has ended");
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("its pods are counted as soon as they are there");
    region.stop().await;
}

/// `tenant_init_delete_test`.
#[test]
fn a_tenant_begins_with_what_arktos_gives_it_and_leaves_nothing() {
    let world = start();
    let root = world.root();
    tenant(&root, "nova");
    let namespaces = "/api/v1/tenants/nova/namespaces";
    let all = root.until(namespaces, |_, all| items(all).len() == 4);
    assert_eq!(named(&all), ["default", "kube-public", "kube-system", "work"]);
    for namespace in items(&all) {
        let name = namespace["metadata"]["name"].as_str().expect("a name");
        assert_eq!(namespace["metadata"]["selfLink"], format!("{namespaces}/{name}"));
        assert_eq!(
            (&namespace["metadata"]["tenant"], &namespace["status"]["phase"]),
            (&json!("nova"), &json!("Active"))
        );
    }
    let rbac = "/apis/rbac.authorization.k8s.io/v1/tenants/nova";
    root.until(&format!("{rbac}/clusterroles"), |_, all| named(all) == ["admin-role"]);
    root.until(&format!("{rbac}/clusterrolebindings"), |_, all| named(all) == ["admin-role-binding"]);
    let own = root.get("/api/v1/namespaces").1;
    assert!(items(&own).iter().all(|namespace| namespace["metadata"]["tenant"] == "system"), "{own}");

    let deployments = "/apis/apps/v1/tenants/nova/namespaces/work/deployments";
    make(&root, deployments, &deployment("web"));
    assert_eq!(root.delete(&format!("{namespaces}/work")).0, 200);
    gone(&root, &format!("{namespaces}/work"));
    let old = deployments.replace("apps/v1", "extensions/v1beta1");
    assert_eq!(items(&root.get(&old).1).len(), 0);
    assert_eq!(root.delete("/api/v1/tenants/nova").0, 200);
    gone(&root, "/api/v1/tenants/nova");
    for path in [namespaces, "/api/v1/tenants/nova/namespaces/default/pods"] {
        let (code, left) = root.get(path);
        assert_eq!((code, items(&left).len()), (200, 0), "{path}");
    }
}

/// `deployment_replicaset`, `run`, `rollout`, `scale_diff`.
#[test]
fn deployments_work_in_their_old_versions() {
    let world = start();
    let root = world.root();
    tenant(&root, "nova");
    let place = "/tenants/nova/namespaces/work";
    let old = format!("/apis/extensions/v1beta1{place}");
    make(&root, &format!("/apis/apps/v1{place}/deployments"), &deployment("web"));
    let ready = |count: u64| {
        let fits = |_, all: &Value| {
            let status = &all["status"];
            status["readyReplicas"] == count && status["replicas"] == count && status["updatedReplicas"] == count
        };
        root.until(&format!("{old}/deployments/web"), fits)
    };
    ready(1);
    let one = |resource: &str, not: &str| -> String {
        let list = root.until(resource, |_, all| named(all).iter().filter(|name| **name != not).count() == 1);
        named(&list).into_iter().find(|name| *name != not).map(str::to_owned).expect("one")
    };
    let (pods, sets) = (format!("/api/v1{place}/pods"), format!("{old}/replicasets"));
    for resource in [&pods, &sets] {
        let first = one(resource, "");
        assert_eq!(root.delete(&format!("{resource}/{first}")).0, 200);
        root.until(resource, |_, all| {
            let others = items(all).iter().filter(|item| item["metadata"]["deletionTimestamp"].is_null());
            others.count() == 1
        });
        ready(1);
    }
    // `kubectl scale --record`, `rollout history`, `rollout pause` and `resume`.
    let scale = root.patch(&format!("{old}/deployments/web/scale"), &json!({"spec": {"replicas": 2}}));
    assert_eq!((scale.0, &scale.1["spec"]["replicas"]), (200, &json!(2)), "{}", scale.1);
    let cause = json!({"kubernetes.io/change-cause": "scaled"});
    assert_eq!(root.patch(&format!("{old}/deployments/web"), &json!({"metadata": {"annotations": cause}})).0, 200);
    root.until(&sets, |_, all| {
        items(all).iter().any(|set| set["metadata"]["annotations"]["kubernetes.io/change-cause"] == "scaled")
    });
    ready(2);
    for paused in [json!(true), json!(null)] {
        let patched = root.patch(&format!("{old}/deployments/web"), &json!({"spec": {"paused": paused}}));
        assert_eq!(patched.0, 200, "{}", patched.1);
    }
    let background =
        json!({"kind": "DeleteOptions", "apiVersion": "extensions/v1beta1", "propagationPolicy": "Background"});
    let (code, _) = root.send("DELETE", &format!("{old}/deployments/web"), Some(&background));
    assert_eq!(code, 200);
    for resource in [&sets, &pods] {
        root.until(resource, |_, all| items(all).is_empty());
    }
}

/// `endpoints`, `expose`, `sa_token`, `describe`.
#[test]
fn services_have_endpoints_and_accounts_have_secrets() {
    let world = start();
    let root = world.root();
    tenant(&root, "nova");
    let place = "/api/v1/tenants/nova/namespaces/work";
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}], "selector": {"app": "web"}}});
    let made = make(&root, &format!("{place}/services"), &service);
    assert_eq!((&made["spec"]["type"], &made["metadata"]["tenant"]), (&json!("ClusterIP"), &json!("nova")));
    let endpoints = root.until(&format!("{place}/endpoints/web"), |code, _| code == 200);
    assert_eq!(endpoints["metadata"]["tenant"], "nova");
    assert_eq!(root.delete(&format!("{place}/services/web")).0, 200);
    gone(&root, &format!("{place}/endpoints/web"));

    let (accounts, secrets) = (format!("{place}/serviceaccounts"), format!("{place}/secrets"));
    // One secret, and that of the account that is there now.
    let secret = |not: &str| -> String {
        let account = root.until(&accounts, |_, all| named(all) == ["default"]);
        let owner = "kubernetes.io/service-account.uid";
        let fits = |_, all: &Value| match items(all) {
            [one] => {
                let owned = one["metadata"]["annotations"][owner] == account["items"][0]["metadata"]["uid"];
                owned && one["metadata"]["uid"] != not
            }
            _ => false,
        };
        let list = root.until(&secrets, fits);
        assert!(named(&list)[0].starts_with("default-token-"), "{list}");
        list["items"][0]["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
    };
    let first = secret("");
    let account = root.get(&format!("{accounts}/default")).1["metadata"]["uid"].clone();
    assert_eq!(root.delete(&format!("{accounts}/default")).0, 200);
    root.until(&format!("{accounts}/default"), |code, one| code == 200 && one["metadata"]["uid"] != account);
    let second = secret(&first);
    let name = named(&root.get(&secrets).1)[0].to_owned();
    assert_eq!(root.delete(&format!("{secrets}/{name}")).0, 200);
    secret(&second);
    assert_eq!(root.delete(place).0, 200);
    let refused = root.until(&format!("{accounts}/default"), |code, _| code == 404);
    assert!(refused["message"].as_str().is_some_and(|text| text.ends_with("not found")), "{refused}");
    root.until(&secrets, |code, all| code == 200 && items(all).is_empty());
}

/// `drain`, `taint`, `configmap_pod_create`.
#[test]
fn hosts_are_emptied_and_filled_and_commands_end() {
    let world = start();
    let root = world.root();
    tenant(&root, "nova");
    let pods = "/api/v1/tenants/nova/namespaces/work/pods";
    let runs = |name: &str| {
        make(&root, pods, &pod(name));
        root.until(&format!("{pods}/{name}"), |_, pod| pod["status"]["phase"] == "Running");
    };
    let effects = || -> Vec<Value> {
        let node = root.get(NODE).1;
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.iter().map(|taint| taint["effect"].clone()).collect()
    };
    root.until(NODE, |code, _| code == 200);
    runs("web");
    // `kubectl drain` cordons, lists what is on the host in all tenants, and evicts it.
    assert_eq!(root.patch(NODE, &json!({"spec": {"unschedulable": true}})).0, 200);
    root.until(NODE, |_, node| node["spec"]["taints"][0]["effect"] == "NoSchedule");
    let on_host = root.get("/api/v1/tenants/all/pods?fieldSelector=spec.nodeName%3Dhollow-0").1;
    assert_eq!(named(&on_host), ["web"]);
    let eviction =
        json!({"kind": "Eviction", "apiVersion": "policy/v1beta1", "metadata": {"name": "web", "namespace": "work"}});
    make(&root, &format!("{pods}/web/eviction"), &eviction);
    gone(&root, &format!("{pods}/web"));
    assert_eq!(root.patch(NODE, &json!({"spec": {"unschedulable": null}})).0, 200);
    root.until(NODE, |_, node| node["spec"]["taints"].is_null());
    runs("again");
    let taint = json!({"spec": {"taints": [{"key": "aaa", "value": "bbb", "effect": "NoExecute"}]}});
    assert_eq!(root.patch(NODE, &taint).0, 200);
    gone(&root, &format!("{pods}/again"));
    assert_eq!(effects(), ["NoExecute"]);
    assert_eq!(root.patch(NODE, &json!({"spec": {"taints": null}})).0, 200);

    let mut ends = pod("ends");
    ends["spec"]["restartPolicy"] = json!("Never");
    ends["spec"]["containers"][0]["command"] = json!(["/bin/sh", "-c", "env"]);
    make(&root, pods, &ends);
    root.until(&format!("{pods}/ends"), |_, pod| pod["status"]["phase"] == "Succeeded");
}
