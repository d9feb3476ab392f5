//! The same names in two tenants are two things: users, roles, accounts, definitions, policies.

use arktos_api::TokenTable;
use http::Method;
use serde_json::{Value, json};

use crate::world::{MAPS, RBAC, TOKENS, World, map, request};

fn user(name: &str) -> Value {
    json!([{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}])
}

fn group(name: &str) -> Value {
    json!([{"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"}])
}

#[tokio::test]
async fn a_user_of_the_region_gets_nothing_that_a_tenant_gave_to_its_own_user_of_that_name() {
    let world = World::new().await;
    world.bind("acme", user("viv")).await;
    world.bind("acme", group("system:authenticated")).await;
    world.bind("acme", group("system:unauthenticated")).await;
    world.bind("acme", json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}])).await;
    let robot = world.account("system", "robot").await;
    for who in ["viv", "", &robot] {
        let answer = world.get(who, &format!("/tenants/acme{MAPS}")).await;
        assert_eq!(answer.code, 403, "{who}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_tenant_may_let_another_tenants_users_in_by_name_and_takes_it_back() {
    let world = World::new().await;
    let file = format!("{TOKENS}mole,tenant:umbra:uma,,,,acme\nvera,vera,,ops,,umbra\n");
    let world = world.beside(|config| config.tokens = TokenTable::parse(&file).unwrap());
    assert_eq!(world.post("acme", MAPS, map("lent")).await.code, 201);
    let lent = format!("/tenants/acme{MAPS}/lent");
    assert_eq!(world.get("umbra", &lent).await.code, 403);
    world.bind("acme", user("tenant:umbra:uma")).await;
    assert_eq!(world.get("umbra", &lent).await.code, 200);
    assert_eq!(world.get("umbra", &format!("/api/v1/tenants/acme{}/lent", &MAPS[7..])).await.code, 200);
    // Of that tenant's users, the one who is named; and nobody at home who is called so.
    assert_eq!(world.get("vera", &lent).await.code, 403);
    assert_eq!(world.get("mole", &lent).await.code, 403);
    // All rights in the tenant are none in the region, nor everywhere.
    for path in ["/tenants/acme/api/v1/nodes", "/api/v1/tenants/acme", "/api/v1/tenants/all/configmaps"] {
        assert_eq!(world.get("umbra", path).await.code, 403, "{path}");
    }
    let bindings = world.get("acme", &format!("{RBAC}/clusterrolebindings")).await.json();
    let lists = |item: &&Value| item["subjects"][0]["name"] == "tenant:umbra:uma";
    let found = bindings["items"].as_array().unwrap().iter().find(lists).expect("it is to be seen").clone();
    let name = found["metadata"]["name"].as_str().unwrap();
    assert_eq!(world.delete("acme", &format!("{RBAC}/clusterrolebindings/{name}")).await.code, 200);
    assert_eq!(world.get("umbra", &lent).await.code, 403);

    world.bind("acme", group("tenant:umbra:ops")).await;
    assert_eq!((world.get("vera", &lent).await.code, world.get("umbra", &lent).await.code), (200, 403));
    world.bind("acme", user("tenant:system:viv")).await;
    assert_eq!(world.get("viv", &lent).await.code, 200, "a user of the region, by name");
}

#[tokio::test]
async fn what_was_lent_to_a_tenant_by_its_uid_is_not_lent_to_the_next_of_its_name() {
    let world = World::new().await;
    assert_eq!(world.post("acme", MAPS, map("lent")).await.code, 201);
    let lent = format!("/tenants/acme{MAPS}/lent");
    let uid = async || {
        let tenant = world.get("root", "/api/v1/tenants/umbra").await.json();
        tenant["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let first = uid().await;
    for name in ["tenant:umbra@:uma", "tenant:umbra@other:uma", "tenant:umbr@x:uma", &format!("tenant:umbra@{first}")] {
        world.bind("acme", user(name)).await;
        assert_eq!(world.get("umbra", &lent).await.code, 403, "{name}");
    }
    world.bind("acme", user(&format!("tenant:umbra@{first}:uma"))).await;
    assert_eq!(world.get("umbra", &lent).await.code, 200);
    let robot = world.account("umbra", "robot").await;
    assert_eq!(world.get(&robot, &lent).await.code, 403);
    world.bind("acme", user(&format!("tenant:umbra@{first}:system:serviceaccount:default:robot"))).await;
    assert_eq!(world.get(&robot, &lent).await.code, 200);
    world.remove_tenant("umbra").await;
    assert_eq!(world.get("umbra", &lent).await.code, 403);
    world.make_tenant("umbra").await;
    assert_ne!(uid().await, first);
    let robot = world.account("umbra", "robot").await;
    for who in ["umbra", &robot] {
        assert_eq!(world.get(who, &lent).await.code, 403);
    }
}

/// What a client asks before it does anything: a guest is answered as the tenant's own are, for as long as it is one.
#[tokio::test]
async fn a_guest_of_one_namespace_finds_out_what_the_tenant_serves_and_what_it_may() {
    let world = World::new().await;
    let file = format!("{TOKENS}vera,vera,,ops,,umbra\nnick,nick,,,,umbra\n");
    let world = world.beside(|config| config.tokens = TokenTable::parse(&file).unwrap());
    let paths = ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/version", "/openapi/v3", "/openapi/v2"];
    let reviews = "/tenants/acme/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = |namespace: &str| {
        let about = json!({"verb": "list", "resource": "configmaps", "namespace": namespace});
        json!({"spec": {"resourceAttributes": about}})
    };
    let refused = async |who: &str| {
        for path in paths {
            assert_eq!(world.get(who, &format!("/tenants/acme{path}")).await.code, 403, "{who} {path}");
        }
        assert_eq!(world.post(who, reviews, asked("default")).await.code, 403);
    };
    refused("vera").await;
    let role = json!({"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "guests"}, "subjects": group("tenant:umbra:ops"), "roleRef": role});
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    assert_eq!(world.post("acme", &bindings, binding).await.code, 201);
    for path in paths {
        assert_eq!(world.get("vera", &format!("/tenants/acme{path}")).await.code, 200, "{path}");
    }
    assert_eq!(world.get("vera", &format!("/tenants/acme{MAPS}")).await.code, 200);
    for (namespace, allowed) in [("default", true), ("other", false)] {
        let told = world.post("vera", reviews, asked(namespace)).await;
        assert_eq!((told.code, &told.json()["status"]["allowed"]), (201, &json!(allowed)), "{}", told.text);
    }
    for path in ["/metrics", "/logs", "/openid/v1/jwks", "/api/v1/secrets", "/api/v1/nodes", RBAC, "/debug/pprof"] {
        let code = world.get("vera", &format!("/tenants/acme{path}")).await.code;
        assert_eq!(code == 200, path == RBAC, "{path}: {code}");
    }
    refused("nick").await;
    assert_eq!(world.delete("acme", &format!("{bindings}/guests")).await.code, 200);
    refused("vera").await;
}

#[tokio::test]
async fn a_role_that_one_tenant_makes_its_own_is_as_it_was_in_others() {
    let world = World::new().await;
    let role =
        json!({"metadata": {"name": "view"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let roles = format!("{RBAC}/clusterroles");
    let path = format!("{roles}/view");
    let changed = world.answer(crate::world::request("acme", http::Method::PUT, &path, &role.to_string())).await;
    assert!(matches!(changed.code, 200 | 201), "{}", changed.text);
    assert_eq!(world.get("acme", &path).await.json()["rules"].as_array().unwrap().len(), 1);
    assert!(world.get("umbra", &path).await.json()["rules"].as_array().unwrap().len() > 1);
    assert_eq!(world.delete("acme", &path).await.code, 200);
    assert!(world.get("acme", &path).await.json()["rules"].as_array().unwrap().len() > 1);
}

fn definition(group: &str, plural: &str, kind: &str, field: &str) -> Value {
    let names = json!({"plural": plural, "kind": kind, "listKind": format!("{kind}List")});
    let spec = json!({"type": "object", "required": [field], "properties": {field: {"type": "string"}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    json!({"metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}})
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn a_kind_that_two_tenants_define_is_two_kinds() {
    let world = World::new().await;
    for (who, field) in [("acme", "left"), ("umbra", "right")] {
        assert_eq!(world.post(who, DEFINITIONS, definition("example.org", "things", "Thing", field)).await.code, 201);
    }
    let things = "/apis/example.org/v1/namespaces/default/things";
    let thing = |field: &str| {
        let meta = json!({"name": "t"});
        json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": meta, "spec": {field: "x"}})
    };
    assert_eq!(world.post("acme", things, thing("right")).await.code, 422);
    assert_eq!(world.post("acme", things, thing("left")).await.code, 201);
    assert_eq!(world.post("umbra", things, thing("left")).await.code, 422);
    assert_eq!(world.delete("acme", &format!("{DEFINITIONS}/things.example.org")).await.code, 200);
    assert_eq!(world.post("umbra", things, thing("right")).await.code, 201);
}

#[tokio::test]
async fn no_definition_takes_the_place_of_what_is_built_in() {
    let world = World::new().await;
    for (group, plural, kind) in [("apps", "deployments", "Deployment"), ("rbac.authorization.k8s.io", "roles", "Role")]
    {
        let answer = world.post("acme", DEFINITIONS, definition(group, plural, kind, "stolen")).await;
        assert!(matches!(answer.code, 201 | 403 | 409 | 422), "{}", answer.text);
        for who in ["acme", "umbra"] {
            let spec = json!({"stolen": "y"});
            let body =
                json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "x"}, "spec": spec});
            let made = world
                .post(who, &format!("/apis/{group}/v1/namespaces/default/{plural}?fieldValidation=Strict"), body)
                .await;
            assert!(matches!(made.code, 400 | 422), "{who}: {}", made.text);
        }
    }
}

#[tokio::test]
async fn policies_and_webhooks_of_one_tenant_are_not_asked_about_anothers_writes() {
    let world = World::new().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rules = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["configmaps"]}]);
    let policy = json!({"metadata": {"name": "no"}, "spec": {"matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "false"}]}});
    let binding = json!({"metadata": {"name": "no"}, "spec": {"policyName": "no", "validationActions": ["Deny"]}});
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicies"), policy).await.code, 201);
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicybindings"), binding).await.code, 201);
    let hook = json!({"name": "no.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": rules, "clientConfig": {"url": "https://10.0.0.1/"}, "failurePolicy": "Fail"});
    let hooks = json!({"metadata": {"name": "no"}, "webhooks": [hook]});
    assert_eq!(world.post("acme", &format!("{group}/validatingwebhookconfigurations"), hooks).await.code, 201);
    assert!(matches!(world.post("acme", MAPS, map("a")).await.code, 422 | 500), "its own");
    assert_eq!(world.post("umbra", MAPS, map("a")).await.code, 201);
    assert_eq!(world.post("root", MAPS, map("a")).await.code, 201);
}

#[tokio::test]
async fn a_classes_value_and_a_limit_hold_in_their_tenant_alone() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "high"}, "value": 1_000_000, "globalDefault": true});
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    assert_eq!(world.post("acme", classes, class).await.code, 201);
    assert_eq!(world.get("umbra", &format!("{classes}/high")).await.code, 404);
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "registry.example/a:1"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(world.post("acme", pods, pod.clone()).await.json()["spec"]["priority"], 1_000_000);
    assert_eq!(world.post("umbra", pods, pod).await.json()["spec"]["priority"], 0);
}

#[tokio::test]
async fn an_owner_in_another_tenant_is_written_down_and_owns_nothing() {
    let world = World::new().await;
    let owner = world.post("umbra", MAPS, map("owner")).await.json();
    let mut body = map("child");
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true, "controller": true});
    body["metadata"]["ownerReferences"] = json!([reference]);
    assert_eq!(world.post("acme", MAPS, body).await.code, 201);
    // Nothing that waits over there waits for this.
    let path = format!("{MAPS}/owner?propagationPolicy=Foreground");
    assert_eq!(world.delete("umbra", &path).await.code, 200);
    assert_eq!(world.get("acme", &format!("{MAPS}/child")).await.code, 200);
}

/// Who knows the handle of a volume has no right to it: which volume of a driver of the region's is whose, that says.
#[tokio::test]
async fn no_tenant_names_a_volume_of_a_driver_that_is_the_regions() {
    let world = World::new().await;
    let group = "/apis/storage.k8s.io/v1";
    let driver = json!({"metadata": {"name": "disks.example.org"}, "spec": {}});
    assert_eq!(world.post("root", &format!("{group}/csidrivers"), driver).await.code, 201);
    let source = |driver: &str| json!({"driver": driver, "volumeHandle": "of-umbra"});
    let spec =
        |driver: &str| json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "csi": source(driver)});
    let volume = |name: &str, driver: &str| json!({"metadata": {"name": name}, "spec": spec(driver)});
    let volumes = "/api/v1/persistentvolumes";
    let stolen = volume("stolen", "disks.example.org");
    let refused = world.post("acme", volumes, stolen.clone()).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    let mut apply = request("acme", Method::PATCH, &format!("{volumes}/stolen?fieldManager=x"), "");
    let mut body = stolen;
    (body["apiVersion"], body["kind"]) = (json!("v1"), json!("PersistentVolume"));
    *apply.body_mut() = body.to_string().into();
    apply.headers_mut().insert("content-type", "application/apply-patch+yaml".parse().unwrap());
    assert_eq!(world.answer(apply).await.code, 403);
    // A driver of its own is its own affair; and the region's provisioner makes volumes in tenants.
    assert_eq!(world.post("acme", volumes, volume("own", "own.example.org")).await.code, 201);
    assert_eq!(
        world.post("root", &format!("/tenants/acme{volumes}"), volume("made", "disks.example.org")).await.code,
        201
    );
    let change = json!({"spec": {"csi": {"driver": "disks.example.org"}}}).to_string();
    assert_eq!(world.answer(request("acme", Method::PATCH, &format!("{volumes}/own"), &change)).await.code, 422);
    let attachment = json!({"metadata": {"name": "a"}, "spec": {"attacher": "disks.example.org", "nodeName": "n",
        "source": {"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "csi": source("disks.example.org")}}}});
    let refused = world.post("acme", &format!("{group}/volumeattachments"), attachment).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
}
