//! How fast is the store on this machine? A quick look, not a benchmark:
//! `cargo run --release -p arktos-store --example rates [directory]`.
#![allow(clippy::disallowed_methods)] // it measures time

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, Expect};
use arktos_store::log::{LogJournal, LogOptions};
use arktos_store::select::{Field, FieldTest};
use arktos_store::{Engine, EngineConfig, Selection, Within};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).map_or_else(|| PathBuf::from("rates-data"), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let disk = sync_rate(&directory)?;
    println!("fdatasync of 1 KiB, in place     {disk:>10.0} /s");
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    for writers in [1, 16, 256] {
        let path = directory.join(format!("log-{writers}"));
        let journal = LogJournal::open(&path, LogOptions::default())?;
        let engine = Engine::open(Box::new(journal), EngineConfig::default(), clock.clone())?;
        let (rate, cpu) = runtime.block_on(write(&engine, writers, Duration::from_secs(3)));
        println!("durable writes, {writers:>3} writers     {rate:>10.0} /s  {cpu:>6.1} µs CPU each");
        runtime.block_on(engine.close());
        drop(engine);
        let start = Instant::now();
        let journal = LogJournal::open(&path, LogOptions::default())?;
        let engine = Engine::open(Box::new(journal), EngineConfig::default(), clock.clone())?;
        let events = engine.snapshot().revision().0;
        println!("  opened again with {events} events in {:?}", start.elapsed());
        drop(engine);
        std::fs::remove_dir_all(&path)?;
    }
    let engine = Engine::memory(clock.clone());
    let (rate, cpu) = runtime.block_on(write(&engine, 256, Duration::from_secs(2)));
    println!("writes in memory, 256 writers    {rate:>10.0} /s  {cpu:>6.1} µs CPU each");
    runtime.block_on(fan_out(clock.clone()));
    runtime.block_on(selective(clock.clone()));
    runtime.block_on(list(clock));
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn sync_rate(directory: &std::path::Path) -> std::io::Result<f64> {
    use std::io::{Seek, Write};
    std::fs::create_dir_all(directory)?;
    let path = directory.join("sync");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0; 4 << 20])?;
    file.sync_all()?;
    file.rewind()?;
    let start = Instant::now();
    for _ in 0..1000 {
        file.write_all(&[1; 1024])?;
        file.sync_data()?;
    }
    std::fs::remove_file(path)?;
    Ok(1000.0 / start.elapsed().as_secs_f64())
}

fn pods() -> GroupResource {
    GroupResource::core("pods")
}

fn key(number: usize) -> ObjectKey {
    let namespace = format!("ns-{}", number % 50);
    ObjectKey { resource: pods(), path: ObjectPath::new("acme", &namespace, &format!("pod-{number:07}")) }
}

fn object(type_meta: &Arc<TypeMeta>, number: usize, bytes: usize) -> Encoded {
    let value = serde_json::json!({
        "metadata": {"name": format!("pod-{number:07}"), "uid": format!("{number:036}"), "labels": {"app": "web"}},
        "spec": {"nodeName": format!("node-{}", number % 5000), "filler": "x".repeat(bytes.saturating_sub(200))},
    });
    let object = Object::from_value(value).unwrap_or_default();
    Encoded::encode(type_meta, &object, &[&["spec", "nodeName"]]).expect("encodes")
}

fn type_meta() -> Arc<TypeMeta> {
    Arc::new(TypeMeta::new("", "v1", "Pod"))
}

/// Conditional updates by many writers, each of its own object.
async fn write(engine: &Engine, writers: usize, time: Duration) -> (f64, f64) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let object = object(&type_meta(), writer, 1024);
                let (mut expect, mut writes) = (Expect::Absent, 0_u64);
                while start.elapsed() < time {
                    let commit = Commit::one(key(writer), expect, Change::put(object.clone()));
                    let committed = engine.commit(commit).await.expect("commits");
                    expect = Expect::At(committed.revision);
                    writes += 1;
                }
                writes
            })
        })
        .collect();
    let mut writes = 0;
    for task in tasks {
        writes += task.await.expect("runs");
    }
    let writes = writes as f64;
    (writes / start.elapsed().as_secs_f64(), (cpu_seconds() - cpu) * 1e6 / writes)
}

/// A thousand watchers of one kind, all of whom see everything.
async fn fan_out(clock: Arc<ManualClock>) {
    let engine = Engine::memory(clock);
    let start = Instant::now();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let mut cursor = engine.watch(Selection::all(pods(), Within::Everywhere), Revision::ZERO).expect("watches");
            tokio::spawn(async move {
                while cursor.revision() < Revision(2000) {
                    cursor.next().await.expect("delivers");
                }
            })
        })
        .collect();
    let object = object(&type_meta(), 0, 1024);
    for number in 0..2000 {
        let commit = Commit::one(key(number), Expect::Absent, Change::put(object.clone()));
        engine.commit(commit).await.expect("commits");
        if number % 8 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for task in tasks {
        task.await.expect("runs");
    }
    println!("events to 1,000 watchers         {:>10.0} /s", 2_000_000.0 / start.elapsed().as_secs_f64());
}

/// Many watchers, each of whom sees the pods of one node.
async fn selective(clock: Arc<ManualClock>) {
    for watchers in [1_000_usize, 100_000] {
        let engine = Engine::memory(clock.clone());
        let cursors: Vec<_> = (0..watchers)
            .map(|number| {
                let test = FieldTest { field: Field::At(0), value: format!("node-{number}"), equal: true };
                let selection = Selection { fields: vec![test], ..Selection::all(pods(), Within::Everywhere) };
                let mut cursor = engine.watch(selection, Revision::ZERO).expect("watches");
                assert!(cursor.try_next().expect("waits").is_none());
                cursor
            })
            .collect();
        let type_meta = type_meta();
        let objects: Vec<Encoded> = (0..20_000).map(|number| object(&type_meta, number, 1024)).collect();
        let start = Instant::now();
        for (number, object) in objects.into_iter().enumerate() {
            let commit = Commit::one(key(number), Expect::Absent, Change::put(object));
            engine.commit(commit).await.expect("commits");
        }
        println!("commits beside {watchers:>6} selective  {:>9.0} /s", 20_000.0 / start.elapsed().as_secs_f64());
        drop(cursors);
    }
}

async fn list(clock: Arc<ManualClock>) {
    let engine = Engine::memory(clock);
    let type_meta = type_meta();
    for number in 0..150_000 {
        let commit = Commit::one(key(number), Expect::Absent, Change::put(object(&type_meta, number, 1024)));
        engine.commit(commit).await.expect("commits");
    }
    let start = Instant::now();
    let snapshot = engine.snapshot();
    let listed =
        snapshot.range(&pods(), &Within::Everywhere, None).map(|stored| stored.object.tail().len()).sum::<usize>();
    let each = start.elapsed().as_nanos() / 150_000;
    println!("list of 150,000 objects          {each:>10} ns an object ({} MiB)", listed >> 20);
}

/// What this process has used, in seconds; zero where the system does not say.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
