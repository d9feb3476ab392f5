//! The loop that all controllers share: keys from a queue, each worked on by one worker at a time, again after a
//! failure.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{Reason, Revision, Status};
use arktos_store::informer::{Decode, Stopped};
use arktos_store::queue::{Key, QueueOptions};
use arktos_store::{Clock, Informer, Outcome, WorkQueue};
use futures::FutureExt;
use futures::future::BoxFuture;

/// What a controller does for one key: bring the world closer to what the object says.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// What is looked at at a time, most often an object's path.
    type Key: Key + Sync + std::fmt::Debug;

    /// The controller's name.
    const NAME: &'static str;

    /// Looks at one key. A failure is tried again, later each time.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Outcome, Status>> + Send;
}

/// A queue for a controller. Keys back off one by one, and the tenants take turns, so that one tenant's work and
/// failures do not hold up another's. A key is in it once, so it is bounded by the number of objects; a smaller bound
/// would lose work, or hold up the informers that several controllers share.
pub(crate) fn queue<K: Key>(clock: &Arc<dyn Clock>) -> WorkQueue<K> {
    resting_queue(clock, Duration::ZERO)
}

/// As [`queue`], of which each key rests after it was worked on.
pub(crate) fn resting_queue<K: Key>(clock: &Arc<dyn Clock>, rest: Duration) -> WorkQueue<K> {
    let mut options = QueueOptions::default();
    options.retries_per_second = 1000.0;
    options.retries_burst = 1000;
    options.backoff_max = Duration::from_secs(60);
    options.capacity = usize::MAX;
    options.rest = rest;
    WorkQueue::with_options(clock.clone(), options)
}

/// Waits until an informer shows a write, so that the next look is not behind it.
///
/// # Errors
/// 503 when the informer has stopped.
pub(crate) async fn shown<T: Decode>(informer: &Informer<T>, written: Revision) -> Result<(), Status> {
    informer.reached(written).await.map_err(stopped)
}

/// What a controller says that is stopping in the middle of its work.
pub(crate) fn stopped(_: Stopped) -> Status {
    Status::failure(Reason::ServiceUnavailable, "the controller is stopping")
}

/// Completes when an informer has seen everything once.
pub(crate) fn synced<T: Decode>(informer: &Informer<T>) -> BoxFuture<'static, Result<(), Stopped>> {
    let informer = informer.clone();
    Box::pin(async move { informer.synced().await })
}

/// Runs a controller, once its informers have seen everything, until its queue is shut down or an informer stops.
pub(crate) fn run<C: Reconcile>(
    controller: C,
    queue: WorkQueue<C::Key>,
    workers: usize,
    informers: Vec<BoxFuture<'static, Result<(), Stopped>>>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        if futures::future::try_join_all(informers).await.is_err() {
            return;
        }
        queue.run(workers, |key| attempt(&controller, key)).await;
    })
}

async fn attempt<C: Reconcile>(controller: &C, key: C::Key) -> Outcome {
    // One controller serves all tenants: what cannot be done for one object ends it for none.
    let Ok(done) = AssertUnwindSafe(controller.reconcile(&key)).catch_unwind().await else {
        tracing::error!(controller = C::NAME, ?key, "a controller broke off, again later");
        return Outcome::Retry;
    };
    match done {
        Ok(outcome) => outcome,
        Err(status) => {
            let why = status.to_string(); // shown escaped: a tenant's webhook may say anything, on any number of lines
            if status.is(Reason::Conflict) || status.is(Reason::NotFound) {
                tracing::debug!(controller = C::NAME, ?key, ?why, "overtaken, again");
            } else if status.is(Reason::Forbidden) || status.is(Reason::Invalid) {
                // by the tenant's own quotas, policies and templates: its events say so, and it may make any number
                tracing::debug!(controller = C::NAME, ?key, ?why, "refused, again later");
            } else {
                let text = "a controller failed on an object and will try again";
                tracing::warn!(controller = C::NAME, ?key, ?why, "{text}");
            }
            Outcome::Retry
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use arktos_core::{ObjectPath, Timestamp};
    use arktos_store::clock::ManualClock;
    use futures::executor::LocalPool;
    use futures::task::LocalSpawnExt;

    struct Breaks(Arc<AtomicUsize>);

    impl Reconcile for Breaks {
        type Key = ObjectPath;
        const NAME: &'static str = "breaks";

        async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
            assert!(path.tenant() != "acme", "this one cannot be worked on");
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Outcome::Done)
        }
    }

    #[test]
    fn what_breaks_off_for_one_tenant_goes_on_for_the_others() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let (queue, done) = (queue(&clock), Arc::new(AtomicUsize::new(0)));
        let mut pool = LocalPool::new();
        let running = run(Breaks(done.clone()), queue.clone(), 1, Vec::new());
        pool.spawner().spawn_local(running).expect("the pool runs");
        for tenant in ["acme", "umbra"] {
            queue.add(ObjectPath::new(tenant, "default", "x"));
            pool.run_until_stalled();
        }
        assert_eq!(done.load(Ordering::Relaxed), 1);
        assert_eq!(queue.failures(&ObjectPath::new("acme", "default", "x")), 1);
    }
}
