//! `cargo xtask bench`: benchmarks by name.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::run::{cargo, named_files, named_folders, root};
use crate::tools;

/// Which benchmark to run, and how.
#[derive(clap::Args)]
pub struct BenchArgs {
    /// The benchmark: a file or a folder in benches/
    name: String,
    /// Measure for a short time: to see that it works, not for figures
    #[arg(long)]
    quick: bool,
    /// Write the figures to a file as JSON: for criterion's, mean and median in nanoseconds
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only the measurements of this name
    #[arg(long, value_name = "MEASUREMENT")]
    only: Option<String>,
    /// What else the benchmark takes, such as `--hosts 20000` of `density`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    more: Vec<String>,
}

/// The benchmark that runs an etcd beside ours, and counts instructions.
const BESIDE_ETCD: &str = "store";

/// The other one that counts instructions.
const COUNTS: &str = "tenants";

/// Runs a benchmark. One that is a file measures with criterion; one that is a folder measures whole systems by itself,
/// the store with an etcd beside ours where that can be built.
///
/// # Errors
/// A sentence that names the benchmarks there are, or says what failed.
pub fn bench(args: &BenchArgs) -> Result<(), String> {
    let (criterion, whole) = (named_files("benches")?, named_folders("benches")?);
    if whole.contains(&args.name) {
        return bench_whole(args);
    }
    if !criterion.contains(&args.name) {
        let known = [criterion, whole].concat();
        return Err(format!("there is no benchmark {:?}; there are: {}", args.name, known.join(", ")));
    }
    let mut arguments = vec!["bench", "--package", "arktos", "--bench", &args.name, "--"];
    if args.quick {
        arguments.extend(["--warm-up-time", "0.5", "--measurement-time", "1", "--sample-size", "10"]);
    }
    arguments.extend(args.only.as_deref());
    cargo(&arguments)?;
    let Some(file) = &args.json else { return Ok(()) };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let figures = figures(&target.join("criterion"), &args.name)?;
    fs::write(file, format!("{figures:#}\n")).map_err(|error| format!("{}: {error}", file.display()))
}

fn bench_whole(args: &BenchArgs) -> Result<(), String> {
    let mut arguments = vec!["bench", "--package", "arktos", "--bench", &args.name];
    if args.name == BESIDE_ETCD {
        let tools = tools::install_some(&["protoc", "etcd", "valgrind"]);
        tools::report(&tools);
        if tools.iter().any(|tool| tool.name == "protoc" && tool.found) {
            arguments.extend(["--features", "bench-etcd"]);
        }
    }
    if args.name == COUNTS {
        tools::report(&tools::install_some(&["valgrind"]));
    }
    arguments.push("--");
    if args.quick {
        arguments.push("--quick");
    }
    if let Some(only) = &args.only {
        arguments.extend(["--only", only]);
    }
    // cargo runs it in a directory of its own choice
    let file = args.json.as_ref().map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
    let file = file.map(|file| file.display().to_string());
    if let Some(file) = &file {
        arguments.extend(["--json", file]);
    }
    arguments.extend(args.more.iter().map(String::as_str));
    cargo(&arguments)
}

/// What criterion has written down of a benchmark's measurements, which it names `benchmark/measurement` and keeps in
/// folders named `benchmark_measurement`.
fn figures(folder: &Path, name: &str) -> Result<Value, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut figures = Map::new();
    for entry in entries.flatten() {
        let read = |file: &str| -> Option<Value> {
            serde_json::from_slice(&fs::read(entry.path().join("new").join(file)).ok()?).ok()
        };
        let (Some(about), Some(estimates)) = (read("benchmark.json"), read("estimates.json")) else { continue };
        let Some(measurement) = about["full_id"].as_str().and_then(|id| id.strip_prefix(name)?.strip_prefix('/'))
        else {
            continue;
        };
        let point = |which: &str| estimates[which]["point_estimate"].clone();
        figures.insert(measurement.to_owned(), json!({"mean_ns": point("mean"), "median_ns": point("median")}));
    }
    Ok(json!({"benchmark": name, "measurements": figures}))
}
