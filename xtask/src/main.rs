//! The project's own chores: `cargo xtask test`, `cargo xtask bench`, …

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod clients;
mod conformance;
mod run;
mod test;
mod tools;

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run everything that must pass: formats, lints, doc tests, unit, integration and end-to-end tests
    Test(test::TestArgs),
    /// Run a benchmark by name
    Bench(bench::BenchArgs),
    /// Count which of the upstream conformance tests that need no running container are covered by tests here
    Conformance(conformance::ConformanceArgs),
    /// Install what the tests use where that can be done, and say what is there
    Tools,
    /// Fuzz one target for a while (cargo-fuzz needed)
    Fuzz(FuzzArgs),
}

#[derive(clap::Args)]
struct FuzzArgs {
    /// The target, as in fuzz/fuzz_targets
    target: String,
    /// For how many seconds
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Test(args) => test::test(&args),
        Chore::Bench(args) => bench::bench(&args),
        Chore::Conformance(args) => conformance::conformance(&args),
        Chore::Tools => {
            tools::report(&tools::install());
            Ok(())
        }
        Chore::Fuzz(args) => fuzz(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The compiler of the stable toolchain can instrument code; it only has to be allowed to.
fn fuzz(args: &FuzzArgs) -> Result<(), String> {
    let (corpus, seeds) = (format!("fuzz/corpus/{}", args.target), format!("fuzz/seeds/{}", args.target));
    for folder in [&corpus, &seeds] {
        std::fs::create_dir_all(run::root().join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    }
    let time = format!("-max_total_time={}", args.seconds);
    run::cargo_with(
        &["fuzz", "run", &args.target, &corpus, &seeds, "--", &time, "-timeout=20"],
        &[("RUSTC_BOOTSTRAP", "1")],
    )
}
