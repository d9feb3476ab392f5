//! A region that grows while it works: partitions and resource managers join through the directory, and nothing is
//! started anew. Against the real programs, over sockets.

mod process;

use std::time::Instant;

use process::http::{Caller, names};
use process::roles::{Place, Process, caller};
use process::{PATIENCE, pause};
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PLACEMENTS: &str = "/apis/region.arktos.io/v1/tenantplacements";
const PARTITIONS: &str = "/apis/region.arktos.io/v1/tenantpartitions";

/// A region with one partition and one resource manager with two hosts, an aggregator, and a gateway.
struct Region {
    place: Place,
    directory: Process,
    aggregator: String,
    gateway: Process,
    others: Vec<Process>,
}

impl Region {
    fn start() -> Self {
        let mut place = Place::new();
        let directory = place.keeper("directory", "directory", &[]);
        place.found_at = format!("https://{}", directory.address.expect("it serves"));
        let manager = place.member("resource-manager", "rm-1", &[]);
        let partition = place.member("partition", "tp-1", &[]);
        let hosts = place.hosts("rm-1", &manager, 2, "host-1");
        let found_at = place.found_at.clone();
        let serving = place.serve("aggregator", &["--directory", &found_at]);
        let aggregator = place.component("aggregator", &format!("https://{}", serving.address.expect("it serves")));
        let gateway = place.gateway(&["--aggregator", &aggregator]);
        Self { place, directory, aggregator, gateway, others: vec![manager, partition, hosts, serving] }
    }

    fn root(&self) -> Caller<'static> {
        caller(&self.gateway, "root-token")
    }

    /// A second partition, and a second resource manager with two hosts.
    fn grow(&mut self) {
        let manager = self.place.member("resource-manager", "rm-2", &[]);
        let partition = self.place.member("partition", "tp-2", &[]);
        let hosts = self.place.hosts("rm-2", &manager, 2, "host-2");
        self.others.extend([manager, partition, hosts]);
    }

    /// The partition that a tenant is placed in.
    fn placed(&self, tenant: &str) -> String {
        let (code, placement) = self.root().get(&format!("{PLACEMENTS}/{tenant}"));
        assert_eq!(code, 200, "{placement}");
        placement["spec"]["partition"].as_str().expect("a partition").to_owned()
    }
}

fn tenant(name: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": name, "annotations": annotations}})
}

fn deployment(replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                {"name": "main", "image": "web:1", "resources": {"requests": {"cpu": "1"}}}]}}},
    })
}

/// Asks until the answer is as expected.
fn until(caller: &Caller<'_>, path: &str, fits: impl Fn(u16, &Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, answer) = caller.get(path);
        if fits(code, &answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path} never came to what was expected: {code} {answer}");
        pause();
    }
}

fn eventually(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what} never came");
        pause();
    }
}

/// The hosts of the pods that run.
fn hosts(pods: &Value) -> Vec<String> {
    let items = pods["items"].as_array().map_or(&[][..], Vec::as_slice);
    let running = items.iter().filter(|pod| pod["status"]["phase"] == "Running");
    running.map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Deploys until pods run on hosts of both resource managers.
fn deploys_everywhere(tenant: &Caller<'_>) {
    until(tenant, "/api/v1/namespaces/default/serviceaccounts/default", |code, _| code == 200);
    let (code, made) = tenant.post(DEPLOYMENTS, &deployment(8));
    assert_eq!(code, 201, "{made}");
    let pods = until(tenant, "/api/v1/pods", |_, pods| hosts(pods).len() == 8);
    for prefix in ["host-1", "host-2"] {
        assert!(hosts(&pods).iter().any(|host| host.starts_with(prefix)), "{:?}", hosts(&pods));
    }
}

#[test]
fn partitions_and_resource_managers_join_while_everybody_works() {
    let mut region = Region::start();
    let root = region.root();
    until(&root, &format!("{PLACEMENTS}/system"), |code, _| code == 200);
    let (code, made) = root.post("/api/v1/tenants", &tenant("acme", &json!({})));
    assert_eq!(code, 201, "{made}");
    assert_eq!(region.placed("acme"), "tp-1");
    let acme = caller(&region.gateway, "acme-token");
    until(&acme, "/api/v1/namespaces/default/serviceaccounts/default", |code, _| code == 200);
    until(&root, "/api/v1/nodes", |_, nodes| nodes["items"].as_array().is_some_and(|nodes| nodes.len() == 2));
    let pods = root.watch("/api/v1/tenants/all/pods?watch=1");
    let nodes = root.watch("/api/v1/nodes?watch=1");

    region.grow();
    until(&root, PARTITIONS, |_, list| names(list).len() == 2);
    eventually("the new hosts, in a watch that was open before", || nodes.names(|_| true).len() == 4);
    until(&root, PARTITIONS, |_, list| list["items"].as_array().is_some_and(|all| all.len() == 2));
    eventually("a tenant in the new partition", || {
        let (code, made) = root.post("/api/v1/tenants", &tenant("globex", &json!({})));
        assert!([201, 409].contains(&code), "{made}");
        region.placed("globex") == "tp-2"
    });
    let globex = caller(&region.gateway, "globex-token");
    deploys_everywhere(&globex);
    deploys_everywhere(&acme);
    let of = |tenant: &'static str| move |pod: &Value| pod["metadata"]["tenant"] == tenant;
    eventually("all pods of both, in a watch that was open before", || {
        pods.names(of("acme")).len() == 8 && pods.names(of("globex")).len() == 8
    });
    assert!(region.others.iter_mut().all(Process::runs), "nothing was started anew");

    // A gateway that comes later sees the same.
    let late = region.place.gateway(&["--aggregator", &region.aggregator]);
    let pods = until(&caller(&late, "root-token"), "/api/v1/tenants/all/pods", |_, pods| hosts(pods).len() == 16);
    assert_eq!(names(&pods).iter().filter(|name| name.starts_with("globex/")).count(), 8);
    until(&caller(&late, "globex-token"), "/api/v1/pods", |_, pods| hosts(pods).len() == 8);

    // Nobody is sent to somebody else's partition.
    for gateway in [&region.gateway, &late] {
        assert_eq!(caller(gateway, "root-token").get("/api/v1/tenants/nobody/pods").0, 404);
        assert_eq!(caller(gateway, "acme-token").get("/api/v1/tenants/nobody/pods").0, 403);
        assert_eq!(caller(gateway, "acme-token").get("/api/v1/tenants/globex/pods").0, 403);
        assert_eq!(caller(gateway, "acme-token").get(PLACEMENTS).0, 403);
        assert_eq!(caller(gateway, "acme-token").post("/api/v1/tenants", &tenant("mine", &json!({}))).0, 403);
    }

    // Without the directory, all goes on but the making of tenants.
    let address = region.directory.address.expect("it serves").to_string();
    region.directory.kill();
    for gateway in [&region.gateway, &late] {
        for token in ["acme-token", "globex-token"] {
            let tenant = caller(gateway, token);
            let name = format!("during-{}", gateway.id());
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            assert_eq!(tenant.post("/api/v1/namespaces/default/configmaps", &map).0, 201);
            assert_eq!(hosts(&tenant.get("/api/v1/pods").1).len(), 8);
        }
        let root = caller(gateway, "root-token");
        let (code, refused) = root.post("/api/v1/tenants", &tenant("late", &json!({})));
        assert_eq!(code, 503, "{refused}");
        assert_eq!(root.get("/api/v1/tenants/late/pods").0, 503, "nobody knows");
    }
    region.directory = region.place.keeper("directory", "directory", &["--listen", &address]);
    eventually("a tenant that is made again", || {
        caller(&late, "root-token").post("/api/v1/tenants", &tenant("late", &json!({}))).0 == 201
    });
}

#[test]
fn gateways_that_race_agree_on_a_tenants_place_and_tenants_may_ask_for_one() {
    let mut region = Region::start();
    region.grow();
    let other = region.place.gateway(&["--aggregator", &region.aggregator]);
    for gateway in [&region.gateway, &other] {
        let root = caller(gateway, "root-token");
        until(&root, PARTITIONS, |_, list| list["items"].as_array().is_some_and(|all| all.len() == 2));
    }
    for round in 0..10 {
        let name = format!("t-{round}");
        let made = std::thread::scope(|scope| {
            let callers = [&region.gateway, &other, &region.gateway, &other].map(|it| caller(it, "root-token"));
            let body = tenant(&name, &json!({}));
            let post = |caller: Caller<'static>| {
                let body = body.clone();
                scope.spawn(move || caller.post("/api/v1/tenants", &body).0)
            };
            let all: Vec<_> = callers.into_iter().map(post).collect();
            all.into_iter().map(|it| it.join().expect("it ends")).collect::<Vec<_>>()
        });
        assert_eq!(made.iter().filter(|code| **code == 201).count(), 1, "{made:?}");
        assert!(made.iter().all(|code| [201, 409].contains(code)), "{made:?}");
    }
    let root = region.root();
    let all = until(&root, "/api/v1/tenants/all/namespaces?fieldSelector=metadata.name%3Ddefault", |code, list| {
        code == 200 && names(list).iter().filter(|name| name.starts_with("t-")).count() == 10
    });
    assert_eq!(names(&all).len(), 11, "each is in one partition: {all}");
    let of = |partition: &str| (0..10).filter(|round| region.placed(&format!("t-{round}")) == partition).count();
    assert!(of("tp-1") >= 3 && of("tp-2") >= 3, "{} and {}", of("tp-1"), of("tp-2"));

    let draining = json!({"spec": {"phase": "Draining"}, "metadata": {"labels": {"zone": "eu"}}});
    assert_eq!(root.patch(&format!("{PARTITIONS}/tp-1"), &draining).0, 200);
    let pinned = |partition: &str| json!({"arktos.io/partition": partition});
    eventually("a partition that takes no new tenants", || {
        root.post("/api/v1/tenants?dryRun=All", &tenant("pinned", &pinned("tp-1"))).0 == 403
    });
    assert_eq!(root.post("/api/v1/tenants", &tenant("pinned", &pinned("tp-2"))).0, 201);
    assert_eq!(region.placed("pinned"), "tp-2");
    assert_eq!(root.patch(&format!("{PARTITIONS}/tp-1"), &json!({"spec": {"phase": "Active"}})).0, 200);
    let selected = json!({"arktos.io/partition-selector": "zone in (eu)"});
    eventually("a tenant where it asked to be", || {
        root.post("/api/v1/tenants", &tenant("selected", &selected)).0 == 201
    });
    assert_eq!(region.placed("selected"), "tp-1");
    // What could not be made takes no place.
    assert_eq!(root.post("/api/v1/tenants", &tenant("Not_A_Name", &json!({}))).0, 422);
    assert_eq!(root.get(&format!("{PLACEMENTS}/Not_A_Name")).0, 404);
}
