//! What hosts read at their resource manager of what partitions keep, because pods that are bound to them name it: a
//! partition behind real connections, and a resource manager, in this process.

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
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITION: &str = "tp-1";

/// A partition with the tenants `acme` and `globex`, a resource manager with the hosts `n1` and `n2`, and what is
/// between them.
struct World {
    partition: Partition,
    manager: ResourceManager,
    tasks: Tasks,
    /// The partition, in process: what happens there while it cannot be reached.
    there: Arc<dyn Client>,
    authority: Authority,
    _directory: tempfile::TempDir,
    address: SocketAddr,
    serving: Option<(watch::Sender<bool>, tokio::task::JoinHandle<()>)>,
}

/// What a host is answered.
struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Value,
}

fn options(name: &str) -> RoleOptions {
    RoleOptions {
        name: name.to_owned(),
        store: StoreArgs::default(),
        api: ApiOptions::default(),
        catalog: Catalog::builtin(),
        controllers: ["tenant", "namespace", "serviceaccount"].map(str::to_owned).to_vec(),
        elect: None,
        directory: None,
        metrics: Metrics::new(),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
    }
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let subject = Subject {
            user: "arktos:resource-manager".to_owned(),
            tenant: Some("system".to_owned()),
            group: Some("system:masters".to_owned()),
        };
        let credential = Some(authority.client(&subject).expect("a certificate"));
        let trusted = authority.certificate().to_owned();
        let config = Kubeconfig { server: format!("https://{address}"), authority: trusted, credential, token: None };
        let remote = Remote::new(&config, Catalog::builtin()).expect("a client");
        let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
        let partitions: Vec<(String, Arc<dyn Client>)> = vec![(PARTITION.to_owned(), Arc::new(remote))];
        let manager = ResourceManager::start(options("rm-1"), partitions, Vec::new(), &tasks, &tasks).await;
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

    fn serve(&mut self, listener: TcpListener) {
        let credential = self.authority.server("test", &[self.address.ip()], &[]).expect("a certificate");
        let tls = tls::server(&credential, self.authority.certificate()).expect("usable");
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve::serve(listener, Some(tls), self.partition.api().clone(), stopped));
        self.serving = Some((stop, task));
    }

    /// Nobody reaches the partition any more.
    async fn cut(&mut self) {
        let (stop, task) = self.serving.take().expect("it serves");
        stop.send_replace(true);
        task.await.expect("it ends");
    }

    /// It is reached again.
    async fn mend(&mut self) {
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return self.serve(listener),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await, // somebody has the port for a moment
            }
        }
    }

    async fn make(&self, tenant: &str, resource: &str, body: Value) {
        self.there.create(&core(resource), tenant, "default", object(body)).await.expect("created");
    }

    /// Makes a pod on a host, and waits until the resource manager knows it. Gives back its uid.
    async fn pod(&self, tenant: &str, name: &str, host: &str, spec: Value) -> String {
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

    async fn patch(&self, tenant: &str, resource: &str, name: &str, patch: Value) {
        let patched = self.there.patch(&key(tenant, resource, name), None, Patch::Merge(patch)).await;
        patched.expect("patched");
    }

    async fn delete(&self, tenant: &str, resource: &str, name: &str) {
        let options = DeleteOptions::default().grace_period_seconds(0);
        self.there.delete(&key(tenant, resource, name), options).await.expect("deleted");
    }

    fn request(&self, host: &str, method: Method, path: &str, body: Value) -> Request<Full<Bytes>> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let media = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = Request::builder().method(method).uri(path).header("content-type", media);
        let user = format!("system:node:{host}");
        let identity = Identity::user(&user, &["system:nodes"], &TenantName::system());
        request.extensions_mut().expect("no fault").insert(identity);
        request.body(Full::new(body)).expect("a request")
    }

    async fn ask(&self, host: &str, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(host, method, path, body);
        let response = self.manager.api().clone().oneshot(request).await.expect("it answers");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { code: head.status.as_u16(), headers: head.headers, body }
    }

    async fn get(&self, host: &str, path: &str) -> Answer {
        self.ask(host, Method::GET, path, Value::Null).await
    }

    /// The events of a watch.
    async fn watch(&self, host: &str, path: &str) -> BoxStream<'static, Value> {
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

    async fn stop(mut self) {
        self.cut().await;
        self.tasks.stop().await;
        self.manager.close().await;
        self.partition.close().await;
    }
}

fn core(resource: &str) -> GroupResource {
    GroupResource::core(resource)
}

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn key(tenant: &str, resource: &str, name: &str) -> ObjectKey {
    ObjectKey::namespaced(core(resource), &TenantName::new(tenant).expect("a name"), "default", name)
}

/// What hosts see of a tenant's namespace `default`.
fn shown(tenant: &str) -> String {
    projected_namespace(PARTITION, tenant, "default")
}

fn place(tenant: &str) -> String {
    format!("/api/v1/namespaces/{}", shown(tenant))
}

fn secret(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"k": value}})
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
}

/// A pod's volume with a secret.
fn with_secret(name: &str) -> Value {
    json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]})
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// The next event but bookmarks: its type, and the object.
async fn next(events: &mut BoxStream<'static, Value>) -> (String, Value) {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").expect("it goes on");
        if event["type"] != "BOOKMARK" {
            return (event["type"].as_str().expect("a type").to_owned(), event["object"].clone());
        }
    }
}

fn names(list: &Value) -> BTreeSet<String> {
    let items = list["items"].as_array().expect("a list").iter();
    items.map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_host_reads_what_its_pods_name_and_nothing_else() {
    runtime().block_on(async {
        let world = World::new().await;
        for tenant in ["acme", "globex"] {
            world.make(tenant, "secrets", secret("s", tenant)).await;
            world.make(tenant, "secrets", secret("other", tenant)).await;
            world.make(tenant, "configmaps", map("m")).await;
        }
        let both = json!({"volumes": [
            {"name": "s", "secret": {"secretName": "s"}}, {"name": "gone", "secret": {"secretName": "gone"}},
            {"name": "m", "configMap": {"name": "m"}},
        ]});
        world.pod("acme", "a", "n1", both).await;
        world.pod("globex", "g", "n2", with_secret("s")).await;
        let (acme, globex) = (place("acme"), place("globex"));

        let read = world.get("n1", &format!("{acme}/secrets/s")).await;
        assert_eq!(read.code, 200, "{}", read.body);
        assert_eq!(read.body["data"]["k"], "YWNtZQ==");
        assert_eq!(read.body["metadata"]["namespace"], json!(shown("acme")));
        assert_eq!(world.get("n1", &format!("{acme}/configmaps/m")).await.code, 200);
        let account = world.get("n1", &format!("{acme}/serviceaccounts/default")).await;
        assert_eq!((account.code, &account.body["metadata"]["name"]), (200, &json!("default")));
        let gone = world.get("n1", &format!("{acme}/secrets/gone")).await;
        assert_eq!((gone.code, &gone.body["details"]["name"]), (404, &json!("gone")), "its partition says so");
        let other = world.get("n2", &format!("{globex}/secrets/s")).await;
        assert_eq!((other.code, &other.body["data"]["k"]), (200, &json!("Z2xvYmV4")));

        let by_name = format!("{acme}/secrets?fieldSelector=metadata.name%3Ds");
        let listed = world.get("n1", &by_name).await;
        assert_eq!((listed.code, names(&listed.body)), (200, BTreeSet::from(["s".to_owned()])));
        assert_eq!(listed.body["items"][0]["metadata"]["namespace"], json!(shown("acme")));

        for (host, path) in [
            ("n1", format!("{acme}/secrets/other")),
            ("n1", format!("{acme}/configmaps/s")),
            ("n1", format!("{acme}/secrets")),
            ("n1", format!("{acme}/secrets?fieldSelector=metadata.name%3Dother")),
            ("n1", format!("{globex}/secrets/s")),
            ("n2", format!("{acme}/secrets/s")),
            ("n2", format!("{globex}/secrets/other")),
            ("n1", "/api/v1/namespaces/default/secrets/s".to_owned()),
            ("n1", format!("/api/v1/tenants/acme/namespaces/{}/secrets/s", shown("acme"))),
        ] {
            let refused = world.get(host, &path).await;
            assert_eq!(refused.code, 403, "{host} {path}: {}", refused.body);
        }
        let write = world.ask("n1", Method::DELETE, &format!("{acme}/secrets/s"), Value::Null).await;
        assert_eq!(write.code, 403);

        // With the pod goes the right.
        world.delete("acme", "pods", "a").await;
        until("the secret is refused", async || world.get("n1", &format!("{acme}/secrets/s")).await.code == 403).await;
        world.stop().await;
    });
}

#[test]
fn the_partition_judges_by_the_host_and_not_by_its_resource_manager() {
    runtime().block_on(async {
        let world = World::new().await;
        world.make("acme", "secrets", secret("s", "acme")).await;
        world.make("acme", "secrets", secret("other", "acme")).await;
        world.pod("acme", "a", "n1", with_secret("s")).await;
        let component = world.partition.api().client(Identity::system_component("rm-1"));
        let host = component.acting_as("system:node:n1", &["system:nodes"]).expect("it may");
        assert!(host.get(&key("acme", "secrets", "s")).await.is_ok());
        let refused = host.get(&key("acme", "secrets", "other")).await.expect_err("no pod names it");
        assert!(refused.is(Reason::Forbidden), "{refused}");
        let tenant = TenantName::new("acme").expect("a name");
        let alice = world.partition.api().client(Identity::user("alice", &["system:masters"], &tenant));
        assert!(alice.acting_as("bob", &[]).is_none(), "a tenant's client speaks for itself");
        world.stop().await;
    });
}

#[test]
fn a_watch_sees_what_happens_to_what_a_pod_names() {
    runtime().block_on(async {
        let world = World::new().await;
        world.make("acme", "secrets", secret("s", "one")).await;
        world.make("acme", "secrets", secret("other", "one")).await;
        world.pod("acme", "a", "n1", with_secret("s")).await;
        let by_name = format!("{}/secrets?fieldSelector=metadata.name%3Ds", place("acme"));
        let listed = world.get("n1", &by_name).await;
        let revision = listed.body["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned();
        let more = "watch=1&allowWatchBookmarks=true";
        let mut after = world.watch("n1", &format!("{by_name}&{more}&resourceVersion={revision}")).await;
        let initial = "resourceVersionMatch=NotOlderThan&sendInitialEvents=true";
        let mut whole = world.watch("n1", &format!("{by_name}&{more}&{initial}")).await;
        let (kind, first) = next(&mut whole).await;
        assert_eq!((kind.as_str(), &first["data"]["k"]), ("ADDED", &json!("b25l")));
        let end = tokio::time::timeout(PATIENCE, whole.next()).await.expect("in time").expect("it goes on");
        assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{end}");

        let change = |value: &str| json!({"data": {"k": value}});
        world.patch("acme", "secrets", "other", change("dHdv")).await;
        world.patch("acme", "secrets", "s", change("dHdv")).await;
        world.delete("acme", "secrets", "s").await;
        for events in [&mut after, &mut whole] {
            let (kind, object) = next(events).await;
            assert_eq!((kind.as_str(), &object["data"]["k"]), ("MODIFIED", &json!("dHdv")), "{object}");
            assert_eq!(object["metadata"]["namespace"], json!(shown("acme")));
            let told = |of: &Value| of["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse::<u64>().ok());
            let changed = told(&object).expect("a revision");
            assert!(changed > revision.parse().expect("a number"));
            let (kind, object) = next(events).await;
            assert_eq!(kind, "DELETED");
            assert!(told(&object).expect("a revision") > changed);
        }
        world.stop().await;
    });
}

#[test]
fn a_host_gets_tokens_for_the_accounts_of_its_pods_alone() {
    runtime().block_on(async {
        let world = World::new().await;
        for name in ["robot", "other"] {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
            world.make("acme", "serviceaccounts", account).await;
        }
        let mine = world.pod("acme", "mine", "n1", json!({"serviceAccountName": "robot"})).await;
        let theirs = world.pod("acme", "theirs", "n2", json!({"serviceAccountName": "robot"})).await;
        let ask = async |host: &str, account: &str, pod: Value, audiences: Value| {
            let spec = json!({"boundObjectRef": pod, "audiences": audiences});
            let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
            let path = format!("{}/serviceaccounts/{account}/token", place("acme"));
            world.ask(host, Method::POST, &path, body).await
        };
        let to = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
        let given = ask("n1", "robot", to("mine", &mine), json!([])).await;
        assert_eq!(given.code, 201, "{}", given.body);
        assert_eq!(given.body["metadata"]["namespace"], json!(shown("acme")));
        let token = given.body["status"]["token"].as_str().expect("a token");
        let mut who = Request::get("/apis/authentication.k8s.io/v1/selfsubjectreviews").method(Method::POST);
        who = who.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        let who = who.body(Full::new(Bytes::from(body))).expect("a request");
        let who = world.partition.api().clone().oneshot(who).await.expect("it answers");
        let who: Value =
            serde_json::from_slice(&who.into_body().collect().await.expect("read").to_bytes()).expect("JSON");
        let user = &who["status"]["userInfo"]["username"];
        assert_eq!(user, "system:serviceaccount:default:robot", "its tenant takes it: {who}");

        for (host, account, pod, audiences) in [
            ("n1", "robot", to("theirs", &theirs), json!([])),
            ("n1", "robot", Value::Null, json!([])),
            ("n1", "robot", to("mine", &theirs), json!([])),
            ("n1", "robot", to("mine", &mine), json!(["bank"])),
            ("n1", "other", to("mine", &mine), json!([])),
            ("n2", "robot", to("mine", &mine), json!([])),
        ] {
            let refused = ask(host, account, pod.clone(), audiences).await;
            assert_eq!(refused.code, 403, "{host} {account} {pod}: {}", refused.body);
        }
        world.stop().await;
    });
}

#[test]
fn a_host_is_shown_the_services_beside_its_pods() {
    runtime().block_on(async {
        let world = World::new().await;
        for (tenant, name) in [("acme", "web"), ("globex", "bank")] {
            world.make(tenant, "services", service(name)).await;
        }
        world.pod("acme", "a", "n1", json!({})).await;
        let all = "/api/v1/services";
        let list = async |host: &str, path: &str| {
            let answer = world.get(host, path).await;
            assert_eq!(answer.code, 200, "{}", answer.body);
            answer.body
        };
        let mut listed = Value::Null;
        until("its services are there", async || {
            listed = list("n1", all).await;
            names(&listed).contains("web")
        })
        .await;
        assert!(!names(&listed).contains("bank"));
        assert!(
            listed["items"]
                .as_array()
                .expect("items")
                .iter()
                .all(|it| it["metadata"]["namespace"] == json!(shown("acme")))
        );
        assert!(names(&list("n2", all).await).is_empty(), "it has no pods");
        let mut headless = service("headless");
        headless["spec"]["clusterIP"] = json!("None");
        world.make("acme", "services", headless).await;
        until("all are there", async || names(&list("n1", all).await).contains("headless")).await;
        let with_address = names(&list("n1", &format!("{all}?fieldSelector=spec.clusterIP%21%3DNone")).await);
        assert!(with_address.contains("web") && !with_address.contains("headless"), "{with_address:?}");
        world.delete("acme", "services", "headless").await;
        until("it is gone", async || !names(&list("n1", all).await).contains("headless")).await;
        let listed = list("n1", all).await;
        let revision = listed["metadata"]["resourceVersion"].as_str().expect("a revision");
        let own = list("n1", &format!("{}/services", place("acme"))).await;
        assert!(names(&own).contains("web"));
        assert_eq!(world.get("n2", &format!("{}/services", place("acme"))).await.code, 403);

        // A namespace that comes between the list and the watch is not missed, and what is there already comes again.
        world.pod("globex", "g", "n1", json!({})).await;
        let path = format!("{all}?watch=1&allowWatchBookmarks=true&resourceVersion={revision}");
        let mut events = world.watch("n1", &path).await;
        let mut seen = BTreeSet::new();
        while !(seen.contains("web") && seen.contains("bank")) {
            let (kind, object) = next(&mut events).await;
            assert_eq!(kind, "ADDED");
            seen.insert(object["metadata"]["name"].as_str().expect("a name").to_owned());
        }
        world.make("acme", "services", service("new")).await;
        let named =
            |event: &(String, Value)| (event.0.clone(), event.1["metadata"]["name"].as_str().map(str::to_owned));
        let expect = |kind: &str, name: &str| (kind.to_owned(), Some(name.to_owned()));
        let told = loop {
            let told = named(&next(&mut events).await);
            if told != expect("ADDED", "kubernetes") {
                break told;
            }
        };
        assert_eq!(told, expect("ADDED", "new"));
        // With the last pod in it, a namespace goes.
        world.delete("globex", "pods", "g").await;
        let told = loop {
            let told = named(&next(&mut events).await);
            if told != expect("DELETED", "kubernetes") {
                break told;
            }
        };
        assert_eq!(told, expect("DELETED", "bank"));
        world.stop().await;
    });
}

#[test]
fn what_a_host_tells_of_its_pods_is_kept_beside_them() {
    runtime().block_on(async {
        let world = World::new().await;
        world.pod("acme", "a", "n1", json!({})).await;
        let about = json!({"kind": "Pod", "namespace": shown("acme"), "name": "a"});
        let event = json!({"metadata": {"name": "a.1"}, "involvedObject": about, "reason": "Pulled", "count": 1});
        let events = format!("{}/events", place("acme"));
        let told = world.ask("n1", Method::POST, &events, event.clone()).await;
        assert_eq!((told.code, &told.body["metadata"]["namespace"]), (201, &json!(shown("acme"))), "{}", told.body);
        let more = world.ask("n1", Method::PATCH, &format!("{events}/a.1"), json!({"count": 2})).await;
        assert_eq!(more.code, 200, "{}", more.body);
        let kept = world.there.get(&key("acme", "events", "a.1")).await.expect("it is there");
        let kept = kept.object.decode(None).expect("an object");
        assert_eq!(kept.str_at(&["involvedObject", "namespace"]), "default");
        assert_eq!(kept.at(&["count"]), Some(&json!(2)));
        assert_eq!(world.ask("n2", Method::POST, &events, event).await.code, 403, "it has no pods there");
        assert_eq!(world.get("n1", &format!("{events}/a.1")).await.code, 403);
        world.stop().await;
    });
}

#[test]
fn a_partition_that_cannot_be_reached_is_not_one_that_has_nothing() {
    runtime().block_on(async {
        let mut world = World::new().await;
        world.make("acme", "secrets", secret("s", "acme")).await;
        let uid = world.pod("acme", "a", "n1", with_secret("s")).await;
        let (secret, by_name) = (format!("{}/secrets/s", place("acme")), format!("{}/secrets", place("acme")));
        let by_name = format!("{by_name}?fieldSelector=metadata.name%3Ds");
        let mut events = world.watch("n1", &format!("{by_name}&watch=1")).await;
        assert_eq!(next(&mut events).await.0, "ADDED");
        world.cut().await;
        let left: Vec<Value> = tokio::time::timeout(PATIENCE, events.collect()).await.expect("it ends");
        assert!(left.is_empty(), "it just ends: {left:?}");
        let spec = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": uid}});
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let token = format!("{}/serviceaccounts/default/token", place("acme"));
        for (method, path, body) in [
            (Method::GET, &secret, Value::Null),
            (Method::GET, &by_name, Value::Null),
            (Method::GET, &format!("{by_name}&watch=1"), Value::Null),
            (Method::POST, &token, request),
        ] {
            let answer = world.ask("n1", method, path, body).await;
            assert_eq!(answer.code, 503, "{path}: {}", answer.body);
            assert!(answer.headers.contains_key("retry-after"), "{path}: {:?}", answer.headers);
        }
        world.mend().await;
        until("it is read again", async || world.get("n1", &secret).await.code == 200).await;
        world.stop().await;
    });
}
