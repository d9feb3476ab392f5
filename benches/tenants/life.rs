//! Tenants made, resident, and deleted, by a region with all its controllers in one process.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::part::child;
use crate::report::{Found, Goal, Row, figure};
use crate::{Bench, Outcome, plane, process, progress};

pub fn life(bench: &Bench) -> Outcome<Found> {
    let (resident, deleted, wait): (usize, usize, u64) =
        bench.scale.pick((20, 10, 0), (2000, 1000, 0), (100_000, 10_000, HISTORY));
    let found = child(&["life", &resident.to_string(), &deleted.to_string(), &wait.to_string()])?;
    let of = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
    let rows = vec![
        Row::of("an idle tenant, all that the process grows by", figure(of("bytes_each"), "B"))
            .goal(Goal::AtMost(8192.0)),
        Row::of(format!("{resident} tenants resident, the whole process"), figure(of("resident"), "B"))
            .goal(Goal::AtMost(1024.0 * 1024.0 * 1024.0)),
        Row::of("tenants made, each ready to be used", figure(of("made_each_second"), "/s")).goal(Goal::AtLeast(500.0)),
        Row::of("  CPU of a tenant", figure(of("cpu_each") * 1e6, "µs")),
        Row::of(format!("{deleted} tenants deleted, until the last is gone"), figure(of("deleting"), "s"))
            .goal(Goal::AtMost(30.0)),
        Row::of("  memory then, beside before they were made", figure(of("after"), "B"))
            .limit(figure(of("before"), "B")),
        Row::of(format!("  memory {wait} s later, beside before they were made"), figure(of("later"), "B"))
            .limit(figure(of("before"), "B"))
            .goal(Goal::TimesAtMost(1.1)),
    ];
    let notes = vec![
        "a tenant has three namespaces with a service account each, the admin's role and binding".to_owned(),
        "memory is resident memory, the history of all that was done and the controllers' copies included".to_owned(),
        "the store is in memory; those that are deleted were made last, beside those that stay".to_owned(),
    ];
    Ok(Found { rows, notes })
}

/// In so many seconds, history has ended of all that was done before.
const HISTORY: u64 = 330;

/// How many tenants, how many more are then made and deleted, and for how many seconds it then does nothing.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [resident, deleted, wait] = arguments else { return Err("life RESIDENT DELETED WAIT".into()) };
    let (resident, deleted, wait): (usize, usize, u64) = (resident.parse()?, deleted.parse()?, wait.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (region, client) = plane::start().await?;
        let (empty, cpu, begun) = (process::resident(), process::cpu(), Instant::now());
        plane::make(&client, 0..resident).await?;
        let (making, cpu) = (begun.elapsed().as_secs_f64(), process::cpu() - cpu);
        let full = process::resident();
        progress(format!("{resident} tenants made in {making:.1} s"));
        plane::make(&client, resident..resident + deleted).await?;
        let begun = Instant::now();
        plane::delete(&client, resident..resident + deleted).await?;
        let deleting = begun.elapsed().as_secs_f64();
        progress(format!("{deleted} tenants deleted in {deleting:.1} s"));
        let after = process::resident();
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let later = process::resident();
        region.stop().await;
        Ok(json!({
            "bytes_each": (full - empty) / resident as f64, "resident": full,
            "made_each_second": resident as f64 / making,
            "cpu_each": cpu / resident as f64, "deleting": deleting, "before": full, "after": after, "later": later,
        }))
    })
}
