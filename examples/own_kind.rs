//! A kind of one's own, served beside the built-in ones: no definition has to be installed, it is there from the start.
//!
//!     cargo run --release --example own_kind

use arktos::core::{Kind, Scope};
use arktos::{ControlPlane, TenantName};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, WatchEvent};
use kube::{Api, Client, ResourceExt, discovery};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// What a recipe looks like: the API reads, defaults and checks it by this schema alone.
fn recipe() -> Result<Kind, Failure> {
    let schema = json!({"properties": {
        "spec": {"type": "object", "required": ["dish"], "properties": {
            "dish": {"type": "string"},
            "servings": {"type": "integer", "default": 2},
            "course": {"type": "string", "enum": ["main", "dessert"], "default": "main"},
        }},
        "status": {"type": "object", "properties": {"cooked": {"type": "integer"}}},
    }});
    let kind = Kind::custom("example.org", "v1", "Recipe", "recipes", Scope::Namespace).with_schema(&schema)?;
    Ok(kind.with_column("Dish", "string", "spec.dish").with_field("spec.course").with_short_name("rcp"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let tenant = TenantName::new("acme")?;
    let plane = ControlPlane::builder().tenant(&tenant).kind(recipe()?).start().await?;
    let client = Client::new(plane.service(&tenant), "kitchen");

    // Discovery knows it.
    let wanted = GroupVersionKind::gvk("example.org", "v1", "Recipe");
    let (resource, capabilities) = discovery::pinned_kind(&client, &wanted).await?;
    println!("{} is served as {}/{}", resource.kind, resource.api_version, resource.plural);
    assert!(capabilities.supports_operation(discovery::verbs::WATCH));

    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &named("kitchen")?).await?;
    let recipes: Api<DynamicObject> = Api::namespaced_with(client, "kitchen", &resource);

    // What the schema does not allow is refused, with the field that is wrong.
    for (name, spec) in [("nameless", json!({"course": "main"})), ("odd", json!({"dish": "soup", "course": "snack"}))] {
        match recipes.create(&PostParams::default(), &new(name, &resource, spec)).await {
            Err(kube::Error::Api(status)) if status.code == 422 => println!("refused: {}", status.message),
            other => return Err(format!("{name} was to be refused, got {other:?}").into()),
        }
    }

    // What it leaves open gets its default.
    let made = recipes.create(&PostParams::default(), &new("soup", &resource, json!({"dish": "soup"}))).await?;
    println!("created: {}", made.data["spec"]);
    assert_eq!(made.data["spec"], json!({"dish": "soup", "servings": 2, "course": "main"}));
    let cake = json!({"dish": "cake", "course": "dessert"});
    recipes.create(&PostParams::default(), &new("cake", &resource, cake)).await?;

    let desserts = recipes.list(&ListParams::default().fields("spec.course=dessert")).await?;
    println!("desserts: {:?}", desserts.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
    assert_eq!(desserts.items.len(), 1);

    let since = desserts.metadata.resource_version.ok_or("a list has a revision")?;
    let mut events = std::pin::pin!(recipes.watch(&kube::api::WatchParams::default(), &since).await?);
    let more = Patch::Merge(json!({"spec": {"servings": 8}}));
    recipes.patch("soup", &PatchParams::default(), &more).await?;
    recipes.patch_status("soup", &PatchParams::default(), &Patch::Merge(json!({"status": {"cooked": 1}}))).await?;
    recipes.delete("cake", &DeleteParams::default()).await?;
    for _ in 0..3 {
        match events.try_next().await?.ok_or("the watch ended")? {
            WatchEvent::Modified(object) => {
                println!("modified: {} {}", object.name_any(), json!([object.data["spec"], object.data["status"]]));
            }
            WatchEvent::Deleted(object) => println!("deleted:  {}", object.name_any()),
            other => return Err(format!("an event nobody expects: {other:?}").into()),
        }
    }

    // Controllers know it too: with its namespace, its objects go.
    let since = recipes.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    let mut events = std::pin::pin!(recipes.watch(&kube::api::WatchParams::default(), &since).await?);
    namespaces.delete("kitchen", &DeleteParams::default()).await?;
    match events.try_next().await?.ok_or("the watch ended")? {
        WatchEvent::Deleted(object) => println!("deleted with its namespace: {}", object.name_any()),
        other => return Err(format!("an event nobody expects: {other:?}").into()),
    }
    plane.stop().await;
    Ok(())
}

fn new(name: &str, resource: &ApiResource, spec: serde_json::Value) -> DynamicObject {
    DynamicObject::new(name, resource).data(json!({"spec": spec}))
}

fn named(name: &str) -> Result<Namespace, Failure> {
    Ok(serde_json::from_value(json!({"metadata": {"name": name}}))?)
}
