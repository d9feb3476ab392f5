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
fn pods_that_have_ended_stay_counted_when_they_are_gone() {
    let mut done = world(job(1, json!(3)));
    for succeeded in 1..=3 {
        let pod = running(&done).remove(0);
        done.set_pod(&pod, "Succeeded", false);
        done.run_pods();
        done.delete("pods", &pod, None);
        done.run_pods();
        assert_eq!(done.get("jobs.batch", SUM)["status"]["succeeded"], succeeded);
    }
    assert_eq!(condition(&done.get("jobs.batch", SUM), "Complete")["status"], "True");
    assert_eq!(done.api.requests("create", "pods"), 3, "what has succeeded is not run again");

    let mut failing = world(job(1, json!(1)));
    for failed in 1..=3 {
        let pod = running(&failing).remove(0);
        failing.set_pod(&pod, "Failed", false);
        failing.run_pods();
        failing.delete("pods", &pod, None);
        failing.run_pods();
        assert_eq!(running(&failing).len(), 0, "after a while");
        failing.pass(60);
        failing.run_pods();
        assert_eq!(failing.get("jobs.batch", SUM)["status"]["failed"], failed);
    }
    assert_eq!(condition(&failing.get("jobs.batch", SUM), "Failed")["reason"], "BackoffLimitExceeded");
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

fn indexed(completions: i32, more: &Value) -> Value {
    let mut job = job(completions, json!(completions));
    job["spec"]["completionMode"] = json!("Indexed");
    for (field, value) in more.as_object().expect("fields") {
        job["spec"][field] = value.clone();
    }
    job
}

/// Ends the pod that works on an index, with a code.
fn exit(world: &mut World, index: usize, code: i64) {
    let index = json!(index.to_string());
    let of = |pod: &Value| pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == index;
    let pods = world.list("pods", Within::Everywhere);
    let pod = pods.iter().find(|pod| of(pod) && pod["status"]["phase"] == "Running").map(path_of).expect("a pod");
    world.set_pod(&pod, if code == 0 { "Succeeded" } else { "Failed" }, false);
    world.edit_status("pods", &pod, |pod| {
        pod["status"]["containerStatuses"] = json!([{"name": "sum", "image": "sum", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]);
    });
    world.run_pods();
}

#[test]
fn an_index_fails_for_itself_and_so_many_failed_ones_end_the_job() {
    let mut world = world(indexed(4, &json!({"backoffLimit": 100, "backoffLimitPerIndex": 1, "maxFailedIndexes": 1})));
    exit(&mut world, 0, 1);
    assert_eq!(running(&world).len(), 3, "after a while");
    world.pass(10);
    world.run_pods();
    let pods = world.list("pods", Within::Everywhere);
    let noted = |pod: &&Value| pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "1";
    assert_eq!(pods.iter().filter(noted).count(), 1);
    exit(&mut world, 0, 1);
    world.pass(60);
    world.run_pods();
    assert_eq!(running(&world).len(), 3, "it is not tried again");
    exit(&mut world, 2, 0);
    let status = world.get("jobs.batch", SUM)["status"].clone();
    assert_eq!((&status["failedIndexes"], &status["completedIndexes"]), (&json!("0"), &json!("2")));
    exit(&mut world, 1, 1);
    world.pass(10);
    world.run_pods();
    exit(&mut world, 1, 1);
    let found = world.get("jobs.batch", SUM);
    assert_eq!(found["status"]["failedIndexes"], "0,1");
    assert_eq!(condition(&found, "Failed")["reason"], "MaxFailedIndexesExceeded");
    assert_eq!(running(&world).len(), 0);
}

#[test]
fn a_job_of_which_all_indexes_have_ended_has_failed_when_one_has() {
    let mut world = world(indexed(2, &json!({"backoffLimitPerIndex": 0})));
    exit(&mut world, 0, 0);
    exit(&mut world, 1, 1);
    let found = world.get("jobs.batch", SUM);
    assert_eq!(condition(&found, "Failed")["reason"], "FailedIndexes");
    assert_eq!(world.events("FailedIndexes"), ["Job has failed indexes"]);
}

#[test]
fn a_policy_says_what_failed_pods_mean() {
    let rule = |action: &str, code: i32| json!({"action": action, "onExitCodes": {"operator": "In", "values": [code]}});
    let policy = json!({"rules": [rule("Ignore", 7), rule("FailIndex", 8), rule("FailJob", 9)]});
    let more = json!({"backoffLimit": 100, "backoffLimitPerIndex": 1, "podFailurePolicy": policy});
    let mut world = world(indexed(3, &more));
    exit(&mut world, 0, 7);
    exit(&mut world, 1, 8);
    let status = world.get("jobs.batch", SUM)["status"].clone();
    assert_eq!((&status["failed"], &status["failedIndexes"]), (&json!(1), &json!("1")), "one was ignored");
    exit(&mut world, 2, 9);
    let failed = condition(&world.get("jobs.batch", SUM), "Failed");
    assert_eq!(failed["reason"], "PodFailurePolicy");
    let message = failed["message"].as_str().expect("a message");
    assert!(message.ends_with("failed with exit code 9 matching FailJob rule at index 2"), "{message}");
}

#[test]
fn a_job_has_succeeded_when_its_policy_says_that_enough_has() {
    let mut world =
        world(indexed(3, &json!({"successPolicy": {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]}})));
    exit(&mut world, 1, 0);
    assert_eq!(condition(&world.get("jobs.batch", SUM), "SuccessCriteriaMet"), Value::Null);
    exit(&mut world, 2, 0);
    let found = world.get("jobs.batch", SUM);
    for kind in ["SuccessCriteriaMet", "Complete"] {
        let condition = condition(&found, kind);
        assert_eq!(
            (&condition["reason"], &condition["message"]),
            (&json!("SuccessPolicy"), &json!("Matched rules at index 0"))
        );
    }
    assert_eq!((&found["status"]["completedIndexes"], running(&world).len()), (&json!("1,2"), 0));
}
