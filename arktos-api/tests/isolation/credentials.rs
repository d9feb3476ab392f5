//! Credentials: those of another tenant, and those of a tenant that is gone.

use arktos_api::{PeerAddress, TokenTable};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::world::{MAPS, TOKENS, World, map, request};

const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn uid(world: &World, tenant: &str) -> String {
    let tenant = world.get("root", &format!("/api/v1/tenants/{tenant}")).await;
    tenant.json()["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_accounts_token_ends_with_its_tenant_and_does_not_come_back_with_the_name() {
    let world = World::new().await;
    let token = world.account("acme", "robot").await;
    assert_eq!(world.post(&token, WHO_AM_I, json!({})).await.code, 201);
    let keys = world.get("root", "/tenants/acme/openid/v1/jwks").await.text;
    world.remove_tenant("acme").await;
    assert_eq!(world.post(&token, WHO_AM_I, json!({})).await.code, 401);
    assert_eq!(world.get("root", "/tenants/acme/openid/v1/jwks").await.json(), json!({"keys": []}));
    world.make_tenant("acme").await;
    let anew = world.account("acme", "robot").await;
    assert_eq!(world.post(&token, WHO_AM_I, json!({})).await.code, 401);
    assert_eq!(world.post(&anew, WHO_AM_I, json!({})).await.code, 201);
    // Whoever out there trusts the old tenant's keys does not trust the new one's.
    assert_ne!(world.get("root", "/tenants/acme/openid/v1/jwks").await.text, keys);
}

#[tokio::test]
async fn tries_at_tokens_are_held_up_by_address_and_what_has_counted_is_not() {
    let world = World::new().await;
    let token = world.account("acme", "robot").await;
    let ask = async |token: &str, from: &str| {
        let mut request = request(token, Method::POST, WHO_AM_I, "{}");
        request.extensions_mut().insert(PeerAddress(from.parse().unwrap()));
        world.answer(request).await
    };
    let (here, there) = ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1");
    assert_eq!(ask(&token, here).await.code, 201);
    let mut tries = 0;
    let refused = loop {
        // Of one network: each address in it is the same one's.
        let answer = ask(&format!("{token}{tries}"), &format!("[2001:db8::{tries:x}]:1")).await;
        if answer.code != 401 {
            break answer;
        }
        tries += 1;
        assert!(tries < 10_000, "it goes on for ever");
    };
    assert!(tries >= 100, "{tries}");
    assert_eq!((refused.code, refused.headers["retry-after"].as_bytes()), (429, b"1".as_slice()), "{}", refused.text);
    assert_eq!(ask(&token, here).await.code, 201, "it has counted here");
    assert_eq!(ask("acme", here).await.code, 201, "it is known without work");
    assert_eq!(ask("a guess", there).await.code, 401, "another network knows nothing of it");
}

#[tokio::test]
async fn a_credential_that_says_of_which_tenant_it_is_ends_with_it() {
    let world = World::new().await;
    let uid = uid(&world, "acme").await;
    let file = format!("{TOKENS}bound,bea,,system:masters,,acme:{uid}\nother,oda,,system:masters,,acme:{uid}0\n");
    let world = world.beside(|config| config.tokens = TokenTable::parse(&file).unwrap());
    assert_eq!(world.get("bound", MAPS).await.code, 200);
    assert_eq!(world.get("other", MAPS).await.code, 401);
    world.remove_tenant("acme").await;
    assert_eq!(world.get("bound", MAPS).await.code, 401);
    world.make_tenant("acme").await;
    assert_eq!(world.get("bound", MAPS).await.code, 401);
    assert_eq!(world.get("acme", MAPS).await.code, 200, "one that names the tenant alone");
    let review = world.post("acme", "/apis/authentication.k8s.io/v1/tokenreviews", json!({"spec": {"token": "bound"}}));
    assert_eq!(review.await.json()["status"]["authenticated"], Value::Null);
}

#[tokio::test]
async fn who_acts_for_others_stays_in_its_tenant() {
    let world = World::new().await;
    assert_eq!(world.post("umbra", MAPS, map("secret")).await.code, 201);
    for (user, group) in [("uma", "system:masters"), ("admin", "system:masters"), ("x", "arktos:components")] {
        for path in [format!("/tenants/umbra{MAPS}/secret"), "/api/v1/tenants".into(), "/api/v1/nodes".into()] {
            let mut request = request("acme", Method::GET, &path, "");
            request.headers_mut().insert("impersonate-user", user.parse().unwrap());
            request.headers_mut().insert("impersonate-group", group.parse().unwrap());
            request.headers_mut().insert("impersonate-extra-arktos-tenant", "umbra".parse().unwrap());
            request.headers_mut().insert("impersonate-extra-arktos%2dtenant", "umbra".parse().unwrap());
            assert_eq!(world.answer(request).await.code, 403, "{user} {group} {path}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_not_ascii_is_one_all_the_same() {
    let world = World::new().await;
    let get = async |name: &[u8]| {
        let mut request = request("acme", Method::GET, MAPS, "");
        request.headers_mut().insert("impersonate-user", HeaderValue::from_bytes(name).unwrap());
        world.answer(request).await
    };
    for name in ["j\u{fc}rgen".as_bytes(), &b"j\xfcrgen"[..]] {
        let refused = get(name).await;
        assert_eq!(refused.code, 403, "nobody acts as who has sent it: {}", refused.text);
    }
    world.bind("acme", json!([{"kind": "User", "name": "j\u{fc}rgen", "apiGroup": "rbac.authorization.k8s.io"}])).await;
    assert_eq!(get("j\u{fc}rgen".as_bytes()).await.code, 200);
    assert_eq!(get(b"j\xfcrgen").await.code, 403);
}

/// An answer says a name, and not whose it is: who asks in `system` takes it for one of `system`.
#[tokio::test]
async fn a_review_in_one_tenant_vouches_for_nobody_of_another() {
    let world = World::new().await;
    let robot = world.account("acme", "robot").await;
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = |token: &str| json!({"spec": {"token": token}});
    for (token, name) in [(robot.as_str(), "system:serviceaccount:default:robot"), ("acme", "alice")] {
        let told = world.post("root", &format!("/tenants/acme{path}"), review(token)).await.json();
        assert_eq!(told["status"]["user"]["username"], name, "{told}");
        for elsewhere in [path.to_owned(), format!("/tenants/umbra{path}")] {
            let told = world.post("root", &elsewhere, review(token)).await.json();
            assert_eq!(told["status"], json!({"user": {}, "error": "invalid bearer token"}), "{elsewhere}");
        }
    }
    assert_eq!(world.post("root", path, review("root")).await.json()["status"]["user"]["username"], "admin");
}

#[tokio::test]
async fn no_tenant_writes_what_the_control_plane_notes() {
    let world = World::new().await;
    let mut body = map("noted");
    body["metadata"]["arktosNotes"] = json!({"claim": "rm-1/stolen"});
    for group in ["arktos:components", "system:masters"] {
        let mut request = request("acme", Method::POST, MAPS, &body.to_string());
        request.headers_mut().insert("impersonate-user", "x".parse().unwrap());
        request.headers_mut().append("impersonate-group", group.parse().unwrap());
        request.headers_mut().append("impersonate-group", "system:masters".parse().unwrap());
        request.headers_mut().insert("arktos-dialect", "region".parse().unwrap());
        let made = world.answer(request).await;
        assert!(!made.text.contains("stolen"), "{}", made.text);
        let mut request =
            crate::world::request("root", Method::GET, &format!("/api/v1/tenants/acme{}/noted", &MAPS[7..]), "");
        request.headers_mut().insert("arktos-dialect", "region".parse().unwrap());
        let seen = world.answer(request).await;
        assert!(seen.code == 200 && !seen.text.contains("stolen"), "{}", seen.text);
        world.delete("acme", &format!("{MAPS}/noted")).await;
    }
}

/// The same in process, where whoever embeds the server decides who asks.
#[tokio::test]
async fn a_tenants_group_of_that_name_is_no_component() {
    let world = World::new().await;
    let acme = arktos_core::TenantName::new("acme").unwrap();
    let mole = arktos_api::Identity::user("mole", &["system:masters", "arktos:components"], &acme);
    let mut object = arktos_core::Object::new(&arktos_core::TypeMeta::new("", "v1", "ConfigMap"), "noted");
    object.notes.insert("claim".to_owned(), "rm-1/stolen".to_owned());
    let maps = arktos_core::GroupResource::core("configmaps");
    let made = world.api.client(mole).create(&maps, "acme", "default", object).await.unwrap();
    assert_eq!(made.object.header().note("claim"), None);
}

#[tokio::test]
async fn what_is_no_credential_is_none() {
    let world = World::new().await;
    let robot = world.account("acme", "robot").await;
    let (said, _) = robot.rsplit_once('.').unwrap();
    for bearer in ["", " ", "null", "undefined", &format!("{said}."), said, &format!("{robot}x"), "..", "a.b.c"] {
        let mut request = request("", Method::GET, MAPS, "");
        request.headers_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
        assert_eq!(world.answer(request).await.code, 401, "{bearer:?}");
    }
}

/// A credential that names a tenant and not which shows no tenant where there is none: not even an empty one.
#[tokio::test]
async fn who_is_of_a_tenant_that_is_not_there_is_told_so() {
    let world = World::new().await;
    let mut watch = world.watch("acme", &format!("{MAPS}?watch=true")).await;
    world.remove_tenant("acme").await;
    let group = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "secrets"}}});
    for answer in [
        world.get("acme", MAPS).await,
        world.get("acme", "/api/v1/namespaces").await,
        world.get("acme", &format!("{MAPS}/a")).await,
        world.get("acme", &format!("/tenants/acme{MAPS}?watch=true")).await,
        world.get("acme", "/apis/rbac.authorization.k8s.io/v1/clusterroles").await,
        world.delete("acme", MAPS).await,
        world.post("acme", MAPS, map("a")).await,
        world.post("acme", group, asked).await,
    ] {
        let told = (answer.code, answer.json()["message"].clone());
        assert_eq!(told, (404, json!("tenants \"acme\" not found")), "{}", answer.text);
    }
    // What is not its own is as it was, and who has no rights at home anyway has none.
    assert_eq!(world.get("acme", &format!("/tenants/umbra{MAPS}")).await.code, 403);
    assert_eq!(world.get("plain", MAPS).await.code, 403);
    assert_eq!(world.get("root", &format!("/tenants/acme{MAPS}")).await.code, 200, "as in Arktos");
    world.advance(61);
    while let Some(event) = watch.next().await {
        if event["type"] == "ERROR" {
            assert_eq!(event["object"]["code"], 401);
            return;
        }
    }
    panic!("the watch ended without a word");
}

/// Only a user of `system` acts as somebody of another tenant: one who may act as that user, and for that tenant.
#[tokio::test]
async fn who_of_system_may_act_for_a_tenant_does_so_as_a_user_whom_it_names() {
    let world = World::new().await;
    let file = format!("{TOKENS}desk,dora,,helpers\nhalf,hal,,few\nimp,ida,,imps,,acme\n");
    let world = world.beside(|config| config.tokens = TokenTable::parse(&file).unwrap());
    let rule = |resources: Value, names: Value| {
        let verbs = json!(["impersonate"]);
        json!({"apiGroups": [""], "resources": resources, "verbs": verbs, "resourceNames": names})
    };
    let users = rule(json!(["users", "groups"]), json!(["paul", "uma", "dev"]));
    for (tenant, group, rules) in [
        ("system", "helpers", json!([users, rule(json!(["tenants"]), json!(["acme"]))])),
        ("system", "few", json!([users])),
        ("acme", "imps", json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])),
    ] {
        let base = format!("/tenants/{tenant}/apis/rbac.authorization.k8s.io/v1");
        let role = json!({"metadata": {"name": group}, "rules": rules});
        assert_eq!(world.post("root", &format!("{base}/clusterroles"), role).await.code, 201);
        let subjects = json!([{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}]);
        let role = json!({"kind": "ClusterRole", "name": group, "apiGroup": "rbac.authorization.k8s.io"});
        let binding = json!({"metadata": {"name": group}, "subjects": subjects, "roleRef": role});
        assert_eq!(world.post("root", &format!("{base}/clusterrolebindings"), binding).await.code, 201);
    }
    assert_eq!(world.post("umbra", MAPS, map("secret")).await.code, 201);
    let act = async |token: &str, user: &str, group: &str, path: &str| {
        let mut request = request(token, Method::GET, path, "");
        request.headers_mut().insert("impersonate-user", user.parse().unwrap());
        if !group.is_empty() {
            request.headers_mut().insert("impersonate-group", group.parse().unwrap());
        }
        world.answer(request).await.code
    };
    let of_acme = format!("/tenants/acme{MAPS}");
    // As that user, with what the tenant gives it, in that tenant: its own short paths as well.
    assert_eq!(act("desk", "tenant:acme:paul", "", &of_acme).await, 403, "paul has his rights by his group");
    assert_eq!(act("desk", "tenant:acme:paul", "dev", &of_acme).await, 200);
    assert_eq!(act("desk", "tenant:acme:paul", "dev", MAPS).await, 200);
    for path in [format!("/tenants/umbra{MAPS}"), "/api/v1/nodes".into(), "/api/v1/tenants/all/pods".into()] {
        assert_eq!(act("desk", "tenant:acme:paul", "dev", &path).await, 403, "{path}");
    }
    // Not for another tenant, nor as anybody else; and not without the right to the tenant.
    for (token, user, group) in [
        ("desk", "tenant:umbra:uma", ""),
        ("desk", "tenant:acme:alice", ""),
        ("desk", "tenant:acme:paul", "system:masters"),
        ("half", "tenant:acme:paul", "dev"),
    ] {
        for path in [MAPS, &of_acme, &format!("/tenants/umbra{MAPS}/secret")] {
            assert_eq!(act(token, user, group, path).await, 403, "{token} {user} {path}");
        }
    }
    // To users of a tenant it is a name like any other, of their own.
    for user in ["tenant:umbra:uma", "tenant:system:admin"] {
        assert_eq!(act("imp", user, "", &format!("/tenants/umbra{MAPS}/secret")).await, 403, "{user}");
        assert_eq!(act("imp", user, "system:masters", "/api/v1/nodes").await, 403, "{user}");
        assert_eq!(act("imp", user, "system:masters", MAPS).await, 200, "{user}");
    }
    assert_eq!(act("root", "tenant:nobody:x", "system:masters", MAPS).await, 404);
}
