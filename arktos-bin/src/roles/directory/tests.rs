//! The directory over a real API, in a time of its own.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, Identity, Role};
use arktos_control::directory::{self, Contact, Placements, Registration, keeper};
use arktos_core::typed::{KindOf, MemberKind, TenantPlacement};
use arktos_core::{GroupResource, Object, ObjectKey, TenantName, Timestamp, TypeMeta};
use arktos_store::client::{DeleteOptions, Patch};
use arktos_store::clock::{ManualClock, SeededRandom};
use arktos_store::{Client, Clock, Engine, Random};
use serde_json::json;
use tokio::sync::watch;

use super::membership::{Membership, Reach};

fn random(seed: u64) -> Arc<dyn Random> {
    Arc::new(SeededRandom::new(seed))
}

async fn server(clock: &ManualClock, seed: u64) -> Arc<dyn Client> {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let mut config = ApiConfig::new(Engine::memory(clock.clone()), clock, random(seed));
    config.role = Role::ResourceManager; // no service addresses in the tenant system
    let server = ApiServer::new(config);
    server.bootstrap().await.expect("it is made ready");
    server.client(Identity::system_component("test"))
}

/// Lets everything run until nothing more happens at this moment.
async fn settle() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

async fn pass(clock: &ManualClock, seconds: u64) {
    for _ in 0..seconds.div_ceil(5) {
        clock.advance(Duration::from_secs(5));
        settle().await;
    }
}

fn placement(tenant: &str) -> ObjectKey {
    ObjectKey::region_scoped(TenantPlacement::resource(), tenant)
}

async fn placed(directory: &Arc<dyn Client>, tenant: &str) -> Option<String> {
    let stored = directory.get(&placement(tenant)).await.ok()?;
    Some(stored.object.parse::<TenantPlacement>().expect("a placement").spec.partition)
}

#[tokio::test]
async fn a_partition_enters_tenants_of_its_own_and_takes_back_the_places_of_those_that_nobody_makes() {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let (directory, partition) = (server(&clock, 1).await, server(&clock, 2).await);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    tokio::spawn(keeper("tp-1", partition.clone(), directory.clone(), shared.clone(), random(3)));
    let (placements, driver) = Placements::follow(directory.clone(), shared, random(4));
    tokio::spawn(driver);

    let tenants = GroupResource::core("tenants");
    let acme = Object::new(&TypeMeta::new("", "v1", "Tenant"), "acme");
    partition.create(&tenants, "", "", acme).await.expect("it is made");
    for (name, of) in [("nobody", "tp-1"), ("asked", "tp-1"), ("elsewhere", "tp-2")] {
        let placement = TenantPlacement::first(name, of).to_object();
        directory.create(&TenantPlacement::resource(), "", "", placement).await.expect("it is made");
    }
    settle().await;
    assert_eq!(placed(&directory, "acme").await.as_deref(), Some("tp-1"), "it is entered");
    assert_eq!((placements.tenants_of("tp-1"), placements.tenants_of("tp-2")), (3, 1));

    pass(&clock, 590).await;
    let asked = TenantName::new("asked").expect("a name");
    let again = placements.place(&asked, || panic!("it has a place")).await;
    assert_eq!(again.as_deref(), Ok("tp-1"));
    assert!(placed(&directory, "nobody").await.is_some(), "not yet");
    pass(&clock, 60).await;
    assert_eq!(placed(&directory, "nobody").await, None, "nobody made it");
    assert!(placed(&directory, "asked").await.is_some(), "somebody may still make it");
    assert!(placed(&directory, "elsewhere").await.is_some(), "it is another partition's");
    assert!(placed(&directory, "acme").await.is_some());
}

#[tokio::test]
async fn a_member_is_there_until_its_operator_removes_it() {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let directory = server(&clock, 1).await;
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let reach = |contact: watch::Receiver<Contact>| contact;
    let kind = MemberKind::Partition;
    let (members, driver) = directory::follow(kind, directory.clone(), reach, &shared, &random(2));
    tokio::spawn(driver);
    settle().await;
    assert!(members.borrow().complete && members.borrow().present.is_empty());

    let register = |port: u16| Registration {
        kind,
        name: "tp-1".to_owned(),
        url: format!("https://127.0.0.1:{port}"),
        directory: directory.clone(),
        clock: shared.clone(),
    };
    let process = tokio::spawn(register(1).run());
    settle().await;
    let contact = members.borrow().find("tp-1").expect("it has joined").reached.clone();
    assert_eq!(contact.borrow().servers, ["https://127.0.0.1:1"]);
    tokio::spawn(register(2).run());
    settle().await;
    assert_eq!(contact.borrow().servers, ["https://127.0.0.1:1", "https://127.0.0.1:2"]);

    // Deleting the object is nobody's word that it is gone.
    let key = ObjectKey::region_scoped(kind.resource(), "tp-1");
    directory.delete(&key, DeleteOptions::default()).await.expect("it is deleted");
    settle().await;
    assert!(members.borrow().find("tp-1").is_some());
    pass(&clock, 15).await;
    assert!(directory.get(&key).await.is_ok(), "a heartbeat has brought it back");

    // An address of which nothing is heard is forgotten in the end.
    process.abort();
    pass(&clock, 3700).await;
    assert_eq!(contact.borrow().servers, ["https://127.0.0.1:2"]);

    let phase = |phase: &str| Patch::Merge(json!({"spec": {"phase": phase}}));
    directory.patch(&key, None, phase("Removed")).await.expect("it is removed");
    settle().await;
    assert!(members.borrow().find("tp-1").is_none() && members.borrow().removed.contains("tp-1"));
    let back = directory.patch(&key, None, phase("Active")).await.expect_err("there is no way back");
    assert_eq!(back.code, 422, "{back}");
    pass(&clock, 30).await;
    assert!(members.borrow().find("tp-1").is_none(), "no heartbeat brings it back");
}

#[tokio::test]
async fn who_starts_beside_a_process_that_serves_the_same_member_is_told_so() {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let (directory, other) = (server(&clock, 1).await, server(&clock, 2).await);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let reach: Reach = Arc::new(move |_: watch::Receiver<Contact>| other.clone());
    let membership = Membership { directory: directory.clone(), reach, clock: shared.clone(), random: random(3) };
    let (kind, mine, others) = (MemberKind::Partition, "https://127.0.0.1:1", "https://127.0.0.1:2");
    assert_eq!(membership.alone(kind, "tp-1", mine).await, Ok(()), "nobody has joined");

    let (name, url) = ("tp-1".to_owned(), others.to_owned());
    let process = tokio::spawn(Registration { kind, name, url, directory, clock: shared }.run());
    settle().await;
    let told = membership.alone(kind, "tp-1", mine).await.expect_err("another one is there");
    assert!(told.contains(others), "{told}");
    assert_eq!(membership.alone(kind, "tp-1", others).await, Ok(()), "that is who asks");
    assert_eq!(membership.alone(kind, "tp-2", mine).await, Ok(()));
    process.abort();
    pass(&clock, 60).await;
    assert_eq!(membership.alone(kind, "tp-1", mine).await, Ok(()), "nothing was heard of it for long");
}

#[tokio::test]
async fn an_epoch_tells_which_of_two_placements_is_the_newer() {
    let clock = ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000));
    let directory = server(&clock, 1).await;
    let first = TenantPlacement::first("acme", "tp-1").to_object();
    directory.create(&TenantPlacement::resource(), "", "", first).await.expect("it is made");
    let to = |partition: &str, epoch: i64| Patch::Merge(json!({"spec": {"partition": partition, "epoch": epoch}}));
    for (partition, epoch, code) in [("tp-2", 1, 422), ("tp-1", 0, 422), ("tp-2", 2, 200), ("tp-1", 2, 422)] {
        let answer = directory.patch(&placement("acme"), None, to(partition, epoch)).await;
        assert_eq!(answer.err().map_or(200, |status| status.code), code, "{partition} {epoch}");
    }
}
