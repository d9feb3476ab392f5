//! The two phases of the test, and what is seen in each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos::Client;
use parking_lot::Mutex;

use crate::harness::process;
use crate::harness::region::{ROLES, Region, Usage};
use crate::load::{self, Latencies};
use crate::scrape::{self, Metrics};
use crate::watch::Pods;
use crate::{Outcome, Shape, progress};

/// How often the test looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// The memory below which the test ends by itself, in bytes, before the machine takes a process of its choice.
const RESERVE: f64 = 512.0 * 1024.0 * 1024.0;

/// What a phase saw.
pub struct Phase {
    /// From its begin until the last pod started.
    pub took: Duration,
    /// What the test saw each time it looked.
    pub samples: Vec<Sample>,
    /// How long each pod took from being seen to being seen running, in seconds.
    pub starts: Vec<f64>,
    /// What each role used in it.
    pub usage: [Usage; ROLES.len()],
    /// What the roles counted in it.
    pub metrics: Metrics,
    /// How the tenants' own requests went.
    pub requests: Latencies,
}

/// What the test saw at one moment.
pub struct Sample {
    /// Seconds since the phase began.
    pub at: f64,
    /// Pods that run.
    pub running: usize,
    /// Pods that came to run since it last looked, a second.
    pub started: f64,
    /// Cores each role used since it last looked.
    pub cores: [f64; ROLES.len()],
    /// Resident memory of each role, in bytes.
    pub memory: [f64; ROLES.len()],
}

/// Makes the Deployments, and waits until all their pods run.
///
/// # Errors
/// A request that failed, a role that ended, pods that do not run in time, and a machine whose memory is used up.
pub async fn fill(
    shape: &Shape,
    region: &mut Region,
    pods: &Arc<Mutex<Pods>>,
    tenants: &[String],
    gateway: &Arc<dyn Client>,
) -> Outcome<Phase> {
    let wanted = shape.layout.hosts * shape.pods_per_host;
    let lasts = Duration::from_secs_f64(shape.fill_minutes * 60.0);
    let requests = Mutex::default();
    let looking = look(region, pods, lasts, wanted, |running| running >= wanted);
    let making = load::deployments(shape, tenants, gateway, pods, &requests);
    let (phase, ()) = futures::try_join!(looking, making)?;
    let running = pods.lock().running;
    if running < wanted {
        return Err(format!("only {running} of {wanted} pods run after {} min", shape.fill_minutes).into());
    }
    Ok(Phase { requests: requests.into_inner(), ..phase })
}

/// Deletes pods at a rate, for as long as was asked.
///
/// # Errors
/// A role that ended, and a machine whose memory is used up.
pub async fn steady(
    shape: &Shape,
    region: &mut Region,
    pods: &Arc<Mutex<Pods>>,
    gateway: &Arc<dyn Client>,
) -> Outcome<Phase> {
    let wanted = shape.layout.hosts * shape.pods_per_host;
    let lasts = Duration::from_secs_f64(shape.minutes * 60.0);
    let requests = Mutex::default();
    let looking = look(region, pods, lasts, wanted, |_| false);
    let (phase, ()) = futures::join!(looking, load::churn(shape.churn, lasts, gateway, pods, &requests));
    Ok(Phase { requests: requests.into_inner(), ..phase? })
}

/// Looks on until enough pods run, or for as long as it lasts.
async fn look(
    region: &mut Region,
    pods: &Mutex<Pods>,
    lasts: Duration,
    wanted: usize,
    enough: impl Fn(usize) -> bool,
) -> Outcome<Phase> {
    let (begun, first, before) = (Instant::now(), region.usage(), metrics(region).await?);
    let (mut samples, mut last, mut end) = (Vec::new(), (begun, pods.lock().started, first), begun);
    pods.lock().starts.clear();
    while begun.elapsed() < lasts {
        tokio::time::sleep(INTERVAL).await;
        region.check()?;
        let available = process::available();
        if (1.0..RESERVE).contains(&available) {
            let (running, mib) = (pods.lock().running, available / f64::from(1 << 20));
            return Err(format!("{running} pods run, and the machine has {mib:.0} MiB of memory left").into());
        }
        let (running, known, started) = {
            let pods = pods.lock();
            (pods.running, pods.known, pods.started)
        };
        let (now, usage) = (Instant::now(), region.usage());
        if started > last.1 {
            end = now;
        }
        let seconds = (now - last.0).as_secs_f64();
        let sample = Sample {
            at: (now - begun).as_secs_f64(),
            running,
            started: (started - last.1) as f64 / seconds,
            cores: std::array::from_fn(|role| (usage[role].cpu - last.2[role].cpu) / seconds),
            memory: usage.map(|usage| usage.memory),
        };
        last = (now, started, usage);
        progress(line(&sample, known, wanted));
        samples.push(sample);
        if enough(running) {
            break;
        }
    }
    let mut usage = region.usage();
    for (sum, before) in usage.iter_mut().zip(first) {
        sum.cpu -= before.cpu;
    }
    let metrics = metrics(region).await?.since(&before);
    let starts = std::mem::take(&mut pods.lock().starts);
    let took = begun.elapsed().min(if end > begun { end - begun } else { lasts });
    Ok(Phase { took, samples, starts, usage, metrics, requests: Latencies::default() })
}

fn line(sample: &Sample, known: usize, wanted: usize) -> String {
    let Sample { at, running, started, cores, memory } = sample;
    let roles = ROLES.iter().zip(cores.iter().zip(memory));
    let of_role = |(name, (cores, memory)): (_, (&f64, &f64))| -> String {
        format!("{name} {cores:.1} cores {:.1} GiB", memory / f64::from(1 << 30))
    };
    let roles: Vec<String> = roles.map(of_role).collect();
    format!("{at:>5.0} s  {running} of {wanted} run, {known} known, {started:.0}/s; {}", roles.join(", "))
}

/// What all roles that have an API say of themselves, together.
async fn metrics(region: &Region) -> Outcome<Metrics> {
    let mut all = Metrics::default();
    for (_, config) in region.partitions.iter().chain(&region.managers) {
        all.add(&scrape::read(config).await?);
    }
    Ok(all)
}
