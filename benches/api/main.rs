//! The API as clients reach it: HTTP/2 over TLS on the loopback, to a whole region in a process of its own, over the
//! durable store. What each measurement does is said where it stands.
//!
//!     cargo xtask bench api [--quick] [--json FILE] [--only MEASUREMENT,…]
#![allow(clippy::disallowed_methods)] // it measures time

mod client;
#[path = "../harness/mod.rs"]
mod harness;
mod memory;
mod reads;
mod watches;
mod writes;

use std::process::ExitCode;

use clap::Parser;

use self::harness::{Bench, Measure, Options, Outcome, process, report, server};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: arktos_bin::cli::Allocator = arktos_bin::cli::Allocator;

/// The measurements, in the order in which they run.
const MEASUREMENTS: [(&str, Measure); 6] = [
    ("start", memory::start),
    ("writes", writes::writes),
    ("reads", reads::reads),
    ("watches", watches::watches),
    ("idle", watches::idle),
    ("pods", memory::pods),
];

/// Where the peer's figures come from: they were measured elsewhere, and are not in this run.
const PEER: &str = "the peer is kube-apiserver 1.36.2 with etcd 3.5.30 on two quiet cores, HTTPS with HTTP/1.1 and 64 \
    connections, its CPU that of both; measured once for this project, not in this run";

/// Who asks.
const TENANT: &str = "acme";

/// Bytes.
const MIB: f64 = 1048576.0;

/// The API as clients reach it: rates, latencies, and what a request costs the server.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Be the server: everything that follows is what `arktos up` is told
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true, value_name = "ARGUMENTS")]
    serve: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.serve.is_empty() {
        return server::serve(&arguments.serve);
    }
    harness::end(harness::run("api", &MEASUREMENTS, &arguments.options))
}
