use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arktos_core::typed::{Binding, Claim, ClaimFence, ClaimPort, ClaimRequest, Node, Pod, Requests};
use arktos_core::{Object, ObjectPath, Reason, Timestamp};
use arktos_store::clock::ManualClock;
use futures::future::join_all;
use serde_json::json;

use super::fence::Held;
use super::*;
use crate::testing::Api;

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000))
}

fn request(pod: &str, node: &str, cpu: i64) -> ClaimRequest {
    let uid = format!("uid-acme-{pod}");
    ClaimRequest {
        name: claim_name("tp-1", &uid, 0),
        tenant: "acme".to_owned(),
        namespace: "default".to_owned(),
        pod: pod.to_owned(),
        pod_uid: uid,
        node: node.to_owned(),
        requests: Requests { cpu, memory: 1, pods: 1, ..Requests::default() },
        ..ClaimRequest::default()
    }
}

async fn claim(manager: &Api, claims: Vec<ClaimRequest>) -> Vec<(bool, String)> {
    let mut review = ClaimReview::default();
    review.spec.partition = "tp-1".to_owned();
    review.spec.claims = claims;
    let answer = post(manager, &review).await.expect("an answer");
    answer.results.into_iter().map(|result| (result.accepted, result.reason)).collect()
}

async fn release(manager: &Api, partition: &str, name: &str) -> bool {
    let mut review = ClaimReview::default();
    review.spec.partition = partition.to_owned();
    review.spec.releases = vec![name.to_owned()];
    post(manager, &review).await.expect("an answer").releases[0].accepted
}

fn yes() -> (bool, String) {
    (true, String::new())
}

fn no(reason: &str) -> (bool, String) {
    (false, reason.to_owned())
}

fn pod_key(name: &str) -> ObjectKey {
    ObjectKey { resource: Pod::resource(), path: ObjectPath::new("acme", "default", name) }
}

fn binding(claim: &ClaimRequest) -> Object {
    let mut binding = Binding::named(&claim.pod);
    binding.metadata.uid.clone_from(&claim.pod_uid);
    binding.metadata.generation = 1;
    binding.metadata.annotations.insert(CLAIM_ANNOTATION.to_owned(), format!("rm-0/{}", claim.name));
    binding.target.name.clone_from(&claim.node);
    binding.to_object()
}

#[tokio::test]
async fn each_claim_of_a_review_is_accepted_or_refused_by_itself() {
    let manager = Api::resource_manager(&clock(), 1);
    manager.make_node("n", "2", "1Gi", 2).await;
    let mut odd = request("e", "n", 1);
    odd.name = "Not a name".to_owned();
    let asked =
        vec![request("a", "n", 1500), request("b", "n", 1000), request("c", "gone", 1), request("d", "n", 500), odd];
    let answers = claim(&manager, asked).await;
    assert_eq!(answers, [yes(), no("Insufficient"), no("HostGone"), yes(), no("Invalid")]);
    assert_eq!(claim(&manager, vec![request("f", "n", 0)]).await, [no("Insufficient")], "there are two pods already");
    assert_eq!(manager.engine.counter("claim/n/cpu-milli"), 2000);
    assert_eq!(manager.engine.counter("claim/n/pods"), 2);
}

#[tokio::test]
async fn asking_again_is_harmless_and_asking_for_something_else_is_refused() {
    let manager = Api::resource_manager(&clock(), 1);
    manager.make_node("n", "1", "1Gi", 10).await;
    manager.make_node("m", "1", "1Gi", 10).await;
    for _ in 0..3 {
        assert_eq!(
            claim(&manager, vec![request("a", "n", 1000)]).await,
            [yes()],
            "the host is full of this very claim"
        );
    }
    assert_eq!(manager.engine.counter("claim/n/cpu-milli"), 1000);
    assert_eq!(claim(&manager, vec![request("a", "m", 1000)]).await, [no("Taken")]);
    assert_eq!(manager.engine.counter("claim/m/cpu-milli"), 0);
}

#[tokio::test]
async fn a_release_gives_back_what_was_claimed_once_and_only_to_its_partition() {
    let manager = Api::resource_manager(&clock(), 1);
    manager.make_node("n", "1", "1Gi", 10).await;
    let mut gpu = request("a", "n", 1000);
    gpu.ports = vec![ClaimPort { port: 80, ..ClaimPort::default() }];
    let name = gpu.name.clone();
    assert_eq!(claim(&manager, vec![gpu]).await, [yes()]);
    assert!(!release(&manager, "tp-2", &name).await);
    assert_eq!(manager.engine.counter("claim/n/cpu-milli"), 1000);
    assert!(release(&manager, "tp-1", &name).await);
    assert!(release(&manager, "tp-1", &name).await, "again is harmless");
    for counter in ["cpu-milli", "memory", "pods", "port/TCP/80"] {
        assert_eq!(manager.engine.counter(&format!("claim/n/{counter}")), 0, "{counter}");
    }
    assert!(manager.all::<Claim>().is_empty());
}

#[tokio::test]
async fn a_port_goes_to_one_pod_or_to_one_for_each_address() {
    let manager = Api::resource_manager(&clock(), 1);
    manager.make_node("n", "8", "1Gi", 10).await;
    let with = |pod: &str, address: &str| {
        let port = ClaimPort { port: 80, address: address.to_owned(), ..ClaimPort::default() };
        ClaimRequest { ports: vec![port], ..request(pod, "n", 1) }
    };
    assert_eq!(claim(&manager, vec![with("a", "10.0.0.1")]).await, [yes()]);
    assert_eq!(claim(&manager, vec![with("b", "10.0.0.2")]).await, [yes()]);
    assert_eq!(claim(&manager, vec![with("c", "10.0.0.1")]).await, [no("Insufficient")]);
    assert_eq!(claim(&manager, vec![with("d", "")]).await, [no("Insufficient")]);
}

#[tokio::test]
async fn many_at_once_never_take_more_than_there_is() {
    let manager = Api::resource_manager(&clock(), 1);
    manager.make_node("n", "10", "1Gi", 100).await;
    manager.jitter.store(5, Ordering::SeqCst);
    let asks = (0..40).map(|pod| claim(&manager, vec![request(&format!("p{pod}"), "n", 1000)]));
    let accepted = join_all(asks).await.into_iter().flatten().filter(|(accepted, _)| *accepted).count();
    assert_eq!((accepted, manager.engine.counter("claim/n/cpu-milli")), (10, 10_000));
}

#[tokio::test]
async fn a_bind_that_races_with_the_end_of_its_claim_lands_before_it_or_not_at_all() {
    let (mut bound, mut ended) = (0, 0);
    for seed in 0..200 {
        let clock = clock();
        let partition = Api::partition(&clock, seed);
        partition.make_pod("acme", "a", "1").await;
        partition.jitter.store(8, Ordering::SeqCst);
        let claim = request("a", "n", 1000);
        let fence = Fence::new(partition.clone(), Arc::new(clock.clone()));
        let (key, body) = (pod_key("a"), binding(&claim));
        let (bind, end) = futures::join!(partition.post(&key, "binding", body.clone()), fence.end("rm-0", &claim));
        let pod = partition.all::<Pod>().remove(0).1;
        match end.expect("it can tell") {
            Held::Bound => {
                bound += 1;
                assert_eq!((pod.spec.node_name.as_str(), bind.is_ok()), ("n", true), "seed {seed}");
            }
            Held::Ended => {
                ended += 1;
                assert_eq!((pod.spec.node_name.as_str(), bind.is_ok()), ("", false), "seed {seed}");
                let late = partition.post(&key, "binding", body).await.expect_err("it has ended");
                assert!(late.is(Reason::Conflict), "seed {seed}: {late}");
            }
        }
    }
    assert!(bound > 10 && ended > 10, "both were seen: {bound}, {ended}");
}

/// A resource manager with one claim of each kind, and an asker over a partition that holds one of the pods bound.
async fn asked() -> (ManualClock, Arc<Api>, Arc<Api>, Asker) {
    let clock = clock();
    let (partition, manager) = (Api::partition(&clock, 1), Api::resource_manager(&clock, 2));
    manager.make_node("n", "8", "1Gi", 10).await;
    let claims = vec![request("bound", "n", 1000), request("waits", "n", 1000), request("gone", "n", 1000)];
    assert_eq!(claim(&manager, claims).await, [yes(), yes(), yes()]);
    partition.make_pod("acme", "bound", "1").await;
    partition.make_pod("acme", "waits", "1").await;
    let bind = binding(&request("bound", "n", 1000));
    partition.post(&pod_key("bound"), "binding", bind).await.expect("it binds");
    let reach = partition.clone();
    let asker = Asker::new(
        "rm-0",
        manager.engine.clone(),
        manager.handler(),
        Arc::new(move |name| (name == "tp-1").then(|| reach.clone() as Arc<dyn Client>)),
        Arc::new(clock.clone()),
        Duration::from_secs(60),
    );
    (clock, partition, manager, asker)
}

#[tokio::test]
async fn claims_that_are_old_and_not_bound_end_by_their_partitions_word() {
    let (clock, partition, manager, mut asker) = asked().await;
    asker.round().await.expect("it can be read");
    assert_eq!(manager.all::<Claim>().len(), 3, "none is old");
    clock.advance(Duration::from_secs(61));
    asker.round().await.expect("it can be read");
    let left = manager.all::<Claim>();
    assert_eq!(left.iter().map(|(_, claim)| claim.spec.pod.as_str()).collect::<Vec<_>>(), ["bound"]);
    assert_eq!(manager.engine.counter("claim/n/cpu-milli"), 1000);
    let late = partition.post(&pod_key("waits"), "binding", binding(&request("waits", "n", 1000))).await;
    assert!(late.is_err(), "nothing is bound under a claim that has ended");
    assert_eq!(partition.all::<ClaimFence>().len(), 2);
}

#[tokio::test]
async fn a_partition_that_does_not_answer_keeps_its_claims() {
    let (clock, partition, manager, mut asker) = asked().await;
    partition.answers.store(false, Ordering::SeqCst);
    for _ in 0..10 {
        clock.advance(Duration::from_secs(3600));
        asker.round().await.expect("it can be read");
    }
    assert_eq!(manager.all::<Claim>().len(), 3);
    partition.answers.store(true, Ordering::SeqCst);
    asker.round().await.expect("it can be read");
    assert_eq!(manager.all::<Claim>().len(), 1);
}

#[tokio::test]
async fn a_partition_that_is_held_holds_up_the_claims_of_no_other() {
    let (clock, partition, manager, _) = asked().await;
    let held = Api::partition(&clock, 3);
    held.silent.store(true, Ordering::SeqCst);
    let mut review = ClaimReview::default();
    review.spec.partition = "tp-0".to_owned(); // it is asked first
    review.spec.claims = vec![ClaimRequest { name: claim_name("tp-0", "uid", 0), ..request("other", "n", 1000) }];
    assert!(post(&*manager, &review).await.expect("an answer").results[0].accepted);
    let mut asker = Asker::new(
        "rm-0",
        manager.engine.clone(),
        manager.handler(),
        Arc::new(move |name| Some(if name == "tp-1" { partition.clone() } else { held.clone() } as Arc<dyn Client>)),
        Arc::new(clock.clone()),
        Duration::from_secs(60),
    );
    clock.advance(Duration::from_secs(61));
    let mut round = std::pin::pin!(asker.round());
    for _ in 0..100 {
        assert!(futures::poll!(&mut round).is_pending(), "it waits for the one that is held");
        tokio::task::yield_now().await;
    }
    let left = manager.all::<Claim>();
    let mut left: Vec<_> = left.iter().map(|(_, claim)| claim.spec.pod.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["bound", "other"]);
}

#[tokio::test]
async fn fences_go_when_their_pods_are_long_gone() {
    let (clock, partition, _, mut asker) = asked().await;
    clock.advance(Duration::from_secs(61));
    asker.round().await.expect("it can be read");
    let fence = Fence::new(partition.clone(), Arc::new(clock.clone()));
    fence.sweep().await.expect("they can be listed");
    assert_eq!(partition.all::<ClaimFence>().len(), 2, "they are young");
    clock.advance(Duration::from_secs(3601));
    fence.sweep().await.expect("they can be listed");
    let left = partition.all::<ClaimFence>();
    assert_eq!(left.len(), 1, "the pod that waits is still there");
    assert_eq!(json!(left[0].1.spec.claim), json!(request("waits", "n", 1).name));
}

#[tokio::test]
async fn a_pod_that_comes_with_its_host_is_claimed_at_whoever_has_the_host() {
    let clock = clock();
    let managers: Vec<_> = (0..2).map(|at| Api::resource_manager(&clock, at)).collect();
    managers[0].make_node("m", "8", "1Gi", 10).await;
    managers[1].make_node("n", "1", "1Gi", 10).await;
    let clients = managers.iter().enumerate();
    let clients: Vec<_> = clients.map(|(at, api)| (format!("rm-{at}"), api.clone() as Arc<dyn Client>)).collect();
    let claimer = DirectClaimer::new("tp-1", clients);
    let pod = |name: &str, node: &str| {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": "1"}}});
        let metadata = json!({"name": name, "namespace": "default", "uid": name});
        let pod = json!({"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}});
        Object::from_value(pod).expect("an object")
    };
    assert_eq!(claimer.claim("acme", &pod("a", "n")).await.as_deref(), Ok("rm-1/tp-1.a"));
    assert_eq!(claimer.claim("acme", &pod("a", "n")).await.as_deref(), Ok("rm-1/tp-1.a"));
    assert!(claimer.claim("acme", &pod("b", "n")).await.expect_err("it is full").is(Reason::Conflict));
    assert!(claimer.claim("acme", &pod("b", "x")).await.expect_err("there is none").is(Reason::NotFound));
    managers[0].answers.store(false, Ordering::SeqCst);
    let unsure = claimer.claim("acme", &pod("b", "x")).await.expect_err("nobody knows");
    assert!(unsure.is(Reason::ServiceUnavailable), "a host may be where nobody answers");
}

#[tokio::test]
async fn a_pod_whose_claim_has_ended_or_is_for_another_host_is_claimed_under_another() {
    let clock = clock();
    let (partition, manager) = (Api::partition(&clock, 1), Api::resource_manager(&clock, 2));
    for node in ["m", "n"] {
        manager.make_node(node, "8", "1Gi", 10).await;
    }
    let clients: Vec<(String, Arc<dyn Client>)> = vec![("rm-0".to_owned(), manager.clone())];
    let claimer = DirectClaimer::new("tp-1", clients).fenced(partition.clone());
    let pod = |node: &str| {
        let metadata = json!({"name": "a", "namespace": "default", "uid": "u"});
        let pod = json!({"metadata": metadata, "spec": {"nodeName": node, "containers": [{"name": "c"}]}});
        Object::from_value(pod).expect("an object")
    };
    assert_eq!(claimer.claim("acme", &pod("m")).await.as_deref(), Ok("rm-0/tp-1.u"));
    assert_eq!(claimer.claim("acme", &pod("n")).await.as_deref(), Ok("rm-0/tp-1.u.1"));
    // Nothing was bound under them: the partition ends them when it is asked.
    let fence = Fence::new(partition, Arc::new(clock));
    for (stored, claim) in manager.all::<Claim>() {
        let ask = asker::request_of(stored.path.name(), claim.spec);
        assert_eq!(fence.end("rm-0", &ask).await.expect("it can tell"), Held::Ended);
        assert!(release(&manager, "tp-1", &ask.name).await);
    }
    assert_eq!(claimer.claim("acme", &pod("m")).await.as_deref(), Ok("rm-0/tp-1.u.2"));
}

#[tokio::test]
async fn a_claim_is_judged_by_what_its_host_can_give_in_that_moment() {
    let manager = Api::resource_manager(&clock(), 1);
    manager.make_node("n", "8", "1Gi", 10).await;
    let before = manager.engine.snapshot();
    let key = ObjectKey { resource: Node::resource(), path: ObjectPath::new("", "", "n") };
    let shrinks = |node: &mut Object| node.set(&["status", "allocatable", "cpu"], "2");
    manager.change(&key, shrinks).await.expect("it is there");
    let handler = manager.handler();
    for (pod, cpu, reason) in [("a", 3000, "Insufficient"), ("b", 2000, "")] {
        let result = handler.claims(&before, "tp-1", &[request(pod, "n", cpu)]).await.remove(0);
        assert_eq!((result.accepted, &*result.reason), (reason.is_empty(), reason), "{pod}");
    }
    assert_eq!(manager.engine.counter("claim/n/cpu-milli"), 2000);
    manager.delete(&key, Default::default()).await.expect("it is there");
    let result = handler.claims(&before, "tp-1", &[request("c", "n", 0)]).await.remove(0);
    assert_eq!((result.accepted, &*result.reason), (false, "HostGone"));
}

#[tokio::test]
async fn whose_host_it_is_a_manager_that_says_nothing_keeps_nobody_from_hearing() {
    let clock = clock();
    let (silent, manager) = (Api::resource_manager(&clock, 1), Api::resource_manager(&clock, 2));
    silent.silent.store(true, Ordering::SeqCst);
    manager.make_node("n", "8", "1Gi", 10).await;
    let clients: Vec<(String, Arc<dyn Client>)> = vec![("rm-0".to_owned(), silent), ("rm-1".to_owned(), manager)];
    let claimer = DirectClaimer::new("tp-1", clients);
    let pod = json!({"metadata": {"name": "a", "namespace": "default", "uid": "u"},
        "spec": {"nodeName": "n", "containers": [{"name": "c"}]}});
    let claimed = claimer.claim("acme", &Object::from_value(pod).expect("an object")).await;
    assert_eq!(claimed.as_deref(), Ok("rm-1/tp-1.u"));
}
