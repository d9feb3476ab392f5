//! Metrics of a process, as Prometheus reads them.
//!
//! One [`Metrics`] for each process, whatever roles are in it. Clients cannot invent values of labels: resources of
//! tenants' own kinds are `custom`, and only so many tenants have a name here. docs/operating.md says what each metric
//! means.

mod process;
mod scrape;
mod standing;
mod stored;
mod tenants;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arktos_api::{Answered, Observer};
use arktos_sched::Scheduler;
use arktos_store::aggregate::Aggregate;
use arktos_store::{Clock, CommitObserver, Engine};
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::scrape::Scrape;
use self::standing::Standing;
use self::stored::Stored;
use self::tenants::Tenants;

/// The format of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// What one process counts and measures. Cloning it shares it.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    /// Written once, when it is made.
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Timed, Histogram, fn() -> Histogram>,
    waits: Family<Waited, Histogram, fn() -> Histogram>,
    commits: Family<Committed, Histogram, fn() -> Histogram>,
    sources: Arc<Sources>,
}

/// What is asked when somebody reads the metrics. Written by roles as they start.
#[derive(Default)]
struct Sources {
    stores: Mutex<BTreeMap<String, Engine>>,
    schedulers: Mutex<BTreeMap<String, Scheduler>>,
    /// Who has asked a role for what.
    tenants: Mutex<BTreeMap<String, Arc<Tenants>>>,
    /// Who has how much in a store, when it was last counted.
    stored: Mutex<BTreeMap<String, Stored>>,
    standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    role: Arc<str>,
    verb: &'static str,
    group: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    role: Arc<str>,
    verb: &'static str,
    group: String,
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waited {
    role: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Committed {
    store: Arc<str>,
    outcome: &'static str,
}

/// From half a millisecond to half a minute.
fn request_buckets() -> Histogram {
    Histogram::new((0..17).map(|place| 0.0005 * f64::from(1 << place)))
}

/// From 25 microseconds to more than a second.
fn commit_buckets() -> Histogram {
    Histogram::new((0..17).map(|place| 0.000_025 * f64::from(1 << place)))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new() -> Self {
        let requests = Family::<Request, Counter>::default();
        let durations = Family::<Timed, _, fn() -> _>::new_with_constructor(request_buckets);
        let waits = Family::<Waited, _, fn() -> _>::new_with_constructor(commit_buckets);
        let commits = Family::<Committed, _, fn() -> _>::new_with_constructor(commit_buckets);
        let sources = Arc::new(Sources::default());
        let mut registry = Registry::default();
        registry.register("apiserver_request", "Requests over HTTP that were answered", requests.clone());
        let about = "Time from the head of a request to the head of its answer";
        registry.register("apiserver_request_duration_seconds", about, durations.clone());
        let about = "For how long requests have waited for their turn before they were worked on";
        registry.register("apiserver_flowcontrol_request_wait_duration_seconds", about, waits.clone());
        let about = "Time from the call of a commit until it is durable, or refused";
        registry.register("arktos_store_commit_duration_seconds", about, commits.clone());
        registry.register_collector(Box::new(Scrape(sources.clone())));
        Self(Arc::new(Shared { registry, requests, durations, waits, commits, sources }))
    }

    /// What a role's API tells of its requests, and what answers `/metrics` there.
    #[must_use]
    pub fn observer(&self, role: &str) -> Arc<dyn Observer> {
        let tenants = self.0.sources.tenants.lock().entry(role.to_owned()).or_default().clone();
        Arc::new(Told { metrics: self.clone(), role: role.into(), tenants })
    }

    /// What a store tells of its commits.
    #[must_use]
    pub fn commits(&self, store: &str) -> CommitObserver {
        let (shared, store): (_, Arc<str>) = (self.0.clone(), store.into());
        CommitObserver::new(move |took, happened| {
            let outcome = if happened { "committed" } else { "refused" };
            let labels = Committed { store: store.clone(), outcome };
            shared.commits.get_or_create(&labels).observe(took.as_secs_f64());
        })
    }

    /// A role has opened its store.
    pub fn store(&self, role: &str, engine: &Engine) {
        self.0.sources.stores.lock().insert(role.to_owned(), engine.clone());
    }

    /// Counts what each tenant has in a store every minute, for ever. For the store's owner to drive.
    pub async fn count_stored(self, role: String, engine: Engine, clock: Arc<dyn Clock>) {
        loop {
            let counted = stored::count(&engine).await;
            self.0.sources.stored.lock().insert(role.clone(), counted);
            clock.sleep(stored::PERIOD).await;
        }
    }

    /// A partition has started its scheduler.
    pub fn scheduler(&self, partition: &str, scheduler: &Scheduler) {
        self.0.sources.schedulers.lock().insert(partition.to_owned(), scheduler.clone());
    }

    /// Whether this process leads, of those of a role that stand for a lease.
    pub fn leads(&self, role: &str, lease: &str, leads: bool) {
        self.0.sources.standing.leads.lock().insert((role.to_owned(), lease.to_owned()), leads);
    }

    /// A role has merged what others have of a resource.
    pub fn view(&self, role: &str, resource: &str, view: &Aggregate) {
        self.0.sources.standing.views.lock().insert((role.to_owned(), resource.to_owned()), view.clone());
    }

    /// A certificate of this process, and until when it is valid, in seconds since 1970, as it is at a time.
    pub fn certificate(&self, name: &str, ends: impl Fn() -> Option<i64> + Send + Sync + 'static) {
        self.0.sources.standing.certificates.lock().insert(name.to_owned(), Arc::new(ends));
    }

    /// Hosts are simulated that belong to a resource manager, and it is known whether that answers.
    pub fn hosts(&self, resource_manager: &str, count: usize, answers: Arc<AtomicBool>) {
        self.0.sources.standing.hosts.lock().insert(resource_manager.to_owned(), (count, answers));
    }

    /// All of it, in Prometheus's text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        match prometheus_text::encode(&mut text, &self.0.registry) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n"), // a string takes all that is written to it
        }
    }

    /// Counts a request that a role has answered.
    pub(crate) fn answered(&self, role: &Arc<str>, request: &Answered<'_>) {
        let Answered { verb, group, resource, subresource, code, took, .. } = *request;
        let (group, resource, subresource) = (group.to_owned(), resource.to_owned(), subresource.to_owned());
        let timed = Timed { role: role.clone(), verb, group: group.clone(), resource: resource.clone() };
        self.0.durations.get_or_create(&timed).observe(took.as_secs_f64());
        if let Some(waited) = request.waited {
            self.0.waits.get_or_create(&Waited { role: role.clone() }).observe(waited.as_secs_f64());
        }
        let counted = Request { role: role.clone(), verb, group, resource, subresource, code };
        self.0.requests.get_or_create(&counted).inc();
    }
}

/// One role's word to the metrics.
struct Told {
    metrics: Metrics,
    role: Arc<str>,
    tenants: Arc<Tenants>,
}

impl Observer for Told {
    fn answered(&self, request: &Answered<'_>) {
        self.metrics.answered(&self.role, request);
        if let Some(tenant) = request.tenant {
            self.tenants.count(tenant, request.code, request.seat_time);
        }
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(code: u16) -> Answered<'static> {
        let took = Duration::from_millis(3);
        let (tenant, seat_time) = (Some("acme"), Duration::from_millis(6));
        Answered {
            verb: "create",
            group: "apps",
            resource: "deployments",
            subresource: "",
            code,
            took,
            waited: Some(Duration::from_millis(1)),
            tenant,
            seat_time,
        }
    }

    #[test]
    fn requests_are_counted_by_what_was_asked_and_answered() {
        let metrics = Metrics::new();
        let observer = metrics.observer("tp-1");
        for code in [201, 201, 409] {
            observer.answered(&request(code));
        }
        let text = observer.metrics();
        let labels = r#"role="tp-1",verb="create",group="apps",resource="deployments""#;
        for (name, more, value) in [
            ("apiserver_request_total", r#"code="201""#, " 2"),
            ("apiserver_request_total", r#"code="409""#, " 1"),
            ("apiserver_request_duration_seconds_bucket", r#"le="0.002""#, " 0"),
            ("apiserver_request_duration_seconds_bucket", r#"le="0.004""#, " 3"),
        ] {
            let mut lines = text.lines().filter(|line| line.starts_with(name) && line.ends_with(value));
            assert!(lines.any(|line| line.contains(labels) && line.contains(more)), "{name} {more} is not in\n{text}");
        }
    }

    #[test]
    fn who_takes_no_turn_has_not_waited() {
        let metrics = Metrics::new();
        let observer = metrics.observer("tp-1");
        observer.answered(&request(200));
        observer.answered(&Answered { waited: None, ..request(200) });
        let text = metrics.text();
        let line = r#"apiserver_flowcontrol_request_wait_duration_seconds_count{role="tp-1"} 1"#;
        assert!(text.lines().any(|known| known == line), "{text}");
    }

    #[test]
    fn how_a_process_stands_with_others_is_what_it_was_told_last() {
        let metrics = Metrics::new();
        metrics.leads("tp-1", "kube-scheduler", true);
        metrics.leads("tp-1", "kube-controller-manager", true);
        metrics.leads("tp-1", "kube-controller-manager", false);
        metrics.certificate("serving", || Some(1_800_000_000));
        metrics.certificate("unreadable", || None);
        let answers = Arc::new(AtomicBool::new(true));
        metrics.hosts("rm-1", 20, answers.clone());
        let says = |line: &str| metrics.text().lines().any(|known| known == line);
        for line in [
            r#"leader_election_master_status{role="tp-1",name="kube-scheduler"} 1"#,
            r#"leader_election_master_status{role="tp-1",name="kube-controller-manager"} 0"#,
            r#"arktos_certificate_not_after_seconds{certificate="serving"} 1800000000"#,
            r#"arktos_hollow_hosts{resource_manager="rm-1"} 20"#,
            r#"arktos_resource_manager_answers{resource_manager="rm-1"} 1"#,
        ] {
            assert!(says(line), "{line} is not in\n{}", metrics.text());
        }
        assert!(!metrics.text().contains("unreadable"));
        answers.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(says(r#"arktos_resource_manager_answers{resource_manager="rm-1"} 0"#));
    }

    #[test]
    fn a_process_says_what_it_uses() {
        let text = Metrics::new().text();
        for name in ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds "] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
        }
    }
    #[test]
    fn of_ten_thousand_tenants_few_have_a_name_and_nothing_is_lost() {
        let metrics = Metrics::new();
        let observer = metrics.observer("tp-1");
        for number in 0..10_000 {
            let tenant = format!("t-{number}");
            for code in [200, 201, 304, 404, 429, 500] {
                observer.answered(&Answered { tenant: Some(&tenant), ..request(code) });
            }
        }
        let text = observer.metrics();
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("arktos_tenant_requests_total{"), (tenants::NAMED + 1) * 5);
        assert_eq!(series("arktos_tenant_seat_seconds_total{"), tenants::NAMED + 1);
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
        let named = |line: &&str| line.starts_with("arktos_tenant_requests_total{") && line.contains(r#"code="429""#);
        let refused: f64 = text.lines().filter(named).map(value).sum();
        assert!((refused - 10_000.0).abs() < 0.5, "{refused}");
    }

    #[test]
    fn who_is_no_tenant_is_counted_as_none() {
        let metrics = Metrics::new();
        metrics.observer("tp-1").answered(&Answered { tenant: None, ..request(200) });
        assert!(!metrics.text().contains("arktos_tenant_requests_total{"));
    }
}
