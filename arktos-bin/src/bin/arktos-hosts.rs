//! The `arktos-hosts` program: that role alone.

use std::process::ExitCode;

use arktos_bin::cli::{self, hosts::HostsArgs};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

#[derive(Parser)]
#[command(name = "arktos-hosts", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: HostsArgs,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    cli::run(|stop| cli::hosts::hosts(args, stop))
}
