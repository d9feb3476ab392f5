//! A controller: it keeps a child for each object, makes it again when it goes, cleans up behind itself (a finalizer),
//! publishes events, and outlives the server.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event as Happening, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as Stage, finalizer};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use super::{client, make, maps, until, world};

type Failure = Box<dyn std::error::Error + Send + Sync>;
const FINALIZER: &str = "example.org/cleaned";

struct Context {
    client: Client,
    recorder: Recorder,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failed(#[from] kube::runtime::finalizer::Error<kube::Error>);

async fn reconcile(map: Arc<ConfigMap>, context: Arc<Context>) -> Result<Action, Failed> {
    let maps = maps(&context.client);
    let done = finalizer(&maps, FINALIZER, map, |stage| async {
        match stage {
            Stage::Apply(map) => apply(&map, &context).await,
            Stage::Cleanup(map) => cleanup(&map, &context.client).await,
        }
    });
    Ok(done.await?)
}

/// Its child is a service account with its name.
async fn apply(map: &ConfigMap, context: &Context) -> kube::Result<Action> {
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), "default");
    let child = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": map.name_any(), "ownerReferences": [map.controller_owner_ref(&())]},
    });
    accounts.patch(&map.name_any(), &PatchParams::apply("controller").force(), &Patch::Apply(child)).await?;
    let note = Some(format!("{} has its account", map.name_any()));
    let happening =
        Happening { type_: EventType::Normal, reason: "Made".into(), note, action: "Making".into(), secondary: None };
    context.recorder.publish(&happening, &map.object_ref(&())).await?;
    Ok(Action::await_change())
}

async fn cleanup(map: &ConfigMap, client: &Client) -> kube::Result<Action> {
    let done = json!({"metadata": {"labels": {"cleaned": map.name_any()}}});
    maps(client).patch("ledger", &PatchParams::default(), &Patch::Merge(done)).await?;
    Ok(Action::await_change())
}

fn start(runtime: &tokio::runtime::Runtime, client: &Client) -> tokio::task::JoinHandle<()> {
    let _entered = runtime.enter();
    let labelled = watcher::Config::default().labels("seen=yes");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let recorder = Recorder::new(client.clone(), Reporter { controller: "test".into(), instance: None });
    let context = Arc::new(Context { client: client.clone(), recorder });
    let running = Controller::new(maps(client), labelled)
        .owns(accounts, watcher::Config::default())
        .run(reconcile, |_, _: &Failed, _| Action::requeue(Duration::from_millis(100)), context)
        .for_each(|_| std::future::ready(()));
    runtime.spawn(running)
}

#[test]
fn a_controller_keeps_a_child_for_each_object_through_a_restart_of_the_server() {
    let mut world = world();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime.block_on(client(&world));
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    runtime.block_on(async {
        let mut ledger = super::map("ledger");
        ledger.metadata.labels = None;
        maps(&client).create(&kube::api::PostParams::default(), &ledger).await.expect("created");
    });
    let controller = start(&runtime, &client);
    runtime.block_on(async {
        make(&client, "first").await;
        account(&accounts, "first").await;
        let events: Api<Event> = Api::namespaced(client.clone(), "default");
        until("its event", || async {
            let events = events.list(&ListParams::default()).await.expect("a list").items;
            events.into_iter().find(|it| it.note.as_deref() == Some("first has its account"))
        })
        .await;
    });
    world.region.restart();
    runtime.block_on(async {
        until("a write after the restart", || async { maps(&client).get_opt("first").await.ok() }).await;
        let before = account(&accounts, "first").await.uid();
        accounts.delete("first", &DeleteParams::default()).await.expect("deleted");
        until("another child", || async {
            let found = accounts.get_opt("first").await.expect("an answer")?;
            (found.uid() != before).then_some(())
        })
        .await;
        make(&client, "second").await;
        account(&accounts, "second").await;
        ends_cleanly(&client, &accounts).await.expect("it ends");
        controller.abort();
    });
    assert!(world.region.stop().success());
}

async fn account(accounts: &Api<ServiceAccount>, name: &str) -> ServiceAccount {
    until(name, || async { accounts.get_opt(name).await.expect("an answer") }).await
}

async fn ends_cleanly(client: &Client, accounts: &Api<ServiceAccount>) -> Result<(), Failure> {
    let going = maps(client).delete("first", &DeleteParams::foreground()).await?;
    assert!(going.is_left(), "its finalizer holds it");
    until("the end of the object", || async {
        maps(client).get_opt("first").await.expect("an answer").is_none().then_some(())
    })
    .await;
    assert_eq!(maps(client).get("ledger").await?.labels()["cleaned"], "first");
    until("the end of its child", || async {
        accounts.get_opt("first").await.expect("an answer").is_none().then_some(())
    })
    .await;
    Ok(())
}
