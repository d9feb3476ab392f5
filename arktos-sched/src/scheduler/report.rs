//! What is said of pods: the condition `PodScheduled`, and events for people, in kube-scheduler's words.
//!
//! What is said is written to the pods' tenants, and may wait for their webhooks: nobody who claims and binds waits for
//! it, and of those who write it no tenant keeps all.

use std::sync::Arc;

use arktos_core::typed::{Event, KindOf, Pod};
use arktos_core::{ObjectKey, ObjectPath, Reason, Status, Timestamp};
use arktos_store::client::Patch;
use arktos_store::queue::Backlog;
use arktos_store::{Client, Clock, Random};
use futures::future::BoxFuture;
use serde_json::json;

use super::state::Failure;

/// How many write at once.
const WRITERS: usize = 64;
/// How much may wait to be written, of all tenants and of one; what comes beyond is not said.
const WAITING_MAX: usize = 65_536;
const WAITING_OF_ONE: usize = 16_384;

/// The name under which a scheduler reports.
pub(super) const REPORTER: &str = "default-scheduler";

/// Takes in what is to be said of pods. Cloning it shares it. Telling never waits.
#[derive(Clone)]
pub(super) struct Report {
    waiting: Backlog<Said>,
    clock: Arc<dyn Clock>,
}

/// What is to be said of a pod.
enum Said {
    Unschedulable(Failure, Timestamp),
    Scheduled { uid: String, node: String, now: Timestamp },
}

struct Writer {
    client: Arc<dyn Client>,
    random: Arc<dyn Random>,
}

impl Report {
    /// Who takes in, and the future that writes, which the owner runs.
    pub(super) fn new(
        client: Arc<dyn Client>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> (Self, BoxFuture<'static, ()>) {
        let waiting = Backlog::new(clock.clone(), WAITING_MAX, WAITING_OF_ONE);
        let (own, writer) = (waiting.clone(), Writer { client, random });
        let writing = Box::pin(async move {
            let writer = &writer;
            let write = |pod: ObjectPath, said: Vec<Said>| async move {
                for said in said {
                    writer.write(&pod, said).await;
                }
            };
            own.run(WRITERS, write).await;
        });
        (Self { waiting, clock }, writing)
    }

    /// Says that a pod has no place, in its status and as an event.
    pub(super) fn unschedulable(&self, failure: Failure) {
        let now = self.clock.now();
        self.tell(failure.pod.clone(), Said::Unschedulable(failure, now));
    }

    /// Says that a pod was placed.
    pub(super) fn scheduled(&self, pod: &ObjectPath, uid: &str, node: &str) {
        let (uid, node, now) = (uid.to_owned(), node.to_owned(), self.clock.now());
        self.tell(pod.clone(), Said::Scheduled { uid, node, now });
    }

    fn tell(&self, pod: ObjectPath, said: Said) {
        if !self.waiting.put(pod, said) {
            tracing::debug!("too much is to be said of pods already");
        }
    }
}

impl Writer {
    async fn write(&self, pod: &ObjectPath, said: Said) {
        match said {
            Said::Unschedulable(failure, now) => self.unschedulable(failure, now).await,
            Said::Scheduled { uid, node, now } => {
                let message = format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name());
                self.event(pod, &uid, ("Normal", "Scheduled"), &message, now).await;
            }
        }
    }

    async fn unschedulable(&self, failure: Failure, now: Timestamp) {
        let mut condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": &*failure.message,
            "lastProbeTime": null,
            "lastTransitionTime": now,
        });
        if failure.generation > 0 {
            condition["observedGeneration"] = json!(failure.generation);
        }
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let key = ObjectKey { resource: Pod::resource(), path: failure.pod.clone() };
        match self.client.patch(&key, Some("status"), patch).await {
            Ok(_) => {}
            Err(status) if gone(&status) => return,
            Err(status) => tracing::warn!(pod = %failure.pod, %status, "a pod's condition could not be written"),
        }
        self.event(&failure.pod, &failure.uid, ("Warning", "FailedScheduling"), &failure.message, now).await;
    }

    async fn event(&self, pod: &ObjectPath, uid: &str, what: (&str, &str), message: &str, now: Timestamp) {
        let mut event = Event::named(&format!("{}.{:016x}", pod.name(), self.random.next()));
        event.metadata.namespace = pod.namespace().to_owned();
        event.involved_object.kind = "Pod".to_owned();
        event.involved_object.api_version = "v1".to_owned();
        event.involved_object.namespace = pod.namespace().to_owned();
        event.involved_object.name = pod.name().to_owned();
        event.involved_object.uid = uid.to_owned();
        event.kind = what.0.to_owned();
        event.reason = what.1.to_owned();
        event.message = message.chars().take(MESSAGE_MAX).collect();
        event.first_timestamp = Some(now);
        event.last_timestamp = Some(now);
        event.count = 1;
        event.source.component = REPORTER.to_owned();
        event.reporting_component = REPORTER.to_owned();
        let created = self.client.create(&Event::resource(), pod.tenant(), pod.namespace(), event.to_object()).await;
        if let Err(status) = created
            && !gone(&status)
        {
            tracing::debug!(%pod, %status, "an event was lost");
        }
    }
}

/// The longest message the API takes in an event.
const MESSAGE_MAX: usize = 1024;

/// Whether the object is no longer there, or another of its name is.
pub(super) fn gone(status: &Status) -> bool {
    status.is(Reason::NotFound) || status.is(Reason::Conflict)
}
