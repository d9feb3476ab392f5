//! The checker can fail: histories made by hand, each wrong in one way, beside the same history made right.

use arktos_core::Revision;
use arktos_store::Expect;

use super::{Entry, How, Key, Op, Outcome, Plan, PlannedWrite, Read, Seen, What, Why, Written, check};

fn op(call: u64, ended: u64, what: What) -> Op {
    Op { engine: 0, call, ended: Some(ended), what }
}

fn put(key: Key, expect: Expect, value: u64, outcome: Outcome) -> What {
    let writes = vec![PlannedWrite { key, expect, value: Some(value) }];
    What::Commit(Plan { writes, ..Plan::default() }, outcome)
}

fn delete(key: Key, expect: Expect, outcome: Outcome) -> What {
    What::Commit(Plan { writes: vec![PlannedWrite { key, expect, value: None }], ..Plan::default() }, outcome)
}

fn at(revision: u64) -> Outcome {
    Outcome::Committed { revisions: vec![revision], revision }
}

fn read(how: How, revision: u64, key: Key, found: Option<Seen>) -> What {
    What::Read(Read { how, revision, objects: vec![(key, found)], count: None, counters: vec![] })
}

fn seen(revision: u64, value: u64) -> Option<Seen> {
    Some(Seen { revision, value })
}

fn entry(revision: u64, key: Key, value: u64) -> Entry {
    Entry { revision, key, change: Written::Put(value) }
}

fn deleted(revision: u64, key: Key, value: u64) -> Entry {
    Entry { revision, key, change: Written::Deleted(value) }
}

fn holds(history: &[Op], order: &[Entry]) {
    check(history, order, false).expect("nothing is wrong with it");
}

fn refuted(history: &[Op], order: &[Entry], why: Why) {
    assert_eq!(check(history, order, false).expect_err("is wrong").why, why);
}

/// Key 1 is written twice, one after the other: 10 at revision 1, 20 at revision 2.
fn two_writes() -> (Vec<Op>, Vec<Entry>) {
    let first = op(1, 2, put(1, Expect::Absent, 10, at(1)));
    let second = op(3, 4, put(1, Expect::At(Revision(1)), 20, at(2)));
    (vec![first, second], vec![entry(1, 1, 10), entry(2, 1, 20)])
}

fn with(more: impl IntoIterator<Item = Op>) -> (Vec<Op>, Vec<Entry>) {
    let (mut history, order) = two_writes();
    history.extend(more);
    (history, order)
}

#[test]
fn a_stale_read_is_refuted() {
    for how in [How::Latest, How::Snapshot, How::NotOlderThan(1)] {
        let (history, order) = with([op(5, 6, read(how, 2, 1, seen(2, 20)))]);
        holds(&history, &order);
        let (history, order) = with([op(5, 6, read(how, 1, 1, seen(1, 10)))]);
        refuted(&history, &order, Why::StaleRead);
    }
    // it had begun before the second write ended
    let (mut history, order) = two_writes();
    history.extend([op(5, 8, read(How::Latest, 1, 1, seen(1, 10)))]);
    history[1].ended = Some(7);
    holds(&history, &order);
    let (history, order) = with([op(5, 6, read(How::NotOlderThan(3), 2, 1, seen(2, 20)))]);
    refuted(&history, &order, Why::StaleRead);
}

#[test]
fn a_read_that_goes_back_behind_another_is_refuted() {
    let (mut history, order) =
        with([op(5, 6, read(How::Latest, 2, 1, seen(2, 20))), op(7, 8, read(How::Latest, 1, 1, seen(1, 10)))]);
    history[1].ended = Some(9); // the write is not answered yet, but was shown
    refuted(&history, &order, Why::StaleRead);
    history[3].what = read(How::Snapshot, 1, 1, seen(1, 10));
    history[3].engine = 1;
    check(&history, &order, true).expect("another engine of a shared store may be behind");
    history[3].engine = 0;
    assert_eq!(check(&history, &order, true).expect_err("the same may not").why, Why::StaleRead);
}

#[test]
fn a_read_of_what_is_not_written_yet_is_refuted() {
    let (mut history, order) = two_writes();
    history[0].ended = Some(3);
    history.push(op(4, 5, read(How::Snapshot, 2, 1, seen(2, 20))));
    history[1].call = 6;
    history[1].ended = Some(7);
    refuted(&history, &order, Why::OutOfTime);
}

#[test]
fn a_read_that_sees_what_was_not_so_is_refuted() {
    for found in [seen(2, 10), seen(1, 10), None] {
        let (history, order) = with([op(5, 6, read(How::Latest, 2, 1, found))]);
        refuted(&history, &order, Why::WrongRead);
    }
    let whole = |count, counters| What::Read(Read { how: How::Latest, revision: 2, objects: vec![], count, counters });
    let (history, order) = with([op(5, 6, whole(Some((1, 1)), vec![(0, 0)]))]);
    holds(&history, &order);
    let (history, order) = with([op(5, 6, whole(Some((1, 2)), vec![]))]);
    refuted(&history, &order, Why::WrongRead);
    let (history, order) = with([op(5, 6, whole(None, vec![(0, 1)]))]);
    refuted(&history, &order, Why::WrongRead);
}

#[test]
fn a_lost_update_is_refuted() {
    // both build on revision 1, and both are accepted
    let (history, mut order) = with([op(5, 6, put(1, Expect::At(Revision(1)), 30, at(3)))]);
    order.push(entry(3, 1, 30));
    refuted(&history, &order, Why::WronglyAccepted);
    // one is accepted and nowhere to be found
    let (history, order) = with([op(5, 6, put(1, Expect::At(Revision(2)), 30, at(3)))]);
    refuted(&history, &order, Why::Lost);
    // or found elsewhere
    let (history, mut order) = with([op(5, 6, put(1, Expect::At(Revision(2)), 30, at(3)))]);
    order.push(entry(4, 1, 30));
    refuted(&history, &order, Why::Lost);
}

#[test]
fn revisions_against_real_time_are_refuted() {
    let order = [entry(1, 1, 10), entry(2, 2, 20)];
    let mut history = [op(3, 4, put(1, Expect::Absent, 10, at(1))), op(1, 2, put(2, Expect::Absent, 20, at(2)))];
    refuted(&history, &order, Why::OutOfTime);
    history[1].ended = Some(5);
    holds(&history, &order);
}

#[test]
fn a_revision_given_twice_is_refuted() {
    let history = [op(1, 2, put(1, Expect::Absent, 10, at(1))), op(3, 4, put(2, Expect::Absent, 20, at(1)))];
    refuted(&history, &[entry(1, 1, 10)], Why::RevisionTwice);
    refuted(&history, &[entry(1, 1, 10), entry(1, 2, 20)], Why::OrderFalls);
}

#[test]
fn a_conflict_with_a_value_nobody_wrote_is_refuted() {
    let conflict = |found| op(5, 6, put(1, Expect::Absent, 30, Outcome::Conflict { key: 1, found }));
    let (history, order) = with([conflict(seen(2, 20))]);
    holds(&history, &order);
    for found in [seen(2, 99), seen(9, 20), seen(1, 10), None] {
        let (history, order) = with([conflict(found)]);
        refuted(&history, &order, Why::WronglyRefused);
    }
    // with what is to come: the write has not begun when the refusal is told
    let mut history = vec![
        op(1, 2, put(1, Expect::Absent, 30, Outcome::Conflict { key: 1, found: seen(1, 10) })),
        op(3, 4, put(1, Expect::Absent, 10, at(1))),
    ];
    refuted(&history, &[entry(1, 1, 10)], Why::OutOfTime);
    history[0].ended = Some(5);
    holds(&history, &[entry(1, 1, 10)]);
}

#[test]
fn a_guard_or_a_limit_without_a_reason_is_refuted() {
    let guarded = |key, found| {
        let plan = Plan { guards: vec![(key, Expect::Absent)], ..Plan::default() };
        op(5, 6, What::Commit(plan, Outcome::Guarded { key, found }))
    };
    let (history, order) = with([guarded(1, seen(2, 20))]);
    holds(&history, &order);
    for (key, found) in [(1, None), (2, None), (2, seen(1, 10))] {
        let (history, order) = with([guarded(key, found)]);
        refuted(&history, &order, Why::WronglyRefused);
    }
    let limit = |delta, value| {
        let plan = Plan { counters: vec![(0, delta, Some(0))], ..Plan::default() };
        op(5, 6, What::Commit(plan, Outcome::Limit { counter: 0, value }))
    };
    let (history, order) = with([limit(1, 0)]);
    holds(&history, &order);
    for (delta, value) in [(1, 1), (0, 0)] {
        let (history, order) = with([limit(delta, value)]);
        refuted(&history, &order, Why::WronglyRefused);
    }
}

#[test]
fn a_commit_that_is_told_in_part_or_not_at_once_is_refuted() {
    let writes = vec![
        PlannedWrite { key: 2, expect: Expect::Absent, value: Some(30) },
        PlannedWrite { key: 3, expect: Expect::Absent, value: Some(40) },
    ];
    let outcome = Outcome::Committed { revisions: vec![3, 4], revision: 4 };
    let both = op(5, 6, What::Commit(Plan { writes, ..Plan::default() }, outcome));
    let (mut history, mut order) = with([both]);
    order.extend([entry(3, 2, 30), entry(4, 3, 40)]);
    holds(&history, &order);
    refuted(&history, &order[..3], Why::Torn);
    history.push(op(7, 9, put(5, Expect::Absent, 50, at(4))));
    refuted(&history, &[order[0], order[1], order[2], entry(4, 5, 50), entry(5, 3, 40)], Why::RevisionTwice);
    history[3].what = put(5, Expect::Absent, 50, Outcome::Unknown);
    refuted(&history, &[order[0], order[1], order[2], entry(4, 5, 50), entry(5, 3, 40)], Why::Torn);
}

#[test]
fn what_was_refused_or_never_asked_for_must_not_happen() {
    let (history, mut order) = with([op(5, 6, put(2, Expect::Absent, 30, Outcome::Refused))]);
    holds(&history, &order);
    order.push(entry(3, 2, 30));
    refuted(&history, &order, Why::NobodyWroteIt);
    order[2] = entry(3, 2, 99);
    refuted(&history, &order, Why::NobodyWroteIt);
    order[2] = deleted(3, 1, 20);
    refuted(&history, &order, Why::NobodyWroteIt);
}

#[test]
fn an_unknown_outcome_happens_whole_and_later_or_not_at_all() {
    let unknown = Op { ended: None, ..op(5, 6, put(2, Expect::Absent, 30, Outcome::Unknown)) };
    let late = op(7, 8, read(How::Latest, 2, 2, None));
    let (mut history, mut order) = with([unknown, late]);
    holds(&history, &order);
    order.push(entry(3, 2, 30)); // after the read
    assert_eq!(check(&history, &order, false).expect("may happen").unknown_happened, 1);
    history.push(op(9, 10, read(How::Latest, 2, 2, None)));
    holds(&history, &order);
    history.push(op(11, 12, read(How::Latest, 3, 2, seen(3, 30))));
    holds(&history, &order);
    history.push(op(13, 14, read(How::Latest, 2, 2, None)));
    refuted(&history, &order, Why::StaleRead);
    history.pop();
    history[2].call = 20; // it was asked for after it was seen
    refuted(&history, &order, Why::OutOfTime);
}

#[test]
fn a_deletion_of_nothing_is_told_from_one_of_something() {
    let (mut history, mut order) = with([
        op(5, 6, delete(1, Expect::Anything, at(3))),
        op(7, 8, delete(1, Expect::Anything, at(3))),
        op(9, 10, delete(4, Expect::Anything, at(3))),
    ]);
    order.push(deleted(3, 1, 20));
    let counted = check(&history, &order, false).expect("nothing is wrong with it");
    assert_eq!((counted.committed, counted.changed_nothing), (3, 2));
    order[2] = deleted(3, 1, 10); // told with another value than the last
    refuted(&history, &order, Why::WronglyAccepted);
    order.pop();
    refuted(&history, &order, Why::WronglyAccepted); // it was there, and should have been deleted
    history[2] = op(5, 6, delete(1, Expect::At(Revision(1)), at(3)));
    refuted(&history, &order, Why::Lost);
}

#[test]
fn a_deletion_is_not_taken_for_one_of_unknown_outcome_that_another_needs() {
    let unknown = Op { ended: None, ..op(5, 6, delete(1, Expect::Anything, Outcome::Unknown)) };
    let (history, mut order) = with([
        unknown,
        op(7, 8, delete(1, Expect::Anything, at(3))),
        op(9, 10, put(1, Expect::Absent, 30, at(4))),
        op(11, 12, read(How::Latest, 5, 1, None)),
    ]);
    order.extend([deleted(3, 1, 20), entry(4, 1, 30), deleted(5, 1, 30)]);
    assert_eq!(check(&history, &order, false).expect("the unknown one was late").unknown_happened, 1);
    // the unknown one was early, and the other found nothing
    let (mut history, mut order) = with([history[2].clone(), history[3].clone()]);
    history.push(op(7, 8, read(How::Latest, 3, 1, None)));
    history[3].call = 9;
    history[3].ended = Some(10);
    order.push(deleted(3, 1, 20));
    let counted = check(&history, &order, false).expect("nothing is wrong with it");
    assert_eq!((counted.unknown_happened, counted.changed_nothing), (1, 1));
}
