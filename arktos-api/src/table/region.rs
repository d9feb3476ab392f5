//! The rows of the region's directory.

use super::row::{Cells, Row, cells};

pub fn member(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/spec/phase"), row.list("/status/servers").len(), row.age()]
}

pub fn placement(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/spec/partition"), row.age()]
}
