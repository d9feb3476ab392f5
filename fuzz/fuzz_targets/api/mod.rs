//! What the fuzz targets of `arktos-api` check: whole requests, as bytes that a client sends. Whatever they are, the
//! answer is no fault of the server's. `arktos-api/tests/fuzz_smoke.rs` includes this file and runs the same functions
//! on a stable toolchain.

use std::sync::Arc;

use arktos_api::{ApiConfig, ApiServer, Body, PeerCertificate, TokenTable};
use arktos_core::Timestamp;
use arktos_store::Engine;
use arktos_store::clock::{ManualClock, SeededRandom};
use bytes::Bytes;
use futures::executor::block_on;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

/// How much of an answer is read, in bytes.
const ENOUGH: usize = 16 << 10;

thread_local! {
    static SERVER: ApiServer = server();
}

fn server() -> ApiServer {
    let clock = Arc::new(ManualClock::new(Timestamp::parse("2026-11-23T10:00:00Z").expect("a moment")));
    let mut config = ApiConfig::new(Engine::memory(clock.clone()), clock, Arc::new(SeededRandom::new(7)));
    config.tokens = TokenTable::parse("root,admin,,system:masters\n").expect("a token file");
    let server = ApiServer::new(config);
    block_on(server.bootstrap()).expect("an empty store takes the bootstrap");
    server
}

/// Sends a request and looks at the answer. Writes are dry runs, so that every input finds the same.
fn ask(request: http::request::Builder, body: &[u8]) {
    let Ok(request) = request.body(Full::new(Bytes::copy_from_slice(body))) else { return };
    let shown = format!("{} {}", request.method(), request.uri());
    let by_path = request.uri().path().contains("watch");
    let watches = by_path || request.uri().query().is_some_and(|query| query.contains("watch"));
    let server = SERVER.with(ApiServer::clone);
    let response: Response<Body> = block_on(server.oneshot(request)).unwrap_or_else(|never| match never {});
    let code = response.status().as_u16();
    if watches && code == 200 {
        return;
    }
    let answer = block_on(beginning(response.into_body()));
    // Upstream has it so for a configuration that the schema does not allow, and for a path that ends with `watch`.
    let as_upstream = ["failed to create typed patch object", "failed to create RequestInfo"];
    let as_upstream = as_upstream.iter().any(|text| answer.contains(text));
    assert!(code < 500 || matches!(code, 501 | 504) || as_upstream, "{shown}: {code} {answer}");
}

/// The first part of an answer, as text: of a document of megabytes there is nothing more to see.
async fn beginning(body: Body) -> String {
    let (mut body, mut read) = (std::pin::pin!(body), Vec::new());
    while read.len() < ENOUGH
        && let Some(Ok(frame)) = body.frame().await
    {
        let data = frame.into_data().unwrap_or_default();
        read.extend_from_slice(&data[..data.len().min(ENOUGH)]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn admin(method: Method, uri: &str) -> http::request::Builder {
    Request::builder().method(method).uri(uri).header("authorization", "Bearer root")
}

/// A path and a query, to read.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // What waits for a state to come would wait for ever: the clock stands still.
    if text.to_ascii_lowercase().contains("version") {
        return;
    }
    ask(admin(Method::GET, text), b"");
    ask(admin(Method::DELETE, text).header("dry-run", "no"), b"{\"dryRun\":[\"All\"]}");
}

/// A bearer token that nobody has signed: it is nobody's.
pub fn jwt(bytes: &[u8]) {
    let Ok(value) = http::HeaderValue::from_bytes(&[b"Bearer ", bytes].concat()) else { return };
    let request = Request::builder().uri("/api/v1/namespaces").header("authorization", value);
    let Ok(request) = request.body(Full::new(Bytes::new())) else { return };
    let server = SERVER.with(ApiServer::clone);
    let response: Response<Body> = block_on(server.oneshot(request)).unwrap_or_else(|never| match never {});
    assert!(matches!(response.status().as_u16(), 401 | 403) || bytes.trim_ascii() == b"root");
}

/// A client certificate, as the TLS layer would pass it on.
pub fn certificate(bytes: &[u8]) {
    let request = Request::builder().uri("/api/v1/namespaces").extension(PeerCertificate::new(bytes.to_vec()));
    ask(request, b"");
}

/// A body to create something from: a line with the media type and the path, and what follows it.
pub fn body(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else { return };
    let Some((kind, path)) = line.split_once(' ') else { return };
    let (Ok(kind), false) = (http::HeaderValue::from_str(kind), path.contains('?')) else { return };
    let body = &bytes[end + 1..];
    ask(admin(Method::POST, &format!("{path}?dryRun=All")).header("content-type", kind.clone()), body);
    ask(
        admin(Method::PATCH, &format!("{path}/kube-system?dryRun=All&fieldManager=f")).header("content-type", kind),
        body,
    );
}
