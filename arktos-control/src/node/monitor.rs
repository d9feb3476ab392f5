//! Which hosts are heard of, and which have gone silent.
//!
//! A pass looks at complete, current lists of hosts and of their leases, as the API answers them now. When it does not
//! answer, or this loop itself was held up, nobody was listening: every host then gets its whole grace anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{Condition, KindOf, Node};
use arktos_core::{Reason, Revision, Status, TenantName, Timestamp};
use arktos_store::{Client, Clock, Query, Stored, Within};
use serde::Deserialize;

use super::listening::Listening;
use super::taints::{self, Readiness, readiness, set_taints};
use crate::events::Teller;
use crate::kinds::{LEASES, NODES};
use crate::write::{set_status, tree, unreadable};

/// The time between two passes.
const PERIOD: Duration = Duration::from_secs(5);
/// How long a host may take to report for the first time.
const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// What a host reports, and what nobody knows of a silent one.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// How long after one silent host the pods of the next one of its zone may be driven out.
const EVICTION_PERIOD: Duration = Duration::from_secs(10);
/// The same in a large zone of which most hosts are silent.
const SLOW_EVICTION_PERIOD: Duration = Duration::from_secs(100);
/// A zone is large from so many hosts on.
const LARGE_ZONE: usize = 50;
/// Most hosts of a zone are silent when at least three are, and this part of it.
const MOST: f64 = 0.55;

pub(super) struct Monitor {
    pub(super) client: Arc<dyn Client>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Teller,
    pub(super) grace: Duration,
    /// When each host was last heard of, and by what. Written by each pass.
    pub(super) heard: HashMap<String, Heard>,
    /// When the next host of each zone may lose its pods.
    pub(super) next_eviction: HashMap<String, Timestamp>,
    /// Since when hosts are listened to.
    pub(super) listening: Listening,
}

/// The last that was heard of a host.
pub(super) struct Heard {
    uid: Box<str>,
    lease: Option<Revision>,
    ready: Option<Condition>,
    at: Timestamp,
    /// The revision at which the host was ready and nothing drove its pods out, and its zone. Most hosts are so, and
    /// are not read again until they change.
    settled: Option<(Revision, Arc<str>)>,
}

/// A host as a pass sees it.
struct Host {
    stored: Stored,
    zone: Arc<str>,
    /// Absent for one that is settled.
    node: Option<Node>,
}

impl Host {
    fn name(&self) -> &str {
        self.stored.path.name()
    }
}

/// How a zone is doing.
#[derive(Default, Clone, Copy)]
struct Zone {
    ready: usize,
    silent: usize,
}

impl Monitor {
    /// Looks at all hosts again and again. Never ends.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(status) = self.pass().await {
                tracing::warn!(%status, "the hosts could not be checked");
                self.listening.end();
            }
            self.clock.sleep(PERIOD).await;
        }
    }

    async fn pass(&mut self) -> Result<(), Status> {
        let leases =
            Query::all(LEASES.resource.clone(), Within::Namespace(TenantName::system(), "kube-node-lease".to_owned()));
        let leases = self.client.list(&leases).await?.items;
        let stored = self.client.list(&Query::everywhere(NODES.resource.clone())).await?.items;
        let leases: HashMap<&str, &Stored> = leases.iter().map(|lease| (lease.path.name(), lease)).collect();
        let now = self.clock.now();
        if !self.listening.go_on(now) {
            self.heard.clear();
        }
        let here: HashSet<&str> = stored.iter().map(|stored| stored.path.name()).collect();
        self.heard.retain(|name, _| here.contains(name.as_str()));
        let mut hosts = Vec::with_capacity(stored.len());
        for stored in stored {
            // A host writes its own object and lease: what cannot be read of one says nothing of the others.
            let mut host = match self.host(stored) {
                Ok(host) => host,
                Err(status) => {
                    tracing::warn!(%status, "a host is passed over");
                    continue;
                }
            };
            let silent = self.listen(&host, leases.get(host.name()).copied(), now);
            if silent && let Err(status) = self.note_silence(&mut host, now).await {
                tolerate(status)?;
            }
            hosts.push(host);
        }
        self.drive_out(hosts, now).await
    }

    /// Reads a host, unless it is known to be settled.
    fn host(&self, stored: Stored) -> Result<Host, Status> {
        let settled = self.heard.get(stored.path.name()).and_then(|heard| heard.settled.as_ref());
        if let Some((_, zone)) = settled.filter(|(revision, _)| *revision == stored.revision) {
            return Ok(Host { zone: zone.clone(), stored, node: None });
        }
        let node = read(&stored)?;
        Ok(Host { stored, zone: zone(&node).into(), node: Some(node) })
    }

    /// Takes in what was heard of a host, and says whether it has been silent for too long.
    fn listen(&mut self, host: &Host, lease: Option<&Stored>, now: Timestamp) -> bool {
        let (uid, revision) = (host.stored.object.header().uid(), lease.map(|lease| lease.revision));
        let known = self.heard.get_mut(host.name()).filter(|heard| *heard.uid == *uid);
        let Some(node) = &host.node else {
            let Some(heard) = known else { return false };
            if renewed(heard.lease, lease) {
                heard.at = now;
            }
            heard.lease = revision;
            return now.since(heard.at) > self.grace;
        };
        let reported = Condition::find(&node.status.conditions, "Ready");
        let grace = if reported.is_some() { self.grace } else { STARTUP_GRACE };
        let ready = reported.filter(|it| it.status != "Unknown").cloned();
        let settled = is_settled(node).then(|| (host.stored.revision, host.zone.clone()));
        match known {
            Some(heard) => {
                if renewed(heard.lease, lease) || (ready.is_some() && heard.ready != ready) {
                    heard.at = now;
                }
                let silent = now.since(heard.at) > grace;
                *heard = Heard { uid: uid.into(), lease: revision, ready, at: heard.at, settled };
                silent
            }
            None => {
                let heard = Heard { uid: uid.into(), lease: revision, ready, at: now, settled };
                self.heard.insert(host.name().to_owned(), heard);
                false
            }
        }
    }

    /// Notes that nobody knows how a silent host is doing.
    async fn note_silence(&self, host: &mut Host, now: Timestamp) -> Result<(), Status> {
        let node = match &mut host.node {
            Some(node) => node,
            unread => unread.insert(read(&host.stored)?),
        };
        let stored = &mut host.stored;
        let was_ready = readiness(node) == Readiness::Ready;
        let mut changed = false;
        for kind in REPORTED {
            let known = node.status.conditions.iter_mut().find(|condition| condition.kind == kind);
            match known {
                Some(condition) if condition.status == "Unknown" => {}
                Some(condition) => {
                    condition.status = "Unknown".to_owned();
                    condition.reason = "NodeStatusUnknown".to_owned();
                    condition.message = "Kubelet stopped posting node status.".to_owned();
                    condition.last_transition_time = Some(now);
                    changed = true;
                }
                None => {
                    node.status.conditions.push(Condition {
                        reason: "NodeStatusNeverUpdated".to_owned(),
                        message: "Kubelet never posted node status.".to_owned(),
                        last_heartbeat_time: node.metadata.creation_timestamp,
                        last_transition_time: Some(now),
                        ..Condition::new(kind, "Unknown")
                    });
                    changed = true;
                }
            }
        }
        if !changed {
            return Ok(());
        }
        *stored = set_status(&*self.client, &NODES.key(&stored.path), stored, &node.status).await?;
        if was_ready {
            let message = format!("Node {} status is now: NodeNotReady", stored.path.name());
            self.events.normal(stored, "NodeNotReady", message);
        }
        Ok(())
    }

    /// Sets and takes off the taints that make pods go: one host a zone at a time, and none while all zones are silent,
    /// for then it is rather us who cannot hear.
    async fn drive_out(&mut self, hosts: Vec<Host>, now: Timestamp) -> Result<(), Status> {
        let mut zones: HashMap<Arc<str>, Zone> = HashMap::new();
        for host in &hosts {
            let zone = zones.entry(host.zone.clone()).or_default();
            let ready = host.node.as_ref().is_none_or(|node| readiness(node) == Readiness::Ready);
            if ready { zone.ready += 1 } else { zone.silent += 1 }
        }
        let deaf = zones.values().all(|zone| zone.ready == 0 && zone.silent > 0);
        for Host { stored, zone: name, node } in hosts {
            let Some(mut node) = node else { continue };
            let state = readiness(&node);
            let reported = Condition::find(&node.status.conditions, "Ready").is_some();
            let zone = zones.get(&name).copied().unwrap_or_default();
            let mut target = state;
            if deaf || !reported {
                target = Readiness::Ready;
            } else if state != Readiness::Ready && !taints::drives_out(&node, state) {
                let swaps =
                    [Readiness::NotReady, Readiness::Unknown].iter().any(|other| taints::drives_out(&node, *other));
                if !swaps && !self.may_evict(&name, zone, now) {
                    continue;
                }
            }
            if taints::drive_out(&mut node, target, now) {
                let mut object = tree(&stored)?;
                set_taints(&mut object, &node);
                if let Err(status) = self.client.update(&NODES.key(&stored.path), None, object).await {
                    tolerate(status)?;
                }
            }
        }
        Ok(())
    }

    fn may_evict(&mut self, name: &str, zone: Zone, now: Timestamp) -> bool {
        #[allow(clippy::cast_precision_loss)] // numbers of hosts
        let part = zone.silent as f64 / (zone.ready + zone.silent).max(1) as f64;
        let disrupted = zone.ready > 0 && zone.silent > 2 && part >= MOST;
        if disrupted && zone.ready + zone.silent <= LARGE_ZONE {
            return false;
        }
        let period = if disrupted { SLOW_EVICTION_PERIOD } else { EVICTION_PERIOD };
        if self.next_eviction.get(name).is_some_and(|next| *next > now) {
            return false;
        }
        self.next_eviction.insert(name.to_owned(), now.later(period));
        true
    }
}

/// Whether a lease was renewed since it was seen at a revision.
fn renewed(before: Option<Revision>, lease: Option<&Stored>) -> bool {
    let Some(lease) = lease.filter(|lease| before != Some(lease.revision)) else { return false };
    // Of tens of thousands, in each pass: nothing else of them is read.
    #[derive(Deserialize)]
    struct Renewal {
        spec: Option<Renewed>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Renewed {
        renew_time: Option<Timestamp>,
    }
    let renewal = lease.object.parse().ok().and_then(|lease: Renewal| lease.spec?.renew_time);
    renewal.is_some()
}

fn read(stored: &Stored) -> Result<Node, Status> {
    Node::from_encoded(&stored.object, Some(stored.revision)).map_err(unreadable)
}

/// Whether a host is ready, and nothing drives its pods out: as long as it is heard of, there is nothing to do.
fn is_settled(node: &Node) -> bool {
    let driven = [Readiness::NotReady, Readiness::Unknown].iter().any(|state| taints::drives_out(node, *state));
    readiness(node) == Readiness::Ready && !driven
}

fn zone(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.get(key).map_or("", String::as_str);
    format!("{}/{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

/// What somebody else wrote in between, or took away, is looked at again in the next pass; so is a host of which the
/// API takes no more, be it as large as may be.
fn tolerate(status: Status) -> Result<(), Status> {
    use Reason::{BadRequest, Conflict, Forbidden, Invalid, NotFound, RequestEntityTooLarge};
    let of_one = [BadRequest, Conflict, Forbidden, Invalid, NotFound, RequestEntityTooLarge];
    if of_one.into_iter().any(|reason| status.is(reason)) { Ok(()) } else { Err(status) }
}
