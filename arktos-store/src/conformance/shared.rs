//! Several engines over one store: each sees what the others do, in the same order, by the same revisions.

use super::{Checked, Kit, delete, deliveries, ensure, everything, expect, key, listing, put, revision, value};
use crate::commit::{Commit, CommitError, CounterChange, Expect};
use crate::engine::Engine;

pub(super) async fn check(kit: &Kit<'_>) -> Checked {
    let (one, two) = (kit.open().await?, kit.open().await?);
    let (first, second) = (one.engine.clone(), two.engine.clone());
    let checked = async {
        let checked = both(&first, &second).await;
        first.close().await;
        second.close().await;
        checked
    };
    one.run(two.run(checked)).await
}

async fn both(first: &Engine, second: &Engine) -> Checked {
    const AT: &str = "shared";
    let start = first.latest().await?.revision();
    let created = revision(&first.commit(put(AT, "a", Expect::Absent, "1")?).await?)?;
    let seen = second.latest().await?.get(&key(AT, "a"));
    ensure!(seen.as_ref().is_some_and(|it| it.revision == created), "the other sees {seen:?}, not {created}");
    let outcome = second.commit(put(AT, "a", Expect::Absent, "2")?).await;
    ensure!(
        matches!(&outcome, Err(CommitError::Conflict { found: Some(found), .. }) if found.revision == created),
        "it is there already: {outcome:?}"
    );
    second.commit(put(AT, "a", Expect::At(created), "2")?).await?;
    let outcome = first.commit(put(AT, "a", Expect::At(created), "3")?).await;
    ensure!(matches!(outcome, Err(CommitError::Conflict { .. })), "the other was faster: {outcome:?}");
    let counter = |delta| CounterChange { counter: "conformance/shared".into(), delta, limit: Some(3) };
    let count = |delta| Commit { counters: vec![counter(delta)], ..Commit::default() };
    first.commit(count(2)).await?;
    second.commit(count(1)).await?;
    let outcome = first.commit(count(1)).await;
    ensure!(matches!(outcome, Err(CommitError::Limit { value: 3, .. })), "both have counted: {outcome:?}");
    for round in 0..10 {
        let engine = if round % 2 == 0 { first } else { second };
        engine.commit(put(AT, &format!("b{}", round % 3), Expect::Anything, &round.to_string())?).await?;
    }
    second.commit(delete(AT, "a", Expect::Present)).await?;
    second.commit(count(-3)).await?;
    first.latest().await?;
    second.latest().await?;
    let told = deliveries(first, &mut first.watch(everything(AT), start)?).await?;
    expect("how much there was to tell", told.len(), 13)?;
    expect("what the other tells", deliveries(second, &mut second.watch(everything(AT), start)?).await?, told)?;
    expect("what the other has", listing(second, AT)?, listing(first, AT)?)?;
    let last = second.snapshot().get(&key(AT, "b0"));
    expect("the last value", last.as_ref().map(value).transpose()?, Some("9".to_owned()))
}
