//! A work queue against a model of it.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::task::Poll;

use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::step::settle;

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
    assert_eq!(came, [(0, 5), (1, 5), (2, 100), (3, 200), (4, 300)]);
}

#[test]
fn a_full_queue_refuses_what_is_new() {
    let (queue, _clock) = queue(QueueOptions { capacity: 2, ..QueueOptions::default() });
    assert!(queue.add(1) && queue.add_after(2, Duration::from_secs(1)));
    assert!(!queue.add(3) && !queue.add_after(3, Duration::from_secs(1)));
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
    let key = 0..5u8;
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
            self.ready.push(key);
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
        let key = if self.ready.is_empty() { None } else { Some(self.ready.remove(0)) };
        self.held.extend(key);
        key
    }

    fn finish(&mut self, place: usize) {
        let key = self.held.remove(place);
        if self.again.remove(&key) {
            self.ready.push(key);
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
