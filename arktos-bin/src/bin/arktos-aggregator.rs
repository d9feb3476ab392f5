//! The `arktos-aggregator` program: that role alone.

use std::process::ExitCode;

use arktos_bin::cli::{self, aggregator::AggregatorArgs};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

#[derive(Parser)]
#[command(name = "arktos-aggregator", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: AggregatorArgs,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    cli::run(|stop| cli::aggregator::aggregator(args, stop))
}
