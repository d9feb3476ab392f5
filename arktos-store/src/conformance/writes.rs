//! Commits: expectations, guards, counters, expiry.

use std::time::Duration;

use arktos_core::Revision;

use super::{Checked, Fault, delete, ensure, expect, key, listing, object, put, revision, value};
use crate::clock::{Clock, ManualClock};
use crate::commit::{Change, Commit, CommitError, CounterChange, Expect, Write};
use crate::engine::Engine;
use crate::select::Stored;

/// What a refused write was told it found: the object's revision, if it was there.
async fn refused(engine: &Engine, commit: Commit) -> Result<Option<Stored>, Fault> {
    let wanted = commit.writes.first().map(|write| write.key.clone());
    match engine.commit(commit).await {
        Err(CommitError::Conflict { key, found }) if Some(&key) == wanted.as_ref() => Ok(found),
        other => Err(Fault(format!("a conflict about {wanted:?} was expected, and not {other:?}"))),
    }
}

pub(super) async fn check(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "writes";
    let created = revision(&engine.commit(put(AT, "a", Expect::Absent, "1")?).await?)?;
    let found = refused(&engine, put(AT, "a", Expect::Absent, "2")?).await?;
    ensure!(found.as_ref().is_some_and(|it| it.revision == created), "found {found:?} at {created}");
    let updated = revision(&engine.commit(put(AT, "a", Expect::At(created), "3")?).await?)?;
    ensure!(updated > created, "{updated} after {created}");
    let found = refused(&engine, put(AT, "a", Expect::At(created), "4")?).await?;
    ensure!(found.is_some_and(|it| it.revision == updated), "the newest was not found");
    ensure!(refused(&engine, put(AT, "b", Expect::Present, "1")?).await?.is_none(), "b is not there");
    ensure!(refused(&engine, put(AT, "b", Expect::At(updated), "1")?).await?.is_none(), "b is not there");
    ensure!(refused(&engine, delete(AT, "b", Expect::Live)).await?.is_none(), "b is not there");
    let marked = Change::put(object("a", "5", true)?);
    let marked = revision(&engine.commit(Commit::one(key(AT, "a"), Expect::Live, marked)).await?)?;
    let found = refused(&engine, put(AT, "a", Expect::Live, "6")?).await?;
    ensure!(found.is_some_and(|it| it.object.header().deletion().is_some()), "the mark is not in the header");
    expect("a", listing(&engine, AT)?, vec![format!("a=5@{marked}")])?;
    let deleted = revision(&engine.commit(delete(AT, "a", Expect::At(marked))).await?)?;
    ensure!(deleted > marked, "{deleted} after {marked}");
    expect("all is gone", listing(&engine, AT)?, vec![])?;
    engine.commit(delete(AT, "a", Expect::Anything)).await?;
    expect("nothing was there to delete", listing(&engine, AT)?, vec![])?;
    ensure!(refused(&engine, delete(AT, "a", Expect::Present)).await?.is_none(), "a is gone");
    let again = revision(&engine.commit(put(AT, "a", Expect::Absent, "7")?).await?)?;
    ensure!(again > deleted, "{again} after {deleted}");
    let revived = Change::put(object("a", "8", true)?);
    engine.commit(Commit::one(key(AT, "a"), Expect::Anything, revived)).await?;
    engine.commit(put(AT, "a", Expect::Anything, "9")?).await?;
    let live = revision(&engine.commit(put(AT, "a", Expect::Live, "10")?).await?)?;
    expect("a mark that was taken away", listing(&engine, AT)?, vec![format!("a=10@{live}")])?;
    check_atomic(&engine).await
}

/// Several writes happen together, in order, or not at all.
async fn check_atomic(engine: &Engine) -> Checked {
    const AT: &str = "atomic";
    let write = |name: &str, expect, value: &str| -> Result<Write, Fault> {
        Ok(Write { key: key(AT, name), expect, change: Change::put(object(name, value, false)?) })
    };
    let writes =
        vec![write("c", Expect::Absent, "1")?, write("a", Expect::Absent, "1")?, write("b", Expect::Anything, "1")?];
    let committed = engine.commit(Commit { writes, ..Commit::default() }).await?;
    let [c, a, b] = committed.revisions.as_slice() else {
        return Err(Fault(format!("three writes, and these revisions: {committed:?}")));
    };
    ensure!(c < a && a < b && *b == committed.revision, "{committed:?}");
    let before = vec![format!("a=1@{a}"), format!("b=1@{b}"), format!("c=1@{c}")];
    expect("three objects", listing(engine, AT)?, before.clone())?;
    let gone = Write { key: key(AT, "b"), expect: Expect::Present, change: Change::Delete };
    let writes = vec![write("a", Expect::Present, "2")?, gone, write("c", Expect::Absent, "2")?];
    let outcome = engine.commit(Commit { writes, ..Commit::default() }).await;
    ensure!(
        matches!(&outcome, Err(CommitError::Conflict { key: found, .. }) if *found == key(AT, "c")),
        "c is there already: {outcome:?}"
    );
    expect("none of it has happened", listing(engine, AT)?, before)?;
    let gone = Write { key: key(AT, "b"), expect: Expect::Present, change: Change::Delete };
    let nothing = Write { key: key(AT, "never"), expect: Expect::Anything, change: Change::Delete };
    let writes = vec![write("a", Expect::Present, "2")?, nothing, gone, write("c", Expect::At(*c), "2")?];
    let committed = engine.commit(Commit { writes, ..Commit::default() }).await?;
    let [a, _, _, c] = committed.revisions.as_slice() else {
        return Err(Fault(format!("four writes, and these revisions: {committed:?}")));
    };
    expect("all of it has happened", listing(engine, AT)?, vec![format!("a=2@{a}"), format!("c=2@{c}")])
}

pub(super) async fn check_guards(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "guards";
    let guard = key(AT, "guard");
    let commit = |name: &str, expect| -> Result<Commit, Fault> {
        Ok(put(AT, name, Expect::Absent, "1")?.guarded(guard.clone(), expect))
    };
    engine.commit(commit("a", Expect::Absent)?).await?;
    for state in [Expect::Present, Expect::Live, Expect::At(Revision(1))] {
        let outcome = engine.commit(commit("b", state)?).await;
        ensure!(
            matches!(&outcome, Err(CommitError::Guarded { key, found: None }) if *key == guard),
            "guarded by {state}, and nothing is there: {outcome:?}"
        );
    }
    let at = revision(&engine.commit(put(AT, "guard", Expect::Absent, "1")?).await?)?;
    for (name, state) in [("b", Expect::Present), ("c", Expect::Live), ("d", Expect::At(at))] {
        engine.commit(commit(name, state)?).await?;
    }
    let outcome = engine.commit(commit("e", Expect::Absent)?).await;
    ensure!(
        matches!(&outcome, Err(CommitError::Guarded { found: Some(found), .. }) if found.revision == at),
        "guarded by absence, and it is there: {outcome:?}"
    );
    let marked = Change::put(object("guard", "2", true)?);
    engine.commit(Commit::one(guard.clone(), Expect::At(at), marked)).await?;
    for state in [Expect::Live, Expect::At(at)] {
        let outcome = engine.commit(commit("e", state)?).await;
        ensure!(matches!(outcome, Err(CommitError::Guarded { .. })), "guarded by {state}: {outcome:?}");
    }
    let names: Vec<String> =
        listing(&engine, AT)?.iter().filter_map(|it| Some(it.split_once('=')?.0.to_owned())).collect();
    expect("what was let through", names.join(" "), "a b c d guard".to_owned())?;
    let revision = engine.snapshot().revision();
    let only_guards = engine.commit(Commit::default().guarded(guard, Expect::Present)).await?;
    ensure!(only_guards.revisions.is_empty() && only_guards.revision >= revision, "{only_guards:?} after {revision}");
    Ok(())
}

pub(super) async fn check_counters(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "counters";
    let change = |delta, limit| CounterChange { counter: "conformance/x".into(), delta, limit };
    let commit = |changes: &[CounterChange]| Commit { counters: changes.to_vec(), ..Commit::default() };
    let value = || engine.counter("conformance/x");
    expect("a counter that nobody changed", value(), 0)?;
    engine.commit(commit(&[change(3, Some(5))])).await?;
    engine.commit(commit(&[change(2, Some(5))])).await?;
    expect("the counter", value(), 5)?;
    let outcome = engine.commit(commit(&[change(1, Some(5))])).await;
    ensure!(
        matches!(&outcome, Err(CommitError::Limit { value: 5, delta: 1, limit: Some(5), counter }) if **counter == *"conformance/x"),
        "over the limit: {outcome:?}"
    );
    engine.commit(commit(&[change(-1, Some(1)), change(2, None), change(-2, Some(0))])).await?;
    expect("several changes in one commit", value(), 4)?;
    let outcome = engine.commit(commit(&[change(-5, None)])).await;
    ensure!(matches!(outcome, Err(CommitError::Limit { value: 4, delta: -5, .. })), "below zero: {outcome:?}");
    let both = |name, delta| -> Result<Commit, Fault> {
        Ok(Commit { counters: vec![change(delta, Some(5))], ..put(AT, name, Expect::Absent, "1")? })
    };
    engine.commit(both("a", 1)?).await?;
    let outcome = engine.commit(both("b", 1)?).await;
    ensure!(matches!(outcome, Err(CommitError::Limit { .. })), "over the limit: {outcome:?}");
    let outcome = engine.commit(both("a", -1)?).await;
    ensure!(matches!(outcome, Err(CommitError::Conflict { .. })), "a is there: {outcome:?}");
    expect("the counter, all or nothing", value(), 5)?;
    expect("the objects, all or nothing", listing(&engine, AT)?.len(), 1)?;
    engine.commit(commit(&[change(-5, None)])).await?;
    expect("back to zero", value(), 0)?;
    engine.commit(commit(&[change(1, Some(1))])).await?;
    engine.commit(commit(&[change(-1, None)])).await?;
    expect("a counter may come and go", value(), 0)
}

pub(super) async fn check_expiry(engine: Engine, clock: ManualClock) -> Checked {
    const AT: &str = "expiry";
    let expiring = |name: &str, value: &str, after| -> Result<Commit, Fault> {
        let expires = Some(clock.now().later(Duration::from_secs(after)));
        let change = Change::Put { object: object(name, value, false)?, expires };
        Ok(Commit::one(key(AT, name), Expect::Anything, change))
    };
    engine.commit(expiring("soon", "1", 10)?).await?;
    engine.commit(expiring("later", "1", 100)?).await?;
    engine.commit(expiring("renewed", "1", 10)?).await?;
    engine.commit(expiring("renewed", "2", 100)?).await?;
    engine.commit(expiring("kept", "1", 10)?).await?;
    engine.commit(put(AT, "kept", Expect::Present, "2")?).await?;
    let names = || -> Result<String, Fault> {
        let names: Vec<String> =
            listing(&engine, AT)?.iter().filter_map(|it| Some(it.split_once('=')?.0.to_owned())).collect();
        Ok(names.join(" "))
    };
    engine.expire(clock.now()).await?;
    expect("nothing has expired", names()?, "kept later renewed soon".to_owned())?;
    clock.advance(Duration::from_secs(10));
    expect("how many have expired", engine.expire(clock.now()).await?, 1)?;
    expect("one has expired", names()?, "kept later renewed".to_owned())?;
    clock.advance(Duration::from_secs(1000));
    engine.expire(clock.now()).await?;
    expect("only what was to stay", names()?, "kept".to_owned())?;
    let kept = engine.snapshot().get(&key(AT, "kept"));
    expect("its value", kept.as_ref().map(value).transpose()?, Some("2".to_owned()))?;
    Ok(())
}
