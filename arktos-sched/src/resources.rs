//! Amounts of resources: what pods ask for and what hosts have, as whole numbers in columns.
//!
//! Processors count in thousandths, everything else in whole units, both rounded up for what is asked.

use arktos_core::quantity::Quantity;
use arktos_core::typed::{Container, PodSpec, Requests, ResourceList};

use crate::intern::{Interner, Marks};

/// The number of a resource in the columns of the pool.
pub type ResourceId = u32;
/// Thousandths of a processor.
pub const CPU: ResourceId = 0;
/// Bytes of memory.
pub const MEMORY: ResourceId = 1;
/// Pods.
pub const PODS: ResourceId = 2;

/// What a pod without a request counts for when hosts are compared, so that such pods spread too.
const CPU_WEIGHED: i64 = 100;
const MEMORY_WEIGHED: i64 = 200 << 20;

/// The resources that are known, by number: `cpu`, `memory` and `pods` first, then whatever hosts and pods name. A name
/// that pods make up is no more than a word: only what hosts have has a column over them.
#[derive(Debug)]
pub struct ResourceNames(Interner);

impl Default for ResourceNames {
    fn default() -> Self {
        let mut names = Interner::default();
        for name in ["cpu", "memory", "pods"] {
            names.intern(name);
        }
        Self(names)
    }
}

impl ResourceNames {
    /// The name of a resource.
    #[must_use]
    pub fn name(&self, id: ResourceId) -> &str {
        self.0.word(id)
    }

    /// Amounts by resource number from a host's list.
    pub fn amounts(&mut self, list: &ResourceList) -> Amounts {
        Amounts::new(list.iter().map(|(name, quantity)| (self.0.intern(name), amount(name, quantity))))
    }

    /// Amounts by resource number from a claim.
    pub fn claimed(&mut self, requests: &Requests) -> Amounts {
        let fixed = [(CPU, requests.cpu), (MEMORY, requests.memory), (PODS, requests.pods)];
        let extended = requests.extended.iter().map(|(name, amount)| (self.0.intern(name), *amount));
        Amounts::new(fixed.into_iter().chain(extended))
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is worth its while to forget those that are not used.
    pub(crate) fn is_littered(&self) -> bool {
        self.0.is_littered()
    }

    /// Forgets the names that are not marked.
    pub(crate) fn sweep(&mut self, mut used: Marks) {
        [CPU, MEMORY, PODS].into_iter().for_each(|id| used.mark(id));
        self.0.sweep(&used);
    }
}

impl ResourceNames {
    /// Amounts as a claim names them.
    #[must_use]
    pub fn requests(&self, amounts: &Amounts) -> Requests {
        let extended = amounts.iter().filter(|(id, _)| *id > PODS);
        let extended = extended.map(|(id, amount)| (self.name(id).to_owned(), amount)).collect();
        let (cpu, memory, pods) = (amounts.get(CPU), amounts.get(MEMORY), amounts.get(PODS));
        Requests { cpu, memory, pods, extended, ..Requests::default() }
    }
}

/// Amounts of resources, sorted by number, zeros left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Amounts(Box<[(ResourceId, i64)]>);

impl Amounts {
    /// Amounts from pairs; negative ones count as zero, several of one resource add up.
    pub fn new(pairs: impl IntoIterator<Item = (ResourceId, i64)>) -> Self {
        let mut sorted: Vec<(ResourceId, i64)> = pairs.into_iter().filter(|(_, amount)| *amount > 0).collect();
        sorted.sort_unstable_by_key(|(id, _)| *id);
        sorted.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        Self(sorted.into())
    }

    /// The amount of one resource.
    #[must_use]
    pub fn get(&self, id: ResourceId) -> i64 {
        self.0.iter().find(|(one, _)| *one == id).map_or(0, |(_, amount)| *amount)
    }

    /// All that is not zero.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceId, i64)> + '_ {
        self.0.iter().copied()
    }

    /// What these amounts count for when hosts are compared: processors and memory, small defaults where a pod asks
    /// for none.
    #[must_use]
    pub fn weighed(&self) -> [i64; 2] {
        let or = |amount: i64, default| if amount == 0 { default } else { amount };
        [or(self.get(CPU), CPU_WEIGHED), or(self.get(MEMORY), MEMORY_WEIGHED)]
    }
}

/// An amount in whole units; thousandths for processors.
#[must_use]
pub fn amount(name: &str, quantity: &Quantity) -> i64 {
    if name == "cpu" { quantity.milli() } else { quantity.value() }
}

/// What a pod takes of its host: the sum of its containers and sidecars, or more where an init container needs more,
/// plus what its sandbox takes, plus one pod.
#[must_use]
pub fn requests_of(spec: &PodSpec) -> Requests {
    let mut running = Totals::default();
    let mut peak = Totals::default();
    for container in &spec.init_containers {
        if container.restart_policy == "Always" {
            running.add(container);
            peak.raise(&running);
        } else {
            let mut starting = running.clone();
            starting.add(container);
            peak.raise(&starting);
        }
    }
    for container in &spec.containers {
        running.add(container);
    }
    running.raise(&peak);
    if let Some(list) = spec.other.get("resources").and_then(|resources| resources.get("requests")) {
        let list: ResourceList = serde::Deserialize::deserialize(list).unwrap_or_default(); // validated by the API
        for (name, quantity) in &list {
            running.0.insert(name.clone(), amount(name, quantity));
        }
    }
    running.add_list(&spec.overhead);
    let mut take = |name: &str| running.0.remove(name).unwrap_or(0);
    let (cpu, memory, _) = (take("cpu"), take("memory"), take("pods"));
    running.0.retain(|_, amount| *amount > 0);
    Requests { cpu, memory, pods: 1, extended: running.0, ..Requests::default() }
}

#[derive(Clone, Default)]
struct Totals(std::collections::BTreeMap<String, i64>);

impl Totals {
    fn add(&mut self, container: &Container) {
        self.add_list(&container.resources.requests);
        // A limit without a request is a request.
        for (name, quantity) in &container.resources.limits {
            if !container.resources.requests.contains_key(name) {
                self.add_one(name, quantity);
            }
        }
    }

    fn add_list(&mut self, list: &ResourceList) {
        for (name, quantity) in list {
            self.add_one(name, quantity);
        }
    }

    fn add_one(&mut self, name: &str, quantity: &Quantity) {
        let total = self.0.entry(name.to_owned()).or_default();
        *total = total.saturating_add(amount(name, quantity).max(0));
    }

    fn raise(&mut self, to: &Self) {
        for (name, amount) in &to.0 {
            let total = self.0.entry(name.clone()).or_default();
            *total = (*total).max(*amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: serde_json::Value) -> PodSpec {
        serde_json::from_value(value).expect("a pod spec")
    }

    #[test]
    fn a_pod_takes_the_sum_of_its_containers_or_the_peak_of_its_start() {
        let asks = |cpu: &str| serde_json::json!({"requests": {"cpu": cpu, "memory": "1Gi"}});
        let requests = requests_of(&spec(serde_json::json!({
            "initContainers": [
                {"name": "sidecar", "restartPolicy": "Always", "resources": asks("100m")},
                {"name": "init", "resources": asks("2")},
            ],
            "containers": [
                {"name": "a", "resources": asks("250m")},
                {"name": "b", "resources": {"limits": {"example.com/gpu": "2"}}},
            ],
            "overhead": {"cpu": "10m"},
        })));
        assert_eq!((requests.cpu, requests.memory, requests.pods), (2110, 2 << 30, 1));
        assert_eq!(requests.extended.get("example.com/gpu"), Some(&2));
    }

    #[test]
    fn what_a_pod_says_for_itself_counts_instead_of_its_containers() {
        let requests = requests_of(&spec(serde_json::json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}],
            "resources": {"requests": {"cpu": "3", "memory": "1"}},
        })));
        assert_eq!((requests.cpu, requests.memory), (3000, 1));
    }
}
