//! What several kinds have in common.

use super::record::record;
use crate::time::Timestamp;

record! {
    /// One observed fact about an object: `Available`, `Ready`, `MemoryPressure`…
    pub struct Condition {
        /// When the condition was last looked at (pods, deployments and jobs).
        last_probe_time: Option<Timestamp>,
        /// When the reporter was last heard of (nodes).
        last_heartbeat_time: Option<Timestamp>,
        /// When the condition was last written (deployments).
        last_update_time: Option<Timestamp>,
        /// When `status` last changed.
        last_transition_time: Option<Timestamp>,
        /// Why, for a program.
        reason: String,
        /// Why, for a person.
        message: String,
        /// The generation this was observed at.
        observed_generation: i64,
    } always {
        /// What is observed.
        #[serde(rename = "type")]
        kind: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    }
}

impl Condition {
    /// A condition with nothing but its type and status.
    #[must_use]
    pub fn new(kind: &str, status: &str) -> Self {
        Self { kind: kind.to_owned(), status: status.to_owned(), ..Self::default() }
    }

    /// The condition of a type among others.
    #[must_use]
    pub fn find<'a>(conditions: &'a [Self], kind: &str) -> Option<&'a Self> {
        conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether the condition of a type is `True` among others.
    #[must_use]
    pub fn is_true(conditions: &[Self], kind: &str) -> bool {
        Self::find(conditions, kind).is_some_and(|condition| condition.status == "True")
    }

    /// Puts a condition among others. One of the same type is replaced, and lends its transition time when the status
    /// is the same. Says whether anything but the times of observation changed.
    pub fn set(self, conditions: &mut Vec<Self>) -> bool {
        let Some(old) = conditions.iter_mut().find(|condition| condition.kind == self.kind) else {
            conditions.push(self);
            return true;
        };
        let mut new = self;
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time;
        }
        let changed = (&old.status, &old.reason, &old.message) != (&new.status, &new.reason, &new.message);
        *old = new;
        changed
    }
}

record! {
    /// An object named by another: the subject of an event, the target of a binding.
    pub struct ObjectReference {
        /// The object's kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// Its group and version.
        api_version: String,
        /// The revision it was seen at.
        resource_version: String,
        /// A part of it, such as `spec.containers{web}`.
        field_path: String,
    }
}
