//! The density test, Arktos's own: hollow hosts of several resource managers are filled with the pods of tenants of
//! several partitions through Deployments, and then kept busy. Every role is a process of its own; everything between
//! them, hosts included, goes over sockets with mutual TLS. In process are only each partition's controllers and
//! scheduler.
//!
//!     cargo xtask bench density --hosts 20000 --partitions 2 --resource-managers 1 [--plot FILE]
#![allow(clippy::disallowed_methods)] // it measures time, and paces load

#[path = "../harness/mod.rs"]
mod harness;
mod load;
mod phase;
mod plot;
mod scrape;
mod table;
mod watch;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use arktos::store::Tasks;
use arktos::{Clock, Random};
use arktos_bin::edge::{SystemClock, SystemRandom};
use clap::Parser;

use self::harness::region::{self, Layout, Region};
use self::harness::report::Found;
use self::harness::{Bench, Options, Outcome, Scale, progress, report};
use self::phase::Phase;

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: arktos_bin::cli::Allocator = arktos_bin::cli::Allocator;

/// Hosts filled with the pods of many tenants, and kept busy.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    asked: Asked,
    /// Write what happened over time to a file as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What is to be run; what is not given depends on the scale.
#[derive(clap::Args)]
struct Asked {
    /// How many hosts [default: 20000]
    #[arg(long, value_name = "N")]
    hosts: Option<usize>,
    /// How many tenant partitions
    #[arg(long, value_name = "N", default_value_t = 2)]
    partitions: usize,
    /// How many resource managers [default: 1]
    #[arg(long = "resource-managers", value_name = "N")]
    managers: Option<usize>,
    /// How many pods for each host [default: 30]
    #[arg(long, value_name = "N")]
    pods_per_host: Option<usize>,
    /// How many tenants in each partition
    #[arg(long, value_name = "N", default_value_t = 4)]
    tenants: usize,
    /// How long the hosts are kept busy once they are full [default: 10]
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// How many pods a second are deleted and made anew meanwhile [default: 100]
    #[arg(long, value_name = "PODS")]
    churn: Option<f64>,
    /// How many pods may be asked for while the hosts are filled that do not run yet
    #[arg(long, value_name = "PODS", default_value_t = 10_000)]
    ahead: usize,
    /// How long filling the hosts may take before the test gives up
    #[arg(long, value_name = "MINUTES", default_value_t = 90.0)]
    fill_minutes: f64,
}

/// What is run.
pub struct Shape {
    /// How many hosts, partitions and resource managers.
    pub layout: Layout,
    /// How many pods for each host.
    pub pods_per_host: usize,
    /// How many tenants in each partition.
    pub tenants: usize,
    /// How long the hosts are kept busy.
    pub minutes: f64,
    /// How many pods a second are made anew meanwhile.
    pub churn: f64,
    /// How many pods are asked for at most that do not run yet.
    pub ahead: usize,
    /// How long filling may take.
    pub fill_minutes: f64,
}

impl Asked {
    /// The small version, which shows on any machine that all of it works, or the large one.
    fn shape(&self, scale: Scale) -> Outcome<Shape> {
        let shape = Shape {
            layout: Layout {
                hosts: self.hosts.unwrap_or(scale.pick(500, 500, 20_000)),
                partitions: self.partitions,
                managers: self.managers.unwrap_or(scale.pick(2, 2, 1)),
            },
            pods_per_host: self.pods_per_host.unwrap_or(scale.pick(2, 10, 30)),
            tenants: self.tenants,
            minutes: self.minutes.unwrap_or(scale.pick(0.1, 0.5, 10.0)),
            churn: self.churn.unwrap_or(scale.pick(10.0, 50.0, 100.0)),
            ahead: self.ahead,
            fill_minutes: self.fill_minutes,
        };
        let Layout { hosts, partitions, managers } = shape.layout;
        if [hosts, partitions, managers, shape.pods_per_host, shape.tenants].contains(&0) {
            return Err("there must be at least one of everything".into());
        }
        Ok(shape)
    }
}

fn main() -> ExitCode {
    if let Some(ended) = region::as_role() {
        return ended;
    }
    let arguments = Arguments::parse();
    let measure = |bench: &Bench| density(&arguments, bench);
    harness::end(harness::run("density", &[("density", measure)], &arguments.options))
}

fn density(arguments: &Arguments, bench: &Bench) -> Outcome<Found> {
    let shape = arguments.asked.shape(bench.scale)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut region = Region::start(&shape.layout, &bench.directory)?;
    let seen = runtime.block_on(async {
        let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
        let seen = phases(&shape, &mut region, &tasks).await;
        tasks.stop().await;
        seen
    });
    region.stop();
    let (fill, steady) = seen?;
    if let Some(file) = &arguments.plot {
        fs::write(file, plot::svg(&shape, &fill, &steady))?;
        progress(format!("{} shows what happened over time", file.display()));
    }
    Ok(table::found(&shape, fill, steady))
}

/// Fills the hosts, and keeps them busy.
async fn phases(shape: &Shape, region: &mut Region, tasks: &Tasks) -> Outcome<(Phase, Phase)> {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
    let (partitions, managers, gateway) = region.clients()?;
    progress("the roles start");
    region.ready().await?;
    let tenants = load::tenants(shape, region).await?;
    let nodes: Vec<_> = managers.iter().map(|one| watch::nodes(one, &clock, &random, tasks)).collect();
    load::hosts(shape, region, &nodes).await?;
    let pods = Arc::default();
    for partition in partitions {
        watch::pods(partition, &clock, &random, &pods, tasks);
    }
    let fill = phase::fill(shape, region, &pods, &tenants, &gateway).await?;
    progress("the hosts are full: churn begins");
    let steady = phase::steady(shape, region, &pods, &gateway).await?;
    Ok((fill, steady))
}
