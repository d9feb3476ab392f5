//! The `arktos-partition` program: that role alone.

use std::process::ExitCode;

use arktos_bin::cli::{self, partition::PartitionArgs};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

#[derive(Parser)]
#[command(name = "arktos-partition", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: PartitionArgs,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    cli::run(|stop| cli::partition::partition(args, stop))
}
