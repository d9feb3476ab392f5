//! Watches: hundreds that all see everything, and thousands that see nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;

use crate::client::{self, Client, PODS, pod};
use crate::report::{Found, Goal, Row, figure, percentile};
use crate::server::Server;
use crate::{Bench, Outcome, TENANT, process};

/// How many watches one connection has.
const ON_ONE: usize = 100;

/// What watchers have seen, all together.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    /// How long after a pod was sent events of it came, in seconds.
    late: Mutex<Vec<f64>>,
}

/// The number that a pod's name ends with, wherever an event has it first.
fn number_in(event: &[u8]) -> Option<usize> {
    let at = event.windows(10).position(|part| part == b"\"name\":\"p-")? + 10;
    let digits = event[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&event[at..at + digits]).ok()?.parse().ok()
}

async fn watch(mut client: Client, path: &str, seen: Arc<Seen>, sent: Arc<Mutex<Vec<Instant>>>) -> Outcome<()> {
    let mut body = client.open(Method::GET, path, Bytes::new()).await?.into_body();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { continue };
            // An event is a line; at a pace, a frame is one.
            let count = data.iter().filter(|byte| **byte == b'\n').count() as u64;
            let sent = sent.lock().ok().filter(|sent| !sent.is_empty());
            if let Some(sent) = sent.and_then(|sent| sent.get(number_in(data)?).copied())
                && let Ok(mut late) = seen.late.lock()
            {
                late.push(sent.elapsed().as_secs_f64());
            }
            seen.events.fetch_add(count, Ordering::Relaxed);
        }
    });
    Ok(())
}

async fn all_seen(seen: &Seen, events: u64) -> Outcome<()> {
    let begun = Instant::now();
    while seen.events.load(Ordering::Relaxed) < events {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("{} of {events} events came", seen.events.load(Ordering::Relaxed)).into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Watchers that see every pod that is created: at a pace, for latency; then as fast as it goes, for what an event
/// costs.
pub fn watches(bench: &Bench) -> Outcome<Found> {
    let scale = bench.scale;
    let (watchers, burst, paced) = (scale.pick(10, 100, 500), scale.pick(5, 200, 2000), scale.pick(3, 40, 200));
    let server = Server::start(&bench.directory, &[TENANT], "tenant,namespace")?;
    client::runtime()?.block_on(async {
        let (seen, sent): (Arc<Seen>, Arc<Mutex<Vec<Instant>>>) = Default::default();
        watch_many(&server, watchers, &format!("{PODS}?watch=1"), &seen, &sent).await?;
        let mut writer = client::connect(&server).await?;
        let (cpu, begun) = (server.cpu(), Instant::now());
        for number in 0..paced {
            sent.lock().map_err(|_| "poisoned")?.push(Instant::now());
            writer.ask(Method::POST, PODS, pod(&format!("p-{number}"))).await?;
            tokio::time::sleep_until((begun + Duration::from_millis(50) * (number as u32 + 1)).into()).await;
        }
        let total = (watchers * paced) as u64;
        all_seen(&seen, total).await?;
        let paced_cpu = (server.cpu() - cpu) / total as f64;
        let mut late = std::mem::take(&mut *seen.late.lock().map_err(|_| "poisoned")?);
        sent.lock().map_err(|_| "poisoned")?.clear();

        let (cpu, own, begun) = (server.cpu(), process::cpu(), Instant::now());
        let written = client::fill(&server, paced, burst).await?;
        all_seen(&seen, total + (watchers * burst) as u64).await?;
        let (events, took) = ((watchers * burst) as f64, begun.elapsed().as_secs_f64());
        let each = (server.cpu() - cpu) / events;
        let micro = |value: f64| figure(value * 1e6, "µs");
        let rows = vec![
            Row::of(format!("events to {watchers} watchers"), figure(events / took, "/s"))
                .goal(Goal::AtLeast(150_000.0))
                .peer(Some(figure(81_500.0, "/s"))),
            Row::of("  the server's CPU of an event, writes included", micro(each))
                .goal(Goal::AtMost(1.6))
                .peer(Some(figure(16.0, "µs"))),
            Row::of("  the load's own CPU of an event", micro((process::cpu() - own) / events)),
            Row::of("  creates meanwhile", figure(written.rate, "/s")),
            Row::of("  from sending to seeing at 20 creates/s, p99", figure(percentile(&mut late, 0.99) * 1e3, "ms"))
                .goal(Goal::AtMost(10.0))
                .peer(Some(figure(14.6, "ms"))),
            Row::of("  the same, p50", figure(percentile(&mut late, 0.5) * 1e3, "ms")),
            Row::of("  the server's CPU of an event then", micro(paced_cpu)),
        ];
        let notes = vec![
            format!(
                "{ON_ONE} watches on a connection; load and server share the cores, so the load's share limits the rate"
            ),
            "the peer's p99 at a pace is at 10 creates/s; at full speed it was 127 ms".to_owned(),
        ];
        Ok(Found { rows, notes })
    })
}

/// Watches of pods of a node that has none.
pub fn idle(bench: &Bench) -> Outcome<Found> {
    let idle = bench.scale.pick(20, 500, 5000);
    let server = Server::start(&bench.directory, &[TENANT], "tenant,namespace")?;
    client::runtime()?.block_on(async {
        let (seen, sent): (Arc<Seen>, Arc<Mutex<Vec<Instant>>>) = Default::default();
        let before = server.resident();
        let path = format!("{PODS}?watch=1&fieldSelector=spec.nodeName%3Dnobody&resourceVersion=0");
        watch_many(&server, idle, &path, &seen, &sent).await?;
        let each = figure((server.resident() - before) / idle as f64, "B");
        let row = Row::of(format!("memory of one of {idle} idle watches"), each).goal(Goal::AtMost(10.0 * 1024.0));
        let note = format!("{ON_ONE} watches on a connection; their share of the connection is in it");
        Ok(Found { rows: vec![row], notes: vec![note] })
    })
}

async fn watch_many(
    server: &Server,
    watchers: usize,
    path: &str,
    seen: &Arc<Seen>,
    sent: &Arc<Mutex<Vec<Instant>>>,
) -> Outcome<()> {
    let mut client = client::connect(server).await?;
    for number in 0..watchers {
        if number > 0 && number % ON_ONE == 0 {
            client = client::connect(server).await?;
        }
        watch(client.clone(), path, seen.clone(), sent.clone()).await?;
    }
    Ok(())
}
