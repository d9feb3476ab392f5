//! A partition and a resource manager in this process, each over a durable log of its own, and a scheduler between
//! them: what a placement passes through, without sockets, controllers and hosts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos::api::config::{Role, VirtualResource};
use arktos::api::{ApiConfig, ApiServer, Identity};
use arktos::core::catalog::Catalog;
use arktos::core::{GroupResource, Object, Status};
use arktos::sched::claim::ClaimReviewHandler;
use arktos::sched::{Options, Scheduler};
use arktos::store::log::{LogJournal, LogOptions};
use arktos::store::{Client, Clock, Engine, EngineConfig, Random, Tasks};
use arktos_bin::edge::{SystemClock, SystemRandom};
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{Outcome, process, progress};

/// How many writes are under way at once while a region is filled: enough for the log to take them in groups.
const AT_ONCE: usize = 256;
/// How many tenants the pods belong to.
pub const TENANTS: usize = 10;

/// What a placement passes through.
pub struct Region {
    runtime: Runtime,
    engines: [Engine; 2],
    partition: Arc<dyn Client>,
    manager: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// What placing took.
pub struct Placed {
    /// From the scheduler's start to the last bind.
    pub elapsed: Duration,
    /// The processor time of this process meanwhile, in seconds: API servers and logs included.
    pub cpu: f64,
    /// Claims that were asked for, and those of them that were refused.
    pub claims: (u64, u64),
}

struct Reviews(ClaimReviewHandler);

#[async_trait]
impl VirtualResource for Reviews {
    async fn create(&self, _: &Identity, object: Object) -> Result<Object, Status> {
        self.0.review(object).await
    }
}

impl Region {
    /// An empty region over logs in a directory.
    pub fn new(directory: &Path) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
        let open = |name: &str| -> Outcome<Engine> {
            let journal = LogJournal::open(&directory.join(name), LogOptions::default())?;
            Ok(Engine::open(Box::new(journal), EngineConfig::default(), clock.clone())?)
        };
        let (partition, manager) = (open("partition")?, open("manager")?);
        let mut config = ApiConfig::new(manager.clone(), clock.clone(), random.clone());
        config.role = Role::ResourceManager;
        config.admission.disabled.insert("TaintNodesByCondition".to_owned()); // nobody is here to take the taint off
        let reviews = ClaimReviewHandler::new(manager.clone(), &Catalog::builtin(), clock.clone(), random.clone())?;
        let resource = GroupResource::new("region.arktos.io", "claimreviews");
        config.virtuals.insert(resource, Arc::new(Reviews(reviews)));
        let manager_api = ApiServer::new(config);
        let partition_api = ApiServer::new(ApiConfig::new(partition.clone(), clock.clone(), random.clone()));
        runtime.block_on(async {
            manager_api.bootstrap().await?;
            partition_api.bootstrap().await
        })?;
        let region = Self {
            runtime,
            engines: [partition, manager],
            partition: partition_api.client(Identity::system_component("bench")),
            manager: manager_api.client(Identity::system_component("bench")),
            clock,
            random,
        };
        region.make_tenants()?;
        Ok(region)
    }

    fn make_tenants(&self) -> Outcome<()> {
        for tenant in 0..TENANTS {
            let name = format!("tenant-{tenant}");
            let make = |resource: &'static str, at: (String, &'static str), object: Value| {
                self.make(&self.partition, resource, [(at.0, at.1.to_owned(), object)])
            };
            make("tenants", (String::new(), ""), json!({"kind": "Tenant", "metadata": {"name": name}}))?;
            let namespace = json!({"kind": "Namespace", "metadata": {"name": "default"}});
            make("namespaces", (name.clone(), ""), namespace)?;
            let account = json!({"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}});
            make("serviceaccounts", (name, "default"), account)?;
        }
        Ok(())
    }

    /// Makes the hosts, as numbered descriptions.
    pub fn hosts(&self, count: usize, host: impl Fn(usize) -> Value) -> Outcome<()> {
        progress(format!("making {count} hosts"));
        self.make(&self.manager, "nodes", (0..count).map(|at| (String::new(), String::new(), host(at))))
    }

    /// Makes pods that wait, spread over the tenants, as numbered descriptions.
    pub fn pods(&self, count: usize, pod: impl Fn(usize) -> Value) -> Outcome<()> {
        progress(format!("making {count} pods"));
        let place = |at: usize| (format!("tenant-{}", at % TENANTS), "default".to_owned(), pod(at));
        self.make(&self.partition, "pods", (0..count).map(place))
    }

    fn make(
        &self,
        client: &Arc<dyn Client>,
        resource: &'static str,
        objects: impl IntoIterator<Item = (String, String, Value)>,
    ) -> Outcome<()> {
        let resource = GroupResource::core(resource);
        let make = |(tenant, namespace, mut object): (String, String, Value)| {
            object["apiVersion"] = "v1".into();
            let (client, resource) = (client.clone(), resource.clone());
            async move {
                let object = Object::from_value(object).ok_or_else(|| Status::bad_request("it is no object"))?;
                client.create(&resource, &tenant, &namespace, object).await.map(drop)
            }
        };
        let mut made = std::pin::pin!(stream::iter(objects).map(make).buffer_unordered(AT_ONCE));
        self.runtime.block_on(async {
            while let Some(outcome) = made.next().await {
                outcome?;
            }
            Ok(())
        })
    }

    /// Starts a scheduler and waits until so many pods are bound and durable.
    pub fn place(&self, pods: usize) -> Outcome<Placed> {
        let _entered = self.runtime.enter();
        let tasks = Tasks::spawning(Arc::new(|future| drop(tokio::spawn(future))));
        let (cpu, begun) = (process::cpu(), Instant::now());
        let managers = vec![("manager".to_owned(), self.manager.clone())];
        let (partition, clock, random) = (self.partition.clone(), self.clock.clone(), self.random.clone());
        let (scheduler, drivers) = Scheduler::new(partition, managers, clock, random, Options::default());
        for (name, driver) in drivers {
            tasks.add(name, driver);
        }
        let outcome = self.runtime.block_on(until_bound(&scheduler, pods, begun));
        let placed = outcome.map(|elapsed| {
            let tally = scheduler.tally();
            Placed { elapsed, cpu: process::cpu() - cpu, claims: (tally.asked, tally.refused) }
        });
        self.runtime.block_on(tasks.stop());
        placed
    }

    /// Closes the stores.
    pub fn close(self) {
        for engine in &self.engines {
            self.runtime.block_on(engine.close());
        }
    }
}

/// How long a placement of all pods may take before it counts as failed.
const LONGEST: Duration = Duration::from_secs(240);

async fn until_bound(scheduler: &Scheduler, pods: usize, begun: Instant) -> Outcome<Duration> {
    let mut said = begun;
    loop {
        let tally = scheduler.tally();
        if tally.bound >= pods as u64 {
            return Ok(begun.elapsed());
        }
        if said.elapsed() >= Duration::from_secs(5) {
            said = Instant::now();
            progress(format!("{} of {pods} pods are bound after {:.0} s", tally.bound, begun.elapsed().as_secs_f64()));
        }
        if begun.elapsed() > LONGEST {
            let (active, backing_off, parked) = scheduler.waiting();
            let waiting = format!("{active} are active, {backing_off} back off, {parked} fit nowhere");
            return Err(format!("only {} of {pods} pods are bound: {waiting}; {tally:?}", tally.bound).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
