//! Deletions: what is said of them, and when what stays goes.

use http::Method;
use serde_json::{Value, json};

use crate::World;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}},
    })
}

#[tokio::test]
async fn who_deletes_jobs_and_does_not_say_what_becomes_of_their_pods_is_warned() {
    let world = World::new().await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(world.post("acme", JOBS, job(name)).await.code, 201);
    }
    let warning = "299 - \"child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                   remove them or set propagationPolicy=Orphan to suppress this warning\"";
    let said = |options: Value, path: String| {
        let world = &world;
        async move { world.send("acme", Method::DELETE, &path, Some(options)).await.warnings }
    };
    assert_eq!(said(json!({}), format!("{JOBS}/a")).await, [warning]);
    assert_eq!(said(json!({"propagationPolicy": "Background"}), format!("{JOBS}/b")).await, [""; 0]);
    assert_eq!(said(json!({"orphanDependents": false}), format!("{JOBS}/c")).await, [""; 0]);
    assert_eq!(said(json!({}), JOBS.to_owned()).await, [warning]);
}
