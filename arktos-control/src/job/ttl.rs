//! The `ttl-after-finished` controller: jobs that have ended go after the time they ask for.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Job, KindOf};
use arktos_core::{ObjectPath, Status};
use arktos_store::client::Propagation;
use arktos_store::{Client, Clock, Informer, Outcome, Stored};
use futures::future::BoxFuture;

use super::status::ended;
use crate::kinds::JOBS;
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::Setup;
use crate::write::{delete, found, unreadable};

pub(crate) struct Expiry {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    jobs: Informer<Stored>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let jobs = setup.informer(&JOBS.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    jobs.handle(move |event| {
        if event.after().is_some() {
            adds.add(event.path().clone());
        }
    });
    let (informers, workers) = (vec![synced(&jobs)], setup.options.workers);
    run(Expiry { client: setup.client.clone(), clock: setup.clock.clone(), jobs }, queue, workers, informers)
}

impl Reconcile for Expiry {
    type Key = ObjectPath;
    const NAME: &'static str = "ttl-after-finished";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(known) = self.jobs.store().get(path) else { return Ok(Outcome::Done) };
        match self.left(&known)? {
            None => return Ok(Outcome::Done),
            Some(left) if !left.is_zero() => return Ok(Outcome::After(left)),
            Some(_) => {}
        }
        // The time it asks for may have changed since.
        let key = JOBS.key(path);
        let Some(live) = found(self.client.get(&key).await)? else { return Ok(Outcome::Done) };
        match self.left(&live)? {
            Some(left) if left.is_zero() => {
                delete(&*self.client, &key, live.object.header().uid(), Some(Propagation::Foreground)).await?;
                Ok(Outcome::Done)
            }
            Some(left) => Ok(Outcome::After(left)),
            None => Ok(Outcome::Done),
        }
    }
}

impl Expiry {
    /// How long a job is still kept; `None`: for good, or it is going already.
    fn left(&self, stored: &Stored) -> Result<Option<Duration>, Status> {
        let job = Job::from_encoded(&stored.object, None).map_err(unreadable)?;
        let kept = job.spec.ttl_seconds_after_finished.and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(kept), None) = (kept, job.metadata.deletion_timestamp) else { return Ok(None) };
        let ended = ended(&job.status).and_then(|condition| condition.last_transition_time);
        let since = |ended| self.clock.now().since(ended);
        Ok(ended.map(|ended| Duration::from_secs(kept).saturating_sub(since(ended))))
    }
}
