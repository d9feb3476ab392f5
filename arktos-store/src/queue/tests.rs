//! A work queue against a model of it.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::task::Poll;

use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::step::settle;

/// Keys from 100 on belong to one of three tenants.
impl Key for u8 {
    fn tenant(&self) -> &str {
        if *self < 100 { "" } else { ["acme", "umbra", "zeta"][usize::from(*self) % 3] }
    }
}

fn queue(options: QueueOptions) -> (WorkQueue<u8>, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_micros(0));
    (WorkQueue::with_options(Arc::new(clock.clone()), options), clock)
}

fn take(queue: &WorkQueue<u8>) -> Option<Taken<u8>> {
    match settle(pin!(queue.get())) {
        Poll::Ready(taken) => taken,
        Poll::Pending => None,
    }
}

#[test]
fn a_key_is_worked_on_once_at_a_time_and_no_change_is_missed() {
    let (queue, _clock) = queue(QueueOptions::default());
    assert!(queue.add(1) && queue.add(1));
    let first = take(&queue).expect("queued");
    assert!(queue.add(1));
    assert!(take(&queue).is_none(), "it is in hand");
    first.finish(Outcome::Done);
    let again = take(&queue).expect("was added while in hand");
    drop(again);
    assert!(queue.is_idle());
}

#[test]
fn a_getter_that_waits_is_woken_by_an_earlier_moment() {
    let (queue, clock) = queue(QueueOptions::default());
    queue.add_after(1, Duration::from_secs(10));
    let mut getter = Box::pin(queue.get());
    assert!(settle(getter.as_mut()).is_pending());
    queue.add_after(1, Duration::from_secs(5));
    queue.add_after(2, Duration::from_secs(3));
    assert!(settle(getter.as_mut()).is_pending());
    clock.advance(Duration::from_secs(3));
    assert!(matches!(settle(getter.as_mut()), Poll::Ready(Some(taken)) if *taken == 2));
    clock.advance(Duration::from_secs(2));
    assert_eq!(take(&queue).map(|taken| *taken), Some(1));
    clock.advance(Duration::from_secs(10));
    assert!(take(&queue).is_none(), "the later moment was given up");
}

#[test]
fn what_happens_to_a_key_while_it_rests_is_worked_on_together_and_a_failure_does_not_rest() {
    let rest = Duration::from_millis(200);
    let (queue, clock) = queue(QueueOptions { rest, ..QueueOptions::default() });
    queue.add(1);
    take(&queue).expect("the first is not held up").finish(Outcome::Done);
    assert!(queue.is_idle(), "nothing is to be done");
    assert!(queue.add(1) && queue.add(2) && queue.add(1));
    let other = take(&queue).expect("another key is not held up");
    assert_eq!(*other, 2);
    other.finish(Outcome::Retry);
    let mut getter = Box::pin(queue.get());
    assert!(settle(getter.as_mut()).is_pending());
    clock.advance(Duration::from_millis(5));
    assert!(matches!(settle(getter.as_mut()), Poll::Ready(Some(taken)) if *taken == 2));
    assert!(take(&queue).is_none());
    let mut getter = Box::pin(queue.get());
    assert!(settle(getter.as_mut()).is_pending());
    clock.advance(Duration::from_millis(195));
    let Poll::Ready(Some(rested)) = settle(getter.as_mut()) else { panic!("it has rested") };
    assert_eq!(*rested, 1);
    rested.finish(Outcome::After(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(199));
    assert!(take(&queue).is_none());
    clock.advance(Duration::from_millis(1));
    assert_eq!(take(&queue).map(|taken| *taken), Some(1));
    assert!(queue.is_idle(), "what was added twice is worked on once");
}

#[test]
fn a_getter_that_goes_away_leaves_its_wake_up_to_another() {
    let (queue, _clock) = queue(QueueOptions::default());
    let mut first = Box::pin(queue.get());
    let mut second = Box::pin(queue.get());
    assert!(settle(first.as_mut()).is_pending());
    assert!(settle(second.as_mut()).is_pending());
    queue.add(1);
    drop(first);
    assert!(matches!(settle(second.as_mut()), Poll::Ready(Some(_))));
}

#[test]
fn retries_keep_the_overall_rate() {
    let options = QueueOptions { retries_burst: 2, retries_per_second: 10.0, ..QueueOptions::default() };
    let (queue, clock) = queue(options);
    for key in 0..5 {
        assert!(queue.retry(key));
    }
    let mut came = Vec::new();
    for tick in 0..100 {
        while let Some(taken) = take(&queue) {
            came.push((*taken, tick * 5));
            taken.finish(Outcome::Done);
        }
        clock.advance(Duration::from_millis(5));
    }
    assert_eq!(came, [(0, 5), (1, 5), (2, 105), (3, 205), (4, 305)]);
}

#[test]
fn one_tenants_keys_do_not_starve_anothers() {
    let path = |tenant: &str, number: usize| ObjectPath::new(tenant, "default", &format!("p-{number}"));
    let queue = WorkQueue::new(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
    for number in 0..1000 {
        queue.add(path("acme", number));
    }
    for tenant in ["umbra", "zeta"] {
        queue.add(path(tenant, 0));
    }
    let next = || match settle(pin!(queue.get())) {
        Poll::Ready(Some(taken)) => taken.tenant().to_owned(),
        _ => panic!("there are keys"),
    };
    let first: Vec<String> = (0..5).map(|_| next()).collect();
    assert_eq!(first, ["acme", "umbra", "zeta", "acme", "acme"]);
    queue.add(path("umbra", 1));
    assert!((0..2).any(|_| next() == "umbra"));
    assert_eq!(queue.len(), 996);
}

#[test]
fn one_tenants_failures_do_not_hold_up_anothers_retry() {
    let options = QueueOptions { retries_burst: 1, retries_per_second: 1.0, ..QueueOptions::default() };
    let (queue, clock) = queue(options);
    for key in [102, 105, 108, 111, 114, 117] {
        queue.retry(key); // all of one tenant
    }
    queue.retry(103);
    let mut came = Vec::new();
    for second in 0..8 {
        clock.advance(Duration::from_secs(1));
        while let Some(taken) = take(&queue) {
            came.push((*taken, second));
            taken.finish(Outcome::Done);
        }
    }
    assert_eq!(came[..3], [(102, 0), (105, 1), (103, 2)], "not after all six of the other");
    assert_eq!(came.len(), 7);
    assert!(queue.is_idle());
}

#[test]
fn what_is_to_come_again_is_kept_even_when_the_queue_is_full() {
    let (queue, clock) = queue(QueueOptions { capacity: 1, ..QueueOptions::default() });
    for (key, outcome) in [(1, Outcome::Retry), (2, Outcome::After(Duration::from_secs(1)))] {
        queue.add(key);
        let taken = take(&queue).expect("queued");
        assert!(queue.add(9), "there is room while a worker has the key");
        taken.finish(outcome);
        assert_eq!(take(&queue).map(|taken| *taken), Some(9));
        clock.advance(Duration::from_secs(2));
        assert_eq!(take(&queue).map(|taken| *taken), Some(key));
        assert!(queue.is_idle());
    }
}

#[test]
fn a_full_queue_refuses_what_is_new() {
    let (queue, _clock) = queue(QueueOptions { capacity: 2, ..QueueOptions::default() });
    assert!(queue.add(1) && queue.add_after(2, Duration::from_secs(1)));
    assert!(!queue.add(3) && !queue.add_after(3, Duration::from_secs(1)));
    assert!(queue.add_after(2, Duration::from_millis(1)), "it is in there already");
    assert!(queue.add(1), "it is in there already");
}

#[test]
fn the_gate_opens_when_there_is_room() {
    let (queue, _clock) = queue(QueueOptions { capacity: 1, ..QueueOptions::default() });
    assert!(queue.is_open());
    queue.add(1);
    queue.add_beyond(2);
    assert!(!queue.is_open());
    let mut opened = queue.opened();
    assert!(settle(opened.as_mut()).is_pending());
    drop(take(&queue));
    assert!(settle(opened.as_mut()).is_ready());
    assert!(!queue.is_open(), "one is still over");
    drop(take(&queue));
    assert!(queue.is_open());
}

#[test]
fn run_works_on_as_many_keys_as_it_has_workers_and_ends_with_the_queue() {
    let (queue, clock) = queue(QueueOptions::default());
    for key in 0..6 {
        queue.add(key);
    }
    let (at_once, most) = (Cell::new(0), Cell::new(0));
    let log = RefCell::new(Vec::new());
    let gate = Notify::new();
    let (gate, log_in, at_once, most_in) = (&gate, &log, &at_once, &most);
    let mut running = Box::pin(queue.run(2, |key| async move {
        at_once.set(at_once.get() + 1);
        most_in.set(most_in.get().max(at_once.get()));
        gate.notified().await;
        at_once.set(at_once.get() - 1);
        log_in.borrow_mut().push(key);
        match log_in.borrow().iter().filter(|done| **done == key).count() {
            1 if key == 0 => Outcome::Retry,
            1 if key == 1 => Outcome::After(Duration::from_secs(1)),
            _ => Outcome::Done,
        }
    }));
    for _ in 0..6 {
        assert!(settle(running.as_mut()).is_pending());
        gate.notify_one();
    }
    assert!(settle(running.as_mut()).is_pending());
    assert_eq!((most.get(), log.borrow().len()), (2, 6));
    for _ in 0..2 {
        clock.advance(Duration::from_secs(1));
        assert!(settle(running.as_mut()).is_pending());
        gate.notify_one();
        assert!(settle(running.as_mut()).is_pending());
    }
    assert_eq!(log.borrow()[6..], [0, 1]);
    assert!(queue.is_idle());
    queue.add(9);
    assert!(settle(running.as_mut()).is_pending());
    queue.shut_down();
    assert!(settle(running.as_mut()).is_pending(), "what is in hand is finished");
    gate.notify_one();
    assert!(settle(running.as_mut()).is_ready());
    assert!(!queue.add(1));
}

#[test]
fn a_tenant_whose_work_does_not_end_leaves_workers_to_others() {
    let (queue, _clock) = queue(QueueOptions::default());
    let done = RefCell::new(Vec::new());
    let done_in = &done;
    let mut running = Box::pin(queue.run(8, |key: u8| async move {
        if key.tenant() != "zeta" {
            std::future::pending::<()>().await;
        }
        done_in.borrow_mut().push(key);
        Outcome::Done
    }));
    let keys = |tenant: &'static str| (100..u8::MAX).filter(move |key| key.tenant() == tenant);
    for key in keys("acme").take(20) {
        queue.add(key);
    }
    assert!(settle(running.as_mut()).is_pending());
    assert_eq!(queue.len(), 16, "half of the workers are left");
    for key in keys("umbra").take(20).chain(keys("zeta").take(20)) {
        queue.add(key);
    }
    assert!(settle(running.as_mut()).is_pending());
    assert_eq!((queue.len(), done.borrow().len()), (16 + 18, 20), "and of these one half to a third");
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    AddAfter(u8, u64),
    Retry(u8),
    Forget(u8),
    Take,
    Finish(usize),
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 100..106u8;
    let step = prop_oneof![
        4 => key.clone().prop_map(Step::Add),
        3 => (key.clone(), 0..50u64).prop_map(|(key, delay)| Step::AddAfter(key, delay)),
        3 => key.clone().prop_map(Step::Retry),
        1 => key.prop_map(Step::Forget),
        5 => Just(Step::Take),
        4 => any::<usize>().prop_map(Step::Finish),
        3 => (1..40u64).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the queue should do, said as simply as possible.
#[derive(Default)]
struct Model {
    now: u64,
    ready: Vec<u8>,
    again: HashSet<u8>,
    held: Vec<u8>,
    /// The tenants with ready keys, by whose turn it is.
    turns: Vec<String>,
    /// Due, order of arrival, key.
    delayed: Vec<(u64, usize, u8)>,
    arrivals: usize,
    failures: HashMap<u8, u32>,
}

impl Model {
    fn add(&mut self, key: u8) {
        if self.held.contains(&key) {
            self.again.insert(key);
        } else if !self.ready.contains(&key) {
            self.push(key);
        }
    }

    fn push(&mut self, key: u8) {
        self.ready.push(key);
        if !self.turns.iter().any(|tenant| tenant == key.tenant()) {
            self.turns.push(key.tenant().to_owned());
        }
    }

    fn add_after(&mut self, key: u8, delay: u64) {
        if delay == 0 {
            return self.add(key);
        }
        let due = self.now + delay;
        if self.delayed.iter().any(|(before, _, other)| *other == key && *before <= due) {
            return;
        }
        self.delayed.retain(|(_, _, other)| *other != key);
        self.arrivals += 1;
        self.delayed.push((due, self.arrivals, key));
    }

    fn take(&mut self) -> Option<u8> {
        self.delayed.sort_unstable();
        let due = self.delayed.iter().take_while(|(due, _, _)| *due <= self.now).count();
        for (_, _, key) in self.delayed.drain(..due).collect::<Vec<_>>() {
            self.add(key);
        }
        if self.turns.is_empty() {
            return None;
        }
        let tenant = self.turns.remove(0);
        let place = self.ready.iter().position(|key| key.tenant() == tenant);
        let key = self.ready.remove(place.expect("its turn comes while it has keys"));
        if self.ready.iter().any(|key| key.tenant() == tenant) {
            self.turns.push(tenant);
        }
        self.held.push(key);
        Some(key)
    }

    fn finish(&mut self, place: usize) {
        let key = self.held.remove(place);
        if self.again.remove(&key) {
            self.push(key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_queue_does_what_its_model_does(steps in steps()) {
        let options = QueueOptions {
            backoff_first: Duration::from_millis(5),
            backoff_max: Duration::from_millis(60),
            retries_burst: 1000,
            ..QueueOptions::default()
        };
        let (queue, clock) = queue(options);
        let (mut model, mut held) = (Model::default(), Vec::new());
        for step in steps {
            match step {
                Step::Add(key) => {
                    prop_assert!(queue.add(key));
                    model.add(key);
                }
                Step::AddAfter(key, delay) => {
                    prop_assert!(queue.add_after(key, Duration::from_millis(delay)));
                    model.add_after(key, delay);
                }
                Step::Retry(key) => {
                    prop_assert!(queue.retry(key));
                    let failures = model.failures.entry(key).or_default();
                    let delay = (5 << *failures).min(60);
                    *failures += 1;
                    model.add_after(key, delay);
                }
                Step::Forget(key) => {
                    queue.forget(&key);
                    model.failures.remove(&key);
                }
                Step::Take => {
                    let taken = take(&queue);
                    prop_assert_eq!(taken.as_ref().map(|taken| **taken), model.take());
                    held.extend(taken);
                }
                Step::Finish(place) if !held.is_empty() => {
                    let place = place % held.len();
                    drop(held.remove(place));
                    model.finish(place);
                }
                Step::Finish(_) => {}
                Step::Advance(millis) => {
                    clock.advance(Duration::from_millis(millis));
                    model.now += millis;
                }
            }
            prop_assert_eq!(queue.len(), model.ready.len());
        }
    }
}
