//! A tenant's quota: however its writers race, and in however many namespaces, it holds to the last object.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, MAPS, World, map, request};

const QUOTAS: &str = "/apis/region.arktos.io/v1/tenantquotas";

/// A quota of a tenant that has been counted: nothing is used.
async fn limit(world: &World, tenant: &str, hard: Value) {
    let quota = json!({"metadata": {"name": tenant}, "spec": {"hard": hard}});
    let made = world.post("root", QUOTAS, quota).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let used: serde_json::Map<String, Value> =
        hard.as_object().unwrap().keys().map(|name| (name.clone(), json!("0"))).collect();
    let status = json!({"status": {"hard": hard, "used": used}}).to_string();
    let path = format!("{QUOTAS}/{tenant}/status");
    let counted = world.answer(request("root", Method::PATCH, &path, &status)).await;
    assert_eq!(counted.code, 200, "{}", counted.text);
}

async fn used(world: &World, tenant: &str) -> Value {
    world.get("root", &format!("{QUOTAS}/{tenant}")).await.json()["status"]["used"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_writers_in_eight_namespaces_land_exactly_on_the_limit() {
    let world = Arc::new(World::new().await);
    for number in 0..8 {
        let namespace = json!({"metadata": {"name": format!("n{number}")}});
        assert_eq!(world.post("acme", "/api/v1/namespaces", namespace).await.code, 201);
    }
    limit(&world, "acme", json!({"count/configmaps": "100", "requests.storage": "50Gi"})).await;
    let writers = (0..64).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move {
            let (mut made, mut refused) = (0, 0);
            for turn in 0..4 {
                let maps = format!("/api/v1/namespaces/n{}/configmaps", writer % 8);
                let answer = world.post("acme", &maps, map(&format!("m-{writer}-{turn}"))).await;
                match answer.code {
                    201 => made += 1,
                    403 => refused += 1,
                    _ => panic!("{} {}", answer.code, answer.text),
                }
            }
            (made, refused)
        })
    });
    let outcomes = futures::future::join_all(writers).await;
    let (made, refused) =
        outcomes.into_iter().map(Result::unwrap).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!((made, refused), (100, 156));
    assert_eq!(used(&world, "acme").await["count/configmaps"], "100");
    let there = world.get("acme", "/api/v1/configmaps").await.json();
    assert_eq!(there["items"].as_array().unwrap().len(), 100);
    // The other tenant has a quota of its own, or none.
    assert_eq!(world.post("umbra", MAPS, map("a")).await.code, 201);
}

#[tokio::test]
async fn a_tenants_quota_is_about_all_that_it_has() {
    let world = World::new().await;
    limit(
        &world,
        "acme",
        json!({"count/namespaces": "1", "requests.storage": "10Gi", "requests.cpu": "1", "pods": "5"}),
    )
    .await;
    let namespace = |name: &str| json!({"metadata": {"name": name}});
    assert_eq!(world.post("acme", "/api/v1/namespaces", namespace("one")).await.code, 201);
    let refused = world.post("acme", "/api/v1/namespaces", namespace("two")).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    let text = "namespaces \"two\" is forbidden: exceeded quota: TenantQuota acme, requested: count/namespaces=1, \
                used: count/namespaces=1, limited: count/namespaces=1";
    assert_eq!(refused.json()["message"], text);
    let claim = |name: &str, size: &str| {
        let resources = json!({"requests": {"storage": size}});
        json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}})
    };
    let claims = |namespace: &str| format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims");
    assert_eq!(world.post("acme", &claims("default"), claim("a", "6Gi")).await.code, 201);
    assert_eq!(world.post("acme", &claims("one"), claim("b", "6Gi")).await.code, 403);
    assert_eq!(world.post("acme", &claims("one"), claim("b", "4Gi")).await.code, 201);
    let pod = |name: &str, cpu: &str| {
        let container = json!({"name": "c", "image": "registry.example/a:1", "resources": {"requests": {"cpu": cpu}}});
        json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
    };
    assert_eq!(world.post("acme", "/api/v1/namespaces/default/pods", pod("a", "700m")).await.code, 201);
    assert_eq!(world.post("acme", "/api/v1/namespaces/one/pods", pod("b", "700m")).await.code, 403);
    assert_eq!(world.post("acme", "/api/v1/namespaces/one/pods", pod("b", "300m")).await.code, 201);
    let expected = json!({"count/namespaces": "1", "requests.storage": "10Gi", "requests.cpu": "1", "pods": "2"});
    assert_eq!(used(&world, "acme").await, expected);
}

#[tokio::test]
async fn a_tenant_sees_its_own_quota_and_changes_none() {
    let world = World::new().await;
    limit(&world, "acme", json!({"pods": "5"})).await;
    limit(&world, "umbra", json!({"pods": "7"})).await;
    for path in [format!("{QUOTAS}/acme"), format!("/tenants/acme{QUOTAS}/acme")] {
        let seen = world.get("acme", &path).await;
        assert_eq!((seen.code, &seen.json()["status"]["hard"]["pods"]), (200, &json!("5")), "{path}: {}", seen.text);
    }
    for path in
        [format!("{QUOTAS}/umbra"), format!("{QUOTAS}/nobod"), QUOTAS.to_owned(), format!("{QUOTAS}/acme/status")]
    {
        assert_eq!(world.get("acme", &path).await.code, 403, "{path}");
    }
    let more = json!({"spec": {"hard": {"pods": "500"}}}).to_string();
    for (method, path) in [
        (Method::PATCH, format!("{QUOTAS}/acme")),
        (Method::PATCH, format!("{QUOTAS}/acme/status")),
        (Method::PUT, format!("{QUOTAS}/acme")),
        (Method::DELETE, format!("{QUOTAS}/acme")),
        (Method::DELETE, QUOTAS.to_owned()),
        (Method::POST, QUOTAS.to_owned()),
    ] {
        assert_eq!(world.answer(request("acme", method.clone(), &path, &more)).await.code, 403, "{method} {path}");
    }
}

/// A world whose server follows the rates of its tenants.
async fn followed() -> World {
    let world = World::new().await;
    tokio::spawn(world.api.clone().look_after(|_| {}));
    world
}

/// Writes a tenant's quota, makes it anew where it is, and lets the server see it.
async fn allow(world: &World, tenant: &str, hard: Value) {
    let quota = json!({"metadata": {"name": tenant}, "spec": {"hard": hard}});
    let mut written = world.post("root", QUOTAS, quota.clone()).await;
    if written.code == 409 {
        let path = format!("{QUOTAS}/{tenant}");
        written = world.answer(request("root", Method::PUT, &path, &quota.to_string())).await;
    }
    assert!(matches!(written.code, 200 | 201), "{}", written.text);
    seen().await;
}

/// Until the server has seen what was written: all of it is on this one thread.
async fn seen() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// How many of so many requests go through, and the last answer.
async fn through(world: &World, who: &str, requests: usize) -> (usize, Answer) {
    let mut last = world.get(who, MAPS).await;
    let mut through = usize::from(last.code == 200);
    for _ in 1..requests {
        last = world.get(who, MAPS).await;
        through += usize::from(last.code == 200);
    }
    (through, last)
}

#[tokio::test]
async fn a_tenant_asks_as_often_as_its_quota_says() {
    let world = followed().await;
    let mut watch = world.watch("acme", &format!("{MAPS}?watch=true")).await;
    allow(&world, "acme", json!({"rate/requests": "2", "rate/burst": "10"})).await;
    let (served, refused) = through(&world, "acme", 30).await;
    assert_eq!(served, 10);
    assert_eq!((refused.code, refused.headers["retry-after"].to_str().unwrap()), (429, "1"), "{}", refused.text);
    let status = refused.json();
    let text = "too many requests, please try again later: the tenant's quota is rate/requests=2";
    assert_eq!((&status["reason"], &status["message"]), (&json!("TooManyRequests"), &json!(text)));
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    // All that the tenant asks for counts: discovery, users without rights, watches that begin.
    for path in ["/api", "/apis", "/tenants/acme/version", "/api/v1/namespaces/default/configmaps?watch=true"] {
        assert_eq!(world.get("plain", path).await.code, 429, "{path}");
    }
    // What is not the tenant's own asking does not: health, other tenants, the region in the tenant.
    assert_eq!(world.get("acme", "/readyz").await.code, 200);
    assert_eq!(through(&world, "umbra", 30).await.0, 30);
    let here = "/tenants/acme/api/v1/namespaces/default/configmaps";
    assert_eq!(world.post("root", here, map("by-root")).await.code, 201);
    // A watch that was open stays so.
    assert_eq!(watch.next().await.unwrap()["object"]["metadata"]["name"], "by-root");
    world.advance(3);
    assert_eq!(through(&world, "acme", 30).await.0, 6);
}

#[tokio::test]
async fn a_rate_that_changes_holds_at_once_and_ends_with_its_quota() {
    let world = followed().await;
    allow(&world, "acme", json!({"rate/requests": "1"})).await;
    assert_eq!(through(&world, "acme", 9).await.0, 1);
    allow(&world, "acme", json!({"rate/requests": "4", "pods": "5"})).await;
    assert_eq!(through(&world, "acme", 9).await.0, 4);
    // Who writes what was there before, or counts the quota, gives nothing back.
    let counted = json!({"status": {"hard": {"pods": "5"}, "used": {"pods": "0"}}}).to_string();
    let path = format!("{QUOTAS}/acme/status");
    assert_eq!(world.answer(request("root", Method::PATCH, &path, &counted)).await.code, 200);
    allow(&world, "acme", json!({"rate/requests": "4", "pods": "5"})).await;
    assert_eq!(through(&world, "acme", 9).await.0, 0);
    allow(&world, "acme", json!({"rate/requests": "0"})).await;
    let (served, refused) = through(&world, "acme", 9).await;
    assert_eq!((served, refused.headers["retry-after"].to_str().unwrap()), (0, "60"));
    assert_eq!(world.delete("root", &format!("{QUOTAS}/acme")).await.code, 200);
    seen().await;
    assert_eq!(through(&world, "acme", 30).await.0, 30);
}

#[tokio::test]
async fn system_is_never_held_up_by_a_rate() {
    let world = followed().await;
    allow(&world, "system", json!({"rate/requests": "0"})).await;
    assert_eq!(through(&world, "root", 30).await.0, 30);
    assert_eq!(world.get("viv", MAPS).await.code, 403);
}

#[tokio::test]
async fn a_quota_is_that_of_a_tenant_that_there_is() {
    let world = World::new().await;
    let quota = |name: &str| json!({"metadata": {"name": name}, "spec": {"hard": {"pods": "5"}}});
    for name in ["nobody", "all", "NOBODY"] {
        let refused = world.post("root", QUOTAS, quota(name)).await;
        assert!(matches!(refused.code, 404 | 422), "{}", refused.text);
    }
    let refused = world.post("root", QUOTAS, quota("nobody")).await;
    assert_eq!(refused.json()["message"], "tenants \"nobody\" not found");
    // The next of the name must not find the quota of the last.
    assert_eq!(world.delete("root", "/api/v1/tenants/acme").await.code, 200);
    let refused = world.post("root", QUOTAS, quota("acme")).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert!(refused.text.contains("tenant acme because it is being terminated"), "{}", refused.text);
    assert_eq!(world.post("root", QUOTAS, quota("umbra")).await.code, 201);
}
