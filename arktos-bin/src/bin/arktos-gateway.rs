//! The `arktos-gateway` program: that role alone.

use std::process::ExitCode;

use arktos_bin::cli::{self, gateway::GatewayArgs};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

#[derive(Parser)]
#[command(name = "arktos-gateway", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: GatewayArgs,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    cli::run(|stop| cli::gateway::gateway(args, stop))
}
