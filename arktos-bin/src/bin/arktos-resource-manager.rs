//! The `arktos-resource-manager` program: that role alone.

use std::process::ExitCode;

use arktos_bin::cli::{self, resource_manager::ResourceManagerArgs};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

#[derive(Parser)]
#[command(name = "arktos-resource-manager", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: ResourceManagerArgs,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    cli::run(|stop| cli::resource_manager::resource_manager(args, stop))
}
