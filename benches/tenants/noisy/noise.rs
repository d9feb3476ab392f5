//! The noisy tenant: everything that it can do to be served before others, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{AT_ONCE, NOISY};
use crate::Outcome;
use crate::connection::Client;
use crate::server::{Server, token_of};

/// How much of each it has under way.
pub const LISTS: usize = 16;
pub const STRANGERS: usize = 32;
pub const HUGE: usize = 4;
pub const STALLED: usize = 200;
/// What is counted of it.
pub const COUNTED: [&str; 5] = ["writes", "lists", "unknown tokens", "huge bodies", "refused"];
/// How many requests one connection carries at a time.
const ON_ONE: usize = 40;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// How long whoever was refused waits, whatever the server says: it is in a hurry.
const PAUSE: Duration = Duration::from_millis(5);

/// Gives it many objects to list.
pub async fn furnish(server: &Server, count: usize) -> Outcome<()> {
    let mut client = Client::connect(server.address, &server.authority, &token_of(NOISY)).await?;
    for number in 0..count {
        let body = map(&format!("old-{number}"), 4000);
        client.ask(Method::POST, "/api/v1/namespaces/kube-public/configmaps", body).await?;
    }
    Ok(())
}

/// The server's address, the file with its authority, and how many seconds.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [address, authority, seconds] = arguments else { return Err("noise ADDRESS AUTHORITY SECONDS".into()) };
    let place = Place { address: address.parse()?, authority: std::fs::read_to_string(authority)? };
    let seconds: f64 = seconds.parse()?;
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let counts = Arc::new(Counts::default());
    runtime.block_on(make(&place, &counts, end))?;
    let mut found = json!({"seconds": seconds});
    for (name, count) in COUNTED.iter().zip(&counts.0) {
        found[*name] = count.load(Ordering::Relaxed).into();
    }
    Ok(found)
}

struct Place {
    address: std::net::SocketAddr,
    authority: String,
}

impl Place {
    async fn connect(&self, token: &str) -> Outcome<Client> {
        Client::connect(self.address, &self.authority, token).await
    }
}

/// How often each of [`COUNTED`] came about. Written by whoever does it.
#[derive(Default)]
struct Counts([AtomicU64; COUNTED.len()]);

/// One after another: which of [`COUNTED`] it is, and whether the server took it up rather than refuse it.
type Step = Box<dyn Fn(Client, usize) -> BoxFuture<'static, Outcome<(usize, StatusCode)>> + Send + Sync>;

async fn make(place: &Place, counts: &Arc<Counts>, end: Instant) -> Outcome<()> {
    let token = token_of(NOISY);
    let forged = forged(place.connect(&token).await?).await?;
    let body = huge_map();
    let mut held = Vec::new(); // watches that nobody reads
    let watcher = place.connect(&token).await?;
    for _ in 0..STALLED {
        held.push(watcher.clone().send(Method::GET, "/api/v1/configmaps?watch=1", Bytes::new()).await?);
    }
    let loops: [(usize, &str, Step); 4] = [
        (10 * AT_ONCE, &token, Box::new(|client, number| Box::pin(write(client, number)))),
        (LISTS, &token, Box::new(|client, _| Box::pin(list(client)))),
        (STRANGERS, &forged, Box::new(|client, _| Box::pin(unknown(client)))),
        (HUGE, &token, Box::new(move |client, _| Box::pin(huge(client, body.clone())))),
    ];
    let mut tasks = Vec::new();
    for (many, token, step) in loops {
        let step = Arc::new(step);
        let mut client = place.connect(token).await?;
        for worker in 0..many {
            if worker > 0 && worker % ON_ONE == 0 {
                client = place.connect(token).await?;
            }
            let (client, step, counts) = (client.clone(), step.clone(), counts.clone());
            tasks.push(tokio::spawn(async move {
                for number in 0.. {
                    if Instant::now() > end {
                        break;
                    }
                    // What takes longer than the noise is cut off, as by a client in a hurry.
                    let done = tokio::time::timeout_at(end.into(), step(client.clone(), worker + many * number));
                    match done.await {
                        Ok(Ok((_, StatusCode::TOO_MANY_REQUESTS))) => {
                            counts.0[4].fetch_add(1, Ordering::Relaxed);
                            tokio::time::sleep(PAUSE).await;
                        }
                        Ok(Ok((what, _))) => drop(counts.0[what].fetch_add(1, Ordering::Relaxed)),
                        Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
                        Err(_) => break,
                    }
                }
            }));
        }
    }
    for task in tasks {
        task.await?;
    }
    drop(held);
    Ok(())
}

/// Writes, over and over, as many objects as there are writers.
async fn write(mut client: Client, number: usize) -> Outcome<(usize, StatusCode)> {
    let name = format!("m-{}", number % (10 * AT_ONCE));
    let path = format!("{MAPS}/{name}");
    let (method, path) = match number / (10 * AT_ONCE) % 4 {
        0 => (Method::POST, MAPS),
        3 => (Method::DELETE, path.as_str()),
        _ => (Method::PUT, path.as_str()),
    };
    let body = if method == Method::DELETE { Bytes::new() } else { map(&name, 900 + number % 7) };
    let response = client.send(method, path, body).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok((0, status))
}

async fn list(mut client: Client) -> Outcome<(usize, StatusCode)> {
    let response = client.send(Method::GET, "/api/v1/configmaps", Bytes::new()).await?;
    let status = response.status();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok((1, status))
}

async fn unknown(mut client: Client) -> Outcome<(usize, StatusCode)> {
    let response = client.send(Method::GET, MAPS, Bytes::new()).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok((2, status))
}

async fn huge(mut client: Client, body: Bytes) -> Outcome<(usize, StatusCode)> {
    let response = client.send(Method::POST, MAPS, body).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok((3, status))
}

/// A config map that is no larger than a body may be, and larger than a config map may be.
fn huge_map() -> Bytes {
    let entries: Vec<_> = (0..100_000).map(|number| format!(r#""key-{number:06}":"value-{number:06}""#)).collect();
    Bytes::from(format!(r#"{{"metadata":{{"name":"huge"}},"data":{{{}}}}}"#, entries.join(",")))
}

/// A token that looks like one of a service account of the tenant, and that nobody has signed: what shows it is the
/// signature alone.
async fn forged(mut client: Client) -> Outcome<String> {
    let keys = client.ask(Method::GET, &format!("/tenants/{NOISY}/openid/v1/jwks"), Bytes::new()).await?;
    let keys: Value = serde_json::from_slice(&keys)?;
    let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let head = json!({"alg": "ES256", "typ": "JWT", "kid": keys["keys"][0]["kid"]}).to_string();
    let claims = json!({"arktos.io": {"tenant": NOISY}}).to_string();
    Ok(format!("{}.{}.{}", part(head.as_bytes()), part(claims.as_bytes()), part(&[7; 64])))
}

fn map(name: &str, bytes: usize) -> Bytes {
    let text = "x".repeat(bytes);
    Bytes::from(format!(r#"{{"metadata":{{"name":"{name}"}},"data":{{"text":"{text}"}}}}"#))
}
