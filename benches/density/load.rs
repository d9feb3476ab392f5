//! The tenants' side: Deployments that fill the hosts, and churn that keeps them busy, through the gateway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arktos::Client;
use arktos::core::{GroupResource, ObjectKey, Reason};
use arktos::store::Informer;
use arktos::store::client::DeleteOptions;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::region::{PATIENCE, Region, eventually, object};
use crate::watch::{Host, Pods};
use crate::{Outcome, Shape};

/// How many pods a Deployment has at most.
const REPLICAS: usize = 250;
/// How many requests the tenants have under way at once.
const AT_ONCE: usize = 16;

/// How long the tenants' own requests took, in seconds, by verb.
#[derive(Default)]
pub struct Latencies {
    pub create: Vec<f64>,
    pub delete: Vec<f64>,
    pub get: Vec<f64>,
    pub failed: usize,
}

/// Makes the tenants, some in each partition, and waits until each can have pods.
pub async fn tenants(shape: &Shape, region: &Region) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for partition in 0..shape.layout.partitions {
        let own: Vec<_> = (0..shape.tenants).map(|tenant| format!("tenant-{partition}-{tenant}")).collect();
        region.tenants(partition, &own).await?;
        names.extend(own);
    }
    Ok(names)
}

/// Waits until all hosts have registered.
pub async fn hosts(shape: &Shape, region: &mut Region, nodes: &[Informer<Host>]) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        let registered: usize = nodes.iter().map(|informer| informer.store().len()).sum();
        crate::progress(format!("{registered} of {} hosts have registered", shape.layout.hosts));
        if registered >= shape.layout.hosts {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE * 5 {
            return Err("the hosts do not register".into());
        }
        region.check()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Makes the Deployments, those of all tenants in turn, and no more of them than the region keeps up with: while too
/// many of the pods that were asked for do not run yet, it waits.
pub async fn deployments(
    shape: &Shape,
    tenants: &[String],
    gateway: &Arc<dyn Client>,
    pods: &Mutex<Pods>,
    seen: &Mutex<Latencies>,
) -> Outcome<()> {
    let wanted = stream::unfold((wanted(shape, tenants).into_iter(), 0), |(mut left, asked)| async move {
        let next = left.next()?;
        while asked > pods.lock().running + shape.ahead {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let asked = asked + next.2;
        Some((next, (left, asked)))
    });
    let made = wanted.map(|(tenant, number, replicas)| async move {
        let deployment = object(deployment(number, replicas))?;
        let resource = GroupResource::new("apps", "deployments");
        // A region that is as busy as this one may ask a client to try again.
        eventually("a Deployment could not be made", async || {
            let begun = Instant::now();
            let outcome = gateway.create(&resource, &tenant, "default", deployment.clone()).await;
            let mut seen = seen.lock();
            seen.create.push(begun.elapsed().as_secs_f64());
            match outcome {
                Err(status) if status.is(Reason::AlreadyExists) => Ok(()), // it was made the first time
                Err(status) => {
                    seen.failed += 1;
                    Err(status)
                }
                Ok(_) => Ok(()),
            }
        })
        .await
    });
    let outcomes: Vec<Outcome<()>> = made.buffer_unordered(AT_ONCE).collect().await;
    outcomes.into_iter().collect()
}

/// The Deployments by tenant, number and replicas.
fn wanted(shape: &Shape, tenants: &[String]) -> Vec<(String, usize, usize)> {
    let pods = shape.layout.hosts * shape.pods_per_host;
    let share = |at: usize| pods / tenants.len() + usize::from(at < pods % tenants.len());
    let mut left: Vec<(&String, usize)> = tenants.iter().enumerate().map(|(at, tenant)| (tenant, share(at))).collect();
    let mut wanted = Vec::new();
    while left.iter().any(|(_, left)| *left > 0) {
        for (tenant, left) in left.iter_mut().filter(|(_, left)| *left > 0) {
            let replicas = REPLICAS.min(*left);
            wanted.push(((*tenant).clone(), wanted.len(), replicas));
            *left -= replicas;
        }
    }
    wanted
}

fn deployment(number: usize, replicas: usize) -> Value {
    let labels = json!({"app": format!("app-{number}")});
    let requests = json!({"cpu": "100m", "memory": "100Mi"});
    let container = json!({"name": "main", "image": "app:1", "resources": {"requests": requests}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": format!("app-{number}"), "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })
}

/// Deletes pods at a rate, oldest first, for a while: the Deployments make new ones. Each is read before, as a person
/// or a controller would.
pub async fn churn(rate: f64, lasts: Duration, gateway: &Arc<dyn Client>, pods: &Mutex<Pods>, seen: &Mutex<Latencies>) {
    let begun = Instant::now();
    let due = stream::unfold(0u64, |count| async move {
        let at = begun + Duration::from_secs_f64(count as f64 / rate);
        if at >= begun + lasts {
            return None;
        }
        tokio::time::sleep_until(at.into()).await;
        Some(((), count + 1))
    });
    let one = |()| async move {
        let Some(path) = pods.lock().take_oldest() else { return };
        let key = ObjectKey { resource: GroupResource::core("pods"), path };
        let begun = Instant::now();
        let read = gateway.get(&key).await;
        seen.lock().get.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let deleted = gateway.delete(&key, DeleteOptions::default()).await;
        let mut seen = seen.lock();
        seen.delete.push(begun.elapsed().as_secs_f64());
        seen.failed += usize::from(read.is_err()) + usize::from(deleted.is_err());
    };
    due.for_each_concurrent(500, one).await;
}
