//! Claims for pods that come with their host's name: from whoever binds without a scheduler of this project.

use std::sync::Arc;

use arktos_core::typed::{ClaimPort, ClaimRequest, ClaimReview, KindOf, Node, Pod};
use arktos_core::{Object, ObjectKey, Reason, Status};
use arktos_store::roster::Named;
use arktos_store::{Client, Roster};
use futures::stream::{FuturesUnordered, StreamExt};

use super::{claim_name, post};
use crate::ports::ports_of;
use crate::resources::requests_of;

/// Claims the host that a pod names, at whichever resource manager has it.
pub struct DirectClaimer {
    partition: String,
    managers: Roster,
}

impl DirectClaimer {
    /// A claimer for a partition over the resource managers, by name.
    #[must_use]
    pub fn new(partition: &str, managers: impl Into<Roster>) -> Self {
        Self { partition: partition.to_owned(), managers: managers.into() }
    }

    /// Claims the host that the pod names in `spec.nodeName`. Gives back `resource manager/claim`. Claiming again for
    /// the same pod and host is harmless; a claim whose pod is never made is given back by the reaper.
    ///
    /// # Errors
    /// When no resource manager has such a host, the host has no room, or its resource manager does not answer.
    pub async fn claim(&self, tenant: &str, pod: &Object) -> Result<String, Status> {
        let typed = Pod::from_object(pod).map_err(|error| Status::bad_request(error.to_string()))?;
        let (manager, client) = self.manager_of(&typed.spec.node_name).await?;
        let name = claim_name(&self.partition, &typed.metadata.uid, 0);
        let mut review = ClaimReview::default();
        review.spec.partition.clone_from(&self.partition);
        review.spec.claims.push(ClaimRequest {
            name: name.clone(),
            tenant: tenant.to_owned(),
            namespace: typed.metadata.namespace,
            pod: typed.metadata.name.clone(),
            pod_uid: typed.metadata.uid,
            node: typed.spec.node_name.clone(),
            requests: requests_of(&typed.spec),
            ports: ports_of(&typed.spec).iter().map(ClaimPort::from).collect(),
            ..ClaimRequest::default()
        });
        let answer = post(&*client, &review).await?;
        match answer.results.first() {
            Some(result) if result.accepted => Ok(format!("{manager}/{name}")),
            Some(result) => Err(Status::conflict(&Pod::resource(), &typed.metadata.name, &result.message)),
            None => Err(Status::internal("the resource manager left the claim out of its answer")),
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
