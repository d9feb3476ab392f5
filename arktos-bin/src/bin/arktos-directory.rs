//! The `arktos-directory` program: that role alone.

use std::process::ExitCode;

use arktos_bin::cli::{self, directory::DirectoryArgs};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

#[derive(Parser)]
#[command(name = "arktos-directory", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: DirectoryArgs,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    cli::run(|stop| cli::directory::directory(args, stop))
}
