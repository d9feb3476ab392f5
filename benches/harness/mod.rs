//! What benchmarks of whole systems share: their options, the order of their measurements, what they print.
#![allow(dead_code)] // one benchmark measures what another does not

pub mod callgrind;
pub mod connection;
pub mod part;
pub mod process;
pub mod region;
pub mod report;
pub mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use self::report::Found;

/// What a measurement gives back.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A measurement.
pub type Measure = fn(&Bench) -> Outcome<Found>;

/// What every benchmark can be told.
#[derive(clap::Args)]
pub struct Options {
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

/// How a process ends whose work came to this.
pub fn end(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a benchmark's measurements one after another, and prints what they found.
///
/// # Errors
/// A measurement that is asked for and not there, and what goes wrong in one.
pub fn run<M>(benchmark: &str, measurements: &[(&'static str, M)], options: &Options) -> Outcome<()>
where
    M: Fn(&Bench) -> Outcome<Found>,
{
    let names: Vec<_> = measurements.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = options.only.iter().find(|only| !names.contains(&only.as_str())) {
        return Err(format!("there is no measurement {unknown:?}; there are: {}", names.join(", ")).into());
    }
    let scale = match (options.bench, options.quick) {
        (false, _) => Scale::Smoke,
        (true, true) => Scale::Quick,
        (true, false) => Scale::Full,
    };
    std::fs::create_dir_all(&options.directory)?;
    let directory = tempfile::tempdir_in(&options.directory)?;
    let start = Instant::now();
    let mut all = Vec::new();
    for (name, measure) in measurements {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
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
        all.push((*name, found));
    }
    eprintln!("{:>5.0} s  done\n", start.elapsed().as_secs_f64());
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", report::json(benchmark, &all)))?;
    }
    println!("{}", report::table(&all));
    if scale != Scale::Full {
        println!("A short run: these figures show that it works and no more.");
    }
    Ok(())
}
