//! Informers over a Kubernetes server that knows no tenants, whatever it does to them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arktos_bin::edge::{SystemClock, SystemRandom};
use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::remote::Remote;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, ObjectKey, Reason, Revision, TenantName};
use arktos_store::informer::Event;
use arktos_store::{Client, Informer, Query, Source, Stored, Within};
use futures::StreamExt;
use serde_json::json;

use super::script::{Answer, End, Requests, bookmark, event, list, map, serve, status};
use super::{PATIENCE, maps, runtime};

fn acme() -> TenantName {
    TenantName::new("acme").expect("a name")
}

fn remote(address: std::net::SocketAddr) -> Remote {
    let server = format!("http://{address}/clusters/one/");
    let config = Kubeconfig { server, authority: String::new(), credential: None, token: Some("sesame".to_owned()) };
    Remote::plain(&config, Catalog::builtin(), acme()).expect("a client")
}

/// A server that gives these answers, one after the other, and then keeps a watch open.
async fn serve_all(answers: Vec<Answer>) -> (Remote, Requests) {
    let mut answers = VecDeque::from(answers);
    let idle = || Answer::Stream(String::new(), 1, End::Open);
    let (address, requests) = serve(move |_| answers.pop_front().unwrap_or_else(idle)).await;
    (remote(address), requests)
}

/// An informer of config maps, run on the runtime, and what its handler was told.
struct Watched {
    informer: Informer<Stored>,
    told: Arc<Mutex<Vec<String>>>,
}

fn watch(remote: Remote) -> Watched {
    let told = Arc::new(Mutex::new(Vec::new()));
    let record = told.clone();
    let place = |it: &Stored| format!("{}@{}", it.path, it.revision);
    let clock = Arc::new(SystemClock::new());
    let (informer, driver) =
        Informer::<Stored>::builder(Arc::new(remote), Query::everywhere(maps()), clock, Arc::new(SystemRandom))
            .handler(move |event| {
                record.lock().expect("alive").push(match event {
                    Event::Added { new, .. } => format!("+{}", place(new)),
                    Event::Updated { new, .. } => format!("~{}", place(new)),
                    Event::Removed { old, .. } => format!("-{}", place(old)),
                });
            })
            .build();
    tokio::spawn(driver);
    Watched { informer, told }
}

impl Watched {
    async fn reached(&self, revision: u64) {
        let reached = tokio::time::timeout(PATIENCE, self.informer.reached(Revision(revision)));
        reached.await.expect("in time").expect("it runs");
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().expect("alive"))
    }
}

fn targets(requests: &Requests) -> Vec<String> {
    let requests = requests.lock().expect("alive");
    requests.iter().map(|head| head.split(' ').nth(1).expect("a target").to_owned()).collect()
}

const BASE: &str = "/clusters/one/api/v1/configmaps?";
const STREAM: &str = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

fn from(revision: u64) -> String {
    format!("{BASE}watch=1&allowWatchBookmarks=true&resourceVersion={revision}")
}

#[test]
fn one_stream_brings_the_state_and_the_changes_however_it_is_cut() {
    for size in [1, 2, 7, 64, 100_000] {
        runtime().block_on(async {
            let first = [
                event("ADDED", &map("a", 3)),
                event("ADDED", &map("b", 5)),
                bookmark(9, true),
                "\n".to_owned(),
                event("MODIFIED", &map("a", 11)),
                event("DELETED", &map("b", 12)),
                bookmark(20, false),
                event("ERROR", &status(410, "Expired")),
            ];
            let second = [event("ADDED", &map("a", 11)), event("ADDED", &map("c", 25)), bookmark(30, true)];
            let (remote, requests) = serve_all(vec![
                Answer::Stream(first.concat(), size, End::Clean),
                Answer::Stream(second.concat(), size, End::Open),
            ])
            .await;
            let watched = watch(remote);
            watched.reached(30).await;
            let told = ["+acme/default/a@3", "+acme/default/b@5", "~acme/default/a@11", "-acme/default/b@5"];
            assert_eq!(watched.told(), [&told[..], &["+acme/default/c@25"]].concat());
            assert_eq!(targets(&requests), [format!("{BASE}{STREAM}"), format!("{BASE}{STREAM}")]);
            let head = requests.lock().expect("alive")[0].to_ascii_lowercase();
            assert!(head.contains("authorization: bearer sesame\r\n") && !head.contains("arktos-dialect"), "{head}");
        });
    }
}

#[test]
fn a_server_without_initial_states_is_listed_page_by_page() {
    runtime().block_on(async {
        let broken = [event("ADDED", &map("d", 21)), bookmark(40, false), r#"{"type":"ADD"#.to_owned()];
        let (remote, requests) = serve_all(vec![
            Answer::Whole(422, "", status(422, "Invalid").to_string()),
            Answer::Whole(200, "", list(7, "more", &[map("a", 1), map("gone", 2)])),
            Answer::Whole(410, "", status(410, "Expired").to_string()),
            Answer::Whole(200, "", list(20, "", &[map("a", 1), map("b", 12)])),
            Answer::Stream(broken.concat(), 10, End::Reset),
            Answer::Stream(event("DELETED", &map("a", 41)), 5, End::Open),
        ])
        .await;
        let watched = watch(remote);
        watched.reached(41).await;
        let told = ["+acme/default/a@1", "+acme/default/b@12", "+acme/default/d@21", "-acme/default/a@1"];
        assert_eq!(watched.told(), told, "of the pages that came before the 410, nothing is told");
        let pages = ["limit=500", "limit=500&continue=more", ""].map(|page| format!("{BASE}{page}"));
        let pages = pages.map(|url| url.trim_end_matches('?').to_owned());
        let [first, second, whole] = pages;
        assert_eq!(targets(&requests), [format!("{BASE}{STREAM}"), first, second, whole, from(20), from(40)]);
    });
}

#[test]
fn long_lists_come_in_pages() {
    runtime().block_on(async {
        let (address, requests) = serve(|target| {
            let next = target.split("continue=").nth(1).and_then(|next| next.parse().ok()).unwrap_or(0);
            let items: Vec<_> = (next..next + 500).map(|number| map(&format!("m-{number:05}"), number + 1)).collect();
            let token = if next + 500 < 5000 { (next + 500).to_string() } else { String::new() };
            Answer::Whole(200, "", list(9000, &token, &items))
        })
        .await;
        let listing = remote(address).list(&Query::everywhere(maps())).await.expect("a list");
        assert_eq!((listing.items.len(), listing.revision), (5000, Revision(9000)));
        assert!(listing.items.is_sorted_by(|one, other| one.path < other.path));
        assert_eq!(requests.lock().expect("alive").len(), 10);
    });
}

#[test]
fn a_server_in_trouble_is_asked_again_and_not_before_it_wants_to_be() {
    runtime().block_on(async {
        let begun = Instant::now();
        let (remote, requests) = serve_all(vec![
            Answer::Whole(500, "", "a proxy's page".to_owned()),
            Answer::Whole(429, "Retry-After: 1\r\n", "slow down".to_owned()),
            Answer::Stream(event("ADDED", &map("a", 3)) + &bookmark(5, true), 9, End::Clean),
            Answer::Whole(410, "", "gone".to_owned()),
            Answer::Stream(event("ADDED", &map("b", 8)) + &bookmark(9, true), 9, End::Open),
        ])
        .await;
        let watched = watch(remote);
        watched.reached(5).await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
        watched.reached(9).await;
        assert_eq!(watched.told(), ["+acme/default/a@3", "+acme/default/b@8", "-acme/default/a@3"]);
        let stream = format!("{BASE}{STREAM}");
        assert_eq!(targets(&requests), [stream.clone(), stream.clone(), stream.clone(), from(5), stream]);
    });
}

#[test]
fn failures_say_what_they_are() {
    runtime().block_on(async {
        let (remote, _) = serve_all(vec![
            Answer::Whole(429, "Retry-After: 7\r\n", status(429, "TooManyRequests").to_string()),
            Answer::Whole(503, "", "<html>".to_owned()),
            Answer::Whole(200, "", "{\"metadata\":{}}".to_owned()),
            Answer::Whole(200, "", "{".to_owned()),
        ])
        .await;
        let query = Query::everywhere(maps());
        let busy = remote.list(&query).await.expect_err("refused");
        assert!(busy.is(Reason::TooManyRequests) && busy.details.expect("details").retry_after_seconds == 7);
        let proxy = remote.list(&query).await.expect_err("refused");
        assert!(proxy.is(Reason::ServiceUnavailable) && proxy.message.contains("without a Status"), "{proxy}");
        let bare = remote.list(&query).await.expect_err("no list");
        assert!(bare.message.contains("no resourceVersion"), "{bare}");
        remote.list(&query).await.expect_err("no JSON");
    });
}

#[test]
fn streams_that_break_off_or_run_over_end_with_an_error() {
    runtime().block_on(async {
        let half = event("ADDED", &map("a", 3)) + r#"{"type":"DELETED","object":{"#;
        let endless = format!("{{\"type\":\"ADDED\",\"object\":\"{}", "x".repeat(17 << 20));
        let odd = event("ADDED", &json!({"metadata": {"name": "a/b", "namespace": "default"}}));
        let code_only = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n".to_owned();
        let (remote, _) = serve_all(vec![
            Answer::Unframed(half),
            Answer::Stream(endless, 64 << 10, End::Clean),
            Answer::Stream(odd, 10, End::Clean),
            Answer::Stream(event("SURPRISE", &map("a", 1)), 10, End::Clean),
            Answer::Stream(code_only, 10, End::Clean),
        ])
        .await;
        let mut ends = Vec::new();
        for _ in 0..5 {
            let stream = remote.watch(&Query::everywhere(maps()), Revision(1)).await.expect("opened");
            let all: Vec<_> = stream.take(100).collect().await;
            assert!(all.iter().rev().skip(1).all(Result::is_ok), "an error is the last there is");
            ends.push(all.last().expect("something").clone().expect_err("an error"));
        }
        assert!(ends[0].message.contains("in the middle of an event"), "{}", ends[0]);
        assert!(ends[1].message.contains("longer than 16777216 bytes"), "{}", ends[1]);
        assert!(ends[2].message.contains("a slash"), "{}", ends[2]);
        assert!(ends[3].message.contains("SURPRISE"), "{}", ends[3]);
        assert!(ends[4].is(Reason::Expired));
    });
}

#[test]
fn what_a_plain_server_has_is_under_the_tenant_it_was_given() {
    runtime().block_on(async {
        let node = json!({"metadata": {"name": "n1", "resourceVersion": "4"}});
        let secret = json!({"name": "a", "namespace": "default", "resourceVersion": "6", "tenant": "umbra"});
        let (remote, requests) = serve_all(vec![
            Answer::Whole(200, "", list(7, "", &[map("a", 1)])),
            Answer::Whole(200, "", list(7, "", &[node])),
            Answer::Whole(200, "", json!({"metadata": secret}).to_string()),
        ])
        .await;
        let within = Within::Namespace(acme(), "default".to_owned());
        let listing = remote.list(&Query::all(maps(), within)).await.expect("a list");
        assert_eq!(listing.items[0].path.as_str(), "acme/default/a");
        let nodes = GroupResource::core("nodes");
        let listing = remote.list(&Query::everywhere(nodes)).await.expect("a list");
        assert_eq!(listing.items[0].path.as_str(), "//n1", "hosts are of no tenant");
        let key = ObjectKey::namespaced(maps(), &acme(), "default", "a");
        let found = remote.get(&key).await.expect("there");
        assert_eq!(found.path.as_str(), "acme/default/a", "whatever the object says");
        let umbra = TenantName::new("umbra").expect("a name");
        let refused = remote.list(&Query::all(maps(), Within::Tenant(umbra))).await.expect_err("not here");
        assert!(refused.is(Reason::NotFound) && refused.message.contains("umbra"), "{refused}");
        let prefix = "/clusters/one/api/v1";
        let asked = ["namespaces/default/configmaps?limit=500", "nodes?limit=500", "namespaces/default/configmaps/a"];
        assert_eq!(targets(&requests), asked.map(|target| format!("{prefix}/{target}")));
    });
}
