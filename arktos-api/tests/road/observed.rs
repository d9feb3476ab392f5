//! What an observer is told of requests, and who may read what it has counted.

use std::sync::Arc;

use arktos_api::{Answered, Observer};
use http::Method;
use parking_lot::Mutex;

use crate::{World, map};

#[derive(Default)]
struct Counts(Mutex<Vec<String>>);

/// Notes whose requests were answered.
#[derive(Default)]
struct Askers(Mutex<Vec<(Option<String>, u16)>>);

impl Observer for Askers {
    fn answered(&self, request: &Answered<'_>) {
        self.0.lock().push((request.tenant.map(str::to_owned), request.code));
    }

    fn metrics(&self) -> String {
        String::new()
    }
}

impl Observer for Counts {
    fn answered(&self, request: &Answered<'_>) {
        let Answered { verb, group, resource, subresource, code, .. } = request;
        self.0.lock().push(format!("{verb} {group}/{resource}/{subresource} {code}"));
    }

    fn metrics(&self) -> String {
        "requests 1\n".to_owned()
    }
}

async fn observed() -> (World, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let observer = counts.clone();
    (World::with(|config| config.observer = Some(observer)).await, counts)
}

#[tokio::test]
async fn requests_are_told_in_words_that_clients_cannot_make_up() {
    let (world, counts) = observed().await;
    world.post("acme", "/api/v1/namespaces/default/configmaps", map("a")).await;
    for path in [
        "/api/v1/namespaces/default/configmaps/a",
        "/api/v1/configmaps?watch=1",
        "/tenants/umbra/api/v1/pods",
        "/api/v1/namespaces/default/pods/gone/status",
        "/api/v1/namespaces/default/pods/gone/whatever",
        "/apis/made.up/v1/things",
        "/made/up",
    ] {
        drop(world.respond("acme", Method::GET, path, "application/json", String::new()).await);
    }
    assert_eq!(
        *counts.0.lock(),
        [
            "create /configmaps/ 201",
            "get /configmaps/ 200",
            "watch /configmaps/ 200",
            "list /pods/ 403",
            "get /pods/status 404",
            "get /pods/ 404",
            "list /custom/ 404",
            "get // 404",
        ]
    );
}

#[tokio::test]
async fn metrics_are_for_those_of_the_region_who_may_read_them() {
    let (world, _) = observed().await;
    for (token, path, code) in [
        ("root", "/metrics", 200),
        ("viv", "/metrics", 403),
        ("acme", "/metrics", 403),
        ("acme", "/tenants/acme/metrics", 403),
        ("clerk", "/metrics", 403),
        ("", "/metrics", 403),
    ] {
        let response = world.respond(token, Method::GET, path, "application/json", String::new()).await;
        assert_eq!(response.status(), code, "{token:?} {path}");
        let text = response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind == "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(text, code == 200, "{token:?} {path}");
    }
    assert_eq!(world.send("root", Method::POST, "/metrics", None).await.code, 405);
    let none = World::new().await;
    assert_eq!(none.get("root", "/metrics").await.code, 404, "where nobody counts");
}

#[tokio::test]
async fn whose_a_request_is_follows_from_the_credential_alone() {
    let askers = Arc::new(Askers::default());
    let observer = askers.clone();
    let world = World::with(|config| config.observer = Some(observer)).await;
    askers.0.lock().clear();
    for (who, path) in [
        ("acme", "/api/v1/configmaps"),
        ("acme", "/tenants/umbra/api/v1/configmaps"),
        ("acme", "/apis/made.up/v1/tenants/nobody/things"),
        ("viv", "/api/v1/tenants/acme/configmaps"),
        ("root", "/api/v1/tenants/acme/configmaps"),
        ("", "/tenants/acme/api/v1/configmaps"),
        ("made-up", "/tenants/acme/api/v1/configmaps"),
    ] {
        drop(world.respond(who, Method::GET, path, "application/json", String::new()).await);
    }
    let of = |tenant: &str, code| (Some(tenant.to_owned()), code);
    let told =
        [of("acme", 200), of("acme", 403), of("acme", 403), of("system", 403), (None, 200), (None, 403), (None, 401)];
    assert_eq!(*askers.0.lock(), told);
}
