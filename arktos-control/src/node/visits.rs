//! Going through the pods of one host: they are many tenants', and each tenant's policies and webhooks have a say in
//! what is written to its own. What one refuses, or takes its time for, keeps nobody else's pods waiting.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use arktos_core::{Reason, Status, Timestamp};
use arktos_store::{Clock, Stored};
use futures::FutureExt;
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};

/// How long the pods of one tenant, and all of them, may take; those that are left are seen to the next time.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(30);
/// The pods of so many tenants are seen to at once.
const AT_ONCE: usize = 32;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When the first of those must be looked at that must be later.
    pub(super) next: Option<Timestamp>,
    /// What went wrong last.
    pub(super) failure: Option<Status>,
}

impl Seen {
    fn note(&mut self, outcome: Result<Option<Timestamp>, Status>) {
        match outcome {
            Ok(due) => self.next = self.next.into_iter().chain(due).min(),
            Err(status) => self.failure = Some(status),
        }
    }
}

/// Sees to pods, those of one tenant one after the other, those of several side by side.
pub(super) async fn each<'a, F>(
    clock: &dyn Clock,
    pods: Vec<&'a Stored>,
    see_to: impl Fn(&'a Stored) -> F + Sync,
) -> Seen
where
    F: Future<Output = Result<Option<Timestamp>, Status>> + Send,
{
    let mut of_tenants: BTreeMap<&str, Vec<&'a Stored>> = BTreeMap::new();
    for pod in pods {
        of_tenants.entry(pod.path.tenant()).or_default().push(pod);
    }
    let visits = of_tenants.into_values().map(|pods| one_tenants(clock, pods, &see_to).boxed());
    let mut visits = stream::iter(visits.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    let (mut all, mut late) = (Seen::default(), clock.sleep(PATIENCE_WITH_ALL));
    loop {
        match select(visits.next(), &mut late).await {
            Either::Left((Some(seen), _)) => {
                all.note(Ok(seen.next));
                all.failure = seen.failure.or(all.failure);
            }
            Either::Left((None, _)) => return all,
            Either::Right(_) => {
                all.note(Err(out_of_time()));
                return all;
            }
        }
    }
}

async fn one_tenants<'a, F>(
    clock: &dyn Clock,
    pods: Vec<&'a Stored>,
    see_to: &(impl Fn(&'a Stored) -> F + Sync),
) -> Seen
where
    F: Future<Output = Result<Option<Timestamp>, Status>> + Send,
{
    let (mut seen, mut late) = (Seen::default(), clock.sleep(PATIENCE));
    for pod in pods {
        match select(see_to(pod).boxed(), &mut late).await {
            Either::Left((outcome, _)) => seen.note(outcome),
            Either::Right(_) => {
                seen.note(Err(out_of_time()));
                break;
            }
        }
    }
    seen
}

fn out_of_time() -> Status {
    Status::failure(Reason::Timeout, "some pods were not seen to in time")
}
