//! Every route, verb and kind: with whatever a tenant can be, on whatever another tenant has.
//!
//! The answer is 403, in the same words whether or not the object is there, and nothing changes anywhere.

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{Object, ObjectKey, ObjectPath, Scope, TenantName};
use arktos_store::{Change, Commit, Expect};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::json;

use crate::World;
use crate::world::{Answer, request};

/// What every object of `umbra` says somewhere, and nothing else does.
const MARK: &str = "only-umbra-knows";
const THERE: &str = "present-in-umbra";
/// As long as [`THERE`], so that no length tells them apart.
const MISSING: &str = "missing-in-umbra";

/// One resource, as paths name it.
struct Route {
    base: String,
    resource: String,
    scope: Scope,
    subresources: Vec<String>,
}

impl Route {
    fn of(kind: &Kind) -> Self {
        let base = match kind.group.as_str() {
            "" => format!("/api/{}", kind.version),
            group => format!("/apis/{group}/{}", kind.version),
        };
        let mut subresources: Vec<String> = kind.subresources.iter().map(|part| part.name.clone()).collect();
        subresources.push("nosuchpart".to_owned());
        Self { base, resource: kind.resource.clone(), scope: kind.scope, subresources }
    }

    /// What can be asked of an object of this name, and of all: method, what follows the base, and type of the body.
    fn requests(&self, name: &str) -> Vec<(Method, String, &'static str)> {
        const JSON: &str = "application/json";
        let place = if self.scope == Scope::Namespace { "/namespaces/default" } else { "" };
        let all = format!("{place}/{}", self.resource);
        let one = format!("{all}/{name}");
        let mut requests = Vec::new();
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD] {
            requests.push((method.clone(), all.clone(), JSON));
            requests.push((method.clone(), one.clone(), JSON));
            requests.push((method.clone(), format!("/{}", self.resource), JSON));
            requests.extend(self.subresources.iter().map(|part| (method.clone(), format!("{one}/{part}"), JSON)));
        }
        requests.push((Method::GET, format!("{all}?watch=true"), JSON));
        requests.push((Method::GET, format!("{all}?watch=true&fieldSelector=metadata.name={name}"), JSON));
        requests.push((Method::GET, format!("{all}?fieldSelector=metadata.name={name}"), JSON));
        for kind in ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"] {
            let kind: &'static str = Box::leak(format!("application/{kind}").into_boxed_str());
            requests.push((Method::PATCH, format!("{one}?fieldManager=x"), kind));
            requests.extend(
                self.subresources.iter().map(|part| (Method::PATCH, format!("{one}/{part}?fieldManager=x"), kind)),
            );
        }
        requests
    }
}

/// A kind that only `umbra` has, and one object of it.
async fn define(world: &World, plural: &str, kind: &str, scope: &str) -> Route {
    const BASE: &str = "/apis/example.org/v1";
    let names = json!({"plural": plural, "kind": kind, "listKind": format!("{kind}List")});
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    let spec = json!({"group": "example.org", "scope": scope, "names": names, "versions": [version]});
    let definition = json!({"metadata": {"name": format!("{plural}.example.org")}, "spec": spec});
    let definitions = "/tenants/umbra/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(world.post("root", definitions, definition).await.code, 201);
    let object = json!({"apiVersion": "example.org/v1", "kind": kind, "metadata": {"name": THERE}, "mark": MARK});
    let (place, scope) = match scope {
        "Namespaced" => ("/namespaces/default", Scope::Namespace),
        _ => ("", Scope::Tenant),
    };
    let made = world.post("root", &format!("/tenants/umbra{BASE}{place}/{plural}"), object).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let subresources = vec!["status".to_owned(), "scale".to_owned()];
    Route { base: BASE.to_owned(), resource: plural.to_owned(), scope, subresources }
}

/// An object of every kind in `umbra`, and of every kind of the region; and kinds that only `umbra` has.
async fn furnish(world: &World) -> Vec<Route> {
    let catalog = Catalog::builtin();
    let mut routes: Vec<Route> = catalog.kinds().map(|kind| Route::of(kind)).collect();
    routes.push(define(world, "widgets", "Widget", "Namespaced").await);
    routes.push(define(world, "regimes", "Regime", "Tenant").await);

    for kind in catalog.kinds().filter(|kind| kind.storage && kind.can("get")) {
        let mut object = Object::new(&kind.type_meta, THERE);
        object.set(&["metadata", "uid"], format!("{MARK}-{}", kind.resource));
        object.set(&["metadata", "annotations"], json!({"mark": MARK}));
        let (tenant, namespace) = match kind.scope {
            Scope::Region => ("", ""),
            Scope::Tenant => ("umbra", ""),
            Scope::Namespace => ("umbra", "default"),
        };
        if !namespace.is_empty() {
            object.set(&["metadata", "namespace"], namespace);
        }
        let path = ObjectPath::new(tenant, namespace, THERE);
        let key = ObjectKey { resource: kind.storage_resource.clone(), path };
        let change = Change::put(kind.encode(&object).unwrap());
        world.engine.commit(Commit::one(key, Expect::Absent, change)).await.unwrap();
    }
    routes
}

/// What the answers to two requests have in common must be everything: but for the name that was asked for, and the id.
fn comparable(answer: &Answer, name: &str) -> (u16, String, HeaderMap) {
    let mut headers = answer.headers.clone();
    headers.remove("audit-id");
    (answer.code, answer.text.replace(name, "…"), headers)
}

const BODY: &str = r#"{"metadata":{"name":"present-in-umbra","tenant":"umbra"},"data":{"a":"b"}}"#;

#[tokio::test]
async fn whatever_another_tenant_has_is_refused_in_the_same_words_as_what_nobody_has() {
    let world = World::new().await;
    let routes = furnish(&world).await;
    let robot = world.account("acme", "robot").await;
    let subjects = json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]);
    world.bind("acme", subjects.clone()).await;
    // An account of the same name may do everything over there.
    world.account("umbra", "robot").await;
    world.bind("umbra", subjects).await;
    let before = world.engine.snapshot().revision();
    let mut asked = 0;
    for who in ["acme", "plain", &robot, ""] {
        for route in &routes {
            let base = &route.base;
            let tails = route.requests(THERE).into_iter().zip(route.requests(MISSING));
            for ((method, there, kind), (_, missing, _)) in tails {
                let group = base.trim_start_matches('/');
                for (there, missing) in [
                    (format!("/{group}/tenants/umbra{there}"), format!("/{group}/tenants/umbra{missing}")),
                    (format!("/tenants/umbra{base}{there}"), format!("/tenants/umbra{base}{missing}")),
                ] {
                    let ask = async |path: &str| {
                        let mut request = request(who, method.clone(), path, BODY);
                        request.headers_mut().insert("content-type", kind.parse().unwrap());
                        world.answer(request).await
                    };
                    let (found, nothing) = (ask(&there).await, ask(&missing).await);
                    assert_eq!(found.code, 403, "{who} {method} {there}: {}", found.text);
                    let (found, nothing) = (comparable(&found, THERE), comparable(&nothing, MISSING));
                    assert_eq!(found, nothing, "{who} {method} {there}");
                    assert!(!found.1.contains(MARK), "{}", found.1);
                    asked += 2;
                }
            }
        }
    }
    assert!(asked > 10_000, "only {asked} requests were made");
    assert_eq!(world.engine.snapshot().revision(), before, "something was written");
}

#[tokio::test]
async fn what_belongs_to_the_region_is_refused_to_tenants_wherever_it_is_asked_for() {
    let world = World::new().await;
    let routes = furnish(&world).await;
    let before = world.engine.snapshot().revision();
    for who in ["acme", "plain"] {
        for route in routes.iter().filter(|route| route.scope == Scope::Region) {
            for (method, tail, kind) in route.requests(THERE) {
                for path in [format!("{}{tail}", route.base), format!("/tenants/acme{}{tail}", route.base)] {
                    let mut request = request(who, method.clone(), &path, BODY);
                    request.headers_mut().insert("content-type", kind.parse().unwrap());
                    let answer = world.answer(request).await;
                    assert_eq!(answer.code, 403, "{who} {method} {path}: {}", answer.text);
                    assert!(!answer.text.contains(MARK), "{}", answer.text);
                }
            }
        }
    }
    assert_eq!(world.engine.snapshot().revision(), before, "something was written");
}

#[tokio::test]
async fn short_paths_stay_at_home_whatever_the_query_says() {
    let world = World::new().await;
    let routes = furnish(&world).await;
    let before = world.of_tenant("umbra");
    let tenant = TenantName::new("acme").unwrap();
    for query in ["", "tenant=umbra", "metadata.tenant=umbra&tenantName=umbra"] {
        for route in routes.iter().filter(|route| route.scope != Scope::Region) {
            for (method, tail, kind) in route.requests(THERE) {
                let between = if tail.contains('?') { '&' } else { '?' };
                let path = format!("{}{tail}{between}{query}", route.base);
                let mut request = request("acme", method.clone(), &path, BODY);
                request.headers_mut().insert("content-type", kind.parse().unwrap());
                let mut response = world.respond(request).await;
                let mut text = String::new();
                // A watch does not end: what is there to be read at once is read.
                while let Some(Some(frame)) = futures::FutureExt::now_or_never(response.body_mut().frame()) {
                    text += &String::from_utf8_lossy(&frame.unwrap().into_data().unwrap_or_default());
                }
                assert!(!text.contains(MARK), "{tenant} {method} {path}: {text}");
            }
        }
    }
    assert_eq!(world.of_tenant("umbra"), before);
}
