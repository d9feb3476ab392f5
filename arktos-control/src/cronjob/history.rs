//! How many ended jobs of a cron job are kept.

use std::sync::Arc;

use arktos_core::typed::Job;
use arktos_store::client::Propagation;
use arktos_store::{Client, Stored};

use super::Work;
use crate::events::Teller;
use crate::job::ended;
use crate::kinds::JOBS;
use crate::write::delete;

/// Deletes the oldest ended jobs beyond what is to be kept. What fails is tried again when the cron job is next looked
/// at.
pub(super) async fn prune(client: &dyn Client, events: &Teller, work: &Work) {
    let spec = &work.cron.spec;
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    for (kind, limit) in limits {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
        let mut all: Vec<&(Arc<Stored>, Job)> = work.jobs.iter().filter(|(_, job)| is(job, kind)).collect();
        all.sort_by_key(|(stored, job)| (job.status.start_time.unwrap_or_default(), stored.path.name().to_owned()));
        let surplus = all.len().saturating_sub(limit);
        for (stored, _) in all.into_iter().take(surplus) {
            let name = stored.path.name();
            let uid = stored.object.header().uid();
            match delete(client, &JOBS.key(&stored.path), uid, Some(Propagation::Background)).await {
                Ok(()) => events.normal(&work.stored, "SuccessfulDelete", format!("Deleted job {name}")),
                Err(status) => {
                    events.warning(&work.stored, "FailedDelete", format!("Deleted job: {status}"));
                }
            }
        }
    }
}

fn is(job: &Job, kind: &str) -> bool {
    job.metadata.deletion_timestamp.is_none() && ended(&job.status).is_some_and(|end| end.kind == kind)
}
