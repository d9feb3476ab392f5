//! How soon a new tenant can be used, by its own administrator and in all its namespaces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos::core::{GroupResource, TypeMeta};
use arktos::{Client, ControlPlane, Identity, Object, TenantName};
use serde_json::json;

use crate::report::{Found, Goal, Row, figure, percentile};
use crate::{Bench, Outcome, plane};

/// What every tenant begins with.
const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];
/// How long whoever was refused waits until it tries again.
const AGAIN: Duration = Duration::from_micros(500);
/// After so long, a tenant will never be usable.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn usable(bench: &Bench) -> Outcome<Found> {
    let (beside, count) = bench.scale.pick((5, 5), (200, 100), (2000, 1000));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut took = runtime.block_on(async {
        let (region, client) = plane::start().await?;
        plane::make(&client, 0..beside).await?;
        let mut took = Vec::with_capacity(count);
        for number in beside..beside + count {
            took.push(one(&region, &client, &plane::name(number)).await?);
        }
        region.stop().await;
        Outcome::Ok(took)
    })?;
    let mut share = |share| figure(percentile(&mut took, share) * 1e3, "ms");
    let rows = vec![
        Row::of("a new tenant, until its administrator can use it, p50", share(0.5)),
        Row::of("  p99", share(0.99)).goal(Goal::AtMost(50.0)),
    ];
    let notes = vec![
        format!("from the request that makes it on; {count} tenants, one after another, beside {beside} others"),
        "used: its administrator makes a pod in each of its three namespaces, which takes the namespace, the \
            administrator's role and binding, and the namespace's service account"
            .to_owned(),
    ];
    Ok(Found { rows, notes })
}

/// Makes a tenant and tries to use it until that is possible; how long it took, in seconds.
async fn one(region: &ControlPlane, client: &Arc<dyn Client>, name: &str) -> Outcome<f64> {
    let admin = region.client(Identity::user("admin", &[], &TenantName::new(name)?));
    let begun = Instant::now();
    let tenant = Object::new(&TypeMeta::new("", "v1", "Tenant"), name);
    client.create(&plane::tenants(), "", "", tenant).await?;
    for namespace in NAMESPACES {
        while let Err(status) = use_it(&admin, name, namespace).await {
            if begun.elapsed() > PATIENCE {
                return Err(status.into());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}

async fn use_it(admin: &Arc<dyn Client>, tenant: &str, namespace: &str) -> Result<(), arktos::Status> {
    let mut pod = Object::new(&TypeMeta::new("", "v1", "Pod"), "first");
    pod.set(&["spec", "containers"], json!([{"name": "main", "image": "main"}]));
    admin.create(&GroupResource::core("pods"), tenant, namespace, pod).await.map(drop)
}
