//! A control plane inside a program: no sockets, a `kube::Client`, a kube-rs controller, and ten of them side by side.
//!
//!     cargo run --release --example embed

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arktos::{ControlPlane, ManualClock, TenantName, Timestamp};
use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let started = Instant::now();
    // One thread runs everything: ten control planes and ten controllers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        first_object(started).await?;
        future::try_join_all((0..10).map(side_by_side)).await?;
        println!("ten control planes ran side by side on one thread, each with its own clock");
        Ok(())
    })
}

/// How long it takes from `main` to the first object watched.
async fn first_object(started: Instant) -> Result<(), Failure> {
    let tenant = TenantName::new("acme")?;
    let plane = ControlPlane::builder().tenant(&tenant).start().await?;
    let client = Client::new(plane.service(&tenant), "default");
    let maps: Api<ConfigMap> = Api::all(client);
    let mut seen = watcher(maps, watcher::Config::default()).applied_objects().boxed();
    // The tenant's own first object: a namespace's root certificate, or whatever comes first.
    let first = seen.try_next().await?.ok_or("the watch ended")?;
    println!("from main to the first object watched ({}): {} ms", first.name_any(), started.elapsed().as_millis());
    drop(seen);
    plane.stop().await;
    Ok(())
}

/// A control plane with a clock of its own, and a controller against it that copies every ConfigMap with a label.
async fn side_by_side(number: i64) -> Result<(), Failure> {
    let clock = ManualClock::new(Timestamp::from_micros(number * 1_000_000_000));
    let tenant = TenantName::new("acme")?;
    let plane = ControlPlane::builder().tenant(&tenant).clock(clock).start().await?;
    let client = Client::new(plane.service(&tenant), "default");

    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let original = ConfigMap {
        metadata: ObjectMeta {
            name: Some("settings".to_owned()),
            labels: Some(BTreeMap::from([("copy".to_owned(), "yes".to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("number".to_owned(), number.to_string())])),
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &original).await?;

    let labelled = watcher::Config::default().labels("copy=yes");
    let controller =
        Controller::new(maps.clone(), labelled).run(copy, |_, _, _| Action::await_change(), Arc::new(client));
    let mut controller = controller.boxed();
    controller.next().await.ok_or("the controller ended")??;

    let made = maps.get("settings-copy").await?;
    assert_eq!(made.data, original.data);
    let created = made.metadata.creation_timestamp.ok_or("no creation timestamp")?;
    assert_eq!(created.0.as_second(), number * 1000, "the time is the control plane's own");
    drop(controller);
    plane.stop().await;
    Ok(())
}

async fn copy(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.as_ref().clone(), "default");
    let copy = ConfigMap {
        metadata: ObjectMeta {
            name: Some(format!("{}-copy", map.name_any())),
            owner_references: map.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: map.data.clone(),
        ..ConfigMap::default()
    };
    match maps.create(&PostParams::default(), &copy).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Action::await_change()),
        other => other.map(|_| Action::await_change()),
    }
}
