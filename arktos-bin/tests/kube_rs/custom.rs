//! A kind of one's own, derived from a Rust type: its definition, its objects, their status and scale.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, CustomResource, CustomResourceExt, ResourceExt, discovery};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{client, refusal, run, until, world};

#[derive(CustomResource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[kube(group = "clux.example", version = "v1", kind = "Foo", namespaced, status = "FooStatus", shortname = "f")]
#[kube(scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"))]
#[kube(printcolumn(name = "Info", json_path = ".spec.info", type_ = "string"), selectable = ".spec.info")]
struct FooSpec {
    #[schemars(length(min = 3))]
    name: String,
    info: String,
    replicas: i32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct FooStatus {
    is_bad: bool,
    replicas: i32,
}

fn foo(name: &str, info: &str) -> Foo {
    Foo::new(name, FooSpec { name: name.to_owned(), info: info.to_owned(), replicas: 1 })
}

async fn define(client: &Client) -> Api<CustomResourceDefinition> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.patch(Foo::crd_name(), &PatchParams::apply("test"), &Patch::Apply(Foo::crd())).await.expect("defined");
    let established = await_condition(definitions.clone(), Foo::crd_name(), conditions::is_crd_established());
    tokio::time::timeout(super::PATIENCE, established).await.expect("in time").expect("established");
    definitions
}

#[test]
fn a_derived_kind_is_defined_used_and_taken_away() {
    let world = world();
    run(async {
        let client = client(&world).await;
        let definitions = define(&client).await;
        let foos: Api<Foo> = Api::default_namespaced(client.clone());
        objects(&foos).await;
        subresources(&foos).await;
        dynamic(&client, &foos).await;
        foos.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("deleted");
        definitions.delete(Foo::crd_name(), &DeleteParams::default()).await.expect("deleted");
        until("the end of the kind", || async { foos.list(&ListParams::default()).await.err() }).await;
    });
}

async fn objects(foos: &Api<Foo>) {
    let post = PostParams::default();
    let made = foos.create(&post, &foo("baz", "old baz")).await.expect("created");
    assert_eq!((made.spec.info.as_str(), made.status.is_none()), ("old baz", true));
    let mut changed = made.clone();
    changed.spec.info = "new baz".to_owned();
    let replaced = foos.replace("baz", &post, &changed).await.expect("replaced");
    assert_eq!((replaced.spec.info.as_str(), replaced.metadata.generation), ("new baz", Some(2)));
    let stale = refusal(foos.replace("baz", &post, &changed).await);
    assert!((stale.code, stale.reason.as_str()) == (409, "Conflict") && stale.is_conflict(), "{stale:?}");
    let short = refusal(foos.create(&post, &foo("x", "a")).await);
    assert!(short.message.contains("spec.name in body should be at least 3 chars long"), "{short:?}");
    assert_eq!(short.details.expect("details").causes[0].field, "spec.name");
    assert!(foos.delete("baz", &DeleteParams::default()).await.expect("deleted").is_right(), "it goes at once");
    assert!(foos.get_opt("baz").await.expect("an answer").is_none());
    let mut entry = foos.entry("qux").await.expect("an entry").or_insert(|| foo("qux", "unpatched"));
    entry.commit(&post).await.expect("created");
    for name in ["red", "blue"] {
        foos.create(&post, &foo(name, &format!("info-{name}"))).await.expect("created");
    }
    let found = foos.list(&ListParams::default().fields("spec.info=info-red")).await.expect("a list");
    assert_eq!(found.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["red"]);
    let page = foos.list(&ListParams::default().limit(2)).await.expect("a page");
    let next = ListParams::default().limit(2).continue_token(page.metadata.continue_.as_deref().expect("more"));
    let rest = foos.list(&next).await.expect("a page");
    assert_eq!((page.items.len(), page.metadata.remaining_item_count, rest.items.len()), (2, Some(1), 1));
}

async fn subresources(foos: &Api<Foo>) {
    let params = PatchParams::default();
    let mut qux = foos.get("qux").await.expect("it is there");
    qux.status = Some(FooStatus { is_bad: true, replicas: 0 });
    let replaced = foos.replace_status("qux", &PostParams::default(), &qux).await.expect("replaced");
    assert!(replaced.status.expect("a status").is_bad);
    let status = json!({"status": FooStatus { is_bad: false, replicas: 1 }, "spec": {"info": "not this way"}});
    let patched = foos.patch_status("qux", &params, &Patch::Merge(status)).await.expect("patched");
    assert_eq!((patched.status.expect("a status").replicas, patched.spec.info.as_str()), (1, "unpatched"));
    let scale = foos.get_scale("qux").await.expect("a scale");
    assert_eq!((scale.spec.and_then(|it| it.replicas), scale.status.map(|it| it.replicas)), (Some(1), Some(1)));
    let two = Patch::Merge(json!({"spec": {"replicas": 2}}));
    let scaled = foos.patch_scale("qux", &params, &two).await.expect("scaled");
    assert_eq!(scaled.spec.and_then(|it| it.replicas), Some(2));
    assert_eq!(foos.get("qux").await.expect("it is there").spec.replicas, 2);
}

/// The same kind by somebody who has no type for it.
async fn dynamic(client: &Client, foos: &Api<Foo>) {
    let found = discovery::Discovery::new(client.clone()).run().await.expect("discovered");
    let group = found.get("clux.example").expect("the group");
    let (resource, capabilities) = group.recommended_kind("Foo").expect("the kind");
    assert!(capabilities.supports_operation(discovery::verbs::PATCH) && capabilities.subresources.len() == 2);
    let aggregated = discovery::Discovery::new(client.clone()).run_aggregated().await.expect("discovered");
    assert!(aggregated.get("clux.example").is_some() && aggregated.get("apps").is_some());
    let dynamic: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    let body = json!({
        "apiVersion": resource.api_version, "kind": "Foo", "metadata": {"name": "qux"}, "spec": {"info": "applied"},
    });
    let conflict = refusal(dynamic.patch("qux", &PatchParams::apply("other"), &Patch::Apply(&body)).await);
    assert!(conflict.is_conflict() && conflict.message.contains(".spec.info"), "{conflict:?}");
    let forced = dynamic.patch("qux", &PatchParams::apply("other").force(), &Patch::Apply(&body)).await;
    assert_eq!(forced.expect("applied").data["spec"]["info"], "applied");
    let metadata = foos.get_metadata("qux").await.expect("its metadata");
    assert_eq!(metadata.types.expect("types").kind, "PartialObjectMetadata");
}
