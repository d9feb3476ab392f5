//! The layout that survives any one death: every role twice over three members of etcd. Each process, and each
//! member, is killed without a word while somebody writes and somebody watches. Nothing that was acknowledged is lost,
//! the watch misses nothing, and a deployment's pod runs again. Prints how long that took; with
//! `ARKTOS_SERVES_WITHIN=10` (seconds), on a quiet machine, it fails where it took longer.
//!
//! Takes a minute, and is skipped where there is no etcd:
//! `cargo test -p arktos-bin --features etcd --test available -- --nocapture`
#![cfg(feature = "etcd")]

mod clients;
#[path = "../../../arktos-store/tests/etcd_server/cluster.rs"]
mod etcd;
#[path = "../process/mod.rs"]
mod process;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clients::{Gateways, MAPS, Record};
use etcd::EtcdCluster;
use process::http::names;
use process::roles::{Place, Process};
use process::{PATIENCE, pause};
use serde_json::{Value, json};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
/// How many writes more must be acknowledged after each death.
const WRITES: usize = 20;

#[allow(clippy::disallowed_methods)] // other processes have no clock that could be stepped
fn now() -> Instant {
    Instant::now()
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !so() {
        assert!(now() < deadline, "{what} never came");
        pause();
    }
}

/// What `--store` is told, by a process that asks this member of etcd first.
fn store(etcd: &EtcdCluster, first: usize) -> String {
    let mut urls = etcd.urls();
    let count = urls.len();
    urls.rotate_left(first % count);
    format!("etcd:{}", urls.join(","))
}

/// One role of two processes.
struct Role {
    role: &'static str,
    name: &'static str,
    processes: Vec<Process>,
}

impl Role {
    fn start(place: &Place, etcd: &EtcdCluster, role: &'static str, name: &'static str) -> Self {
        let mut started = Self { role, name, processes: Vec::new() };
        for number in 0..2 {
            started.processes.push(started.process(place, etcd, number, &[]));
        }
        started
    }

    /// A process of it. Those with a store begin with different members of etcd.
    fn process(&self, place: &Place, etcd: &EtcdCluster, number: usize, at: &[&str]) -> Process {
        if self.role == "gateway" {
            return place.gateway(at);
        }
        let data = place.path(&format!("{}-{number}", self.name));
        let (data, store) = (data.to_str().expect("a path").to_owned(), store(etcd, number));
        let mut arguments = vec!["--name", self.name, "--data-dir", &data, "--store", &store];
        if self.role != "directory" {
            arguments.extend(["--directory", &place.found_at]);
        }
        place.serve(self.role, &[&arguments, at].concat())
    }

    /// Kills one of its processes without a word.
    fn kill(&mut self, number: usize) -> Vec<String> {
        let process = self.processes.remove(number);
        let at = |flag: &str, address: Option<std::net::SocketAddr>| {
            address.map(|address| [flag.to_owned(), address.to_string()]).into_iter().flatten()
        };
        let at = at("--listen", process.address).chain(at("--insecure-listen", process.insecure)).collect();
        process.kill();
        at
    }

    /// Starts it again where it was.
    fn revive(&mut self, place: &Place, etcd: &EtcdCluster, number: usize, at: &[String]) {
        let at: Vec<&str> = at.iter().map(String::as_str).collect();
        let again = self.process(place, etcd, number, &at);
        self.processes.insert(number, again);
    }
}

/// The region, and those who use it.
struct Region {
    place: Place,
    etcd: EtcdCluster,
    roles: Vec<Role>,
    _hosts: Process,
    gateways: Arc<Gateways>,
    record: Arc<Record>,
    deployments: usize,
}

impl Region {
    /// Nothing where there is no etcd.
    fn start() -> Option<Self> {
        let mut place = Place::new();
        let etcd = EtcdCluster::start()?;
        let directory = Role::start(&place, &etcd, "directory", "directory");
        let urls = directory.processes.iter().map(|it| format!("https://{}", it.address.expect("it serves")));
        place.found_at = urls.collect::<Vec<_>>().join(",");
        let manager = Role::start(&place, &etcd, "resource-manager", "rm-1");
        let partition = Role::start(&place, &etcd, "partition", "tp-1");
        let gateway = Role::start(&place, &etcd, "gateway", "gateway");
        let hosts = place.hosts_of("rm-1", &manager.processes, 2, "host");
        let addresses = gateway.processes.iter().filter_map(|it| it.insecure).collect();
        let roles = vec![directory, manager, partition, gateway];
        let gateways = Arc::new(Gateways::new(addresses));
        let mut region = Self { place, etcd, roles, _hosts: hosts, gateways, record: Arc::default(), deployments: 0 };
        let tenant = json!({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": "acme"}});
        let made = |answer: Option<(u16, Value)>| answer.is_some_and(|(code, _)| [201, 409].contains(&code));
        until("the tenant", || made(region.gateways.ask("root-token", "POST", "/api/v1/tenants", Some(&tenant))));
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        until("its account", || region.get(account).is_some_and(|(code, _)| code == 200));
        region.deploys();
        Some(region)
    }

    fn get(&self, path: &str) -> Option<(u16, Value)> {
        self.gateways.ask("acme-token", "GET", path, None)
    }

    /// Makes a deployment, and waits until its pod runs: controllers, scheduler, claims, hosts and their reports work.
    fn deploys(&mut self) {
        self.deployments += 1;
        let name = format!("d-{}", self.deployments);
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}},
        });
        let (code, made) = self.gateways.surely("acme-token", "POST", DEPLOYMENTS, Some(&deployment));
        assert!([201, 409].contains(&code), "{made}");
        let path = format!("{DEPLOYMENTS}/{name}");
        let available = |answer: &Value| answer["status"]["availableReplicas"] == 1;
        until(&format!("the pod of {name}"), || self.get(&path).is_some_and(|(_, answer)| available(&answer)));
    }

    /// Waits until the region serves again after a death.
    fn serves_again(&mut self, what: &str, since: Instant) {
        let before = self.record.written.lock().len();
        until(&format!("the next writes after the death of {what}"), || {
            self.record.written.lock().len() >= before + WRITES
        });
        let gap = self.record.longest_gap(since);
        self.deploys();
        let took = now().duration_since(since);
        println!("{what}: {} ms without a write, {} ms until a new pod ran", gap.as_millis(), took.as_millis());
        let limit = std::env::var("ARKTOS_SERVES_WITHIN").ok().and_then(|text| text.parse().ok());
        assert!(limit.is_none_or(|limit| took <= Duration::from_secs(limit)), "{what}: {took:?}");
    }

    /// Every process, and every member of etcd, dies once and comes back.
    fn deaths(&mut self) {
        self.serves_again("nobody", now());
        for (role, number) in (0..self.roles.len()).flat_map(|role| [(role, 0), (role, 1)]) {
            let since = now();
            let at = self.roles[role].kill(number);
            self.serves_again(&format!("{} {number}", self.roles[role].name), since);
            self.roles[role].revive(&self.place, &self.etcd, number, &at);
        }
        for member in 0..3 {
            let since = now();
            self.etcd.kill(member);
            self.serves_again(&format!("etcd {member}"), since);
            self.etcd.revive(member);
        }
    }
}

#[test]
fn any_one_process_and_any_one_member_may_die_while_clients_write_and_watch() {
    let Some(mut region) = Region::start() else { return };
    let (_, list) = region.gateways.surely("acme-token", "GET", MAPS, None);
    let begin = list["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned();
    let before: BTreeSet<String> = names(&list).into_iter().collect();
    let (record, gateways) = (region.record.clone(), region.gateways.clone());
    let writer = std::thread::spawn({
        let (record, gateways) = (record.clone(), gateways.clone());
        move || record.write(&gateways)
    });
    let watcher = std::thread::spawn({
        let record = record.clone();
        move || record.watch(&gateways, &begin)
    });
    region.deaths();
    record.written_enough.store(true, Ordering::SeqCst);
    writer.join().expect("it ends");

    let (_, list) = region.gateways.surely("acme-token", "GET", MAPS, None);
    let there: BTreeSet<String> = names(&list).into_iter().filter(|name| !before.contains(name)).collect();
    let there: BTreeSet<String> = there.iter().filter_map(|name| Some(name.rsplit_once('/')?.1.to_owned())).collect();
    let written: BTreeSet<String> = record.written.lock().iter().map(|(name, _)| name.clone()).collect();
    assert!(written.is_subset(&there), "lost: {:?}", written.difference(&there).collect::<Vec<_>>());
    until("all that is there, in the watch", || record.seen.lock().len() >= there.len());
    record.seen_enough.store(true, Ordering::SeqCst);
    watcher.join().expect("it ends");
    assert_eq!(*record.seen.lock(), there, "the watch tells what is there, and nothing else");
    assert_eq!(*record.faults.lock(), Vec::<String>::new());
    let (writes, resumed) = (written.len(), record.resumed.load(Ordering::SeqCst));
    println!("{writes} writes were acknowledged, all are there and were watched; the watch went on {resumed} times");
    assert!(resumed > 0, "the watch was never cut off: nothing was tested of it");
}
