//! A partition behind real connections, and a resource manager with two hosts, in this process.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arktos_api::Identity;
use arktos_bin::edge::{SystemClock, SystemRandom};
use arktos_bin::metrics::Metrics;
use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::pki::{Authority, Subject};
use arktos_bin::net::remote::Remote;
use arktos_bin::net::{serve, tls};
use arktos_bin::roles::partition::Partition;
use arktos_bin::roles::resource_manager::ResourceManager;
use arktos_bin::roles::store::StoreArgs;
use arktos_bin::roles::{ApiOptions, RoleOptions};
use arktos_control::bound_pods::projected_namespace;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectKey, Reason, TenantName};
use arktos_store::client::{DeleteOptions, Patch};
use arktos_store::{Client, Tasks};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const PARTITION: &str = "tp-1";

/// A partition with the tenants `acme` and `globex`, a resource manager with the hosts `n1` and `n2`, and what is
/// between them.
pub struct World {
    pub partition: Partition,
    pub manager: ResourceManager,
    pub tasks: Tasks,
    /// The partition, in process: what happens there while it cannot be reached.
    pub there: Arc<dyn Client>,
    pub authority: Authority,
    _directory: tempfile::TempDir,
    pub address: SocketAddr,
    pub serving: Option<(watch::Sender<bool>, tokio::task::JoinHandle<()>)>,
}

/// What a host is answered.
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

pub fn options(name: &str) -> RoleOptions {
    RoleOptions {
        name: name.to_owned(),
        store: StoreArgs::default(),
        api: ApiOptions::default(),
        catalog: Catalog::builtin(),
        plugins: Arc::new(arktos_sched::plugin::Plugins::default),
        controllers: ["tenant", "namespace", "serviceaccount", "csrapproving", "csrsigning"]
            .map(str::to_owned)
            .to_vec(),
        elect: None,
        directory: None,
        metrics: Metrics::new(),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
    }
}

impl World {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let subject = Subject {
            user: "arktos:resource-manager".to_owned(),
            tenant: Some("system".to_owned()),
            groups: vec!["system:masters".to_owned()],
        };
        let credential = Some(authority.client(&subject).expect("a certificate"));
        let trusted = authority.certificate().to_owned();
        let config = Kubeconfig { server: format!("https://{address}"), authority: trusted, credential, token: None };
        let remote = Remote::new(&config, Catalog::builtin()).expect("a client");
        let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
        let partitions: Vec<(String, Arc<dyn Client>)> = vec![(PARTITION.to_owned(), Arc::new(remote))];
        let mut settings = options("rm-1");
        settings.api.signer = Some(Arc::new(Authority::open(directory.path()).expect("an authority")));
        let manager = ResourceManager::start(settings, partitions, Vec::new(), &tasks, &tasks).await;
        let manager = manager.expect("it starts");
        let hosts = manager.api().client(Identity::system_component(PARTITION));
        let managers = vec![("rm-1".to_owned(), hosts.clone())];
        let partition = Partition::start(options(PARTITION), managers, &tasks).await.expect("it starts");
        let there = partition.api().client(Identity::system_component("test"));
        let _directory = directory;
        let mut world = Self { partition, manager, tasks, there, authority, _directory, address, serving: None };
        world.serve(listener);
        for name in ["n1", "n2"] {
            let resources = json!({"cpu": "8", "memory": "16Gi", "pods": "100"});
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "status": {"capacity": resources, "allocatable": resources}});
            hosts.create(&core("nodes"), "", "", object(node)).await.expect("created");
        }
        for tenant in ["acme", "globex"] {
            let made = json!({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": tenant}});
            world.there.create(&core("tenants"), "", "", object(made)).await.expect("created");
            let account = key(tenant, "serviceaccounts", "default");
            until("a tenant has an account", async || world.there.get(&account).await.is_ok()).await;
        }
        world
    }

    pub fn serve(&mut self, listener: TcpListener) {
        let credential = self.authority.server("test", &[self.address.ip()], &[]).expect("a certificate");
        let tls = tls::server(&credential, self.authority.certificate()).expect("usable");
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve::serve(listener, Some(tls), self.partition.api().clone(), stopped));
        self.serving = Some((stop, task));
    }

    /// Nobody reaches the partition any more.
    pub async fn cut(&mut self) {
        let (stop, task) = self.serving.take().expect("it serves");
        stop.send_replace(true);
        task.await.expect("it ends");
    }

    /// It is reached again.
    pub async fn mend(&mut self) {
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return self.serve(listener),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await, // somebody has the port for a moment
            }
        }
    }

    pub async fn make(&self, tenant: &str, resource: &str, body: Value) {
        self.there.create(&core(resource), tenant, "default", object(body)).await.expect("created");
    }

    /// Makes a pod on a host, and waits until the resource manager knows it. Gives back its uid.
    pub async fn pod(&self, tenant: &str, name: &str, host: &str, spec: Value) -> String {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": host, "containers": [{"name": "c", "image": "i"}]}});
        pod["spec"].as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        let mut uid = String::new();
        until("the pod is made", async || {
            // Its claim may be taken for one whose pod is not there, and be given back before the pod is.
            let made = self.there.create(&core("pods"), tenant, "default", object(pod.clone())).await;
            uid = match made {
                Ok(made) => made.object.header().uid().to_owned(),
                Err(status) if status.is(Reason::Conflict) => return false,
                Err(status) => panic!("{status}"),
            };
            true
        })
        .await;
        let path = format!("{}/pods/{name}", place(tenant));
        let manager = self.manager.api().client(Identity::system_component("test"));
        let shown = shown(tenant);
        let known = ObjectKey::namespaced(core("pods"), &TenantName::system(), &shown, name);
        until(&path, async || manager.get(&known).await.is_ok()).await;
        uid
    }

    pub async fn patch(&self, tenant: &str, resource: &str, name: &str, patch: Value) {
        let patched = self.there.patch(&key(tenant, resource, name), None, Patch::Merge(patch)).await;
        patched.expect("patched");
    }

    pub async fn delete(&self, tenant: &str, resource: &str, name: &str) {
        let options = DeleteOptions::default().grace_period_seconds(0);
        self.there.delete(&key(tenant, resource, name), options).await.expect("deleted");
    }

    pub fn request(&self, host: &str, method: Method, path: &str, body: Value) -> Request<Full<Bytes>> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = Request::builder().method(method).uri(path).header("content-type", media);
        let user = format!("system:node:{host}");
        let identity = Identity::user(&user, &["system:nodes"], &TenantName::system());
        request.extensions_mut().expect("no fault").insert(identity);
        request.body(Full::new(body)).expect("a request")
    }

    pub async fn ask(&self, host: &str, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(host, method, path, body);
        let response = self.manager.api().clone().oneshot(request).await.expect("it answers");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { code: head.status.as_u16(), headers: head.headers, body }
    }

    pub async fn get(&self, host: &str, path: &str) -> Answer {
        self.ask(host, Method::GET, path, Value::Null).await
    }

    /// The events of a watch.
    pub async fn watch(&self, host: &str, path: &str) -> BoxStream<'static, Value> {
        let request = self.request(host, Method::GET, path, Value::Null);
        let response = self.manager.api().clone().oneshot(request).await.expect("it answers");
        assert_eq!(response.status(), 200);
        let events = response.into_body().into_data_stream().flat_map(|piece| {
            let piece = piece.expect("no fault");
            let lines = piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let events: Vec<Value> = lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect();
            futures::stream::iter(events)
        });
        events.boxed()
    }

    pub async fn stop(mut self) {
        self.cut().await;
        self.tasks.stop().await;
        self.manager.close().await;
        self.partition.close().await;
    }
}

pub fn core(resource: &str) -> GroupResource {
    GroupResource::core(resource)
}

pub fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

pub fn key(tenant: &str, resource: &str, name: &str) -> ObjectKey {
    ObjectKey::namespaced(core(resource), &TenantName::new(tenant).expect("a name"), "default", name)
}

/// What hosts see of a tenant's namespace `default`.
pub fn shown(tenant: &str) -> String {
    projected_namespace(PARTITION, tenant, "default")
}

pub fn place(tenant: &str) -> String {
    format!("/api/v1/namespaces/{}", shown(tenant))
}

pub fn secret(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"k": value}})
}

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

pub fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
}

/// A pod's volume with a secret.
pub fn with_secret(name: &str) -> Value {
    json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]})
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// The next event but bookmarks: its type, and the object.
pub async fn next(events: &mut BoxStream<'static, Value>) -> (String, Value) {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("it goes on");
        if event["type"] != "BOOKMARK" {
            return (event["type"].as_str().expect("a type").to_owned(), event["object"].clone());
        }
    }
}

pub fn names(list: &Value) -> BTreeSet<String> {
    let items = list["items"].as_array().expect("a list").iter();
    items.map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}
