//! Objects as rows of tables.

use std::borrow::Cow;

use arktos_store::Stored;

use super::View;
use crate::negotiate::MetaVersion;
use crate::table::{Include, Table};

impl View {
    /// What rows carry of their objects.
    pub(super) fn included(&self) -> Include {
        self.include.as_ref().copied().unwrap_or_default()
    }

    /// The object as its table sees it: columns of custom kinds are those of a version, and see defaults.
    pub(super) fn tabled<'a>(&self, stored: &'a Stored) -> Cow<'a, Stored> {
        match self.converted(stored).filter(|_| !self.kind.builtin) {
            Some(shown) => Cow::Owned(shown),
            None if self.included() == Include::Metadata => self.for_metadata(stored),
            None => Cow::Borrowed(stored),
        }
    }

    /// What writes the table.
    pub(super) fn table(&self, version: MetaVersion) -> Table {
        let table = Table::new(&self.kind, version, self.included(), self.dialect, self.clock.now());
        if self.names_tenant { table.of_all_tenants() } else { table }
    }
}
