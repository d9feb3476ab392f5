use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use arktos_core::typed::{ClaimRequest, ClaimReview, Event, Namespace, Pod};
use arktos_core::{Object, ObjectKey, ObjectPath, Revision, Timestamp};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{Delivery, Selection, Within};
use futures::FutureExt;
use futures::future::join_all;
use serde_json::json;

use super::*;
use crate::testing::Api;

/// A partition, resource managers and a scheduler, run by hand.
pub(super) struct Region {
    pub(super) clock: ManualClock,
    pub(super) partition: Arc<Api>,
    pub(super) managers: Vec<Arc<Api>>,
    scheduler: Scheduler,
    pub(super) drivers: BoxFuture<'static, ()>,
}

impl Region {
    pub(super) fn new(managers: usize) -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
        let partition = Api::partition(&clock, 1);
        let managers: Vec<_> =
            (0..managers).map(|at| Api::resource_manager(&clock, 10 + u64::try_from(at).expect("small"))).collect();
        let (scheduler, drivers) = start(&clock, ("tp-1", &partition), &managers, 7);
        Self { clock, partition, managers, scheduler, drivers }
    }

    /// Lets everything run until nothing more happens at this moment.
    pub(super) async fn settle(&mut self) {
        settle(&mut self.drivers).await;
    }

    pub(super) async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            self.clock.advance(Duration::from_millis(500));
            self.settle().await;
        }
    }

    /// Where a pod is bound: its claim's resource manager, and the node.
    pub(super) fn bound(&self, tenant: &str, name: &str) -> Option<(String, String)> {
        let (stored, pod) =
            self.partition.all::<Pod>().into_iter().find(|(stored, _)| stored.path == path(tenant, name))?;
        let note = stored.object.header().note("claim")?;
        Some((note.split_once('/')?.0.to_owned(), pod.spec.node_name))
    }

    fn claims(&self) -> usize {
        self.managers.iter().map(|manager| manager.all::<Claim>().len()).sum()
    }

    fn events(&self, reason: &str) -> Vec<String> {
        let events = self.partition.all::<Event>().into_iter().map(|(_, event)| event);
        events.filter(|event| event.reason == reason).map(|event| event.message).collect()
    }
}

pub(super) fn start(
    clock: &ManualClock,
    partition: (&str, &Arc<Api>),
    managers: &[Arc<Api>],
    seed: u64,
) -> (Scheduler, BoxFuture<'static, ()>) {
    let managers = managers.iter().enumerate();
    let managers: Vec<_> = managers.map(|(at, api)| (format!("rm-{at}"), api.clone() as Arc<dyn Client>)).collect();
    start_with(clock, partition, managers.into(), seed)
}

pub(super) fn start_with(
    clock: &ManualClock,
    partition: (&str, &Arc<Api>),
    managers: Roster,
    seed: u64,
) -> (Scheduler, BoxFuture<'static, ()>) {
    let options = Options { partition: partition.0.to_owned(), ..Options::default() };
    let random = Arc::new(SeededRandom::new(seed));
    let (scheduler, drivers) = Scheduler::new(partition.1.clone(), managers, Arc::new(clock.clone()), random, options);
    let drivers = join_all(drivers.into_iter().map(|(_, driver)| driver));
    (scheduler, Box::pin(async move { drop(drivers.await) }))
}

pub(super) async fn settle(drivers: &mut BoxFuture<'static, ()>) {
    for _ in 0..50 {
        assert!(futures::poll!(&mut *drivers).is_pending(), "drivers run for ever");
        tokio::task::yield_now().await;
    }
}

fn path(tenant: &str, name: &str) -> ObjectPath {
    ObjectPath::new(tenant, "default", name)
}

fn pod_key(tenant: &str, name: &str) -> ObjectKey {
    ObjectKey { resource: Pod::resource(), path: path(tenant, name) }
}

#[tokio::test]
async fn pods_are_spread_over_the_hosts_of_all_resource_managers_and_said_to_be() {
    let mut region = Region::new(2);
    for manager in 0..2 {
        region.managers[manager].make_node("node-1", "2", "1Gi", 10).await;
    }
    for pod in ["a", "b", "c", "d"] {
        region.partition.make_pod("acme", pod, "1").await;
    }
    region.settle().await;
    let places: Vec<_> = ["a", "b", "c", "d"].iter().filter_map(|pod| region.bound("acme", pod)).collect();
    for manager in ["rm-0", "rm-1"] {
        assert_eq!(places.iter().filter(|place| **place == (manager.to_owned(), "node-1".to_owned())).count(), 2);
    }
    assert_eq!(region.claims(), 4);
    let events = region.events("Scheduled");
    assert!(events.contains(&"Successfully assigned default/a to node-1".to_owned()), "{events:?}");
    assert_eq!(region.scheduler.waiting(), (0, 0, 0));
}

#[tokio::test]
async fn a_pod_without_a_place_is_told_why_and_placed_when_there_is_one() {
    let mut region = Region::new(1);
    for node in 0..3 {
        region.managers[0].make_node(&format!("node-{node}"), "1", "1Gi", 10).await;
    }
    region.partition.make_pod("acme", "large", "4").await;
    region.settle().await;
    assert_eq!(region.events("FailedScheduling"), ["0/3 nodes are available: 3 Insufficient cpu."]);
    let (_, pod) = region.partition.all::<Pod>().remove(0);
    let condition = &pod.status.conditions[0];
    assert_eq!((&*condition.kind, &*condition.status, &*condition.reason), ("PodScheduled", "False", "Unschedulable"));
    assert_eq!((condition.observed_generation, pod.metadata.generation), (1, 1));
    region.pass(400).await;
    assert_eq!(region.events("FailedScheduling").len(), 1, "the same is not said twice");
    region.managers[0].make_node("big", "8", "1Gi", 10).await;
    region.settle().await;
    assert_eq!(region.bound("acme", "large"), Some(("rm-0".to_owned(), "big".to_owned())));
}

#[tokio::test]
async fn what_a_finished_or_deleted_pod_held_is_free_for_the_next() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "1", "1Gi", 10).await;
    region.partition.make_pod("acme", "first", "1").await;
    region.settle().await;
    region.partition.make_pod("acme", "second", "1").await;
    region.partition.make_pod("acme", "third", "1").await;
    region.settle().await;
    assert_eq!((region.bound("acme", "second"), region.claims()), (None, 1));
    let finish = |pod: &mut arktos_core::Object| pod.set(&["status", "phase"], "Succeeded");
    region.partition.change(&pod_key("acme", "first"), finish).await.expect("it is there");
    region.pass(2).await;
    assert!(region.bound("acme", "second").is_some());
    region.partition.delete(&pod_key("acme", "second"), Default::default()).await.expect("it is there");
    region.pass(3).await;
    assert!(region.bound("acme", "third").is_some());
    assert_eq!(region.managers[0].engine.counter("claim/node-1/cpu-milli"), 1000);
}

#[tokio::test]
async fn a_claim_that_came_and_went_unseen_weighs_on_no_host_once_its_pod_is_gone() {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let (manager, partition) = (Api::resource_manager(&clock, 1), Api::partition(&clock, 2));
    manager.make_node("node-1", "1", "1Gi", 10).await;
    let names = vec!["default-scheduler".to_owned()];
    let mut state = State::new("tp-1", names, Plugins::default(), Backoff::default(), 7);
    let number = state.number("rm-0").expect("there are numbers");
    state.node(number, &manager.all::<Node>()[0].0);
    state.set_current(number, true);
    for name in ["a", "b"] {
        partition.make_pod("acme", name, "1").await;
        let (pod, _) = partition.all::<Pod>().remove(0);
        state.pod(&pod, clock.now());
        assert_eq!(state.plan(clock.now(), 10).placements.len(), 1, "{name}: there is room");
        partition.delete(&pod_key("acme", name), Default::default()).await.expect("it is there");
        state.pod_gone(&pod);
    }
}

#[tokio::test]
async fn gates_and_other_schedulers_are_respected() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "8", "1Gi", 10).await;
    let gate = json!({"schedulingGates": [{"name": "wait"}]});
    region.partition.make_pod_like("acme", "gated", "1", gate).await;
    region.partition.make_pod_like("acme", "foreign", "1", json!({"schedulerName": "mine"})).await;
    region.settle().await;
    assert_eq!((region.bound("acme", "gated"), region.bound("acme", "foreign")), (None, None));
    let open = |pod: &mut arktos_core::Object| drop(pod.remove(&["spec", "schedulingGates"]));
    region.partition.change(&pod_key("acme", "gated"), open).await.expect("it is there");
    region.settle().await;
    assert!(region.bound("acme", "gated").is_some());
}

#[tokio::test]
async fn pods_that_keep_each_other_away_get_a_host_each_and_the_next_one_waits_for_one_to_go() {
    let mut region = Region::new(1);
    for node in 0..3 {
        region.managers[0].make_node(&format!("node-{node}"), "8", "1Gi", 10).await;
    }
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"});
    let away = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    for pod in ["a", "b", "c", "d"] {
        region.partition.make_labelled("acme", pod, "web", json!({"affinity": away})).await;
    }
    region.settle().await;
    let places: BTreeMap<String, usize> =
        region.partition.all::<Pod>().into_iter().fold(BTreeMap::new(), |mut places, (_, pod)| {
            *places.entry(pod.spec.node_name).or_default() += 1;
            places
        });
    assert_eq!(places.into_values().collect::<Vec<_>>(), [1, 1, 1, 1], "three on a host each, one on none");
    let words = "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.";
    assert_eq!(region.events("FailedScheduling"), [words]);
    let placed = ["a", "b", "c", "d"].into_iter().find(|pod| region.bound("acme", pod).is_some()).expect("three are");
    region.partition.delete(&pod_key("acme", placed), Default::default()).await.expect("it is there");
    region.pass(3).await;
    assert!(region.partition.all::<Pod>().iter().all(|(_, pod)| !pod.spec.node_name.is_empty()));
}

#[tokio::test]
async fn a_pod_that_its_neighbours_keep_off_does_not_keep_another_from_what_has_become_free() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "2", "1Gi", 10).await;
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"});
    let away = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    region.partition.make_labelled("acme", "a", "web", away.clone()).await;
    region.settle().await;
    region.partition.make_pod("other", "filler", "1").await;
    region.settle().await;
    region.partition.make_labelled("acme", "b", "web", away).await;
    region.settle().await;
    region.partition.make_pod("third", "plain", "1").await;
    region.settle().await;
    assert_eq!((region.claims(), region.scheduler.waiting()), (2, (0, 0, 2)), "there is no room for either");
    region.partition.delete(&pod_key("other", "filler"), Default::default()).await.expect("it is there");
    region.pass(20).await;
    assert!(region.bound("third", "plain").is_some(), "the pod before it cannot use the room");
    assert_eq!(region.bound("acme", "b"), None);
}

#[tokio::test]
async fn a_pod_that_is_to_be_near_another_is_placed_once_that_one_is() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "8", "1Gi", 10).await;
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"});
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    region.partition.make_labelled("acme", "follows", "db", near).await;
    region.settle().await;
    assert_eq!(region.bound("acme", "follows"), None);
    region.partition.make_labelled("acme", "leads", "web", json!({})).await;
    region.pass(5).await;
    assert!(region.bound("acme", "leads").is_some() && region.bound("acme", "follows").is_some());
}

#[tokio::test]
async fn a_pod_that_is_to_be_spread_is_looked_at_again_when_the_emptiest_host_goes() {
    let mut region = Region::new(1);
    region.managers[0].make_node("large", "8", "1Gi", 10).await;
    region.managers[0].make_node("small", "500m", "1Gi", 10).await;
    let spread = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]});
    for pod in ["a", "b"] {
        region.partition.make_labelled("acme", pod, "web", spread.clone()).await;
        region.settle().await;
    }
    region.pass(15).await;
    assert!(region.bound("acme", "a").is_some());
    assert_eq!(region.bound("acme", "b"), None, "the small host has none, and no room for one");
    let small = ObjectKey::region_scoped(Node::resource(), "small");
    region.managers[0].delete(&small, Default::default()).await.expect("it is there");
    region.pass(15).await;
    assert!(region.bound("acme", "b").is_some(), "there is no emptier host any more");
}

#[tokio::test]
async fn pods_of_namespaces_with_a_label_are_kept_away_once_it_is_there() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "8", "1Gi", 10).await;
    region.partition.make_labelled("acme", "a", "web", json!({})).await;
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname",
        "namespaceSelector": {"matchLabels": {"team": "red"}}});
    let away = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    region.settle().await;
    region.partition.make_labelled("acme", "b", "db", away.clone()).await;
    region.settle().await;
    assert!(region.bound("acme", "b").is_some(), "no namespace has the label");
    let namespace = json!({"metadata": {"name": "default", "labels": {"team": "red"}}});
    region.partition.make::<Namespace>("acme", "", namespace).await;
    region.partition.make_labelled("acme", "c", "db", away).await;
    region.settle().await;
    assert_eq!(region.bound("acme", "c"), None);
    let key = ObjectKey { resource: Namespace::resource(), path: ObjectPath::new("acme", "", "default") };
    let unlabel = |namespace: &mut arktos_core::Object| drop(namespace.remove(&["metadata", "labels"]));
    region.partition.change(&key, unlabel).await.expect("it is there");
    region.pass(20).await;
    assert!(region.bound("acme", "c").is_some(), "it is looked at again");
}

#[tokio::test]
async fn hosts_of_a_resource_manager_that_does_not_answer_are_not_chosen_and_nothing_is_taken_back() {
    let mut region = Region::new(2);
    region.managers[0].make_node("node-1", "8", "1Gi", 10).await;
    region.managers[1].make_node("node-2", "1", "1Gi", 10).await;
    region.partition.make_pod("acme", "before", "4").await;
    region.settle().await;
    assert!(region.bound("acme", "before").is_some());
    region.managers[0].answers.store(false, Ordering::SeqCst);
    region.partition.make_pod("acme", "small", "1").await;
    region.partition.make_pod("acme", "large", "4").await;
    region.pass(20).await;
    assert_eq!(region.bound("acme", "small"), Some(("rm-1".to_owned(), "node-2".to_owned())));
    assert_eq!(region.bound("acme", "large"), None);
    assert!(region.bound("acme", "before").is_some());
    region.managers[0].answers.store(true, Ordering::SeqCst);
    region.pass(20).await;
    assert_eq!(region.bound("acme", "large"), Some(("rm-0".to_owned(), "node-1".to_owned())));
}

#[tokio::test]
async fn a_resource_manager_that_says_nothing_keeps_no_pod_from_the_hosts_of_others() {
    let mut region = Region::new(2);
    region.managers[0].make_node("node-1", "100", "1Gi", 100).await;
    region.managers[1].make_node("node-2", "100", "1Gi", 100).await;
    region.settle().await;
    region.managers[0].silent.store(true, Ordering::SeqCst);
    for number in 0..20 {
        region.partition.make_pod("acme", &format!("p{number}"), "1").await;
        region.settle().await; // each a job of its own: more than there are workers
    }
    region.pass(60).await;
    for number in 0..20 {
        let bound = region.bound("acme", &format!("p{number}"));
        assert_eq!(bound, Some(("rm-1".to_owned(), "node-2".to_owned())), "p{number}");
    }
}

#[tokio::test]
async fn what_cannot_be_given_back_at_one_resource_manager_keeps_nothing_of_the_others_back() {
    for pausing in [true, false] {
        let mut region = Region::new(2);
        region.managers[0].make_node("node-1", "1000", "1Gi", 1000).await;
        for number in 0..600 {
            region.partition.make_pod("acme", &format!("p{number}"), "1").await;
        }
        region.settle().await;
        region.pass(10).await;
        assert_eq!(region.claims(), 600);
        region.managers[1].make_node("node-2", "2000", "1Gi", 2000).await;
        region.settle().await;
        for number in 0..600 {
            region.partition.make_pod("acme", &format!("q{number}"), "2").await;
        }
        region.pass(10).await;
        let at = |region: &Region, manager: usize| region.managers[manager].all::<Claim>().len();
        assert!(at(&region, 1) > 300, "{}", at(&region, 1));

        if pausing {
            region.managers[0].silent.store(true, Ordering::SeqCst);
        } else {
            region.managers[0].answers.store(false, Ordering::SeqCst);
        }
        for (stored, _) in region.partition.all::<Pod>() {
            let key = ObjectKey { resource: Pod::resource(), path: stored.path };
            region.partition.delete(&key, Default::default()).await.expect("it is there");
        }
        region.pass(60).await;
        assert_eq!(at(&region, 1), 0);
        assert_eq!(region.managers[1].engine.counter("claim/node-2/cpu-milli"), 0);
        assert!(at(&region, 0) >= 600, "nothing is taken for given back");
        region.managers[0].silent.store(false, Ordering::SeqCst);
        region.managers[0].answers.store(true, Ordering::SeqCst);
        region.pass(60).await;
        assert_eq!(region.claims(), 0);
    }
}

#[tokio::test]
async fn a_resource_manager_that_is_down_from_the_start_holds_nobody_up() {
    let mut region = Region::new(2);
    region.managers[1].make_node("node-1", "8", "1Gi", 10).await;
    region.managers[0].answers.store(false, Ordering::SeqCst);
    region.partition.make_pod("acme", "a", "1").await;
    region.pass(15).await;
    assert_eq!(region.bound("acme", "a"), Some(("rm-1".to_owned(), "node-1".to_owned())));
    assert_eq!(
        region.events("FailedScheduling"),
        Vec::<String>::new(),
        "nobody is told off for what is yet to be seen"
    );
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_used_by_the_next_attempt() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "1", "1Gi", 10).await;
    region.managers[0].lost_answers.store(1, Ordering::SeqCst);
    region.partition.failing_binds.store(1, Ordering::SeqCst);
    region.partition.make_pod("acme", "a", "1").await;
    region.pass(5).await;
    assert!(region.bound("acme", "a").is_some());
    assert_eq!(region.claims(), 1);
}

#[tokio::test]
async fn a_pod_that_is_resized_on_its_way_is_bound_under_a_claim_of_what_it_asks_for_now() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "8", "1Gi", 10).await;
    region.partition.failing_binds.store(1, Ordering::SeqCst);
    region.partition.make_pod("acme", "a", "1").await;
    region.settle().await;
    assert_eq!((region.claims(), region.bound("acme", "a")), (1, None));
    let resize = |pod: &mut Object| {
        pod.set(&["metadata", "generation"], 2);
        let container = json!({"name": "c", "resources": {"requests": {"cpu": "3", "memory": "1Mi"}}});
        pod.set(&["spec", "containers"], json!([container]));
    };
    region.partition.change(&pod_key("acme", "a"), resize).await.expect("changed");
    region.pass(60).await;
    assert!(region.bound("acme", "a").is_some());
    let claims: Vec<i64> = region.managers[0].all::<Claim>().iter().map(|(_, claim)| claim.spec.requests.cpu).collect();
    assert_eq!(claims, [3000]);
}

#[tokio::test]
async fn a_scheduler_killed_between_claim_and_bind_leaves_nothing_reserved() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "1", "1Gi", 10).await;
    region.settle().await;
    region.partition.failing_binds.store(u64::MAX, Ordering::SeqCst);
    region.partition.make_pod("acme", "a", "1").await;
    region.settle().await;
    assert_eq!((region.claims(), region.bound("acme", "a")), (1, None));
    region.partition.delete(&pod_key("acme", "a"), Default::default()).await.expect("it is there");
    // Killed here: another scheduler starts, which has never seen the pod.
    (region.scheduler, region.drivers) = start(&region.clock, ("tp-1", &region.partition), &region.managers, 8);
    region.partition.failing_binds.store(0, Ordering::SeqCst);
    region.pass(15).await;
    assert_eq!(region.claims(), 0);
    assert_eq!(region.managers[0].engine.counter("claim/node-1/cpu-milli"), 0);
    region.partition.make_pod("acme", "b", "1").await;
    region.settle().await;
    assert!(region.bound("acme", "b").is_some());
}

#[tokio::test]
async fn a_claim_for_a_pod_that_is_about_to_be_made_is_not_given_back_at_once() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "8", "1Gi", 10).await;
    region.partition.make_pod("acme", "before", "1").await;
    region.settle().await;
    let mut review = ClaimReview::default();
    "tp-1".clone_into(&mut review.spec.partition);
    let mut asked = ClaimRequest { epoch: 0, ..ClaimRequest::default() };
    for (field, text) in [
        (&mut asked.name, "c-1"),
        (&mut asked.tenant, "acme"),
        (&mut asked.namespace, "default"),
        (&mut asked.pod, "on-its-way"),
        (&mut asked.pod_uid, "uid-1"),
        (&mut asked.node, "node-1"),
    ] {
        text.clone_into(field);
    }
    review.spec.claims = vec![asked];
    crate::claim::post(&*region.managers[0], &review).await.expect("an answer");
    // Others' claims are given back meanwhile.
    region.partition.delete(&pod_key("acme", "before"), Default::default()).await.expect("it is there");
    region.pass(3).await;
    assert_eq!(region.claims(), 1);
    region.pass(15).await;
    assert_eq!(region.claims(), 0, "it was never made");
}

#[tokio::test]
async fn a_scheduler_killed_between_claim_and_bind_is_followed_by_one_that_binds() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "1", "1Gi", 10).await;
    region.settle().await;
    region.partition.failing_binds.store(u64::MAX, Ordering::SeqCst);
    region.partition.make_pod("acme", "a", "1").await;
    region.settle().await;
    (region.scheduler, region.drivers) = start(&region.clock, ("tp-1", &region.partition), &region.managers, 8);
    region.partition.failing_binds.store(0, Ordering::SeqCst);
    region.pass(3).await;
    assert!(region.bound("acme", "a").is_some());
    assert_eq!(region.claims(), 1);
}

/// The most that was ever claimed of each host, by replaying every revision of a resource manager's claims.
pub(super) async fn most_claimed(manager: &Api) -> BTreeMap<String, i64> {
    let selection = Selection::all(Claim::resource(), Within::Everywhere);
    let mut cursor = manager.engine.watch(selection, Revision::ZERO).expect("the whole history");
    let (mut now, mut most) = (BTreeMap::<String, i64>::new(), BTreeMap::<String, i64>::new());
    while let Some(Ok(delivery)) = cursor.next().now_or_never() {
        let (stored, sign) = match &delivery {
            Delivery::Added(stored) => (stored, 1),
            Delivery::Deleted(stored) => (stored, -1),
            _ => continue,
        };
        let claim: Claim = stored.object.parse().expect("a claim");
        let claimed = now.entry(claim.spec.node.clone()).or_default();
        *claimed += sign * claim.spec.requests.cpu;
        let peak = most.entry(claim.spec.node).or_default();
        *peak = (*peak).max(*claimed);
    }
    most
}

/// Eight schedulers of eight partitions, each with pods that ask for one processor, over shared hosts; run in an order
/// that a seed gives, until all pods are bound.
async fn race(seed: u64, hosts: usize, cpus: u32, pods: u64) -> (Vec<Arc<Api>>, Vec<Tally>) {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let managers: Vec<_> = (0..2).map(|at| Api::resource_manager(&clock, seed * 100 + at)).collect();
    for host in 0..hosts {
        managers[host % 2].make_node(&format!("node-{}", host / 2), &cpus.to_string(), "1Gi", 200).await;
    }
    let (mut partitions, mut schedulers, mut drivers) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..8u64 {
        let partition = Api::partition(&clock, seed * 100 + 10 + at);
        for pod in 0..pods {
            partition.make_pod("acme", &format!("pod-{at}-{pod}"), "1").await;
        }
        partition.jitter.store(6, Ordering::SeqCst);
        let (scheduler, driver) = start(&clock, (&format!("tp-{at}"), &partition), &managers, seed * 100 + 20 + at);
        schedulers.push(scheduler);
        drivers.push(driver);
        partitions.push(partition);
    }
    managers.iter().for_each(|manager| manager.jitter.store(6, Ordering::SeqCst));
    let random = SeededRandom::new(seed);
    let is_bound = |(_, pod): (_, Pod)| !pod.spec.node_name.is_empty();
    for step in 1..100_000 {
        let at = usize::try_from(random.next() % 8).expect("small");
        assert!(futures::poll!(&mut drivers[at]).is_pending());
        tokio::task::yield_now().await;
        if step % 500 == 0 {
            if partitions.iter().all(|partition| partition.all::<Pod>().into_iter().all(is_bound)) {
                return (managers, schedulers.iter().map(Scheduler::tally).collect());
            }
            clock.advance(Duration::from_millis(500));
        }
    }
    panic!("seed {seed}: not all pods were bound");
}

#[tokio::test]
async fn eight_schedulers_fill_hosts_that_fit_exactly_and_never_over_commit_one() {
    for seed in 0..20 {
        let (managers, _) = race(seed, 4, 12, 6).await;
        for manager in &managers {
            assert_eq!(most_claimed(manager).await.into_values().collect::<Vec<_>>(), [12_000, 12_000], "seed {seed}");
        }
    }
}

#[tokio::test]
async fn few_claims_are_refused_while_a_fifth_of_the_pool_is_free() {
    let (mut asked, mut refused) = (0, 0);
    for seed in 0..5 {
        let (_, tallies) = race(seed, 20, 20, 40).await;
        asked += tallies.iter().map(|tally| tally.asked).sum::<u64>();
        refused += tallies.iter().map(|tally| tally.refused).sum::<u64>();
    }
    assert!(refused * 20 < asked, "{refused} of {asked}");
}

/// A tenant's webhooks have a say in what is told of its pods, and as much time as they say.
#[tokio::test]
async fn a_tenant_that_cannot_be_told_of_its_pods_keeps_nobody_elses_waiting() {
    let mut region = Region::new(1);
    region.managers[0].make_node("node-1", "40", "1Gi", 100).await;
    *region.partition.deaf.lock() = Some("acme".to_owned());
    for pod in 0..30 {
        region.partition.make_pod("acme", &format!("small-{pod}"), "1").await;
        region.partition.make_pod("acme", &format!("large-{pod}"), "1000").await;
        region.settle().await;
    }
    region.partition.make_pod("umbra", "a", "1").await;
    region.partition.make_pod("umbra", "large", "1000").await;
    region.settle().await;
    assert!(region.bound("umbra", "a").is_some());
    assert!(region.bound("acme", "small-29").is_some());
    assert_eq!(region.events("Scheduled"), ["Successfully assigned default/a to node-1"]);
    assert_eq!(region.events("FailedScheduling").len(), 1);
}
