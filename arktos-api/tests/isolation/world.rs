//! One server with two tenants that do not trust each other.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Identity, TokenTable};
use arktos_core::{GroupResource, Object, Timestamp, TypeMeta};
use arktos_store::Engine;
use arktos_store::clock::{ManualClock, SeededRandom};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Config maps of the namespace `default`, by the short path.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Whose tokens are whose. `plain` is given all rights of `acme` by its own roles; `viv` and `uma` none of anything.
pub const TOKENS: &str = "root,admin,,system:masters\n\
                      viv,viv,\n\
                      acme,alice,,system:masters,,acme\n\
                      plain,paul,,dev,,acme\n\
                      umbra,uma,,system:masters,,umbra\n";

/// The tenants `acme` and `umbra`, each with a namespace `default`.
#[derive(Clone)]
pub struct World {
    pub api: ApiServer,
    pub clock: ManualClock,
    pub engine: Engine,
}

fn server(engine: &Engine, clock: &ManualClock, seed: u64, set_up: impl FnOnce(&mut ApiConfig)) -> ApiServer {
    let mut config = ApiConfig::new(engine.clone(), Arc::new(clock.clone()), Arc::new(SeededRandom::new(seed)));
    config.tokens = TokenTable::parse(TOKENS).unwrap();
    config.admission.disabled.insert("ServiceAccount".to_owned());
    set_up(&mut config);
    ApiServer::new(config)
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub text: String,
    pub headers: HeaderMap,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(set_up: impl FnOnce(&mut ApiConfig)) -> Self {
        let clock = ManualClock::new(Timestamp::parse("2026-11-23T10:00:00Z").unwrap());
        let engine = Engine::memory(Arc::new(clock.clone()));
        let world = Self { api: server(&engine, &clock, 7, set_up), clock, engine };
        world.api.bootstrap().await.unwrap();
        for tenant in ["acme", "umbra"] {
            world.make_tenant(tenant).await;
        }
        world.bind("acme", json!([{"kind": "Group", "name": "dev", "apiGroup": "rbac.authorization.k8s.io"}])).await;
        world
    }

    /// Another server over the same store.
    pub fn beside(&self, set_up: impl FnOnce(&mut ApiConfig)) -> Self {
        Self { api: server(&self.engine, &self.clock, 8, set_up), ..self.clone() }
    }

    /// A tenant and its first namespace.
    pub async fn make_tenant(&self, name: &str) {
        let client = self.api.client(Identity::system_component("test"));
        let object = Object::new(&TypeMeta::new("", "v1", "Tenant"), name);
        client.create(&GroupResource::core("tenants"), "", "", object).await.unwrap();
        let object = Object::new(&TypeMeta::new("", "v1", "Namespace"), "default");
        client.create(&GroupResource::core("namespaces"), name, "", object).await.unwrap();
    }

    /// Takes a tenant away with all that it has, as the controllers would.
    pub async fn remove_tenant(&self, name: &str) {
        let tenant = arktos_core::TenantName::new(name).unwrap();
        let within = arktos_store::Within::Tenant(tenant);
        let snapshot = self.engine.snapshot();
        let mut writes = Vec::new();
        for resource in snapshot.resources() {
            let all = snapshot.range(&resource, &within, None);
            writes.extend(all.map(|stored| (resource.clone(), stored.path.clone())));
        }
        writes.push((GroupResource::core("tenants"), arktos_core::ObjectPath::new("", "", name)));
        for (resource, path) in writes {
            let key = arktos_core::ObjectKey { resource, path };
            let write = arktos_store::Commit::one(key, arktos_store::Expect::Present, arktos_store::Change::Delete);
            self.engine.commit(write).await.unwrap();
        }
    }

    /// Gives subjects all rights within a tenant, by the tenant's own binding.
    pub async fn bind(&self, tenant: &str, subjects: Value) {
        let role = json!({"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"});
        let binding = json!({"metadata": {"generateName": "b-"}, "subjects": subjects, "roleRef": role});
        let made = self.post("root", &format!("/tenants/{tenant}{RBAC}/clusterrolebindings"), binding).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }

    /// A token of a new service account of a tenant, in `default`.
    pub async fn account(&self, tenant: &str, name: &str) -> String {
        let accounts = format!("/tenants/{tenant}/api/v1/namespaces/default/serviceaccounts");
        let made = self.post("root", &accounts, json!({"metadata": {"name": name}})).await;
        assert_eq!(made.code, 201, "{}", made.text);
        self.token(tenant, name).await
    }

    /// A new token of a service account.
    pub async fn token(&self, tenant: &str, name: &str) -> String {
        let accounts = format!("/tenants/{tenant}/api/v1/namespaces/default/serviceaccounts");
        let given = self.post("root", &format!("{accounts}/{name}/token"), json!({"spec": {}})).await;
        assert_eq!(given.code, 201, "{}", given.text);
        given.json()["status"]["token"].as_str().unwrap().to_owned()
    }

    pub async fn respond(&self, request: Request<Full<Bytes>>) -> Response<arktos_api::Body> {
        self.api.clone().oneshot(request).await.unwrap()
    }

    pub async fn answer(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = self.respond(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { code: parts.status.as_u16(), text, headers: parts.headers }
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.answer(request(token, Method::GET, path, "")).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.answer(request(token, Method::POST, path, &body.to_string())).await
    }

    pub async fn delete(&self, token: &str, path: &str) -> Answer {
        self.answer(request(token, Method::DELETE, path, "")).await
    }

    /// Opens a watch.
    pub async fn watch(&self, token: &str, path: &str) -> Events {
        let response = self.respond(request(token, Method::GET, path, "")).await;
        assert_eq!(response.status(), 200, "{path}");
        Events::of(response)
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Everything that a tenant has, and in which version.
    pub fn of_tenant(&self, name: &str) -> Vec<String> {
        let within = arktos_store::Within::Tenant(arktos_core::TenantName::new(name).unwrap());
        let snapshot = self.engine.snapshot();
        let mut all = Vec::new();
        for resource in snapshot.resources() {
            let found = snapshot.range(&resource, &within, None);
            all.extend(found.map(|stored| format!("{resource} {} {}", stored.path, stored.revision)));
        }
        all
    }
}

/// A request; without a token where that is empty.
pub fn request(token: &str, method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
    let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let mut request = Request::builder().method(method).uri(path).header("content-type", kind);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// The events of a watch.
pub struct Events {
    body: arktos_api::Body,
    read: Vec<u8>,
}

impl Events {
    pub fn of(response: Response<arktos_api::Body>) -> Self {
        Self { body: response.into_body(), read: Vec::new() }
    }

    /// The next event; absent when the stream has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.read.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// Whether nothing is there to be read now.
    pub async fn is_quiet(&mut self) -> bool {
        self.read.is_empty() && futures::poll!(std::pin::pin!(self.body.frame())).is_pending()
    }
}

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}
