//! Which objects a reader means, and what a watcher of them is told.

use std::sync::Arc;

use arktos_core::{Encoded, GroupResource, LabelSelector, ObjectPath, Revision, TenantName};

/// An object as the store has it: where it is, what it is, and since which revision. Cloning it shares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Tenant, namespace and name.
    pub path: ObjectPath,
    /// The revision of the write that made it so; for a deleted object, the revision of the deletion.
    pub revision: Revision,
    /// The object.
    pub object: Encoded,
}

/// The part of a resource's objects that a reader looks at: a contiguous range of paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Within {
    /// All of them, in every tenant and in none.
    Everywhere,
    /// Those of one tenant, in every namespace and in none.
    Tenant(TenantName),
    /// Those of one namespace of one tenant.
    Namespace(TenantName, String),
    /// One object, there or not.
    Object(ObjectPath),
}

/// What a list or a watch selects.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// The resource.
    pub resource: GroupResource,
    /// The range of paths.
    pub within: Within,
    /// What must hold for the labels.
    pub labels: LabelSelector,
    /// What must hold for fields; all of it.
    pub fields: Vec<FieldTest>,
}

/// A condition on one field, resolved to where the field is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldTest {
    /// Where the field is kept.
    pub field: Field,
    /// The value it is compared with.
    pub value: String,
    /// Whether it must be equal, or must not.
    pub equal: bool,
}

/// Where a selectable field is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// In the path: `metadata.name`.
    Name,
    /// In the path: `metadata.namespace`.
    Namespace,
    /// At this place in the header's `fields`.
    At(usize),
}

/// What a cursor hands its watcher. Revisions never fall, and an object's events come in the order of its writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// The object is new to the selection.
    Added(Arc<Stored>),
    /// The object was and is in the selection.
    Modified(Arc<Stored>),
    /// The object has left the selection, by deletion or by a change; as it last was inside, at the revision of that
    /// change.
    Deleted(Arc<Stored>),
    /// Everything up to this revision has been delivered.
    Bookmark(Revision),
}

/// Why a cursor ends. It never skips.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Its place has left the window of history that is kept: the watcher must list anew.
    #[error("too old resource version: {wanted} ({oldest})")]
    Compacted {
        /// The revision the watcher stood at.
        wanted: Revision,
        /// The oldest revision from which a watch can still go on.
        oldest: Revision,
    },
    /// The revision is yet to come.
    #[error("too large resource version: {wanted}, current: {newest}")]
    Future {
        /// The revision that was asked for.
        wanted: Revision,
        /// The newest there is.
        newest: Revision,
    },
    /// The engine was stopped.
    #[error("the store is closed")]
    Closed,
    /// A store that is shared with other processes does not answer.
    #[error("the store cannot be reached: {0}")]
    Unreachable(Arc<str>),
    /// An event's link to its predecessor did not fit: a bug, reported rather than hidden.
    #[error("history is broken after revision {after}: this is a bug")]
    Broken {
        /// The last revision that was delivered whole.
        after: Revision,
    },
}

impl Selection {
    /// All objects of a resource within a range of paths.
    #[must_use]
    pub fn all(resource: GroupResource, within: Within) -> Self {
        Self { resource, within, labels: LabelSelector::everything(), fields: Vec::new() }
    }

    /// The same, of objects whose labels a selector matches, in place of the selector before.
    #[must_use]
    pub fn labels(mut self, labels: LabelSelector) -> Self {
        self.labels = labels;
        self
    }

    /// The same, of objects for which one more condition holds.
    #[must_use]
    pub fn field(mut self, test: FieldTest) -> Self {
        self.fields.push(test);
        self
    }

    /// Whether an object at a path is selected.
    #[must_use]
    pub fn matches(&self, path: &ObjectPath, object: &Encoded) -> bool {
        self.within.contains(path) && self.chooses(path, object)
    }

    /// Whether one within the range of paths is selected.
    pub(crate) fn chooses(&self, path: &ObjectPath, object: &Encoded) -> bool {
        self.labels.matches_header(object.header()) && self.fields.iter().all(|test| test.holds(path, object))
    }

    /// Whether everything within the range of paths is selected.
    #[must_use]
    pub fn is_unfiltered(&self) -> bool {
        self.labels.is_everything() && self.fields.is_empty()
    }
}

impl FieldTest {
    /// Whether it holds for an object at a path.
    #[must_use]
    pub fn holds(&self, path: &ObjectPath, object: &Encoded) -> bool {
        let found = match self.field {
            Field::Name => path.name(),
            Field::Namespace => path.namespace(),
            Field::At(place) => object.header().field(place),
        };
        (found == self.value) == self.equal
    }
}

/// What follows the first part of a path, where that is `part`.
fn after<'a>(path: &'a str, part: &str) -> Option<&'a str> {
    path.strip_prefix(part)?.strip_prefix('/')
}

impl Within {
    /// Whether a path is in the range.
    #[must_use]
    pub fn contains(&self, path: &ObjectPath) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Tenant(tenant) => after(path.as_str(), tenant.as_str()).is_some(),
            Self::Namespace(tenant, namespace) => {
                after(path.as_str(), tenant.as_str()).is_some_and(|rest| after(rest, namespace).is_some())
            }
            Self::Object(object) => path == object,
        }
    }

    /// The string with which all paths of the range, and no others, begin; for one object, its whole path.
    #[must_use]
    pub fn prefix(&self) -> String {
        match self {
            Self::Everywhere => String::new(),
            Self::Tenant(tenant) => format!("{tenant}/"),
            Self::Namespace(tenant, namespace) => format!("{tenant}/{namespace}/"),
            Self::Object(path) => path.as_str().to_owned(),
        }
    }

    /// A path that no path of the range is before.
    pub(crate) fn first(&self) -> ObjectPath {
        match self {
            Self::Everywhere => ObjectPath::new("", "", ""), // none is before this one
            Self::Tenant(tenant) => ObjectPath::new(tenant.as_str(), "", ""),
            Self::Namespace(tenant, namespace) => ObjectPath::new(tenant.as_str(), namespace, ""),
            Self::Object(path) => path.clone(),
        }
    }

    /// The tenant it is confined to, if it is.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Everywhere => None,
            Self::Tenant(tenant) | Self::Namespace(tenant, _) => Some(tenant.as_str()),
            Self::Object(path) => Some(path.tenant()),
        }
    }
}

impl Delivery {
    /// The object, unless this is a bookmark.
    #[must_use]
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Added(stored) | Self::Modified(stored) | Self::Deleted(stored) => Some(stored),
            Self::Bookmark(_) => None,
        }
    }

    /// The revision it stands for.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Added(stored) | Self::Modified(stored) | Self::Deleted(stored) => stored.revision,
            Self::Bookmark(revision) => *revision,
        }
    }
}
