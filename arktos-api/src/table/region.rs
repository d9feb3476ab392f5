//! The rows of the region's directory, and of what tenants may have of the region.

use std::collections::BTreeMap;

use super::row::{Cells, Row, cells, plain, text};

pub fn member(row: &Row<'_>) -> Cells {
    let servers = row.list("/status/servers");
    let last = servers.iter().enumerate().max_by_key(|(_, server)| text(server, "/heartbeatTime"));
    let heard = row.since(&format!("/status/servers/{}/heartbeatTime", last.map_or(0, |(at, _)| at)));
    cells![row.name(), row.text("/spec/phase"), servers.len(), heard, row.age()]
}

pub fn placement(row: &Row<'_>) -> Cells {
    cells![row.name(), row.text("/spec/partition"), row.age()]
}

/// Of a rate only the limit is known.
pub fn quota(row: &Row<'_>) -> Cells {
    let used = row.map("/status/used");
    let hard: BTreeMap<_, _> = row.map("/status/hard").into_iter().flatten().collect();
    let mut amounts = Vec::new();
    for (resource, limit) in hard {
        amounts.push(match used.and_then(|used| used.get(resource)) {
            Some(used) => format!("{resource}: {}/{}", plain(used), plain(limit)),
            None => format!("{resource}: {}", plain(limit)),
        });
    }
    cells![row.name(), amounts.join(", "), row.age()]
}
