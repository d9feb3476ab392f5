//! Reads: one pod, and all of them.

use std::time::Instant;

use bytes::Bytes;
use http::Method;

use crate::client::{self, Marks, PODS, load};
use crate::report::{Found, Goal, Row, figure, median};
use crate::server::Server;
use crate::{Bench, MIB, Outcome, TENANT, process};

/// One pod again and again, then lists of all, one after another.
pub fn reads(bench: &Bench) -> Outcome<Found> {
    let scale = bench.scale;
    let (pods, gets, lists) = (scale.pick(50, 2000, 10_000), scale.pick(64, 5000, 100_000), scale.pick(2, 5, 30));
    let server = Server::start(&bench.directory, &[TENANT], "tenant,namespace")?;
    client::runtime()?.block_on(async {
        let mut found = Found::default();
        client::fill(&server, 0, pods).await?;
        let read =
            load(&server, gets, move |number| (Method::GET, format!("{PODS}/p-{}", number % pods), Bytes::new()));
        let marks = Marks { goal: Some((15_000.0, 25.0)), peer: Some((3_260.0, 570.0)) };
        found.rows.extend(read.await?.rows("get a pod", &marks));
        let mut client = client::connect(&server).await?;
        let (mut times, mut bytes) = (Vec::new(), 0);
        let (cpu, own) = (server.cpu(), process::cpu());
        for _ in 0..lists {
            let begun = Instant::now();
            bytes = client.ask(Method::GET, PODS, Bytes::new()).await?.len();
            times.push(begun.elapsed().as_secs_f64());
        }
        let of_one = |spent: f64| figure(spent / f64::from(lists) * 1e3, "ms");
        let what = format!("list of {pods} pods ({:.1} MiB), the server's CPU", bytes as f64 / MIB);
        found.rows.push(Row::of(what, of_one(server.cpu() - cpu)).goal(Goal::AtMost(20.0)));
        found.rows.push(Row::of("  the load's own CPU", of_one(process::cpu() - own)));
        let clock = Row::of("  by the clock, one after another", figure(median(times) * 1e3, "ms"));
        found.rows.push(clock.peer(Some(figure(229.0, "ms"))));
        Ok(found)
    })
}
