//! Disruption budgets.

use std::collections::BTreeMap;

use super::Typed;
use super::condition::Condition;
use super::kind;
use super::placement::LabelSelectorSpec;
use super::record::record;
use super::value::IntOrString;
use crate::time::Timestamp;

/// How many pods of some may be evicted.
pub type PodDisruptionBudget = Typed<PodDisruptionBudgetSpec, PodDisruptionBudgetStatus>;
kind!(PodDisruptionBudget, "poddisruptionbudgets.policy", "policy/v1", "PodDisruptionBudget");

record! {
    /// What must stay.
    pub struct PodDisruptionBudgetSpec {
        /// How many pods must be healthy after an eviction.
        min_available: Option<IntOrString>,
        /// How many may be missing after an eviction.
        max_unavailable: Option<IntOrString>,
        /// The pods it is about; an empty one takes all, an absent one none.
        selector: Option<LabelSelectorSpec>,
        /// When pods that are not healthy may be evicted: `IfHealthyBudget` or `AlwaysAllow`.
        unhealthy_pod_eviction_policy: Option<String>,
    }
}

record! {
    /// What may go now.
    pub struct PodDisruptionBudgetStatus {
        /// The generation that the numbers belong to.
        observed_generation: i64,
        /// The pods whose eviction was granted and that are not seen to go yet, and when it was.
        disrupted_pods: BTreeMap<String, Timestamp>,
        /// Observed facts.
        conditions: Vec<Condition>,
    } always {
        /// How many evictions are allowed now.
        disruptions_allowed: i32,
        /// How many pods are healthy.
        current_healthy: i32,
        /// How many must be.
        desired_healthy: i32,
        /// How many pods there are to be.
        expected_pods: i32,
    }
}
