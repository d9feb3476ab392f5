//! The kinds as Arktos's own clients know them: those are of Kubernetes 1.15, and ask for versions that are long gone.
//!
//! Each line of [`OLD`] is a version that such a client asks for, and the resources it had. They are the objects that
//! are there anyway: an old version is one more way to show them. Where its form differs from today's, which is said in
//! [`FORMS`], [`crate::rules::convert`] knows how.

use std::sync::Arc;

use super::Catalog;
use super::kind::{Column, Kind};
use crate::kind::{GroupResource, TypeMeta};
use crate::schema::{Field, Schema, Shape, Struct, StructRef};

/// Old versions, and what they have, by the names under which it is stored.
const OLD: [(&str, &str, &[&str]); 10] = [
    (
        "extensions",
        "v1beta1",
        &[
            "daemonsets.apps",
            "deployments.apps",
            "ingresses.networking.k8s.io",
            "networkpolicies.networking.k8s.io",
            "replicasets.apps",
        ],
    ),
    (
        "apps",
        "v1beta2",
        &["controllerrevisions.apps", "daemonsets.apps", "deployments.apps", "replicasets.apps", "statefulsets.apps"],
    ),
    ("apps", "v1beta1", &["controllerrevisions.apps", "deployments.apps", "statefulsets.apps"]),
    ("batch", "v1beta1", &["cronjobs.batch"]),
    ("networking.k8s.io", "v1beta1", &["ingresses.networking.k8s.io"]),
    ("policy", "v1beta1", &["poddisruptionbudgets.policy"]),
    (
        "rbac.authorization.k8s.io",
        "v1beta1",
        &[
            "clusterrolebindings.rbac.authorization.k8s.io",
            "clusterroles.rbac.authorization.k8s.io",
            "rolebindings.rbac.authorization.k8s.io",
            "roles.rbac.authorization.k8s.io",
        ],
    ),
    ("storage.k8s.io", "v1beta1", &["storageclasses.storage.k8s.io", "volumeattachments.storage.k8s.io"]),
    ("apiextensions.k8s.io", "v1beta1", &["customresourcedefinitions.apiextensions.k8s.io"]),
    ("scheduling.k8s.io", "v1beta1", &["priorityclasses.scheduling.k8s.io"]),
];

/// Resources whose old version has another form than today's, and the name of its type.
const FORMS: [(&str, &str); 2] = [
    ("ingresses.networking.k8s.io", "io.k8s.api.networking.v1beta1.Ingress"),
    (
        "customresourcedefinitions.apiextensions.k8s.io",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1beta1.CustomResourceDefinition",
    ),
];

/// Groups that such clients are to find before all others (but the core group), so that what they call `deployments`
/// is what they know by that name; and groups of which they want another version first.
const FIRST: [(&str, &str); 2] = [("extensions", "v1beta1"), ("autoscaling", "v1")];

impl Catalog {
    /// This catalog as Arktos's own clients know it: with the versions that they ask for, in the order in which they
    /// want to find them.
    #[must_use]
    pub fn with_old_versions(&self) -> Arc<Self> {
        let old: Vec<Arc<Kind>> = OLD
            .iter()
            .flat_map(|(group, version, resources)| {
                let stored = resources.iter().filter_map(|name| self.storage(&GroupResource::from((*name).to_owned())));
                stored.map(|kind| Arc::new(old_version(group, version, &kind)))
            })
            .collect();
        let today = || self.kinds().map(with_storage_column);
        let core = today().filter(|kind| kind.group.is_empty());
        let all: Vec<Arc<Kind>> = today().filter(|kind| !kind.group.is_empty()).chain(old).collect();
        let is_first = |kind: &&Arc<Kind>| FIRST.contains(&(&kind.group, &kind.version));
        let first = all.iter().filter(is_first).filter(|kind| kind.group == "extensions");
        let rest = all.iter().filter(|kind| kind.group != "extensions");
        // A version that is to be first is put where its group begins.
        let mut ordered: Vec<Arc<Kind>> = Vec::with_capacity(all.len());
        for kind in rest {
            let begins = !ordered.iter().any(|before| before.group == kind.group);
            if begins {
                ordered.extend(all.iter().filter(is_first).filter(|one| one.group == kind.group).cloned());
            }
            if !is_first(&kind) {
                ordered.push(kind.clone());
            }
        }
        Arc::new(Self::new(core.chain(first.cloned()).chain(ordered)))
    }
}

/// A kind in a version that it had once.
fn old_version(group: &str, version: &str, today: &Kind) -> Kind {
    let type_meta = TypeMeta::new(group, version, &today.kind);
    let mut kind = Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        group_resource: GroupResource::new(group, &today.resource),
        storage: false,
        ..today.clone()
    };
    for part in kind.subresources.iter_mut().filter(|part| part.kind == *today.type_meta) {
        part.kind = type_meta.clone();
    }
    if let Some((_, name)) = FORMS.iter().find(|(resource, _)| *resource == today.storage_resource.as_str())
        && let Some(schema) = today.schema.as_struct()
    {
        kind.schema = as_it_comes(name, schema);
    }
    kind.type_meta = Arc::new(type_meta);
    kind
}

/// A type whose `spec` and `status` are taken as they come: they are looked at in today's form.
fn as_it_comes(name: &str, today: &Struct) -> Schema {
    let fields = today.fields.iter().map(|field| match &*field.name {
        name @ ("spec" | "status") => Field::optional(name, Schema::of(Shape::Any)),
        _ => field.clone(),
    });
    Schema::of(Shape::Struct(StructRef::Own(Arc::new(Struct::new(name, fields.collect(), false)))))
}

/// Arktos shows of a tenant which store it is in.
fn with_storage_column(kind: &Arc<Kind>) -> Arc<Kind> {
    if kind.storage_resource.as_str() != "tenants" || kind.columns.is_empty() {
        return kind.clone();
    }
    let mut kind = Kind::clone(kind);
    let column = Column {
        name: "StorageId".to_owned(),
        type_name: "string".to_owned(),
        about: "the store that the tenant is in".to_owned(),
        format: String::new(),
        ..kind.columns[0].clone()
    };
    kind.columns.insert(1, column);
    Arc::new(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_find_what_they_know_first() {
        let catalog = Catalog::builtin().with_old_versions();
        let groups: Vec<&str> = catalog.groups().iter().map(|group| group.name.as_str()).collect();
        assert_eq!(groups[..2], ["", "extensions"]);
        let versions = |group: &str| -> Vec<String> {
            let group = catalog.group(group).expect("a group");
            group.versions.iter().map(|version| version.name.clone()).collect()
        };
        assert_eq!(versions("autoscaling"), ["v1", "v2"]);
        assert_eq!(versions("apps"), ["v1", "v1beta2", "v1beta1"]);
        assert_eq!(versions("apiextensions.k8s.io"), ["v1", "v1beta1"]);
    }

    #[test]
    fn nothing_of_today_is_lost_and_each_old_line_is_there() {
        let (today, catalog) = (Catalog::builtin(), Catalog::builtin().with_old_versions());
        for kind in today.kinds() {
            let found = catalog.by_path(&kind.group, &kind.version, &kind.resource).expect("a kind of today");
            assert_eq!(found.storage, kind.storage);
        }
        let lines: usize = OLD.iter().map(|(_, _, resources)| resources.len()).sum();
        assert_eq!(catalog.kinds().count(), today.kinds().count() + lines);
        let old = catalog.by_path("extensions", "v1beta1", "deployments").expect("an old kind");
        assert_eq!(old.storage_resource.as_str(), "deployments.apps");
        assert_eq!(old.group_resource.as_str(), "deployments.extensions");
        assert_eq!(old.subresource("status").map(|part| &part.kind), Some(&*old.type_meta));
        assert_eq!(catalog.storage(&old.storage_resource).map(|kind| kind.version.clone()), Some("v1".to_owned()));
    }
}
