//! Objects as Rust types: the kinds that controllers, schedulers and hosts of this project work with.
//!
//! A type holds the fields this project reads or writes; every level keeps all others in `other`, so that reading an
//! object, changing a field and writing it back loses nothing. Fields that are zero or empty are not written, as Go's
//! `omitempty` does it; the few that upstream always writes are written always.
//!
//! ```
//! use arktos_core::Object;
//! use arktos_core::typed::{KindOf, Pod};
//!
//! let object = Object::from_value(serde_json::json!({
//!     "metadata": {"name": "web"}, "spec": {"nodeName": "n1", "hostPID": true},
//! })).unwrap_or_default();
//! let mut pod = Pod::from_object(&object)?;
//! pod.status.phase = "Running".to_owned();
//! let written = pod.to_object();
//! assert_eq!(written.str_at(&["kind"]), "Pod");
//! assert_eq!(written.at(&["spec", "hostPID"]), Some(&true.into()));
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! A kind of your own becomes a Rust type with two derives and [`KindOf`]:
//!
//! ```
//! use arktos_core::typed::KindOf;
//! use arktos_core::{Object, ObjectMeta};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! #[serde(default)]
//! struct Recipe {
//!     metadata: ObjectMeta,
//!     spec: RecipeSpec,
//! }
//!
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! #[serde(default, rename_all = "camelCase")]
//! struct RecipeSpec {
//!     dish: String,
//!     servings: i64,
//! }
//!
//! impl KindOf for Recipe {
//!     const RESOURCE: &'static str = "recipes.example.org";
//!     const TYPE: (&'static str, &'static str) = ("example.org/v1", "Recipe");
//!
//!     fn metadata(&self) -> &ObjectMeta {
//!         &self.metadata
//!     }
//!
//!     fn metadata_mut(&mut self) -> &mut ObjectMeta {
//!         &mut self.metadata
//!     }
//! }
//!
//! let mut soup = Recipe::named("soup");
//! soup.spec.dish = "soup".to_owned();
//! let object = soup.to_object();
//! assert_eq!((object.str_at(&["kind"]), object.str_at(&["spec", "dish"])), ("Recipe", "soup"));
//! assert_eq!(Recipe::from_object(&object)?.spec.dish, "soup");
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! Such a type keeps only the fields it has: when it is written back, other fields of the object are lost. Where
//! clients may have more fields than the type, patch the object instead, or add
//! `#[serde(flatten)] other: Map<String, Value>`.

mod claim;
mod cluster;
mod condition;
mod config;
mod container;
mod directory;
mod event;
mod job;
mod node;
mod placement;
mod pod;
mod policy;
mod record;
mod service;
mod stateful_set;
mod value;
mod workload;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::encoded::Encoded;
use crate::key::Revision;
use crate::kind::{GroupResource, TypeMeta};
use crate::meta::ObjectMeta;
use crate::object::Object;

pub use claim::{
    Claim, ClaimFence, ClaimFenceSpec, ClaimPort, ClaimRequest, ClaimResult, ClaimReview, ClaimReviewSpec,
    ClaimReviewStatus, ClaimSpec, Requests,
};
pub use cluster::{Lease, LeaseSpec, Namespace, NamespaceSpec, NamespaceStatus, Tenant, TenantSpec, TenantStatus};
pub use condition::{Condition, ObjectReference};
pub use config::{ConfigMap, Secret, ServiceAccount};
pub use container::{
    Container, ContainerPort, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, EnvVar, ResourceList, ResourceRequirements,
};
pub use directory::{
    Member, MemberKind, MemberServer, MemberSpec, MemberStatus, Phase, TenantPlacement, TenantPlacementSpec,
    TenantPlacementStatus,
};
pub use event::{Event, EventSeries, EventSource};
pub use job::{
    CronJob, CronJobSpec, CronJobStatus, ExitCodes, Job, JobSpec, JobStatus, PodConditionPattern, PodFailurePolicy,
    PodFailureRule, SuccessPolicy, SuccessRule,
};
pub use node::{AttachedAddress, ContainerImage, Node, NodeSpec, NodeStatus, NodeSystemInfo, Taint};
pub use placement::{
    Affinity, LabelSelectorSpec, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinity,
    PodAffinityTerm, PreferredSchedulingTerm, SelectorRequirement, Toleration, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};
pub use pod::{Binding, Pod, PodIp, PodSpec, PodStatus, PodTemplate, SchedulingGate};
pub use policy::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
pub use service::{
    Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Service, ServicePort, ServiceSpec, ServiceStatus,
};
pub use stateful_set::{
    ClaimRetention, OrdinalRange, StatefulSet, StatefulSetSpec, StatefulSetStatus, StatefulSetStrategy,
    StatefulSetUpdate,
};
pub use value::{IntOrString, MicroTime};
pub use workload::{
    DaemonSet, DaemonSetSpec, DaemonSetStatus, Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy,
    ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, ReplicationController, ReplicationControllerSpec, RollingUpdate,
};

/// An object with a desired and an observed state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "Spec: Serialize + Default + PartialEq, Status: Serialize + Default + PartialEq",
    deserialize = "Spec: Deserialize<'de> + Default, Status: Deserialize<'de> + Default"
))]
pub struct Typed<Spec, Status> {
    /// What every object carries.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The desired state.
    #[serde(default, skip_serializing_if = "record::is_default", deserialize_with = "record::null_is_default")]
    pub spec: Spec,
    /// The observed state.
    #[serde(default, skip_serializing_if = "record::is_default", deserialize_with = "record::null_is_default")]
    pub status: Status,
    /// All other fields, kept as they came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// For kinds without a status (or without a spec).
pub type Nothing = Map<String, Value>;

/// A Rust type that is a kind of the API.
pub trait KindOf: Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static {
    /// The resource, such as `deployments.apps`.
    const RESOURCE: &'static str;
    /// `apiVersion` and `kind`.
    const TYPE: (&'static str, &'static str);

    /// `metadata`.
    fn metadata(&self) -> &ObjectMeta;

    /// `metadata`, to change.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;

    /// The resource.
    #[must_use]
    fn resource() -> GroupResource {
        GroupResource::from(Self::RESOURCE.to_owned())
    }

    /// `apiVersion` and `kind`.
    #[must_use]
    fn type_meta() -> TypeMeta {
        TypeMeta { api_version: Self::TYPE.0.to_owned(), kind: Self::TYPE.1.to_owned() }
    }

    /// An object of this kind with nothing but a name.
    #[must_use]
    fn named(name: &str) -> Self {
        let mut object = Self::default();
        object.metadata_mut().name = name.to_owned();
        object
    }

    /// Reads a stored object; `revision` becomes its `resourceVersion`.
    ///
    /// # Errors
    /// When the object does not have the kind's shape.
    fn from_encoded(encoded: &Encoded, revision: Option<Revision>) -> Result<Self, serde_json::Error> {
        let mut object: Self = encoded.parse()?;
        if let Some(revision) = revision {
            object.metadata_mut().resource_version = revision.to_string();
        }
        Ok(object)
    }

    /// Reads a decoded object. Its notes are not in the result.
    ///
    /// # Errors
    /// When the object does not have the kind's shape.
    fn from_object(object: &Object) -> Result<Self, serde_json::Error> {
        let fields = object.fields.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind"));
        Self::deserialize(MapDeserializer::new(fields.map(|(name, value)| (name.as_str(), value))))
    }

    /// The object as a tree, with `apiVersion` and `kind`, without notes.
    fn to_object(&self) -> Object {
        let mut object = Object::encode(self).unwrap_or_default();
        object.fields.insert("apiVersion".to_owned(), Value::from(Self::TYPE.0));
        object.fields.insert("kind".to_owned(), Value::from(Self::TYPE.1));
        object
    }
}

/// Says which kind a type is.
macro_rules! kind {
    ($type:ty, $resource:literal, $api_version:literal, $kind:literal) => {
        impl $crate::typed::KindOf for $type {
            const RESOURCE: &'static str = $resource;
            const TYPE: (&'static str, &'static str) = ($api_version, $kind);

            fn metadata(&self) -> &$crate::meta::ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut $crate::meta::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
use kind;

#[cfg(test)]
mod tests;
