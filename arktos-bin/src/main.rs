//! The `arktos` program: every role under one name, and the tools around them.

use std::process::ExitCode;

use arktos_bin::cli;
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

/// A multi-tenant, Kubernetes-compatible control plane.
#[derive(Parser)]
#[command(name = "arktos", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(Box<cli::up::UpArgs>),
    Partition(Box<cli::partition::PartitionArgs>),
    ResourceManager(Box<cli::resource_manager::ResourceManagerArgs>),
    Gateway(Box<cli::gateway::GatewayArgs>),
    Directory(Box<cli::directory::DirectoryArgs>),
    Aggregator(Box<cli::aggregator::AggregatorArgs>),
    Hosts(Box<cli::hosts::HostsArgs>),
    Kubeconfig(cli::kubeconfig::KubeconfigArgs),
    Store(cli::store::StoreArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => cli::run(|stop| cli::up::up(*args, stop)),
        Command::Partition(args) => cli::run(|stop| cli::partition::partition(*args, stop)),
        Command::ResourceManager(args) => cli::run(|stop| cli::resource_manager::resource_manager(*args, stop)),
        Command::Gateway(args) => cli::run(|stop| cli::gateway::gateway(*args, stop)),
        Command::Directory(args) => cli::run(|stop| cli::directory::directory(*args, stop)),
        Command::Aggregator(args) => cli::run(|stop| cli::aggregator::aggregator(*args, stop)),
        Command::Hosts(args) => cli::run(|stop| cli::hosts::hosts(*args, stop)),
        Command::Store(args) => cli::run(|_| cli::store::store(args)),
        Command::Kubeconfig(args) => cli::run(|_| async move { cli::kubeconfig::kubeconfig(&args) }),
    }
}
