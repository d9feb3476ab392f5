//! Starting, and what a process weighs: empty, and with 50,000 pods.

use std::thread;
use std::time::Duration;

use crate::client;
use crate::report::{Found, Goal, Row, figure, median};
use crate::server::Server;
use crate::{Bench, MIB, Outcome, TENANT};

/// A whole region in one process: all roles, all controllers, the scheduler.
pub fn start(bench: &Bench) -> Outcome<Found> {
    let (mut ready, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.pick(1, 3, 5) {
        let server = Server::start(&bench.directory, &[TENANT], "*")?;
        ready.push(server.ready);
        thread::sleep(Duration::from_millis(500));
        resident.push(server.resident());
    }
    let begun = Row::of("from starting the process until it serves", figure(median(ready) * 1e3, "ms"));
    let empty = Row::of("memory of a region without objects", figure(median(resident), "B"));
    let rows = vec![
        begun.goal(Goal::AtMost(100.0)).peer(Some(figure(2600.0, "ms"))),
        empty.goal(Goal::AtMost(25.0 * MIB)).peer(Some(figure(318.0 * MIB, "B"))),
    ];
    let notes =
        vec!["all roles, all controllers; the authority, its keys and the store are made in that time".to_owned()];
    Ok(Found { rows, notes })
}

/// Pods that nobody reads.
pub fn pods(bench: &Bench) -> Outcome<Found> {
    let pods = bench.scale.pick(100, 5000, 50_000);
    let server = Server::start(&bench.directory, &[TENANT], "tenant,namespace")?;
    client::runtime()?.block_on(client::fill(&server, 0, pods))?;
    thread::sleep(Duration::from_secs(1));
    let resident = Row::of(format!("memory at {pods} pods"), figure(server.resident(), "B"));
    let resident = resident.goal(Goal::AtMost(150.0 * MIB)).peer(Some(figure(1.6 * 1024.0 * MIB, "B")));
    Ok(Found { rows: vec![resident], notes: vec!["nothing but the creates has been asked of it".to_owned()] })
}
