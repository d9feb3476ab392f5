//! The load: requests over a few connections, and what it costs on either side.

use std::time::Instant;

use bytes::Bytes;
use http::Method;

pub use crate::harness::connection::Client;
use crate::harness::connection::send;
use crate::report::{Goal, Row, figure, percentile};
use crate::server::{Server, token_of};
use crate::{Outcome, TENANT, process};

/// A connection of the tenant's administrator.
pub async fn connect(server: &Server) -> Outcome<Client> {
    Client::connect(server.address, &server.authority, &token_of(TENANT)).await
}

/// How many connections, and requests under way on them together.
const CONNECTIONS: usize = 4;
pub const AT_ONCE: usize = 64;

/// A runtime for the load: one thread, so that the server has a core to itself on a machine with two.
pub fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What a load came to.
pub struct Spent {
    pub rate: f64,
    /// The server's CPU for one request, and the load's own, in seconds.
    pub server: f64,
    pub own: f64,
    /// The latency that all but one in a hundred stay below, in seconds.
    pub p99: f64,
}

/// Sends `count` requests, each made from its number, and measures.
pub async fn load(
    server: &Server,
    count: usize,
    make: impl Fn(usize) -> (Method, String, Bytes) + Send + Sync + 'static,
) -> Outcome<Spent> {
    load_in_turn(server, count, move |number, _, _| make(number)).await
}

/// As [`load`], for requests that depend on who of [`AT_ONCE`] sends them, and on the last answer that it got.
pub async fn load_in_turn(
    server: &Server,
    count: usize,
    make: impl Fn(usize, usize, &[u8]) -> (Method, String, Bytes) + Send + Sync + 'static,
) -> Outcome<Spent> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(connect(server).await?);
    }
    let (cpu, own, begun) = (server.cpu(), process::cpu(), Instant::now());
    let mut times = send(&connections, AT_ONCE, count, make).await?;
    let (took, requests) = (begun.elapsed().as_secs_f64(), count as f64);
    Ok(Spent {
        rate: requests / took,
        server: (server.cpu() - cpu) / requests,
        own: (process::cpu() - own) / requests,
        p99: percentile(&mut times, 0.99),
    })
}

/// What a load is held against.
#[derive(Default)]
pub struct Marks {
    /// The rate to reach, and the server's CPU of one request to stay below, in microseconds.
    pub goal: Option<(f64, f64)>,
    /// The same two of the peer ([`crate::PEER`]).
    pub peer: Option<(f64, f64)>,
}

impl Spent {
    /// The rows of the table: the rate, the server's CPU, what the load itself took, the latency.
    pub fn rows(&self, what: &str, marks: &Marks) -> Vec<Row> {
        let peer = |unit, value: fn(&(f64, f64)) -> f64| marks.peer.as_ref().map(|peer| figure(value(peer), unit));
        let rate = Row::of(what, figure(self.rate, "/s")).peer(peer("/s", |peer| peer.0));
        let server =
            Row::of("  the server's CPU of one", figure(self.server * 1e6, "µs")).peer(peer("µs", |peer| peer.1));
        let (rate, server) = match marks.goal {
            Some((least, most)) => (rate.goal(Goal::AtLeast(least)), server.goal(Goal::AtMost(most))),
            None => (rate, server),
        };
        vec![
            rate,
            server,
            Row::of("  the load's own CPU of one", figure(self.own * 1e6, "µs")),
            Row::of("  p99", figure(self.p99 * 1e3, "ms")),
        ]
    }
}

/// A pod as small ones are.
pub fn pod(name: &str) -> Bytes {
    let labels = r#"{"app":"web","pod-template-hash":"6d5f8c7b9"}"#;
    let container = r#"{"name":"main","image":"registry.example/team/app:1.2.3","ports":[{"containerPort":8080}],
        "env":[{"name":"MODE","value":"production"},{"name":"LEVEL","value":"info"}],
        "resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"256Mi"}}}"#;
    let meta = format!(r#"{{"name":"{name}","namespace":"default","labels":{labels}}}"#);
    let spec = format!(r#"{{"containers":[{container}]}}"#);
    Bytes::from(format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{meta},"spec":{spec}}}"#))
}

/// The path of the pods.
pub const PODS: &str = "/api/v1/namespaces/default/pods";

/// Creates pods, quietly.
pub async fn fill(server: &Server, from: usize, count: usize) -> Outcome<Spent> {
    load(server, count, move |number| (Method::POST, PODS.to_owned(), pod(&format!("p-{}", from + number)))).await
}
