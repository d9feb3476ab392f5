//! What stays when the process goes: the same data directory again, a second process on it, and a kill in the middle of
//! a stream of creates.

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::remote::Remote;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, Revision, TenantName};
use arktos_store::{Client, Delivery, Query, Within};
use futures::StreamExt;
use process::{PATIENCE, Region, pause};
use serde_json::json;

const NO_CONTROLLERS: &[&str] = &["--hosts", "0", "--controllers", "namespace", "--tenants", "acme"];

fn maps() -> GroupResource {
    GroupResource::core("configmaps")
}

fn connect(region: &Region) -> Arc<dyn Client> {
    let config = Kubeconfig::read(&region.kubeconfig(None)).expect("a kubeconfig");
    Arc::new(Remote::new(&config, Catalog::builtin()).expect("a client"))
}

fn map(name: &str) -> Object {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}});
    Object::from_value(object).expect("an object")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn create_namespace(client: &Arc<dyn Client>) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stream"}});
    let namespace = Object::from_value(namespace).expect("an object");
    client.create(&GroupResource::core("namespaces"), "acme", "", namespace).await.expect("created");
}

#[test]
fn everything_is_still_there_and_two_processes_never_share_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let region = Region::start(directory.path(), NO_CONTROLLERS);
    let revision = runtime().block_on(async {
        let client = connect(&region);
        create_namespace(&client).await;
        client.create(&maps(), "acme", "stream", map("kept")).await.expect("created").revision
    });
    let refusal = Region::try_start(directory.path(), NO_CONTROLLERS).err().expect("it must not start");
    assert!(refusal.contains("another process is using"), "{refusal}");
    assert_eq!(refusal.trim().lines().count(), 1, "one line, not a trace: {refusal}");
    assert!(region.stop().success());

    let other_store = [NO_CONTROLLERS, &["--store", "sled"]].concat();
    let refusal = Region::try_start(directory.path(), &other_store).err().expect("it must not start");
    assert!(refusal.contains("was begun with --store log"), "{refusal}");
    let region = Region::start(directory.path(), NO_CONTROLLERS);
    runtime().block_on(async {
        let client = connect(&region);
        let query = Query::all(maps(), Within::Tenant(TenantName::new("acme").expect("a name")));
        let listing = client.list(&query).await.expect("listed");
        let kept = listing.items.iter().find(|stored| stored.path.name() == "kept").expect("still there");
        assert_eq!(kept.revision, revision);
        let later = client.create(&maps(), "acme", "stream", map("later")).await.expect("created");
        assert!(later.revision > revision, "revisions go on");
    });
}

/// Sixteen writers create as fast as they can, three watchers follow; the process is killed, started again, and the
/// watchers resume where they were.
#[test]
fn a_kill_in_a_stream_of_creates_loses_no_acknowledged_object_and_no_watcher_an_event() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut region = Region::start(directory.path(), NO_CONTROLLERS);
    let acknowledged: Arc<Mutex<BTreeMap<String, Revision>>> = Arc::default();
    let mut seen: Vec<Vec<(Revision, String)>> = vec![Vec::new(); 3];
    runtime().block_on(async { create_namespace(&connect(&region)).await });
    for round in 0..3 {
        seen = stream(region, round, &acknowledged, seen);
        region = Region::start(directory.path(), NO_CONTROLLERS);
    }
    let listed = runtime().block_on(async {
        let query =
            Query::all(maps(), Within::Namespace(TenantName::new("acme").expect("a name"), "stream".to_owned()));
        connect(&region).list(&query).await.expect("listed")
    });
    let there: BTreeMap<String, Revision> =
        listed.items.iter().map(|stored| (stored.path.name().to_owned(), stored.revision)).collect();
    let acknowledged = acknowledged.lock().expect("nobody panicked");
    assert!(acknowledged.len() > 100, "only {} creates were acknowledged: nothing was tested", acknowledged.len());
    for (name, revision) in acknowledged.iter() {
        assert_eq!(there.get(name), Some(revision), "{name} was acknowledged");
    }
    for events in seen {
        let events = catch_up(&region, events, listed.revision);
        let revisions: Vec<Revision> = events.iter().map(|(revision, _)| *revision).collect();
        assert!(revisions.is_sorted_by(|a, b| a < b), "each event once, in order");
        let names: BTreeSet<&String> = events.iter().map(|(_, name)| name).collect();
        assert_eq!(names.len(), events.len(), "no object was created twice");
        assert_eq!(names, there.keys().collect::<BTreeSet<_>>(), "each watcher saw every object");
    }
}

type Seen = Vec<(Revision, String)>;

/// One life of the process: writers and watchers until it is killed.
fn stream(
    region: Region,
    round: usize,
    acknowledged: &Arc<Mutex<BTreeMap<String, Revision>>>,
    seen: Vec<Seen>,
) -> Vec<Seen> {
    let runtime = runtime();
    let count = Arc::new(AtomicUsize::new(0));
    let watchers: Vec<_> = seen.into_iter().map(|seen| runtime.spawn(watch(connect(&region), seen))).collect();
    for writer in 0..16 {
        let (client, acknowledged, count) = (connect(&region), acknowledged.clone(), count.clone());
        runtime.spawn(async move {
            for number in 0..100_000 {
                let name = format!("m-{round}-{writer}-{number}");
                match client.create(&maps(), "acme", "stream", map(&name)).await {
                    Ok(created) => {
                        acknowledged.lock().expect("nobody panicked").insert(name, created.revision);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await, // it is busy, or dead
                }
            }
        });
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) < 200 {
        assert!(std::time::Instant::now() < deadline, "the writers do not get on");
        pause();
    }
    region.kill();
    runtime.block_on(async {
        let mut seen = Vec::new();
        for watcher in watchers {
            seen.push(watcher.await.expect("the watcher ends with the process"));
        }
        seen
    })
}

/// Follows the stream from the last event that was seen, until it breaks.
async fn watch(client: Arc<dyn Client>, mut seen: Seen) -> Seen {
    let query = Query::all(maps(), Within::Namespace(TenantName::new("acme").expect("a name"), "stream".to_owned()));
    let after = match seen.last() {
        Some((revision, _)) => *revision,
        None => Revision(1), // before anything in the namespace was made
    };
    let Ok(mut events) = client.watch(&query, after).await else { return seen };
    while let Some(Ok(event)) = events.next().await {
        match event {
            Delivery::Added(stored) => seen.push((stored.revision, stored.path.name().to_owned())),
            Delivery::Bookmark(_) => {}
            other => panic!("nobody changes or deletes here: {other:?}"),
        }
    }
    seen
}

/// Follows on until a revision.
fn catch_up(region: &Region, mut seen: Seen, until: Revision) -> Seen {
    let query = Query::all(maps(), Within::Namespace(TenantName::new("acme").expect("a name"), "stream".to_owned()));
    runtime().block_on(async {
        let after = seen.last().map_or(Revision(1), |(revision, _)| *revision);
        let newest = connect(region).list(&query).await.expect("listed").items;
        let last = newest.iter().map(|stored| stored.revision).max().unwrap_or_default().min(until);
        let mut events = connect(region).watch(&query, after).await.expect("the watch resumes");
        while seen.last().is_none_or(|(revision, _)| *revision < last) {
            let event = tokio::time::timeout(PATIENCE, events.next()).await;
            match event.expect("in time").expect("goes on").expect("an event") {
                Delivery::Added(stored) => seen.push((stored.revision, stored.path.name().to_owned())),
                Delivery::Bookmark(_) => {}
                other => panic!("nobody changes or deletes here: {other:?}"),
            }
        }
        seen
    })
}
