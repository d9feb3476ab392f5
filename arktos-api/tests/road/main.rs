//! The road from request to response, in process: what a client sees, tenant by tenant.

#![allow(missing_docs, clippy::unwrap_used)] // a test fails by panicking

mod access;
mod accounts;
mod admissions;
mod applies;
mod audits;
mod certificates;
mod components;
mod conformance;
mod conversions;
mod definitions;
mod deletions;
mod faults;
mod forced;
mod forms;
mod in_process;
mod lists;
mod media;
mod nodes;
mod observed;
mod offered;
mod old_clients;
mod policies;
mod services;
mod subresources;
mod tenant_scope;
mod tenants;
mod validations;
mod watches;
mod webhooks;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Identity, TokenTable};
use arktos_core::{GroupResource, Object, Timestamp, TypeMeta};
use arktos_store::Engine;
use arktos_store::clock::{ManualClock, SeededRandom};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

/// One server, and who may ask it.
#[derive(Clone)]
pub struct World {
    pub api: ApiServer,
    pub clock: ManualClock,
    pub engine: Engine,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
    pub warnings: Vec<String>,
}

impl World {
    /// A server with the tenants `acme` and `umbra`, each with a namespace `default` and an administrator.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with a server that is set up otherwise.
    pub async fn with(set_up: impl FnOnce(&mut ApiConfig)) -> Self {
        let clock = ManualClock::new(Timestamp::parse("2026-11-23T10:00:00Z").unwrap());
        let engine = Engine::memory(Arc::new(clock.clone()));
        let api = Self::server(&engine, &clock, 7, set_up);
        api.bootstrap().await.unwrap();
        let world = Self { api, clock, engine };
        let client = world.api.client(Identity::system_component("test"));
        for tenant in ["acme", "umbra"] {
            let object = Object::new(&TypeMeta::new("", "v1", "Tenant"), tenant);
            client.create(&GroupResource::core("tenants"), "", "", object).await.unwrap();
            let object = Object::new(&TypeMeta::new("", "v1", "Namespace"), "default");
            client.create(&GroupResource::core("namespaces"), tenant, "", object).await.unwrap();
        }
        world
    }

    fn server(engine: &Engine, clock: &ManualClock, seed: u64, set_up: impl FnOnce(&mut ApiConfig)) -> ApiServer {
        let mut config = ApiConfig::new(engine.clone(), Arc::new(clock.clone()), Arc::new(SeededRandom::new(seed)));
        config.tokens = TokenTable::parse(
            "root,admin,,system:masters\nviv,viv,\nacme,alice,,system:masters,,acme\numbra,uma,,system:masters,,umbra\n\
             clerk,clara,,clerks,,acme\n",
        )
        .unwrap();
        config.admission.disabled.insert("ServiceAccount".to_owned());
        set_up(&mut config);
        ApiServer::new(config)
    }

    /// Another server over the same store, as after a restart.
    pub fn restarted(&self) -> Self {
        Self { api: Self::server(&self.engine, &self.clock, 8, |_| {}), ..self.clone() }
    }

    pub async fn send(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        self.send_as(token, method, path, kind, body.map(|body| body.to_string()).unwrap_or_default()).await
    }

    pub async fn send_as(&self, token: &str, method: Method, path: &str, kind: &str, body: String) -> Answer {
        let response = self.respond(token, method, path, kind, body).await;
        let code = response.status().as_u16();
        let texts = response.headers().get_all("warning").iter();
        let warnings = texts.map(|value| value.to_str().unwrap().to_owned()).collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Answer { code, body, warnings }
    }

    pub async fn respond(
        &self,
        token: &str,
        method: Method,
        path: &str,
        kind: &str,
        body: String,
    ) -> Response<arktos_api::Body> {
        let mut request = Request::builder().method(method).uri(path).header("content-type", kind);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.api.clone().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(token, Method::GET, path, None).await
    }

    /// As `get`, asking for a form of it.
    pub async fn get_as(&self, token: &str, path: &str, accept: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {token}")).header("accept", accept);
        let response = self.api.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { code, body: serde_json::from_slice(&bytes).unwrap(), warnings: Vec::new() }
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.send(token, Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, token: &str, path: &str, body: Value) -> Answer {
        self.send(token, Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, token: &str, path: &str, body: Value) -> Answer {
        self.send(token, Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, token: &str, path: &str) -> Answer {
        self.send(token, Method::DELETE, path, None).await
    }

    /// Opens a watch.
    pub async fn watch(&self, token: &str, path: &str) -> Events {
        let response = self.respond(token, Method::GET, path, "application/json", String::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        Events { body: response.into_body(), read: Vec::new() }
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// The events of a watch.
pub struct Events {
    body: arktos_api::Body,
    read: Vec<u8>,
}

impl Events {
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

    /// `TYPE name` of the next event.
    pub async fn short(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("");
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "registry.example/app:1"}]},
    })
}
