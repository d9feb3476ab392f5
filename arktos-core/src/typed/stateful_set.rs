//! Stateful sets.

use serde_json::Value;

use super::Typed;
use super::condition::Condition;
use super::kind;
use super::placement::LabelSelectorSpec;
use super::record::record;

/// Pods of one template, each with a number, a name and claims of its own.
pub type StatefulSet = Typed<StatefulSetSpec, StatefulSetStatus>;
kind!(StatefulSet, "statefulsets.apps", "apps/v1", "StatefulSet");

record! {
    /// What a stateful set is to run.
    pub struct StatefulSetSpec {
        /// How many pods.
        replicas: Option<i32>,
        /// Which numbers they have.
        ordinals: Option<OrdinalRange>,
        /// What the pods are made from, as it is written: revisions keep it so.
        template: Value,
        /// The claims that each pod is given one of each of, as they are written.
        volume_claim_templates: Vec<Value>,
        /// What becomes of the claims.
        persistent_volume_claim_retention_policy: Option<ClaimRetention>,
        /// The service that the pods are named in.
        service_name: String,
        /// `OrderedReady` or `Parallel`.
        pod_management_policy: String,
        /// How long a pod must be ready before it counts as available, in seconds.
        min_ready_seconds: i32,
        /// How many old templates are kept.
        revision_history_limit: Option<i32>,
    } always {
        /// The pods it owns.
        selector: LabelSelectorSpec,
        /// How a new template is rolled out.
        update_strategy: StatefulSetStrategy,
    }
}

record! {
    /// Which numbers the pods of a stateful set have.
    pub struct OrdinalRange {
        /// The first one.
        start: i32,
    }
}

record! {
    /// What becomes of the claims of a stateful set's pods: `Retain` or `Delete`.
    pub struct ClaimRetention {
        /// When the set is deleted.
        when_deleted: String,
        /// When there are fewer pods.
        when_scaled: String,
    }
}

record! {
    /// How a new template is rolled out.
    pub struct StatefulSetStrategy {
        /// `RollingUpdate` or `OnDelete`.
        #[serde(rename = "type")]
        kind: String,
        /// How far a rolling update goes.
        rolling_update: Option<StatefulSetUpdate>,
    }
}

record! {
    /// How far a rolling update goes.
    pub struct StatefulSetUpdate {
        /// So many pods, those of the lowest numbers, keep the template before.
        partition: Option<i32>,
    }
}

record! {
    /// How a stateful set is doing.
    pub struct StatefulSetStatus {
        /// The generation that the numbers below belong to.
        observed_generation: i64,
        /// How many pods are ready.
        ready_replicas: i32,
        /// How many have the template before the newest.
        current_replicas: i32,
        /// How many have the newest template.
        updated_replicas: i32,
        /// The revision of the template before the newest; that of the newest when all pods have it.
        current_revision: String,
        /// The revision of the newest template.
        update_revision: String,
        /// Counts up when a template's hash is taken by another one.
        collision_count: Option<i32>,
        /// Observed facts.
        conditions: Vec<Condition>,
    } always {
        /// How many pods there are.
        replicas: i32,
        /// How many are available.
        available_replicas: i32,
    }
}
