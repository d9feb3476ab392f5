//! Events: what controllers tell people about an object, in upstream's words.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arktos_core::typed::{Event, EventSource, KindOf, ObjectReference};
use arktos_core::{Object, ObjectKey, ObjectPath, Status, Timestamp};
use arktos_store::client::Patch;
use arktos_store::queue::Backlog;
use arktos_store::{Client, Clock, Stored};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use crate::kinds::EVENTS;
use crate::write::found;

/// How many events may wait to be written, of all tenants and of one; what comes beyond is not written.
const WAITING_MAX: usize = 8192;
const WAITING_OF_ONE: usize = 2048;
/// About how many objects events are written at once: what one tenant's webhooks hold up is not to hold up the rest.
const WRITERS: usize = 32;
/// How many events are remembered, so that the same one again counts up instead of making another object.
const REMEMBERED_MAX: usize = 4096;
/// How long what is told may be, in bytes; the rest is cut off. As in `events.k8s.io`: it may be the words of a
/// webhook, and thousands wait and are remembered.
const MESSAGE_MAX: usize = 1024;
/// How many events about one object one controller may write at once, and then one more in so many seconds.
const BURST: f64 = 25.0;
const SECONDS_EACH: f64 = 300.0;

/// Takes events in and has them written. Cloning it shares it. Telling never waits and never fails: an event that
/// cannot be written is lost.
#[derive(Clone)]
pub(crate) struct Recorder {
    waiting: Backlog<Told>,
}

/// One controller's way to tell.
#[derive(Clone)]
pub(crate) struct Teller {
    recorder: Recorder,
    component: &'static str,
}

/// Whether an event is about something that went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mood {
    Normal,
    Warning,
}

struct Told {
    component: &'static str,
    about: ObjectPath,
    reference: ObjectReference,
    mood: Mood,
    reason: &'static str,
    message: String,
}

/// What makes two events the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Sameness {
    component: &'static str,
    uid: String,
    mood: Mood,
    reason: &'static str,
    message: String,
}

struct Writer {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    /// Written by whoever writes an event.
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    /// The event object of what was told before, and how often it was told; oldest first in `order`.
    known: HashMap<Sameness, (ObjectKey, i32)>,
    order: VecDeque<Sameness>,
    /// What each controller may still say about each object, and since when that is so.
    budgets: HashMap<(&'static str, String), (f64, Timestamp)>,
    sequence: i64,
}

impl Recorder {
    /// A recorder, and the future that writes, which the owner runs.
    pub(crate) fn new(client: Arc<dyn Client>, clock: Arc<dyn Clock>) -> (Self, BoxFuture<'static, ()>) {
        let waiting = Backlog::new(clock.clone(), WAITING_MAX, WAITING_OF_ONE);
        let (own, writer) = (waiting.clone(), Writer { client, clock, remembered: Mutex::default() });
        let writing = Box::pin(async move { own.run(WRITERS, |_, told| writer.write_all(told)).await });
        (Self { waiting }, writing)
    }

    /// The same, for one controller.
    pub(crate) fn teller(&self, component: &'static str) -> Teller {
        Teller { recorder: self.clone(), component }
    }
}

impl Teller {
    /// Tells that something happened to an object.
    pub(crate) fn normal(&self, about: &Stored, reason: &'static str, message: impl Into<String>) {
        self.tell(about, Mood::Normal, reason, message.into());
    }

    /// Tells that something went wrong with an object.
    pub(crate) fn warning(&self, about: &Stored, reason: &'static str, message: impl Into<String>) {
        self.tell(about, Mood::Warning, reason, message.into());
    }

    fn tell(&self, about: &Stored, mood: Mood, reason: &'static str, message: String) {
        let told = Told::new(self.component, about, mood, reason, message);
        if !self.recorder.waiting.put(about.path.clone(), told) {
            tracing::debug!(component = self.component, reason, "an event was dropped: too many wait");
        }
    }
}

impl Told {
    fn new(component: &'static str, about: &Stored, mood: Mood, reason: &'static str, mut message: String) -> Self {
        if message.len() > MESSAGE_MAX {
            let ends = (0..=MESSAGE_MAX - 3).rev().find(|end| message.is_char_boundary(*end));
            message.truncate(ends.unwrap_or(0));
            message.push_str("...");
            message.shrink_to_fit();
        }
        let header = about.object.header();
        let reference = ObjectReference {
            kind: header.type_meta().kind.clone(),
            namespace: about.path.namespace().to_owned(),
            name: about.path.name().to_owned(),
            uid: header.uid().to_string(),
            api_version: header.type_meta().api_version.clone(),
            resource_version: about.revision.to_string(),
            ..ObjectReference::default()
        };
        Self { component, about: about.path.clone(), reference, mood, reason, message }
    }
}

impl Writer {
    async fn write_all(&self, all: Vec<Told>) {
        for told in all {
            if !self.remembered.lock().may_say(&told, self.clock.now()) {
                continue;
            }
            let reason = told.reason;
            if let Err(status) = self.write(told).await {
                tracing::debug!(reason, %status, "an event was not written");
            }
        }
    }

    async fn write(&self, told: Told) -> Result<(), Status> {
        let same = Sameness {
            component: told.component,
            uid: told.reference.uid.clone(),
            mood: told.mood,
            reason: told.reason,
            message: told.message.clone(),
        };
        let again = self.remembered.lock().again(&same);
        if let Some((key, count)) = again {
            let patch = json!({"count": count, "lastTimestamp": self.clock.now().to_string()});
            if found(self.client.patch(&key, None, Patch::Merge(patch)).await)?.is_some() {
                return Ok(());
            }
        }
        let (tenant, namespace) = home(&told.about);
        let event = object(told, self.clock.now(), self.remembered.lock().number());
        let stored = self.client.create(&EVENTS.resource, &tenant, &namespace, event).await?;
        self.remembered.lock().remember(same, EVENTS.key(&stored.path));
        Ok(())
    }
}

impl Remembered {
    fn number(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    /// Where the same was told before, and how often it was with this time.
    fn again(&mut self, same: &Sameness) -> Option<(ObjectKey, i32)> {
        let (key, count) = self.known.get_mut(same)?;
        *count = count.saturating_add(1);
        Some((key.clone(), *count))
    }

    fn remember(&mut self, same: Sameness, key: ObjectKey) {
        if self.known.insert(same.clone(), (key, 1)).is_none() {
            self.order.push_back(same);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Draws on what a controller may say about an object.
    fn may_say(&mut self, told: &Told, now: Timestamp) -> bool {
        let fresh = |since: Timestamp| now.since(since).as_secs_f64() / SECONDS_EACH;
        if self.budgets.len() >= REMEMBERED_MAX {
            self.budgets.retain(|_, (left, since)| *left + fresh(*since) < BURST - 1.0);
        }
        if self.budgets.len() >= REMEMBERED_MAX {
            self.budgets.clear();
        }
        let budget = self.budgets.entry((told.component, told.reference.uid.clone())).or_insert((BURST, now));
        let left = (budget.0 + fresh(budget.1)).min(BURST);
        *budget = (if left >= 1.0 { left - 1.0 } else { left }, now);
        left >= 1.0
    }
}

/// Writes one event at once, through a client of the caller's: for what is told once, of an object that another
/// partition keeps. An event that cannot be written is lost.
pub(crate) async fn tell_once(
    client: &dyn Client,
    now: Timestamp,
    component: &'static str,
    about: &Stored,
    reason: &'static str,
    message: String,
) {
    let (tenant, namespace) = home(&about.path);
    let event = object(Told::new(component, about, Mood::Normal, reason, message), now, 0);
    if let Err(status) = client.create(&EVENTS.resource, &tenant, &namespace, event).await {
        tracing::debug!(reason, %status, "an event was not written");
    }
}

/// The event object. `sequence` tells apart the names of what is told about one object at one moment.
fn object(told: Told, now: Timestamp, sequence: i64) -> Object {
    let nanos = now.as_micros().saturating_mul(1000).saturating_add(sequence % 1000);
    let mut event = Event::named(&format!("{}.{nanos:x}", told.about.name()));
    event.metadata.namespace = home(&told.about).1;
    event.involved_object = told.reference;
    event.reason = told.reason.to_owned();
    event.message = told.message;
    event.kind = if told.mood == Mood::Warning { "Warning" } else { "Normal" }.to_owned();
    event.first_timestamp = Some(now);
    event.last_timestamp = Some(now);
    event.count = 1;
    event.source = EventSource { component: told.component.to_owned(), ..EventSource::default() };
    event.reporting_component = told.component.to_owned();
    event.to_object()
}

/// Where the events of an object are kept: beside it; of one without a namespace, in `default`; of one of the region,
/// in `default` of the tenant `system`.
fn home(about: &ObjectPath) -> (String, String) {
    let or = |text: &str, instead: &str| if text.is_empty() { instead.to_owned() } else { text.to_owned() };
    (or(about.tenant(), arktos_core::TenantName::SYSTEM), or(about.namespace(), "default"))
}
