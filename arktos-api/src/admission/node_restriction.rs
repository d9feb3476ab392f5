//! What a node may write: itself, and what is bound to it. (NodeRestriction)
//!
//! A node is whoever is in the group `system:nodes` under a name `system:node:NAME`. This limits what its rights let it
//! write, and gives it none.

mod tokens;

use std::collections::BTreeSet;

use arktos_core::{GroupResource, Object, ObjectKey, Status};
use serde_json::Value;

use super::certificates::common_name;
use crate::call::Call;
use crate::verbs::modify::Part;

pub(crate) use tokens::token;

/// Where nodes keep their heartbeats.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Marks pods that mirror what a node runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Labels that would steer privileged pods to a node: never its own to set.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Of the labels of Kubernetes, those that a node may set of itself.
const OWN_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Who signs for nodes.
const NODE_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];
/// The domains whose labels it may set.
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The node that makes a call, where it is restricted.
///
/// # Errors
/// 403 when it cannot be told which one it is.
fn node<'a>(call: &'a Call<'_>) -> Result<Option<&'a str>, Status> {
    match call.identity.node() {
        Some("") => {
            let why = format!("could not determine node from user {:?}", call.identity.user);
            Err(Status::forbidden(&call.kind.group_resource, &call.name, why))
        }
        found => Ok(found.filter(|_| call.state.config.admission.runs("NodeRestriction"))),
    }
}

/// Judges a write: a creation where there is no old state, a deletion where there is no new one.
///
/// # Errors
/// 403, and 404 for a node that is not there.
pub(crate) fn write(call: &Call<'_>, part: Part<'_>, old: Option<&Object>, new: Option<&Object>) -> Result<(), Status> {
    let Some(node) = node(call)? else { return Ok(()) };
    let write = Write { call, node, part, old, new };
    let judged = match call.kind.storage_resource.as_str() {
        "pods" => write.pod(),
        "nodes" => write.node(),
        "persistentvolumeclaims" => write.volume_claim(),
        "leases.coordination.k8s.io" => write.lease(),
        "resourceslices.resource.k8s.io" => write.resource_slice(),
        super::certificates::RESOURCE => write.certificate_request(),
        "csinodes.storage.k8s.io" => {
            write.own_name("can only access CSINode with the same name as the requesting node")
        }
        _ => return Ok(()),
    };
    judged.map_err(|fault| fault.status(&write))
}

/// As [`write`], of an object that is kept elsewhere: what there is of it is looked up, if it matters.
///
/// # Errors
/// As [`write`].
pub(crate) async fn write_elsewhere(call: &Call<'_>, part: Part<'_>, new: Option<&Object>) -> Result<(), Status> {
    if node(call)?.is_none() {
        return Ok(());
    }
    let old = call.found().await?.object.decode(None).map_err(Status::internal)?;
    write(call, part, Some(&old), new)
}

/// As [`write_elsewhere`], of a write that changes nothing that is judged: whose object it is, is.
///
/// # Errors
/// As [`write`].
pub(crate) async fn status_elsewhere(call: &Call<'_>) -> Result<(), Status> {
    if node(call)?.is_none() {
        return Ok(());
    }
    let old = call.found().await?.object.decode(None).map_err(Status::internal)?;
    write(call, Part::Status, Some(&old), Some(&old))
}

/// Judges an eviction or a binding of a pod that is on a host, or on none yet.
///
/// # Errors
/// 403.
pub(crate) fn act(call: &Call<'_>, subresource: &str, on: &str) -> Result<(), Status> {
    let Some(node) = node(call)? else { return Ok(()) };
    let why = if subresource != "eviction" {
        unexpected_subresource(subresource)
    } else if on != node {
        format!("node {node} can only evict pods with spec.nodeName set to itself")
    } else {
        return Ok(());
    };
    Err(Status::forbidden(&call.kind.group_resource, &call.name, why))
}

fn unexpected_subresource(name: &str) -> String {
    format!("unexpected pod subresource {name:?}, only 'status' and 'eviction' are allowed")
}

/// What stands against a write.
enum Fault {
    /// It is forbidden, for this reason.
    Forbidden(String),
    /// What it depends on is not there.
    Missing(Status),
}

impl Fault {
    fn status(self, write: &Write<'_>) -> Status {
        match self {
            Self::Forbidden(why) => Status::forbidden(&write.call.kind.group_resource, write.name(), why),
            Self::Missing(status) => status,
        }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Forbidden(why)
    }
}

/// A write by a node.
struct Write<'a> {
    call: &'a Call<'a>,
    node: &'a str,
    part: Part<'a>,
    old: Option<&'a Object>,
    new: Option<&'a Object>,
}

impl Write<'_> {
    fn name(&self) -> &str {
        self.new.or(self.old).map_or(&*self.call.name, Object::name)
    }

    fn operation(&self) -> &'static str {
        match (self.old, self.new) {
            (None, _) => "CREATE",
            (Some(_), Some(_)) => "UPDATE",
            (Some(_), None) => "DELETE",
        }
    }

    fn pod(&self) -> Result<(), Fault> {
        let node = self.node;
        let is_own = |pod: &Object| pod.str_at(&["spec", "nodeName"]) == node;
        match (self.part, self.old, self.new) {
            (Part::Whole, None, Some(pod)) => self.mirror_pod(pod),
            (Part::Whole, Some(pod), None) if is_own(pod) => Ok(()),
            (Part::Whole, Some(_), None) => {
                Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself").into())
            }
            (Part::Whole, ..) => {
                let operation = self.operation();
                let why =
                    format!("unexpected operation {operation:?}, node {node:?} can only create and delete mirror pods");
                Err(why.into())
            }
            (Part::Status, Some(old), Some(_)) if !is_own(old) => {
                let why = "can only update pod status for pods with spec.nodeName set to itself";
                Err(format!("node {node:?} {why}").into())
            }
            (Part::Status, Some(old), Some(new)) => {
                if labels(Some(old)) != labels(Some(new)) {
                    return Err(format!("node {node:?} cannot update labels through pod status").into());
                }
                if claim_statuses(old) != claim_statuses(new) {
                    return Err(format!("node {node:?} cannot update resource claim statues").into());
                }
                Ok(())
            }
            (Part::Status, ..) => Err(format!("unexpected operation {:?}", self.operation()).into()),
            (Part::Other(name), ..) => Err(unexpected_subresource(name).into()),
        }
    }

    /// A node shows what it runs by itself as pods of its own, which refer to nothing else.
    fn mirror_pod(&self, pod: &Object) -> Result<(), Fault> {
        let node = self.node;
        let refuse = |why: &str| Err(Fault::Forbidden(format!("node {node:?} {why}")));
        if pod.at(&["metadata", "annotations", MIRROR]).is_none() {
            let why = format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods");
            return Err(why.into());
        }
        if pod.str_at(&["spec", "nodeName"]) != node {
            return refuse("can only create pods with spec.nodeName set to itself");
        }
        self.owned_by_itself(pod)?;
        if !pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
            return refuse("can not create pods that reference a service account");
        }
        let volumes = volumes(pod);
        let projects = |source: &str| projected(pod).any(|projected| !projected[source].is_null());
        if some(pod.at(&["spec", "imagePullSecrets"]))
            || environment_has(pod, &["secretKeyRef", "secretRef"])
            || volumes.iter().any(has_secret)
            || projects("secret")
        {
            return refuse("can not create pods that reference secrets");
        }
        if environment_has(pod, &["configMapKeyRef", "configMapRef"])
            || volumes.iter().any(|volume| !volume["configMap"].is_null())
            || projects("configMap")
        {
            return refuse("can not create pods that reference configmaps");
        }
        if projects("clusterTrustBundle") {
            return refuse("can not create pods that reference clustertrustbundles");
        }
        if volumes.iter().any(|volume| !volume["persistentVolumeClaim"].is_null()) {
            return refuse("can not create pods that reference persistentvolumeclaims");
        }
        Ok(())
    }

    fn owned_by_itself(&self, pod: &Object) -> Result<(), Fault> {
        let node = self.node;
        let owners = pod.at(&["metadata", "ownerReferences"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let refuse = |why: &str| Err(Fault::Forbidden(format!("node {node:?} {why}")));
        let owner = match owners {
            [] => return refuse("can only create pods with an owner reference set to itself"),
            [owner] => owner,
            _ => return refuse("can only create pods with a single owner reference set to itself"),
        };
        if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
            return refuse("can only create pods with an owner reference set to itself");
        }
        if owner["controller"] != true {
            return refuse("can only create pods with a controller owner reference set to itself");
        }
        if owner["blockOwnerDeletion"] == true {
            return refuse("must not set blockOwnerDeletion on an owner reference");
        }
        let nodes = GroupResource::core("nodes");
        let key = ObjectKey::region_scoped(nodes.clone(), node);
        let Some(found) = self.call.state.config.engine.snapshot().get(&key) else {
            return Err(Fault::Missing(Status::not_found(&nodes, node)));
        };
        let (expected, got) = (owner["uid"].as_str().unwrap_or_default(), found.object.header().uid());
        if expected != got {
            return Err(format!("node {node} UID mismatch: expected {expected} got {got}").into());
        }
        Ok(())
    }

    fn node(&self) -> Result<(), Fault> {
        let (node, name) = (self.node, self.name());
        if name != node {
            return Err(format!("node {node:?} is not allowed to modify node {name:?}").into());
        }
        let Some(new) = self.new else { return Ok(()) };
        let source = |node: &Object| node.at(&["spec", "configSource"]).filter(|source| !source.is_null()).cloned();
        let forbidden = forbidden_labels(self.old, new);
        let Some(old) = self.old else {
            if source(new).is_some() {
                let why = format!("node {node:?} is not allowed to create pods with a non-nil configSource");
                return Err(why.into());
            }
            if !forbidden.is_empty() {
                let labels = forbidden.join(", ");
                return Err(format!("node {node:?} is not allowed to set the following labels: {labels}").into());
            }
            return Ok(());
        };
        if source(new).is_some() && source(new) != source(old) {
            let why = format!("node {node:?} is not allowed to update configSource to a new non-nil configSource");
            return Err(why.into());
        }
        let taints = |node: &Object| node.at(&["spec", "taints"]).filter(|taints| some(Some(taints))).cloned();
        if taints(old) != taints(new) {
            return Err(format!("node {node:?} is not allowed to modify taints").into());
        }
        if !forbidden.is_empty() {
            return Err(format!("is not allowed to modify labels: {}", forbidden.join(", ")).into());
        }
        Ok(())
    }

    fn volume_claim(&self) -> Result<(), Fault> {
        let (Part::Status, Some(old), Some(new)) = (self.part, self.old, self.new) else {
            return Err("may only update PVC status".to_owned().into());
        };
        if fixed_of_claim(old) == fixed_of_claim(new) {
            return Ok(());
        }
        let node = self.node;
        let why =
            format!("node {node:?} is not allowed to update fields other than status.capacity and status.conditions");
        Err(why.into())
    }

    fn lease(&self) -> Result<(), Fault> {
        if self.call.namespace != LEASE_NAMESPACE {
            return Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace").into());
        }
        self.own_name("can only access node lease with the same name as the requesting node")
    }

    /// The devices of another node, or of all, are not its own to publish.
    fn resource_slice(&self) -> Result<(), Fault> {
        let (slice, what) = match (self.old, self.new) {
            (None, Some(new)) => (new, "create"),
            (Some(old), None) => (old, "delete"),
            _ => return Ok(()), // whose they are does not change
        };
        if slice.str_at(&["spec", "nodeName"]) == self.node {
            return Ok(());
        }
        Err(format!("can only {what} ResourceSlice with the same NodeName as the requesting node").into())
    }

    /// A node asks for certificates of a node in its own name alone.
    fn certificate_request(&self) -> Result<(), Fault> {
        let (Part::Whole, None, Some(request)) = (self.part, self.old, self.new) else { return Ok(()) };
        if !NODE_SIGNERS.contains(&request.str_at(&["spec", "signerName"])) {
            return Ok(());
        }
        let asked = common_name(request.str_at(&["spec", "request"]));
        let asked = asked.map_err(|why| Fault::Forbidden(format!("unable to parse csr: {why}")))?;
        let own = format!("system:node:{}", self.node);
        if asked == own {
            return Ok(());
        }
        Err(format!("can only create a node CSR with CN={own}").into())
    }

    fn own_name(&self, why: &str) -> Result<(), Fault> {
        if self.name() == self.node { Ok(()) } else { Err(why.to_owned().into()) }
    }
}

/// What of a volume claim a node leaves alone. (The spec, no write of the status changes.)
fn fixed_of_claim(claim: &Object) -> (Value, Value) {
    let mut meta = claim.at(&["metadata"]).cloned().unwrap_or_default();
    if let Some(meta) = meta.as_object_mut() {
        meta.retain(|field, _| !matches!(field.as_str(), "resourceVersion" | "managedFields"));
    }
    let mut status = claim.at(&["status"]).cloned().unwrap_or_default();
    if let Some(status) = status.as_object_mut() {
        for field in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"] {
            status.remove(field);
        }
    }
    (meta, if some(Some(&status)) { status } else { Value::Null })
}

/// Whether there is something in a list or a map.
fn some(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(_) => true,
    }
}

fn volumes(pod: &Object) -> &[Value] {
    pod.at(&["spec", "volumes"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The sources of a pod's projected volumes.
fn projected(pod: &Object) -> impl Iterator<Item = &Value> {
    volumes(pod).iter().filter_map(|volume| volume["projected"]["sources"].as_array()).flatten()
}

/// Whether a volume names a secret, directly or for the storage behind it.
pub(super) fn has_secret(volume: &Value) -> bool {
    let sources = volume.as_object().into_iter().flat_map(serde_json::Map::values);
    !volume["secret"].is_null()
        || sources.into_iter().any(|source| {
            let names = ["secretRef", "nodePublishSecretRef"].into_iter().any(|field| !source[field].is_null());
            names || source["secretName"].as_str().is_some_and(|name| !name.is_empty())
        })
}

/// Whether a container takes its environment from one of these.
fn environment_has(pod: &Object, sources: &[&str]) -> bool {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let containers = lists.iter().filter_map(|list| pod.at(&["spec", list])?.as_array()).flatten();
    containers.into_iter().any(|container| {
        let entries = |field: &str| container[field].as_array().map_or(&[][..], Vec::as_slice);
        entries("env")
            .iter()
            .map(|entry| &entry["valueFrom"])
            .chain(entries("envFrom"))
            .any(|entry| sources.iter().any(|source| !entry[*source].is_null()))
    })
}

fn claim_statuses(pod: &Object) -> Vec<(&Value, &Value)> {
    let statuses = pod.at(&["status", "resourceClaimStatuses"]).and_then(Value::as_array);
    statuses.into_iter().flatten().map(|status| (&status["name"], &status["resourceClaimName"])).collect()
}

fn labels(object: Option<&Object>) -> BTreeSet<(&str, &str)> {
    let labels = object.and_then(|object| object.at(&["metadata", "labels"])?.as_object()).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

/// Labels that differ, and that a node may not set or change of itself.
fn forbidden_labels<'a>(old: Option<&'a Object>, new: &'a Object) -> Vec<&'a str> {
    let (before, after) = (labels(old), labels(Some(new)));
    let changed: BTreeSet<&str> = before.symmetric_difference(&after).map(|(key, _)| *key).collect();
    changed.into_iter().filter(|label| is_forbidden(label)).collect()
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |outer: &str| domain.strip_suffix(outer).is_some_and(|inner| inner.is_empty() || inner.ends_with('.'));
    let of_kubernetes = within("kubernetes.io") || within("k8s.io");
    let own = OWN_LABELS.contains(&label) || OWN_DOMAINS.into_iter().any(within);
    within(RESTRICTED) || (of_kubernetes && !own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_labels_of_kubernetes_a_node_sets_those_that_describe_it() {
        let own = ["kubernetes.io/hostname", "node.kubernetes.io/x", "a.kubelet.kubernetes.io/x", "disk", "x.io/y"];
        let others = ["kubernetes.io/x", "a.k8s.io/x", "node-restriction.kubernetes.io/x", "node-role.kubernetes.io/x"];
        for label in own {
            assert!(!is_forbidden(label), "{label}");
        }
        for label in others {
            assert!(is_forbidden(label), "{label}");
        }
        assert!(is_forbidden("a.node-restriction.kubernetes.io/x") && !is_forbidden("notkubernetes.io/x"));
    }
}
