//! A Kubernetes server that does what a test says, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server answers to one request.
pub enum Answer {
    /// A code, further headers (each with its line end), and a body.
    Whole(u16, &'static str, String),
    /// A stream, in chunks of so many bytes, and how it ends.
    Stream(String, usize, End),
    /// A stream without chunks, which ends when the connection does.
    Unframed(String),
}

/// How a stream ends.
pub enum End {
    /// As the server wants.
    Clean,
    /// The connection is reset.
    Reset,
    /// Not before the client goes away.
    Open,
}

/// The requests so far, head and all.
pub type Requests = Arc<Mutex<Vec<String>>>;

/// Serves on a free port, each connection for one request, for as long as the runtime lives.
pub async fn serve(mut script: impl FnMut(&str) -> Answer + Send + 'static) -> (SocketAddr, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let requests = Requests::default();
    let record = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let Some(head) = head(&mut socket).await else { continue };
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            record.lock().expect("alive").push(head);
            let answer = script(&target);
            tokio::spawn(async move {
                let _ = reply(&mut socket, answer).await; // whoever goes away in the middle may
            });
        }
    });
    (address, requests)
}

async fn head(socket: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") && read.len() < 64 << 10 {
        read.push(socket.read_u8().await.ok()?);
    }
    String::from_utf8(read).ok()
}

async fn reply(socket: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Whole(code, headers, body) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\n{headers}Connection: close\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await?;
            socket.write_all(body.as_bytes()).await
        }
        Answer::Unframed(body) => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            socket.write_all(body.as_bytes()).await
        }
        Answer::Stream(body, size, end) => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").await?;
            for chunk in body.as_bytes().chunks(size) {
                socket.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                socket.write_all(chunk).await?;
                socket.write_all(b"\r\n").await?;
            }
            match end {
                End::Clean => socket.write_all(b"0\r\n\r\n").await,
                End::Reset => {
                    socket.flush().await?;
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await; // let what was sent be read
                    socket.set_zero_linger()
                }
                End::Open => socket.read_u8().await.map(drop), // until the client goes away
            }
        }
    }
}

/// A config map, as a server without tenants has it.
pub fn map(name: &str, revision: u64) -> Value {
    let meta = json!({"name": name, "namespace": "default", "uid": name, "resourceVersion": revision.to_string()});
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": {"revision": revision.to_string()}})
}

/// One line of a watch.
pub fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// A bookmark, with no more in it than there must be.
pub fn bookmark(revision: u64, ends_initial: bool) -> String {
    let mut meta = json!({"resourceVersion": revision.to_string()});
    if ends_initial {
        meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    event("BOOKMARK", &json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta}))
}

/// A failure, as Kubernetes writes it.
pub fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "as the test says",
        "reason": reason, "code": code,
    })
}

/// A list, or a page of one.
pub fn list(revision: u64, next: &str, items: &[Value]) -> String {
    // Items of typed lists do not say what they are.
    let bare = items.iter().cloned().map(|mut item| {
        if let Some(item) = item.as_object_mut() {
            item.remove("kind");
            item.remove("apiVersion");
        }
        item
    });
    let meta = json!({"resourceVersion": revision.to_string(), "continue": next});
    let items = if items.is_empty() { Value::Null } else { bare.collect() };
    json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": meta, "items": items}).to_string()
}
