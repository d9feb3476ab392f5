//! A region that grows and shrinks while it works: partitions and resource managers join and leave through the
//! directory, and nothing is started anew. Against the real programs, over sockets.

mod aggregators;
mod joins;
#[path = "../process/mod.rs"]
mod process;
mod removals;
mod tokens;

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
    others: Vec<(&'static str, Process)>,
}

impl Region {
    fn start() -> Self {
        let mut place = Place::new();
        let directory = place.keeper("directory", "directory", &[]);
        place.found_at = format!("https://{}", directory.address.expect("it serves"));
        let manager = manager(&place, "rm-1");
        let partition = place.member("partition", "tp-1", &[]);
        let hosts = place.hosts("rm-1", &manager, 2, "host-1");
        let found_at = place.found_at.clone();
        let serving = place.serve("aggregator", &["--directory", &found_at]);
        let aggregator = place.component("aggregator", &format!("https://{}", serving.address.expect("it serves")));
        let gateway = place.gateway(&["--aggregator", &aggregator]);
        let others = vec![("rm-1", manager), ("tp-1", partition), ("hosts-1", hosts), ("aggregator", serving)];
        Self { place, directory, aggregator, gateway, others }
    }

    fn root(&self) -> Caller<'static> {
        caller(&self.gateway, "root-token")
    }

    /// A second partition, and a second resource manager with two hosts.
    fn grow(&mut self) {
        let manager = manager(&self.place, "rm-2");
        let partition = self.place.member("partition", "tp-2", &[]);
        let hosts = self.place.hosts("rm-2", &manager, 2, "host-2");
        self.others.extend([("rm-2", manager), ("tp-2", partition), ("hosts-2", hosts)]);
    }

    /// Whether all of it still runs.
    fn runs(&mut self) -> bool {
        self.others.iter_mut().all(|(_, process)| process.runs())
    }

    /// The administrator at a resource manager itself.
    fn at_manager(&self, name: &str) -> Caller<'static> {
        let (_, process) = self.others.iter().find(|(known, _)| *known == name).expect("it was started");
        caller(process, "root-token")
    }

    /// The partition that a tenant is placed in.
    fn placed(&self, tenant: &str) -> String {
        let (code, placement) = self.root().get(&format!("{PLACEMENTS}/{tenant}"));
        assert_eq!(code, 200, "{placement}");
        placement["spec"]["partition"].as_str().expect("a partition").to_owned()
    }
}

/// A resource manager that can be asked itself, too.
fn manager(place: &Place, name: &str) -> Process {
    let tokens = place.path("tokens.csv");
    let tokens = tokens.to_str().expect("a path in text");
    place.member("resource-manager", name, &["--insecure-listen", "127.0.0.1:0", "--token-auth-file", tokens])
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

/// Gives a tenant's deployment another size, and waits until so many pods run.
fn scales(tenant: &Caller<'_>, replicas: usize) -> Value {
    let scale = json!({"spec": {"replicas": replicas}});
    assert_eq!(tenant.patch(&format!("{DEPLOYMENTS}/web"), &scale).0, 200);
    tenant.until("/api/v1/pods", |_, pods| hosts(pods).len() == replicas && names(pods).len() == replicas)
}

/// Deploys until pods run on hosts of both resource managers: the scheduler hears of new ones by itself, a moment
/// sooner or later.
fn deploys_everywhere(tenant: &Caller<'_>) {
    tenant.until("/api/v1/namespaces/default/serviceaccounts/default", |code, _| code == 200);
    let (code, made) = tenant.post(DEPLOYMENTS, &deployment(0));
    assert_eq!(code, 201, "{made}");
    eventually("pods on hosts of both", || {
        let pods = scales(tenant, 8);
        let on = |prefix: &str| hosts(&pods).iter().any(|host| host.starts_with(prefix));
        let everywhere = on("host-1") && on("host-2");
        if !everywhere {
            scales(tenant, 0);
        }
        everywhere
    });
}
