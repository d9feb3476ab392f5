//! The `csrcleaner` controller: requests go an hour after they were answered, and a day after nobody did.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectPath, Status, Timestamp};
use arktos_store::{Client, Clock, Informer, Outcome, Stored};
use futures::future::BoxFuture;

use super::request::Request;
use super::requests;
use crate::kinds::CERTIFICATE_SIGNING_REQUESTS;
use crate::reconcile::{Reconcile, run, synced};
use crate::setup::Setup;
use crate::write::{delete, unreadable};

/// How long one stays that was answered.
const ANSWERED: Duration = Duration::from_secs(3600);
/// How long one stays that was not.
const PENDING: Duration = Duration::from_secs(24 * 3600);

struct Cleaning {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    requests: Informer<Stored>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let (requests, queue) = requests(setup);
    let informers = vec![synced(&requests)];
    let controller = Cleaning { client: setup.client.clone(), clock: setup.clock.clone(), requests };
    run(controller, queue, setup.options.workers, informers)
}

impl Reconcile for Cleaning {
    type Key = ObjectPath;
    const NAME: &'static str = "csrcleaner";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.requests.store().get(path) else { return Ok(Outcome::Done) };
        let (since, stays) = due(&stored, &Request::read(&stored)?)?;
        let left = stays.saturating_sub(self.clock.now().since(since));
        if !left.is_zero() {
            return Ok(Outcome::After(left));
        }
        let key = CERTIFICATE_SIGNING_REQUESTS.key(path);
        delete(&*self.client, &key, stored.object.header().uid(), None).await?;
        Ok(Outcome::Done)
    }
}

/// From when on a request stays, and how long.
fn due(stored: &Stored, request: &Request) -> Result<(Timestamp, Duration), Status> {
    let created = stored.object.meta().map_err(unreadable)?.creation_timestamp.unwrap_or_default();
    let answered = |kind: &str| request.condition(kind).map(|it| it.last_update_time.unwrap_or(created));
    if let Some(since) = answered("Denied").or_else(|| answered("Failed")) {
        return Ok((since, ANSWERED));
    }
    match answered("Approved") {
        Some(since) if !request.status.certificate.is_empty() => {
            // what is no longer valid is of no use either
            let valid = request.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
            Ok((since, valid.map_or(ANSWERED, |seconds| Duration::from_secs(seconds).min(ANSWERED))))
        }
        Some(since) => Ok((since, PENDING)),
        None => Ok((created, PENDING)),
    }
}
