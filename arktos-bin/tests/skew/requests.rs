//! What the clients of this version send, compared with what was recorded: roles of the version before must find in it
//! what they know.

use std::convert::Infallible;
use std::sync::Arc;

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::remote::Remote;
use arktos_bin::net::serve;
use arktos_core::catalog::Catalog;
use arktos_core::typed::{ClaimReview, KindOf, Member, MemberKind, TenantPlacement};
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath};
use arktos_sched::claim::post;
use arktos_store::{Client, Query, Source};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::exchange::{Exchange, lacks, named};

/// Asks a server that answers as it was recorded, and compares what came with what was recorded.
async fn sends(name: &str, ask: impl AsyncFnOnce(&Remote, Object)) {
    let recorded = named(name);
    let came = Arc::new(Mutex::new(None));
    let (into, code, body) = (came.clone(), recorded.answer.code, Bytes::from(recorded.answer.text()));
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let (into, body) = (into.clone(), body.clone());
        async move {
            let (parts, sent) = request.into_parts();
            *into.lock() = Some((parts, sent.collect().await.expect("a body").to_bytes()));
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = code.try_into().expect("a code");
            Ok::<_, Infallible>(response)
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("bound"));
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(serve::serve(listener, None, service, stopping));
    let config = Kubeconfig { server, authority: String::new(), credential: None, token: None };
    let client = Remote::new(&config, Catalog::builtin()).expect("a client");
    ask(&client, Object::from_value(recorded.body.clone()).unwrap_or_default()).await;
    let (parts, body) = came.lock().take().expect("a request");
    compare(name, &recorded, &parts, &body);
}

fn compare(name: &str, recorded: &Exchange, parts: &http::request::Parts, body: &[u8]) {
    assert_eq!((parts.method.as_str(), &*parts.uri.to_string()), (&*recorded.method, &*recorded.path), "{name}");
    for (header, value) in recorded.headers.iter().filter(|(header, _)| *header != "user-agent") {
        let now = parts.headers.get(header).and_then(|now| now.to_str().ok());
        assert_eq!(now, value.as_str(), "{name}: {header}");
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    assert_eq!(lacks(&body, &recorded.body, ""), None, "{name}");
}

async fn reviews(client: &Remote, body: Object) {
    post(client, &ClaimReview::from_object(&body).expect("a review")).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_of_claims_are_sent_as_before() {
    for name in ["claims", "releases", "asks"] {
        sends(name, reviews).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_pods_and_members_are_asked_for_as_before() {
    let (nodes, pods) = (GroupResource::core("nodes"), GroupResource::core("pods"));
    let partition = ObjectPath::new("", "", "tp-9");
    let partition = Query::object(MemberKind::Partition.resource(), partition);
    for (kind, query) in
        [("nodes", Query::everywhere(nodes)), ("pods", Query::everywhere(pods)), ("partitions", partition)]
    {
        sends(&format!("{kind}-list"), async |client, _| drop(client.list(&query).await.expect("a list"))).await;
        sends(&format!("{kind}-watch"), async |client, _| drop(client.watch_list(&query).await.expect("a watch")))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_members_and_placements_are_written_as_before() {
    let (nodes, members) = (GroupResource::core("nodes"), MemberKind::Partition.resource());
    sends("node-create", async |client, body| {
        client.create(&nodes, "", "", body).await.expect("an answer");
    })
    .await;
    sends("member-heartbeat", async |client, body| {
        let member: Member = serde_json::from_value(body.into_value()).expect("a member");
        let key = ObjectKey::region_scoped(members.clone(), "tp-9");
        let written = MemberKind::Partition.object(&member);
        client.update(&key, Some("status"), written).await.expect("an answer");
    })
    .await;
    sends("placement-create", async |client, body| {
        let placement = TenantPlacement::from_object(&body).expect("a placement");
        let resource = GroupResource::new("region.arktos.io", "tenantplacements");
        client.create(&resource, "", "", placement.to_object()).await.expect("an answer");
    })
    .await;
}
