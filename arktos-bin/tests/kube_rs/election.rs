//! Leader election by a Lease, as a library above kube-rs does it: one leads, the others wait for its time to run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::{client, refusal, run, world};

/// Somebody who wants to lead, with a clock of its own.
struct Candidate {
    leases: Api<Lease>,
    name: String,
}

impl Candidate {
    fn new(client: &Client, name: &str) -> Self {
        Self { leases: Api::namespaced(client.clone(), "default"), name: name.to_owned() }
    }

    /// Whether it leads, having asked at a moment. Whoever writes second is refused.
    async fn leads(&self, now: Timestamp) -> bool {
        let (post, moment) = (PostParams::default(), Some(MicroTime(now)));
        let Some(mut lease) = self.leases.get_opt("leader").await.expect("an answer") else {
            let lease = json!({"metadata": {"name": "leader"}, "spec": {
                "holderIdentity": self.name, "leaseDurationSeconds": 15, "renewTime": moment, "leaseTransitions": 0,
            }});
            let lease = serde_json::from_value(lease).expect("a lease");
            return self.leases.create(&post, &lease).await.is_ok();
        };
        let spec = lease.spec.as_mut().expect("a spec");
        let renewed = spec.renew_time.as_ref().map(|it| it.0).expect("a time");
        if spec.holder_identity.as_ref() != Some(&self.name) {
            if now < renewed + SignedDuration::from_secs(15) {
                return false;
            }
            spec.holder_identity = Some(self.name.clone());
            spec.lease_transitions = spec.lease_transitions.map(|count| count + 1);
        }
        spec.renew_time = moment;
        match self.leases.replace("leader", &post, &lease).await {
            Ok(kept) => kept.spec.and_then(|spec| spec.renew_time).map(|it| it.0) == Some(now),
            lost => {
                assert_eq!(refusal(lost).code, 409);
                false
            }
        }
    }
}

#[test]
fn one_of_many_leads_and_another_when_its_time_has_run_out() {
    let world = world();
    run(async {
        let client = client(&world).await;
        let candidates: Vec<_> = (0..10).map(|number| Candidate::new(&client, &format!("c-{number}"))).collect();
        let candidates = Arc::new(candidates);
        let start: Timestamp = "2026-11-23T10:00:00.123456Z".parse().expect("a moment");
        let mut leaders = Vec::new();
        for (round, seconds) in [0, 5, 30].into_iter().enumerate() {
            let now = start + SignedDuration::from_secs(seconds);
            let count = Arc::new(AtomicUsize::new(0));
            // In the first and the last everybody tries; in between the leader alone renews.
            let tries = (0..10).filter(|number| round != 1 || leaders.contains(number)).map(|number| {
                let (candidates, count) = (candidates.clone(), count.clone());
                async move {
                    let leads = candidates[number].leads(now).await;
                    count.fetch_add(usize::from(leads), Ordering::Relaxed);
                    leads.then_some(number)
                }
            });
            leaders = futures::future::join_all(tries).await.into_iter().flatten().collect();
            assert_eq!(count.load(Ordering::Relaxed), 1, "one leads, and no more");
            let others = (0..10).filter(|number| !leaders.contains(number));
            for other in others {
                assert!(!candidates[other].leads(now).await, "{other} waits");
            }
        }
        let lease = candidates[0].leases.get("leader").await.expect("a lease").spec.expect("a spec");
        assert_eq!(lease.renew_time.expect("a time").0, start + SignedDuration::from_secs(30), "to the microsecond");
    });
}
