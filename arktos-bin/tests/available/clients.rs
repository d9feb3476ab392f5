//! Somebody who writes and somebody who watches, all the while: what was acknowledged, and what was seen.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::process::http::Caller;
use crate::process::pause;

/// What is written and watched.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// How long somebody waits for an answer before asking another gateway.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The way in: several gateways, of which the first that answers is asked for as long as it does.
pub struct Gateways {
    addresses: Vec<SocketAddr>,
    turn: AtomicUsize,
}

impl Gateways {
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, turn: AtomicUsize::new(0) }
    }

    fn caller(&self, token: &'static str) -> Caller<'static> {
        Caller::new(self.addresses[self.turn.load(Ordering::Relaxed) % self.addresses.len()], token)
    }

    fn next(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a request to one of them; nothing when nobody answers, or the one that does can reach nobody.
    pub fn ask(&self, token: &'static str, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        match self.caller(token).try_send(method, path, body, SILENCE_MAX) {
            Ok((code, answer)) if code < 500 => Some((code, answer)),
            _ => {
                self.next();
                None
            }
        }
    }

    /// The same, until somebody answers.
    pub fn surely(&self, token: &'static str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut answer = None;
        super::until(&format!("an answer to {method} {path}"), || {
            answer = self.ask(token, method, path, body);
            answer.is_some()
        });
        answer.expect("it came")
    }
}

/// What was acknowledged, what was seen, and what should not have been.
#[derive(Default)]
pub struct Record {
    pub written: Mutex<Vec<(String, Instant)>>,
    pub seen: Mutex<BTreeSet<String>>,
    pub faults: Mutex<Vec<String>>,
    /// How often the watch was begun anew.
    pub resumed: AtomicUsize,
    /// The writer, and the watcher, are to stop.
    pub written_enough: AtomicBool,
    pub seen_enough: AtomicBool,
}

impl Record {
    /// The longest time without an acknowledged write since a moment.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let written = self.written.lock();
        let moments: Vec<Instant> = written.iter().map(|(_, at)| *at).filter(|at| *at >= since).collect();
        let steps = std::iter::once(since).chain(moments.iter().copied()).zip(&moments);
        steps.map(|(before, after)| after.duration_since(before)).max().unwrap_or_default()
    }

    fn fault(&self, text: String) {
        self.faults.lock().push(text);
    }

    /// Writes one object after the other, each until it is acknowledged.
    pub fn write(&self, gateways: &Gateways) {
        for number in 0.. {
            let name = format!("w-{number}");
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            let mut unsure = false;
            loop {
                if self.written_enough.load(Ordering::SeqCst) {
                    return;
                }
                match gateways.ask("acme-token", "POST", MAPS, Some(&map)) {
                    Some((201, _)) => break,
                    Some((409, _)) if unsure => break, // an attempt of which nobody said whether it came through
                    Some((code, answer)) if code != 429 => return self.fault(format!("{name}: {code} {answer}")),
                    _ => unsure = true,
                }
                pause();
            }
            self.written.lock().push((name, super::now()));
            pause();
        }
    }

    /// Watches, and goes on where it was whenever the watch ends.
    pub fn watch(&self, gateways: &Gateways, begin: &str) {
        let mut revision: u64 = begin.parse().expect("a revision");
        while !self.seen_enough.load(Ordering::SeqCst) {
            let path = format!("{MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={revision}");
            if let Ok(stream) = gateways.caller("acme-token").stream(&path) {
                let _ = stream.set_read_timeout(Some(SILENCE_MAX));
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                for event in lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()) {
                    self.see(&event, &mut revision);
                    if self.seen_enough.load(Ordering::SeqCst) {
                        return;
                    }
                }
            }
            self.resumed.fetch_add(1, Ordering::SeqCst);
            gateways.next();
            pause();
        }
    }

    fn see(&self, event: &Value, revision: &mut u64) {
        let meta = &event["object"]["metadata"];
        let at = meta["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
        match (event["type"].as_str(), at) {
            (Some("BOOKMARK"), Some(at)) if at >= *revision => *revision = at,
            (Some("ADDED"), Some(at)) if at > *revision => {
                *revision = at;
                let name = meta["name"].as_str().unwrap_or_default().to_owned();
                if !self.seen.lock().insert(name.clone()) {
                    self.fault(format!("{name} came twice"));
                }
            }
            (None, _) if event["code"].as_u64().is_some_and(|code| code >= 429 && code != 501) => {} // refused for now
            _ => self.fault(format!("after {revision}: {event}")),
        }
    }
}
