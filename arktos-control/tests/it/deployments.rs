//! Deployments: roll out, roll back, scale, hold.

use arktos_store::Within;
use serde_json::{Value, json};

use crate::world::{World, condition, deployment, path_of};

const WEB: &str = "acme/default/web";

fn started(replicas: i32) -> World {
    let mut world = World::new("deployment,replicaset");
    world.create("deployments.apps", "acme", "default", deployment(replicas, "web:1")).expect("created");
    world.run_pods();
    world
}

fn sets(world: &World) -> Vec<Value> {
    let mut sets = world.list("replicasets.apps", Within::Everywhere);
    sets.sort_by_key(|set| set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].to_string());
    sets
}

fn image(world: &mut World, image: &str) {
    world.edit("deployments.apps", WEB, |web| {
        web["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    });
}

#[test]
fn a_deployment_makes_a_replica_set_that_makes_pods() {
    let world = started(3);
    let web = world.get("deployments.apps", WEB);
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(web["status"][count], 3, "{count}");
    }
    assert_eq!(web["status"]["observedGeneration"], 1);
    let available = condition(&web, "Available");
    assert_eq!((&available["status"], &available["reason"]), (&json!("True"), &json!("MinimumReplicasAvailable")));
    assert_eq!(available["message"], "Deployment has minimum availability.");
    let set = &sets(&world)[0];
    let name = set["metadata"]["name"].as_str().expect("a name");
    let progressing = condition(&web, "Progressing");
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(progressing["message"], format!("ReplicaSet \"{name}\" has successfully progressed."));
    assert_eq!(world.events("ScalingReplicaSet"), [format!("Scaled up replica set {name} from 0 to 3")]);
    let hash = &set["metadata"]["labels"]["pod-template-hash"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
    assert_eq!(name, format!("web-{}", hash.as_str().expect("a hash")));
    assert_eq!(world.api.requests("create", "pods"), 3);
    assert_eq!(world.api.requests("create", "replicasets.apps"), 1);
}

#[test]
fn a_new_template_is_rolled_out_within_its_bounds_and_back() {
    let mut world = started(4);
    image(&mut world, "web:2");
    world.settle();
    let (old, new) = (&sets(&world)[0], &sets(&world)[1]);
    assert_eq!((&old["spec"]["replicas"], &new["spec"]["replicas"]), (&json!(3), &json!(2)), "25% up, 25% down");
    world.run_pods();
    let (old, new) = (&sets(&world)[0], &sets(&world)[1]);
    assert_eq!((&old["spec"]["replicas"], &new["spec"]["replicas"]), (&json!(0), &json!(4)));
    assert_eq!(world.list("pods", Within::Everywhere).len(), 4);
    assert_eq!(world.get("deployments.apps", WEB)["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    image(&mut world, "web:1");
    world.run_pods();
    let web = world.get("deployments.apps", WEB);
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    assert_eq!(web["status"]["availableReplicas"], 4);
    let sets = sets(&world);
    assert_eq!(sets.len(), 2, "the old replica set is used again");
    assert_eq!(sets[1]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(sets[1]["spec"]["replicas"], 4);
}

#[test]
fn availability_never_falls_below_its_bound_while_rolling() {
    let mut world = started(8);
    image(&mut world, "web:2");
    for _ in 0..40 {
        world.settle();
        let pods = world.list("pods", Within::Everywhere);
        let live = pods.iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none());
        let ready = live.clone().filter(|pod| pod["status"]["phase"] == "Running").count();
        assert!(ready >= 6, "{ready} are ready");
        assert!(live.count() <= 10);
        let Some(next) = pods.iter().find(|pod| pod["status"]["phase"] == "Pending") else { break };
        let path = next["path"].as_str().expect("a path").to_owned();
        world.set_pod(&path, "Running", true);
    }
    world.run_pods();
    assert_eq!(world.get("deployments.apps", WEB)["status"]["updatedReplicas"], 8);
}

#[test]
fn scaling_in_the_middle_of_a_roll_out_shares_in_proportion() {
    let mut world = started(10);
    world.edit("deployments.apps", WEB, |web| web["spec"]["template"]["spec"]["hang"] = json!(true));
    world.settle();
    world.run_pods();
    let sizes = |world: &World| -> Vec<i64> {
        sets(world).iter().map(|set| set["spec"]["replicas"].as_i64().expect("a number")).collect()
    };
    assert_eq!(sizes(&world), [8, 5]);
    world.edit("deployments.apps", WEB, |web| web["spec"]["replicas"] = json!(20));
    world.settle();
    assert_eq!(sizes(&world), [15, 10], "13 grow to 25 in proportion");
}

#[test]
fn scaling_up_and_down_moves_the_newest_replica_set() {
    let mut world = started(2);
    for replicas in [5, 1, 0] {
        world.edit("deployments.apps", WEB, |web| web["spec"]["replicas"] = json!(replicas));
        world.run_pods();
        assert_eq!(sets(&world)[0]["spec"]["replicas"], replicas);
        assert_eq!(world.list("pods", Within::Everywhere).len(), usize::try_from(replicas).expect("a count"));
        assert_eq!(
            world.get("deployments.apps", WEB)["status"]["observedGeneration"],
            world.get("deployments.apps", WEB)["metadata"]["generation"]
        );
    }
    assert_eq!(sets(&world).len(), 1);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut world = World::new("deployment,replicaset");
    let mut web = deployment(3, "web:1");
    web["spec"]["strategy"] = json!({"type": "Recreate"});
    world.create("deployments.apps", "acme", "default", web).expect("created");
    world.run_pods();
    image(&mut world, "web:2");
    world.settle();
    assert_eq!(sets(&world).len(), 1, "nothing new while old pods are going");
    assert!(
        world.list("pods", Within::Everywhere).iter().all(|pod| pod["metadata"].get("deletionTimestamp").is_some())
    );
    world.run_pods();
    assert_eq!(sets(&world).len(), 2);
    assert_eq!(world.get("deployments.apps", WEB)["status"]["availableReplicas"], 3);
}

#[test]
fn a_paused_deployment_holds_its_template_but_scales() {
    let mut world = started(2);
    world.edit("deployments.apps", WEB, |web| web["spec"]["paused"] = json!(true));
    image(&mut world, "web:2");
    world.run_pods();
    assert_eq!(sets(&world).len(), 1);
    assert_eq!(condition(&world.get("deployments.apps", WEB), "Progressing")["reason"], "DeploymentPaused");
    world.edit("deployments.apps", WEB, |web| web["spec"]["replicas"] = json!(3));
    world.run_pods();
    assert_eq!(sets(&world)[0]["spec"]["replicas"], 3);
    world.edit("deployments.apps", WEB, |web| web["spec"]["paused"] = json!(false));
    world.run_pods();
    assert_eq!(sets(&world).len(), 2);
    assert_eq!(world.get("deployments.apps", WEB)["status"]["updatedReplicas"], 3);
}

#[test]
fn a_roll_out_without_progress_is_called_failed() {
    let mut world = started(2);
    world.edit("deployments.apps", WEB, |web| web["spec"]["template"]["spec"]["hang"] = json!(true));
    world.run_pods();
    world.pass(599);
    assert_eq!(condition(&world.get("deployments.apps", WEB), "Progressing")["status"], "True");
    world.pass(3);
    let progressing = condition(&world.get("deployments.apps", WEB), "Progressing");
    assert_eq!((&progressing["status"], &progressing["reason"]), (&json!("False"), &json!("ProgressDeadlineExceeded")));
}

#[test]
fn old_replica_sets_are_kept_up_to_the_limit() {
    let mut world = started(1);
    world.edit("deployments.apps", WEB, |web| web["spec"]["revisionHistoryLimit"] = json!(2));
    for version in 2..7 {
        image(&mut world, &format!("web:{version}"));
        world.run_pods();
    }
    let kept: Vec<Value> = sets(&world)
        .iter()
        .map(|set| set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone())
        .collect();
    assert_eq!(kept, ["4", "5", "6"]);
}

#[test]
fn a_name_that_is_taken_by_another_template_is_avoided() {
    let mut world = started(1);
    let taken = sets(&world)[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    world.edit("deployments.apps", WEB, |web| web["spec"]["paused"] = json!(true));
    world.settle();
    // Another template under the name that this deployment's template hashes to.
    world.edit("replicasets.apps", &format!("acme/default/{taken}"), |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    });
    world.edit("deployments.apps", WEB, |web| web["spec"]["paused"] = json!(false));
    world.run_pods();
    world.pass(5);
    world.run_pods();
    assert_eq!(world.get("deployments.apps", WEB)["status"]["collisionCount"], 1);
    assert_eq!(sets(&world).len(), 2);
    assert_eq!(world.get("deployments.apps", WEB)["status"]["updatedReplicas"], 1);
}

/// Numbers at their ends, as a tenant may write them: one controller serves all tenants.
#[test]
fn the_largest_numbers_are_no_end() {
    let mut world = World::new("deployment,replicaset");
    let mut web = deployment(3, "web:1");
    web["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": i32::MAX}});
    world.create("deployments.apps", "acme", "default", web).expect("created");
    world.run_pods();
    let set = world.list("replicasets.apps", Within::Everywhere).remove(0);
    world.edit("replicasets.apps", &path_of(&set), |set| {
        set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!(i64::MAX.to_string());
    });
    world.edit("deployments.apps", "acme/default/web", |web| {
        web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    });
    world.edit_status("deployments.apps", "acme/default/web", |web| web["status"]["collisionCount"] = json!(i32::MAX));
    for pod in world.list("pods", Within::Everywhere) {
        world.edit_status("pods", &path_of(&pod), |pod| {
            let crashed = json!({"restartCount": i32::MAX});
            pod["status"]["containerStatuses"] = json!([crashed, crashed, crashed]);
        });
    }
    world.run_pods();
    let found = world.get("deployments.apps", "acme/default/web");
    assert_eq!(found["status"]["updatedReplicas"], 3, "{found}");
}
