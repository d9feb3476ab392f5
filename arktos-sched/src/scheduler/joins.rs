//! Resource managers that join and leave while pods are placed.

use arktos_core::typed::Pod;
use arktos_store::roster::Members;
use tokio::sync::watch;

use super::tests::{Region, start_with};
use super::*;
use crate::testing::Api;

type Told = watch::Sender<Arc<Members>>;

/// A region whose scheduler follows a roster of which nothing is known yet.
fn region() -> (Region, Told) {
    let mut region = Region::new(2);
    let (told, roster) = watch::channel(Arc::default());
    region.drivers = start_with(&region.clock, ("tp-1", &region.partition), Roster::followed(roster), 7).1;
    (region, told)
}

fn tell(told: &Told, present: &[(&str, &Arc<Api>)], removed: &[&str]) {
    let present = present.iter().map(|(name, api)| ((*name).to_owned(), (*api).clone() as Arc<dyn Client>)).collect();
    let removed = removed.iter().map(|name| (*name).to_owned()).collect();
    told.send_replace(Arc::new(Members::new(present, removed, true)));
}

#[tokio::test]
async fn hosts_of_a_resource_manager_that_joins_are_chosen_and_of_one_that_was_removed_are_not() {
    let (mut region, told) = region();
    let (one, other) = (region.managers[0].clone(), region.managers[1].clone());
    one.make_node("node-1", "2", "1Gi", 10).await;
    other.make_node("node-1", "2", "1Gi", 10).await;
    region.partition.make_pod("acme", "a", "2").await;
    region.pass(5).await;
    assert_eq!(region.bound("acme", "a"), None, "it is not known yet who there is");
    tell(&told, &[("rm-0", &one)], &[]);
    region.pass(1).await;
    assert_eq!(region.bound("acme", "a"), Some(("rm-0".to_owned(), "node-1".to_owned())));
    region.partition.make_pod("acme", "b", "2").await;
    region.pass(2).await;
    assert_eq!(region.bound("acme", "b"), None, "it is full");
    tell(&told, &[("rm-0", &one), ("rm-1", &other)], &[]);
    region.pass(2).await;
    assert_eq!(region.bound("acme", "b"), Some(("rm-1".to_owned(), "node-1".to_owned())));

    tell(&told, &[("rm-1", &other)], &["rm-0"]);
    region.settle().await;
    one.make_node("node-2", "8", "1Gi", 10).await;
    region.partition.make_pod("acme", "c", "2").await;
    region.pass(15).await;
    assert_eq!(region.bound("acme", "c"), None, "nothing is placed where nobody is any more");
    other.make_node("node-2", "2", "1Gi", 10).await;
    region.pass(2).await;
    assert_eq!(region.bound("acme", "c"), Some(("rm-1".to_owned(), "node-2".to_owned())));
}

#[tokio::test]
async fn what_is_bound_to_hosts_of_one_that_joins_late_is_given_back_when_it_has_finished() {
    let mut region = Region::new(1);
    let manager = region.managers[0].clone();
    manager.make_node("node-1", "2", "1Gi", 10).await;
    region.partition.make_pod("acme", "a", "2").await;
    region.settle().await;
    assert!(region.bound("acme", "a").is_some());

    let (told, roster) = watch::channel(Arc::default());
    region.drivers = start_with(&region.clock, ("tp-1", &region.partition), Roster::followed(roster), 8).1;
    region.settle().await; // the pod is seen before anybody knows of its resource manager
    tell(&told, &[("rm-0", &manager)], &[]);
    region.pass(1).await;
    let (stored, _) = region.partition.all::<Pod>().remove(0);
    let key = arktos_core::ObjectKey { resource: Pod::resource(), path: stored.path };
    let finish = |pod: &mut arktos_core::Object| pod.set(&["status", "phase"], "Succeeded");
    region.partition.change(&key, finish).await.expect("it is there");
    region.pass(12).await;
    assert_eq!(manager.engine.counter("claim/node-1/cpu-milli"), 0);
}
