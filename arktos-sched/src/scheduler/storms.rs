//! Claims under fire: many partitions race for hosts that fit exactly, while schedulers are killed, answers are lost,
//! roles are away, and resource managers ask about claims sooner than binds arrive. All of it follows from a seed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use arktos_core::typed::Pod;
use arktos_core::{ObjectKey, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use futures::future::join_all;

use super::tests::{most_claimed, start};
use super::*;
use crate::claim::{Asker, CLAIM_NOTE};
use crate::testing::Api;

const PARTITIONS: usize = 8;
/// For how many steps there is trouble.
const TROUBLE: usize = 12_000;

struct Storm {
    clock: ManualClock,
    random: SeededRandom,
    managers: Vec<Arc<Api>>,
    partitions: Vec<Arc<Api>>,
    /// Absent while the scheduler is dead.
    schedulers: Vec<Option<BoxFuture<'static, ()>>>,
    askers: Vec<BoxFuture<'static, ()>>,
    kills: usize,
    seed: u64,
}

impl Storm {
    /// Hosts of `cpus` processors, and pods that ask for one each.
    async fn new(seed: u64, hosts: usize, cpus: u32, pods: usize) -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
        let managers: Vec<_> = (0..2).map(|at| Api::resource_manager(&clock, seed * 1000 + at)).collect();
        for host in 0..hosts {
            managers[host % 2].make_node(&format!("node-{}", host / 2), &cpus.to_string(), "1Gi", 200).await;
        }
        let mut partitions = Vec::new();
        for at in 0..PARTITIONS {
            let partition = Api::partition(&clock, seed * 1000 + 10 + at as u64);
            for pod in 0..pods {
                partition.make_pod("acme", &format!("pod-{at}-{pod}"), "1").await;
            }
            partitions.push(partition);
        }
        let mut storm = Self {
            askers: managers.iter().enumerate().map(|(at, api)| ask(&clock, at, api, &partitions)).collect(),
            clock,
            random: SeededRandom::new(seed),
            managers,
            partitions,
            schedulers: Vec::new(),
            kills: 0,
            seed,
        };
        for api in storm.apis() {
            api.jitter.store(6, Ordering::SeqCst);
        }
        for at in 0..PARTITIONS {
            let scheduler = storm.start(at);
            storm.schedulers.push(Some(scheduler));
        }
        storm
    }

    fn apis(&self) -> Vec<Arc<Api>> {
        self.managers.iter().chain(&self.partitions).cloned().collect()
    }

    fn start(&mut self, at: usize) -> BoxFuture<'static, ()> {
        self.kills += 1;
        let seed = self.seed * 1000 + 100 + self.kills as u64;
        start(&self.clock, (&format!("tp-{at}"), &self.partitions[at]), &self.managers, seed).1
    }

    fn draw(&self, below: usize) -> usize {
        usize::try_from(self.random.next()).unwrap_or(usize::MAX) % below
    }

    async fn step(&mut self, trouble: bool) {
        if trouble {
            self.trouble();
        }
        match self.draw(PARTITIONS + 1) {
            at if at < PARTITIONS => {
                if let Some(scheduler) = &mut self.schedulers[at] {
                    assert!(futures::poll!(scheduler).is_pending());
                } else if !trouble || self.draw(50) == 0 {
                    let scheduler = self.start(at);
                    self.schedulers[at] = Some(scheduler);
                }
            }
            _ => {
                let at = self.draw(self.askers.len());
                let asker: Pin<&mut _> = self.askers[at].as_mut();
                assert!(futures::poll!(asker).is_pending());
            }
        }
        tokio::task::yield_now().await;
    }

    fn trouble(&mut self) {
        let (manager, partition) = (self.draw(self.managers.len()), self.draw(PARTITIONS));
        match self.draw(1500) {
            0..4 => self.schedulers[partition] = None,
            4 | 5 => self.managers[manager].answers.store(false, Ordering::SeqCst),
            6 | 7 => self.partitions[partition].answers.store(false, Ordering::SeqCst),
            8..20 => self.apis().iter().for_each(|api| api.answers.store(true, Ordering::SeqCst)),
            20..24 => self.managers[manager].lost_answers.store(1, Ordering::SeqCst),
            24..30 => self.partitions[partition].failing_binds.store(1, Ordering::SeqCst),
            _ => {}
        }
    }

    /// No pod is bound without its claim, and to another host than it says. Gives back how many are bound.
    fn check(&self) -> usize {
        let claims: BTreeMap<(String, String), Claim> = self
            .managers
            .iter()
            .enumerate()
            .flat_map(|(at, api)| {
                let named = move |(stored, claim): (Stored, Claim)| {
                    ((format!("rm-{at}"), stored.path.name().to_owned()), claim)
                };
                api.all::<Claim>().into_iter().map(named)
            })
            .collect();
        let mut bound = 0;
        for partition in &self.partitions {
            for (stored, pod) in partition.all::<Pod>().into_iter().filter(|(_, pod)| !pod.spec.node_name.is_empty()) {
                let note = stored.object.header().note(CLAIM_NOTE).expect("a bound pod has a claim");
                let (manager, name) = note.split_once('/').expect("a manager and a claim");
                let claim = claims.get(&(manager.to_owned(), name.to_owned()));
                let claim =
                    claim.unwrap_or_else(|| panic!("seed {}: {note} has ended, {stored:?} is bound", self.seed));
                assert_eq!(
                    (&claim.spec.node, &*claim.spec.pod_uid),
                    (&pod.spec.node_name, stored.object.header().uid())
                );
                bound += 1;
            }
        }
        bound
    }

    fn claims(&self) -> usize {
        self.managers.iter().map(|manager| manager.all::<Claim>().len()).sum()
    }

    /// Goes on until so many pods are bound under as many claims.
    async fn live(&mut self, wanted: usize) {
        for step in 1..200_000 {
            let trouble = step < TROUBLE;
            if step == TROUBLE {
                self.apis().iter().for_each(|api| api.answers.store(true, Ordering::SeqCst));
            }
            self.step(trouble).await;
            if step % 200 == 0 {
                let bound = self.check();
                if !trouble && bound == wanted && self.claims() == wanted {
                    return;
                }
                self.clock.advance(Duration::from_millis(500));
            }
        }
        panic!("seed {}: {} pods are bound under {} claims, not {wanted}", self.seed, self.check(), self.claims());
    }
}

/// An asker that asks about claims long before a binding need have arrived.
fn ask(clock: &ManualClock, at: usize, manager: &Arc<Api>, partitions: &[Arc<Api>]) -> BoxFuture<'static, ()> {
    let partitions = partitions.to_vec();
    let find = move |name: &str| {
        let number: usize = name.strip_prefix("tp-")?.parse().ok()?;
        partitions.get(number).map(|api| api.clone() as Arc<dyn Client>)
    };
    let (engine, handler, deadline) = (manager.engine.clone(), manager.handler(), Duration::from_secs(2));
    let name = format!("rm-{at}");
    Box::pin(Asker::new(&name, engine, handler, Arc::new(find), Arc::new(clock.clone()), deadline).run())
}

fn seeds(usual: u64) -> std::ops::Range<u64> {
    let told = std::env::var("ARKTOS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    0..told.unwrap_or(usual)
}

#[tokio::test]
async fn whatever_is_killed_no_host_is_over_committed_and_nothing_stays_reserved() {
    let mut kills = 0;
    for seed in seeds(8) {
        let mut storm = Storm::new(seed, 4, 12, 6).await;
        storm.live(48).await;
        kills += storm.kills - PARTITIONS;
        for manager in &storm.managers {
            let peaks = most_claimed(manager).await.into_values().collect::<Vec<_>>();
            assert!(peaks.iter().all(|peak| *peak <= 12_000), "seed {seed}: {peaks:?}");
        }
        for partition in &storm.partitions {
            let pods = partition.all::<Pod>().into_iter().map(|(stored, _)| stored.path);
            let keys = pods.map(|path| ObjectKey { resource: Pod::resource(), path });
            join_all(keys.map(async |key| partition.delete(&key, Default::default()).await)).await;
        }
        storm.live(0).await;
        for (manager, host) in [(0, "node-0"), (0, "node-1"), (1, "node-0"), (1, "node-1")] {
            let held = storm.managers[manager].engine.counter(&format!("claim/{host}/cpu-milli"));
            assert_eq!(held, 0, "seed {seed}: {host} of rm-{manager}");
        }
    }
    assert!(kills > 20, "schedulers were killed: {kills}");
}

#[tokio::test]
async fn a_partition_that_is_removed_for_good_keeps_nothing() {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let manager = Api::resource_manager(&clock, 1);
    manager.make_node("node-0", "2", "1Gi", 10).await;
    let managers = [manager.clone()];
    for (at, pod) in ["tp-0", "tp-1"].into_iter().zip(["a", "b"]) {
        let partition = Api::partition(&clock, 5);
        partition.failing_binds.store(u64::MAX, Ordering::SeqCst); // killed between claim and bind
        partition.make_pod("acme", pod, "1").await;
        let (_, mut drivers) = start(&clock, (at, &partition), &managers, 7);
        super::tests::settle(&mut drivers).await;
    }
    assert_eq!(manager.engine.counter("claim/node-0/cpu-milli"), 2000);
    let removed = Arc::new(manager.handler_without("tp-0"));
    let (engine, nobody) = (manager.engine.clone(), Arc::new(|_: &str| None));
    let deadline = Duration::from_secs(60);
    let mut asker = Asker::new("rm-0", engine, removed.clone(), nobody, Arc::new(clock.clone()), deadline);
    asker.round().await.expect("it can be read");
    let left = manager.all::<Claim>();
    assert_eq!(left.iter().map(|(_, claim)| &*claim.spec.partition).collect::<Vec<_>>(), ["tp-1"]);
    assert_eq!(manager.engine.counter("claim/node-0/cpu-milli"), 1000);
    let mut late = arktos_core::typed::ClaimReview::default();
    late.spec.partition = "tp-0".to_owned();
    late.spec.claims.push(crate::claim::asker::request_of("tp-0.late", left[0].1.spec.clone()));
    let answer = removed.review(late.to_object()).await.expect("an answer");
    let answer = arktos_core::typed::ClaimReview::from_object(&answer).expect("a review");
    assert_eq!(answer.status.results[0].reason, "Removed");
}
