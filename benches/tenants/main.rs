//! What tenants cost: one that is idle, a hundred thousand of them, making and deleting them, how soon one can be used,
//! a request beside many, and a quiet one's beside one that is noisy. What each measurement does is said where it
//! stands.
//!
//!     cargo xtask bench tenants [--quick] [--json FILE] [--only MEASUREMENT]
#![allow(clippy::disallowed_methods)] // it measures time

#[path = "../harness/mod.rs"]
mod harness;
mod life;
mod noisy;
mod plane;
mod requests;
mod usable;

use std::process::ExitCode;

use clap::Parser;

use self::harness::{Bench, Measure, Options, Outcome, callgrind, connection, part, process, progress, report, server};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: arktos_bin::cli::Allocator = arktos_bin::cli::Allocator;

/// The measurements, in the order in which they run.
const MEASUREMENTS: [(&str, Measure); 4] =
    [("life", life::life), ("usable", usable::usable), ("requests", requests::requests), ("noisy", noisy::noisy)];

/// What tenants cost.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// A part of a measurement that needs a process of its own; what it finds is the last line it prints
    #[arg(long, hide = true, num_args = 1.., value_name = "PART")]
    part: Vec<String>,
    /// Be the server: everything that follows is what `arktos up` is told
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true, value_name = "ARGUMENTS")]
    serve: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.serve.is_empty() {
        return server::serve(&arguments.serve);
    }
    harness::end(match arguments.part.split_first() {
        Some((part, rest)) => run_part(part, rest),
        None => harness::run("tenants", &MEASUREMENTS, &arguments.options),
    })
}

fn run_part(part: &str, rest: &[String]) -> Outcome<()> {
    let found = match part {
        "life" => life::part(rest)?,
        "requests" => requests::part(rest)?,
        "busy" => noisy::busy(rest)?,
        "noise" => noisy::part(rest)?,
        _ => return Err(format!("there is no part {part:?}").into()),
    };
    println!("{found}");
    Ok(())
}
