//! Histories of many clients on real threads, checked against the order that the store names: see [`linear`].
//!
//! `ARKTOS_HISTORIES=20 cargo test -p arktos-store --all-features --test linearizability` checks twenty times as many.

mod backends;
#[cfg(feature = "etcd")]
mod etcd_server;
#[cfg(feature = "log")]
mod faulty;
mod linear;

use std::sync::Arc;

use arktos_core::{Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::conformance::Backend;
use arktos_store::{Engine, EngineConfig};
use linear::load::Stage;
use linear::{Counted, Op, check};

const CLIENTS: usize = 16;
const OPERATIONS: usize = 2000;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)))
}

/// How many histories are checked: so many, or as many times more as the environment asks for.
fn histories(usual: u64) -> u64 {
    let times = std::env::var("ARKTOS_HISTORIES").ok().and_then(|times| times.parse().ok());
    usual * times.unwrap_or(1)
}

async fn verify(stage: &Stage, history: &[Op], engine: &Engine, start: Revision, shared: bool) -> Counted {
    let order = stage.order(engine, start).await;
    match check(history, &order, shared) {
        Ok(counted) => counted,
        Err(violation) => panic!("{violation:?}"),
    }
}

/// A run in which nothing of a sort happened has not checked it.
fn assert_worth(counted: &Counted, histories: u64, unknown: bool) {
    println!("{histories} histories: {counted:?}");
    let least = usize::try_from(histories).expect("small");
    assert_eq!(counted.operations, least * OPERATIONS);
    assert!(counted.committed > least * 200 && counted.latest > least * 100 && counted.other_reads > least * 100);
    assert!(counted.conflicts > least * 10 && counted.guarded > least * 10 && counted.limits > least * 5);
    assert!(counted.changed_nothing > least * 5);
    assert!(counted.overlapping > counted.operations / 20, "the clients took turns");
    assert!(!unknown || (counted.unknown > least && counted.unknown_happened > 0), "no outcome was unknown");
}

/// Checks histories over a backend that every one opens anew.
async fn local(histories: u64, unknown: bool, make: impl Fn() -> Box<dyn Backend>) {
    let mut sum = Counted::default();
    for seed in 0..histories {
        let backend = make();
        let (engine, _) = backend.open(EngineConfig::default(), clock()).await.expect("opens").into_parts();
        let stage = Stage::new("one");
        let history = stage.play(std::slice::from_ref(&engine), 0, CLIENTS, OPERATIONS / CLIENTS, seed).await;
        sum.add(&verify(&stage, &history, &engine, Revision::ZERO, false).await);
        engine.close().await;
    }
    assert_worth(&sum, histories, unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_in_memory_is_linearizable() {
    local(histories(100), false, || Box::new(backends::Memory)).await;
}

#[cfg(feature = "log")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_is_linearizable() {
    local(histories(20), true, || Box::new(backends::Log(tempfile::tempdir().expect("a directory")))).await;
}

#[cfg(feature = "sled")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sled_is_linearizable() {
    local(histories(10), true, || Box::new(backends::Sled(tempfile::tempdir().expect("a directory")))).await;
}

/// The disk breaks or the machine stops somewhere in the middle; the second life goes on with what is left, and both
/// are one history.
#[cfg(feature = "log")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_is_linearizable_across_a_crash() {
    use arktos_store::Random;
    use arktos_store::clock::SeededRandom;
    use arktos_store::log::{LogJournal, LogOptions};
    use faulty::{Fault, FaultyDisk};

    let open = |disk: FaultyDisk| {
        let journal = LogJournal::on(Arc::new(disk), LogOptions::default()).expect("opens");
        Engine::open(Box::new(journal), EngineConfig::default(), clock()).expect("opens")
    };
    let histories = histories(50);
    let (mut sum, mut crashed) = (Counted::default(), 0);
    for seed in 0..histories {
        let random = SeededRandom::new(seed);
        let (disk, stage) = (FaultyDisk::default(), Stage::new("one"));
        let engine = open(disk.clone());
        let mut history = stage.play(std::slice::from_ref(&engine), 0, CLIENTS, 50, seed).await;
        let fault = [Fault::Crash, Fault::TornWrite, Fault::Error][usize::try_from(seed % 3).expect("small")];
        disk.fail_after(random.next() % 40, fault);
        history.extend(stage.play(std::slice::from_ref(&engine), 0, CLIENTS, 25, seed + 1000).await);
        engine.close().await;
        crashed += u64::from(disk.has_crashed());
        let left = if seed % 2 == 0 { disk.after_crash(&random) } else { disk.after_kill() };
        let engine = open(left);
        history.extend(stage.play(std::slice::from_ref(&engine), 1, CLIENTS, 50, seed + 2000).await);
        sum.add(&verify(&stage, &history, &engine, Revision::ZERO, false).await);
        engine.close().await;
    }
    assert!(sum.refused > 0 && crashed > 0, "no disk has failed");
    assert_worth(&sum, histories, true);
}

/// Two engines over one etcd: every read through either obeys the one order.
#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn engines_over_one_etcd_are_linearizable() {
    let Some(server) = etcd_server::EtcdServer::start() else { return };
    let backend = backends::Etcd(server);
    let mut engines = Vec::new();
    for _ in 0..2 {
        let (engine, feeds) = backend.open(EngineConfig::default(), clock()).await.expect("opens").into_parts();
        feeds.into_iter().for_each(|feed| drop(tokio::spawn(feed)));
        engines.push(engine);
    }
    let histories = histories(10);
    let mut sum = Counted::default();
    for seed in 0..histories {
        let stage = Stage::new(&format!("history-{seed}"));
        let start = engines[0].latest().await.expect("reads").revision();
        let history = stage.play(&engines, 0, CLIENTS, OPERATIONS / CLIENTS, seed).await;
        sum.add(&verify(&stage, &history, &engines[0], start, true).await);
        assert_eq!(stage.order(&engines[1], start).await, stage.order(&engines[0], start).await);
    }
    for engine in engines {
        engine.close().await;
    }
    assert_worth(&sum, histories, true);
}
