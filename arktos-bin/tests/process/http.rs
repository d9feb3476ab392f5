//! Plain HTTP, word for word: what no well-behaved client would send can be sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, pause};

/// Somebody with a bearer token (or none, when it is empty), and headers that go with every request.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Where to.
    pub address: SocketAddr,
    /// The token.
    pub token: &'a str,
    /// Headers, one a line, each with its line end.
    pub headers: &'a str,
}

impl<'a> Caller<'a> {
    /// Somebody with a token.
    pub fn new(address: SocketAddr, token: &'a str) -> Self {
        Self { address, token, headers: "" }
    }

    /// The same, saying this in headers.
    pub fn saying(self, headers: &'a str) -> Self {
        Self { headers, ..self }
    }

    /// GET.
    pub fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None)
    }

    /// POST of an object.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, Some(body))
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, None)
    }

    /// PATCH, by what is to be merged.
    pub fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("PATCH", path, Some(body))
    }

    /// Any request: its code, and its body where that is JSON.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.try_send(method, path, body, PATIENCE).expect("it listens, reads, answers and ends")
    }

    /// The same of somebody who may be dead, or die meanwhile, and who may be silent for no longer than that.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> std::io::Result<(u16, Value)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let authorization = match self.token {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{authorization}{}Content-Type: {media}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            self.headers,
            body.len()
        );
        let mut stream = TcpStream::connect_timeout(&self.address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let answer = String::from_utf8(answer).map_err(std::io::Error::other)?;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
        Ok((code, serde_json::from_str(body).unwrap_or(Value::Null)))
    }
}

/// `tenant/namespace/name` of what a list has.
pub fn names(list: &Value) -> Vec<String> {
    let part = |item: &Value, part: &str| item["metadata"][part].as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|it| format!("{}/{}/{}", part(it, "tenant"), part(it, "namespace"), part(it, "name"))).collect()
}

/// A watch that is open: what it has said so far.
pub struct Watch(std::sync::Arc<parking_lot::Mutex<Vec<Value>>>);

impl Caller<'_> {
    /// Asks until the answer is as expected.
    pub fn until(&self, path: &str, fits: impl Fn(u16, &Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (code, answer) = self.get(path);
            if fits(code, &answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} never came to what was expected: {code} {answer}");
            pause();
        }
    }

    /// Asks for what comes line by line, and leaves the reading to who asks.
    pub fn stream(&self, path: &str) -> std::io::Result<TcpStream> {
        let (token, address) = (self.token, self.address);
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        let head = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }

    /// Opens a watch, and reads it until it ends.
    pub fn watch(&self, path: &str) -> Watch {
        let stream = self.stream(path).expect("it listens");
        let events = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let into = events.clone();
        std::thread::spawn(move || {
            use std::io::BufRead;
            let lines = std::io::BufReader::new(stream).lines().map_while(Result::ok);
            for event in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                into.lock().push(event);
            }
        });
        Watch(events)
    }
}

impl Watch {
    /// What it has said so far.
    pub fn events(&self) -> Vec<Value> {
        self.0.lock().clone()
    }

    /// The names of the objects that it has told of, of those that a condition holds for.
    pub fn names(&self, fits: impl Fn(&Value) -> bool) -> std::collections::BTreeSet<String> {
        let events = self.events();
        let fitting = events.iter().map(|event| &event["object"]).filter(|object| fits(object));
        fitting.filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }
}
