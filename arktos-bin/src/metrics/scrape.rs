//! What is looked up when somebody reads the metrics: stores, schedulers, the process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arktos_core::GroupResource;
use arktos_core::typed::{Claim, KindOf};
use arktos_sched::Scheduler;
use arktos_sched::scheduler::{Latencies, Tally};
use arktos_store::{Engine, Within};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Sources;
use super::process::Usage;
use super::stored::Held;
use super::tenants::{CODES, Counts, Shown};

/// Observations of note, of which none are kept.
type Exemplars = HashMap<usize, Exemplar<Vec<(String, String)>, f64>>;

/// Looks it up.
pub(super) struct Scrape(pub(super) Arc<Sources>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        process(&mut encoder)?;
        #[cfg(feature = "traces")]
        traces(&mut encoder)?;
        let stores: Vec<(String, Engine)> = self.0.stores.lock().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        if !stores.is_empty() {
            store(&mut encoder, &stores)?;
        }
        tenants(&mut encoder, &self.0)?;
        self.0.standing.encode(&mut encoder)?;
        let schedulers = self.0.schedulers.lock();
        let schedulers: Vec<(String, Scheduler)> = schedulers.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        if schedulers.is_empty() { Ok(()) } else { scheduler(&mut encoder, &schedulers) }
    }
}

/// Nothing where no spans are exported.
#[cfg(feature = "traces")]
fn traces(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    use std::sync::atomic::Ordering::Relaxed;
    let Some(counts) = crate::traces::counts() else { return Ok(()) };
    let about = "Spans of traces, by their outcome";
    let mut family = encoder.encode_descriptor("arktos_trace_spans", about, None, MetricType::Counter)?;
    for (outcome, count) in [("exported", &counts.exported), ("dropped", &counts.dropped), ("failed", &counts.failed)] {
        let labels = [("outcome", outcome)];
        ConstCounter::new(count.load(Relaxed)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(usage) = Usage::own() else { return Ok(()) };
    let cpu = ConstCounter::new(usage.cpu);
    let about = "User and system time of the process";
    cpu.encode(encoder.encode_descriptor("process_cpu_seconds", about, None, MetricType::Counter)?)?;
    for (name, about, value) in [
        ("process_resident_memory_bytes", "Resident memory of the process", usage.resident),
        ("process_threads", "Threads of the process", usage.threads),
        ("process_open_fds", "Open files and sockets of the process", usage.files),
    ] {
        ConstGauge::new(value).encode(encoder.encode_descriptor(name, about, None, MetricType::Gauge)?)?;
    }
    Ok(())
}

fn store(encoder: &mut DescriptorEncoder<'_>, stores: &[(String, Engine)]) -> fmt::Result {
    let about = "The newest revision of a store";
    let mut revisions = encoder.encode_descriptor("arktos_store_revision", about, None, MetricType::Gauge)?;
    for (role, engine) in stores {
        gauge(&mut revisions, &[("store", role)], engine.snapshot().revision().0)?;
    }
    let about = "Whether a store has failed: it takes no more writes until the process starts anew";
    let mut failed = encoder.encode_descriptor("arktos_store_failed", about, None, MetricType::Gauge)?;
    for (role, engine) in stores {
        gauge(&mut failed, &[("store", role)], u64::from(engine.failure().is_some()))?;
    }
    let about = "Whether a store has no room on its disk: it refuses writes until there is some";
    let mut full = encoder.encode_descriptor("arktos_store_full", about, None, MetricType::Gauge)?;
    for (role, engine) in stores {
        gauge(&mut full, &[("store", role)], u64::from(engine.is_full()))?;
    }
    let about = "Open watches, by what they watch, including the control plane's own";
    let mut watchers = encoder.encode_descriptor("arktos_store_watchers", about, None, MetricType::Gauge)?;
    for (role, engine) in stores {
        for (resource, count) in watchers_of(engine) {
            gauge(&mut watchers, &[("store", role), ("resource", &resource)], count as u64)?;
        }
    }
    let about = "Claims on hosts that a resource manager has granted and that have not ended";
    let mut claims = encoder.encode_descriptor("arktos_claims", about, None, MetricType::Gauge)?;
    for (role, engine) in stores {
        let held = engine.snapshot().count(&Claim::resource(), &Within::Everywhere);
        if held > 0 {
            gauge(&mut claims, &[("store", role)], held as u64)?;
        }
    }
    Ok(())
}

fn tenants(encoder: &mut DescriptorEncoder<'_>, sources: &Sources) -> fmt::Result {
    let shown: Vec<(String, Vec<Shown>)> =
        sources.tenants.lock().iter().map(|(role, tenants)| (role.clone(), tenants.shown())).collect();
    let about = "Answered requests, by the tenant of the caller; 429 is counted apart from 4xx";
    let mut requests = encoder.encode_descriptor("arktos_tenant_requests", about, None, MetricType::Counter)?;
    for (role, tenant, counts) in each(&shown) {
        for (code, count) in CODES.iter().zip(counts.codes).filter(|(_, count)| *count > 0) {
            counter(&mut requests, &[("role", role), ("tenant", tenant), ("code", code)], count)?;
        }
    }
    let about = "The seats that a tenant's requests had, times the seconds that they had them";
    let mut seats = encoder.encode_descriptor("arktos_tenant_seat_seconds", about, None, MetricType::Counter)?;
    for (role, tenant, counts) in each(&shown) {
        let seconds = ConstCounter::new(counts.seat_time.as_secs_f64());
        seconds.encode(seats.encode_family(&[("role", role), ("tenant", tenant)])?)?;
    }
    let stored = sources.stored.lock().clone();
    for (name, about, which) in [
        (
            "arktos_tenant_objects",
            "Objects that a tenant has, when they were last counted",
            Held::objects as fn(&Held) -> u64,
        ),
        ("arktos_tenant_object_bytes", "About how many bytes a tenant's objects take up in memory", Held::bytes),
    ] {
        let mut held = encoder.encode_descriptor(name, about, None, MetricType::Gauge)?;
        for (store, tenants) in &stored {
            for (tenant, amount) in tenants {
                gauge(&mut held, &[("store", store), ("tenant", tenant)], which(amount))?;
            }
        }
    }
    Ok(())
}

fn each(shown: &[(String, Vec<Shown>)]) -> impl Iterator<Item = (&str, &str, &Counts)> {
    shown.iter().flat_map(|(role, all)| all.iter().map(move |(tenant, counts)| (role.as_str(), &**tenant, counts)))
}

/// Watches by resource; tenants' own kinds are one.
fn watchers_of(engine: &Engine) -> Vec<(String, usize)> {
    let catalog = arktos_core::catalog::Catalog::builtin();
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for (resource, count) in engine.watchers() {
        let known = |resource: &GroupResource| catalog.storage(resource).is_some();
        let name = if known(&resource) { resource.as_str().to_owned() } else { "custom".to_owned() };
        *counts.entry(name).or_default() += count;
    }
    counts.into_iter().collect()
}

fn scheduler(encoder: &mut DescriptorEncoder<'_>, schedulers: &[(String, Scheduler)]) -> fmt::Result {
    let about = "Pods that wait to be scheduled, by the queue they are in";
    let mut pending = encoder.encode_descriptor("scheduler_pending_pods", about, None, MetricType::Gauge)?;
    for (partition, scheduler) in schedulers {
        let (active, backing_off, parked) = scheduler.waiting();
        for (queue, pods) in [("active", active), ("backoff", backing_off), ("unschedulable", parked)] {
            gauge(&mut pending, &[("partition", partition), ("queue", queue)], pods as u64)?;
        }
    }
    let tallies: Vec<(&str, Tally)> = schedulers.iter().map(|(name, one)| (name.as_str(), one.tally())).collect();
    let about = "Attempts to place a pod, by their outcome";
    let mut attempts = encoder.encode_descriptor("scheduler_schedule_attempts", about, None, MetricType::Counter)?;
    for (partition, tally) in &tallies {
        for (result, count) in
            [("scheduled", tally.bound), ("unschedulable", tally.unschedulable), ("error", tally.unbound)]
        {
            counter(&mut attempts, &[("partition", partition), ("result", result)], count)?;
        }
    }
    let about = "Claims that a scheduler has requested, by their outcome";
    let mut claims = encoder.encode_descriptor("arktos_claim_requests", about, None, MetricType::Counter)?;
    for (partition, tally) in &tallies {
        let granted = tally.asked.saturating_sub(tally.refused).saturating_sub(tally.unanswered);
        for (result, count) in [("granted", granted), ("refused", tally.refused), ("unanswered", tally.unanswered)] {
            counter(&mut claims, &[("partition", partition), ("result", result)], count)?;
        }
    }
    let about = "Time from when a pod is taken from the queue until it is bound";
    latencies(encoder, "scheduler_scheduling_attempt_duration_seconds", about, &tallies, |tally| tally.attempts)?;
    let about = "Time from when a pod is first seen until it is bound, including its waits";
    latencies(encoder, "scheduler_pod_scheduling_duration_seconds", about, &tallies, |tally| tally.pods)
}

fn latencies(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    about: &str,
    tallies: &[(&str, Tally)],
    which: fn(&Tally) -> Latencies,
) -> fmt::Result {
    let mut all = encoder.encode_descriptor(name, about, None, MetricType::Histogram)?;
    for (partition, tally) in tallies {
        let latencies = which(tally);
        let buckets: Vec<(f64, u64)> = latencies
            .counts
            .iter()
            .enumerate()
            .map(|(place, count)| (Latencies::bound(place).as_secs_f64(), *count))
            .collect();
        let labels = [("partition", *partition)];
        let mut one = all.encode_family(&labels)?;
        let exemplars: Option<&Exemplars> = None;
        one.encode_histogram(latencies.sum.as_secs_f64(), latencies.count, &buckets, exemplars)?;
    }
    Ok(())
}

pub(super) fn gauge<const N: usize>(
    encoder: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    value: u64,
) -> fmt::Result {
    let labels: Vec<(&str, &str)> = labels.to_vec();
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder.encode_family(&labels)?)
}

fn counter<const N: usize>(encoder: &mut MetricEncoder<'_>, labels: &[(&str, &str); N], value: u64) -> fmt::Result {
    let labels: Vec<(&str, &str)> = labels.to_vec();
    ConstCounter::new(value).encode(encoder.encode_family(&labels)?)
}
