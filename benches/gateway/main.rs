//! What a gateway adds to a request: the same ones are sent to a partition and, through a gateway, to it, in turns. All
//! roles are processes of their own, wired over mutual TLS on the loopback; the client shows a tenant's certificate.
//!
//!     cargo xtask bench gateway [--quick] [--json FILE]
#![allow(clippy::disallowed_methods)] // it measures time

#[path = "../harness/mod.rs"]
mod harness;

use std::net::SocketAddr;
use std::process::ExitCode;

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::pki::{Authority, Subject};
use bytes::Bytes;
use clap::Parser;
use http::Method;

use self::harness::connection::{Client, send};
use self::harness::region::{self, Layout, Region};
use self::harness::report::{Found, Goal, Row, figure, median, percentile};
use self::harness::{Bench, Measure, Options, Outcome, progress};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: arktos_bin::cli::Allocator = arktos_bin::cli::Allocator;

/// The measurements, in the order in which they run.
const MEASUREMENTS: [(&str, Measure); 1] = [("added", added)];

/// Who asks.
const TENANT: &str = "acme";

/// How many connections to each, and requests under way on them together while CPU is measured.
const CONNECTIONS: usize = 4;
const AT_ONCE: usize = 64;

/// What a gateway adds to a request.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    if let Some(ended) = region::as_role() {
        return ended;
    }
    let arguments = Arguments::parse();
    harness::end(harness::run("gateway", &MEASUREMENTS, &arguments.options))
}

/// One of the two ways to the same objects.
struct Way {
    connections: Vec<Client>,
    /// The roles whose CPU a request that goes this way takes.
    roles: &'static [&'static str],
    /// What requests took, in seconds, one at a time.
    times: Vec<f64>,
    /// What they took of the roles' CPU, in seconds for each, many at a time.
    cpu: Vec<f64>,
}

/// What is asked for, by the number of a request.
type Make = fn(usize) -> (Method, String, Bytes);

/// Two things that are asked for, each both ways.
fn added(bench: &Bench) -> Outcome<Found> {
    let mut region = Region::start(&Layout { hosts: 0, partitions: 1, managers: 1 }, &bench.directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let found = runtime.block_on(both(bench, &region));
    region.check()?;
    region.stop();
    found
}

async fn both(bench: &Bench, region: &Region) -> Outcome<Found> {
    region.ready().await?;
    region.tenants(0, &[TENANT.to_owned()]).await?;
    let groups = vec![arktos::api::identity::MASTERS.to_owned()];
    let subject = Subject { user: "alice".to_owned(), tenant: Some(TENANT.to_owned()), groups };
    let credential = Authority::open(&bench.directory.join("pki"))?.client(&subject)?;
    let way = async |config: &Kubeconfig, roles| {
        let address: SocketAddr = config.server.trim_start_matches("https://").parse()?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Client::certified(address, &config.authority, &credential).await?);
        }
        Outcome::Ok(Way { connections, roles, times: Vec::new(), cpu: Vec::new() })
    };
    let partition = &region.partitions[0].1;
    let mut found = Found::default();
    let asked: [(&str, Make); 2] = [("a GET", get), ("an update", update)];
    for (what, make) in asked {
        let mut direct = way(partition, &["tp-0"]).await?;
        let mut through = way(&region.gateway, &["tp-0", "gateway"]).await?;
        let first = &direct.connections[..1];
        send(first, 1, OBJECTS, |number, _, _| create(number)).await.or_else(there_already)?;
        for round in 0..bench.scale.pick(1, 3, 20) {
            for way in [&mut direct, &mut through] {
                one_at_a_time(way, bench.scale.pick(20, 100, 200), make).await?;
            }
            // The kernel counts CPU in hundredths of a second: many requests for each figure.
            if round % 4 == 0 {
                for way in [&mut direct, &mut through] {
                    many(way, region, bench.scale.pick(100, 2000, 20_000), make).await?;
                }
            }
        }
        rows(&mut found, what, &mut direct, &mut through);
    }
    found.notes.push(format!(
        "latencies: one request at a time, in turns; CPU: {AT_ONCE} at a time on {CONNECTIONS} connections, of the \
         gateway and of the partition, which is asked over the gateway's connections then",
    ));
    Ok(found)
}

/// How many objects there are to ask for.
const OBJECTS: usize = 64;

fn there_already(error: Box<dyn std::error::Error + Send + Sync>) -> Outcome<Vec<f64>> {
    if error.to_string().contains("AlreadyExists") { Ok(Vec::new()) } else { Err(error) }
}

const PATH: &str = "/api/v1/namespaces/default/configmaps";

fn config(number: usize, version: usize) -> Bytes {
    let text = "x".repeat(400);
    let (meta, data) = (format!(r#"{{"name":"c-{number}"}}"#), format!(r#"{{"v":"{version}","t":"{text}"}}"#));
    Bytes::from(format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{meta},"data":{data}}}"#))
}

fn create(number: usize) -> (Method, String, Bytes) {
    (Method::POST, PATH.to_owned(), config(number, 0))
}

fn get(number: usize) -> (Method, String, Bytes) {
    (Method::GET, format!("{PATH}/c-{}", number % OBJECTS), Bytes::new())
}

fn update(number: usize) -> (Method, String, Bytes) {
    (Method::PUT, format!("{PATH}/c-{}", number % OBJECTS), config(number % OBJECTS, number + 1))
}

async fn one_at_a_time(way: &mut Way, count: usize, make: Make) -> Outcome<()> {
    let times = send(&way.connections[..1], 1, count, move |number, _, _| make(number)).await?;
    way.times.extend(times);
    Ok(())
}

async fn many(way: &mut Way, region: &Region, count: usize, make: Make) -> Outcome<()> {
    let cpu = || way.roles.iter().map(|role| region.usage_of(role).cpu).sum::<f64>();
    let before = cpu();
    send(&way.connections, AT_ONCE, count, move |number, _, _| make(number)).await?;
    let used = cpu() - before;
    way.cpu.push(used / count as f64);
    progress(format!("{}: {:.1} µs of CPU", way.roles.join(" and "), used / count as f64 * 1e6));
    Ok(())
}

fn rows(found: &mut Found, what: &str, direct: &mut Way, through: &mut Way) {
    let p50 = |way: &mut Way| percentile(&mut way.times, 0.5) * 1e3;
    let p99 = |way: &mut Way| percentile(&mut way.times, 0.99) * 1e3;
    let cpu = |way: &Way| median(way.cpu.iter().copied()) * 1e6;
    let row = |name: &str, through: f64, direct: f64, unit| {
        Row::of(format!("{what} through the gateway, {name}"), figure(through, unit)).limit(figure(direct, unit))
    };
    let adds = |through: f64, direct: f64, unit, goal| {
        Row::of("  the gateway adds", figure(through - direct, unit)).goal(Goal::AtMost(goal))
    };
    let ((t50, d50), (t99, d99)) = ((p50(through), p50(direct)), (p99(through), p99(direct)));
    let (tcpu, dcpu) = (cpu(through), cpu(direct));
    found.rows.extend([row("p50", t50, d50, "ms"), adds(t50, d50, "ms", 0.3), row("p99", t99, d99, "ms")]);
    found.rows.extend([row("CPU of all roles", tcpu, dcpu, "µs"), adds(tcpu, dcpu, "µs", 30.0)]);
    found.notes = vec!["the limit is the same, asked of the partition itself".to_owned()];
}
