//! Two partitions and two resource managers seen as one, whatever becomes of them.

use std::path::Path;

use arktos_api::Identity;
use arktos_core::{Timestamp, TypeMeta};
use arktos_store::clock::{ManualClock, SeededRandom};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};

use super::*;
use crate::edge::SystemClock;
use crate::roles::late::LateClient;
use crate::roles::store::{self, StoreArgs, StoreKind};

const CONFIG_MAPS: &str = "/api/v1/tenants/all/configmaps";
/// How long anything may take before a test gives up on it.
const LONG: Duration = Duration::from_secs(60);

fn random(seed: u64) -> Arc<dyn Random> {
    Arc::new(SeededRandom::new(seed))
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

async fn server(engine: Engine) -> ApiServer {
    let mut config = ApiConfig::new(engine, clock(), random(7));
    config.role = arktos_api::Role::ResourceManager; // no service addresses in the tenant system
    let server = ApiServer::new(config);
    server.bootstrap().await.expect("it is made ready");
    server
}

fn client(server: &ApiServer) -> Arc<dyn Client> {
    server.client(Identity::system_component("test"))
}

fn named(names: &[&str], clients: impl IntoIterator<Item = Arc<dyn Client>>) -> Vec<arktos_store::roster::Named> {
    names.iter().map(|name| (*name).to_owned()).zip(clients).collect()
}

/// A server of a partition with one tenant.
async fn partition(engine: Engine, tenant: &str) -> ApiServer {
    let server = server(engine).await;
    let client = client(&server);
    make(&client, &GroupResource::core("tenants"), "", "", "Tenant", tenant).await;
    make(&client, &GroupResource::core("namespaces"), tenant, "", "Namespace", "default").await;
    server
}

async fn make(
    client: &Arc<dyn Client>,
    resource: &GroupResource,
    tenant: &str,
    namespace: &str,
    kind: &str,
    name: &str,
) {
    let object = Object::new(&TypeMeta::new("", "v1", kind), name);
    client.create(resource, tenant, namespace, object).await.expect("it is made");
}

async fn map(client: &Arc<dyn Client>, tenant: &str, name: &str) {
    make(client, &GroupResource::core("configmaps"), tenant, "default", "ConfigMap", name).await;
}

struct World {
    partitions: Vec<ApiServer>,
    managers: Vec<ApiServer>,
    aggregator: Aggregator,
    tasks: Tasks,
}

impl World {
    /// Partition `tp-0` has the tenant `acme`, `tp-1` has `globex`; each has a resource manager.
    async fn start() -> Self {
        let engine = || Engine::memory(clock());
        let partitions = vec![partition(engine(), "acme").await, partition(engine(), "globex").await];
        let managers = vec![server(engine()).await, server(engine()).await];
        let (aggregator, tasks) = aggregator(
            named(&["tp-0", "tp-1"], partitions.iter().map(client)),
            named(&["rm-0", "rm-1"], managers.iter().map(client)),
            clock(),
        )
        .await;
        Self { partitions, managers, aggregator, tasks }
    }
}

async fn aggregator(
    partitions: Vec<arktos_store::roster::Named>,
    managers: Vec<arktos_store::roster::Named>,
    clock: Arc<dyn Clock>,
) -> (Aggregator, Tasks) {
    aggregator_keeping(EngineConfig::default(), partitions, managers, clock).await
}

async fn aggregator_keeping(
    keeping: EngineConfig,
    partitions: Vec<arktos_store::roster::Named>,
    managers: Vec<arktos_store::roster::Named>,
    clock: Arc<dyn Clock>,
) -> (Aggregator, Tasks) {
    let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
    let options = AggregatorOptions {
        name: "aggregator".to_owned(),
        first: partitions.first().map_or_else(String::new, |(name, _)| name.clone()),
        partitions: partitions.into(),
        managers: managers.into(),
        keeping,
        api: ApiOptions::default(),
        metrics: Metrics::new(),
        clock,
        random: random(1),
    };
    (Aggregator::start(options, &tasks).await.expect("it starts"), tasks)
}

/// Sends a request as an administrator of the region.
async fn send(aggregator: &Aggregator, method: &str, path: &str, body: Option<Value>) -> Response<GatewayBody> {
    send_as(aggregator, Identity::system_component("root"), method, path, body).await
}

async fn send_as(
    aggregator: &Aggregator,
    identity: Identity,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Response<GatewayBody> {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = Full::from(body.map_or_else(Bytes::new, |body| body.to_string().into()));
    let request = Request::builder().method(method).uri(path).header("content-type", media).body(body);
    let mut request = request.expect("a request");
    request.extensions_mut().insert(identity.clone());
    let aggregator = Aggregator { identify: Arc::new(move |_| Ok(identity.clone())), ..aggregator.clone() };
    aggregator.answer(request).await
}

async fn read(response: Response<GatewayBody>) -> (u16, Value) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(aggregator: &Aggregator, path: &str) -> Value {
    let (code, answer) = read(send(aggregator, "GET", path, None).await).await;
    assert_eq!(code, 200, "{path}: {answer}");
    answer
}

fn paths(list: &Value) -> Vec<String> {
    let part = |item: &Value, part: &str| item["metadata"][part].as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| format!("{}/{}", part(item, "tenant"), part(item, "name"))).collect()
}

/// The next event of a watch that is no bookmark: its type, the object's name, and its revision.
async fn event(response: &mut Response<GatewayBody>, rest: &mut Vec<u8>) -> (String, String, u64) {
    loop {
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=at).collect();
            let event: Value = serde_json::from_slice(&line).expect("an event");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let meta = &event["object"]["metadata"];
            if event["type"] != "BOOKMARK" {
                let revision = text(&meta["resourceVersion"]).parse().expect("a number");
                return (text(&event["type"]), text(&meta["name"]), revision);
            }
        }
        let frame = tokio::time::timeout(LONG, response.body_mut().frame()).await.expect("an event in time");
        let frame = frame.expect("the watch goes on").expect("it does not break off");
        rest.extend_from_slice(frame.data_ref().expect("data"));
    }
}

async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let attempt = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, attempt).await.is_ok(), "{what} never came");
}

#[tokio::test]
async fn what_all_tenants_have_is_listed_by_pages_and_watched_under_one_revision() {
    let world = World::start().await;
    let clients: Vec<_> = world.partitions.iter().map(client).collect();
    map(&clients[0], "acme", "a").await;
    map(&clients[1], "globex", "a").await;
    map(&clients[1], "system", "hidden").await; // the first partition's `system` stands for the region's
    map(&clients[0], "system", "shown").await;
    let whole = get(&world.aggregator, CONFIG_MAPS).await;
    assert_eq!(paths(&whole), ["acme/a", "globex/a", "system/shown"]);
    for other in ["/tenants/all/api/v1/configmaps", "/api/v1/tenants/all/%63onfigmaps"] {
        assert_eq!(get(&world.aggregator, other).await["items"].as_array().map(Vec::len), Some(3), "{other}");
    }

    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = get(&world.aggregator, &format!("{CONFIG_MAPS}?limit=1&continue={next}")).await;
        assert_eq!(page["metadata"]["resourceVersion"], whole["metadata"]["resourceVersion"]);
        seen.extend(paths(&page));
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(seen, paths(&whole));

    let revision = whole["metadata"]["resourceVersion"].as_str().expect("a revision");
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}");
    let (mut watch, mut rest) = (send(&world.aggregator, "GET", &path, None).await, Vec::new());
    let mut last: u64 = revision.parse().expect("a number");
    for (place, tenant) in [(0, "acme"), (1, "globex"), (0, "acme"), (1, "globex")] {
        let name = format!("new-{last}");
        map(&clients[place], tenant, &name).await;
        let (sort, of, revision) = event(&mut watch, &mut rest).await;
        assert_eq!((sort.as_str(), of), ("ADDED", name));
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
    world.tasks.stop().await;
}

#[tokio::test]
async fn a_watch_goes_on_across_a_partitions_restart_without_gaps_or_repeats() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = async |at: &Path| {
        let arguments = StoreArgs { kind: StoreKind::Log, data_dir: at.to_owned(), ..StoreArgs::default() };
        let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
        (store::open(&arguments, "tp-0", &Metrics::new(), &clock(), &tasks).await.expect("opens"), tasks)
    };
    let (engine, running) = open(directory.path()).await;
    let first = partition(engine.clone(), "acme").await;
    let second = partition(Engine::memory(clock()), "globex").await;
    map(&client(&first), "acme", "before").await;
    let late = LateClient::new();
    late.set(client(&first));
    let partitions = named(&["tp-0", "tp-1"], [Arc::new(late.clone()) as Arc<dyn Client>, client(&second)]);
    let (aggregator, tasks) = aggregator(partitions, Vec::new(), clock()).await;
    let list = get(&aggregator, CONFIG_MAPS).await;
    let revision = list["metadata"]["resourceVersion"].as_str().expect("a revision");
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}");
    let (mut watch, mut rest) = (send(&aggregator, "GET", &path, None).await, Vec::new());

    running.stop().await;
    engine.close().await;
    eventually("a warning", async || {
        let response = send(&aggregator, "GET", CONFIG_MAPS, None).await;
        let warned = response.headers().get("warning").is_some_and(|text| text.to_str().unwrap_or("").contains("tp-0"));
        assert_eq!(paths(&read(response).await.1), ["acme/before"], "what does not answer is not gone");
        warned
    })
    .await;
    map(&client(&second), "globex", "meanwhile").await;
    assert_eq!(event(&mut watch, &mut rest).await.1, "meanwhile");

    let (engine, running) = open(directory.path()).await;
    let again = server(engine.clone()).await;
    map(&client(&again), "acme", "after").await;
    late.set(client(&again));
    let (sort, name, _) = event(&mut watch, &mut rest).await;
    assert_eq!((sort.as_str(), name.as_str()), ("ADDED", "after"), "and nothing is told twice");
    tasks.stop().await;
    running.stop().await;
    engine.close().await;
}

#[tokio::test]
async fn who_stands_at_a_former_aggregators_revision_is_told_410() {
    let world = World::start().await;
    map(&client(&world.partitions[0]), "acme", "a").await;
    let page = get(&world.aggregator, &format!("{CONFIG_MAPS}?limit=1")).await;
    let revision = page["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned();
    let later: Arc<dyn Clock> = Arc::new(ManualClock::new(clock().now().later(Duration::from_secs(3600))));
    let partitions = named(&["tp-0", "tp-1"], world.partitions.iter().map(client));
    let (aggregator, tasks) = aggregator(partitions, Vec::new(), later).await;
    let newer = get(&aggregator, CONFIG_MAPS).await;
    let number = |text: &Value| text.as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number");
    assert!(number(&newer["metadata"]["resourceVersion"]) > number(&page["metadata"]["resourceVersion"]));
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}");
    let mut watch = send(&aggregator, "GET", &path, None).await;
    let frame = watch.body_mut().frame().await.expect("an answer").expect("whole");
    let text = String::from_utf8_lossy(frame.data_ref().expect("data")).into_owned();
    assert!(text.contains("410"), "{text}");
    tasks.stop().await;
    world.tasks.stop().await;
}

#[tokio::test]
async fn a_view_keeps_no_more_of_the_past_than_it_is_told_to() {
    let there = partition(Engine::memory(clock()), "acme").await;
    let mut keeping = EngineConfig::default();
    keeping.history_bytes = 1 << 10;
    let partitions = named(&["tp-0"], [client(&there)]);
    let (aggregator, tasks) = aggregator_keeping(keeping, partitions, Vec::new(), clock()).await;
    let page = get(&aggregator, CONFIG_MAPS).await;
    let path =
        format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", page["metadata"]["resourceVersion"].as_str().expect("one"));
    for number in 0..200 {
        map(&client(&there), "acme", &format!("m-{number}")).await;
    }
    eventually("410", async || {
        let mut watch = send(&aggregator, "GET", &path, None).await;
        let frame = watch.body_mut().frame().await.expect("an answer").expect("whole");
        String::from_utf8_lossy(frame.data_ref().expect("data")).contains("410")
    })
    .await;
    tasks.stop().await;
}

#[tokio::test]
async fn who_was_told_more_by_another_aggregator_is_told_410() {
    let world = World::start().await;
    let page = get(&world.aggregator, CONFIG_MAPS).await;
    let revision: u64 = page["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse().ok()).expect("a number");
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", revision + 1000);
    let mut watch = send(&world.aggregator, "GET", &path, None).await;
    let frame = watch.body_mut().frame().await.expect("an answer").expect("whole");
    let text = String::from_utf8_lossy(frame.data_ref().expect("data")).into_owned();
    assert!(text.contains("410"), "{text}");
    world.tasks.stop().await;
}

#[tokio::test]
async fn without_a_partition_that_was_never_heard_of_there_is_no_list() {
    let there = partition(Engine::memory(clock()), "acme").await;
    let partitions = named(&["tp-0", "tp-1"], [client(&there), Arc::new(LateClient::new()) as Arc<dyn Client>]);
    let manual = ManualClock::new(Timestamp::from_micros(1_000_000_000));
    let (aggregator, tasks) = aggregator(partitions, Vec::new(), Arc::new(manual.clone())).await;
    let asked = tokio::spawn(async move { read(send(&aggregator, "GET", CONFIG_MAPS, None).await).await });
    eventually("an answer", async || {
        manual.advance(Duration::from_secs(1));
        asked.is_finished()
    })
    .await;
    let (code, answer) = asked.await.expect("it ends");
    assert_eq!((code, &answer["reason"]), (503, &json!("ServiceUnavailable")));
    assert!(answer["message"].as_str().expect("a text").starts_with("tp-1 cannot be reached"), "{answer}");
    tasks.stop().await;
}

#[tokio::test]
async fn a_host_is_written_at_the_resource_manager_that_has_it() {
    let world = World::start().await;
    let nodes = GroupResource::core("nodes");
    for (place, name) in ["host-0", "host-1"].into_iter().enumerate() {
        make(&client(&world.managers[place]), &nodes, "", "", "Node", name).await;
    }
    let shown = get(&world.aggregator, "/api/v1/nodes").await;
    assert_eq!(paths(&shown), ["/host-0", "/host-1"]);
    let cordon = json!({"spec": {"unschedulable": true}});
    let (code, answer) = read(send(&world.aggregator, "PATCH", "/api/v1/nodes/host-1", Some(cordon)).await).await;
    assert_eq!(code, 200, "{answer}");
    let key = ObjectKey::region_scoped(nodes, "host-1");
    let stored = client(&world.managers[1]).get(&key).await.expect("it is there");
    let stored = stored.object.decode(None).expect("decodes");
    assert_eq!(stored.at(&["spec", "unschedulable"]), Some(&json!(true)));
    assert!(stored.notes.is_empty(), "what the pool notes stays in the pool: {:?}", stored.notes);

    // The state from before that write can no longer be written over it.
    let mut stale = shown["items"][1].clone();
    stale["metadata"]["labels"]["old"] = json!("yes");
    let (code, answer) = read(send(&world.aggregator, "PUT", "/api/v1/nodes/host-1", Some(stale)).await).await;
    assert_eq!(code, 409, "{answer}");
    eventually("the newest state", async || {
        get(&world.aggregator, "/api/v1/nodes/host-1").await["spec"]["unschedulable"] == true
    })
    .await;
    let mut fresh = get(&world.aggregator, "/api/v1/nodes/host-1").await;
    fresh["metadata"]["labels"]["new"] = json!("yes");
    let (code, answer) = read(send(&world.aggregator, "PUT", "/api/v1/nodes/host-1", Some(fresh)).await).await;
    assert_eq!(code, 200, "{answer}");
    let (code, answer) = read(send(&world.aggregator, "DELETE", CONFIG_MAPS, None).await).await;
    assert!(code >= 400, "nothing is written in all tenants at once: {code} {answer}");
    world.tasks.stop().await;
}

#[tokio::test]
async fn only_the_regions_own_users_are_shown_all_tenants() {
    let world = World::start().await;
    let acme = TenantName::new("acme").expect("a name");
    for identity in [Identity::anonymous(), Identity::user("alice", &["system:masters"], &acme)] {
        for path in [CONFIG_MAPS, "/tenants/all/api/v1/configmaps", "/api/v1/tenants", "/api/v1/nodes"] {
            let (code, answer) = read(send_as(&world.aggregator, identity.clone(), "GET", path, None).await).await;
            assert_eq!(code, 403, "{path}: {answer}");
        }
    }
    assert_eq!(world.tasks.names(), Vec::<String>::new(), "nothing was gathered for them");
}
