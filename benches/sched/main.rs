//! The scheduler: how many pods a second it places, and what one costs. What each measurement does is said where it
//! stands.
//!
//!     cargo xtask bench sched [--quick] [--json FILE] [--only MEASUREMENT]
#![allow(clippy::disallowed_methods)] // it measures time

mod placing;
#[path = "../store/process.rs"]
#[allow(dead_code)] // the store measures more
mod process;
mod region;
#[path = "../store/report.rs"]
#[allow(dead_code)] // the store measures more
mod report;
mod search;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use self::report::Found;

/// What a measurement gives back.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A measurement.
type Measure = fn(&Bench) -> Outcome<Found>;

/// The measurements, in the order in which they run.
const MEASUREMENTS: [(&str, Measure); 6] = [
    ("search", search::search),
    ("basic", placing::basic),
    ("anti-affinity", placing::anti_affinity),
    ("affinity", placing::affinity),
    ("spread", placing::spread),
    ("large", placing::large),
];

/// The scheduler: how many pods a second it places, and what one costs.
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
    /// Where the stores are kept meanwhile
    #[arg(long, value_name = "DIRECTORY", default_value = env!("CARGO_TARGET_TMPDIR"))]
    directory: PathBuf,
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
    /// A directory of their own for the stores.
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

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
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
        std::fs::write(file, format!("{:#}\n", report::json("sched", &all)))?;
    }
    println!("{}", report::table(&all));
    if scale != Scale::Full {
        println!("A short run: these figures show that it works and no more.");
    }
    Ok(())
}
