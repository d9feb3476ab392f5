//! What Arktos's own clients find with `--arktos-compat`: kubectl 1.15 asks as these tests do. What its suites
//! (`admission`, `crd`, `kubectl`, `tenant_init_delete`) rest on is here, as far as it needs no controller and no host.

use http::Method;
use serde_json::{Value, json};

use crate::{Answer, World, map};

const OLD: &str = "/apis/extensions/v1beta1/tenants/acme/namespaces/default/deployments";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1beta1";

async fn world() -> World {
    World::with(|config| config.arktos_compat = true).await
}

fn deployment(api_version: &str) -> Value {
    let labels = json!({"app": "web"});
    let spec = json!({"containers": [{"name": "main", "image": "registry.example/app:1"}]});
    json!({
        "apiVersion": api_version, "kind": "Deployment", "metadata": {"name": "web", "labels": labels},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": labels}, "spec": spec}},
    })
}

/// As kubectl applies a definition that says as little as the suites' do.
fn definition(plural: &str, kind: &str, group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1beta1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "version": "v1", "scope": "Namespaced", "names": {"kind": kind, "plural": plural}},
    })
}

fn names(list: &Answer) -> Vec<&str> {
    list.body["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn nothing_of_it_is_there_without_the_flag() {
    let world = World::new().await;
    assert_eq!(world.post("root", OLD, deployment("extensions/v1beta1")).await.code, 404);
    let groups = world.get("root", "/apis").await.body.to_string();
    assert!(!groups.contains("extensions/v1beta1") && !groups.contains("v1beta2"));
    assert!(!world.get("root", "/api/v1").await.body.to_string().contains("tenanted"));
    world.post("acme", "/api/v1/namespaces/default/configmaps", map("a")).await;
    let meta = world.get("acme", "/api/v1/namespaces/default/configmaps/a").await.body["metadata"].clone();
    assert_eq!((&meta["selfLink"], &meta["hashKey"]), (&Value::Null, &Value::Null));
    let roles = world.get("root", "/apis/rbac.authorization.k8s.io/v1/tenants/acme/clusterroles").await;
    assert!(names(&roles).contains(&"view"));
    assert_eq!(world.get("root", "/apis?tenant=nobody").await.code, 200, "a query names no tenant");
}

#[tokio::test]
async fn the_url_prefix_leads_to_a_plain_kubernetes_all_the_same() {
    let world = world().await;
    let plain = World::new().await;
    for path in ["/apis", "/apis/apps", "/api/v1", "/openapi/v2"] {
        let path = format!("/tenants/acme{path}");
        assert_eq!(world.get("acme", &path).await.body, plain.get("acme", &path).await.body, "{path}");
    }
    assert_eq!(world.post("root", OLD, deployment("extensions/v1beta1")).await.code, 201);
    let prefixed = world.get("acme", "/tenants/acme/apis/apps/v1/namespaces/default/deployments/web").await;
    assert_eq!(prefixed.code, 200);
    assert_eq!(prefixed.body["metadata"]["selfLink"], Value::Null);
    let old = world.get("acme", "/tenants/acme/apis/extensions/v1beta1/namespaces/default/deployments/web").await;
    assert_eq!(old.code, 404);
}

#[tokio::test]
async fn one_deployment_has_an_old_and_a_new_face() {
    let world = world().await;
    let made = world.post("root", OLD, deployment("extensions/v1beta1")).await;
    assert_eq!(made.code, 201, "{:?}", made.body);
    assert_eq!(made.body["apiVersion"], "extensions/v1beta1");
    let link = format!("{OLD}/web");
    assert_eq!(made.body["metadata"]["selfLink"], link);
    assert_eq!(made.body["metadata"]["tenant"], "acme");
    assert!(made.body["metadata"]["hashKey"].is_i64());
    assert_eq!(made.body["spec"]["selector"]["matchLabels"]["app"], "web", "it selects what it makes");
    let new = link.replace("extensions/v1beta1", "apps/v1");
    let shown = world.get("root", &new).await;
    assert_eq!((&shown.body["apiVersion"], &shown.body["metadata"]["selfLink"]), (&json!("apps/v1"), &json!(new)));
    assert_eq!(shown.body["metadata"]["uid"], made.body["metadata"]["uid"]);
    // As `kubectl label`, `kubectl set image` and `kubectl scale` write.
    let labelled = world.patch("root", &link, json!({"metadata": {"labels": {"bbb": "12345"}}})).await;
    assert_eq!(labelled.body["metadata"]["labels"]["bbb"], "12345");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "other:2"}]}}}});
    let strategic = "application/strategic-merge-patch+json";
    let set = world.send_as("root", Method::PATCH, &link, strategic, image.to_string()).await;
    assert_eq!(set.body["spec"]["template"]["spec"]["containers"][0]["image"], "other:2", "{:?}", set.body);
    let mut scale = world.get("root", &format!("{link}/scale")).await.body;
    assert_eq!(scale["apiVersion"], "autoscaling/v1");
    scale["spec"]["replicas"] = json!(3);
    assert_eq!(world.put("root", &format!("{link}/scale"), scale).await.code, 200);
    let list = world.get("root", OLD).await;
    assert_eq!((&list.body["kind"], &list.body["metadata"]["selfLink"]), (&json!("DeploymentList"), &json!(OLD)));
    assert_eq!(list.body["items"][0]["spec"]["replicas"], 3);
    // What is written back with what was read is taken.
    let mut whole = world.get("root", &link).await.body;
    whole["spec"]["paused"] = json!(true);
    let replaced = world.put("root", &link, whole).await;
    assert_eq!((replaced.code, replaced.warnings), (200, Vec::new()), "{:?}", replaced.body);
    let missing = world.get("root", &format!("{OLD}/nil")).await;
    assert_eq!(missing.body["message"], "deployments.extensions \"nil\" not found");
    let deleted = world.delete("root", &link).await;
    assert_eq!((deleted.code, &deleted.body["details"]["group"]), (200, &json!("extensions")));
}

#[tokio::test]
async fn a_watch_of_an_old_version_tells_in_it() {
    let world = world().await;
    let mut events = world.watch("root", &format!("{OLD}?watch=true&fieldSelector=metadata.name%3Dweb")).await;
    let mut body = deployment("apps/v1");
    body["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
    assert_eq!(world.post("root", &OLD.replace("extensions/v1beta1", "apps/v1"), body).await.code, 201);
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["apiVersion"]), (&json!("ADDED"), &json!("extensions/v1beta1")));
    assert_eq!(event["object"]["metadata"]["selfLink"], format!("{OLD}/web"));
}

#[tokio::test]
async fn old_versions_say_what_todays_client_may_say_of_them_later() {
    let world = world().await;
    world.post("root", OLD, deployment("extensions/v1beta1")).await;
    let path = "/apis/apps/v1/tenants/acme/namespaces/default/deployments/web?fieldManager=ops&force=true";
    let config =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}});
    let applied = world.send_as("root", Method::PATCH, path, "application/apply-patch+yaml", config.to_string()).await;
    assert_eq!((applied.code, &applied.body["spec"]["replicas"]), (200, &json!(5)), "{:?}", applied.body);
}

#[tokio::test]
async fn discovery_is_as_they_read_it() {
    let world = world().await;
    let groups = world.get("root", "/apis").await.body["groups"].clone();
    assert_eq!(groups[0]["name"], "extensions");
    let preferred = |name: &str| {
        let group = groups.as_array().unwrap().iter().find(|group| group["name"] == name).unwrap();
        group["preferredVersion"]["version"].as_str().unwrap().to_owned()
    };
    assert_eq!(preferred("autoscaling"), "v1");
    assert_eq!(preferred("apps"), "v1");
    let core = world.get("root", "/api/v1").await.body["resources"].clone();
    let flag =
        |name: &str| core.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()["tenanted"].clone();
    assert_eq!((flag("pods"), flag("namespaces"), flag("pods/eviction")), (json!(true), json!(true), json!(true)));
    assert_eq!((flag("nodes"), flag("tenants")), (Value::Null, Value::Null));
    let own = world.get("acme", "/api/v1").await.body["resources"].to_string();
    assert!(own.contains("\"persistentvolumeclaims\"") && !own.contains("\"nodes\"") && !own.contains("\"tenants\""));
    let old = world.get("acme", "/apis/extensions/v1beta1").await.body["resources"].to_string();
    for resource in ["deployments/scale", "replicasets", "daemonsets", "ingresses", "networkpolicies"] {
        assert!(old.contains(&format!("\"{resource}\"")), "{resource}");
    }
    let models = world.get("root", "/openapi/v2").await.body["definitions"].clone();
    let meta = &models["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"];
    assert_eq!((&meta["tenant"]["type"], &meta["hashKey"]["type"]), (&json!("string"), &json!("integer")));
}

#[tokio::test]
async fn discovery_takes_a_tenant_from_the_query_and_the_wall_stands() {
    let world = world().await;
    let body = definition("dreams", "Dream", "fantasy.example");
    let made = world.post("acme", &format!("{DEFINITIONS}/customresourcedefinitions"), body).await;
    assert_eq!(made.code, 201, "{:?}", made.body);
    let knows = async |token: &str, path: &str| {
        let answer = world.get(token, path).await;
        (answer.code, answer.body.to_string().contains("fantasy.example"))
    };
    assert_eq!(knows("root", "/apis?tenant=acme").await, (200, true));
    assert_eq!(knows("root", "/apis?tenant=umbra").await, (200, false));
    assert_eq!(knows("root", "/apis").await, (200, false));
    assert_eq!(knows("root", "/apis/fantasy.example/v1?tenant=acme").await.0, 200);
    assert_eq!(knows("acme", "/apis").await, (200, true));
    assert_eq!(knows("umbra", "/apis?tenant=acme").await.0, 403);
    assert_eq!(knows("umbra", "/tenants/umbra/apis?tenant=acme").await, (200, false), "the path says it there");
    assert_eq!(world.get("umbra", "/api/v1/configmaps?tenant=acme").await.code, 200, "a query is no path");
}

#[tokio::test]
async fn definitions_of_the_old_form_make_kinds() {
    let world = world().await;
    let path = format!("{DEFINITIONS}/customresourcedefinitions");
    for token in ["acme", "umbra"] {
        assert_eq!(names(&world.get(token, &path).await), Vec::<&str>::new(), "none of its own, and none of anybody's");
        let made = world.post(token, &path, definition("sweetdreams", "SweetDream", "fantasy.example")).await;
        assert_eq!((made.code, &made.body["spec"]["version"]), (201, &json!("v1")), "{:?}", made.body);
    }
    let dreams = "/apis/fantasy.example/v1/namespaces/default/sweetdreams";
    let dream = json!({"apiVersion": "fantasy.example/v1", "kind": "SweetDream", "metadata": {"name": "west"},
        "wild": {"wild": true}});
    let made = world.post("acme", dreams, dream).await;
    assert_eq!((made.code, &made.body["wild"]["wild"]), (201, &json!(true)), "{:?}", made.body);
    assert_eq!(
        made.body["metadata"]["selfLink"],
        "/apis/fantasy.example/v1/tenants/acme/namespaces/default/sweetdreams/west"
    );
    assert_eq!(names(&world.get("umbra", dreams).await), Vec::<&str>::new());
    let all = world.get("root", "/apis/apiextensions.k8s.io/v1beta1/tenants/all/customresourcedefinitions").await;
    let tenants: Vec<&Value> =
        all.body["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["tenant"]).collect();
    assert_eq!(tenants, ["acme", "umbra"]);
    // As `kubectl apply` changes one: a merge patch.
    let one = format!("{path}/sweetdreams.fantasy.example");
    let patched = world.patch("acme", &one, json!({"metadata": {"annotations": {"a": "b"}}})).await;
    assert_eq!((patched.code, &patched.body["metadata"]["annotations"]["a"]), (200, &json!("b")), "{:?}", patched.body);
}

#[tokio::test]
async fn a_kind_that_is_shared_by_force_can_neither_be_overridden_nor_deleted() {
    let world = world().await;
    let mut forced = definition("knowledges", "Knowledge", "learning.example");
    forced["metadata"]["labels"] = json!({"arktos.futurewei.com/crd-sharing-policy": "forced"});
    let system = "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions";
    assert_eq!(world.post("root", system, forced.clone()).await.code, 201);
    assert_eq!(names(&world.get("acme", system).await), ["knowledges.learning.example"]);
    // `kubectl apply` finds it there and patches it; `kubectl create` creates it.
    let one = format!("{system}/knowledges.learning.example");
    let text = "knowledges.learning.example is a system CRD, you cannot overwrite it.";
    for refused in [
        world.patch("acme", &one, json!({"metadata": {"annotations": {"a": "b"}}})).await,
        world.post("acme", system, forced).await,
    ] {
        assert_eq!(refused.body["message"], text, "{:?}", refused.body);
    }
    let text = "Forbidden: knowledges.learning.example is a system CRD, it can only be deleted by a cluster admin.";
    assert_eq!(world.delete("acme", &one).await.body["message"], text);
    let kept = "/apis/learning.example/v1/tenants/umbra/namespaces/default/knowledges";
    let known = json!({"apiVersion": "learning.example/v1", "kind": "Knowledge", "metadata": {"name": "principle"}});
    assert_eq!(world.post("root", kept, known).await.code, 201);
    let all = world.get("root", "/apis/learning.example/v1/tenants/all/knowledges").await;
    assert_eq!(names(&all), ["principle"]);
    let unknown = world.get("root", "/apis/learning.other/v1/tenants/all/knowledges").await;
    assert_eq!((unknown.code, unknown.body), (404, json!("404 page not found\n")));
}

#[tokio::test]
async fn roles_of_a_tenant_are_those_that_it_has() {
    let world = world().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/tenants/acme/clusterroles";
    let role = json!({"metadata": {"name": "admin-role"}, "rules": []});
    assert_eq!(world.post("root", roles, role).await.code, 201);
    assert_eq!(names(&world.get("root", roles).await), ["admin-role"]);
    assert_eq!(names(&world.get("root", &roles.replace("clusterroles", "clusterrolebindings")).await).len(), 0);
    let system = world.get("root", "/apis/rbac.authorization.k8s.io/v1/clusterroles").await;
    assert!(names(&system).contains(&"view"), "system's are all there");
    let plain = world.get("acme", "/tenants/acme/apis/rbac.authorization.k8s.io/v1/clusterroles").await;
    assert!(names(&plain).contains(&"view"));
    let mut events = world.watch("root", &format!("{roles}?watch=true&resourceVersion=0")).await;
    assert_eq!(events.short().await, "ADDED admin-role");
    assert!(events.is_quiet().await);
}

#[tokio::test]
async fn tenants_are_as_they_know_them() {
    let world = world().await;
    let body = json!({
        "kind": "Tenant", "apiVersion": "v1", "metadata": {"name": "nova", "creationTimestamp": null},
        "spec": {"storageClusterId": "0"}, "status": {},
    });
    let made = world.post("root", "/api/v1/tenants", body).await;
    assert_eq!((made.code, &made.body["metadata"]["selfLink"]), (201, &json!("/api/v1/tenants/nova")));
    assert_eq!(made.body["status"]["phase"], "Active");
    let system = json!({"kind": "Tenant", "apiVersion": "v1", "metadata": {"name": "system"}});
    let there = world.post("root", "/api/v1/tenants", system).await;
    assert_eq!((there.code, &there.body["message"]), (409, &json!("tenants \"system\" already exists")));
    let refused = world.delete("root", "/api/v1/tenants/system").await;
    assert_eq!(refused.body["message"], "tenants \"system\" is forbidden: this tenant may not be deleted");
    let refused = world.delete("root", "/api/v1/tenants/acme/namespaces/default").await;
    let text = "namespaces \"acme/default\" is forbidden: this namespace may not be deleted";
    assert_eq!((refused.code, &refused.body["message"]), (403, &json!(text)));
    let table =
        world.get_as("root", "/api/v1/tenants", "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json");
    let table = table.await;
    assert_eq!(table.body["apiVersion"], "meta.k8s.io/v1beta1");
    let columns = table.body["columnDefinitions"].as_array().unwrap();
    let columns: Vec<&str> = columns.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "StorageId", "Status", "Age"]);
    let row = table.body["rows"].as_array().unwrap().iter().find(|row| row["cells"][0] == "nova").unwrap();
    assert_eq!((&row["cells"][1], &row["cells"][2]), (&json!("0"), &json!("Active")));
    assert_eq!(names(&world.get("root", "/api/v1/tenants/gone/namespaces").await).len(), 0, "of one that is not there");
}

#[tokio::test]
async fn evictions_are_taken_in_their_old_version() {
    let world = world().await;
    let pods = "/api/v1/namespaces/default/pods";
    for path in ["/tenants/acme/api/v1/namespaces/default/pods", "/api/v1/tenants/acme/namespaces/default/pods"] {
        assert_eq!(world.post("acme", pods, crate::pod("web")).await.code, 201);
        let eviction = json!({"kind": "Eviction", "apiVersion": "policy/v1beta1", "metadata": {"name": "web"}});
        let evicted = world.post("root", &format!("{path}/web/eviction"), eviction).await;
        assert_eq!(evicted.code, 201, "{:?}", evicted.body);
        assert_eq!(world.get("acme", &format!("{pods}/web")).await.code, 404);
    }
}

#[tokio::test]
async fn what_system_gives_its_users_for_all_of_it_they_have_in_all_tenants_and_nobody_else() {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let bind = async |world: &World, place: &str, kind: &str| {
        let subjects = json!([{"kind": "User", "name": "viv", "apiGroup": "rbac.authorization.k8s.io"}]);
        let role = json!({"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"});
        let binding = json!({"kind": kind, "metadata": {"name": "viv"}, "subjects": subjects, "roleRef": role});
        assert_eq!(world.post("root", &format!("{rbac}{place}"), binding).await.code, 201);
    };
    let asked = ["/api/v1/tenants/acme/namespaces/default/configmaps", "/api/v1/tenants/all/configmaps"];
    let codes = async |world: &World| {
        let one = world.get("viv", asked[0]).await.code;
        (one, world.get("viv", asked[1]).await.code)
    };
    let world = World::with(|config| config.arktos_compat = true).await;
    bind(&world, "/namespaces/default/rolebindings", "RoleBinding").await;
    assert_eq!(codes(&world).await, (403, 403), "a binding in a namespace is about system's own");
    bind(&world, "/clusterrolebindings", "ClusterRoleBinding").await;
    assert_eq!(codes(&world).await, (200, 200));
    assert_eq!(world.get("viv", "/api/v1/tenants/acme/secrets").await.code, 403, "as far as it goes");
    let refused = world.get("umbra", "/api/v1/tenants/acme/namespaces").await;
    let text = "namespaces is forbidden: User \"uma\" cannot list resource \"namespaces\" in API group \"\" in the tenant \"acme\"";
    assert_eq!((refused.code, &refused.body["message"]), (403, &json!(text)));
    let plain = World::new().await;
    bind(&plain, "/clusterrolebindings", "ClusterRoleBinding").await;
    assert_eq!(codes(&plain).await, (403, 403));
}
