//! Replays the recorded answers of a real API server against this one, in process. See README.md beside this file.

#![allow(missing_docs, clippy::unwrap_used)]

mod compare;
mod place;
mod play;
mod scenario;
mod server;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use play::Failure;
use scenario::Scenario;

/// Topics of which every scenario must pass.
const REQUIRED: [&str; 3] = ["crud", "discovery", "watch"];
/// What scenarios may need and this test does not run: it would take controllers, or minutes.
const NOT_HERE: [&str; 3] = ["namespace-controller", "gc-controller", "compaction-10s"];

#[test]
fn recorded_scenarios_get_the_recorded_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let only = std::env::var("GOLDEN_ONLY").ok();
    let mut scenarios = scenario::load(&folder.join("dev"));
    if let Some(only) = &only {
        scenarios.retain(|scenario| only.split(',').any(|wanted| scenario.name.contains(wanted)));
    }
    assert!(!scenarios.is_empty(), "no scenario is called so");
    let (skipped, scenarios): (Vec<_>, Vec<_>) =
        scenarios.into_iter().partition(|scenario| scenario.needs.iter().any(|need| NOT_HERE.contains(&need.as_str())));
    let failures = play_all(&scenarios);
    report(&scenarios, &skipped, &failures, only.is_some());
    if only.is_some() {
        assert!(failures.is_empty(), "{} of {} scenarios failed", failures.len(), scenarios.len());
    } else {
        check_known(&folder.join("known-failures.txt"), &scenarios, &failures);
    }
}

/// The failures, by scenario. Each scenario has a server, a runtime and a clock of its own.
fn play_all(scenarios: &[Scenario]) -> BTreeMap<String, Failure> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(failure) = play_one(scenario) {
                        failures.lock().unwrap().insert(scenario.name.clone(), failure);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

fn play_one(scenario: &Scenario) -> Option<Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let run = || {
        runtime.block_on(async {
            let server = server::Server::start().await;
            play::play(&server, scenario).await
        })
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Some(Failure {
            step: "?".to_owned(),
            request: String::new(),
            differences: vec!["the server panicked (see above)".to_owned()],
            answer: String::new(),
        })
    })
}

fn report(scenarios: &[Scenario], skipped: &[Scenario], failures: &BTreeMap<String, Failure>, verbose: bool) {
    let mut topics: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for scenario in scenarios {
        let (passed, total) = topics.entry(&scenario.topic).or_default();
        *passed += usize::from(!failures.contains_key(&scenario.name));
        *total += 1;
    }
    for (name, failure) in failures {
        println!("FAIL {name}: step {:?}\n     {}", failure.step, failure.request);
        let shown = if verbose { usize::MAX } else { 1 };
        for difference in failure.differences.iter().take(shown) {
            println!("     {difference}");
        }
        if verbose {
            println!("     --- the answer: {}", failure.answer);
        }
    }
    for scenario in skipped {
        println!("SKIP {} (needs {})", scenario.name, scenario.needs.join(", "));
    }
    for (topic, (passed, total)) in &topics {
        println!("{topic:<18} {passed:>4}/{total}");
    }
    println!("{:<18} {:>4}/{}", "all", scenarios.len() - failures.len(), scenarios.len());
}

/// The list of known failures is exact, so that it can only shrink.
fn check_known(list: &PathBuf, scenarios: &[Scenario], failures: &BTreeMap<String, Failure>) {
    let required = |name: &str| REQUIRED.iter().any(|topic| name.starts_with(&format!("{topic}/")));
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let known: BTreeSet<&str> =
        text.lines().map(|line| line.split('#').next().unwrap().trim()).filter(|name| !name.is_empty()).collect();
    if std::env::var("GOLDEN_KNOWN").is_ok_and(|what| what == "write") {
        let lines: String = failures.keys().filter(|name| !required(name)).map(|name| format!("{name}\n")).collect();
        std::fs::write(
            list,
            format!("# Scenarios that fail so far, one topic/name a line. It may only shrink.\n{lines}"),
        )
        .unwrap();
        return;
    }
    let mut faults = Vec::new();
    for scenario in scenarios {
        let (name, fails) = (scenario.name.as_str(), failures.contains_key(&scenario.name));
        match (fails, known.contains(name)) {
            (true, _) if required(name) => faults.push(format!("{name} fails, and its topic is required")),
            (true, false) => faults.push(format!("{name} fails, and is not known to")),
            (false, true) => faults.push(format!("{name} passes: take it off the list of known failures")),
            _ => {}
        }
    }
    let played: BTreeSet<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    faults.extend(known.difference(&played).map(|name| format!("{name} is listed, but was not played")));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
