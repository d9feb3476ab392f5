//! Objects that every tenant sees from the start and none pays for: they exist once, outside the store.
//!
//! A tenant that changes or replaces one gets a copy of its own, which from then on hides the shared one.

mod flows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::catalog::Catalog;
use arktos_core::encoded::SHARED;
use arktos_core::{Encoded, GroupResource, Object, ObjectKey, ObjectPath, Revision, Timestamp, TypeMeta};
use arktos_store::{Selection, Snapshot, Stored, Within};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::authorize::static_roles;
use crate::config::ServiceCidr;

const RBAC: &str = "rbac.authorization.k8s.io";
const FLOWS: &str = "flowcontrol.apiserver.k8s.io";

/// The shared objects, by resource.
#[derive(Default)]
pub(crate) struct Shared {
    /// By namespace (empty: in none) and name.
    objects: BTreeMap<GroupResource, BTreeMap<(&'static str, &'static str), Encoded>>,
}

impl Shared {
    /// The bootstrap roles, the system's priority classes, levels and flow schemas, and the range of services'
    /// addresses.
    pub(crate) fn new(catalog: &Arc<Catalog>, since: Timestamp, services: &ServiceCidr) -> Self {
        let mut shared = Self::default();
        let types = |kind| TypeMeta::new(RBAC, "v1", kind);
        for (name, body) in static_roles::roles() {
            shared.add(catalog, since, &types("ClusterRole"), ("", name), body);
        }
        for (name, body) in static_roles::bindings_of_all() {
            shared.add(catalog, since, &types("ClusterRoleBinding"), ("", name), body);
        }
        for role in static_roles::namespaced_roles() {
            shared.add(catalog, since, &types("Role"), (role.namespace, role.name), role.body);
        }
        for binding in static_roles::namespaced_bindings() {
            shared.add(catalog, since, &types("RoleBinding"), (binding.namespace, binding.name), binding.body);
        }
        let priority = |value: i64, about: &str| {
            let policy = "PreemptLowerPriority";
            json!({"value": value, "description": about, "preemptionPolicy": policy})
        };
        let critical = [
            (
                "system-cluster-critical",
                2_000_000_000,
                "Used for system critical pods that must run in the cluster, but can be moved to another node \
                 if necessary.",
            ),
            (
                "system-node-critical",
                2_000_001_000,
                "Used for system critical pods that must not be moved from their current node.",
            ),
        ];
        for (name, value, about) in critical {
            let types = TypeMeta::new("scheduling.k8s.io", "v1", "PriorityClass");
            shared.add(catalog, since, &types, ("", name), priority(value, about));
        }
        for (name, spec) in flows::priority_levels() {
            let types = TypeMeta::new(FLOWS, "v1", "PriorityLevelConfiguration");
            shared.add(catalog, since, &types, ("", name), json!({"spec": spec, "status": {}}));
        }
        for (name, spec) in flows::flow_schemas() {
            let status = flows::found(&spec, since);
            let types = TypeMeta::new(FLOWS, "v1", "FlowSchema");
            shared.add(catalog, since, &types, ("", name), json!({"spec": spec, "status": status}));
        }
        let types = TypeMeta::new("networking.k8s.io", "v1", "ServiceCIDR");
        let ready = json!({"type": "Ready", "status": "True", "reason": "", "lastTransitionTime": since.to_string(),
            "message": "Kubernetes default Service CIDR is ready"});
        let range = json!({"spec": {"cidrs": [services.to_string()]}, "status": {"conditions": [ready]}});
        shared.add(catalog, since, &types, ("", "kubernetes"), range);
        shared
    }

    fn add(
        &mut self,
        catalog: &Catalog,
        since: Timestamp,
        types: &TypeMeta,
        (namespace, name): (&'static str, &'static str),
        body: Value,
    ) {
        let Some(kind) = catalog.by_type(types) else { return };
        let mut object = Object::new(&kind.type_meta, name);
        object.notes.insert(SHARED.to_owned(), "true".to_owned());
        let mut labels = Map::new();
        if let Value::Object(mut fields) = body {
            if let Some(Value::Object(own)) = fields.remove("metadata").as_mut().and_then(|meta| meta.get_mut("labels"))
            {
                labels.append(own);
            }
            object.fields.extend(fields);
        }
        let meta = object.meta_mut();
        let place = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        meta.insert("uid".to_owned(), Value::from(uid(&kind.storage_resource, &place)));
        if !namespace.is_empty() {
            meta.insert("namespace".to_owned(), Value::from(namespace));
        }
        meta.insert("creationTimestamp".to_owned(), Value::from(since.to_string()));
        if types.group() == RBAC {
            labels.insert("kubernetes.io/bootstrapping".to_owned(), Value::from("rbac-defaults"));
            meta.insert("labels".to_owned(), Value::Object(labels));
            meta.insert("annotations".to_owned(), json!({"rbac.authorization.kubernetes.io/autoupdate": "true"}));
        }
        if matches!(types.group(), FLOWS | "scheduling.k8s.io") {
            meta.insert("generation".to_owned(), Value::from(1));
        }
        if types.group() == FLOWS {
            meta.insert("annotations".to_owned(), json!({"apf.kubernetes.io/autoupdate-spec": "true"}));
        }
        if let Ok(encoded) = kind.encode(&object) {
            self.objects.entry(kind.storage_resource.clone()).or_default().insert((namespace, name), encoded);
        }
    }

    /// A shared object, as the tenant of the key sees it.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Stored> {
        let (tenant, namespace, name) = key.path.parts();
        if tenant.is_empty() {
            return None;
        }
        let object = self.objects.get(&key.resource)?.get(&(namespace, name))?.clone();
        Some(Stored { path: key.path.clone(), revision: Revision(1), object })
    }

    /// The shared objects that a selection within one tenant sees beside what the tenant has of its own.
    pub(crate) fn selected(&self, selection: &Selection, at: &Snapshot) -> Vec<Stored> {
        let Some(objects) = self.objects.get(&selection.resource) else { return Vec::new() };
        let (Within::Tenant(tenant) | Within::Namespace(tenant, _)) = &selection.within else { return Vec::new() };
        objects
            .iter()
            .map(|((namespace, name), object)| {
                let path = ObjectPath::new(tenant.as_str(), namespace, name);
                Stored { path, revision: Revision(1), object: object.clone() }
            })
            .filter(|stored| selection.matches(&stored.path, &stored.object))
            .filter(|stored| {
                at.get(&ObjectKey { resource: selection.resource.clone(), path: stored.path.clone() }).is_none()
            })
            .collect()
    }
}

/// A uid that is the same in every process.
fn uid(resource: &GroupResource, name: &str) -> String {
    let digest = Sha256::digest(format!("arktos/{resource}/{name}").as_bytes());
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-5{}-8{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..32])
}
