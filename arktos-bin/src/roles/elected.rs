//! Work that only one of several processes over a store does at a time: controllers and the scheduler.

use std::sync::Arc;

use arktos_control::election::{Election, Office, Term};
use arktos_store::{Client, Tasks};
use async_trait::async_trait;

use super::RoleOptions;
use crate::metrics::Metrics;

/// Starts work: with the term where there was an election, without where there is none.
pub(super) type Begin = Box<dyn Fn(Option<&Term>, &Tasks) + Send>;

/// Runs work for as long as the owner of `tasks` wants: at once, or while this process holds the lease, where there are
/// elections.
pub(super) fn run(lease: &str, options: &RoleOptions, client: Arc<dyn Client>, tasks: &Tasks, begin: Begin) {
    let Some(timing) = options.elect.clone() else { return begin(None, tasks) };
    let identity = format!("{}_{}", options.name, options.random.uid());
    let (clock, random) = (options.clock.clone(), options.random.clone());
    let election = Election::new(client, lease, identity, clock, random, timing);
    let (metrics, role) = (options.metrics.clone(), options.name.clone());
    metrics.leads(&role, lease, false);
    let work = Work { begin, home: tasks.clone(), running: None, metrics, role, lease: lease.to_owned() };
    let name = format!("{} election for {lease}", options.name);
    tasks.add_graceful(name, |stopping| election.run(work, stopping));
}

struct Work {
    begin: Begin,
    home: Tasks,
    running: Option<Tasks>,
    metrics: Metrics,
    role: String,
    lease: String,
}

#[async_trait]
impl Office for Work {
    fn begin(&mut self, term: &Term) {
        let tasks = self.home.apart();
        (self.begin)(Some(term), &tasks);
        self.running = Some(tasks);
        self.metrics.leads(&self.role, &self.lease, true);
    }

    async fn end(&mut self) {
        if let Some(tasks) = self.running.take() {
            tasks.stop().await;
        }
        self.metrics.leads(&self.role, &self.lease, false);
    }
}
