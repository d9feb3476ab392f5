//! Stateful sets: pods with numbers, one after the other.

use arktos_core::{Reason, Status};
use arktos_store::Within;
use arktos_store::client::Propagation;
use serde_json::{Value, json};

use crate::world::{World, path_of};

const SETS: &str = "statefulsets.apps";
const REVISIONS: &str = "controllerrevisions.apps";
const CLAIMS: &str = "persistentvolumeclaims";
const WEB: &str = "acme/default/web";
const REVISION: &str = "controller-revision-hash";

fn set(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "serviceName": "nginx", "podManagementPolicy": "OrderedReady",
            "revisionHistoryLimit": 10, "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    })
}

/// A set with a claim for each pod, which go as these say when the set is deleted, and when it is scaled.
fn with_claims(replicas: i32, when_deleted: &str, when_scaled: &str) -> Value {
    let mut set = set(replicas);
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data", "labels": {"x": "y"}}, "spec": claim}]);
    set["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenDeleted": when_deleted, "whenScaled": when_scaled});
    set
}

/// The controller alone, with a set.
fn world(set: Value) -> World {
    let mut world = World::new("statefulset");
    world.create(SETS, "acme", "default", set).expect("created");
    world.settle();
    world
}

/// The same, with all pods running.
fn started(set: Value) -> World {
    let mut world = world(set);
    world.run_pods();
    world
}

fn pod(ordinal: i64) -> String {
    format!("acme/default/web-{ordinal}")
}

fn pods(world: &World) -> Vec<String> {
    world.names("pods")
}

/// Has a pod run and be ready, on no host: when it is deleted it is gone at once.
fn run(world: &mut World, ordinal: i64) {
    world.set_pod(&pod(ordinal), "Running", true);
    world.settle();
}

fn status(world: &World, field: &str) -> Value {
    world.get(SETS, WEB)["status"][field].clone()
}

fn image(world: &mut World, image: &str) {
    world.edit(SETS, WEB, |web| web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
    world.settle();
}

fn scale(world: &mut World, replicas: i32) {
    world.edit(SETS, WEB, |web| web["spec"]["replicas"] = json!(replicas));
    world.settle();
}

/// The images of all pods, by number.
fn images(world: &World) -> Vec<String> {
    let pods = world.list("pods", Within::Everywhere);
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().expect("an image").to_owned();
    pods.iter().map(image).collect()
}

fn owners(object: &Value) -> Vec<String> {
    let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners.iter().map(|owner| format!("{}/{}", owner["kind"], owner["name"]).replace('"', "")).collect()
}

#[test]
fn pods_are_made_one_after_the_other_each_with_a_name() {
    let mut world = world(set(3));
    assert_eq!(pods(&world), [pod(0)], "the next one waits until this one is ready");
    world.set_pod(&pod(0), "Running", false);
    world.settle();
    assert_eq!(pods(&world).len(), 1);
    run(&mut world, 0);
    assert_eq!(pods(&world), [pod(0), pod(1)]);
    run(&mut world, 1);
    run(&mut world, 2);
    assert_eq!(pods(&world).len(), 3);
    assert_eq!(world.api.requests("create", "pods"), 3, "nothing is made twice");
    let web = world.get(SETS, WEB);
    let revision = web["status"]["updateRevision"].as_str().expect("a revision");
    for count in ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        assert_eq!(web["status"][count], 3, "{count}");
    }
    assert_eq!((&web["status"]["observedGeneration"], &web["status"]["collisionCount"]), (&json!(1), &json!(0)));
    assert_eq!(web["status"]["currentRevision"], revision);
    let last = world.get("pods", &pod(2));
    let labels = json!({
        "app": "web", "statefulset.kubernetes.io/pod-name": "web-2", "apps.kubernetes.io/pod-index": "2",
        "controller-revision-hash": revision,
    });
    assert_eq!(last["metadata"]["labels"], labels);
    assert_eq!((&last["spec"]["hostname"], &last["spec"]["subdomain"]), (&json!("web-2"), &json!("nginx")));
    let owner = &last["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], web["metadata"]["uid"]);
    assert_eq!((&owner["kind"], &owner["controller"]), (&json!("StatefulSet"), &json!(true)));
    assert_eq!(world.events("SuccessfulCreate")[2], "Create Pod web-2 in StatefulSet web successful");
}

#[test]
fn numbers_begin_where_the_set_says() {
    let mut set = set(2);
    set["spec"]["ordinals"] = json!({"start": 5});
    let mut world = started(set);
    assert_eq!(pods(&world), [pod(5), pod(6)]);
    world.edit(SETS, WEB, |web| web["spec"]["ordinals"]["start"] = json!(6));
    world.run_pods();
    assert_eq!(pods(&world), [pod(6), pod(7)]);
}

#[test]
fn a_parallel_set_waits_for_nothing() {
    let mut set = set(4);
    set["spec"]["podManagementPolicy"] = json!("Parallel");
    let mut world = world(set);
    assert_eq!(pods(&world).len(), 4);
    assert_eq!(world.api.requests("create", "pods"), 4);
    scale(&mut world, 1);
    assert_eq!(pods(&world), [pod(0)]);
    assert_eq!(status(&world, "replicas"), 1);
}

#[test]
fn what_fails_in_parallel_fails_cheaply_and_is_tried_again() {
    let mut world = World::new("statefulset");
    world.api.fail("create", "pods", Status::failure(Reason::Forbidden, "exceeded quota"));
    let mut set = set(8);
    set["spec"]["podManagementPolicy"] = json!("Parallel");
    world.create(SETS, "acme", "default", set).expect("created");
    world.settle();
    assert!(world.api.requests("create", "pods") < 8, "it starts slowly");
    assert_eq!(world.events("FailedCreate")[0], "Create Pod web-0 in StatefulSet web failed error: exceeded quota");
    assert_eq!((status(&world, "replicas"), status(&world, "observedGeneration")), (json!(0), json!(1)));
    world.api.heal();
    world.pass(120);
    assert_eq!(pods(&world).len(), 8);
}

#[test]
fn it_shrinks_from_the_highest_number_one_at_a_time() {
    let mut world = started(set(3));
    scale(&mut world, 1);
    let going = |world: &World, ordinal| world.get("pods", &pod(ordinal))["metadata"]["deletionTimestamp"].is_string();
    assert_eq!([0, 1, 2].map(|ordinal| going(&world, ordinal)), [false, false, true], "the next one waits");
    world.run_pods();
    assert_eq!(pods(&world), [pod(0)]);
    let deleted = ["Delete Pod web-2 in StatefulSet web successful", "Delete Pod web-1 in StatefulSet web successful"];
    assert_eq!(world.events("SuccessfulDelete"), deleted);
    scale(&mut world, 0);
    world.run_pods();
    assert_eq!(pods(&world), Vec::<String>::new());
    assert_eq!(status(&world, "replicas"), 0);
}

#[test]
fn a_pod_that_is_not_ready_holds_up_all_others() {
    let mut world = world(set(3));
    for ordinal in 0..3 {
        run(&mut world, ordinal);
    }
    world.set_pod(&pod(0), "Running", false);
    scale(&mut world, 1);
    assert_eq!(pods(&world).len(), 3, "nothing is deleted meanwhile");
    image(&mut world, "web:2");
    assert_eq!(images(&world), ["web:1"; 3]);
    run(&mut world, 0);
    assert_eq!(pods(&world), [pod(0)]);
    assert_eq!(images(&world), ["web:2"]);
}

#[test]
fn pods_that_have_ended_are_made_anew() {
    let mut world = world(set(2));
    run(&mut world, 0);
    run(&mut world, 1);
    for (ordinal, phase) in [(0, "Failed"), (1, "Succeeded")] {
        let before = world.get("pods", &pod(ordinal))["metadata"]["uid"].clone();
        world.set_pod(&pod(ordinal), phase, false);
        world.settle();
        let now = world.get("pods", &pod(ordinal));
        assert_ne!(now["metadata"]["uid"], before);
        assert_eq!(now["status"]["phase"], "Pending");
        run(&mut world, ordinal);
    }
    assert_eq!(status(&world, "readyReplicas"), 2);
}

#[test]
fn a_new_template_is_rolled_out_from_the_highest_number() {
    let mut world = world(set(3));
    for ordinal in 0..3 {
        run(&mut world, ordinal);
    }
    let before = status(&world, "updateRevision");
    image(&mut world, "web:2");
    assert_eq!(images(&world), ["web:1", "web:1", "web:2"], "the next one waits until this one is ready");
    assert_ne!(status(&world, "updateRevision"), before);
    assert_eq!(status(&world, "currentRevision"), before);
    assert_eq!((status(&world, "currentReplicas"), status(&world, "updatedReplicas")), (json!(2), json!(1)));
    run(&mut world, 2);
    assert_eq!(images(&world), ["web:1", "web:2", "web:2"]);
    run(&mut world, 1);
    run(&mut world, 0);
    assert_eq!(images(&world), ["web:2"; 3]);
    assert_eq!(status(&world, "currentRevision"), status(&world, "updateRevision"));
    assert_eq!((status(&world, "currentReplicas"), status(&world, "updatedReplicas")), (json!(3), json!(3)));
}

#[test]
fn pods_below_the_partition_keep_the_template_before() {
    let mut set = set(3);
    set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
    let mut world = started(set);
    image(&mut world, "web:2");
    world.run_pods();
    assert_eq!(images(&world), ["web:1", "web:1", "web:2"]);
    let (current, update) = (status(&world, "currentRevision"), status(&world, "updateRevision"));
    assert_ne!(current, update);
    world.delete("pods", &pod(0), None);
    world.run_pods();
    assert_eq!(images(&world), ["web:1", "web:1", "web:2"], "made anew from the template before");
    assert_eq!(world.get("pods", &pod(0))["metadata"]["labels"][REVISION], current);
    world.edit(SETS, WEB, |web| web["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(0));
    world.run_pods();
    assert_eq!(images(&world), ["web:2"; 3]);
    assert_eq!(status(&world, "currentRevision"), update);
}

#[test]
fn on_delete_waits_for_somebody_to_delete() {
    let mut set = set(2);
    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let mut world = started(set);
    image(&mut world, "web:2");
    world.run_pods();
    assert_eq!(images(&world), ["web:1"; 2]);
    world.delete("pods", &pod(0), None);
    world.run_pods();
    assert_eq!(images(&world), ["web:2", "web:1"]);
    assert_eq!(status(&world, "updatedReplicas"), 1);
}

#[test]
fn going_back_to_an_older_template_finds_its_revision() {
    let mut world = started(set(1));
    let first = status(&world, "updateRevision");
    let path = format!("acme/default/{}", first.as_str().expect("a name"));
    let kept = world.get(REVISIONS, &path);
    assert_eq!((&kept["revision"], &kept["data"]["spec"]["template"]["$patch"]), (&json!(1), &json!("replace")));
    assert_eq!(kept["data"]["spec"]["template"]["spec"], world.get(SETS, WEB)["spec"]["template"]["spec"]);
    let hash = kept["metadata"]["labels"]["controller.kubernetes.io/hash"].as_str().expect("a hash");
    assert_eq!(first, format!("web-{hash}"));
    assert_eq!(
        (owners(&kept), &kept["metadata"]["labels"]["app"]),
        (vec!["StatefulSet/web".to_owned()], &json!("web"))
    );
    image(&mut world, "web:2");
    world.run_pods();
    image(&mut world, "web:1");
    world.run_pods();
    assert_eq!(images(&world), ["web:1"]);
    assert_eq!((status(&world, "currentRevision"), status(&world, "updateRevision")), (first.clone(), first));
    assert_eq!(world.names(REVISIONS).len(), 2);
    assert_eq!(world.get(REVISIONS, &path)["revision"], 3);
    assert_eq!(world.api.requests("create", REVISIONS), 2);
}

/// As upstream: in order, a pod that is not ready is waited for, whatever it was made from; once somebody has deleted
/// it, the update goes back.
#[test]
fn a_broken_update_goes_back_when_its_pod_is_deleted() {
    let mut world = world(set(2));
    run(&mut world, 0);
    run(&mut world, 1);
    image(&mut world, "broken");
    assert_eq!(images(&world), ["web:1", "broken"]);
    image(&mut world, "web:1");
    assert_eq!(images(&world), ["web:1", "broken"]);
    world.delete("pods", &pod(1), None);
    world.settle();
    run(&mut world, 1);
    assert_eq!(images(&world), ["web:1"; 2]);
    assert_eq!(status(&world, "updatedReplicas"), 2);
}

#[test]
fn old_revisions_are_kept_up_to_the_limit() {
    let mut set = set(1);
    set["spec"]["revisionHistoryLimit"] = json!(2);
    let mut world = started(set);
    for version in 2..7 {
        image(&mut world, &format!("web:{version}"));
        world.run_pods();
    }
    let mut kept: Vec<i64> = world
        .list(REVISIONS, Within::Everywhere)
        .iter()
        .map(|revision| revision["revision"].as_i64().expect("a number"))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [4, 5, 6]);
}

#[test]
fn a_revision_that_goes_is_made_anew() {
    let mut world = started(set(0));
    let revision = world.names(REVISIONS);
    assert_eq!(revision.len(), 1);
    world.delete(REVISIONS, &revision[0], None);
    world.settle();
    assert_eq!(world.names(REVISIONS), revision);
    assert_eq!(status(&world, "updateRevision"), status(&world, "currentRevision"));
}

#[test]
fn a_name_that_another_template_has_is_avoided() {
    let mut world = started(set(1));
    image(&mut world, "web:2");
    world.run_pods();
    let taken = status(&world, "updateRevision");
    world.edit(REVISIONS, &format!("acme/default/{}", taken.as_str().expect("a name")), |revision| {
        revision["data"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    });
    world.edit(SETS, WEB, |web| web["metadata"]["annotations"] = json!({"look": "again"}));
    world.run_pods();
    assert_eq!(status(&world, "collisionCount"), 1);
    assert_ne!(status(&world, "updateRevision"), taken);
    assert_eq!((images(&world), status(&world, "updatedReplicas")), (vec!["web:2".to_owned()], json!(1)));
}

#[test]
fn claims_are_made_before_their_pods_and_stay() {
    let mut world = started(with_claims(2, "Retain", "Retain"));
    assert_eq!(world.names(CLAIMS), ["acme/default/data-web-0", "acme/default/data-web-1"]);
    let claim = world.get(CLAIMS, "acme/default/data-web-1");
    assert_eq!(claim["metadata"]["labels"], json!({"x": "y", "app": "web"}));
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
    assert_eq!(owners(&claim), Vec::<String>::new());
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}}]);
    assert_eq!(world.get("pods", &pod(1))["spec"]["volumes"], volumes);
    let told = world.events("SuccessfulCreate");
    assert_eq!(told[0], "Create Claim data-web-0 Pod web-0 in StatefulSet web success");
    assert_eq!(told[1], "Create Pod web-0 in StatefulSet web successful");
    scale(&mut world, 0);
    world.run_pods();
    assert_eq!((pods(&world).len(), world.names(CLAIMS).len()), (0, 2));
    scale(&mut world, 2);
    world.run_pods();
    assert_eq!((pods(&world).len(), world.api.requests("create", CLAIMS)), (2, 2));
}

#[test]
fn a_claim_that_cannot_be_made_holds_up_its_pod() {
    let mut world = World::new("statefulset");
    world.api.fail("create", CLAIMS, Status::failure(Reason::Forbidden, "exceeded quota"));
    world.create(SETS, "acme", "default", with_claims(1, "Retain", "Retain")).expect("created");
    world.settle();
    assert_eq!(pods(&world), Vec::<String>::new());
    let told = world.events("FailedCreate");
    assert_eq!(told[0], "Create Claim data-web-0 for Pod web-0 in StatefulSet web failed error: exceeded quota");
    let why = "failed to create PVC data-web-0: exceeded quota";
    assert_eq!(told[1], format!("Create Pod web-0 in StatefulSet web failed error: {why}"));
    world.api.heal();
    world.pass(120);
    assert_eq!(pods(&world), [pod(0)]);
}

#[test]
fn claims_go_with_whom_the_set_says() {
    let mut world = started(with_claims(2, "Delete", "Delete"));
    let claim = |world: &World, ordinal: i64| owners(&world.get(CLAIMS, &format!("acme/default/data-web-{ordinal}")));
    assert_eq!([0, 1].map(|ordinal| claim(&world, ordinal)), [["StatefulSet/web"]; 2]);
    scale(&mut world, 1);
    assert_eq!(
        (claim(&world, 0), claim(&world, 1)),
        (vec!["StatefulSet/web".to_owned()], vec!["Pod/web-1".to_owned()])
    );
    world.run_pods();
    scale(&mut world, 2);
    assert_eq!(pods(&world), [pod(0)], "the claim of the pod before is still there");
    world.delete(CLAIMS, "acme/default/data-web-1", None);
    world.run_pods();
    assert_eq!(pods(&world).len(), 2);
    assert_eq!(claim(&world, 1), ["StatefulSet/web"]);
    world.edit(SETS, WEB, |web| {
        let policy = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        web["spec"]["persistentVolumeClaimRetentionPolicy"] = policy;
    });
    world.settle();
    assert_eq!([0, 1].map(|ordinal| claim(&world, ordinal).len()), [0, 0]);
}

#[test]
fn only_pods_with_fitting_labels_and_names_are_adopted() {
    let mut world = World::new("statefulset");
    let orphan = |name: &str| json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {}});
    for name in ["web-0", "web-01", "other"] {
        world.create("pods", "acme", "default", orphan(name)).expect("created");
    }
    let mut set = set(1);
    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    world.create(SETS, "acme", "default", set).expect("created");
    run(&mut world, 0);
    assert_eq!(pods(&world).len(), 3);
    let adopted = world.get("pods", &pod(0));
    assert_eq!(owners(&adopted), ["StatefulSet/web"]);
    assert_eq!(adopted["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"], "web-0", "it is put in order");
    assert_eq!(adopted["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(world.events("SuccessfulUpdate"), ["Update Pod web-0 in StatefulSet web successful"]);
    for name in ["web-01", "other"] {
        assert_eq!(owners(&world.get("pods", &format!("acme/default/{name}"))), Vec::<String>::new());
    }
    world.edit("pods", &pod(0), |pod| pod["metadata"]["labels"] = json!({"app": "another"}));
    world.settle();
    assert_eq!(owners(&world.get("pods", &pod(0))), Vec::<String>::new(), "it is let go");
}

#[test]
fn revisions_and_pods_without_an_owner_are_taken_by_the_next_set() {
    let mut world = World::new("statefulset,garbage-collector");
    world.create(SETS, "acme", "default", set(2)).expect("created");
    world.run_pods();
    let before = world.get("pods", &pod(1))["metadata"]["uid"].clone();
    world.delete(SETS, WEB, Some(Propagation::Orphan));
    world.run_pods();
    assert_eq!((pods(&world).len(), world.names(SETS).len()), (2, 0));
    world.create(SETS, "acme", "default", set(2)).expect("created");
    world.run_pods();
    assert_eq!(world.get("pods", &pod(1))["metadata"]["uid"], before);
    let revisions = world.list(REVISIONS, Within::Everywhere);
    assert_eq!(revisions.iter().map(owners).collect::<Vec<_>>(), [["StatefulSet/web"]]);
    assert_eq!(status(&world, "updatedReplicas"), 2);
}

#[test]
fn other_tenants_pods_are_none_of_its_business() {
    let mut world = World::new("statefulset");
    world.create("tenants", "", "", json!({"metadata": {"name": "rival"}})).expect("created");
    world.create("namespaces", "rival", "", json!({"metadata": {"name": "default"}})).expect("created");
    let orphan = json!({"metadata": {"name": "web-0", "labels": {"app": "web"}}, "spec": {}});
    world.create("pods", "rival", "default", orphan).expect("created");
    world.create(SETS, "acme", "default", set(1)).expect("created");
    world.settle();
    assert_eq!(pods(&world), [pod(0), "rival/default/web-0".to_owned()]);
    assert_eq!(owners(&world.get("pods", "rival/default/web-0")), Vec::<String>::new());
}

#[test]
fn a_pod_is_waited_for_until_it_was_ready_for_long_enough() {
    let mut set = set(2);
    set["spec"]["minReadySeconds"] = json!(10);
    let mut world = world(set);
    run(&mut world, 0);
    assert_eq!((status(&world, "readyReplicas"), status(&world, "availableReplicas")), (json!(1), json!(0)));
    world.pass(9);
    assert_eq!(pods(&world).len(), 1);
    world.pass(1);
    assert_eq!(pods(&world).len(), 2);
    assert_eq!(status(&world, "availableReplicas"), 1);
}

#[test]
fn a_set_that_is_being_deleted_makes_nothing() {
    let mut world = started(set(2));
    world.edit(SETS, WEB, |web| web["metadata"]["finalizers"] = json!(["example.com/hold"]));
    world.delete(SETS, WEB, Some(Propagation::Background));
    world.settle();
    let made = world.api.requests("create", "pods");
    for path in pods(&world) {
        world.delete("pods", &path, None);
    }
    for path in world.names(REVISIONS) {
        world.delete(REVISIONS, &path, None);
    }
    world.run_pods();
    assert_eq!((pods(&world).len(), world.names(REVISIONS).len()), (0, 0));
    assert_eq!(world.api.requests("create", "pods"), made);
    assert_eq!(status(&world, "replicas"), 0);
}

/// Numbers at their ends, as a tenant may write them: one controller serves all tenants.
#[test]
fn the_largest_numbers_are_no_end() {
    let mut set = set(i32::MAX);
    set["spec"]["ordinals"] = json!({"start": i32::MAX});
    set["spec"]["minReadySeconds"] = json!(i32::MAX);
    set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(i32::MAX);
    let mut world = started(set);
    assert_eq!(pods(&world), [pod(i32::MAX.into())]);
    let revision = path_of(&world.list(REVISIONS, Within::Everywhere)[0]);
    world.edit(REVISIONS, &revision, |revision| revision["revision"] = json!(i64::MAX));
    image(&mut world, "web:2");
    assert_eq!(world.names(REVISIONS).len(), 2);
    world.edit_status(SETS, WEB, |web| web["status"]["collisionCount"] = json!(i32::MAX));
    image(&mut world, "web:3");
    assert_eq!(status(&world, "collisionCount"), i32::MAX);
}

#[test]
fn on_the_real_server_a_set_grows_rolls_shrinks_and_goes() {
    let mut world = World::on_the_road();
    let mut web = with_claims(3, "Delete", "Delete");
    for field in ["replicas", "podManagementPolicy", "revisionHistoryLimit", "updateStrategy"] {
        web["spec"].as_object_mut().expect("a map").remove(field);
    }
    web["spec"]["replicas"] = json!(3);
    world.create(SETS, "acme", "default", web).expect("created");
    world.run_pods();
    assert_eq!(pods(&world), [pod(0), pod(1), pod(2)]);
    assert_eq!((status(&world, "availableReplicas"), status(&world, "updatedReplicas")), (json!(3), json!(3)));
    for (version, number) in [("web:2", 2), ("web:1", 3)] {
        image(&mut world, version);
        world.run_pods();
        assert_eq!(images(&world), [version; 3]);
        let update = status(&world, "updateRevision");
        assert_eq!(status(&world, "currentRevision"), update);
        let revision = world.get(REVISIONS, &format!("acme/default/{}", update.as_str().expect("a name")));
        assert_eq!(revision["revision"], number);
    }
    assert_eq!(world.names(REVISIONS).len(), 2);
    scale(&mut world, 1);
    world.run_pods();
    assert_eq!((pods(&world), world.names(CLAIMS)), (vec![pod(0)], vec!["acme/default/data-web-0".to_owned()]));
    world.delete(SETS, WEB, Some(Propagation::Foreground));
    world.run_pods();
    for resource in [SETS, REVISIONS, "pods", CLAIMS] {
        assert_eq!(world.names(resource), Vec::<String>::new(), "{resource}");
    }
}
