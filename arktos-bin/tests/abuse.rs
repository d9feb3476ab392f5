//! Clients that mean no good, or know no better: the program answers what can be answered, cuts off the rest, and goes
//! on serving everybody else.

mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use process::http::Caller;
use process::{PATIENCE, Region};
use serde_json::{Value, json};

const TOKENS: &str = "root-token,root,1,\"system:masters\",,system\nacme-token,alice,2,\"system:masters\",,acme\n";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct World {
    region: Region,
    _directory: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let tokens = directory.path().join("tokens.csv");
        std::fs::write(&tokens, TOKENS).expect("written");
        let tokens = tokens.to_str().expect("a path");
        let arguments = ["--insecure-listen=127.0.0.1:0", "--token-auth-file", tokens];
        let more = ["--tenants=acme", "--hosts=0", "--store=memory"];
        let region = Region::start(&directory.path().join("data"), &[&arguments[..], &more].concat());
        Self { region, _directory: directory }
    }

    fn address(&self) -> SocketAddr {
        self.region.insecure.expect("a plain address")
    }

    fn caller(&self) -> Caller<'static> {
        Caller::new(self.address(), "acme-token")
    }

    /// A connection on which this has been said.
    fn says(&self, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _ = stream.write_all(text); // it may be cut off in the middle of it
        stream
    }

    /// What is answered before the connection ends.
    fn answer_to(&self, text: &[u8]) -> String {
        let mut answer = Vec::new();
        match self.says(text).read_to_end(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it neither answers nor hangs up"),
            _ => String::from_utf8_lossy(&answer).into_owned(),
        }
    }

    fn still_serves(&self) {
        let (code, answer) = self.caller().get(MAPS);
        assert_eq!(code, 200, "{answer}");
    }
}

fn map(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": data}})
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer acme-token\r\nContent-Type: application/json\r\n{more}\r\n"
    )
}

#[test]
fn a_client_that_never_finishes_its_headers_is_cut_off() {
    let world = World::start();
    let answer = world.answer_to(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    world.still_serves();
}

#[test]
fn bodies_that_lie_about_their_length_make_nothing() {
    let world = World::start();
    let body = map("liar", "1").to_string();
    // Longer than it is: the rest never comes.
    let long = head("POST", MAPS, &format!("Content-Length: {}\r\n", body.len() + 10));
    let stream = world.says(&[long.as_bytes(), body.as_bytes()].concat());
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    let _ = (&stream).read_to_string(&mut answer);
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    // Shorter: what is read is no object, and what follows is no request.
    let short = head("POST", MAPS, "Content-Length: 10\r\n");
    let answer = world.answer_to(&[short.as_bytes(), body.as_bytes()].concat());
    assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("HTTP/1.1 2"), "{answer}");
    // Two lengths, a length that is none, and one that is beyond all limits.
    for lie in ["Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: x\r\n", "Content-Length: -1\r\n"] {
        let answer = world.answer_to(&[head("POST", MAPS, lie).as_bytes(), body.as_bytes()].concat());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{lie}: {answer}");
    }
    let huge = head("POST", MAPS, "Content-Length: 99999999999\r\nConnection: close\r\n");
    assert!(world.answer_to(huge.as_bytes()).starts_with("HTTP/1.1 413"));
    assert_eq!(world.caller().get(&format!("{MAPS}/liar")).0, 404);
    world.still_serves();
}

#[test]
fn floods_of_headers_are_refused() {
    let world = World::start();
    let many: String = (0..2000).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "y".repeat(2 << 20));
    let path = format!("/{}", "y".repeat(2 << 20));
    for flood in [head("GET", MAPS, &many), head("GET", MAPS, &long), head("GET", &path, "")] {
        let answer = world.answer_to(flood.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:.200}");
    }
    world.still_serves();
}

#[test]
fn who_reads_nothing_of_a_watch_keeps_nobody_else_waiting() {
    let world = World::start();
    let path = format!("{MAPS}?watch=1");
    let stalled: Vec<TcpStream> = (0..20).map(|_| world.says(head("GET", &path, "").as_bytes())).collect();
    let mut live = world.says(head("GET", &path, "").as_bytes());
    let large = "y".repeat(100_000);
    for number in 0..200 {
        assert_eq!(world.caller().post(MAPS, &map(&format!("m-{number}"), &large)).0, 201);
    }
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    while !seen.windows(7).any(|part| part == b"\"m-199\"") {
        let count = live.read(&mut buffer).expect("events come");
        assert!(count > 0, "the watch ended");
        seen.extend_from_slice(&buffer[..count]);
    }
    drop(stalled);
    world.still_serves();
}

#[test]
fn thousands_of_idle_watches_are_held_and_cost_the_others_nothing() {
    let world = World::start();
    let path = format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Dnone");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..4 {
            let mut sender = connect(world.address()).await;
            for _ in 0..500 {
                let request = Request::get(format!("http://x{path}")).header("authorization", "Bearer acme-token");
                let request = request.body(Full::<Bytes>::default()).expect("a request");
                let response = sender.send_request(request).await.expect("an answer");
                assert_eq!(response.status(), 200);
                held.push((sender.clone(), response));
            }
        }
        assert_eq!(held.len(), 2000);
        tokio::task::block_in_place(|| world.still_serves());
    });
}

async fn connect(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

#[test]
fn requests_that_are_taken_back_at_once_do_not_wear_it_out() {
    let world = World::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut sender = connect(world.address()).await;
        for _ in 0..5000 {
            let request = Request::get(format!("http://x{MAPS}")).header("authorization", "Bearer acme-token");
            let sent = sender.send_request(request.body(Full::<Bytes>::default()).expect("a request"));
            // Long enough to be sent, and never to be answered.
            let _ = tokio::time::timeout(std::time::Duration::from_micros(1), sent).await;
            if sender.is_closed() {
                break; // it has had enough of this client, as it may
            }
        }
        let mut another = connect(world.address()).await;
        let request = Request::get(format!("http://x{MAPS}")).header("authorization", "Bearer acme-token");
        let request = request.body(Full::<Bytes>::default()).expect("a request");
        let response = another.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.expect("whole");
    });
    world.still_serves();
}
