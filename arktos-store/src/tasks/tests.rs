//! Everything that is started is stopped and joined.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::pending;

use super::*;
use crate::step::settle;

/// Counts itself while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn stopping_ends_and_joins_all() {
    let (tasks, mut driver) = Tasks::new();
    let count = Arc::new(AtomicUsize::new(0));
    for name in ["first", "second"] {
        let alive = Alive::new(&count);
        tasks.add(name, async move {
            let _alive = alive;
            pending::<()>().await;
        });
    }
    tasks.add("short", async {});
    assert!(settle(driver.as_mut()).is_pending());
    assert_eq!(tasks.names(), ["first", "second"]);
    let mut stop = Box::pin(tasks.stop());
    assert!(settle(stop.as_mut()).is_pending());
    assert!(settle(driver.as_mut()).is_ready());
    assert!(settle(stop.as_mut()).is_ready());
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn a_graceful_task_takes_its_time() {
    let (tasks, mut driver) = Tasks::new();
    let last_words = Arc::new(Notify::new());
    let word = last_words.clone();
    tasks.add_graceful("graceful", |stopping| async move {
        stopping.wanted().await;
        word.notified().await;
    });
    let mut stop = Box::pin(tasks.stop());
    assert!(settle(stop.as_mut()).is_pending());
    assert!(settle(driver.as_mut()).is_pending());
    last_words.notify_one();
    assert!(settle(driver.as_mut()).is_ready());
    assert!(settle(stop.as_mut()).is_ready());
}

#[test]
fn tasks_can_be_added_while_others_run_and_by_them() {
    let (tasks, mut driver) = Tasks::new();
    assert!(settle(driver.as_mut()).is_pending());
    let (more, count) = (tasks.clone(), Arc::new(AtomicUsize::new(0)));
    let alive = count.clone();
    tasks.add("parent", async move {
        let child = Alive::new(&alive);
        more.add("child", async move {
            let _child = child;
            pending::<()>().await;
        });
    });
    assert!(settle(driver.as_mut()).is_pending());
    assert_eq!((tasks.names(), count.load(Ordering::SeqCst)), (vec!["child".to_owned()], 1));
}

#[test]
fn a_driver_that_is_dropped_takes_its_tasks_along() {
    let (tasks, mut driver) = Tasks::new();
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let alive = Alive::new(&count);
        tasks.add("task", async move {
            let _alive = alive;
            pending::<()>().await;
        });
        let _ = settle(driver.as_mut());
    }
    tasks.add("never polled", pending());
    drop(driver);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    tasks.add("too late", pending());
    assert!(settle(Box::pin(tasks.stop()).as_mut()).is_ready());
}

#[test]
fn only_what_was_woken_is_polled() {
    let (tasks, mut driver) = Tasks::new();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    tasks.add(
        "idle",
        std::future::poll_fn(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Poll::Pending
        }),
    );
    let bell = Arc::new(Notify::new());
    let listener = bell.clone();
    tasks.add("busy", async move {
        loop {
            listener.notified().await;
        }
    });
    for _ in 0..10 {
        assert!(settle(driver.as_mut()).is_pending());
        bell.notify_one();
    }
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn tasks_on_the_owners_runtime_are_stopped_all_the_same() {
    let tasks = Tasks::spawning(Arc::new(|future| {
        tokio::spawn(future);
    }));
    let count = Arc::new(AtomicUsize::new(0));
    let alive = Alive::new(&count);
    tasks.add("task", async move {
        let _alive = alive;
        pending::<()>().await;
    });
    tasks.stop().await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
