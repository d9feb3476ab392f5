//! What is told to whom, and when, while groups are made durable: over a journal that is let through one by one.

mod model;

use std::sync::{Arc, Condvar, Mutex};

use arktos_core::{Revision, Timestamp};
use arktos_store::clock::ManualClock;
use arktos_store::commit::{Change, Commit, CommitError, Committed, CounterChange, Durability, Expect};
use arktos_store::storage::{AppendError, Group, Journal, OpenError, Restore};
use arktos_store::{Engine, EngineConfig, Selection, Within};
use futures::FutureExt;
use futures::future::join_all;
use model::{key, object, resource};

/// A journal that appends nothing until it is told to.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    appended: Vec<Group>,
    waiting: Option<Group>,
    let_through: Option<Result<(), AppendError>>,
    open: bool,
}

impl Gate {
    /// Waits until the committer stands at the gate; gives back what it brings.
    fn arrived(&self) -> Group {
        let mut state = self.0.0.lock().expect("no panic");
        loop {
            if let Some(group) = &state.waiting {
                return group.clone();
            }
            state = self.0.1.wait(state).expect("no panic");
        }
    }

    /// Lets the one that waits through, with this outcome.
    fn pass(&self, outcome: Result<(), AppendError>) {
        self.0.0.lock().expect("no panic").let_through = Some(outcome);
        self.0.1.notify_all();
    }

    /// Lets everybody through from now on.
    fn open(&self) {
        self.0.0.lock().expect("no panic").open = true;
        self.0.1.notify_all();
    }
}

impl Journal for Gate {
    fn load(&mut self, _: &mut Restore) -> Result<(), OpenError> {
        Ok(())
    }

    fn append(&mut self, group: &Group) -> Result<(), AppendError> {
        let mut state = self.0.0.lock().expect("no panic");
        state.waiting = Some(group.clone());
        self.0.1.notify_all();
        let outcome = loop {
            if state.open {
                break Ok(());
            }
            if let Some(outcome) = state.let_through.take() {
                break outcome;
            }
            state = self.0.1.wait(state).expect("no panic");
        };
        state.waiting = None;
        if outcome.is_ok() {
            state.appended.push(group.clone());
        }
        outcome
    }
}

/// Opens the gate in the end, also when a test fails: the engine waits for its committer.
struct Door(Gate);

impl std::ops::Deref for Door {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn engine() -> (Engine, Door) {
    let gate = Gate::default();
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let engine = Engine::open(Box::new(gate.clone()), EngineConfig::default(), clock).expect("opens");
    (engine, Door(gate))
}

fn create(number: u8) -> Commit {
    Commit::one(key(0, number), Expect::Absent, Change::put(object(number, &(1, 1))))
}

#[tokio::test]
async fn nothing_is_shown_or_told_before_it_is_durable() {
    let (engine, gate) = engine();
    let mut cursor = engine.watch(Selection::all(resource(0), Within::Everywhere), Revision::ZERO).expect("watches");
    let mut commit = Box::pin(engine.commit(create(1)));
    assert!(commit.as_mut().now_or_never().is_none());
    assert!(gate.arrived().sync);
    assert_eq!(engine.snapshot().revision(), Revision::ZERO);
    assert!(engine.not_older_than(Revision(1)).now_or_never().is_none());
    assert_eq!(cursor.try_next().expect("delivers"), None);
    gate.pass(Ok(()));
    assert_eq!(commit.await.expect("commits").revision, Revision(1));
    assert_eq!(engine.snapshot().revision(), Revision(1));
    assert_eq!(cursor.next().await.expect("delivers").revision(), Revision(1));
    gate.open();
}

#[tokio::test]
async fn what_gathers_while_a_group_is_appended_is_the_next_group() {
    let (engine, gate) = engine();
    let mut first = Box::pin(engine.commit(create(0)));
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(gate.arrived().records.len(), 1);
    let mut rest = Box::pin(join_all((1..9).map(|number| engine.commit(create(number)))));
    assert!(rest.as_mut().now_or_never().is_none());
    gate.pass(Ok(()));
    first.await.expect("commits");
    let group = gate.arrived();
    let revisions: Vec<u64> = group.records.iter().map(|record| record.revision.0).collect();
    assert_eq!((group.number, revisions), (2, (2..10).collect()));
    gate.pass(Ok(()));
    let told: Vec<Revision> = rest.await.into_iter().map(|one| one.expect("commits").revision).collect();
    assert_eq!(told, (2..10).map(Revision).collect::<Vec<_>>());
    gate.open();
}

/// Commits from a thread that stands behind others.
fn behind(engine: &Engine, commit: Commit) -> std::thread::JoinHandle<Result<Committed, CommitError>> {
    let engine = engine.clone();
    std::thread::spawn(move || {
        arktos_store::behind::stand();
        futures::executor::block_on(engine.commit(commit))
    })
}

#[test]
fn what_threads_leave_that_stand_behind_is_decided_with_the_next_group() {
    let (engine, gate) = engine();
    let left = behind(&engine, create(0));
    assert_eq!(gate.arrived().records.len(), 1); // it sleeps no longer
    gate.pass(Ok(()));
    assert_eq!(left.join().expect("no panic").expect("commits").revision, Revision(1));
    gate.open();
    let again = behind(&engine, create(0)).join().expect("no panic");
    assert!(matches!(again, Err(CommitError::Conflict { found: Some(_), .. })), "{again:?}");
    futures::executor::block_on(engine.close());
    assert!(matches!(behind(&engine, create(1)).join().expect("no panic"), Err(CommitError::Closed)));
}

#[test]
fn what_is_left_for_a_journal_that_has_failed_is_refused() {
    let (engine, gate) = engine();
    let first = behind(&engine, create(0));
    gate.arrived();
    gate.pass(Err(AppendError::Failed("broken".to_owned())));
    assert!(matches!(first.join().expect("no panic"), Err(CommitError::Unknown(_))));
    assert!(matches!(behind(&engine, create(1)).join().expect("no panic"), Err(CommitError::Poisoned(_))));
}

#[tokio::test]
async fn a_refusal_waits_for_what_it_was_decided_against() {
    let (engine, gate) = engine();
    let mut first = Box::pin(engine.commit(create(1)));
    assert!(first.as_mut().now_or_never().is_none());
    gate.arrived();
    let mut conflict = Box::pin(engine.commit(create(1)));
    let counters = vec![CounterChange { counter: "ip".into(), delta: -1, limit: None }];
    let mut limit = Box::pin(engine.commit(Commit { counters, ..Commit::default() }));
    let mut guarded = Box::pin(engine.commit(Commit::default().guarded(key(0, 1), Expect::Present)));
    for refused in [&mut conflict, &mut limit, &mut guarded] {
        assert!(refused.as_mut().now_or_never().is_none(), "told too early");
    }
    gate.open();
    assert_eq!(first.await.expect("commits").revision, Revision(1));
    let found = conflict.await.expect_err("is refused");
    assert!(matches!(found, CommitError::Conflict { found: Some(found), .. } if found.revision == Revision(1)));
    assert!(matches!(limit.await, Err(CommitError::Limit { .. })));
    assert_eq!(guarded.await.expect("holds"), Committed { revisions: vec![], revision: Revision(1) });
    // with nothing under way, it is told at once
    assert!(matches!(engine.commit(create(1)).now_or_never(), Some(Err(CommitError::Conflict { .. }))));
}

#[tokio::test]
async fn a_full_disk_takes_back_all_that_was_staged_and_no_revision_is_used_again() {
    let (engine, gate) = engine();
    let mut first = Box::pin(engine.commit(create(1)));
    assert!(first.as_mut().now_or_never().is_none());
    gate.arrived();
    let mut second = Box::pin(engine.commit(create(2)));
    let mut refused = Box::pin(engine.commit(create(1)));
    assert!(second.as_mut().now_or_never().is_none() && refused.as_mut().now_or_never().is_none());
    gate.pass(Err(AppendError::Full { place: "here".to_owned() }));
    for outcome in [first.await, second.await, refused.await] {
        assert!(matches!(outcome, Err(CommitError::DiskFull)), "{outcome:?}");
    }
    gate.open();
    let committed = engine.commit(create(1)).await.expect("it never happened, so it can happen now");
    assert!(committed.revision > Revision(2));
    assert_eq!(engine.snapshot().count(&resource(0), &Within::Everywhere), 1);
}

#[tokio::test]
async fn after_a_failure_the_outcome_under_way_is_unknown_and_the_rest_did_not_happen() {
    let (engine, gate) = engine();
    let mut first = Box::pin(engine.commit(create(1)));
    assert!(first.as_mut().now_or_never().is_none());
    gate.arrived();
    let mut later = Box::pin(engine.commit(create(2)));
    assert!(later.as_mut().now_or_never().is_none());
    assert_eq!(engine.failure(), None);
    gate.pass(Err(AppendError::Failed("broken".to_owned())));
    assert!(matches!(first.await, Err(CommitError::Unknown(_))));
    assert_eq!(engine.failure().as_deref(), Some("broken"));
    assert!(matches!(later.await, Err(CommitError::Poisoned(_))));
    assert!(matches!(engine.commit(create(3)).await, Err(CommitError::Poisoned(_))));
    assert_eq!(engine.snapshot().revision(), Revision::ZERO);
}

#[tokio::test]
async fn relaxed_writes_reserve_their_revisions_once_and_then_wait_for_no_sync() {
    let (engine, gate) = engine();
    gate.open();
    for number in 1..4 {
        let commit = Commit { durability: Durability::Relaxed, ..create(number) };
        engine.commit(commit).await.expect("commits");
    }
    engine.flush().await.expect("flushes");
    engine.flush().await.expect("has nothing to do");
    let groups = gate.0.0.0.lock().expect("no panic").appended.clone();
    let shape: Vec<(bool, bool, usize)> =
        groups.iter().map(|group| (group.sync, group.reserved.is_some(), group.records.len())).collect();
    assert_eq!(shape, [(true, true, 1), (false, false, 1), (false, false, 1), (true, false, 0)]);
}

#[tokio::test]
async fn closing_answers_everybody_and_refuses_the_rest() {
    let (engine, gate) = engine();
    let mut cursor = engine.watch(Selection::all(resource(0), Within::Everywhere), Revision::ZERO).expect("watches");
    let mut commit = Box::pin(engine.commit(create(1)));
    assert!(commit.as_mut().now_or_never().is_none());
    let mut close = Box::pin(engine.close());
    assert!(close.as_mut().now_or_never().is_none());
    assert!(matches!(engine.commit(create(2)).await, Err(CommitError::Closed)));
    gate.open();
    close.await;
    commit.await.expect("was accepted before");
    cursor.next().await.expect("is delivered before the end");
    assert_eq!(cursor.next().await, Err(arktos_store::WatchError::Closed));
    assert!(engine.not_older_than(Revision(9)).await.is_err());
}
