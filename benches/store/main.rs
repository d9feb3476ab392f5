//! The store beside etcd and beside what the machine gives: whole systems, so no criterion. What each measurement does
//! is said where it stands.
//!
//!     cargo xtask bench store [--quick] [--json FILE] [--only MEASUREMENT]
#![allow(clippy::disallowed_methods)] // it measures time, and paces load

mod cold_start;
mod delivery;
#[cfg(feature = "bench-etcd")]
mod etcd;
#[cfg(not(feature = "bench-etcd"))]
mod etcd_absent;
mod fan_out;
#[path = "../harness/mod.rs"]
mod harness;
mod lists;
mod load;
mod machine;
mod memory;
mod pods;
mod selective;
mod stalled;
mod writes;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use arktos::store::log::{LogJournal, LogOptions};
use arktos::store::{Engine, EngineConfig};
use arktos_bin::edge::SystemClock;
use clap::Parser;
#[cfg(not(feature = "bench-etcd"))]
use etcd_absent as etcd;

use self::harness::{Bench, Measure, Options, Outcome, callgrind, part, process, progress, report};

/// The measurements, in the order in which they run.
const MEASUREMENTS: [(&str, Measure); 10] = [
    ("limits", machine::limits),
    ("writes", writes::writes),
    ("latency", writes::latency),
    ("fan-out", fan_out::fan_out),
    ("delivery", delivery::delivery),
    ("stalled", stalled::stalled),
    ("selective", selective::selective),
    ("lists", lists::lists),
    ("memory", memory::memory),
    ("cold-start", cold_start::cold_start),
];

/// The store, beside etcd and beside what the machine gives.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// A part of a measurement that needs a process of its own; what it finds is the last line it prints
    #[arg(long, hide = true, num_args = 1.., value_name = "PART")]
    part: Vec<String>,
}

/// An engine over a log in a directory.
pub fn open_log(directory: &Path) -> Outcome<Engine> {
    let journal = LogJournal::open(directory, LogOptions::default())?;
    Ok(Engine::open(Box::new(journal), EngineConfig::default(), Arc::new(SystemClock::new()))?)
}

/// An engine that keeps nothing on a disk.
pub fn open_memory() -> Engine {
    Engine::memory(Arc::new(SystemClock::new()))
}

/// A runtime with this many threads for what runs at the same time.
pub fn runtime(threads: usize) -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    harness::end(match arguments.part.split_first() {
        Some((part, rest)) => run_part(part, rest),
        None => harness::run("store", &MEASUREMENTS, &arguments.options),
    })
}

fn run_part(part: &str, rest: &[String]) -> Outcome<()> {
    let found = match part {
        "selective" => selective::part(rest)?,
        "stalled" => stalled::part(rest)?,
        "memory" => memory::part(rest)?,
        "cold-start" => cold_start::part(rest)?,
        _ => return Err(format!("there is no part {part:?}").into()),
    };
    println!("{found}");
    Ok(())
}
