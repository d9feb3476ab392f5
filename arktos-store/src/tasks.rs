//! Tasks that have an owner: everything that runs is started by someone, and stopped and joined by the same.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// Starts a future on whatever the owner runs its futures on.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// Lets others go on that can: ends when it is polled again, which it asks for at once. For long work that waits for
/// nothing; it needs no runtime.
pub async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The tasks of one owner. Cloning it shares it.
///
/// The tasks run inside one future that the owner runs ([`Tasks::new`]), or each by itself on the owner's runtime
/// ([`Tasks::spawning`]). Either way [`stop`](Self::stop) ends all of them and returns when the last is gone.
#[derive(Clone)]
pub struct Tasks(Arc<Shared>);

struct Shared {
    spawn: Spawn,
    /// Written by `stop`.
    stopping: watch::Sender<bool>,
    /// The names of the tasks that run. Written by `add` and by the tasks that end.
    running: watch::Sender<BTreeMap<u64, String>>,
    sequence: Mutex<u64>,
}

/// Tells a task that its owner wants it to end. Cloning it shares it.
#[derive(Clone)]
pub struct Stopping(watch::Receiver<bool>);

/// What was added and is yet to be taken up by the future that drives it.
#[derive(Default)]
struct Arrivals {
    /// Written by `add`.
    futures: Mutex<Option<Vec<BoxFuture<'static, ()>>>>,
    arrived: Notify,
}

/// Takes the name off the list when the task is gone, however it went.
struct Place {
    tasks: Tasks,
    number: u64,
}

impl Tasks {
    /// Tasks that run inside the one future that is returned, which the owner runs. It polls only those that were
    /// woken, and ends when the tasks were stopped. Dropping it drops them.
    #[must_use]
    pub fn new() -> (Self, BoxFuture<'static, ()>) {
        let arrivals = Arc::new(Arrivals { futures: Mutex::new(Some(Vec::new())), arrived: Notify::new() });
        let inbox = arrivals.clone();
        let tasks = Self::spawning(Arc::new(move |future| {
            let mut futures = inbox.futures.lock();
            let Some(waiting) = futures.as_mut() else { return }; // the driver is gone: so is the task
            waiting.push(future);
            drop(futures);
            inbox.arrived.notify_one();
        }));
        let driver = Box::pin(drive(Driven(arrivals), tasks.stopping()));
        (tasks, driver)
    }

    /// Tasks that are handed, one by one, to a function of the owner that runs them, such as one that spawns them on
    /// its runtime.
    #[must_use]
    pub fn spawning(spawn: Spawn) -> Self {
        let (stopping, running) = (watch::Sender::new(false), watch::Sender::new(BTreeMap::new()));
        Self(Arc::new(Shared { spawn, stopping, running, sequence: Mutex::new(0) }))
    }

    /// Tasks that run where these run, and are stopped by themselves. Stopping these does not stop them.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::spawning(self.0.spawn.clone())
    }

    /// Runs a future until it ends or the tasks are stopped: then it is dropped. After `stop` it is dropped at once.
    pub fn add(&self, name: impl Into<String>, future: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping();
        self.start(name.into(), async move {
            let stopped = std::pin::pin!(stopping.wanted());
            if let Either::Left(_) = select(stopped, std::pin::pin!(future)).await {}
        });
    }

    /// Runs a future that is told when to end and then takes its own time for it; `stop` waits for it.
    pub fn add_graceful<F>(&self, name: impl Into<String>, make: impl FnOnce(Stopping) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(name.into(), make(self.stopping()));
    }

    /// The names of the tasks that run.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.running.borrow().values().cloned().collect()
    }

    /// Completes when the tasks are to end.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.0.stopping.subscribe())
    }

    /// Ends all tasks, and returns when the last is gone. With [`Tasks::new`], the driver must be run meanwhile, or
    /// dropped. Cancel safe: the tasks end all the same.
    pub async fn stop(&self) {
        self.0.stopping.send_replace(true);
        let mut running = self.0.running.subscribe();
        let _ = running.wait_for(BTreeMap::is_empty).await; // the sender is in our own hands
    }

    fn start(&self, name: String, future: impl Future<Output = ()> + Send + 'static) {
        let number = {
            let mut sequence = self.0.sequence.lock();
            *sequence += 1;
            *sequence
        };
        tracing::debug!(task = name, "a task starts");
        self.0.running.send_modify(|running| {
            running.insert(number, name);
        });
        let place = Place { tasks: self.clone(), number };
        (self.0.spawn)(Box::pin(async move {
            let _place = place;
            future.await;
        }));
    }
}

impl Stopping {
    /// Completes when the task is to end. Cancel safe.
    pub async fn wanted(mut self) {
        let _ = self.0.wait_for(|stopping| *stopping).await; // without an owner there is nobody to run for
    }
}

/// The arrivals, as their driver has them: when it goes, no more are taken.
struct Driven(Arc<Arrivals>);

impl Drop for Driven {
    fn drop(&mut self) {
        let unstarted = self.0.futures.lock().take();
        drop(unstarted);
    }
}

async fn drive(arrivals: Driven, stopping: Stopping) {
    let mut running = FuturesUnordered::new();
    let mut stopped = Box::pin(stopping.wanted());
    let mut ending = false;
    loop {
        let arrived = std::pin::pin!(arrivals.0.arrived.notified());
        running.extend(arrivals.0.futures.lock().as_mut().map(std::mem::take).unwrap_or_default());
        if ending && running.is_empty() {
            return;
        }
        let step = std::future::poll_fn(|context: &mut Context<'_>| {
            if !ending && stopped.as_mut().poll(context).is_ready() {
                ending = true;
                return Poll::Ready(());
            }
            match running.poll_next_unpin(context) {
                Poll::Ready(Some(())) => Poll::Ready(()),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        });
        select(arrived, std::pin::pin!(step)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tasks.0.running.send_modify(|running| {
            if let Some(name) = running.remove(&self.number) {
                tracing::debug!(task = name, "a task has ended");
            }
        });
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &*self.0.running.borrow()).finish()
    }
}

#[cfg(test)]
mod tests;
