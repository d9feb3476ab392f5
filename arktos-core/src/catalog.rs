//! Which kinds there are: names, verbs, subresources, table columns, selectable fields and schemas.
//!
//! Built-in kinds come from the data files, the project's own kinds (tenants, claims) from one more; a custom
//! resource's [`Kind`] is made at run time.

mod builtin;
mod kind;
mod old;
mod own;
mod written;

use std::collections::HashMap;
use std::sync::Arc;

use crate::kind::{GroupResource, TypeMeta};
use crate::schema::Schema;

pub use kind::{Column, Kind, SelectableField, Subresource};
pub use own::{InvalidSchema, KindExists};
pub use written::Written;

/// A set of kinds, in the order in which discovery shows them. Built once and never changed.
#[derive(Debug, Default)]
pub struct Catalog {
    groups: Vec<Group>,
    by_path: HashMap<(String, String, String), Arc<Kind>>,
    by_type: HashMap<TypeMeta, Arc<Kind>>,
    by_storage: HashMap<GroupResource, Arc<Kind>>,
}

/// A group of kinds.
#[derive(Debug)]
pub struct Group {
    /// The group's name; empty for the core group.
    pub name: String,
    /// Its versions, the preferred one first.
    pub versions: Vec<Version>,
}

/// A version of a group.
#[derive(Debug)]
pub struct Version {
    /// The version, such as `v1`.
    pub name: String,
    /// Its kinds, in discovery order.
    pub kinds: Vec<Arc<Kind>>,
}

impl Catalog {
    /// The built-in kinds: made once, shared by all.
    #[must_use]
    pub fn builtin() -> Arc<Self> {
        builtin::catalog()
    }

    /// A catalog of these kinds. Groups and versions stand in the order in which they first appear.
    #[must_use]
    pub fn new(kinds: impl IntoIterator<Item = Arc<Kind>>) -> Self {
        let mut catalog = Self::default();
        for kind in kinds {
            catalog.add(kind);
        }
        catalog
    }

    fn add(&mut self, kind: Arc<Kind>) {
        let path = (kind.group.clone(), kind.version.clone(), kind.resource.clone());
        self.by_path.insert(path, kind.clone());
        self.by_type.entry((*kind.type_meta).clone()).or_insert_with(|| kind.clone());
        if kind.storage {
            self.by_storage.insert(kind.storage_resource.clone(), kind.clone());
        }
        let group = match self.groups.iter().position(|group| group.name == kind.group) {
            Some(at) => &mut self.groups[at],
            None => {
                self.groups.push(Group { name: kind.group.clone(), versions: Vec::new() });
                self.groups.last_mut().expect("pushed right above")
            }
        };
        match group.versions.iter_mut().find(|version| version.name == kind.version) {
            Some(version) => version.kinds.push(kind),
            None => group.versions.push(Version { name: kind.version.clone(), kinds: vec![kind] }),
        }
    }

    /// The groups, in discovery order; the core group, whose name is empty, comes first.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// A group by name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// All kinds, in discovery order.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.groups.iter().flat_map(|group| &group.versions).flat_map(|version| &version.kinds)
    }

    /// The kind that a path names.
    #[must_use]
    pub fn by_path(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Kind>> {
        let versions = &self.group(group)?.versions;
        let kinds = &versions.iter().find(|known| known.name == version)?.kinds;
        kinds.iter().find(|kind| kind.resource == resource).cloned()
    }

    /// The kind of a type.
    #[must_use]
    pub fn by_type(&self, type_meta: &TypeMeta) -> Option<Arc<Kind>> {
        self.by_type.get(type_meta).cloned()
    }

    /// The kind whose version objects of a resource are stored in.
    #[must_use]
    pub fn storage(&self, resource: &GroupResource) -> Option<Arc<Kind>> {
        self.by_storage.get(resource).cloned()
    }

    /// The schema of any type the catalog knows, those of subresources (`autoscaling/v1` `Scale`) included.
    #[must_use]
    pub fn schema(&self, type_meta: &TypeMeta) -> Option<Schema> {
        match self.by_type.get(type_meta) {
            Some(kind) => Some(kind.schema.clone()),
            None => crate::schema::builtin_type(type_meta),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Scope;
    use crate::object::Object;
    use serde_json::json;

    #[test]
    fn every_kind_has_a_schema_and_a_storage_form() {
        let catalog = Catalog::builtin();
        assert!(catalog.kinds().count() > 70);
        for kind in catalog.kinds() {
            let name = &kind.group_resource;
            assert!(kind.schema.as_struct().is_some_and(|object| object.field("metadata").is_some()), "{name}");
            let stored = catalog.storage(&kind.storage_resource).expect("a storage form");
            assert_eq!(stored.storage_resource, kind.storage_resource);
            assert_eq!(stored.resource, kind.resource, "rules about a resource find it by its name in any version");
            assert!(kind.subresources.iter().all(|part| catalog.schema(&part.kind).is_some() || part.name != "scale"));
        }
    }

    #[test]
    fn kinds_live_where_they_belong() {
        let catalog = Catalog::builtin();
        let scope = |group: &str, version: &str, resource: &str| {
            catalog.by_path(group, version, resource).map(|kind| kind.scope)
        };
        assert_eq!(scope("", "v1", "nodes"), Some(Scope::Region));
        assert_eq!(scope("", "v1", "tenants"), Some(Scope::Region));
        assert_eq!(scope("region.arktos.io", "v1", "claims"), Some(Scope::Region));
        assert_eq!(scope("", "v1", "namespaces"), Some(Scope::Tenant));
        assert_eq!(scope("apps", "v1", "deployments"), Some(Scope::Namespace));
        assert_eq!(scope("apps", "v2", "deployments"), None);
    }

    #[test]
    fn the_two_faces_of_events_share_their_selectable_values() {
        let catalog = Catalog::builtin();
        let core = catalog.by_path("", "v1", "events").expect("core events");
        let newer = catalog.by_path("events.k8s.io", "v1", "events").expect("newer events");
        assert_eq!(core.field("involvedObject.name"), newer.field("regarding.name"));
        assert_eq!(core.field("reportingComponent"), newer.field("reportingController"));
        assert_eq!(newer.field("source"), None);
        assert_eq!(newer.storage_resource, GroupResource::core("events"));
    }

    #[test]
    fn absent_fields_can_be_selected_by_their_default() {
        let pods = Catalog::builtin().by_path("", "v1", "pods").expect("pods");
        let pod = Object::from_value(json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}})).expect("an object");
        let encoded = pods.encode(&pod).expect("encodes");
        let value = |field: &str| encoded.header().field(pods.field(field).expect("a field"));
        assert_eq!((value("spec.nodeName"), value("spec.hostNetwork"), value("status.phase")), ("n", "false", ""));
    }
}
