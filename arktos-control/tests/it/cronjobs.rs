//! Cron jobs: what is kept, what is missed, what is taken for granted.

use serde_json::{Value, json};

use crate::world::{World, path_of};
use arktos_store::Within;

const CRON: &str = "acme/default/tick";

fn cron(spec: &Value) -> Value {
    let pod = json!({"containers": [{"name": "c", "image": "registry.example/c:1"}], "restartPolicy": "Never"});
    let template = json!({"metadata": {"labels": {"from": "tick"}}, "spec": {"template": {"spec": pod}}});
    let mut object = json!({"metadata": {"name": "tick"}, "spec": {"jobTemplate": template}});
    for (field, value) in spec.as_object().expect("a map") {
        object["spec"][field] = value.clone();
    }
    object
}

fn jobs(world: &World) -> Vec<Value> {
    world.list("jobs.batch", Within::Everywhere)
}

/// Ends all pods that run.
fn end(world: &mut World, phase: &str) {
    world.run_pods();
    for pod in world.list("pods", Within::Everywhere) {
        if pod["status"]["phase"] == "Running" {
            world.set_pod(&path_of(&pod), phase, false);
        }
    }
    world.settle();
}

#[test]
fn a_job_is_named_after_its_time_and_said_to_run_until_it_has_ended() {
    let mut world = World::on_the_road();
    let spec = json!({"schedule": "30 5 * * *", "timeZone": "America/New_York"}); // 10:30 UTC
    world.create("cronjobs.batch", "acme", "default", cron(&spec)).expect("created");
    world.settle();
    world.pass(30 * 60 - 1);
    assert!(jobs(&world).is_empty());
    world.pass(2);
    let job = &jobs(&world)[0];
    assert_eq!(path_of(job), format!("{CRON}-{}", 1_795_429_800 / 60));
    assert_eq!(job["metadata"]["labels"]["from"], "tick");
    let at = &job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert_eq!(at, "2026-11-23T05:30:00-05:00");
    let status = world.get("cronjobs.batch", CRON)["status"].clone();
    assert_eq!(status["lastScheduleTime"], "2026-11-23T10:30:00Z");
    assert_eq!(status["active"][0]["uid"], job["metadata"]["uid"]);
    end(&mut world, "Succeeded");
    let status = world.get("cronjobs.batch", CRON)["status"].clone();
    assert_eq!(status.get("active"), None);
    assert_eq!(status["lastSuccessfulTime"], "2026-11-23T10:30:01Z");
    assert_eq!(world.events("SawCompletedJob").len(), 1);
}

#[test]
fn so_many_ended_jobs_are_kept() {
    let mut world = World::on_the_road();
    let spec = json!({"schedule": "* * * * *", "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0});
    world.create("cronjobs.batch", "acme", "default", cron(&spec)).expect("created");
    world.settle();
    for _ in 0..5 {
        world.pass(60);
        end(&mut world, "Succeeded");
    }
    world.pass(20);
    let names: Vec<String> = jobs(&world).iter().map(path_of).collect();
    assert_eq!(names, [format!("{CRON}-{}", 29_923_804), format!("{CRON}-{}", 29_923_805)]);
}

#[test]
fn what_was_missed_is_made_good_once_and_only_within_the_deadline() {
    for (deadline, made) in [(None, 1), (Some(30), 0), (Some(120), 1)] {
        let mut world = World::on_the_road();
        let mut spec = json!({"schedule": "0 * * * *", "suspend": true});
        if let Some(deadline) = deadline {
            spec["startingDeadlineSeconds"] = json!(deadline);
        }
        world.create("cronjobs.batch", "acme", "default", cron(&spec)).expect("created");
        world.settle();
        world.pass(3 * 3600 + 60);
        world.edit("cronjobs.batch", CRON, |cron| cron["spec"]["suspend"] = json!(false));
        world.settle();
        assert_eq!(jobs(&world).len(), made, "{deadline:?}");
        world.pass(60);
        assert_eq!(jobs(&world).len(), made, "{deadline:?}");
    }
}

#[test]
fn a_job_that_is_there_already_is_not_made_twice() {
    let mut world = World::on_the_road();
    world.create("cronjobs.batch", "acme", "default", cron(&json!({"schedule": "* * * * *"}))).expect("created");
    world.settle();
    world.pass(61);
    world.edit_status("cronjobs.batch", CRON, |cron| cron["status"] = json!({}));
    world.settle();
    assert_eq!(jobs(&world).len(), 1);
    let status = world.get("cronjobs.batch", CRON)["status"].clone();
    assert_eq!(status["active"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["lastScheduleTime"], "2026-11-23T10:01:00Z");
}
