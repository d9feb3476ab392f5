//! The scheduler that cannot be wrong: it looks at every host and every pod, and knows no columns, bits, counters or
//! bounds. It reads the objects as clients wrote them and shares no code with what it checks.

use std::collections::BTreeMap;

use arktos_core::Quantity;
use arktos_core::typed::{
    LabelSelectorSpec, Node, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec, Taint,
    TopologySpreadConstraint,
};

pub type Host = (u16, String);
pub type Labels = BTreeMap<String, String>;

/// A pod that waits, or is on a host.
#[derive(Debug, Clone)]
pub struct Pod {
    pub tenant: &'static str,
    pub namespace: &'static str,
    pub labels: Labels,
    pub spec: PodSpec,
}

#[derive(Debug, Default)]
pub struct Cluster {
    pub nodes: BTreeMap<Host, Node>,
    pub placed: Vec<(Pod, Host)>,
    pub reachable: [bool; 2],
    /// The labels of namespaces, by tenant and name.
    pub namespaces: BTreeMap<(&'static str, &'static str), Labels>,
    /// Whether hosts are filled up rather than kept empty.
    pub packing: bool,
}

impl Cluster {
    /// The scores of all hosts on which a pod fits. Neighbours are compared among these, with weight 2 each.
    pub fn scores(&self, pod: &Pod) -> BTreeMap<Host, f64> {
        let hosts: Vec<&Host> = self.nodes.keys().filter(|host| self.fits(pod, host)).collect();
        let liked: Vec<f64> = hosts.iter().map(|host| self.liked(pod, host) as f64).collect();
        let crowds = self.crowds(pod, &hosts);
        let (least, most) = ends(liked.iter());
        let (emptiest, fullest) = ends(crowds.iter().flatten());
        let score = |at: usize| {
            let affinity = if most > least { (liked[at] - least) / (most - least) } else { 0.0 };
            let spread = match crowds[at] {
                Some(crowd) if fullest > 0.0 => (fullest + emptiest - crowd) / fullest,
                Some(_) => 1.0,
                None => 0.0,
            };
            self.score(pod, hosts[at]) + 200.0 * (affinity + spread)
        };
        hosts.iter().enumerate().map(|(at, host)| ((*host).clone(), score(at))).collect()
    }

    fn fits(&self, pod: &Pod, host: &Host) -> bool {
        let Some(node) = self.nodes.get(host) else { return false };
        self.reachable[usize::from(host.0)]
            && named(pod, node)
            && suits(pod, node)
            && self.tolerated(pod, node)
            && self.has_ports(pod, host)
            && self.has_room(pod, host)
            && self.is_spread(pod, host)
            && self.is_near(pod, host)
            && self.is_far(pod, host)
    }

    /// What pods are worth that it would rather be near or far of, and that would rather have it near or far.
    fn liked(&self, pod: &Pod, host: &Host) -> i64 {
        let mut liked = 0;
        for (other, at) in &self.placed {
            for (of, about) in [(pod, other), (other, pod)] {
                let affinity = &of.spec.affinity;
                for (side, sign) in [(&affinity.pod_affinity, 1), (&affinity.pod_anti_affinity, -1)] {
                    for one in &side.preferred_during_scheduling_ignored_during_execution {
                        let term = &one.pod_affinity_term;
                        if self.wants(of, term, about) && self.in_one_domain(host, at, &term.topology_key) {
                            liked += sign * i64::from(one.weight);
                        }
                    }
                }
            }
            for term in &other.spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution {
                if self.wants(other, term, pod) && self.in_one_domain(host, at, &term.topology_key) {
                    liked += 1;
                }
            }
        }
        liked
    }

    /// How crowded the domains of hosts are over which a pod should be spread; none for hosts that lack a label.
    fn crowds(&self, pod: &Pod, hosts: &[&Host]) -> Vec<Option<f64>> {
        let all = &pod.spec.topology_spread_constraints;
        let soft: Vec<_> = all.iter().filter(|one| one.when_unsatisfiable == "ScheduleAnyway").collect();
        let counts: Vec<_> = soft.iter().map(|one| self.domains(pod, one, &soft)).collect();
        let crowd = |host: &&Host| {
            let labels = &self.nodes[*host].metadata.labels;
            if soft.is_empty() || soft.iter().any(|one| !labels.contains_key(&one.topology_key)) {
                return None;
            }
            let each = soft.iter().zip(&counts).map(|(one, counts)| {
                let here = counts[&labels[&one.topology_key]];
                here as f64 * (counts.len() as f64 + 2.0).ln() + f64::from(one.max_skew - 1)
            });
            Some(each.sum())
        };
        hosts.iter().map(crowd).collect()
    }

    /// Points as upstream gives them: emptiest (or fullest) and balanced with weight 1, taints with 3, affinity with 2.
    fn score(&self, pod: &Pod, host: &Host) -> f64 {
        let node = &self.nodes[host];
        let part = |resource: &str, least: f64| {
            let weigh = |pod: &Pod| Some(asked(pod, resource)).filter(|asked| *asked > 0.0).unwrap_or(least);
            let taken: f64 = self.on(host).map(weigh).sum::<f64>() + weigh(pod);
            let has = has(node, resource);
            if has > 0.0 { taken / has } else { 1.0 }
        };
        let (cpu, memory) = (part("cpu", 0.1), part("memory", 200.0 * 1024.0 * 1024.0));
        let resources = match self.packing {
            false => (100.0 - 50.0 * (cpu + memory) + 100.0 - 50.0 * (cpu - memory).abs()).clamp(0.0, 200.0),
            true => (50.0 * (cpu + memory) + 100.0 - 50.0 * (cpu - memory).abs()).clamp(100.0, 200.0),
        };
        let soft = node.spec.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let disliked = soft.filter(|taint| !tolerates(pod, taint)).count();
        let preferred = &pod.spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution;
        let all: i64 = preferred.iter().map(|one| i64::from(one.weight)).sum();
        let held = preferred.iter().filter(|one| term_holds(&one.preference, node));
        let held: i64 = held.map(|one| i64::from(one.weight)).sum();
        resources + 300.0 / (1 + disliked) as f64 - 300.0 + 200.0 * held as f64 / all.max(1) as f64
    }

    fn on<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Pod> {
        self.placed.iter().filter(move |(_, at)| at == host).map(|(pod, _)| pod)
    }

    fn tolerated(&self, pod: &Pod, node: &Node) -> bool {
        let cordon = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        let mut hard = node.spec.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
        hard.all(|taint| tolerates(pod, taint)) && (!node.spec.unschedulable || tolerates(pod, &cordon))
    }

    fn has_ports(&self, pod: &Pod, host: &Host) -> bool {
        let wanted = ports(pod);
        let taken: Vec<_> = self.on(host).flat_map(ports).collect();
        wanted.iter().all(|(port, protocol, address)| {
            taken.iter().all(|(other, of, at)| {
                port != other || protocol != of || !(address == at || address.is_empty() || at.is_empty())
            })
        })
    }

    fn has_room(&self, pod: &Pod, host: &Host) -> bool {
        let node = &self.nodes[host];
        let pods = 1.0 + self.on(host).count() as f64;
        let fits = |resource: &str| {
            let wanted = asked(pod, resource);
            let taken: f64 = self.on(host).map(|other| asked(other, resource)).sum();
            wanted == 0.0 || taken + wanted <= has(node, resource) + 1e-6
        };
        let mut names = pod.spec.containers.iter().flat_map(|one| one.resources.requests.keys());
        pods <= has(node, "pods") && names.all(|name| fits(name))
    }

    fn is_spread(&self, pod: &Pod, host: &Host) -> bool {
        let all = &pod.spec.topology_spread_constraints;
        let hard: Vec<_> = all.iter().filter(|one| one.when_unsatisfiable == "DoNotSchedule").collect();
        hard.iter().all(|one| {
            let Some(here) = self.nodes[host].metadata.labels.get(&one.topology_key) else { return false };
            let counts = self.domains(pod, one, &hard);
            let few = counts.len() < usize::try_from(one.min_domains.unwrap_or(0)).unwrap_or(0);
            let least = if few { 0 } else { counts.values().min().copied().unwrap_or(0) };
            let itself = usize::from(selects(one.label_selector.as_ref(), &pod.labels));
            let count = counts.get(here).copied().unwrap_or(0);
            count + itself <= least + usize::try_from(one.max_skew).unwrap_or(0)
        })
    }

    /// How many pods that count each domain has, of the hosts that the constraints look at.
    fn domains(
        &self,
        pod: &Pod,
        one: &TopologySpreadConstraint,
        hard: &[&TopologySpreadConstraint],
    ) -> BTreeMap<&String, usize> {
        let mut counts = BTreeMap::new();
        for (host, node) in &self.nodes {
            let labels = &node.metadata.labels;
            let complete = hard.iter().all(|one| labels.contains_key(&one.topology_key));
            let honoured = one.node_affinity_policy.as_deref() == Some("Ignore") || suits(pod, node);
            let mut taints = node.spec.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
            let clean = one.node_taints_policy.as_deref() != Some("Honor") || taints.all(|one| tolerates(pod, one));
            if !(complete && honoured && clean) {
                continue;
            }
            let counted = self.on(host).filter(|other| {
                let same = other.tenant == pod.tenant && other.namespace == pod.namespace;
                same && selects(one.label_selector.as_ref(), &other.labels)
            });
            *counts.entry(&labels[&one.topology_key]).or_default() += counted.count();
        }
        counts
    }

    fn is_near(&self, pod: &Pod, host: &Host) -> bool {
        let terms = &pod.spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution;
        if terms.is_empty() {
            return true;
        }
        let labels = &self.nodes[host].metadata.labels;
        if terms.iter().any(|term| !labels.contains_key(&term.topology_key)) {
            return false;
        }
        let liked = |other: &Pod| terms.iter().all(|term| self.wants(pod, term, other));
        let beside = |other: &Host, term: &PodAffinityTerm| self.in_one_domain(host, other, &term.topology_key);
        let near = |term| self.placed.iter().any(|(other, at)| liked(other) && beside(at, term));
        let in_a_domain = |at: &Host| {
            let node = self.nodes.get(at);
            node.is_some_and(|node| terms.iter().any(|term| node.metadata.labels.contains_key(&term.topology_key)))
        };
        let first = !self.placed.iter().any(|(other, at)| liked(other) && in_a_domain(at));
        terms.iter().all(near) || (first && liked(pod))
    }

    fn is_far(&self, pod: &Pod, host: &Host) -> bool {
        let away =
            |of: &Pod| of.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution.clone();
        let own = away(pod);
        self.placed.iter().all(|(other, at)| {
            let apart = |term: &PodAffinityTerm| !self.in_one_domain(host, at, &term.topology_key);
            own.iter().all(|term| !self.wants(pod, term, other) || apart(term))
                && away(other).iter().all(|term| !self.wants(other, term, pod) || apart(term))
        })
    }

    /// Whether a term of one pod is about another.
    fn wants(&self, of: &Pod, term: &PodAffinityTerm, other: &Pod) -> bool {
        let mut labels = self.namespaces.get(&(other.tenant, other.namespace)).cloned().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), other.namespace.to_owned());
        let nothing_said = term.namespaces.is_empty() && term.namespace_selector.is_none();
        let within = term.namespaces.iter().any(|name| name == other.namespace)
            || selects(term.namespace_selector.as_ref(), &labels)
            || (nothing_said && of.namespace == other.namespace);
        of.tenant == other.tenant && within && selects(term.label_selector.as_ref(), &other.labels)
    }

    fn in_one_domain(&self, one: &Host, other: &Host, key: &str) -> bool {
        let label = |host| self.nodes.get(host).and_then(|node| node.metadata.labels.get(key));
        label(one).is_some() && label(one) == label(other)
    }
}

/// The least and the most of some values.
fn ends<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(*value), most.max(*value)))
}

fn selects(selector: Option<&LabelSelectorSpec>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return false };
    let equal = selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().all(|one| {
            let value = labels.get(&one.key);
            let listed = value.is_some_and(|value| one.values.contains(value));
            match one.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

fn named(pod: &Pod, node: &Node) -> bool {
    pod.spec.node_name.is_empty() || pod.spec.node_name == node.metadata.name
}

/// Node selector and required node affinity.
fn suits(pod: &Pod, node: &Node) -> bool {
    let labels = &node.metadata.labels;
    let required = &pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution;
    let any = |terms: &[NodeSelectorTerm]| terms.iter().any(|term| term_holds(term, node));
    pod.spec.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        && required.as_ref().is_none_or(|selector| any(&selector.node_selector_terms))
}

fn term_holds(term: &NodeSelectorTerm, node: &Node) -> bool {
    let label = |one: &NodeSelectorRequirement| node.metadata.labels.get(&one.key).cloned();
    let field = |_: &NodeSelectorRequirement| Some(node.metadata.name.clone());
    let empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
    !empty
        && term.match_expressions.iter().all(|one| requirement_holds(one, label(one)))
        && term.match_fields.iter().all(|one| requirement_holds(one, field(one)))
}

fn requirement_holds(one: &NodeSelectorRequirement, value: Option<String>) -> bool {
    let listed = value.as_ref().is_some_and(|value| one.values.contains(value));
    let compare = |holds: fn(i64, i64) -> bool| match (&value, one.values.first()) {
        (Some(value), Some(bound)) => value.parse().is_ok_and(|value| bound.parse().is_ok_and(|to| holds(value, to))),
        _ => false,
    };
    match one.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|value, bound| value > bound),
        "Lt" => compare(|value, bound| value < bound),
        _ => false,
    }
}

fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    pod.spec.tolerations.iter().any(|one| {
        let value = one.operator == "Exists" || one.value == taint.value;
        let key = one.key.is_empty() || one.key == taint.key;
        key && value && (one.effect.is_empty() || one.effect == taint.effect)
    })
}

fn amount(quantity: Option<&Quantity>) -> f64 {
    quantity.map_or(0.0, |quantity| quantity.milli() as f64 / 1000.0)
}

fn asked(pod: &Pod, resource: &str) -> f64 {
    pod.spec.containers.iter().map(|one| amount(one.resources.requests.get(resource))).sum()
}

fn has(node: &Node, resource: &str) -> f64 {
    amount(node.status.allocatable.get(resource))
}

/// Port, protocol and address of each port that a pod takes of its host.
fn ports(pod: &Pod) -> Vec<(i64, String, String)> {
    let ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
    let taken = ports.filter(|port| port.host_port > 0);
    taken.map(|port| (i64::from(port.host_port), port.protocol.clone(), port.host_ip.clone())).collect()
}
