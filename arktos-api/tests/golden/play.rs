//! Plays one scenario against a server of its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::compare::{Comparer, media, short};
use crate::place::Bindings;
use crate::scenario::{Answer, Call, Compare, Phase, Scenario, Step, Watch};
use crate::server::{self, Server};
use crate::value::{Variables, clean, expand_json, expand_text, look_up, parts, quote, remove};

/// The run token in all names.
const RUN: &str = "zq7";
/// How long a finished watch is listened to for events that should not come.
const GRACE: Duration = Duration::from_millis(350);
/// How much longer than the recorded server a slow machine may take.
const SLOW: Duration = Duration::from_secs(60);
/// How long an answer may take. Time stands still while anything works, so this only ends what waits for ever.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where a scenario failed.
pub struct Failure {
    pub step: String,
    pub request: String,
    pub differences: Vec<String>,
    /// The answer that came, for debugging.
    pub answer: String,
}

struct Received {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

struct Stream {
    body: Pin<Box<server::Body>>,
    partial: Vec<u8>,
    ready: std::collections::VecDeque<Value>,
}

struct Player<'a> {
    server: &'a Server,
    managed: bool,
    variables: Variables,
    bindings: Bindings,
    streams: HashMap<String, Stream>,
    last: String,
}

/// Plays a scenario; `None` when all its steps agree.
pub async fn play(server: &Server, scenario: &Scenario) -> Option<Failure> {
    let mut player = Player {
        server,
        managed: scenario.managed_fields,
        variables: Variables::from([("run".to_owned(), Value::from(RUN))]),
        bindings: Bindings::default(),
        streams: HashMap::new(),
        last: String::new(),
    };
    for (index, call) in scenario.setup.iter().enumerate() {
        let fault = match player.call(call).await {
            Ok(received) if received.status < 300 => continue,
            Ok(received) => format!("status: expected 2xx, got {} ({})", received.status, short(&received.body)),
            Err(fault) => fault,
        };
        return Some(player.failure(&format!("setup {}", index + 1), Some(call), vec![fault]));
    }
    for step in &scenario.steps {
        let differences = player.step(step).await;
        if !differences.is_empty() {
            return Some(player.failure(&step.name, step.request.as_ref(), differences));
        }
    }
    None
}

impl Player<'_> {
    fn failure(&self, step: &str, call: Option<&Call>, differences: Vec<String>) -> Failure {
        let request = call.map_or_else(String::new, |call| {
            let body = call.body.as_ref().map(|body| expand_json(body.get(), &self.variables));
            let body = body.or_else(|| call.body_text.clone()).unwrap_or_default();
            let headers: Vec<String> = call.headers.iter().map(|(name, value)| format!(" [{name}: {value}]")).collect();
            let path = expand_text(&call.path, &self.variables);
            format!("{} {path}{} {}", call.method, headers.concat(), short(&Value::from(body)))
        });
        Failure { step: step.to_owned(), request, differences, answer: self.last.clone() }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, String> {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static("golden-replay/1.0"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if let Some(token) = server::token(call.user.as_deref().unwrap_or("admin")) {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            headers.insert("authorization", value.map_err(|error| error.to_string())?);
        }
        let body = match (&call.body, &call.body_text) {
            (Some(body), _) => Some(expand_json(body.get(), &self.variables)),
            (None, Some(text)) => Some(expand_text(text, &self.variables)),
            (None, None) => None,
        };
        if body.is_some() {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        for (name, value) in &call.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_str(&expand_text(value, &self.variables));
            headers.insert(name, value.map_err(|error| error.to_string())?);
        }
        let mut request = Request::builder()
            .method(call.method.as_str())
            .uri(quote(&expand_text(&call.path, &self.variables)))
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| format!("the request cannot be made: {error}"))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn call(&mut self, call: &Call) -> Result<Received, String> {
        let request = self.request(call)?;
        let answer = async {
            let (head, body) = self.server.send(request).await.into_parts();
            (head, body.collect().await)
        };
        let (head, body) = timeout(PATIENCE, answer).await.map_err(|_| "no answer came".to_owned())?;
        let body = body.map_err(|error| format!("the body broke off: {error}"))?.to_bytes();
        let received =
            Received { status: head.status.as_u16(), body: decode(&head.headers, &body), headers: head.headers };
        self.last = format!("{} {:?}\n{:#}", received.status, received.headers, received.body);
        Ok(received)
    }

    async fn step(&mut self, step: &Step) -> Vec<String> {
        tokio::time::sleep(Duration::from_secs_f64(step.sleep)).await;
        if let Some(watch) = &step.watch {
            return self.watch(step, watch).await;
        }
        let (Some(call), Some(answer)) = (&step.request, &step.response) else {
            return vec!["the step has no request".to_owned()];
        };
        let eventually = Duration::from_secs_f64(step.eventually);
        let deadline = Instant::now() + if eventually.is_zero() { eventually } else { eventually + SLOW };
        loop {
            let received = match self.call(call).await {
                Ok(received) => received,
                Err(fault) => return vec![fault],
            };
            let (differences, trial) = self.compare(step, answer, &received, true);
            if differences.is_empty() || Instant::now() >= deadline {
                self.bindings = trial;
                self.capture(step, &received);
                return differences;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn capture(&mut self, step: &Step, received: &Received) {
        for (variable, path) in &step.capture {
            let value = match path.strip_prefix("header:") {
                Some(name) => {
                    received.headers.get(name).and_then(|value| value.to_str().ok()).map_or(Value::Null, Value::from)
                }
                None => look_up(&received.body, path),
            };
            self.variables.insert(variable.clone(), value);
        }
    }

    fn compare(&self, step: &Step, answer: &Answer, received: &Received, body: bool) -> (Vec<String>, Bindings) {
        let mut comparer = Comparer::new(self.bindings.clone(), &self.variables, step.compare);
        if received.status != answer.status {
            let message = received.body.get("message").unwrap_or(&received.body);
            let why = if received.status >= 400 { format!(" ({})", short(message)) } else { String::new() };
            comparer.add("status", format!("expected {}, got {}{why}", answer.status, received.status));
        } else if step.compare != Compare::Status {
            self.compare_head(&mut comparer, answer, &received.headers);
            if let (Some(expected), true) = (&answer.body, body) {
                let (mut expected, mut actual) = (expected.clone(), clean(&received.body, self.managed));
                for path in &step.ignore {
                    remove(&mut expected, &parts(path));
                    remove(&mut actual, &parts(path));
                }
                comparer.values(&expected, &actual, "$");
            }
        }
        (comparer.differences, comparer.bindings)
    }

    fn compare_head(&self, comparer: &mut Comparer<'_>, answer: &Answer, headers: &HeaderMap) {
        let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some(expected) = &answer.content_type
            && media(expected) != media(content_type)
        {
            comparer.add("contentType", format!("expected {expected}, got {content_type}"));
        }
        let warnings: Vec<String> = headers
            .get_all("warning")
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        if warnings.len() != answer.warnings.len() {
            comparer.add("warnings", format!("expected {:?}, got {warnings:?}", answer.warnings));
            return;
        }
        for (index, (expected, actual)) in answer.warnings.iter().zip(&warnings).enumerate() {
            if comparer.bindings.fault(expected, actual, &self.variables).is_some() {
                comparer.add(&format!("warnings[{index}]"), format!("expected {expected}, got {actual}"));
            }
        }
    }

    async fn watch(&mut self, step: &Step, watch: &Watch) -> Vec<String> {
        if watch.phase != Phase::Collect {
            let (Some(call), Some(answer)) = (&step.request, &step.response) else {
                return vec!["the step has no request".to_owned()];
            };
            match self.open(step, watch, call, answer).await {
                Ok(true) => {}
                Ok(false) => return Vec::new(),
                Err(differences) => return differences,
            }
        }
        if watch.phase == Phase::Open { Vec::new() } else { self.collect(step, watch).await }
    }

    /// Opens a watch; `false` when it was refused as recorded.
    async fn open(&mut self, step: &Step, watch: &Watch, call: &Call, answer: &Answer) -> Result<bool, Vec<String>> {
        let request = self.request(call).map_err(|fault| vec![fault])?;
        let response = timeout(PATIENCE, self.server.send(request)).await;
        let (head, body) = response.map_err(|_| vec!["no answer came".to_owned()])?.into_parts();
        let mut received = Received { status: head.status.as_u16(), headers: head.headers, body: Value::Null };
        let streams = received.status == 200 && answer.status == 200;
        if !streams {
            let bytes = timeout(PATIENCE, body.collect()).await.ok().and_then(Result::ok);
            received.body = decode(&received.headers, &bytes.map(|body| body.to_bytes()).unwrap_or_default());
            self.last = format!("{} {:#}", received.status, received.body);
        } else {
            let stream = Stream { body: Box::pin(body), partial: Vec::new(), ready: Default::default() };
            self.streams.insert(watch.id.clone(), stream);
        }
        let (differences, bindings) = self.compare(step, answer, &received, !streams);
        self.bindings = bindings;
        if differences.is_empty() { Ok(streams) } else { Err(differences) }
    }

    async fn collect(&mut self, step: &Step, watch: &Watch) -> Vec<String> {
        let Some(mut stream) = self.streams.remove(&watch.id) else {
            return vec![format!("no watch {} is open", watch.id)];
        };
        let want = (!watch.until_end).then_some(watch.events.len());
        let time = Duration::from_secs_f64(watch.timeout_seconds) + SLOW;
        let events = match stream.events(want, time, watch.keep_bookmarks).await {
            Ok(events) => events,
            Err(fault) => return vec![fault],
        };
        self.last = events.iter().map(|event| format!("{event:#}\n")).collect();
        let mut comparer = Comparer::new(self.bindings.clone(), &self.variables, step.compare);
        if events.len() != watch.events.len() {
            let types = |events: &[Value]| -> Vec<String> {
                events.iter().map(|event| event.get("type").map_or_else(String::new, short)).collect()
            };
            comparer.add("events", format!("expected {:?}, got {:?}", types(&watch.events), types(&events)));
        }
        for (index, (expected, actual)) in watch.events.iter().zip(&events).enumerate() {
            let (mut expected, mut actual) = (expected.clone(), clean(actual, self.managed));
            for path in &step.ignore {
                remove(&mut expected, &parts(path));
                remove(&mut actual, &parts(path));
            }
            comparer.values(&expected, &actual, &format!("$.events[{index}]"));
        }
        self.bindings = comparer.bindings;
        comparer.differences
    }
}

impl Stream {
    /// Events until `want` have come (then for a short grace), the stream ends, or time is up.
    async fn events(&mut self, want: Option<usize>, time: Duration, bookmarks: bool) -> Result<Vec<Value>, String> {
        let (mut events, mut deadline) = (Vec::new(), Instant::now() + time);
        loop {
            if want.is_some_and(|want| events.len() >= want) {
                deadline = deadline.min(Instant::now() + GRACE);
            }
            match timeout_at(deadline, self.next()).await {
                Err(_) | Ok(Ok(None)) => return Ok(events),
                Ok(Err(fault)) => return Err(fault),
                Ok(Ok(Some(event))) => {
                    let ends_initial_events =
                        event.pointer("/object/metadata/annotations/k8s.io~1initial-events-end").is_some();
                    if event["type"] != "BOOKMARK" || bookmarks || ends_initial_events {
                        events.push(event);
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| format!("the stream broke off: {error}"))?;
            self.partial.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                if !line.trim_ascii().is_empty() {
                    let event = serde_json::from_slice(&line);
                    self.ready.push_back(event.map_err(|error| format!("an event that is not JSON: {error}"))?);
                }
            }
        }
    }
}

/// A body: JSON where it is, text otherwise, null when empty.
fn decode(headers: &HeaderMap, body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let text = || Value::from(String::from_utf8_lossy(body).into_owned());
    if content_type.contains("json") || body.starts_with(b"{") {
        return serde_json::from_slice(body).unwrap_or_else(|_| text());
    }
    text()
}
