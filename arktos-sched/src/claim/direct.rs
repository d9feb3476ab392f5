//! Claims for pods that come with their host's name: from whoever binds without a scheduler of this project.

use std::sync::Arc;

use arktos_core::typed::{ClaimFence, ClaimPort, ClaimRequest, ClaimReview, KindOf, Node, Pod};
use arktos_core::{Object, ObjectKey, Reason, Status};
use arktos_store::roster::Named;
use arktos_store::{Client, Roster};
use futures::stream::{FuturesUnordered, StreamExt};

use super::{claim_name, post};
use crate::ports::ports_of;
use crate::resources::requests_of;

/// How many claims of one pod may have ended, or be for another host, before the next one is not tried any more.
const EPOCHS: i64 = 32;

/// Claims the host that a pod names, at whichever resource manager has it.
pub struct DirectClaimer {
    partition: String,
    managers: Roster,
    /// Who knows which claims have ended for good.
    fences: Option<Arc<dyn Client>>,
}

impl DirectClaimer {
    /// A claimer for a partition over the resource managers, by name.
    #[must_use]
    pub fn new(partition: &str, managers: impl Into<Roster>) -> Self {
        Self { partition: partition.to_owned(), managers: managers.into(), fences: None }
    }

    /// The same, that asks the partition which claims have ended for good: nothing can be bound under them.
    #[must_use]
    pub fn fenced(self, partition: Arc<dyn Client>) -> Self {
        Self { fences: Some(partition), ..self }
    }

    /// Claims the host that the pod names in `spec.nodeName`. Gives back `resource manager/claim`. Claiming again for
    /// the same pod and host is harmless; a claim whose pod is never made is given back by the reaper, and so is one
    /// of an earlier attempt to bind the pod, which is left alone.
    ///
    /// # Errors
    /// When no resource manager has such a host, the host has no room, or its resource manager does not answer.
    pub async fn claim(&self, tenant: &str, pod: &Object) -> Result<String, Status> {
        let typed = Pod::from_object(pod).map_err(|error| Status::bad_request(error.to_string()))?;
        let (manager, client) = self.manager_of(&typed.spec.node_name).await?;
        let refused = |why: &str| Status::conflict(&Pod::resource(), &typed.metadata.name, why);
        for epoch in 0..EPOCHS {
            let name = claim_name(&self.partition, &typed.metadata.uid, epoch);
            if self.is_fenced(&name).await? {
                continue;
            }
            let mut review = ClaimReview::default();
            review.spec.partition.clone_from(&self.partition);
            review.spec.claims.push(request(tenant, &typed, &name, epoch));
            let answer = post(&*client, &review).await?;
            match answer.results.first() {
                Some(result) if result.accepted => return Ok(format!("{manager}/{name}")),
                Some(result) if result.reason == "Taken" => {} // for another host, or what the pod asked for before
                Some(result) => return Err(refused(&result.message)),
                None => return Err(Status::internal("the resource manager left the claim out of its answer")),
            }
        }
        Err(refused("too many attempts to bind it have failed"))
    }

    /// Whether a claim has ended for good.
    async fn is_fenced(&self, claim: &str) -> Result<bool, Status> {
        let Some(fences) = &self.fences else { return Ok(false) };
        match fences.get(&ObjectKey::region_scoped(ClaimFence::resource(), claim)).await {
            Ok(_) => Ok(true),
            Err(status) if status.is(Reason::NotFound) => Ok(false),
            Err(status) => Err(status),
        }
    }

    async fn manager_of(&self, node: &str) -> Result<(String, Arc<dyn Client>), Status> {
        let key = ObjectKey::region_scoped(Node::resource(), node);
        let members = self.managers.now();
        let unknown =
            || Status::failure(Reason::ServiceUnavailable, "it is not known yet which resource managers there are");
        let mut unanswered = (!members.complete).then(|| unknown().retry_after(1));
        // All at once: one that says nothing keeps nobody from the hosts of others.
        let ask = |(name, client): &Named| {
            let (name, client, key) = (name.clone(), client.clone(), key.clone());
            async move { (client.get(&key).await, name, client) }
        };
        let mut asked: FuturesUnordered<_> = members.present.iter().map(ask).collect();
        while let Some((answer, name, client)) = asked.next().await {
            match answer {
                Ok(_) => return Ok((name, client)),
                Err(status) if status.is(Reason::NotFound) => {}
                Err(status) => unanswered = Some(status),
            }
        }
        Err(unanswered.unwrap_or_else(|| Status::not_found(&Node::resource(), node)))
    }
}

/// What is claimed for a pod on the host that it names.
fn request(tenant: &str, pod: &Pod, name: &str, epoch: i64) -> ClaimRequest {
    ClaimRequest {
        name: name.to_owned(),
        tenant: tenant.to_owned(),
        namespace: pod.metadata.namespace.clone(),
        pod: pod.metadata.name.clone(),
        pod_uid: pod.metadata.uid.clone(),
        node: pod.spec.node_name.clone(),
        requests: requests_of(&pod.spec),
        ports: ports_of(&pod.spec).iter().map(ClaimPort::from).collect(),
        epoch,
        ..ClaimRequest::default()
    }
}
