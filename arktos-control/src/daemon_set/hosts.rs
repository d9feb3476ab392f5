//! Hosts as daemon sets see them, and which daemon sets a change of a host concerns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::ObjectPath;
use arktos_core::typed::Taint;
use arktos_store::informer::{Decode, DecodeError, Event};
use arktos_store::{Informer, Stored, WorkQueue};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;

use super::fits::Judges;
use crate::breath::Breath;

/// What is asked of a host: its name, its labels and its taints. The object itself is shared with the store.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    stored: Stored,
    taints: Vec<Taint>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Shape {
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    taints: Option<Vec<Taint>>,
}

impl Decode for Host {
    type Source = Stored;

    fn decode(stored: &Stored) -> Result<Self, DecodeError> {
        let Shape { spec } = stored.object.parse()?;
        Ok(Self { stored: stored.clone(), taints: spec.taints.unwrap_or_default() })
    }

    fn source(&self) -> &Stored {
        &self.stored
    }
}

impl Host {
    pub(super) fn name(&self) -> &str {
        self.stored.path.name()
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.stored.object.header().label(key)
    }

    pub(super) fn taints(&self) -> &[Taint] {
        &self.taints
    }

    /// Whether all that is asked of it is as it was.
    fn is_as(&self, other: &Self) -> bool {
        let (own, others) = (self.stored.object.header(), other.stored.object.header());
        self.taints == other.taints && own.labels().eq(others.labels())
    }
}

/// The hosts that have changed, and how they were when daemon sets were last told. Cloning it shares it.
///
/// All changes that came meanwhile are looked at together: a daemon set is told of the first that matters to it, and
/// its pods are not looked at for that.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Written by the informer's handler, emptied by `tell`.
    waiting: Mutex<BTreeMap<ObjectPath, Option<Arc<Host>>>>,
    more: Notify,
}

impl Changes {
    /// Takes a change in.
    pub(super) fn note(&self, event: &Event<Host>) {
        if let (Some(before), Some(after)) = (event.before(), event.after())
            && before.is_as(after)
        {
            return;
        }
        self.0.waiting.lock().entry(event.path().clone()).or_insert_with(|| event.before().cloned());
        self.0.more.notify_one();
    }

    /// Queues the daemon sets to which a host is another than it was. Never ends.
    pub(super) async fn tell(self, hosts: Informer<Host>, judges: Judges, queue: WorkQueue<ObjectPath>) {
        loop {
            self.0.more.notified().await;
            let waiting = std::mem::take(&mut *self.0.waiting.lock());
            let both = waiting.into_iter().map(|(path, before)| (before, hosts.store().get(&path)));
            let then_and_now = both.collect::<Vec<_>>();
            let mut breath = Breath::default();
            for (set, judge) in judges.all() {
                for (before, now) in &then_and_now {
                    breath.after(judge.weight()).await;
                    if judge.verdict_of(before.as_deref()) != judge.verdict_of(now.as_deref()) {
                        queue.add(set);
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use arktos_core::{Encoded, Object, Revision};
    use serde_json::{Value, json};

    use super::*;
    use crate::kinds::NODES;

    /// A host with these labels and taints.
    pub(crate) fn host(name: &str, labels: Value, taints: Value) -> Host {
        let object = json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
        let object = Object::from_value(object).expect("an object");
        let object = Encoded::encode(&Arc::new(NODES.type_meta.clone()), &object, &[]).expect("encodes");
        let stored = Stored { path: ObjectPath::new("", "", name), revision: Revision(1), object };
        Host::decode(&stored).expect("a host")
    }

    #[test]
    fn a_change_is_one_of_labels_or_taints() {
        let taints = json!([{"key": "k", "effect": "NoSchedule"}]);
        let plain = host("n", json!({"a": "1"}), json!([]));
        assert!(plain.is_as(&host("n", json!({"a": "1"}), json!([]))));
        assert!(!plain.is_as(&host("n", json!({"a": "2"}), json!([]))));
        assert!(!plain.is_as(&host("n", json!({"a": "1"}), taints)));
    }

    #[test]
    fn what_a_host_was_when_daemon_sets_were_last_told_is_kept() {
        let changes = Changes::default();
        let [first, second, third] = ["1", "2", "3"].map(|value| Arc::new(host("n", json!({"a": value}), json!([]))));
        let path = ObjectPath::new("", "", "n");
        let event = |old: &Arc<Host>, new: &Arc<Host>| Event::Updated {
            path: path.clone(),
            old: old.clone(),
            new: new.clone(),
        };
        changes.note(&event(&first, &first));
        assert!(changes.0.waiting.lock().is_empty());
        changes.note(&event(&first, &second));
        changes.note(&event(&second, &third));
        let kept = changes.0.waiting.lock().get(&path).cloned().flatten().expect("kept");
        assert_eq!(kept.label("a"), Some("1"));
    }
}
