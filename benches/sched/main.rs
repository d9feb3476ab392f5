//! The scheduler: how many pods a second it places, and what one costs. What each measurement does is said where it
//! stands.
//!
//!     cargo xtask bench sched [--quick] [--json FILE] [--only MEASUREMENT]
#![allow(clippy::disallowed_methods)] // it measures time

#[path = "../harness/mod.rs"]
mod harness;
mod placing;
mod region;
mod search;

use std::process::ExitCode;

use clap::Parser;

use self::harness::{Bench, Measure, Options, Outcome, process, progress, report};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: arktos_bin::cli::Allocator = arktos_bin::cli::Allocator;

/// The measurements, in the order in which they run.
const MEASUREMENTS: [(&str, Measure); 9] = [
    ("search", search::search),
    ("basic", placing::basic),
    ("anti-affinity", placing::anti_affinity),
    ("affinity", placing::affinity),
    ("spread", placing::spread),
    ("preferred-anti-affinity", placing::preferred_anti_affinity),
    ("preferred-affinity", placing::preferred_affinity),
    ("soft-spread", placing::soft_spread),
    ("large", placing::large),
];

/// The scheduler: how many pods a second it places, and what one costs.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    harness::end(harness::run("sched", &MEASUREMENTS, &Arguments::parse().options))
}
