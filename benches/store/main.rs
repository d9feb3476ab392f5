//! The store beside etcd and beside what the machine gives: whole systems, so no criterion. What each measurement does
//! is said where it stands.
//!
//!     cargo xtask bench store [--quick] [--json FILE] [--only MEASUREMENT]
#![allow(clippy::disallowed_methods)] // it measures time, and paces load

mod callgrind;
mod cold_start;
mod delivery;
#[cfg(feature = "bench-etcd")]
mod etcd;
#[cfg(not(feature = "bench-etcd"))]
mod etcd_absent;
mod fan_out;
mod lists;
mod load;
mod machine;
mod memory;
mod pods;
mod process;
mod report;
mod selective;
mod stalled;
mod writes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use arktos::store::log::{LogJournal, LogOptions};
use arktos::store::{Engine, EngineConfig};
use arktos_bin::edge::SystemClock;
use clap::Parser;
#[cfg(not(feature = "bench-etcd"))]
use etcd_absent as etcd;

use self::report::Found;

/// What a measurement gives back.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A measurement.
type Measure = fn(&Bench) -> Outcome<Found>;

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
    /// Measure for a short time: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Write the table to a file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these measurements, by name
    #[arg(long, value_name = "MEASUREMENT", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the stores are kept meanwhile: the disk that is measured
    #[arg(long, value_name = "DIRECTORY", default_value = env!("CARGO_TARGET_TMPDIR"))]
    directory: PathBuf,
    /// A part of a measurement that needs a process of its own; what it finds is the last line it prints
    #[arg(long, hide = true, num_args = 1.., value_name = "PART")]
    part: Vec<String>,
    /// Given by `cargo bench`, and not by `cargo test`, which only wants to see it work
    #[arg(long, hide = true)]
    bench: bool,
}

/// How many cores others may use, the kernel's own threads included, before figures are called into question.
const BUSY: f64 = 0.25;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// As little as shows that it works.
    Smoke,
    /// So that nobody waits long.
    Quick,
    /// What the goals speak of.
    Full,
}

/// What measurements share.
pub struct Bench {
    /// How much is measured.
    pub scale: Scale,
    /// A directory of their own on the disk that is measured.
    pub directory: PathBuf,
}

impl Scale {
    /// What belongs to it, of three.
    pub fn pick<T>(self, smoke: T, quick: T, full: T) -> T {
        match self {
            Self::Smoke => smoke,
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// Says how far it is.
pub fn progress(text: impl AsRef<str>) {
    eprintln!("    {}", text.as_ref());
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
    let outcome = match arguments.part.split_first() {
        Some((part, rest)) => run_part(part, rest),
        None => run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
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

fn run(arguments: &Arguments) -> Outcome<()> {
    let names = MEASUREMENTS.map(|(name, _)| name);
    if let Some(unknown) = arguments.only.iter().find(|only| !names.contains(&only.as_str())) {
        return Err(format!("there is no measurement {unknown:?}; there are: {}", names.join(", ")).into());
    }
    let scale = match (arguments.bench, arguments.quick) {
        (false, _) => Scale::Smoke,
        (true, true) => Scale::Quick,
        (true, false) => Scale::Full,
    };
    std::fs::create_dir_all(&arguments.directory)?;
    let directory = tempfile::tempdir_in(&arguments.directory)?;
    let start = Instant::now();
    let mut all = Vec::new();
    for (name, measure) in MEASUREMENTS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("{:>5.0} s  {name}", start.elapsed().as_secs_f64());
        let own = directory.path().join(name);
        std::fs::create_dir_all(&own)?;
        let (begun, others) = (Instant::now(), process::cpu_of_others());
        let bench = Bench { scale, directory: own.clone() };
        let mut found = measure(&bench).map_err(|error| format!("{name}: {error}"))?;
        std::fs::remove_dir_all(own)?;
        let cores = (process::cpu_of_others() - others) / begun.elapsed().as_secs_f64();
        if cores > BUSY {
            found.notes.push(format!("NOT ALONE: others used {cores:.1} cores meanwhile, these figures are not good"));
        }
        all.push((name, found));
    }
    eprintln!("{:>5.0} s  done\n", start.elapsed().as_secs_f64());
    if let Some(file) = &arguments.json {
        std::fs::write(file, format!("{:#}\n", report::json("store", &all)))?;
    }
    println!("{}", report::table(&all));
    if scale != Scale::Full {
        println!("A short run: these figures show that it works and no more.");
    }
    Ok(())
}
