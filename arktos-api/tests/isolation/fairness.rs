//! A tenant that asks for all it can get, and one that asks for little: who is served how often.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::{Caller, Fairness, PeerRefusals, WebhookTarget};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use http::Method;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::json;

use crate::world::{Answer, MAPS, World, map, request};

/// A webhook that answers one call whenever it is told to: so that requests take as long as the test wants.
#[derive(Debug, Default, Clone)]
struct Gate(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl Gate {
    /// Lets the request go on that has been at work for the longest.
    fn open(&self) -> bool {
        let mut waiting = self.0.lock();
        if waiting.is_empty() {
            return false;
        }
        waiting.remove(0).send(()).is_ok()
    }
}

#[async_trait]
impl Caller for Gate {
    async fn call(&self, _: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        let (send, wait) = oneshot::channel();
        self.0.lock().push(send);
        let _ = wait.await;
        let review: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let response = json!({"uid": review["request"]["uid"], "allowed": true});
        let kind = "AdmissionReview";
        Ok(json!({"apiVersion": "admission.k8s.io/v1", "kind": kind, "response": response}).to_string().into())
    }
}

/// Two tenants whose config maps wait at the gate.
async fn world(fairness: Fairness) -> (World, Gate) {
    let gate = Gate::default();
    let caller = gate.clone();
    let world = World::with(|config| {
        config.fairness = fairness;
        config.webhooks = Some(Arc::new(caller));
    })
    .await;
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    let hook = json!({"name": "gate.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": rules, "clientConfig": {"url": "https://gate.example.org/"}, "timeoutSeconds": 30});
    let hooks = json!({"metadata": {"name": "gate"}, "webhooks": [hook]});
    for who in ["acme", "umbra"] {
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
        assert_eq!(world.post(who, path, hooks.clone()).await.code, 201);
    }
    (world, gate)
}

struct Load<'a> {
    world: &'a World,
    who: &'static str,
    asked: usize,
    open: Vec<LocalBoxFuture<'a, Answer>>,
    served: usize,
    refused: usize,
}

impl<'a> Load<'a> {
    fn new(world: &'a World, who: &'static str) -> Self {
        Self { world, who, asked: 0, open: Vec::new(), served: 0, refused: 0 }
    }

    /// Asks until so many requests are open.
    fn ask(&mut self, open: usize) {
        while self.open.len() < open {
            let (world, who, name) = (self.world, self.who, format!("m{}", self.asked));
            self.asked += 1;
            self.open.push(Box::pin(async move { world.post(who, MAPS, map(&name)).await }));
        }
    }

    fn poll(&mut self) {
        let mut left = Vec::new();
        for mut request in self.open.drain(..) {
            match request.as_mut().now_or_never() {
                Some(answer) if answer.code == 201 => self.served += 1,
                Some(answer) if answer.code == 429 => self.refused += 1,
                Some(answer) => panic!("{} {}", answer.code, answer.text),
                None => left.push(request),
            }
        }
        self.open = left;
    }
}

#[tokio::test]
async fn a_quiet_tenant_gets_its_share_beside_one_that_always_asks_for_more() {
    let config = Fairness { seats: 10, seats_per_tenant: 10, queue_per_tenant: 100, ..Fairness::default() };
    let (world, gate) = world(config).await;
    let (mut noisy, mut quiet) = (Load::new(&world, "acme"), Load::new(&world, "umbra"));
    noisy.ask(100);
    noisy.poll();
    for _ in 0..400 {
        noisy.ask(100);
        quiet.ask(10);
        noisy.poll();
        quiet.poll();
        gate.open();
    }
    // Half of what is done is its share, though the other one has ten times as much waiting.
    let all = noisy.served + quiet.served;
    assert!(all >= 390, "{all}");
    assert!(quiet.served * 100 >= all * 45, "quiet {} of {all}", quiet.served);
    assert_eq!(quiet.refused, 0);
}

#[tokio::test]
async fn what_does_not_fit_in_the_queue_is_told_to_come_back_and_others_get_in_at_once() {
    let config = Fairness { seats: 4, seats_per_tenant: 3, queue_per_tenant: 5, ..Fairness::default() };
    let (world, gate) = world(config).await;
    let mut noisy = Load::new(&world, "acme");
    noisy.ask(20);
    noisy.poll();
    assert_eq!((noisy.open.len(), noisy.refused), (8, 12));
    let refused = world.get("acme", MAPS).await;
    assert_eq!((refused.code, refused.headers["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(refused.json()["reason"], "TooManyRequests");
    assert_eq!(world.get("umbra", MAPS).await.code, 200);
    // Nobody waits for a tenant who does not have to: health, and the region's own.
    assert_eq!(world.get("acme", "/readyz").await.code, 200);
    assert_eq!(world.get("root", "/api/v1/tenants/acme/namespaces/default/configmaps").await.code, 200);
    // What waits too long is refused as well.
    world.advance(16);
    noisy.poll();
    assert_eq!((noisy.open.len(), noisy.refused), (3, 17));
    while gate.open() {}
    noisy.poll();
    assert_eq!((noisy.open.len(), noisy.served), (0, 3));
    assert_eq!(world.get("acme", MAPS).await.code, 200);
}

/// What those are answered who are; the others wait on.
fn answers(open: &mut Vec<LocalBoxFuture<'_, Answer>>) -> Vec<u16> {
    let mut codes = Vec::new();
    open.retain_mut(|request| {
        let answer = request.as_mut().now_or_never();
        codes.extend(answer.as_ref().map(|answer| answer.code));
        answer.is_none()
    });
    codes
}

#[tokio::test]
async fn who_is_not_known_is_turned_away_in_turns_with_those_who_are() {
    let config = Fairness { seats: 1, seats_per_tenant: 1, queue_per_tenant: 5, ..Fairness::default() };
    let (world, gate) = world(config).await;
    let (mut load, mut other) = (Load::new(&world, "acme"), Load::new(&world, "umbra"));
    load.ask(1);
    load.poll();
    let mut strangers: Vec<LocalBoxFuture<'_, Answer>> = Vec::new();
    strangers
        .extend((0..8).map(|_| -> LocalBoxFuture<'_, Answer> { Box::pin(world.get("a token of nobody's", MAPS)) }));
    assert_eq!(answers(&mut strangers), [429, 429, 429], "five wait");
    other.ask(1);
    other.poll();
    assert!(gate.open());
    load.poll();
    assert_eq!(answers(&mut strangers), [401], "one has its turn, then the tenant who asked last");
    other.poll();
    assert!(gate.open());
    other.poll();
    assert_eq!((load.served, other.served), (1, 1));
    while !strangers.is_empty() {
        assert!(answers(&mut strangers).iter().all(|code| *code == 401));
    }
    assert_eq!(world.get("acme", MAPS).await.code, 200);
}

#[tokio::test]
async fn who_tries_one_token_after_another_is_told_so_later_and_later_and_nobody_else_is() {
    let (world, _gate) = world(Fairness::default()).await;
    let (connection, other) = (PeerRefusals::default(), PeerRefusals::default());
    let over = |connection: &PeerRefusals, token: &str| -> LocalBoxFuture<'_, Answer> {
        let mut asked = request(token, Method::GET, MAPS, "");
        asked.extensions_mut().insert(connection.clone());
        Box::pin(world.answer(asked))
    };
    for number in 0..10 {
        let answer = over(&connection, &format!("guess-{number}")).now_or_never();
        assert_eq!(answer.map(|answer| answer.code), Some(401), "at once: {number}");
    }
    let mut late: Vec<_> = (0..30).map(|number| over(&connection, &format!("next-{number}"))).collect();
    assert!(answers(&mut late).is_empty());
    // Credentials that count are looked at at once, also over this connection, and another one has done nothing.
    assert_eq!(over(&connection, "acme").now_or_never().map(|answer| answer.code), Some(200));
    assert_eq!(over(&other, "guess").now_or_never().map(|answer| answer.code), Some(401));
    let mut answered = Vec::new();
    for _ in 0..10 {
        world.clock.advance(Duration::from_millis(100));
        answered.push(answers(&mut late));
    }
    assert!(answered.iter().flatten().all(|code| *code == 401));
    assert!(answered[0].len() < 3 && answered[5].len() < 3, "a few at a time: {answered:?}");
    assert!(late.is_empty(), "nobody waits for longer than a second");
    world.advance(10);
    assert_eq!(over(&connection, "again").now_or_never().map(|answer| answer.code), Some(401), "it is forgotten");
}

#[tokio::test]
async fn a_list_of_many_takes_more_of_a_tenants_turn() {
    let config = Fairness { seats: 4, seats_per_tenant: 4, queue_per_tenant: 5, ..Fairness::default() };
    let (world, _gate) = world(config).await;
    for number in 0..250 {
        let name = format!("s{number}");
        let made = world.post("acme", "/api/v1/namespaces/default/secrets", json!({"metadata": {"name": name}})).await;
        assert_eq!(made.code, 201);
    }
    let mut noisy = Load::new(&world, "acme");
    noisy.ask(2);
    noisy.poll();
    // Two seats are taken: one object fits, and a list of 250 does not.
    assert_eq!(world.get("acme", "/api/v1/namespaces/default/secrets/s1").await.code, 200);
    assert_eq!(world.get("acme", "/api/v1/secrets?limit=50").await.code, 200);
    let list: LocalBoxFuture<'_, Answer> = Box::pin(world.get("acme", "/api/v1/secrets"));
    assert!(list.now_or_never().is_none());
}

#[tokio::test]
async fn who_does_not_read_on_in_long_answers_holds_up_nobody() {
    let config = Fairness { seats: 2, seats_per_tenant: 1, queue_per_tenant: 1, ..Fairness::default() };
    let (world, _gate) = world(config).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for number in 0..40 {
        let large = json!({"metadata": {"name": format!("s{number}")}, "stringData": {"a": "x".repeat(10_000)}});
        assert_eq!(world.post("acme", secrets, large).await.code, 201);
    }
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut answer = world.respond(request("acme", Method::GET, secrets, "")).await.into_body();
        assert!(answer.frame().await.is_some(), "the first of several pieces");
        held.push(answer);
    }
    for who in ["acme", "umbra"] {
        assert_eq!(world.get(who, MAPS).await.code, 200);
    }
    // Whoever does read on reads all of it, whatever the others do.
    let whole = held.pop().unwrap().collect().await.unwrap().to_bytes();
    assert!(whole.ends_with(b"]}") && whole.len() > 40 * 10_000, "{}", whole.len());
}

#[tokio::test]
async fn a_tenant_has_so_many_watches_open_and_no_more() {
    let config = Fairness { watches_per_tenant: 3, ..Fairness::default() };
    let (world, _gate) = world(config).await;
    let path = format!("{MAPS}?watch=true");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(world.watch("acme", &path).await);
    }
    let refused = world.answer(request("acme", Method::GET, &path, "")).await;
    assert_eq!((refused.code, refused.headers["retry-after"].to_str().unwrap()), (429, "5"));
    let _other = world.watch("umbra", &path).await;
    open.pop();
    let _again = world.watch("acme", &path).await;
}

/// What a watch selects by is kept while it is open, and there may be ten thousand of them.
#[tokio::test]
async fn a_watch_with_a_long_selector_counts_as_several() {
    let config = Fairness { watches_per_tenant: 10, ..Fairness::default() };
    let (world, _) = world(config).await;
    let path = |letters: usize| format!("{MAPS}?watch=true&labelSelector={}", vec!["a"; letters / 2].join(","));
    assert_eq!(world.get("acme", &path(20_000)).await.code, 429);
    let long = world.watch("acme", &path(8_000)).await;
    let _short = (world.watch("acme", &path(200)).await, world.watch("acme", &path(200)).await);
    assert_eq!(world.get("acme", &path(200)).await.code, 429);
    drop(long);
    let _again = world.watch("acme", &path(8_000)).await;
}
