//! What is still there after a restart.

use std::time::Duration;

use super::{
    Checked, Fault, Keeps, Kit, delete, deliveries, ensure, everything, expect, key, listing, object, put, revision,
};
use crate::clock::Clock;
use crate::commit::{Change, Commit, CounterChange, Expect};
use crate::engine::Engine;
use crate::select::WatchError;

/// What was written before the restart.
struct Before {
    middle: arktos_core::Revision,
    last: arktos_core::Revision,
    listing: Vec<String>,
    rest: Vec<String>,
}

pub(super) async fn check(kit: &Kit<'_>, at: &str, in_order: bool) -> Checked {
    let opened = kit.open().await?;
    let engine = opened.engine.clone();
    let before = opened
        .run(async {
            let before = write(kit, &engine, at).await;
            if in_order {
                engine.close().await;
            }
            before
        })
        .await?;
    drop(engine);
    let opened = kit.open().await?;
    let engine = opened.engine.clone();
    opened
        .run(async {
            let checked = read(kit, &engine, at, &before).await;
            engine.close().await;
            checked
        })
        .await
}

async fn write(kit: &Kit<'_>, engine: &Engine, at: &str) -> Result<Before, Fault> {
    for name in ["a", "b", "c"] {
        engine.commit(put(at, name, Expect::Absent, "1")?).await?;
    }
    let middle = revision(&engine.commit(put(at, "a", Expect::Present, "2")?).await?)?;
    engine.commit(delete(at, "b", Expect::Present)).await?;
    let expires = Some(kit.clock.now().later(Duration::from_secs(10)));
    let change = Change::Put { object: object("expiring", "1", false)?, expires };
    engine.commit(Commit::one(key(at, "expiring"), Expect::Absent, change)).await?;
    let counter = |name: &str, delta| CounterChange { counter: format!("{at}/{name}").into(), delta, limit: None };
    let counters = vec![counter("kept", 7), counter("gone", 1)];
    engine.commit(Commit { counters, ..Commit::default() }).await?;
    engine.commit(Commit { counters: vec![counter("gone", -1)], ..Commit::default() }).await?;
    let last = revision(&engine.commit(put(at, "c", Expect::Present, "2")?).await?)?;
    let rest = deliveries(engine, &mut engine.watch(everything(at), middle)?).await?;
    Ok(Before { middle, last, listing: listing(engine, at)?, rest })
}

async fn read(kit: &Kit<'_>, engine: &Engine, at: &str, before: &Before) -> Checked {
    expect("the objects", listing(engine, at)?, before.listing.clone())?;
    expect("a counter", engine.counter(&format!("{at}/kept")), 7)?;
    expect("a counter that went back to zero", engine.counter(&format!("{at}/gone")), 0)?;
    ensure!(engine.snapshot().revision() >= before.last, "{} after {}", engine.snapshot().revision(), before.last);
    match (kit.backend.keeps(), engine.watch(everything(at), before.middle)) {
        (Keeps::History, Ok(mut cursor)) => {
            expect("a watch that goes on", deliveries(engine, &mut cursor).await?, before.rest.clone())?;
        }
        (Keeps::State, Err(WatchError::Compacted { .. })) => {}
        (_, outcome) => return Err(Fault(format!("a watch from before the restart: {:?}", outcome.err()))),
    }
    let mut cursor = engine.watch(everything(at), engine.snapshot().revision())?;
    let next = revision(&engine.commit(put(at, "a", Expect::Present, "3")?).await?)?;
    ensure!(next > before.last, "{next} after {}", before.last);
    expect("a watch of what comes", deliveries(engine, &mut cursor).await?, vec![format!("~a=3@{next}")])?;
    kit.clock.advance(Duration::from_secs(10));
    engine.expire(kit.clock.now()).await?;
    ensure!(engine.snapshot().get(&key(at, "expiring")).is_none(), "what was to expire is still there");
    Ok(())
}
