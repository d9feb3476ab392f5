//! The resources that controllers know by name, and what kinds a tenant has.

use std::sync::{Arc, LazyLock};

use arktos_core::{GroupResource, ObjectKey, ObjectPath, Scope, TypeMeta};
use tokio::sync::watch;

macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $group:literal, $version:literal, $resource:literal, $kind:literal;)*) => {
        $($(#[$doc])* pub static $name: LazyLock<Resource> = LazyLock::new(|| Resource {
            resource: GroupResource::new($group, $resource),
            type_meta: TypeMeta::new($group, $version, $kind),
        });)*
    };
}

/// A resource and the kind of its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The resource.
    pub resource: GroupResource,
    /// The kind its objects are written as.
    pub type_meta: TypeMeta,
}

resources! {
    /// `pods`
    PODS = "", "v1", "pods", "Pod";
    /// `nodes`
    NODES = "", "v1", "nodes", "Node";
    /// `services`
    SERVICES = "", "v1", "services", "Service";
    /// `endpoints`
    ENDPOINTS = "", "v1", "endpoints", "Endpoints";
    /// `events`
    EVENTS = "", "v1", "events", "Event";
    /// `persistentvolumeclaims`
    PERSISTENT_VOLUME_CLAIMS = "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim";
    /// `persistentvolumes`
    PERSISTENT_VOLUMES = "", "v1", "persistentvolumes", "PersistentVolume";
    /// `resourcequotas`
    RESOURCE_QUOTAS = "", "v1", "resourcequotas", "ResourceQuota";
    /// `configmaps`
    CONFIG_MAPS = "", "v1", "configmaps", "ConfigMap";
    /// `secrets`
    SECRETS = "", "v1", "secrets", "Secret";
    /// `serviceaccounts`
    SERVICE_ACCOUNTS = "", "v1", "serviceaccounts", "ServiceAccount";
    /// `namespaces`
    NAMESPACES = "", "v1", "namespaces", "Namespace";
    /// `tenants`
    TENANTS = "", "v1", "tenants", "Tenant";
    /// `tenantquotas.region.arktos.io`
    TENANT_QUOTAS = "region.arktos.io", "v1", "tenantquotas", "TenantQuota";
    /// `deployments.apps`
    DEPLOYMENTS = "apps", "v1", "deployments", "Deployment";
    /// `replicasets.apps`
    REPLICA_SETS = "apps", "v1", "replicasets", "ReplicaSet";
    /// `replicationcontrollers`
    REPLICATION_CONTROLLERS = "", "v1", "replicationcontrollers", "ReplicationController";
    /// `statefulsets.apps`
    STATEFUL_SETS = "apps", "v1", "statefulsets", "StatefulSet";
    /// `daemonsets.apps`
    DAEMON_SETS = "apps", "v1", "daemonsets", "DaemonSet";
    /// `controllerrevisions.apps`
    CONTROLLER_REVISIONS = "apps", "v1", "controllerrevisions", "ControllerRevision";
    /// `poddisruptionbudgets.policy`
    POD_DISRUPTION_BUDGETS = "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget";
    /// `cronjobs.batch`
    CRON_JOBS = "batch", "v1", "cronjobs", "CronJob";
    /// `jobs.batch`
    JOBS = "batch", "v1", "jobs", "Job";
    /// `leases.coordination.k8s.io`
    LEASES = "coordination.k8s.io", "v1", "leases", "Lease";
    /// `certificatesigningrequests.certificates.k8s.io`
    CERTIFICATE_SIGNING_REQUESTS =
        "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest";
    /// `subjectaccessreviews.authorization.k8s.io`
    SUBJECT_ACCESS_REVIEWS = "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview";
    /// `endpointslices.discovery.k8s.io`
    ENDPOINT_SLICES = "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice";
    /// `validatingadmissionpolicies.admissionregistration.k8s.io`
    VALIDATING_ADMISSION_POLICIES =
        "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy";
    /// `customresourcedefinitions.apiextensions.k8s.io`
    CUSTOM_RESOURCE_DEFINITIONS =
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition";
    /// `volumeattributesclasses.storage.k8s.io`
    VOLUME_ATTRIBUTES_CLASSES = "storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass";
    /// `clusterroles.rbac.authorization.k8s.io`
    CLUSTER_ROLES = "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole";
    /// `clusterrolebindings.rbac.authorization.k8s.io`
    CLUSTER_ROLE_BINDINGS = "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding";
}

/// A kind whose objects are stored and can be deleted: what the namespace, tenant and garbage controllers go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKind {
    /// The resource.
    pub resource: GroupResource,
    /// The kind, in camel case.
    pub kind: String,
    /// Where its objects live.
    pub scope: Scope,
    /// Whether definitions of tenants say that there is such a kind. Then some tenants have it and others do not, and
    /// the same resource may be another kind, or have another scope, in each.
    pub defined: bool,
}

/// The kinds there are in any tenant, as they are now: kinds that tenants define come and go, and a resource that
/// tenants define differently is there once for each way. Written by the owner of the controllers.
pub type Kinds = watch::Receiver<Arc<[StoredKind]>>;

impl StoredKind {
    /// A kind that all tenants have.
    #[must_use]
    pub fn new(resource: &GroupResource, kind: &str, scope: Scope) -> Self {
        Self { resource: resource.clone(), kind: kind.to_owned(), scope, defined: false }
    }

    /// A kind that some tenant defines.
    #[must_use]
    pub fn defined(resource: &GroupResource, kind: &str, scope: Scope) -> Self {
        Self { defined: true, ..Self::new(resource, kind, scope) }
    }

    /// Whether an owner reference with this `apiVersion` and `kind` means this kind.
    #[must_use]
    pub fn is(&self, api_version: &str, kind: &str) -> bool {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kind == kind && self.resource.group() == group
    }
}

impl Resource {
    /// The key of an object of it.
    #[must_use]
    pub fn key(&self, path: &ObjectPath) -> ObjectKey {
        ObjectKey { resource: self.resource.clone(), path: path.clone() }
    }
}
