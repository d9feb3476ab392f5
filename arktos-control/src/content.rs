//! Deleting everything in a namespace or a tenant: every object of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arktos_core::encoded::SHARED;
use arktos_core::typed::Condition;
use arktos_core::{GroupResource, ObjectKey, Reason, Status, Timestamp};
use arktos_store::client::Propagation;
use arktos_store::{Client, Query, Stored, Within};
use futures::StreamExt;

use crate::kinds::PODS;
use crate::write::{delete, found};

/// How many deletions are under way at a time.
const AT_ONCE: usize = 16;
/// How long an object with a finalizer is expected to take.
const FINALIZER_ESTIMATE: Duration = Duration::from_secs(15);

/// What is left after an attempt to delete everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many objects of each resource.
    pub(crate) objects: BTreeMap<GroupResource, usize>,
    /// How many objects wait for each finalizer.
    pub(crate) finalizers: BTreeMap<String, usize>,
    /// What holds up its parts, where they say it themselves.
    pub(crate) reasons: Vec<String>,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
    /// How long it may take until they are gone.
    pub(crate) estimate: Duration,
}

impl Left {
    /// Whether nothing is left, for certain.
    pub(crate) fn is_nothing(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty()
    }

    /// Says what is left, as conditions of a namespace or tenant (`owner`) in upstream's words.
    pub(crate) fn note(&self, owner: &str, conditions: &mut Vec<Condition>, now: Timestamp) {
        let mut say = |kind: &str, bad: bool, reason: &str, message: String| {
            let condition = Condition {
                reason: reason.to_owned(),
                message,
                last_transition_time: Some(now),
                ..Condition::new(&format!("{owner}{kind}"), if bad { "True" } else { "False" })
            };
            condition.set(conditions);
        };
        let fine = |text: &str| text.to_owned();
        say("DeletionDiscoveryFailure", false, "ResourcesDiscovered", fine("All resources successfully discovered"));
        let parsed = fine("All legacy kube types successfully parsed");
        say("DeletionGroupVersionParsingFailure", false, "ParsedGroupVersions", parsed);
        if self.failures.is_empty() {
            let message = fine("All content successfully deleted, may be waiting on finalization");
            say("DeletionContentFailure", false, "ContentDeleted", message);
        } else {
            let message = format!(
                "Failed to delete all resource types, {} remaining: {}",
                self.failures.len(),
                self.failures.join(", ")
            );
            say("DeletionContentFailure", true, "ContentDeletionFailed", message);
        }
        if self.objects.is_empty() {
            say("ContentRemaining", false, "ContentRemoved", fine("All content successfully removed"));
        } else {
            let one = |(resource, count): (&GroupResource, &usize)| {
                format!("{}.{} has {count} resource instances", resource.resource(), resource.group())
            };
            let all: Vec<String> = self.objects.iter().map(one).collect();
            let reasons: String = self.reasons.iter().map(|reason| format!("; {reason}")).collect();
            let message = format!("Some resources are remaining: {}{reasons}", all.join(", "));
            say("ContentRemaining", true, "SomeResourcesRemain", message);
        }
        if self.finalizers.is_empty() {
            let message = fine("All content-preserving finalizers finished");
            say("FinalizersRemaining", false, "ContentHasNoFinalizers", message);
        } else {
            let one = |(finalizer, count): (&String, &usize)| format!("{finalizer} in {count} resource instances");
            let all: Vec<String> = self.finalizers.iter().map(one).collect();
            let message =
                format!("Some content in the {} has finalizers remaining: {}", owner.to_lowercase(), all.join(", "));
            say("FinalizersRemaining", true, "SomeFinalizersRemain", message);
        }
    }
}

/// Deletes every object of these resources within a range of paths, and says what is left. Pods go first, and nothing
/// else is touched while there are any: what they use stays for as long as they do.
pub(crate) async fn delete_all(
    client: &dyn Client,
    within: &Within,
    resources: &BTreeSet<GroupResource>,
    now: Timestamp,
) -> Left {
    let mut left = Left::default();
    if let Err(status) = client.clear(within).await {
        left.failures.push(status.to_string());
        return left;
    }
    // Most resources have nothing there, and need not be asked for one by one.
    let there = match client.resources(within).await {
        Ok(there) => there.map(|there| there.into_iter().collect::<BTreeSet<_>>()),
        Err(status) => {
            left.failures.push(status.to_string());
            return left;
        }
    };
    let there = |resource: &&GroupResource| there.as_ref().is_none_or(|there| there.contains(*resource));
    let (pods, others): (Vec<_>, Vec<_>) =
        resources.iter().filter(there).partition(|resource| **resource == PODS.resource);
    for resource in pods {
        empty(client, within, resource, now, &mut left).await;
    }
    if left.objects.is_empty() && left.failures.is_empty() {
        for resource in others {
            empty(client, within, resource, now, &mut left).await;
        }
    }
    left
}

/// Deletes every object of one resource.
async fn empty(client: &dyn Client, within: &Within, resource: &GroupResource, now: Timestamp, left: &mut Left) {
    let query = Query::all(resource.clone(), within.clone());
    let items = match list(client, &query).await {
        Ok(items) if items.is_empty() => return,
        // Kinds that tenants define are not there in every tenant, and not for ever.
        Err(status) if status.is(Reason::NotFound) => return,
        Ok(items) => items,
        Err(status) => return left.failures.push(format!("{resource}: {status}")),
    };
    let mut deletions = Vec::with_capacity(items.len());
    for item in &items {
        if item.object.header().deletion().is_none() {
            deletions.push(remove(client, resource, item));
        }
    }
    let outcomes: Vec<_> = futures::stream::iter(deletions).buffer_unordered(AT_ONCE).collect().await;
    let failure = outcomes.into_iter().find_map(Result::err);
    if let Some(status) = failure.filter(|status| !status.is(Reason::Conflict)) {
        left.failures.push(format!("{resource}: {status}"));
    }
    match list(client, &query).await {
        Ok(items) => count(resource, &items, now, left),
        Err(status) => left.failures.push(format!("{resource}: {status}")),
    }
}

async fn remove(client: &dyn Client, resource: &GroupResource, item: &Stored) -> Result<(), Status> {
    let key = ObjectKey { resource: resource.clone(), path: item.path.clone() };
    delete(client, &key, item.object.header().uid(), Some(Propagation::Background)).await
}

fn count(resource: &GroupResource, items: &[Stored], now: Timestamp, left: &mut Left) {
    if items.is_empty() {
        return;
    }
    left.objects.insert(resource.clone(), items.len());
    for item in items {
        let header = item.object.header();
        for finalizer in header.finalizers() {
            *left.finalizers.entry(finalizer.to_string()).or_insert(0) += 1;
        }
        // A deletion mark says when the object is to be gone.
        let grace = header.deletion().map_or(FINALIZER_ESTIMATE, |gone| gone.since(now));
        let finalizers = if header.finalizers().len() == 0 { Duration::ZERO } else { FINALIZER_ESTIMATE };
        left.estimate = left.estimate.max(grace).max(finalizers);
    }
}

/// A list, without what every tenant sees and none has; a resource that is not served has no objects.
async fn list(client: &dyn Client, query: &Query) -> Result<Vec<Stored>, Status> {
    match found(client.list(query).await) {
        Ok(listing) => {
            let items = listing.map(|listing| listing.items).unwrap_or_default();
            Ok(items.into_iter().filter(|item| item.object.header().note(SHARED).is_none()).collect())
        }
        Err(status) if status.is(Reason::MethodNotAllowed) => Ok(Vec::new()),
        Err(status) => Err(status),
    }
}
