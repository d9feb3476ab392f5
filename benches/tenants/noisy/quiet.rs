//! The quiet tenant: a few requests of each sort, at a pace or a few at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;

use super::{AT_ONCE, QUIET, RATE};
use crate::Outcome;
use crate::connection::Client;
use crate::server::{Server, token_of};

/// What it does.
pub const VERBS: [&str; 4] = ["get", "list", "create", "update"];
/// In which order, over and over: places in [`VERBS`].
const ORDER: [usize; 10] = [0, 1, 0, 2, 0, 3, 0, 1, 2, 3];
/// Where it reads and changes, and how many objects there are.
const MAPS: &str = "/api/v1/namespaces/kube-public/configmaps";
const COUNT: usize = 20;
/// Where it makes new ones.
const NEW: &str = "/api/v1/namespaces/default/configmaps";
/// After how long an answer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a load.
#[derive(Default)]
pub struct Round {
    pub asked: usize,
    /// How long answers took, in seconds, by verb.
    pub times: [Vec<f64>; VERBS.len()],
}

impl Round {
    pub fn answered(&self) -> usize {
        self.times.iter().map(Vec::len).sum()
    }

    pub fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.times.iter_mut().zip(other.times).for_each(|(times, more)| times.extend(more));
    }
}

/// The tenant's clients. Each has a connection.
pub struct Quiet {
    clients: [Client; 2],
    /// The number of the next request. Written by whoever sends one.
    next: Arc<AtomicUsize>,
}

impl Quiet {
    /// With what it reads later.
    pub async fn furnish(server: &Server) -> Outcome<Self> {
        let token = token_of(QUIET);
        let connect = || Client::connect(server.address, &server.authority, &token);
        let mut clients = [connect().await?, connect().await?];
        for number in 0..COUNT {
            clients[0].ask(Method::POST, MAPS, map(&format!("map-{number}"), 0)).await?;
        }
        Ok(Self { clients, next: Arc::default() })
    }

    /// Sends requests at the pace, whether or not those before were answered.
    pub async fn round(&self, long: Duration) -> Outcome<Round> {
        let count = (long.as_secs_f64() * f64::from(RATE)) as usize;
        let (begun, mut sent) = (Instant::now(), Vec::with_capacity(count));
        for at in 0..count {
            tokio::time::sleep_until((begun + Duration::from_secs(1) / RATE * at as u32).into()).await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            sent.push(tokio::spawn(ask(self.clients[at % self.clients.len()].clone(), number)));
        }
        let mut round = Round { asked: count, ..Round::default() };
        for request in sent {
            if let (verb, Some(took)) = request.await? {
                round.times[verb].push(took);
            }
        }
        Ok(round)
    }

    /// Has so many requests under way, for so long; how many were answered a second.
    pub async fn closed(&self, long: Duration) -> Outcome<f64> {
        let begun = Instant::now();
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                let (client, next) = (self.clients[worker % self.clients.len()].clone(), self.next.clone());
                tokio::spawn(async move {
                    let mut answered = 0;
                    while begun.elapsed() < long {
                        let (_, took) = ask(client.clone(), next.fetch_add(1, Ordering::Relaxed)).await;
                        answered += usize::from(took.is_some());
                    }
                    answered
                })
            })
            .collect();
        let mut answered = 0;
        for worker in workers {
            answered += worker.await?;
        }
        Ok(answered as f64 / begun.elapsed().as_secs_f64())
    }
}

/// Which verb a request has by its number, and how long its answer took where it was the right one.
async fn ask(mut client: Client, number: usize) -> (usize, Option<f64>) {
    let verb = ORDER[number % ORDER.len()];
    let name = format!("map-{}", number % COUNT);
    let (method, path, body) = match VERBS[verb] {
        "get" => (Method::GET, format!("{MAPS}/{name}"), Bytes::new()),
        "list" => (Method::GET, MAPS.to_owned(), Bytes::new()),
        "create" => (Method::POST, NEW.to_owned(), map(&format!("new-{number}"), number)),
        _ => (Method::PUT, format!("{MAPS}/{name}"), map(&name, number)),
    };
    let sent = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, client.ask(method, &path, body)).await;
    (verb, matches!(answer, Ok(Ok(_))).then(|| sent.elapsed().as_secs_f64()))
}

/// A config map of a kilobyte.
fn map(name: &str, number: usize) -> Bytes {
    let text = "x".repeat(900);
    Bytes::from(format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"n":"{number}","text":"{text}"}}}}"#
    ))
}
