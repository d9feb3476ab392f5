//! Clients that mean no good, or know no better: the program answers what can be answered, cuts off the rest, and goes
//! on serving everybody else.

mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use process::world::World;
use process::{PATIENCE, pause};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn start() -> World {
    World::start(&["--tenants=acme", "--hosts=0", "--store=memory"])
}

impl World {
    fn address(&self) -> SocketAddr {
        self.region.insecure.expect("a plain address")
    }

    /// A connection on which this has been said.
    fn says(&self, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
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
        let (code, answer) = self.acme().get(MAPS);
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
    let world = start();
    let answer = world.answer_to(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    world.still_serves();
}

#[test]
fn bodies_that_lie_about_their_length_make_nothing() {
    let world = start();
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
    assert_eq!(world.acme().get(&format!("{MAPS}/liar")).0, 404);
    world.still_serves();
}

#[test]
fn floods_of_headers_are_refused() {
    let world = start();
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
    let world = start();
    let path = format!("{MAPS}?watch=1");
    let stalled: Vec<TcpStream> = (0..20).map(|_| world.says(head("GET", &path, "").as_bytes())).collect();
    let mut live = world.says(head("GET", &path, "").as_bytes());
    let large = "y".repeat(100_000);
    for number in 0..200 {
        assert_eq!(world.acme().post(MAPS, &map(&format!("m-{number}"), &large)).0, 201);
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

/// How many watches are held at a time, and how many of them over one connection.
const WATCHES: usize = 10_000;
const OVER_ONE: usize = 500;

#[test]
fn ten_thousand_idle_watches_are_held_and_cost_the_others_nothing() {
    let world = start();
    let path = format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Dlate");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let before = world.region.resident();
        let groups = (0..WATCHES / OVER_ONE).map(|_| async {
            let mut sender = connect(world.address()).await;
            let mut held = Vec::new();
            for _ in 0..OVER_ONE {
                let response = sender.send_request(get(&path)).await.expect("an answer");
                assert_eq!(response.status(), 200);
                held.push(response.into_body());
            }
            (sender, held)
        });
        let mut groups: Vec<_> = futures::future::join_all(groups).await;
        let each = world.region.resident().saturating_sub(before) / WATCHES;
        assert!(each < 40 << 10, "an idle watch takes {each} bytes");
        tokio::task::block_in_place(|| {
            world.still_serves();
            assert_eq!(world.acme().post(MAPS, &map("late", "1")).0, 201);
        });
        // They are idle, not dead.
        for body in groups.iter_mut().flat_map(|(_, held)| held) {
            let frame = body.frame().await.expect("an event").expect("it goes on");
            assert!(frame.into_data().is_ok_and(|data| data.starts_with(b"{\"type\":\"ADDED\"")));
        }
    });
}

fn get(path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(format!("http://x{path}")).header("authorization", "Bearer acme-token");
    request.body(Full::default()).expect("a request")
}

async fn connect(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What every connection of HTTP/2 begins with.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// The headers of a request, each as a literal.
fn headers(method: &str, path: &str) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("authorization", "Bearer acme-token"),
    ];
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("short");
    let literal = |(name, value): &(&str, &str)| {
        [&[0, short(name)][..], name.as_bytes(), &[short(value)], value.as_bytes()].concat()
    };
    fields.iter().flat_map(literal).collect()
}

/// The kinds of the frames that come before the connection ends, and the code with which it is ended, if it says one.
fn frames_of(mut stream: TcpStream) -> (Vec<u8>, Option<u32>) {
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if stream.read_exact(&mut payload).is_err() {
            break;
        }
        kinds.push(head[3]);
        if head[3] == GO_AWAY {
            let code = payload.get(4..8).and_then(|code| code.try_into().ok());
            return (kinds, code.map(u32::from_be_bytes));
        }
    }
    (kinds, None)
}

#[test]
fn requests_that_are_taken_back_at_once_do_not_wear_it_out() {
    let world = start();
    let request = headers("GET", MAPS);
    let stop = 8_u32.to_be_bytes();
    let flood = (0..20_000_u32).flat_map(|number| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &request), frame(RESET, 0, stream, &stop)].concat()
    });
    let (kinds, code) = frames_of(world.says(&[preface(), flood.collect()].concat()));
    // It has had enough of this client before it has done all that work for nothing.
    assert!(kinds.iter().filter(|kind| **kind == HEADERS).count() < 10_000, "{} answers", kinds.len());
    assert!(code.is_none_or(|code| code == 11), "to be calm is what it is asked for: {code:?}");
    world.still_serves();
}

#[test]
fn headers_that_never_end_are_cut_off() {
    let world = start();
    let more = frame(CONTINUATION, 0, 1, &[&[0, 1][..], b"x", &[120], &[b'y'; 120]].concat().repeat(100));
    let flood = [preface(), frame(HEADERS, 0, 1, &headers("GET", MAPS)), more.repeat(2000)].concat();
    let (kinds, _) = frames_of(world.says(&flood));
    assert!(!kinds.contains(&DATA), "it was no request: {kinds:?}");
    world.still_serves();
}

/// As deep as a configuration may nest: whatever goes down it has to come back, on a worker's own stack.
#[test]
fn what_nests_deeply_takes_no_worker_to_the_end_of_its_stack() {
    let world = start();
    let schema = json!({"type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "deeps.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Deep", "plural": "deeps"}, "versions": [version]}});
    let (code, answer) = world.acme().post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
    assert_eq!(code, 201, "{answer}");
    let path = "/apis/example.org/v1/namespaces/default/deeps";
    let end = Instant::now() + PATIENCE;
    while world.acme().get(path).0 != 200 {
        assert!(Instant::now() < end, "the kind is not served");
        pause();
    }
    for depth in [40, 60, 80, 90, 100, 120] {
        let spec = (0..depth).fold(json!("x"), |inner, _| json!({"a": inner}));
        let config = json!({"apiVersion": "example.org/v1", "kind": "Deep", "metadata": {"name": "d"}, "spec": spec});
        let config = config.to_string();
        let asked = format!(
            "PATCH {path}/d?fieldManager=m&force=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer acme-token\r\n\
             Connection: close\r\nContent-Type: application/apply-patch+yaml\r\nContent-Length: {}\r\n\r\n{config}",
            config.len()
        );
        let answer = world.answer_to(asked.as_bytes());
        let told = ["HTTP/1.1 20", "HTTP/1.1 400"].iter().any(|begin| answer.starts_with(begin));
        assert!(told, "{depth}: {answer}");
    }
    world.still_serves();
}

#[test]
fn who_asks_for_answers_and_reads_none_gets_no_memory_for_them() {
    let world = start();
    let large = "y".repeat(500_000);
    for number in 0..10 {
        assert_eq!(world.acme().post(MAPS, &map(&format!("m-{number}"), &large)).0, 201);
    }
    let before = world.region.resident();
    // Pings, and whole lists of 5 MB: nobody reads what comes of them.
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1000);
    let lists =
        (0..200_u32).map(|number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &headers("GET", MAPS)));
    let flood = [preface(), lists.flatten().collect(), pings].concat();
    let deaf: Vec<TcpStream> = (0..5).map(|_| world.says(&flood)).collect();
    world.still_serves();
    let more = world.region.resident().saturating_sub(before);
    assert!(more < 500 << 20, "a thousand unread answers of 5 MB take {more} bytes");
    drop(deaf);
    world.still_serves();
}

#[test]
fn who_connects_and_says_nothing_is_cut_off() {
    let world = start();
    let secure = world.region.address;
    let say = |address: SocketAddr, text: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(text).expect("it reads");
        stream
    };
    // Before the first byte, in the middle of the words that all connections of HTTP/2 begin with, and of a handshake.
    let silent =
        [say(world.address(), b""), say(world.address(), b"PRI * HT"), say(secure, b""), say(secure, b"\x16\x03\x01")];
    for mut stream in silent {
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it is held for ever");
        }
    }
    world.still_serves();
}
