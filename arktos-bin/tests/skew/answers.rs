//! What other versions answer, read by the clients of this one.

use std::convert::Infallible;
use std::sync::Arc;

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::remote::Remote;
use arktos_bin::net::serve;
use arktos_core::catalog::Catalog;
use arktos_core::typed::{ClaimReview, Member, MemberKind};
use arktos_core::{GroupResource, Revision};
use arktos_sched::claim::post;
use arktos_store::client::WatchListEvent;
use arktos_store::{Delivery, Query, Source, Stored};
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::exchange::{Answer, named, of_later};

/// A client of a server that answers everything with this.
async fn client_of(answer: &Answer) -> (Remote, watch::Sender<bool>) {
    let (code, body) = (answer.code, Bytes::from(answer.text()));
    let service = tower::service_fn(move |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.status_mut() = code.try_into().expect("a code");
        async move { Ok::<_, Infallible>(response) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("bound"));
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(serve::serve(listener, None, service, stopping));
    let config = Kubeconfig { server, authority: String::new(), credential: None, token: None };
    (Remote::new(&config, Catalog::builtin()).expect("a client"), stop)
}

/// The answer that was recorded, and as a later version may give it.
fn both(name: &str) -> [Answer; 2] {
    let answer = named(name).answer;
    let later = match answer.value() {
        Value::Array(lines) => {
            Answer { lines: lines.iter().map(|line| raw(&line_of_later(line))).collect(), ..code(&answer) }
        }
        body => Answer { body: Some(raw(&of_later(&body))), ..code(&answer) },
    };
    [answer, later]
}

fn line_of_later(line: &Value) -> Value {
    json!({"type": line["type"], "object": of_later(&line["object"])})
}

fn code(answer: &Answer) -> Answer {
    Answer { code: answer.code, ..Answer::default() }
}

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("JSON")
}

/// The answer that was recorded, changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Answer {
    let answer = named(name).answer;
    let mut value = answer.value();
    change(&mut value);
    Answer { body: Some(raw(&value)), ..code(&answer) }
}

async fn listed(answer: &Answer, resource: GroupResource) -> Vec<Stored> {
    let (client, _stop) = client_of(answer).await;
    let listing = client.list(&Query::everywhere(resource)).await.expect("a list");
    assert!(listing.revision > Revision::default());
    listing.items
}

async fn watched(answer: &Answer, resource: GroupResource) -> Vec<Stored> {
    let (client, _stop) = client_of(answer).await;
    let mut events = client.watch_list(&Query::everywhere(resource)).await.expect("a watch");
    let mut added = Vec::new();
    while let Some(event) = events.next().await {
        match event.expect("an event") {
            WatchListEvent::Delivery(Delivery::Added(stored)) => added.push(Arc::unwrap_or_clone(stored)),
            WatchListEvent::InitialEnd(revision) => {
                assert!(revision > Revision::default());
                return added;
            }
            _ => panic!("neither an object nor the end of them"),
        }
    }
    panic!("the initial state does not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_claims_are_read_whether_there_is_more_in_them_or_less() {
    for answer in both("claims") {
        let (client, _stop) = client_of(&answer).await;
        let results = post(&client, &ClaimReview::default()).await.expect("a review").results;
        let said: Vec<(&str, bool, &str)> = results.iter().map(|it| (&*it.name, it.accepted, &*it.reason)).collect();
        assert_eq!(said, [("skew-1", true, ""), ("skew-2", false, "Insufficient"), ("skew-3", false, "HostGone")]);
    }
    let results = json!({"results": [{"name": "skew-1", "accepted": true}]});
    let less = changed("claims", |review| review["status"] = results);
    let (client, _stop) = client_of(&less).await;
    let status = post(&client, &ClaimReview::default()).await.expect("a review");
    assert_eq!((status.results.len(), status.results[0].epoch, status.answers.len()), (1, 0, 0));
    for answer in both("asks") {
        let (client, _stop) = client_of(&answer).await;
        let answers = post(&client, &ClaimReview::default()).await.expect("a review").answers;
        assert_eq!((&*answers[0].name, answers[0].accepted, &*answers[0].reason), ("skew-9", false, "Ended"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_pods_of_another_version_are_followed() {
    let (nodes, pods) = (GroupResource::core("nodes"), GroupResource::core("pods"));
    for answer in both("nodes-list") {
        names(&listed(&answer, nodes.clone()).await, &["//skew-host"]);
    }
    for answer in both("nodes-watch") {
        names(&watched(&answer, nodes.clone()).await, &["//skew-host"]);
    }
    for answer in both("pods-list") {
        bound(&listed(&answer, pods.clone()).await);
    }
    for answer in both("pods-watch") {
        bound(&watched(&answer, pods.clone()).await);
    }
}

/// The two pods; of the one that is bound, the claim is known.
fn bound(found: &[Stored]) {
    names(found, &["acme/default/skew-bound", "acme/default/skew-pod"]);
    let claims: Vec<bool> = found.iter().map(|pod| pod.object.header().note("claim").is_some()).collect();
    assert_eq!(claims, [true, false]);
}

fn names(found: &[Stored], expected: &[&str]) {
    let found: Vec<String> = found.iter().map(|stored| stored.path.to_string()).collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_directory_are_read_whether_there_is_more_in_them_or_less() {
    let resource = MemberKind::Partition.resource();
    for answer in both("partitions-list") {
        let found = listed(&answer, resource.clone()).await;
        let member: Member = found[0].object.parse().expect("a member");
        assert_eq!((found[0].path.name(), member.status.epoch, member.status.servers.len()), ("tp-9", 3, 1));
    }
    let less = changed("partitions-list", |list| {
        list["items"][0]["spec"] = Value::Null;
        list["items"][0]["status"] = json!({"servers": [{"url": "https://127.0.0.1:9"}]});
    });
    let found = listed(&less, resource).await;
    let member: Member = found[0].object.parse().expect("a member");
    assert_eq!((member.spec.phase.as_str(), member.status.epoch), ("", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_a_reason_of_later_is_a_refusal() {
    let later = changed("pod-refused", |status| status["reason"] = "ReasonOfLater".into());
    let (client, _stop) = client_of(&later).await;
    let refused = client.list(&Query::everywhere(GroupResource::core("pods"))).await.expect_err("refused");
    assert_eq!((refused.code, refused.message.contains("forbidden")), (403, true));
}
