//! Claims: how schedulers ask for a host's capacity and resource managers grant it.

use std::collections::BTreeMap;

use super::kind;
use super::record::record;
use super::{Nothing, Typed};

/// Capacity of a host that is set aside for a pod: the resource manager's record.
pub type Claim = Typed<ClaimSpec, Nothing>;
kind!(Claim, "claims.region.arktos.io", "region.arktos.io/v1", "Claim");

/// Placements that a scheduler proposes, each accepted or refused by itself. It is answered, not stored.
pub type ClaimReview = Typed<ClaimReviewSpec, ClaimReviewStatus>;
kind!(ClaimReview, "claimreviews.region.arktos.io", "region.arktos.io/v1", "ClaimReview");

/// The partition's word that a claim is over: while it exists, nothing can be bound under that claim.
pub type ClaimFence = Typed<ClaimFenceSpec, Nothing>;
kind!(ClaimFence, "claimfences.region.arktos.io", "region.arktos.io/v1", "ClaimFence");

record! {
    /// What a pod takes of a host.
    pub struct Requests {
        /// Thousandths of a processor.
        cpu: i64,
        /// Bytes of memory.
        memory: i64,
        /// Pods (one, but for tests).
        pods: i64,
        /// Further resources by name, in whole units.
        #[serde(rename = "other")]
        extended: BTreeMap<String, i64>,
    }
}

record! {
    /// What a claim holds.
    pub struct ClaimSpec {
        /// The partition that asked.
        partition: String,
        /// The pod's tenant.
        tenant: String,
        /// The pod's namespace.
        namespace: String,
        /// The pod.
        pod: String,
        /// The pod's uid.
        #[serde(rename = "podUID")]
        pod_uid: String,
        /// The host.
        node: String,
        /// How much of it.
        requests: Requests,
        /// The ports of it.
        ports: Vec<ClaimPort>,
        /// Grows with every change of hands; the partition fences it.
        epoch: i64,
    }
}

record! {
    /// A port of a host.
    pub struct ClaimPort {
        /// `TCP` (the default), `UDP` or `SCTP`.
        protocol: String,
        /// The port.
        port: u16,
        /// The host's address it is bound to; all of them when empty.
        address: String,
    }
}

record! {
    /// One placement that is asked for.
    pub struct ClaimRequest {
        /// The claim's name, chosen by the asker, so that asking again is harmless.
        name: String,
        /// The pod's tenant.
        tenant: String,
        /// The pod's namespace.
        namespace: String,
        /// The pod.
        pod: String,
        /// The pod's uid.
        #[serde(rename = "podUID")]
        pod_uid: String,
        /// The host.
        node: String,
        /// How much of it.
        requests: Requests,
        /// The ports of it.
        ports: Vec<ClaimPort>,
        /// Grows with every change of hands.
        epoch: i64,
    }
}

record! {
    /// What is asked for: placements and releases by a partition of a resource manager, or, by a resource manager of a
    /// partition, whether claims still hold.
    pub struct ClaimReviewSpec {
        /// The partition that asks, or is asked.
        partition: String,
        /// The resource manager that asks; empty when a partition does.
        resource_manager: String,
        /// The placements.
        claims: Vec<ClaimRequest>,
        /// The names of claims that the partition gives back.
        releases: Vec<String>,
        /// The claims that the resource manager asks about.
        asks: Vec<ClaimRequest>,
    }
}

record! {
    /// The answers, in the order of the questions.
    pub struct ClaimReviewStatus {
        /// One for each placement.
        results: Vec<ClaimResult>,
        /// One for each release.
        releases: Vec<ClaimResult>,
        /// One for each claim that was asked about; accepted means that a pod is bound under it, refused that it has
        /// ended for good. A claim whose state could not be told is left out.
        answers: Vec<ClaimResult>,
    }
}

record! {
    /// The answer to one placement.
    pub struct ClaimResult {
        /// Why it was refused, for a program: `Insufficient`, `HostGone`, `Taken`, `Invalid` or `Unavailable`.
        reason: String,
        /// Why it was refused, for a person.
        message: String,
        /// The accepted claim's epoch.
        epoch: i64,
    } always {
        /// The claim's name.
        name: String,
        /// Whether it is accepted.
        accepted: bool,
    }
}

record! {
    /// Which claim is over.
    pub struct ClaimFenceSpec {
        /// The resource manager that holds the claim.
        resource_manager: String,
        /// The claim's name.
        claim: String,
        /// The epochs up to which it is over.
        epoch: i64,
    }
}
