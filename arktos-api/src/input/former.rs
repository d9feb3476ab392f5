//! The versions that kinds once had. Upstream still reads them, and then refuses them where another one is served.

use arktos_core::TypeMeta;

use crate::call::Call;

/// Versions that are served no more, and the kinds that upstream knows in them.
const FORMER: &[(&str, &str)] = &[
    (
        "admissionregistration.k8s.io/v1alpha1",
        "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy \
         MutatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        "ValidatingWebhookConfiguration MutatingWebhookConfiguration ValidatingAdmissionPolicy \
         ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding",
    ),
    ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"),
    ("apps/v1beta1", "Deployment StatefulSet ControllerRevision Scale"),
    ("apps/v1beta2", "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision Scale"),
    ("authentication.k8s.io/v1alpha1", "SelfSubjectReview"),
    ("authentication.k8s.io/v1beta1", "SelfSubjectReview TokenReview"),
    (
        "authorization.k8s.io/v1beta1",
        "SelfSubjectRulesReview SelfSubjectAccessReview SubjectAccessReview LocalSubjectAccessReview",
    ),
    ("batch/v1beta1", "CronJob"),
    ("certificates.k8s.io/v1beta1", "CertificateSigningRequest"),
    ("coordination.k8s.io/v1beta1", "Lease"),
    ("discovery.k8s.io/v1beta1", "EndpointSlice"),
    ("events.k8s.io/v1beta1", "Event"),
    ("extensions/v1beta1", "Deployment DaemonSet Ingress ReplicaSet NetworkPolicy Scale"),
    ("flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema PriorityLevelConfiguration"),
    ("flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema PriorityLevelConfiguration"),
    ("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema PriorityLevelConfiguration"),
    ("networking.k8s.io/v1beta1", "Ingress IngressClass IPAddress ServiceCIDR"),
    ("node.k8s.io/v1alpha1", "RuntimeClass"),
    ("node.k8s.io/v1beta1", "RuntimeClass"),
    ("policy/v1beta1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io/v1alpha1", "Role RoleBinding ClusterRole ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1beta1", "Role RoleBinding ClusterRole ClusterRoleBinding"),
    ("resource.k8s.io/v1beta1", "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice"),
    ("resource.k8s.io/v1beta2", "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice"),
    ("scheduling.k8s.io/v1beta1", "PriorityClass"),
    ("storage.k8s.io/v1alpha1", "VolumeAttachment CSIStorageCapacity VolumeAttributesClass"),
    (
        "storage.k8s.io/v1beta1",
        "StorageClass VolumeAttachment CSIDriver CSINode CSIStorageCapacity VolumeAttributesClass",
    ),
];

/// Whether what is found is of the kind that is wanted, in another version that can be read.
pub(super) fn is_other_version(call: &Call<'_>, wanted: &TypeMeta, found: &TypeMeta) -> bool {
    if found.kind != wanted.kind {
        return false;
    }
    let catalog = call.state.kinds.builtin();
    if let (Some(wanted), Some(found)) = (catalog.by_type(wanted), catalog.by_type(found)) {
        return wanted.storage_resource == found.storage_resource;
    }
    FORMER
        .iter()
        .any(|(version, kinds)| *version == found.api_version && kinds.split(' ').any(|kind| kind == found.kind))
}
