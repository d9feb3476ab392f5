//! The recorded answers of a real API server (`arktos-api/tests/golden`), and the real program: played over its socket
//! as a plain server and in two tenants, all at the same time.

#![allow(missing_docs, clippy::unwrap_used)] // a test fails by panicking

#[path = "../../../arktos-api/tests/golden/compare.rs"]
mod compare;
#[path = "../../../arktos-api/tests/golden/place.rs"]
mod place;
#[path = "../../../arktos-api/tests/golden/play.rs"]
mod play;
#[path = "../process/mod.rs"]
mod process;
#[path = "../../../arktos-api/tests/golden/scenario.rs"]
#[allow(dead_code)]
mod scenario;
mod server;
#[path = "../../../arktos-api/tests/golden/value.rs"]
#[allow(dead_code)]
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use play::Failure;
use process::Region;
use scenario::Scenario;
use server::Server;

/// Who plays: `system` as a plain server, the others below their prefix.
const TENANTS: [&str; 3] = ["system", "acme", "globex"];
/// How many scenarios are played at a time: most of their time they wait.
const AT_ONCE: usize = 12;
/// Controllers, as the real server had them, and those that make a tenant what it is.
const CONTROLLERS: &str = "--controllers=tenant,namespace,garbage-collector";

#[test]
fn recorded_scenarios_get_the_recorded_answers_over_a_socket_as_a_plain_server_and_in_two_tenants_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens.csv");
    std::fs::write(&tokens, server::tokens(&TENANTS)).unwrap();
    let arguments = [
        "--insecure-listen=127.0.0.1:0",
        "--hosts=0",
        "--store=memory",
        "--tenants=acme,globex",
        "--disable-admission-plugins=ServiceAccount",
        CONTROLLERS,
        "--token-auth-file",
        tokens.to_str().unwrap(),
    ];
    let region = Region::start(&directory.path().join("data"), &arguments);
    let address = region.insecure.unwrap();
    let only = std::env::var("GOLDEN_ONLY").unwrap_or_default();
    let mut scenarios = scenario::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../arktos-api/tests/golden/dev"));
    scenarios.retain(|scenario| !scenario.needs.iter().any(|need| need == "compaction-10s"));
    scenarios.retain(|scenario| only.is_empty() || only.split(',').any(|wanted| scenario.name.contains(wanted)));
    let servers = TENANTS.map(|tenant| Server { address, tenant });
    let failures = play_all(&servers, &scenarios);
    for ((tenant, name), failure) in &failures {
        println!("FAIL {tenant} {name}: step {:?}\n     {}", failure.step, failure.request);
        println!("     {}", failure.differences.join("\n     "));
        if !only.is_empty() {
            println!("     --- the answer: {}", failure.answer);
        }
    }
    if only.is_empty() {
        check_known(&failures);
    } else {
        assert!(failures.is_empty(), "{} failed", failures.len());
    }
}

type Failures = BTreeMap<(String, String), Failure>;

fn play_all(servers: &[Server], scenarios: &[Scenario]) -> Failures {
    let plays: Vec<(&Server, &Scenario)> =
        scenarios.iter().flat_map(|scenario| servers.iter().map(move |server| (server, scenario))).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Failures::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((server, scenario)) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    if let Some(failure) = runtime.block_on(play::play(server, scenario)) {
                        let who = (server.tenant.to_owned(), scenario.name.clone());
                        failures.lock().unwrap().insert(who, failure);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

/// The list of what differs is exact, so that it can only shrink. `tenant` stands for each of the two.
fn check_known(failures: &Failures) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/known.txt")).unwrap();
    let lines = text.lines().map(|line| line.split('#').next().unwrap().trim()).filter(|line| !line.is_empty());
    let mut known = BTreeSet::new();
    for (who, name) in lines.map(|line| line.split_once(' ').unwrap()) {
        let tenants = if who == "tenant" { vec!["acme", "globex"] } else { vec![who] };
        known.extend(tenants.into_iter().map(|tenant| (tenant.to_owned(), name.to_owned())));
    }
    let found: BTreeSet<(String, String)> = failures.keys().cloned().collect();
    let unexpected: Vec<_> = found.difference(&known).collect();
    let passing: Vec<_> = known.difference(&found).collect();
    assert!(unexpected.is_empty(), "not known to fail: {unexpected:?}");
    assert!(passing.is_empty(), "these pass, take them off the list: {passing:?}");
}
