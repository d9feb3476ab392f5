//! The rows of the region's directory.

use super::row::{Cells, Row, cells, text};

pub fn member(row: &Row<'_>) -> Cells {
    let servers = row.list("/status/servers");
    let last = servers.iter().enumerate().max_by_key(|(_, server)| text(server, "/heartbeatTime"));
    let heard = row.since(&format!("/status/servers/{}/heartbeatTime", last.map_or(0, |(at, _)| at)));
    cells![row.name(), row.text("/spec/phase"), servers.len(), heard, row.age()]
}

pub fn placement(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/spec/partition"), row.age()]
}
