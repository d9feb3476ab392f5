//! Informers over a server of our own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Identity};
use arktos_bin::edge::{SystemClock, SystemRandom};
use arktos_bin::net::forward::Forward;
use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::pki::{Authority, Subject};
use arktos_bin::net::remote::Remote;
use arktos_bin::net::{serve, tls};
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectKey, Reason, TenantName, TypeMeta};
use arktos_store::client::{DeleteOptions, Patch, WatchListEvent};
use arktos_store::{Client, Engine, Informer, Query, Source, Stored};
use futures::StreamExt;
use futures::future::ready;
use http::Request;
use http_body_util::{BodyExt, Empty};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{PATIENCE, maps, runtime};

/// A partition's API on a socket, and its authority.
struct Region {
    api: ApiServer,
    client: Arc<dyn Client>,
    authority: Authority,
    directory: tempfile::TempDir,
}

/// A socket that is served until this is dropped.
struct Serving {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Region {
    async fn new() -> Self {
        let clock = Arc::new(SystemClock::new());
        let engine = Engine::memory(clock.clone());
        let mut config = ApiConfig::new(engine, clock, Arc::new(SystemRandom));
        config.admission.disabled.insert("ServiceAccount".to_owned());
        let api = ApiServer::new(config);
        api.bootstrap().await.expect("bootstrapped");
        let client = api.client(Identity::system_component("test"));
        for tenant in ["acme", "umbra"] {
            let object = Object::new(&TypeMeta::new("", "v1", "Tenant"), tenant);
            client.create(&GroupResource::core("tenants"), "", "", object).await.expect("created");
            let object = Object::new(&TypeMeta::new("", "v1", "Namespace"), "default");
            client.create(&GroupResource::core("namespaces"), tenant, "", object).await.expect("created");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority");
        Self { api, client, authority, directory }
    }

    async fn serve(&self, address: &str) -> Serving {
        let begun = std::time::Instant::now();
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // One that was given back may be somebody else's for a moment.
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{address}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let address = listener.local_addr().expect("an address");
        let credential = self.authority.server("test", &[address.ip()], &[]).expect("a certificate");
        let tls = tls::server(&credential, self.authority.certificate()).expect("usable");
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve::serve(listener, Some(tls), self.api.clone(), stopped));
        Serving { address, stop, task }
    }

    fn config(&self, server: String, tenant: Option<&str>) -> Kubeconfig {
        assert!(self.directory.path().exists());
        let groups = vec!["system:masters".to_owned()];
        let subject = Subject { user: "admin".to_owned(), tenant: tenant.map(str::to_owned), groups };
        let credential = Some(self.authority.client(&subject).expect("a certificate"));
        Kubeconfig { server, authority: self.authority.certificate().to_owned(), credential, token: None }
    }

    async fn put(&self, tenant: &str, name: &str, length: usize) -> Stored {
        let (meta, data) = (json!({"name": name}), json!({"a": "x".repeat(length)}));
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data});
        let object = Object::from_value(object).expect("an object");
        self.client.create(&maps(), tenant, "default", object).await.expect("created")
    }

    async fn delete(&self, tenant: &str, name: &str) {
        let key = ObjectKey::namespaced(maps(), &TenantName::new(tenant).expect("a name"), "default", name);
        self.client.delete(&key, DeleteOptions::default()).await.expect("deleted");
    }
}

impl Serving {
    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it ends");
    }
}

fn informer(source: Remote) -> Informer<Stored> {
    let (informer, driver) = Informer::new(
        Arc::new(source),
        Query::everywhere(maps()),
        Arc::new(SystemClock::new()),
        Arc::new(SystemRandom),
    );
    tokio::spawn(driver);
    informer
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 10 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

fn names(informer: &Informer<Stored>) -> Vec<String> {
    informer.store().list().iter().map(|it| it.path.to_string()).filter(|path| !path.contains("kube-")).collect()
}

#[test]
fn a_region_is_seen_with_all_its_tenants_and_a_tenant_by_itself() {
    runtime().block_on(async {
        let region = Region::new().await;
        region.put("acme", "a", 1).await;
        region.put("umbra", "b", 1).await;
        let serving = region.serve("127.0.0.1:0").await;
        let url = format!("https://{}", serving.address);
        let all = Remote::new(&region.config(url.clone(), None), Catalog::builtin()).expect("a client");
        let config = region.config(format!("{url}/tenants/acme"), Some("acme"));
        let own = TenantName::new("mine").expect("a name");
        let own = Remote::plain(&config, Catalog::builtin(), own).expect("a client");
        let (all, own) = (informer(all), informer(own));
        let made = region.put("acme", "c", 1).await;
        for informer in [&all, &own] {
            tokio::time::timeout(PATIENCE, informer.reached(made.revision)).await.expect("in time").expect("runs");
        }
        assert_eq!(names(&all), ["acme/default/a", "acme/default/c", "umbra/default/b"]);
        assert_eq!(names(&own), ["mine/default/a", "mine/default/c"], "under the name it has here");
        let same = all.store().get(&made.path).expect("there");
        assert_eq!(
            (same.revision, same.object.header().uid().to_owned()),
            (made.revision, made.object.header().uid().to_owned())
        );
        region.delete("acme", "a").await;
        until("the deletion arrives", || names(&own) == ["mine/default/c"]).await;
    });
}

#[test]
fn a_server_that_goes_away_takes_nothing_with_it() {
    runtime().block_on(async {
        let region = Region::new().await;
        region.put("acme", "a", 1).await;
        region.put("acme", "b", 1).await;
        let serving = region.serve("127.0.0.1:0").await;
        let address = serving.address.to_string();
        let remote = Remote::new(&region.config(format!("https://{address}"), None), Catalog::builtin());
        let informer = informer(remote.expect("a client"));
        tokio::time::timeout(PATIENCE, informer.synced()).await.expect("in time").expect("runs");
        serving.stop().await;
        until("it notices", || !informer.progress().current).await;
        region.delete("acme", "a").await;
        region.put("acme", "c", 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(names(&informer), ["acme/default/a", "acme/default/b"]);
        let _again = region.serve(&address).await;
        until("it goes on", || names(&informer) == ["acme/default/b", "acme/default/c"]).await;
    });
}

#[test]
fn a_certificate_that_was_replaced_is_shown_from_the_next_connection_on() {
    runtime().block_on(async {
        let region = Region::new().await;
        region.put("acme", "a", 1).await;
        let serving = region.serve("127.0.0.1:0").await;
        let address = serving.address.to_string();
        let config = region.config(format!("https://{address}"), None);
        let nobody = Subject { user: "nobody".to_owned(), tenant: None, groups: Vec::new() };
        let shown = tls::Shown::new(&region.authority.client(&nobody).expect("a certificate")).expect("usable");
        let remote = Remote::showing(&config, Some(shown.clone()), Catalog::builtin()).expect("a client");
        let listed = async || remote.list(&Query::everywhere(maps())).await.map(|listing| listing.items.len());
        assert!(listed().await.is_err_and(|status| status.is(Reason::Forbidden)));
        shown.replace(config.credential.as_ref().expect("it has one")).expect("usable");
        assert!(listed().await.is_err_and(|status| status.is(Reason::Forbidden)), "whoever is connected stays so");
        serving.stop().await;
        let _again = region.serve(&address).await;
        let begun = std::time::Instant::now();
        let found = loop {
            match listed().await {
                Ok(found) => break found,
                Err(status) => assert!(begun.elapsed() < PATIENCE, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(found > 0);
    });
}

#[test]
fn streams_that_nobody_reads_do_not_hold_up_the_others() {
    runtime().block_on(async {
        let region = Region::new().await;
        for number in 0..40 {
            region.put("acme", &format!("m-{number}"), 256 << 10).await;
        }
        let serving = region.serve("127.0.0.1:0").await;
        let config = region.config(format!("https://{}", serving.address), None);
        let remote = Remote::new(&config, Catalog::builtin()).expect("a client");
        // Ten megabytes wait in each of these, on the one connection that all share.
        let mut unread = Vec::new();
        for _ in 0..10 {
            let mut stream = remote.watch_list(&Query::everywhere(maps())).await.expect("opened");
            stream.next().await.expect("something").expect("an object");
            unread.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // what can be sent, is
        let informer = informer(remote.clone());
        tokio::time::timeout(PATIENCE, informer.synced()).await.expect("in time").expect("runs");
        let made = region.put("umbra", "new", 1).await;
        tokio::time::timeout(PATIENCE, informer.reached(made.revision)).await.expect("in time").expect("runs");
        for stream in unread {
            let initial = stream.take_while(|event| ready(!matches!(event, Ok(WatchListEvent::InitialEnd(_)))));
            let rest: Vec<_> = initial.collect().await;
            assert!(rest.len() >= 39 && rest.iter().all(Result::is_ok), "nothing is lost of what had to wait");
        }
    });
}

#[test]
fn the_watches_of_many_clients_do_not_use_up_what_a_gateway_sends_on_by() {
    runtime().block_on(async {
        let region = Region::new().await;
        let serving = region.serve("127.0.0.1:0").await;
        let config = region.config(format!("https://{}", serving.address), None);
        let backend = Forward::new(&config).expect("a client");
        let send = async |path: &str| {
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let answer = backend.send(Request::get(path).body(body).expect("a request"), None);
            tokio::time::timeout(PATIENCE, answer).await.expect("in time")
        };
        let mut watches = Vec::new();
        for _ in 0..1050 {
            let watch = send("/api/v1/tenants/acme/namespaces/default/configmaps?watch=true").await;
            assert_eq!(watch.status(), 200);
            watches.push(watch);
        }
        assert_eq!(send("/api/v1/tenants/umbra/namespaces/default/configmaps").await.status(), 200);
        drop(watches);
    });
}

#[test]
fn what_is_applied_is_made_and_is_its_managers() {
    runtime().block_on(async {
        let region = Region::new().await;
        let serving = region.serve("127.0.0.1:0").await;
        let config = region.config(format!("https://{}", serving.address), None);
        let remote = Remote::new(&config, Catalog::builtin()).expect("a client");
        let key = ObjectKey::namespaced(maps(), &TenantName::new("acme").expect("a name"), "default", "applied");
        let apply = |manager: &str, force| {
            let meta = json!({"name": "applied"});
            let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"by": manager}});
            remote.patch(&key, None, Patch::Apply { config, manager: manager.to_owned(), force })
        };
        apply("one & only", false).await.expect("is made");
        assert!(apply("two", false).await.expect_err("it is another's").is(Reason::Conflict));
        let stored = apply("two", true).await.expect("is taken");
        assert_eq!(stored.object.decode(None).expect("decodes").str_at(&["data", "by"]), "two");
    });
}
