//! Cursors: every change once, in order, from wherever they were opened.

use std::time::Duration;

use arktos_core::LabelSelector;

use super::{Checked, Fault, delete, deliveries, ensure, everything, expect, key, object, put, revision};
use crate::clock::{Clock, ManualClock};
use crate::commit::{Change, Commit, Expect, Write};
use crate::engine::Engine;
use crate::select::{Field, FieldTest, Selection, WatchError, Within};

pub(super) async fn check(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "watches";
    let mut cursor = engine.watch(everything(AT), engine.snapshot().revision())?;
    expect("nothing has happened", deliveries(&engine, &mut cursor).await?, vec![])?;
    let added = revision(&engine.commit(put(AT, "a", Expect::Absent, "1")?).await?)?;
    expect("an object is new", deliveries(&engine, &mut cursor).await?, vec![format!("+a=1@{added}")])?;
    let modified = revision(&engine.commit(put(AT, "a", Expect::Present, "2")?).await?)?;
    let _ = engine.commit(put(AT, "a", Expect::Absent, "refused")?).await;
    let deleted = revision(&engine.commit(delete(AT, "a", Expect::Present)).await?)?;
    engine.commit(delete(AT, "a", Expect::Anything)).await?;
    let again = revision(&engine.commit(put(AT, "a", Expect::Absent, "3")?).await?)?;
    let told = vec![format!("~a=2@{modified}"), format!("-a=2@{deleted}"), format!("+a=3@{again}")];
    expect("changes, a deletion, and a new object", deliveries(&engine, &mut cursor).await?, told)?;
    let write = |name: &str, change| Write { key: key(AT, name), expect: Expect::Anything, change };
    let writes = vec![
        write("z", Change::put(object("z", "1", false)?)),
        write("a", Change::Delete),
        write("never", Change::Delete),
        write("m", Change::put(object("m", "1", false)?)),
    ];
    let committed = engine.commit(Commit { writes, ..Commit::default() }).await?;
    let [z, a, _, m] = committed.revisions.as_slice() else {
        return Err(Fault(format!("four writes, and these revisions: {committed:?}")));
    };
    let told = vec![format!("+z=1@{z}"), format!("-a=3@{a}"), format!("+m=1@{m}")];
    expect("one commit, in the order of its writes", deliveries(&engine, &mut cursor).await?, told)?;
    ensure!(cursor.bookmark_now() >= committed.revision, "the cursor stands at {}", cursor.revision());
    Ok(())
}

pub(super) async fn check_selections(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "selections";
    let start = engine.snapshot().revision();
    let labels = LabelSelector::parse("value=in").map_err(|error| Fault(error.to_string()))?;
    let by_label = Selection { labels, ..everything(AT) };
    let test = FieldTest { field: Field::At(0), value: "in".to_owned(), equal: true };
    let by_field = Selection { fields: vec![test], ..everything(AT) };
    let by_name = Selection { within: Within::Object(key(AT, "b").path), ..everything(AT) };
    let mut cursors = Vec::new();
    for selection in [by_label, by_field, by_name] {
        cursors.push(engine.watch(selection, start)?);
    }
    let mut revisions = Vec::new();
    for (name, value) in [("a", "out"), ("a", "in"), ("a", "out"), ("b", "in")] {
        revisions.push(revision(&engine.commit(put(AT, name, Expect::Anything, value)?).await?)?);
    }
    let gone = revision(&engine.commit(delete(AT, "b", Expect::Present)).await?)?;
    let [_, into, out, b] = revisions.as_slice() else { return Err(Fault("four writes".to_owned())) };
    let moves = vec![format!("+a=in@{into}"), format!("-a=in@{out}"), format!("+b=in@{b}"), format!("-b=in@{gone}")];
    let only_b = vec![format!("+b=in@{b}"), format!("-b=in@{gone}")];
    for (cursor, told) in cursors.iter_mut().zip([moves.clone(), moves, only_b]) {
        expect("what enters and leaves a selection", deliveries(&engine, cursor).await?, told)?;
    }
    Ok(())
}

pub(super) async fn check_resuming(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "resuming";
    let start = engine.snapshot().revision();
    let mut revisions = vec![start];
    for round in 0..20 {
        let name = ["a", "b", "c"][round % 3];
        let commit = if round % 5 == 4 {
            delete(AT, name, Expect::Anything)
        } else {
            put(AT, name, Expect::Anything, &round.to_string())?
        };
        revisions.push(engine.commit(commit).await?.revision);
    }
    let all = deliveries(&engine, &mut engine.watch(everything(AT), start)?).await?;
    for after in revisions {
        let rest: Vec<String> = all.iter().filter(|line| written_at(line) > after.0).cloned().collect();
        expect("what came after", deliveries(&engine, &mut engine.watch(everything(AT), after)?).await?, rest)?;
    }
    Ok(())
}

fn written_at(line: &str) -> u64 {
    line.rsplit_once('@').and_then(|(_, revision)| revision.parse().ok()).unwrap_or(0)
}

pub(super) async fn check_compaction(engine: Engine, clock: ManualClock) -> Checked {
    const AT: &str = "compaction";
    let start = engine.snapshot().revision();
    let mut late = engine.watch(everything(AT), start)?;
    for value in ["1", "2", "3"] {
        engine.commit(put(AT, "old", Expect::Anything, value)?).await?;
    }
    clock.advance(Duration::from_secs(3600));
    let recent = revision(&engine.commit(put(AT, "new", Expect::Absent, "1")?).await?)?;
    engine.compact(clock.now()).await?;
    let outcome = engine.watch(everything(AT), start).err();
    let Some(WatchError::Compacted { wanted, oldest }) = outcome else {
        return Err(Fault(format!("a watch from before what is kept: {outcome:?}")));
    };
    ensure!(
        wanted == start && oldest > start && oldest < recent,
        "{wanted} wanted, {oldest} the oldest, {recent} recent"
    );
    expect(
        "the edge",
        deliveries(&engine, &mut engine.watch(everything(AT), oldest)?).await?,
        vec![format!("+new=1@{recent}")],
    )?;
    let outcome = engine.exactly_at(start).err();
    ensure!(matches!(outcome, Some(WatchError::Compacted { .. })), "a state from before what is kept: {outcome:?}");
    let outcome = late.try_next();
    ensure!(matches!(outcome, Err(WatchError::Compacted { .. })), "a cursor that was left behind: {outcome:?}");
    Ok(())
}
