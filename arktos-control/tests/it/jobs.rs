//! Jobs: so and so many pods that run to their end.

use arktos_store::Within;
use serde_json::{Value, json};

use crate::world::{World, condition, path_of};

const SUM: &str = "acme/default/sum";

fn job(parallelism: i32, completions: Value) -> Value {
    json!({
        "metadata": {"name": "sum"},
        "spec": {
            "parallelism": parallelism, "completions": completions, "backoffLimit": 2,
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            "template": {
                "metadata": {"labels": {"batch.kubernetes.io/controller-uid": "u"}},
                "spec": {"containers": [{"name": "sum", "image": "sum"}], "restartPolicy": "Never"},
            },
        },
    })
}

fn world(job: Value) -> World {
    let mut world = World::new("job,ttl-after-finished,garbage-collector");
    world.create("jobs.batch", "acme", "default", job).expect("created");
    world.run_pods();
    world
}

fn running(world: &World) -> Vec<String> {
    let pods = world.list("pods", Within::Everywhere);
    pods.iter().filter(|pod| pod["status"]["phase"] == "Running").map(path_of).collect()
}

fn end(world: &mut World, phase: &str, count: usize) {
    for pod in running(world).into_iter().take(count) {
        world.set_pod(&pod, phase, false);
    }
    world.run_pods();
}

#[test]
fn a_job_runs_until_all_completions_are_there() {
    let mut world = world(job(2, json!(5)));
    assert_eq!(running(&world).len(), 2);
    let status = world.get("jobs.batch", SUM)["status"].clone();
    assert_eq!((&status["active"], &status["ready"]), (&json!(2), &json!(2)));
    assert!(status["startTime"].is_string());
    for _ in 0..2 {
        end(&mut world, "Succeeded", 2);
    }
    assert_eq!(running(&world).len(), 1, "no more than are missing");
    end(&mut world, "Succeeded", 1);
    let found = world.get("jobs.batch", SUM);
    assert_eq!(found["status"]["succeeded"], 5);
    assert_eq!(condition(&found, "SuccessCriteriaMet")["reason"], "CompletionsReached");
    assert_eq!(condition(&found, "Complete")["message"], "Reached expected number of succeeded pods");
    assert!(found["status"]["completionTime"].is_string());
    assert_eq!(world.api.requests("create", "pods"), 5);
    assert_eq!(world.events("Completed"), ["Job completed"]);
}

#[test]
fn failures_are_tried_again_later_and_not_for_ever() {
    let mut world = world(job(1, json!(1)));
    end(&mut world, "Failed", 1);
    assert_eq!(running(&world).len(), 0, "after a while");
    world.pass(10);
    world.run_pods();
    assert_eq!(running(&world).len(), 1);
    end(&mut world, "Failed", 1);
    world.pass(20);
    world.run_pods();
    end(&mut world, "Failed", 1);
    world.pass(60);
    world.run_pods();
    let found = world.get("jobs.batch", SUM);
    assert_eq!(found["status"]["failed"], 3);
    let failed = condition(&found, "Failed");
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("True"), &json!("BackoffLimitExceeded")));
    assert_eq!(world.api.requests("create", "pods"), 3);
    assert_eq!(world.events("BackoffLimitExceeded"), ["Job has reached the specified backoff limit"]);
}

#[test]
fn a_job_that_takes_too_long_is_ended() {
    let mut slow = job(2, json!(2));
    slow["spec"]["activeDeadlineSeconds"] = json!(30);
    let mut world = world(slow);
    world.pass(31);
    let found = world.get("jobs.batch", SUM);
    assert_eq!(condition(&found, "FailureTarget")["reason"], "DeadlineExceeded");
    assert_eq!(condition(&found, "Failed"), Value::Null, "its pods are still going");
    world.run_pods();
    assert_eq!(condition(&world.get("jobs.batch", SUM), "Failed")["reason"], "DeadlineExceeded");
    assert_eq!(running(&world).len(), 0);
}

#[test]
fn every_index_succeeds_once() {
    let mut indexed = job(3, json!(3));
    indexed["spec"]["completionMode"] = json!("Indexed");
    let mut world = world(indexed);
    let index = |pod: &Value| pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].clone();
    let pods = world.list("pods", Within::Everywhere);
    let mut indexes: Vec<String> = pods.iter().map(|pod| index(pod).to_string()).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, ["\"0\"", "\"1\"", "\"2\""]);
    let one = pods.iter().find(|pod| index(pod) == "1").map(path_of).expect("a pod");
    world.set_pod(&one, "Succeeded", false);
    world.settle();
    world.delete("pods", &one, None);
    world.run_pods();
    assert_eq!(world.get("jobs.batch", SUM)["status"]["completedIndexes"], "1");
    assert_eq!(running(&world).len(), 2, "what has succeeded is not run again");
    end(&mut world, "Succeeded", 2);
    let found = world.get("jobs.batch", SUM);
    assert_eq!(found["status"]["completedIndexes"], "0-2");
    assert_eq!(condition(&found, "Complete")["status"], "True");
}

#[test]
fn a_suspended_job_has_no_pods_until_it_is_resumed() {
    let mut world = world(job(2, json!(2)));
    world.edit("jobs.batch", SUM, |job| job["spec"]["suspend"] = json!(true));
    world.run_pods();
    assert_eq!(world.names("pods"), Vec::<String>::new());
    let found = world.get("jobs.batch", SUM);
    assert_eq!(condition(&found, "Suspended")["status"], "True");
    assert_eq!(found["status"].get("startTime"), None);
    world.edit("jobs.batch", SUM, |job| job["spec"]["suspend"] = json!(false));
    world.run_pods();
    assert_eq!(running(&world).len(), 2);
    assert_eq!(world.events("Resumed"), ["Job resumed"]);
}

#[test]
fn a_finished_job_goes_after_its_time() {
    let mut short = job(1, json!(1));
    short["spec"]["ttlSecondsAfterFinished"] = json!(60);
    let mut world = world(short);
    end(&mut world, "Succeeded", 1);
    world.pass(59);
    assert!(world.find("jobs.batch", SUM).is_some());
    world.pass(1);
    world.run_pods();
    assert_eq!(world.find("jobs.batch", SUM), None);
    assert_eq!(world.names("pods"), Vec::<String>::new());
}
