//! Typed objects: every way to write them, what goes along with what is deleted, and watches that are taken up again.

use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchParams};
use kube::core::WatchEvent;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{client, make, maps, refusal, run, until, world};

#[test]
fn workloads_are_patched_in_every_way_and_go_with_what_they_own() {
    let world = world();
    run(async {
        let client = client(&world).await;
        let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        let containers = json!([{"name": "main", "image": "web:1"}, {"name": "side", "image": "side:1"}]);
        let web = json!({"metadata": {"name": "web"}, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
        }});
        let web: Deployment = serde_json::from_value(web).expect("a deployment");
        deployments.create(&PostParams::default(), &web).await.expect("created");
        let images = |it: &Deployment| {
            let spec = it.spec.as_ref().and_then(|it| it.template.spec.as_ref()).expect("a spec");
            spec.containers.iter().filter_map(|it| it.image.clone()).collect::<Vec<_>>()
        };
        let params = PatchParams::default();
        let side = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:2"}]}}}});
        let strategic = deployments.patch("web", &params, &Patch::Strategic(&side)).await.expect("patched");
        assert_eq!(images(&strategic).len(), 2);
        let merged = deployments.patch("web", &params, &Patch::Merge(&side)).await.expect("patched");
        assert_eq!(images(&merged), ["side:2"]);
        let two = json!({"spec": {"replicas": 2}});
        deployments.patch_scale("web", &params, &Patch::Merge(&two)).await.expect("scaled");
        let list = ListParams::default().labels("app=web").fields("status.phase=Running");
        until("two running pods", || async { (pods.list(&list).await.ok()?.items.len() == 2).then_some(()) }).await;
        deployments.restart("web").await.expect("restarted");
        deployments.delete("web", &DeleteParams::foreground()).await.expect("deleted");
        let left = || async { pods.list(&ListParams::default().labels("app=web")).await.expect("a list").items };
        until("the end of the pods", || async { left().await.is_empty().then_some(()) }).await;
        until("the end of the deployment", || async {
            deployments.get_opt("web").await.expect("an answer").is_none().then_some(())
        })
        .await;
    });
}

#[test]
fn conditions_of_a_delete_are_kept_and_a_dry_run_changes_nothing() {
    let world = world();
    run(async {
        let client = client(&world).await;
        let made = make(&client, "a").await;
        let other = Preconditions { uid: Some("another".to_owned()), ..Preconditions::default() };
        let refused = maps(&client).delete("a", &DeleteParams::default().preconditions(other)).await;
        assert_eq!(refusal(refused).code, 409);
        maps(&client).delete("a", &DeleteParams::default().dry_run()).await.expect("it could be deleted");
        let same = Preconditions { uid: made.uid(), resource_version: made.resource_version() };
        maps(&client).delete("a", &DeleteParams::default().preconditions(same)).await.expect("deleted");
        let gone = refusal(maps(&client).get("a").await);
        assert_eq!((gone.code, gone.reason.as_str(), gone.is_not_found()), (404, "NotFound", true));
    });
}

#[test]
fn a_watch_is_taken_up_where_it_was_left() {
    let world = world();
    run(async {
        let client = client(&world).await;
        let maps = maps(&client);
        let since = make(&client, "before").await.resource_version().expect("a version");
        for name in ["a", "b", "c"] {
            make(&client, name).await;
        }
        let params = WatchParams::default().labels("seen=yes").timeout(60);
        let first = next(&maps, &params, &since, 2).await;
        let place = first[1].resource_version().expect("a version");
        maps.delete("a", &DeleteParams::default()).await.expect("deleted");
        let rest = next(&maps, &params, &place, 2).await;
        let names: Vec<String> = first.iter().chain(&rest).map(ResourceExt::name_any).collect();
        assert_eq!(names, ["a", "b", "c", "a"]);
    });
}

/// The objects of the next events.
async fn next(maps: &Api<ConfigMap>, params: &WatchParams, since: &str, count: usize) -> Vec<ConfigMap> {
    let mut stream = Box::pin(maps.watch(params, since).await.expect("a watch"));
    let mut seen = Vec::new();
    while seen.len() < count {
        match stream.try_next().await.expect("it goes on").expect("there is more") {
            WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it) => seen.push(it),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => panic!("{status:?}"),
        }
    }
    seen
}
