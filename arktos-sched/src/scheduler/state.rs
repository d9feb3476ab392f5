//! What a scheduler knows: the pool, the pods that wait, the claims there are. A plain state machine: the handlers of
//! informers tell it what has changed, the planner asks it what to do, the workers tell it what came of it.

mod outcomes;
mod waking;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Catalog;
use arktos_core::typed::{ClaimRequest, ClaimSpec, KindOf, Node, NodeSpec, NodeStatus, Pod, PodSpec, PodStatus};
use arktos_core::{Encoded, ObjectPath, Timestamp};
use arktos_store::Stored;
use serde::Deserialize;
use serde::de::IgnoredAny;

use self::waking::Waking;
use super::tally::Tally;
use super::work::generation;
use crate::claim::reaper::{ClaimId, ClaimIds, PodFate};
use crate::claim::{CLAIM_NOTE, Reaper, claim_name};
use crate::class::ClassId;
use crate::hosts::{HostId, ManagerId, Usage};
use crate::neighbours::{Neighbours, Wishes};
use crate::plugin::Plugins;
use crate::pool::Pool;
use crate::queue::{Backoff, Queue};
use crate::uid::Uid;

/// How long a refusal keeps a host looking as full as it was said to be, unless its claims have shown by then.
const SHADOW: Duration = Duration::from_secs(1);
/// How much is done in one go while others wait for the lock, in looks at a host: some milliseconds' work.
const LOOKS_MAX: usize = 1 << 16;
/// How long a resource manager that did not answer is left alone.
const MANAGER_PAUSE: Duration = Duration::from_secs(1);
/// How often that doubles while it does not answer.
const SILENT_MAX: u32 = 5;

/// What a scheduler knows. One lock around it: written by the handlers of the informers, the planner and the workers.
pub(super) struct State {
    pub(super) partition: String,
    pub(super) scheduler_names: Vec<String>,
    pub(super) managers: Vec<Arc<str>>,
    pub(super) pool: Pool,
    pub(super) queue: Queue,
    pub(super) reaper: Reaper,
    pub(super) tally: Tally,
    pods: HashMap<ObjectPath, Waiting>,
    claims: HashMap<ClaimId, Holding>,
    /// The claims of this partition, by the uid of their pod.
    own: HashMap<Uid, ClaimIds>,
    /// Why no pod of a class has a place, until one may have.
    failures: HashMap<ClassId, Arc<str>>,
    /// What refused claims are taken to stand for, until when.
    shadows: BTreeMap<(Timestamp, u64), (HostId, Usage)>,
    neighbours: Neighbours,
    /// Parked pods that their neighbours may have kept from a place, by tenant.
    sensitive: HashMap<Box<str>, BTreeSet<ObjectPath>>,
    /// The tenants in which neighbours have changed since the last plan.
    stirred: BTreeSet<Box<str>>,
    /// Parked pods that have a claim after all.
    claimed: BTreeSet<ObjectPath>,
    /// The classes whose pods may have a place now that hosts have changed.
    waking: Waking,
    paused: HashMap<ManagerId, Timestamp>,
    /// How often in a row resource managers have not answered.
    silent: HashMap<ManagerId, u32>,
    fields: PodFields,
    current: Vec<bool>,
    turn: u64,
}

/// Where the header of a pod has what is asked of every pod.
struct PodFields {
    node: Option<usize>,
    phase: Option<usize>,
    scheduler: Option<usize>,
}

/// A pod that waits for a place, or is on its way to one.
struct Waiting {
    uid: Box<str>,
    object: Encoded,
    class: ClassId,
    wishes: Wishes,
    /// The epoch of its next claim.
    epoch: i64,
    since: Timestamp,
    /// What was last said of it.
    said: Option<Arc<str>>,
}

/// A claim as it weighs on its host.
struct Holding {
    host: HostId,
    usage: Usage,
    pod_uid: Uid,
    epoch: i64,
    /// Whether the resource manager has shown it, or it is only expected.
    shown: bool,
}

/// A pod on its way to a host.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    pub(super) pod: ObjectPath,
    /// The pod as it was when its place was found.
    pub(super) object: Option<Encoded>,
    pub(super) request: ClaimRequest,
    /// Whether the claim is made already.
    pub(super) claimed: bool,
    /// Since when it waits, and when this attempt began.
    pub(super) since: (Timestamp, Timestamp),
}

/// A pod that has no place, and what is to be said of it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) pod: ObjectPath,
    pub(super) uid: Box<str>,
    /// The generation of the pod that was looked at.
    pub(super) generation: i64,
    pub(super) message: Arc<str>,
}

/// What is to be done next.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) placements: BTreeMap<ManagerId, Vec<Placement>>,
    pub(super) failures: Vec<Failure>,
}

impl State {
    pub(super) fn new(partition: &str, names: Vec<String>, plugins: Plugins, backoff: Backoff, turn: u64) -> Self {
        let pods = Catalog::builtin().storage(&Pod::resource());
        let field = |name| pods.as_ref().and_then(|kind| kind.field(name));
        let (node, phase, scheduler) = (field("spec.nodeName"), field("status.phase"), field("spec.schedulerName"));
        let fields = PodFields { node, phase, scheduler };
        Self {
            partition: partition.to_owned(),
            scheduler_names: names,
            pool: Pool::new(0, plugins),
            current: Vec::new(),
            managers: Vec::new(),
            queue: Queue::new(backoff),
            reaper: Reaper::default(),
            tally: Tally::default(),
            pods: HashMap::new(),
            claims: HashMap::new(),
            own: HashMap::new(),
            failures: HashMap::new(),
            shadows: BTreeMap::new(),
            neighbours: Neighbours::default(),
            sensitive: HashMap::new(),
            stirred: BTreeSet::new(),
            claimed: BTreeSet::new(),
            waking: Waking::default(),
            paused: HashMap::new(),
            silent: HashMap::new(),
            fields,
            turn,
        }
    }

    // ---- who there is ----

    /// The number of a resource manager, from when it is first heard of: when it joins, or from a pod that is bound to
    /// a host of it. `None` when there are no numbers left.
    pub(super) fn number(&mut self, name: &str) -> Option<ManagerId> {
        if let Some(at) = self.managers.iter().position(|known| **known == *name) {
            return ManagerId::try_from(at).ok();
        }
        let manager = self.pool.add_manager()?;
        self.managers.push(name.into());
        self.current.push(false);
        Some(manager)
    }

    /// A resource manager was removed, with its hosts and all claims on them. Its number is never used again.
    pub(super) fn manager_gone(&mut self, manager: ManagerId) {
        self.set_current(manager, false);
        let claims: Vec<ClaimId> = self.claims.keys().filter(|(of, _)| *of == manager).cloned().collect();
        for id in &claims {
            self.forget_claim(id);
        }
        self.reaper.manager_gone(manager);
        self.pool.remove_manager(manager);
        self.failures.clear(); // what they say counts its hosts
    }

    // ---- what informers tell ----

    /// A node is there, or has changed.
    pub(super) fn node(&mut self, manager: ManagerId, stored: &Stored) {
        match stored.object.parse::<Body<NodeSpec, NodeStatus>>() {
            Ok(Body { spec, status }) => {
                let labels = stored.object.header().labels();
                let mut node = Node::named(stored.path.name());
                node.metadata.labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                (node.spec, node.status) = (spec.unwrap_or_default(), status.unwrap_or_default());
                self.pool.set_node(manager, &node);
            }
            Err(error) => tracing::warn!(node = stored.path.name(), %error, "a node cannot be read"),
        }
    }

    /// A pod is there, or has changed.
    pub(super) fn pod(&mut self, stored: &Stored, now: Timestamp) {
        let header = stored.object.header();
        let field = |at: Option<usize>| at.map(|at| header.field(at));
        if let (Some(node), Some(phase)) = (field(self.fields.node), field(self.fields.phase)) {
            let finished = matches!(phase, "Succeeded" | "Failed");
            if !node.is_empty() {
                return self.pod_on_host(stored, node, finished);
            }
            // Another scheduler's pods are not worth decoding.
            if field(self.fields.scheduler).is_some_and(|name| !self.scheduler_names.iter().any(|known| known == name))
            {
                self.reaper.pod(header.uid(), PodFate { finished, bound: None });
                return self.drop_pod(&stored.path);
            }
        }
        let Ok(Body { spec, status }) = stored.object.parse::<Body<PodSpec, PodStatus>>() else {
            tracing::warn!(pod = %stored.path, "a pod cannot be read");
            return;
        };
        let (spec, finished) = (spec.unwrap_or_default(), status.unwrap_or_default().is_finished());
        if !spec.node_name.is_empty() {
            return self.pod_on_host(stored, &spec.node_name, finished);
        }
        self.reaper.pod(header.uid(), PodFate { finished, bound: None });
        let waits = header.deletion().is_none()
            && !finished
            && spec.scheduling_gates.is_empty()
            && self.scheduler_names.contains(&spec.scheduler_name);
        if self.pods.get(&stored.path).is_some_and(|known| *known.uid != *header.uid()) || !waits {
            self.drop_pod(&stored.path);
        }
        if waits {
            self.await_place(stored, &spec, now);
        }
    }

    /// A pod is gone.
    pub(super) fn pod_gone(&mut self, stored: &Stored) {
        let uid = stored.object.header().uid();
        self.reaper.pod_gone(uid);
        self.forget_expected(uid);
        self.drop_pod(&stored.path);
        self.displace(stored.path.tenant(), uid);
    }

    fn pod_on_host(&mut self, stored: &Stored, node: &str, finished: bool) {
        let header = stored.object.header();
        let bound = header.note(CLAIM_NOTE).and_then(|note| self.claim_id(note));
        let manager = bound.as_ref().map(|(manager, _)| *manager);
        self.reaper.pod(header.uid(), PodFate { finished, bound });
        let waited = self.pods.contains_key(&stored.path); // what it means to others was expected, and is so now
        self.drop_pod(&stored.path);
        let (tenant, namespace, _) = stored.path.parts();
        let Some(manager) = manager.filter(|_| !finished) else { return self.displace(tenant, header.uid()) };
        let pulls = has_name(&stored.object.tail(), &[&b"podAffinity"[..], b"podAntiAffinity"]);
        let body: Option<Body<PodSpec, IgnoredAny>> = if pulls { stored.object.parse().ok() } else { None };
        let (at, host, spec) = ((tenant, namespace), (manager, node), body.and_then(|body| body.spec));
        if self.neighbours.place(&mut self.pool, at, &stored.object, host, spec.as_ref()) || waited {
            self.stir(tenant);
        }
    }

    fn displace(&mut self, tenant: &str, uid: &str) {
        if self.neighbours.displace(&self.pool, tenant, uid) {
            self.stir(tenant);
        }
    }

    fn stir(&mut self, tenant: &str) {
        if self.sensitive.contains_key(tenant) {
            self.stirred.insert(tenant.into());
        }
    }

    /// A namespace has these labels; none when it is gone.
    pub(super) fn namespace<'a>(&mut self, path: &ObjectPath, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        if self.neighbours.namespace(path.tenant(), path.name(), labels) {
            self.stir(path.tenant());
        }
    }

    /// A claim is there.
    pub(super) fn claim(&mut self, manager: ManagerId, stored: &Stored) {
        let Ok(Body { spec, status: _ }) = stored.object.parse::<Body<ClaimSpec, IgnoredAny>>() else {
            tracing::warn!(claim = stored.path.name(), "a claim cannot be read");
            return;
        };
        let spec = spec.unwrap_or_default();
        let id = self.known((manager, stored.path.name().into()));
        let usage = self.pool.usage_of(&spec);
        let own = spec.partition == self.partition;
        let (pod_uid, epoch) = (spec.pod_uid.as_str().into(), spec.epoch);
        let host = self.pool.hosts().find(manager, &spec.node);
        match self.claims.get_mut(&id) {
            Some(held) if Some(held.host) == host && held.usage == usage => held.shown = true, // as expected
            _ => {
                self.forget_claim(&id);
                if let Some(host) = self.pool.take(manager, &spec.node, &usage) {
                    self.hold(id.clone(), Holding { host, usage, pod_uid, epoch, shown: true }, own);
                }
            }
        }
        if own {
            let pod = ObjectPath::new(&spec.tenant, &spec.namespace, &spec.pod);
            if self.pods.contains_key(&pod) {
                self.claimed.insert(pod.clone());
            }
            self.reaper.claim(id, pod, &spec.pod_uid, epoch);
        }
    }

    /// A claim is gone.
    pub(super) fn claim_gone(&mut self, manager: ManagerId, name: &str) {
        let id: ClaimId = (manager, name.into());
        self.forget_claim(&id);
        self.reaper.claim_gone(&id);
    }

    /// Whether what is known of a resource manager's hosts is complete and current.
    pub(super) fn set_current(&mut self, manager: ManagerId, current: bool) {
        if let Some(known) = self.current.get_mut(usize::from(manager)) {
            *known = current;
        }
        self.reach(manager);
    }

    // ---- what the planner asks ----

    /// Takes up to `most` pods of the queue, fewer where much is to be done for them, and says what is to become of
    /// each.
    pub(super) fn plan(&mut self, now: Timestamp, most: usize) -> Plan {
        self.forget_unused();
        self.pass_time(now);
        self.wake(now);
        let (mut plan, mut looked) = (Plan::default(), 0);
        for _ in 0..most {
            if looked >= LOOKS_MAX {
                break;
            }
            let Some((path, class)) = self.queue.pop(now) else { break };
            let looks = self.plan_pod(&mut plan, path, class, now);
            self.queue.charge(looks);
            looked += looks;
        }
        plan
    }

    /// Whether there is something to be planned right away.
    pub(super) fn is_ready(&self) -> bool {
        self.queue.is_ready() || self.waking.goes_on()
    }

    /// Forgets the words that neither pods nor hosts use, now and then: they are the pods' own.
    fn forget_unused(&mut self) {
        if self.pool.is_littered() {
            self.neighbours.forget_unused();
            self.pool.forget_unused(|words| self.neighbours.mark(words));
        }
    }

    /// When there will be something to do without anything being told.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let shadow = self.shadows.keys().next().map(|(until, _)| *until);
        let paused = self.paused.values().min().copied();
        [self.queue.next_due(), shadow, paused].into_iter().flatten().min()
    }

    /// Looks for a pod's place. Says how much it took, in looks at a host.
    fn plan_pod(&mut self, plan: &mut Plan, path: ObjectPath, class: ClassId, now: Timestamp) -> usize {
        let Some(waiting) = self.pods.get(&path) else { return 0 };
        if let Some((manager, placement)) = self.claimed_place(&path, waiting, now) {
            plan.placements.entry(manager).or_default().push(placement);
            return 0;
        }
        let at = (path.tenant(), path.namespace());
        let (mut looked, mut ready) = self.pool.prepare(class, LOOKS_MAX);
        if ready {
            let (more, all) = self.neighbours.prepare(&self.pool, at.0, LOOKS_MAX);
            (looked, ready) = (looked + more, all);
        }
        if !ready {
            self.queue.again(&path); // it goes on when it is the tenant's turn again
            return looked;
        }
        self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let turn = (self.turn >> 32) as u32;
        let left = self.neighbours.left(&self.pool, at, &waiting.object, &waiting.wishes);
        // What keeps all pods of a class off need not be found out again for each; neighbours differ.
        let known = self.failures.get(&class).filter(|_| left.is_everything()).cloned();
        let holds = known.is_some() && !self.waking.concerns(class) && !self.pool.has_improved();
        let (found, more) = if holds { (None, 0) } else { self.pool.find_and_count(class, &left, turn) };
        looked += more;
        if let Some(found) = found {
            let (manager, placement) = self.place(path, class, found.host, now);
            plan.placements.entry(manager).or_default().push(placement);
            return looked;
        }
        let message = match known {
            Some(known) => known,
            None => {
                let (words, more) = self.pool.explain_and_count(class, &left);
                looked += more;
                words.into()
            }
        };
        if !left.is_everything() {
            self.sensitive.entry(at.0.into()).or_default().insert(path.clone());
        } else {
            self.failures.insert(class, message.clone());
        }
        self.tally.unschedulable += 1;
        self.queue.park(&path, now);
        self.say(plan, path, message);
        looked
    }

    /// The place a pod has a claim on already, from an attempt that did not come to its end.
    fn claimed_place(&self, path: &ObjectPath, waiting: &Waiting, now: Timestamp) -> Option<(ManagerId, Placement)> {
        let ids = self.own.get(&Uid::from(&*waiting.uid))?;
        let usage = &self.pool.class(waiting.class)?.ask.usage;
        // One of what the pod asked for before it was resized does not do.
        let does = |held: &Holding| held.epoch >= waiting.epoch && held.shown && held.usage == *usage;
        let good = |id: &&ClaimId| self.claims.get(*id).is_some_and(does);
        let id = ids.iter().find(good)?;
        let holding = self.claims.get(id)?;
        let node = self.pool.facts(holding.host).name.to_string();
        let request = self.request(path, waiting, node, &id.1, holding.epoch);
        let (pod, object, since) = (path.clone(), Some(waiting.object.clone()), (waiting.since, now));
        Some((id.0, Placement { pod, object, request, claimed: true, since }))
    }

    /// Expects a claim on a host, so that the next search sees it.
    fn place(&mut self, path: ObjectPath, class: ClassId, host: HostId, now: Timestamp) -> (ManagerId, Placement) {
        let facts = self.pool.facts(host);
        let (manager, node) = (facts.manager, facts.name.to_string());
        let known = self.pods.get(&path);
        let (uid, epoch) = known.map_or_else(Default::default, |one| (one.uid.clone(), one.epoch));
        let since = (known.map_or(now, |one| one.since), now);
        let name = claim_name(&self.partition, &uid, epoch);
        let (mut request, mut object) = (ClaimRequest::default(), None);
        if let Some(waiting) = self.pods.get(&path) {
            let (at, on) = ((path.tenant(), path.namespace()), (manager, &*node));
            self.neighbours.expect(&self.pool, at, &waiting.object, on, &waiting.wishes);
            request = self.request(&path, waiting, node, &name, epoch);
            object = Some(waiting.object.clone());
        }
        let usage = self.pool.class(class).map(|class| class.ask.usage.clone()).unwrap_or_default();
        let id: ClaimId = (manager, name.into());
        self.forget_claim(&id);
        self.pool.take_at(host, &usage);
        self.hold(id, Holding { host, usage, pod_uid: Uid::from(&*uid), epoch, shown: false }, true);
        self.tally.asked += 1;
        (manager, Placement { pod: path, object, request, claimed: false, since })
    }

    fn request(&self, path: &ObjectPath, waiting: &Waiting, node: String, name: &str, epoch: i64) -> ClaimRequest {
        let (requests, ports) = self.pool.request(waiting.class);
        ClaimRequest {
            name: name.to_owned(),
            tenant: path.tenant().to_owned(),
            namespace: path.namespace().to_owned(),
            pod: path.name().to_owned(),
            pod_uid: waiting.uid.to_string(),
            node,
            requests,
            ports,
            epoch,
            ..ClaimRequest::default()
        }
    }

    fn say(&mut self, plan: &mut Plan, pod: ObjectPath, message: Arc<str>) {
        let Some(waiting) = self.pods.get_mut(&pod) else { return };
        if waiting.said.as_ref() == Some(&message) {
            return;
        }
        waiting.said = Some(message.clone());
        let generation = generation(&waiting.object);
        plan.failures.push(Failure { uid: waiting.uid.clone(), generation, pod, message });
    }

    // ---- the rest ----

    fn await_place(&mut self, stored: &Stored, spec: &PodSpec, now: Timestamp) {
        let class = self.pool.note(spec);
        let (tenant, namespace, _) = stored.path.parts();
        let ask = self.pool.class(class).map(|class| class.ask.clone());
        let wishes = ask.map_or_else(Wishes::default, |ask| {
            self.neighbours.wishes(&mut self.pool, (tenant, namespace), &stored.object, spec, &ask)
        });
        let object = stored.object.clone();
        match self.pods.get_mut(&stored.path) {
            Some(waiting) => {
                let old =
                    (std::mem::replace(&mut waiting.class, class), std::mem::replace(&mut waiting.wishes, wishes));
                waiting.object = object;
                self.neighbours.forget_wishes(tenant, &old.1);
                self.leave(old.0);
            }
            None => {
                let uid = stored.object.header().uid().to_owned();
                let uid = uid.into();
                let waiting = Waiting { uid, object, class, wishes, epoch: 0, since: now, said: None };
                self.pods.insert(stored.path.clone(), waiting);
            }
        }
        self.queue.add(stored.path.clone(), spec.priority.unwrap_or(0), class);
    }

    fn drop_pod(&mut self, path: &ObjectPath) {
        let Some(waiting) = self.pods.remove(path) else { return };
        self.queue.remove(path);
        self.neighbours.forget_wishes(path.tenant(), &waiting.wishes);
        self.leave(waiting.class);
        self.claimed.remove(path);
        if let Some(pods) = self.sensitive.get_mut(path.tenant()) {
            pods.remove(path);
            if pods.is_empty() {
                self.sensitive.remove(path.tenant());
            }
        }
    }

    fn leave(&mut self, class: ClassId) {
        if let Some(forgotten) = self.pool.leave(class) {
            self.failures.remove(&forgotten);
        }
    }

    fn hold(&mut self, id: ClaimId, holding: Holding, own: bool) {
        if own {
            let ids = self.own.entry(holding.pod_uid.clone()).or_default();
            if !ids.contains(&id) {
                ids.push(id.clone());
            }
        }
        self.claims.insert(id, holding);
    }

    fn forget_claim(&mut self, id: &ClaimId) -> Option<Holding> {
        let holding = self.claims.remove(id)?;
        self.pool.give_back(holding.host, &holding.usage);
        if let Some(ids) = self.own.get_mut(&holding.pod_uid) {
            ids.retain(|known| known != id);
            if ids.is_empty() {
                self.own.remove(&holding.pod_uid);
            }
        }
        Some(holding)
    }

    fn claim_id(&mut self, note: &str) -> Option<ClaimId> {
        let (manager, name) = note.split_once('/')?;
        let id = (self.number(manager)?, name.into());
        Some(self.known(id))
    }

    /// The same, with the name that is in memory already, where it is.
    fn known(&self, id: ClaimId) -> ClaimId {
        self.claims.get_key_value(&id).map_or(id, |(known, _)| known.clone())
    }

    fn reach(&mut self, manager: ManagerId) {
        let current = self.current.get(usize::from(manager)).copied().unwrap_or(false);
        self.pool.set_reachable(manager, current && !self.paused.contains_key(&manager));
    }

    fn pass_time(&mut self, now: Timestamp) {
        let over: Vec<ManagerId> =
            self.paused.iter().filter(|(_, until)| **until <= now).map(|(manager, _)| *manager).collect();
        for manager in over {
            self.paused.remove(&manager);
            self.reach(manager);
        }
        while let Some(entry) = self.shadows.first_entry().filter(|entry| entry.key().0 <= now) {
            let (host, usage) = entry.remove();
            self.pool.give_back(host, &usage);
        }
    }
}

/// An object but for its metadata, of which nothing is asked that its header does not know.
#[derive(Deserialize)]
struct Body<Spec, Status> {
    spec: Option<Spec>,
    status: Option<Status>,
}

/// Whether a field of one of these names may stand anywhere in an object.
fn has_name(json: &[u8], names: &[&[u8]]) -> bool {
    json.split(|byte| *byte == b'"').any(|text| names.contains(&text))
}
