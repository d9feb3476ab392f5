//! Conflicts, as clients are told of them.

use std::collections::BTreeMap;

use super::managers::Manager;
use crate::fields::{FieldPath, FieldSet};
use crate::status::{Reason, Status, StatusCause, StatusDetails};

/// What an apply would take from whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Conflicts(pub(super) BTreeMap<Manager, FieldSet>);

impl Conflicts {
    /// The conflicts that are left when the fields of a set may be taken.
    pub(super) fn beyond(&self, allowed: &FieldSet) -> Self {
        let left = self.0.iter().map(|(manager, set)| (manager.clone(), set.clone().difference(allowed)));
        Self(left.filter(|(_, set)| !set.is_empty()).collect())
    }

    /// The refusal: 409.
    pub(super) fn refusal(&self) -> Status {
        // As upstream sorts them: those that apply before those that update.
        let mut all: Vec<(&Manager, &FieldSet)> = self.0.iter().collect();
        all.sort_by_key(|(manager, _)| (&manager.name, !manager.applies, &manager.api_version, &manager.subresource));
        let paths: Vec<(String, FieldPath)> =
            all.iter().flat_map(|(manager, set)| set.paths().into_iter().map(|path| (manager.shown(), path))).collect();
        let message = match paths.as_slice() {
            [(manager, path)] => format!("Apply failed with 1 conflict: conflict with {manager}: {path}"),
            paths => {
                let by_manager: Vec<String> = all.iter().map(|(manager, set)| told(manager, set)).collect();
                format!("Apply failed with {} conflicts: {}", paths.len(), by_manager.join("\n"))
            }
        };
        let causes = paths.iter().map(|(manager, path)| StatusCause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {manager}"),
            field: path.to_string(),
        });
        Status::failure(Reason::Conflict, message)
            .with_details(StatusDetails { causes: causes.collect(), ..StatusDetails::default() })
    }
}

fn told(manager: &Manager, set: &FieldSet) -> String {
    let paths: Vec<String> = set.paths().iter().map(|path| format!("- {path}")).collect();
    format!("conflicts with {}:\n{}", manager.shown(), paths.join("\n"))
}
