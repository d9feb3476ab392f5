//! A control plane of your own: a kind with a Rust type, a controller for it, and a scheduler plugin, in one process.
//!
//!     cargo run --release --example own_plane
//!
//! The controller makes a pod for each recipe, the plugin sends pods to one host, and the pod's host is written into
//! the recipe's status. (A store backend of your own: `arktos-store/examples/own_backend.rs`, and `Builder::journal`.)

use std::sync::Arc;

use arktos::core::typed::{KindOf, Pod};
use arktos::core::{Kind, ObjectMeta, ObjectPath, Reason, Scope};
use arktos::sched::ask::Ask;
use arktos::sched::hosts::HostFacts;
use arktos::sched::intern::Interner;
use arktos::sched::plugin::{POINT, Plugins, Preference};
use arktos::store::client::Patch;
use arktos::store::informer::Parsed;
use arktos::store::{Delivery, Informer, Outcome, Query, Within, WorkQueue};
use arktos::{Client, ControlPlane, Identity, Object, ObjectKey, Status, TenantName};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// What clients see: the API reads, defaults and checks recipes by this schema.
fn kind() -> Result<Kind, Failure> {
    let schema = json!({"properties": {
        "spec": {"type": "object", "required": ["dish"], "properties": {"dish": {"type": "string"}}},
        "status": {"type": "object", "properties": {"kitchen": {"type": "string"}}},
    }});
    Ok(Kind::custom("example.org", "v1", "Recipe", "recipes", Scope::Namespace).with_schema(&schema)?)
}

/// What the controller sees.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Recipe {
    metadata: ObjectMeta,
    spec: RecipeSpec,
    status: RecipeStatus,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct RecipeSpec {
    dish: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct RecipeStatus {
    kitchen: String,
}

impl KindOf for Recipe {
    const RESOURCE: &'static str = "recipes.example.org";
    const TYPE: (&'static str, &'static str) = ("example.org/v1", "Recipe");

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The controller. One set of informers and one queue serve all tenants.
struct Cook {
    client: Arc<dyn Client>,
    recipes: Informer<Parsed<Recipe>>,
    pods: Informer<Parsed<Pod>>,
}

impl Cook {
    /// Starts it. It ends with the control plane.
    fn start(plane: &ControlPlane) {
        let client = plane.client(Identity::system_component("cook"));
        let (clock, random, tasks) = (plane.clock(), plane.random(), plane.tasks());
        let queue = WorkQueue::new(clock.clone());
        // A recipe is looked at when it changes, and when the pod of its name does.
        let query = Query::everywhere(Recipe::resource());
        let (recipes, driver) = Informer::builder(client.clone(), query, clock.clone(), random.clone())
            .feed(&queue, |event| vec![event.path().clone()])
            .build();
        tasks.add("recipes", driver);
        let (pods, driver) = Informer::builder(client.clone(), Query::everywhere(Pod::resource()), clock, random)
            .feed(&queue, |event| vec![event.path().clone()])
            .build();
        tasks.add("pods", driver);
        let cook = Self { client, recipes, pods };
        tasks.add("cook", async move {
            while let Some(path) = queue.get().await {
                let cooked = cook.look_after(&path).await;
                // What failed comes again, later each time. (A new namespace has no service account for a moment.)
                path.finish(if cooked.is_ok() { Outcome::Done } else { Outcome::Retry });
            }
        });
    }

    async fn look_after(&self, path: &ObjectPath) -> Result<(), Status> {
        // A recipe that is gone takes its pod along: the pod's owner is gone.
        let Some(recipe) = self.recipes.store().get(path) else { return Ok(()) };
        let Some(pod) = self.pods.store().get(path) else { return self.make_pod(path, &recipe).await };
        if pod.status.phase != "Running" || recipe.status.kitchen == pod.spec.node_name {
            return Ok(());
        }
        let key = ObjectKey { resource: Recipe::resource(), path: path.clone() };
        let patch = Patch::Merge(json!({"status": {"kitchen": pod.spec.node_name}}));
        self.client.patch(&key, Some("status"), patch).await.map(drop)
    }

    async fn make_pod(&self, path: &ObjectPath, recipe: &Recipe) -> Result<(), Status> {
        let owner = json!({
            "apiVersion": Recipe::TYPE.0, "kind": Recipe::TYPE.1, "name": path.name(), "uid": recipe.metadata.uid,
            "controller": true,
        });
        let pod = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": path.name(), "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "cook", "image": recipe.spec.dish}]},
        }));
        let made = self.client.create(&Pod::resource(), path.tenant(), path.namespace(), pod.unwrap_or_default()).await;
        match made {
            Err(status) if !status.is(Reason::AlreadyExists) => Err(status),
            _ => Ok(()),
        }
    }
}

/// Sends pods to the host where the oven is.
struct NearTheOven;

impl Preference for NearTheOven {
    fn name(&self) -> &'static str {
        "NearTheOven"
    }

    fn points(&self, _: &Ask, host: &HostFacts, _: &Interner) -> i32 {
        if &*host.name == "hollow-2" { 100 * POINT } else { 0 }
    }
}

fn plugins() -> Plugins {
    let mut plugins = Plugins::default();
    plugins.preferences.push(Box::new(NearTheOven));
    plugins
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let acme = TenantName::new("acme")?;
    let plane = ControlPlane::builder().tenant(&acme).kind(kind()?).hosts(4).plugins(plugins).start().await?;
    Cook::start(&plane);

    // A user of the tenant writes a recipe, and waits until it is being cooked.
    let user = plane.client(Identity::user("admin", &[], &acme));
    let mut soup = Recipe::named("soup");
    soup.spec.dish = "soup".to_owned();
    let made = user.create(&Recipe::resource(), acme.as_str(), "default", soup.to_object()).await?;
    let mut changes = user.watch(&Query::all(Recipe::resource(), Within::Tenant(acme)), made.revision).await?;
    while let Some(delivery) = changes.next().await {
        let Delivery::Modified(stored) = delivery? else { continue };
        let recipe: Recipe = stored.object.parse()?;
        if !recipe.status.kitchen.is_empty() {
            println!("{} is cooked on {}", recipe.spec.dish, recipe.status.kitchen);
            assert_eq!(recipe.status.kitchen, "hollow-2");
            break;
        }
    }
    plane.stop().await;
    Ok(())
}
