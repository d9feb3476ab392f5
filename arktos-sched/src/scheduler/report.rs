//! What is said of pods: the condition `PodScheduled`, and events for people, in kube-scheduler's words.

use std::sync::Arc;

use arktos_core::typed::{Event, KindOf, Pod};
use arktos_core::{ObjectKey, ObjectPath, Reason, Status, Timestamp};
use arktos_store::client::Patch;
use arktos_store::{Client, Random};
use serde_json::json;

use super::state::Failure;

/// The name under which a scheduler reports.
pub(super) const REPORTER: &str = "default-scheduler";

/// Says things of pods.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) client: Arc<dyn Client>,
    pub(super) random: Arc<dyn Random>,
}

impl Report {
    /// Says that a pod has no place, in its status and as an event.
    pub(super) async fn unschedulable(&self, failure: Failure, now: Timestamp) {
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": &*failure.message,
            "lastProbeTime": null,
            "lastTransitionTime": now,
        });
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let key = ObjectKey { resource: Pod::resource(), path: failure.pod.clone() };
        match self.client.patch(&key, Some("status"), patch).await {
            Ok(_) => {}
            Err(status) if gone(&status) => return,
            Err(status) => tracing::warn!(pod = %failure.pod, %status, "a pod's condition could not be written"),
        }
        self.event(&failure.pod, &failure.uid, ("Warning", "FailedScheduling"), &failure.message, now).await;
    }

    /// Says that a pod was placed.
    pub(super) async fn scheduled(&self, pod: &ObjectPath, uid: &str, node: &str, now: Timestamp) {
        let message = format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name());
        self.event(pod, uid, ("Normal", "Scheduled"), &message, now).await;
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
