//! The ledger of a resource manager: what a claim takes of its host, as one atomic commit.
//!
//! A claim is an object and a few counters, with what the host can give as limits. The commit makes both or neither,
//! so that the sum of all claims on a host never exceeds the host, whoever asks at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::typed::{Claim, ClaimRequest, ClaimResult, ClaimSpec, KindOf, Node, Requests, ResourceList};
use arktos_core::{Encoded, GroupResource, ObjectKey, Revision, Timestamp};
use arktos_store::{Change, Commit, CommitError, CounterChange, Expect, Stored};
use serde::Deserialize;

use crate::ports::Port;
use crate::resources::amount;

/// The label under which a claim says whose it is.
pub const PARTITION_LABEL: &str = "region.arktos.io/partition";

/// What a port on all addresses takes of its counter, and the most there is: more than any host has addresses.
const ALL_ADDRESSES: i64 = 1 << 20;

/// What pods may use of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocatable(BTreeMap<String, i64>);

impl Allocatable {
    /// What a node says of itself. Nothing else of it is decoded.
    ///
    /// # Errors
    /// When it does not say so as a node does.
    pub fn of(node: &Encoded) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Status {
            allocatable: Option<ResourceList>,
        }
        #[derive(Deserialize)]
        struct Node {
            status: Option<Status>,
        }
        let list = node.parse::<Node>()?.status.and_then(|status| status.allocatable).unwrap_or_default();
        let amount = |name: &String, quantity| (name.clone(), amount(name, quantity));
        Ok(Self(list.iter().map(|(name, quantity)| amount(name, quantity)).collect()))
    }

    fn get(&self, resource: &str) -> i64 {
        self.0.get(resource).copied().unwrap_or(0)
    }
}

/// Turns what is asked into commits, and what became of them into answers. Plain functions of their arguments.
#[derive(Clone)]
pub struct Ledger {
    kind: Arc<Kind>,
    claims: GroupResource,
    nodes: GroupResource,
}

impl InvalidClaim {
    pub(super) fn node(name: &str, error: &serde_json::Error) -> Self {
        Self(format!("the node {name} cannot be read: {error}"))
    }
}

/// Why a claim cannot even be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidClaim(String);

impl Ledger {
    /// The ledger, over the kinds there are.
    ///
    /// # Errors
    /// [`InvalidClaim`] when claims are none of them.
    pub fn new(catalog: &Catalog) -> Result<Self, InvalidClaim> {
        let (claims, nodes) = (Claim::resource(), Node::resource());
        let kind = catalog.storage(&claims).ok_or_else(|| InvalidClaim(format!("there is no kind {claims}")))?;
        Ok(Self { kind, claims, nodes })
    }

    /// The key of a claim.
    #[must_use]
    pub fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::region_scoped(self.claims.clone(), name)
    }

    /// The key of a host.
    #[must_use]
    pub fn host_key(&self, name: &str) -> ObjectKey {
        ObjectKey::region_scoped(self.nodes.clone(), name)
    }

    /// The commit that makes a claim: its object, its host as it was at a revision, the host's counters within what it
    /// can give then.
    ///
    /// # Errors
    /// [`InvalidClaim`] when the request is not one.
    pub fn open(
        &self,
        partition: &str,
        request: &ClaimRequest,
        (host, at): (&Allocatable, Revision),
        uid: String,
        now: Timestamp,
    ) -> Result<Commit, InvalidClaim> {
        check(request)?;
        let spec = spec_of(partition, request);
        let mut claim = Claim::named(&request.name);
        claim.metadata.uid = uid;
        claim.metadata.creation_timestamp = Some(now);
        claim.metadata.labels.insert(PARTITION_LABEL.to_owned(), partition.to_owned());
        let counters = counters_of(&spec, |resource| host.get(resource));
        claim.spec = spec;
        let object = self.kind.encode(&claim.to_object()).map_err(|error| InvalidClaim(error.to_string()))?;
        let mut commit = Commit::one(self.key(&request.name), Expect::Absent, Change::put(object))
            .guarded(self.host_key(&request.node), Expect::At(at));
        commit.counters = counters;
        Ok(commit)
    }

    /// The commit that ends a claim and gives back what it took.
    ///
    /// # Errors
    /// [`InvalidClaim`] when what is stored is not a claim.
    pub fn close(&self, stored: &Stored) -> Result<Commit, InvalidClaim> {
        let claim: Claim = stored.object.parse().map_err(|error| InvalidClaim(error.to_string()))?;
        let key = ObjectKey { resource: self.claims.clone(), path: stored.path.clone() };
        let mut commit = Commit::one(key, Expect::At(stored.revision), Change::Delete);
        commit.counters = counters_of(&claim.spec, |_| 0)
            .into_iter()
            .map(|change| CounterChange { delta: -change.delta, limit: None, ..change })
            .collect();
        Ok(commit)
    }

    /// Whether a stored claim is the one that a request asks for.
    #[must_use]
    pub fn is(&self, stored: &Stored, partition: &str, request: &ClaimRequest) -> bool {
        let claim: Result<Claim, _> = stored.object.parse();
        claim.is_ok_and(|claim| claim.spec == spec_of(partition, request))
    }

    /// The answer to a request whose commit was refused, unless it is the claim itself that was there already.
    #[must_use]
    pub fn refusal(&self, request: &ClaimRequest, error: &CommitError) -> ClaimResult {
        let (reason, message) = match error {
            CommitError::Limit { counter, value, limit, .. } => {
                let resource = counter.rsplit_once(&format!("claim/{}/", request.node)).map_or("", |(_, name)| name);
                let limit = limit.unwrap_or(0);
                ("Insufficient", format!("{} has {value} of {limit} {resource} claimed already", request.node))
            }
            CommitError::Guarded { .. } => ("HostGone", format!("there is no host {}", request.node)),
            CommitError::Conflict { .. } => {
                ("Taken", format!("{} is a claim on another host or for something else", request.name))
            }
            error => ("Unavailable", error.to_string()),
        };
        refused(&request.name, reason, message)
    }
}

/// The answer that a claim is made.
#[must_use]
pub fn accepted(request: &ClaimRequest) -> ClaimResult {
    let (name, epoch) = (request.name.clone(), request.epoch);
    ClaimResult { name, accepted: true, epoch, ..ClaimResult::default() }
}

/// The answer that something is not so.
#[must_use]
pub fn refused(name: &str, reason: &str, message: String) -> ClaimResult {
    ClaimResult { name: name.to_owned(), reason: reason.to_owned(), message, ..ClaimResult::default() }
}

fn check(request: &ClaimRequest) -> Result<(), InvalidClaim> {
    if let Some(fault) = arktos_core::name::subdomain_fault(&request.name) {
        return Err(InvalidClaim(format!("a claim's name: {fault}")));
    }
    if let Some(fault) = arktos_core::name::subdomain_fault(&request.node) {
        return Err(InvalidClaim(format!("a host's name: {fault}")));
    }
    let Requests { cpu, memory, pods, extended, .. } = &request.requests;
    let mut amounts = extended.values().chain([cpu, memory, pods]);
    match amounts.find(|amount| **amount < 0) {
        Some(amount) => Err(InvalidClaim(format!("{amount} cannot be claimed"))),
        None => Ok(()),
    }
}

fn spec_of(partition: &str, request: &ClaimRequest) -> ClaimSpec {
    ClaimSpec {
        partition: partition.to_owned(),
        tenant: request.tenant.clone(),
        namespace: request.namespace.clone(),
        pod: request.pod.clone(),
        pod_uid: request.pod_uid.clone(),
        node: request.node.clone(),
        requests: request.requests.clone(),
        ports: request.ports.clone(),
        epoch: request.epoch,
        ..ClaimSpec::default()
    }
}

/// What a claim adds to its host's counters.
fn counters_of(spec: &ClaimSpec, limit: impl Fn(&str) -> i64) -> Vec<CounterChange> {
    let counter = |what: &str| Arc::from(format!("claim/{}/{what}", spec.node));
    let Requests { cpu, memory, pods, extended, .. } = &spec.requests;
    let fixed = [("cpu-milli", "cpu", *cpu), ("memory", "memory", *memory), ("pods", "pods", *pods)];
    let extended = extended.iter().map(|(name, amount)| (name.as_str(), name.as_str(), *amount));
    let mut counters: Vec<CounterChange> = fixed
        .into_iter()
        .chain(extended)
        .filter(|(_, _, amount)| *amount > 0)
        .map(|(name, resource, delta)| CounterChange { counter: counter(name), delta, limit: Some(limit(resource)) })
        .collect();
    for port in &spec.ports {
        let Port { protocol, port, address } = Port::from(port);
        let delta = if address.is_empty() { ALL_ADDRESSES } else { 1 };
        let name = format!("port/{protocol}/{port}");
        counters.push(CounterChange { counter: counter(&name), delta, limit: Some(ALL_ADDRESSES) });
        if !address.is_empty() {
            let counter = counter(&format!("{name}/{address}"));
            counters.push(CounterChange { counter, delta: 1, limit: Some(1) });
        }
    }
    counters
}
