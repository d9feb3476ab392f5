//! Writes: pods that are created, updated and patched, and leases that are renewed. Each is synced before it is
//! answered.

use bytes::Bytes;
use http::Method;

use crate::client::{self, Marks, PODS, load, load_in_turn, pod};
use crate::report::Found;
use crate::server::Server;
use crate::{Bench, Outcome, TENANT};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

fn lease(name: &str, renewal: usize, revision: &str) -> Bytes {
    let time = format!("2026-11-26T15:00:{:02}.{:06}Z", renewal / 1_000_000 % 60, renewal % 1_000_000);
    let revision = if revision.is_empty() { String::new() } else { format!(r#","resourceVersion":"{revision}""#) };
    let metadata = format!(r#"{{"name":"{name}","namespace":"default"{revision}}}"#);
    let spec = format!(r#"{{"holderIdentity":"{name}","leaseDurationSeconds":40,"renewTime":"{time}"}}"#);
    Bytes::from(format!(
        r#"{{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{metadata},"spec":{spec}}}"#
    ))
}

/// The revision of the object that was answered.
fn revision(answer: &[u8]) -> Option<String> {
    let answer = String::from_utf8_lossy(answer);
    let (_, rest) = answer.split_once(r#""resourceVersion":""#)?;
    rest.split_once('"').map(|(revision, _)| revision.to_owned())
}

pub fn writes(bench: &Bench) -> Outcome<Found> {
    let count = bench.scale.pick(64, 2000, 20_000);
    let server = Server::start(&bench.directory, &[TENANT], "tenant,namespace")?;
    client::runtime()?.block_on(async {
        let mut found = Found::default();
        let created = client::fill(&server, 0, count).await?;
        found.rows.extend(
            created.rows("create a pod", &Marks { goal: Some((6_000.0, 100.0)), peer: Some((1_380.0, 1_370.0)) }),
        );
        let pods = count.min(2000);
        let updated = load(&server, count, move |number| {
            let name = format!("p-{}", number % pods);
            let body = String::from_utf8_lossy(&pod(&name)).replace("1.2.3", &format!("1.2.{number}"));
            (Method::PUT, format!("{PODS}/{name}"), body.into())
        });
        found.rows.extend(updated.await?.rows("update a pod", &Marks::default()));
        let patched = load(&server, count, move |number| {
            let body = format!(r#"{{"metadata":{{"labels":{{"n":"{number}"}}}}}}"#);
            (Method::PATCH, format!("{PODS}/p-{}", number % pods), body.into())
        });
        found.rows.extend(patched.await?.rows("patch a pod", &Marks::default()));
        // The first round makes them; then each is renewed by whoever made it, at the revision it got last.
        let renewed = load_in_turn(&server, count, |number, worker, last| {
            let name = format!("l-{worker}");
            match revision(last) {
                Some(revision) => (Method::PUT, format!("{LEASES}/{name}"), lease(&name, number, &revision)),
                None => (Method::POST, LEASES.to_owned(), lease(&name, number, "")),
            }
        });
        found.rows.extend(renewed.await?.rows("renew a lease", &Marks { goal: Some((10_000.0, 60.0)), peer: None }));
        let how = "64 requests at a time on 4 connections; every write is synced before it is answered";
        found.notes.extend([how.to_owned(), crate::PEER.to_owned()]);
        Ok(found)
    })
}
