//! Service accounts: their tokens, and what ends them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{MAPS, World, pod};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
}

async fn token(world: &World, spec: Value) -> String {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer = world.post("acme", &format!("{ACCOUNTS}/robot/token"), body).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    answer.body["status"]["token"].as_str().unwrap().to_owned()
}

async fn who(world: &World, token: &str) -> (u16, Value) {
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = world.post(token, path, body).await;
    (answer.code, answer.body["status"]["userInfo"].clone())
}

#[tokio::test]
async fn a_review_is_placed_as_any_object_and_who_one_is_has_nothing_of_the_question() {
    let world = World::new().await;
    let ask = async |path: &str, metadata: Value, spec: Value| {
        let review = json!({"metadata": metadata, "spec": spec});
        world.post("acme", &format!("/apis/{path}"), review).await
    };
    let me = "authentication.k8s.io/v1/selfsubjectreviews";
    let answer = ask(me, json!({"name": "x", "labels": {"a": "b"}}), json!({})).await;
    let said: Vec<&str> = answer.body["metadata"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((answer.code, said), (201, vec!["creationTimestamp"]));
    let spec = json!({"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}});
    let group = "authorization.k8s.io/v1";
    let other = json!({"namespace": "other"});
    assert_eq!(ask(&format!("{group}/subjectaccessreviews"), other.clone(), spec.clone()).await.code, 201);
    let local = format!("{group}/namespaces/default/localsubjectaccessreviews");
    assert_eq!(ask(&local, other, spec).await.code, 400);
}

#[tokio::test]
async fn a_token_is_its_accounts_in_its_tenant_alone() {
    let world = World::new().await;
    world.post("acme", ACCOUNTS, object("ServiceAccount", "robot")).await;
    world.post("umbra", ACCOUNTS, object("ServiceAccount", "robot")).await;
    let robot = token(&world, json!({})).await;
    let (code, user) = who(&world, &robot).await;
    assert_eq!((code, user["username"].as_str()), (201, Some("system:serviceaccount:default:robot")));
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(world.post("acme", bindings, role.clone()).await.code, 201);
    assert_eq!(world.post("umbra", bindings, role).await.code, 201);
    assert_eq!(world.get(&robot, MAPS).await.code, 200);
    // The account of the same name in the other tenant may as well, and this is not its token.
    assert_eq!(world.get(&robot, &format!("/tenants/umbra{MAPS}")).await.code, 403);
}

#[tokio::test]
async fn a_token_ends_with_its_time_its_account_and_what_it_is_bound_to() {
    let world = World::new().await;
    world.post("acme", ACCOUNTS, object("ServiceAccount", "robot")).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    world.post("acme", secrets, object("Secret", "s")).await;
    let bound =
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": "s"}, "expirationSeconds": 7200});
    let (short, long, bound) = (
        token(&world, json!({"expirationSeconds": 600})).await,
        token(&world, json!({"expirationSeconds": 7200})).await,
        token(&world, bound).await,
    );
    for one in [&short, &long, &bound] {
        assert_eq!(who(&world, one).await.0, 201);
    }
    world.advance(700);
    assert_eq!(who(&world, &short).await.0, 401);
    world.delete("acme", &format!("{secrets}/s")).await;
    assert_eq!(who(&world, &bound).await.0, 401);
    world.post("acme", secrets, object("Secret", "s")).await;
    assert_eq!(who(&world, &bound).await.0, 401, "another secret of the same name");
    assert_eq!(who(&world, &long).await.0, 201);
    world.delete("acme", &format!("{ACCOUNTS}/robot")).await;
    world.post("acme", ACCOUNTS, object("ServiceAccount", "robot")).await;
    assert_eq!(who(&world, &long).await.0, 401, "another account of the same name");
}

#[tokio::test]
async fn a_token_for_others_is_not_taken_here_and_a_review_says_for_whom_it_is() {
    let world = World::new().await;
    world.post("acme", ACCOUNTS, object("ServiceAccount", "robot")).await;
    let vault = token(&world, json!({"audiences": ["vault", "other"]})).await;
    assert_eq!(who(&world, &vault).await.0, 401);
    let review = |audiences: Value| {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": vault, "audiences": audiences}})
    };
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let fits = world.post("acme", path, review(json!(["vault", "bank"]))).await.body;
    assert_eq!(fits["status"]["authenticated"], true);
    assert_eq!(fits["status"]["audiences"], json!(["vault"]));
    assert_eq!(world.post("acme", path, review(json!(["bank"]))).await.body["status"]["authenticated"], Value::Null);
    let mut empty = review(json!([]));
    empty["spec"]["token"] = json!("");
    let empty = world.post("acme", path, empty).await;
    assert_eq!(
        (empty.code, empty.body["message"].as_str()),
        (400, Some("token is required for TokenReview in authentication"))
    );
    // Whether it is good is not another tenant's to know.
    assert_eq!(world.post("umbra", path, review(json!(["vault"]))).await.body["status"]["authenticated"], Value::Null);
}

#[tokio::test]
async fn a_token_is_bound_only_to_a_pod_of_its_account() {
    let world = World::new().await;
    world.post("acme", ACCOUNTS, object("ServiceAccount", "robot")).await;
    let mut other = pod("p");
    other["spec"]["serviceAccountName"] = json!("somebody");
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", other).await.code, 201);
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}});
    let refused = world.post("acme", &format!("{ACCOUNTS}/robot/token"), body).await;
    assert_eq!(refused.code, 400);
}

#[tokio::test]
async fn each_tenant_publishes_its_own_keys() {
    let world = World::new().await;
    let keys = world.get("acme", "/tenants/acme/openid/v1/jwks").await;
    assert_eq!(keys.code, 200, "{}", keys.body);
    let others = world.get("umbra", "/tenants/umbra/openid/v1/jwks").await.body;
    assert_ne!(keys.body["keys"][0]["kid"], others["keys"][0]["kid"]);
    let about = world.get("acme", "/tenants/acme/.well-known/openid-configuration").await.body;
    assert_eq!(about["issuer"], "https://kubernetes.default.svc");
    assert!(about["jwks_uri"].as_str().unwrap().ends_with("/tenants/acme/openid/v1/jwks"));
}

#[tokio::test]
async fn a_namespace_that_ends_gives_no_tokens() {
    let world = World::new().await;
    let mut space = object("Namespace", "ends");
    space["metadata"]["finalizers"] = json!(["a.b/c"]);
    assert_eq!(world.post("acme", "/api/v1/namespaces", space).await.code, 201);
    let accounts = "/api/v1/namespaces/ends/serviceaccounts";
    let mut robot = object("ServiceAccount", "robot");
    robot["metadata"]["finalizers"] = json!(["a.b/c"]);
    assert_eq!(world.post("acme", accounts, robot).await.code, 201);
    world.delete("acme", "/api/v1/namespaces/ends").await;
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = world.post("acme", &format!("{accounts}/robot/token"), body).await;
    let why = "serviceaccounts \"robot\" is forbidden: unable to create new content in namespace ends because it is \
               being terminated";
    assert_eq!((answer.code, answer.body["message"].as_str()), (403, Some(why)));
}

#[tokio::test]
async fn a_pods_own_token_counts_for_a_year() {
    let world = World::new().await;
    world.post("acme", ACCOUNTS, object("ServiceAccount", "robot")).await;
    let mut owner = pod("p");
    owner["spec"]["serviceAccountName"] = json!("robot");
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", owner).await.code, 201);
    let own = json!("https://kubernetes.default.svc");
    let of_pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
    let mut all = Vec::new();
    for (bound, seconds, audiences, life) in [
        (&of_pod, 3607, json!([]), 365 * 24 * 3600),
        (&of_pod, 3607, json!([own]), 365 * 24 * 3600),
        (&of_pod, 3607, json!([own, "vault"]), 3607),
        (&of_pod, 3600, json!([]), 3600),
        (&Value::Null, 3607, json!([]), 3607),
    ] {
        let spec = json!({"boundObjectRef": bound, "expirationSeconds": seconds, "audiences": audiences});
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let answer = world.post("acme", &format!("{ACCOUNTS}/robot/token"), body).await.body;
        // What is said of it is what was asked for: it is to be fetched anew by then.
        assert_eq!(answer["spec"]["expirationSeconds"], seconds, "{answer}");
        let ends = if seconds == 3607 { "2026-11-23T11:00:07Z" } else { "2026-11-23T11:00:00Z" };
        assert_eq!(answer["status"]["expirationTimestamp"], ends);
        let token = answer["status"]["token"].as_str().unwrap().to_owned();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let warns = claims["kubernetes.io"]["warnafter"].as_i64().map(|time| time - claims["iat"].as_i64().unwrap());
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), life, "{claims}");
        assert_eq!(warns, (life > 3607).then_some(3607), "{claims}");
        all.push(token);
    }
    world.advance(3700);
    let mut codes = Vec::new();
    for token in &all {
        codes.push(who(&world, token).await.0);
    }
    assert_eq!(codes, [201, 201, 401, 401, 401]);
    world.advance(365 * 24 * 3600);
    assert_eq!(who(&world, &all[0]).await.0, 401);
}

#[tokio::test]
async fn a_token_is_asked_for_an_account_that_is_meant() {
    let world = World::new().await;
    world.post("acme", ACCOUNTS, object("ServiceAccount", "robot")).await;
    let uid = world.get("acme", &format!("{ACCOUNTS}/robot")).await.body["metadata"]["uid"].clone();
    let ask = |account: &'static str, metadata: Value| {
        let world = &world;
        async move {
            let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": metadata,
                "spec": {}});
            let answer = world.post("acme", &format!("{ACCOUNTS}/{account}/token"), body).await;
            (answer.code, answer.body["message"].as_str().unwrap_or_default().to_owned())
        }
    };
    assert_eq!(ask("robot", json!({"uid": uid})).await.0, 201);
    let why = format!(
        "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"robot\": the UID in the token request (x) \
         does not match the UID of the service account ({})",
        uid.as_str().unwrap()
    );
    assert_eq!(ask("robot", json!({"uid": "x"})).await, (409, why));
    assert_eq!(ask("none", json!({"name": "robot"})).await.0, 422, "whether it is there is asked later");
    assert_eq!(ask("none", json!({})).await, (404, "serviceaccounts \"none\" not found".to_owned()));
}
