//! The controllers on the real API server, in process: what they write is valid, and what they read is what it says.

use arktos_store::Within;
use arktos_store::client::Propagation;
use serde_json::{Value, json};

use crate::world::{World, condition, deployment};

const WEB: &str = "acme/default/web";

#[test]
fn a_tenant_has_what_it_needs_to_deploy() {
    let mut world = World::on_the_road();
    let names = world.names("namespaces");
    for namespace in ["acme//default", "acme//kube-system", "acme//kube-public"] {
        assert!(names.contains(&namespace.to_owned()), "{names:?}");
    }
    assert_eq!(world.get("tenants", "//acme")["status"]["phase"], "Active");
    assert!(world.find("clusterrolebindings.rbac.authorization.k8s.io", "acme//admin-role-binding").is_some());
    assert!(world.find("serviceaccounts", "acme/default/default").is_some());
    assert!(world.find("configmaps", "acme/default/kube-root-ca.crt").is_some());
    for tenant in ["acme", "system"] {
        let path = |name: &str| format!("{tenant}/kube-system/{name}");
        assert!(world.find("configmaps", &path("extension-apiserver-authentication")).is_some(), "{tenant}");
        let tracking = world.get("configmaps", &path("kube-apiserver-legacy-service-account-token-tracking"));
        assert!(tracking["data"]["since"].as_str().is_some_and(|since| since.len() == 10), "{tracking}");
    }
    world.create("deployments.apps", "acme", "default", deployment(3, "web:1")).expect("created");
    world.run_pods();
    let web = world.get("deployments.apps", WEB);
    assert_eq!(web["status"]["availableReplicas"], 3);
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    assert_eq!(condition(&web, "Available")["status"], "True");
    assert_eq!(condition(&web, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(world.events("ScalingReplicaSet").len(), 1);
    assert_eq!(world.list("pods", Within::Everywhere).len(), 3);
}

#[test]
fn a_deployment_rolls_out_back_and_away() {
    let mut world = World::on_the_road();
    world.create("deployments.apps", "acme", "default", deployment(4, "web:1")).expect("created");
    world.run_pods();
    for (image, revision) in [("web:2", "2"), ("web:1", "3")] {
        world.edit("deployments.apps", WEB, |web| {
            web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        });
        world.run_pods();
        let web = world.get("deployments.apps", WEB);
        assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], revision);
        assert_eq!((&web["status"]["updatedReplicas"], &web["status"]["replicas"]), (&json!(4), &json!(4)));
        assert_eq!(web["status"]["observedGeneration"], web["metadata"]["generation"]);
    }
    assert_eq!(world.names("replicasets.apps").len(), 2);
    world.delete("deployments.apps", WEB, Some(Propagation::Foreground));
    world.run_pods();
    for resource in ["deployments.apps", "replicasets.apps", "pods"] {
        assert_eq!(world.names(resource), Vec::<String>::new(), "{resource}");
    }
}

#[test]
fn a_service_has_slices_and_endpoints() {
    let mut world = World::on_the_road();
    world.create("deployments.apps", "acme", "default", deployment(2, "web:1")).expect("created");
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    world.create("services", "acme", "default", service).expect("created");
    world.run_pods();
    let slices = world.list("endpointslices.discovery.k8s.io", Within::Everywhere);
    let slice = slices.iter().find(|slice| slice["path"].as_str().is_some_and(|path| path.starts_with("acme/")));
    let slice = slice.expect("a slice");
    assert_eq!(slice["endpoints"].as_array().map(Vec::len), Some(2));
    assert_eq!(slice["ports"][0]["port"], 8080);
    let subsets = world.get("endpoints", "acme/default/web")["subsets"].clone();
    assert_eq!(subsets[0]["addresses"].as_array().map(Vec::len), Some(2));
    world.delete("services", "acme/default/web", None);
    world.settle();
    let left: Vec<Value> = world.list("endpointslices.discovery.k8s.io", Within::Everywhere);
    assert!(left.iter().all(|slice| !slice["path"].as_str().is_some_and(|path| path.starts_with("acme/"))));
}

#[test]
fn a_job_runs_to_its_end() {
    let mut world = World::on_the_road();
    let job = json!({
        "metadata": {"name": "sum"},
        "spec": {
            "completions": 2, "parallelism": 1, "ttlSecondsAfterFinished": 30,
            "template": {"spec": {"containers": [{"name": "sum", "image": "sum"}], "restartPolicy": "Never"}},
        },
    });
    world.create("jobs.batch", "acme", "default", job).expect("created");
    for _ in 0..2 {
        world.run_pods();
        for pod in world.list("pods", Within::Everywhere) {
            let path = pod["path"].as_str().expect("a path").to_owned();
            world.set_pod(&path, "Succeeded", false);
        }
        world.settle();
    }
    let job = world.get("jobs.batch", "acme/default/sum");
    assert_eq!(job["status"]["succeeded"], 2);
    assert_eq!(condition(&job, "Complete")["status"], "True");
    world.pass(31);
    world.run_pods();
    assert_eq!(world.names("jobs.batch"), Vec::<String>::new());
    assert_eq!(world.names("pods"), Vec::<String>::new());
}

#[test]
fn a_namespace_goes_with_everything_in_it() {
    let mut world = World::on_the_road();
    world.create("namespaces", "acme", "", json!({"metadata": {"name": "shop"}})).expect("created");
    world.settle();
    let mut web = deployment(2, "web:1");
    web["metadata"]["namespace"] = json!("shop");
    world.create("deployments.apps", "acme", "shop", web).expect("created");
    world.run_pods();
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    world.create("configmaps", "acme", "shop", held).expect("created");
    world.delete("namespaces", "acme//shop", None);
    world.run_pods();
    world.pass(60);
    world.run_pods();
    let shop = world.get("namespaces", "acme//shop");
    assert_eq!(condition(&shop, "NamespaceFinalizersRemaining")["status"], "True", "{shop:#}");
    world.edit("configmaps", "acme/shop/held", |map| {
        map["metadata"].as_object_mut().expect("a map").remove("finalizers");
    });
    world.pass(90);
    assert_eq!(world.find("namespaces", "acme//shop"), None);
}

#[test]
fn what_was_counted_for_a_deleted_tenant_is_free_for_the_next_one_of_its_name() {
    let mut world = World::on_the_road();
    let service = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.0.0.77", "type": "NodePort",
        "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": 30_077}]}});
    world.create("services", "acme", "default", service.clone()).expect("created");
    let quota = json!({"metadata": {"name": "acme"}, "spec": {"hard": {"count/services": "5"}}});
    world.create("tenantquotas.region.arktos.io", "", "", quota).expect("created");
    let mut second = service.clone();
    second["metadata"]["name"] = json!("second");
    world.create("services", "acme", "default", second).expect_err("the address is taken");
    world.delete("tenants", "//acme", None);
    for _ in 0..20 {
        world.run_pods();
        world.pass(5);
    }
    assert_eq!(world.find("tenants", "//acme"), None);
    assert_eq!(world.find("tenantquotas.region.arktos.io", "//acme"), None);
    world.create("tenants", "", "", json!({"metadata": {"name": "acme"}})).expect("created");
    world.settle();
    world.create("services", "acme", "default", service).expect("the address is free");
}

#[test]
fn a_deleted_tenant_leaves_nothing() {
    let mut world = World::on_the_road();
    world.create("deployments.apps", "acme", "default", deployment(2, "web:1")).expect("created");
    world.run_pods();
    // A role that every tenant sees becomes the tenant's own when the tenant changes it.
    let view = "acme//view";
    world
        .edit("clusterroles.rbac.authorization.k8s.io", view, |role| role["metadata"]["labels"]["mine"] = json!("yes"));
    assert!(world.names("clusterroles.rbac.authorization.k8s.io").contains(&view.to_owned()));
    world.delete("tenants", "//acme", None);
    for _ in 0..20 {
        world.run_pods();
        world.pass(5);
    }
    assert_eq!(world.find("tenants", "//acme"), None);
    for kind in arktos_core::catalog::Catalog::builtin().kinds().filter(|kind| kind.storage && kind.can("list")) {
        let left: Vec<String> =
            world.names(kind.storage_resource.as_str()).into_iter().filter(|path| path.starts_with("acme/")).collect();
        assert_eq!(left, Vec::<String>::new(), "{}", kind.storage_resource);
    }
}

#[test]
fn claims_and_volumes_that_are_deleted_go_when_nobody_uses_them() {
    let mut world = World::on_the_road();
    let (claims, volumes) = ("persistentvolumeclaims", "persistentvolumes");
    for name in ["used", "unused"] {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let claim = json!({"metadata": {"name": name}, "spec": spec});
        world.create(claims, "acme", "default", claim).expect("created");
        let spec =
            json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}});
        world.create(volumes, "acme", "", json!({"metadata": {"name": name}, "spec": spec})).expect("created");
    }
    world.edit_status(volumes, "acme//used", |volume| volume["status"]["phase"] = json!("Bound"));
    let volume = json!({"name": "disk", "persistentVolumeClaim": {"claimName": "used"}});
    let spec = json!({"containers": [{"name": "main", "image": "x"}], "volumes": [volume]});
    world.create("pods", "acme", "default", json!({"metadata": {"name": "user"}, "spec": spec})).expect("created");
    world.run_pods();
    for name in ["used", "unused"] {
        world.delete(claims, &format!("acme/default/{name}"), None);
        world.delete(volumes, &format!("acme//{name}"), None);
    }
    world.settle();
    assert_eq!(world.names(claims), ["acme/default/used"]);
    assert_eq!(world.names(volumes), ["acme//used"]);
    world.delete("pods", "acme/default/user", None);
    world.run_pods();
    world.edit_status(volumes, "acme//used", |volume| volume["status"]["phase"] = json!("Released"));
    world.settle();
    assert_eq!(world.names(claims), Vec::<String>::new());
    assert_eq!(world.names(volumes), Vec::<String>::new());
}

const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";

/// Whether a role lets read a kind.
fn reads(world: &World, role: &str, resource: &str) -> bool {
    let role = world.get(CLUSTER_ROLES, role);
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    rules.iter().any(|rule| rule["resources"].as_array().is_some_and(|all| all.contains(&json!(resource))))
}

/// As charts ship them, for kinds of theirs.
#[test]
fn a_role_that_says_so_is_part_of_what_everybody_has() {
    let mut world = World::on_the_road();
    world.create("tenants", "", "", json!({"metadata": {"name": "umbra"}})).expect("a tenant");
    world.settle();
    let own = |world: &World| {
        let all = world.list(CLUSTER_ROLES, Within::Everywhere);
        let shared = |name: &str| matches!(name, "acme//admin" | "acme//edit" | "acme//view");
        all.iter().filter(|role| shared(role["path"].as_str().unwrap_or(""))).count()
    };
    assert_eq!(own(&world), 0, "nobody has a copy");
    let before = world.get(CLUSTER_ROLES, "acme//view");
    let label = "rbac.authorization.k8s.io/aggregate-to-view";
    let certificates = json!({
        "metadata": {"name": "certificates-view", "labels": {label: "true"}},
        "rules": [{"apiGroups": ["cert-manager.io"], "resources": ["certificates"], "verbs": ["get", "list", "watch"]}],
    });
    world.create(CLUSTER_ROLES, "acme", "", certificates).expect("created");
    world.settle();
    for name in ["view", "edit", "admin"] {
        assert!(reads(&world, &format!("acme//{name}"), "certificates"), "{name}");
        assert!(reads(&world, &format!("acme//{name}"), "pods"), "{name}");
        assert!(!reads(&world, &format!("umbra//{name}"), "certificates"), "{name}");
    }
    assert_eq!(world.get(CLUSTER_ROLES, "acme//view")["aggregationRule"], before["aggregationRule"]);
    // A tenant's own gather what all tenants have.
    let gathers = json!({
        "metadata": {"name": "viewers"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}, "rules": [],
    });
    world.create(CLUSTER_ROLES, "acme", "", gathers).expect("created");
    world.settle();
    assert!(reads(&world, "acme//viewers", "certificates") && reads(&world, "acme//viewers", "pods"));
    // A copy that is deleted comes back for as long as it is needed; what is gathered goes with its role.
    world.delete(CLUSTER_ROLES, "acme//view", None);
    world.settle();
    assert!(reads(&world, "acme//view", "certificates"));
    world.delete(CLUSTER_ROLES, "acme//certificates-view", None);
    world.settle();
    for name in ["view", "edit", "admin", "viewers"] {
        assert!(!reads(&world, &format!("acme//{name}"), "certificates"), "{name}");
        assert!(reads(&world, &format!("acme//{name}"), "pods"), "{name}");
    }
    assert_eq!(world.get(CLUSTER_ROLES, "acme//view")["rules"], before["rules"]);
}
