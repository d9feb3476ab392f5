//! Capacity is claimed before it is used: the protocol between partitions and resource managers.
//!
//! ```text
//!  partition                                              resource manager
//!  scheduler ── ClaimReview{claims} ────────────────────► ledger: claim object + host counters, one commit
//!      │      ◄─ accepted / refused, each by itself ─────
//!      ├─ bind, guarded by the claim's fence being absent
//!  reaper ───── ClaimReview{releases} ──────────────────► the object goes, the counters are given back, one commit
//!  fence  ◄──── ClaimReview{asks} ─────────────────────── asker: claims that are old and not known to be bound
//!      └─ unless the pod is bound: writes the fence, then answers "ended"
//! ```
//!
//! A claim ends only by its partition's durable word. A timer makes the resource manager ask, never more; a partition
//! that does not answer keeps its claims. The one other word is that of the operator who removes a partition for good.
//!
//! A claim is named `<partition>.<uid of the pod>`, and from its second epoch on `<partition>.<uid>.<epoch>`: what was
//! fenced once can never be bound again, so the next attempt for the same pod is another claim.

pub mod asker;
pub mod direct;
pub mod fence;
pub mod ledger;
pub mod reaper;
pub mod review;

use arktos_core::typed::{ClaimReview, ClaimReviewStatus, KindOf};
use arktos_core::{ObjectKey, Status};
use arktos_store::Client;
use serde::Deserialize;

pub use asker::Asker;
pub use direct::DirectClaimer;
pub use fence::Fence;
pub use ledger::{Allocatable, InvalidClaim, Ledger, PARTITION_LABEL};
pub use reaper::Reaper;
pub use review::{ClaimReviewHandler, REVIEW_MAX};

/// The annotation of a binding that says under which claim it is made: `<resource manager>/<claim>`.
pub const CLAIM_ANNOTATION: &str = "arktos.io/claim";
/// The annotation of a binding that says in which term of a scheduler it is made; it is refused in any other.
pub const TERM_ANNOTATION: &str = "arktos.io/term";
/// The note on a pod that says under which claim it is bound: `<resource manager>/<claim>`.
pub const CLAIM_NOTE: &str = "claim";

/// The name of the claim for a pod.
#[must_use]
pub fn claim_name(partition: &str, pod_uid: &str, epoch: i64) -> String {
    if epoch == 0 { format!("{partition}.{pod_uid}") } else { format!("{partition}.{pod_uid}.{epoch}") }
}

/// Posts a review to a resource manager, or to a partition, and gives back what is answered.
///
/// # Errors
/// What the other side answers, or that it does not; and when the answer is not a review.
pub async fn post(client: &dyn Client, review: &ClaimReview) -> Result<ClaimReviewStatus, Status> {
    let key = ObjectKey::region_scoped(ClaimReview::resource(), "");
    let answer = client.post(&key, "", review.to_object()).await?;
    let status = answer.at(&["status"]).map(Option::<ClaimReviewStatus>::deserialize).transpose();
    let status = status.map_err(|error| Status::internal(format!("the review's answer: {error}")))?;
    Ok(status.flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests;
