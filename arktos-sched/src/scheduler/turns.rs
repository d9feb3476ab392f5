//! What a tenant's pods cost the scheduler is paid in the tenant's own turns.

use arktos_core::Timestamp;
use arktos_core::typed::{Node, Pod};
use arktos_store::clock::ManualClock;
use serde_json::json;

use super::state::{Plan, State};
use crate::plugin::Plugins;
use crate::queue::Backoff;
use crate::testing::Api;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const HOSTS: usize = 3000;

/// What a scheduler knows of many hosts, and where its pods are made.
async fn many_hosts() -> (State, std::sync::Arc<Api>) {
    let clock = ManualClock::new(NOW);
    let hosts = Api::resource_manager(&clock, 1);
    for host in 0..HOSTS {
        hosts.make_node(&format!("node-{host}"), "64", "64Gi", 500).await;
    }
    let names = vec!["default-scheduler".to_owned()];
    let mut state = State::new("tp-1", names, Plugins::default(), Backoff::default(), 7);
    let manager = state.number("rm-0").expect("there are numbers");
    for (stored, _) in hosts.all::<Node>() {
        state.node(manager, &stored);
    }
    state.set_current(manager, true);
    (state, Api::partition(&clock, 2))
}

fn tell(state: &mut State, pods: &Api, tenant: &str) {
    for (stored, _) in pods.all::<Pod>().iter().filter(|(stored, _)| stored.path.tenant() == tenant) {
        state.pod(stored, NOW);
    }
}

fn placed(plan: &Plan, tenant: &str) -> usize {
    plan.placements.values().flatten().filter(|placement| placement.pod.tenant() == tenant).count()
}

#[tokio::test]
async fn a_tenant_of_many_kinds_of_pods_does_not_delay_one_of_few() {
    let (mut state, pods) = many_hosts().await;
    for kind in 0..300 {
        let tolerates = json!({"tolerations": [{"key": format!("its-own-{kind}"), "operator": "Exists"}]});
        pods.make_pod_like("noisy", &format!("pod-{kind}"), "1m", tolerates).await;
    }
    for pod in 0..50 {
        pods.make_pod("quiet", &format!("pod-{pod}"), "1m").await;
    }
    tell(&mut state, &pods, "noisy");
    let first = placed(&state.plan(NOW, 128), "noisy");
    assert!((15..30).contains(&first), "each looks at all hosts, and there is an end to it: {first}");
    tell(&mut state, &pods, "quiet");
    let plan = state.plan(NOW, 128);
    let (noisy, quiet) = (placed(&plan, "noisy"), placed(&plan, "quiet"));
    assert!(quiet == 50 && noisy < 30, "all of the one, and the other has what is left: {noisy} and {quiet}");
    let mut all = first + noisy;
    while state.is_ready() {
        all += placed(&state.plan(NOW, 128), "noisy");
    }
    assert_eq!(all, 300);
}

#[tokio::test]
async fn counters_of_neighbours_are_made_in_the_turn_of_their_tenant() {
    let (mut state, pods) = many_hosts().await;
    for kind in 0..100 {
        let spread = json!({"topologySpreadConstraints": [{
            "maxSkew": 1 + kind, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]});
        pods.make_labelled("noisy", &format!("pod-{kind}"), "web", spread).await;
    }
    pods.make_pod("quiet", "pod", "1m").await;
    tell(&mut state, &pods, "noisy");
    let first = placed(&state.plan(NOW, 128), "noisy");
    assert!(first < 3, "all constraints of a tenant are made before its first pod is placed: {first}");
    tell(&mut state, &pods, "quiet");
    assert_eq!(placed(&state.plan(NOW, 128), "quiet"), 1);
    let (mut all, mut plans) = (first, 0);
    while state.is_ready() {
        all += placed(&state.plan(NOW, 128), "noisy");
        plans += 1;
    }
    assert!(all == 100 && plans < 20, "{all} pods in {plans} plans");
}

#[tokio::test]
async fn parked_pods_of_many_kinds_are_woken_some_at_a_time() {
    let (mut state, pods) = many_hosts().await;
    for kind in 0..200 {
        let tolerates = json!({"tolerations": [{"key": format!("its-own-{kind}"), "operator": "Exists"}]});
        pods.make_pod_like("noisy", &format!("pod-{kind}"), "100", tolerates).await;
    }
    pods.make_pod("quiet", "pod", "1m").await;
    tell(&mut state, &pods, "noisy");
    while state.is_ready() {
        state.plan(NOW, 128);
    }
    assert_eq!(state.queue.counts(), (0, 0, 200));
    let manager = state.number("rm-0").expect("it is known");
    state.set_current(manager, false);
    state.set_current(manager, true);
    let hosts = Api::resource_manager(&ManualClock::new(NOW), 1);
    hosts.make_node("large", "50000", "64Gi", 500).await;
    state.node(manager, &hosts.all::<Node>()[0].0);
    let now = NOW.later(std::time::Duration::from_secs(5));
    assert_eq!(placed(&state.plan(now, 128), "quiet"), 0);
    assert!(state.is_ready(), "it goes on with the others");
    tell(&mut state, &pods, "quiet");
    assert_eq!(placed(&state.plan(now, 128), "quiet"), 1, "and who is new does not wait for them");
    let (mut all, mut plans) = (0, 0);
    while state.is_ready() {
        all += placed(&state.plan(now, 128), "noisy");
        plans += 1;
    }
    assert!(plans > 5, "{plans}");
    assert!(all > 150 && state.queue.counts() == (0, 0, 0), "{all}, {:?}", state.queue.counts());
}
