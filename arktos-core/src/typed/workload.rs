//! Deployments and their replica sets; daemon sets.

use std::collections::BTreeMap;

use super::Typed;
use super::condition::Condition;
use super::kind;
use super::placement::LabelSelectorSpec;
use super::pod::PodTemplate;
use super::record::record;
use super::value::IntOrString;

/// Pods of one template, rolled out anew when the template changes.
pub type Deployment = Typed<DeploymentSpec, DeploymentStatus>;
kind!(Deployment, "deployments.apps", "apps/v1", "Deployment");

/// A number of pods of one template.
pub type ReplicaSet = Typed<ReplicaSetSpec, ReplicaSetStatus>;
kind!(ReplicaSet, "replicasets.apps", "apps/v1", "ReplicaSet");

/// A number of pods of one template, in the older form.
pub type ReplicationController = Typed<ReplicationControllerSpec, ReplicaSetStatus>;
kind!(ReplicationController, "replicationcontrollers", "v1", "ReplicationController");

/// A pod of one template on each host that fits.
pub type DaemonSet = Typed<DaemonSetSpec, DaemonSetStatus>;
kind!(DaemonSet, "daemonsets.apps", "apps/v1", "DaemonSet");

record! {
    /// What a deployment is to run.
    pub struct DeploymentSpec {
        /// How many pods.
        replicas: Option<i32>,
        /// How long a pod must be ready before it counts as available, in seconds.
        min_ready_seconds: i32,
        /// How many old replica sets are kept.
        revision_history_limit: Option<i32>,
        /// Whether rolling out is held.
        paused: bool,
        /// After how many seconds without progress a roll-out counts as failed.
        progress_deadline_seconds: Option<i32>,
    } always {
        /// The pods it owns.
        selector: LabelSelectorSpec,
        /// What they are made from.
        template: PodTemplate,
        /// How a new template is rolled out.
        strategy: DeploymentStrategy,
    }
}

record! {
    /// How a new template is rolled out.
    pub struct DeploymentStrategy {
        /// `RollingUpdate` or `Recreate`; of a daemon set `RollingUpdate` or `OnDelete`.
        #[serde(rename = "type")]
        kind: String,
        /// The bounds of a rolling update.
        rolling_update: Option<RollingUpdate>,
    }
}

record! {
    /// The bounds of a rolling update.
    pub struct RollingUpdate {
        /// How many pods may be missing.
        max_unavailable: Option<IntOrString>,
        /// How many pods there may be beyond the wanted number.
        max_surge: Option<IntOrString>,
    }
}

record! {
    /// How a deployment is doing.
    pub struct DeploymentStatus {
        /// The generation that the numbers below belong to.
        observed_generation: i64,
        /// How many pods there are.
        replicas: i32,
        /// How many have the newest template.
        updated_replicas: i32,
        /// How many are ready.
        ready_replicas: i32,
        /// How many are available.
        available_replicas: i32,
        /// How many are missing.
        unavailable_replicas: i32,
        /// How many are going.
        terminating_replicas: Option<i32>,
        /// Observed facts.
        conditions: Vec<Condition>,
        /// Counts up when a template's hash is taken by another one.
        collision_count: Option<i32>,
    }
}

record! {
    /// What a replica set is to run.
    pub struct ReplicaSetSpec {
        /// How many pods.
        replicas: Option<i32>,
        /// How long a pod must be ready before it counts as available, in seconds.
        min_ready_seconds: i32,
        /// What the pods are made from.
        template: PodTemplate,
    } always {
        /// The pods it owns.
        selector: LabelSelectorSpec,
    }
}

record! {
    /// What a replication controller is to run.
    pub struct ReplicationControllerSpec {
        /// How many pods.
        replicas: Option<i32>,
        /// How long a pod must be ready before it counts as available, in seconds.
        min_ready_seconds: i32,
        /// What the pods are made from.
        template: PodTemplate,
        /// The labels of the pods it owns.
        selector: BTreeMap<String, String>,
    }
}

record! {
    /// How a replica set is doing.
    pub struct ReplicaSetStatus {
        /// How many have all the template's labels.
        fully_labeled_replicas: i32,
        /// How many are ready.
        ready_replicas: i32,
        /// How many are available.
        available_replicas: i32,
        /// How many are going.
        terminating_replicas: Option<i32>,
        /// The generation that the numbers belong to.
        observed_generation: i64,
        /// Observed facts.
        conditions: Vec<Condition>,
    } always {
        /// How many pods there are.
        replicas: i32,
    }
}

record! {
    /// What a daemon set is to run.
    pub struct DaemonSetSpec {
        /// How long a pod must be ready before it counts as available, in seconds.
        min_ready_seconds: i32,
        /// How many old templates are kept.
        revision_history_limit: Option<i32>,
    } always {
        /// The pods it owns.
        selector: LabelSelectorSpec,
        /// What they are made from.
        template: PodTemplate,
        /// How a new template is rolled out.
        update_strategy: DeploymentStrategy,
    }
}

record! {
    /// How a daemon set is doing.
    pub struct DaemonSetStatus {
        /// The generation that the numbers belong to.
        observed_generation: i64,
        /// How many hosts have a pod of the newest template.
        updated_number_scheduled: i32,
        /// How many hosts have a pod that is available.
        number_available: i32,
        /// How many hosts are to have one and have not.
        number_unavailable: i32,
        /// Counts up when a template's hash is taken by another one.
        collision_count: Option<i32>,
        /// Observed facts.
        conditions: Vec<Condition>,
    } always {
        /// How many hosts that are to have a pod have one.
        current_number_scheduled: i32,
        /// How many hosts have a pod and are to have none.
        number_misscheduled: i32,
        /// How many hosts are to have a pod.
        desired_number_scheduled: i32,
        /// How many hosts have a pod that is ready.
        number_ready: i32,
    }
}
