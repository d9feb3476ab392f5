//! Which hosts are to run a pod of a daemon set.

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::ObjectPath;
use arktos_core::typed::{DaemonSet, KindOf, NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};
use arktos_store::Stored;
use arktos_store::informer::Event;
use parking_lot::RwLock;

use super::hosts::Host;
use super::template::tolerations;
use crate::node::taints::tolerates;

/// What a daemon set has to do with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A pod is to run there.
    Run,
    /// A pod that is there stays, and none is made.
    Stay,
    /// No pod is to be there.
    Go,
}

/// What judging a host takes, in bytes, and what it takes more for each thing that a template says.
const WEIGHT: usize = 256;
const EACH: usize = 8;

/// What the template of a daemon set asks of hosts.
#[derive(Debug)]
pub(super) struct Judge {
    /// The name that the host must have, unless it is empty.
    name: String,
    /// The labels that it must have.
    labels: BTreeMap<String, String>,
    /// Terms of which one must hold, where there are any.
    terms: Option<Vec<NodeSelectorTerm>>,
    tolerations: Vec<Toleration>,
    /// How many things those are.
    things: usize,
}

impl Judge {
    pub(super) fn of(set: &DaemonSet) -> Self {
        let spec = &set.spec.template.spec;
        let required = spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution.as_ref();
        let terms = required.map(|required| required.node_selector_terms.clone());
        let tolerations = tolerations(&spec.tolerations, spec.host_network);
        let asked = terms.iter().flatten().flat_map(|term| term.match_expressions.iter().chain(&term.match_fields));
        let asked: usize = asked.map(|one| 1 + one.values.len()).sum();
        Self {
            name: spec.node_name.clone(),
            labels: spec.node_selector.clone(),
            things: spec.node_selector.len() + asked + tolerations.len(),
            terms,
            tolerations,
        }
    }

    /// What judging a host takes, in bytes. A tenant may ask for a hundred thousand things.
    pub(super) fn weight(&self) -> usize {
        WEIGHT + EACH * self.things
    }

    pub(super) fn verdict(&self, host: &Host) -> Verdict {
        if !self.selects(host) {
            return Verdict::Go;
        }
        let mut verdict = Verdict::Run;
        for taint in host.taints() {
            match taint.effect.as_str() {
                "NoExecute" if !self.bears(taint) => return Verdict::Go,
                "NoSchedule" if !self.bears(taint) => verdict = Verdict::Stay,
                _ => {}
            }
        }
        verdict
    }

    /// The same of a host that may be none: there is nothing to be.
    pub(super) fn verdict_of(&self, host: Option<&Host>) -> Verdict {
        host.map_or(Verdict::Go, |host| self.verdict(host))
    }

    fn selects(&self, host: &Host) -> bool {
        (self.name.is_empty() || self.name == host.name())
            && self.labels.iter().all(|(key, value)| host.label(key) == Some(value.as_str()))
            && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| holds(term, host)))
    }

    fn bears(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    }
}

/// Whether a host fulfils a term. One that asks for nothing holds for no host.
fn holds(term: &NodeSelectorTerm, host: &Host) -> bool {
    let (labels, fields) = (&term.match_expressions, &term.match_fields);
    let by_name = |one: &NodeSelectorRequirement| {
        one.key == "metadata.name" && matches!(one.operator.as_str(), "In" | "NotIn") && fulfils(one, Some(host.name()))
    };
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|one| fulfils(one, host.label(&one.key)))
        && fields.iter().all(by_name)
}

fn fulfils(one: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let among = || value.is_some_and(|value| one.values.iter().any(|known| known == value));
    let numbers = || Some((number(value?)?, number(one.values.first()?)?));
    match one.operator.as_str() {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// What the daemon sets there are ask of hosts. Cloning it shares it.
#[derive(Clone, Default)]
pub(super) struct Judges(Arc<RwLock<BTreeMap<ObjectPath, Arc<Judge>>>>); // written by the informer

impl Judges {
    /// Takes in what a daemon set asks for now.
    pub(super) fn put(&self, event: &Event<Stored>) {
        let set = event.after().and_then(|set| DaemonSet::from_encoded(&set.object, None).ok());
        let mut all = self.0.write();
        match set {
            Some(set) => all.insert(event.path().clone(), Arc::new(Judge::of(&set))),
            None => all.remove(event.path()),
        };
    }

    /// All of them, by the paths of their daemon sets.
    pub(super) fn all(&self) -> Vec<(ObjectPath, Arc<Judge>)> {
        self.0.read().iter().map(|(path, judge)| (path.clone(), judge.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use arktos_core::Object;
    use serde_json::{Value, json};

    use super::super::hosts::tests::host;
    use super::*;

    fn judge(spec: Value) -> Judge {
        let set = Object::from_value(json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": spec}}}));
        Judge::of(&DaemonSet::from_object(&set.expect("an object")).expect("a daemon set"))
    }

    fn verdict(spec: Value, labels: Value, taints: Value) -> Verdict {
        judge(spec).verdict(&host("node-1", labels, taints))
    }

    #[test]
    fn labels_and_names_select_hosts() {
        let required = |terms: Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": terms,
            }}}})
        };
        let expression = |operator: &str, values: Value| {
            required(json!([{"matchExpressions": [{"key": "rank", "operator": operator, "values": values}]}]))
        };
        let field = |operator: &str, name: &str| {
            required(json!([{"matchFields": [{"key": "metadata.name", "operator": operator, "values": [name]}]}]))
        };
        for (spec, runs) in [
            (json!({}), true),
            (json!({"nodeName": "node-1"}), true),
            (json!({"nodeName": "node-2"}), false),
            (json!({"nodeSelector": {"rank": "5"}}), true),
            (json!({"nodeSelector": {"rank": "5", "disk": "ssd"}}), false),
            (expression("In", json!(["4", "5"])), true),
            (expression("NotIn", json!(["4", "5"])), false),
            (expression("Exists", json!([])), true),
            (expression("DoesNotExist", json!([])), false),
            (expression("Gt", json!(["4"])), true),
            (expression("Lt", json!(["5"])), false),
            (expression("Odd", json!(["5"])), false),
            (field("In", "node-1"), true),
            (field("NotIn", "node-1"), false),
            (required(json!([{}])), false),
            (required(json!([{}, {"matchExpressions": [{"key": "rank", "operator": "Exists"}]}])), true),
        ] {
            let expected = if runs { Verdict::Run } else { Verdict::Go };
            assert_eq!(verdict(spec.clone(), json!({"rank": "5"}), json!([])), expected, "{spec}");
        }
    }

    #[test]
    fn a_template_that_asks_for_much_weighs_much() {
        let names: Vec<String> = (0..1000).map(|at| format!("node-{at}")).collect();
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": names}]}]);
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let (plain, asks) = (judge(json!({})), judge(json!({"affinity": {"nodeAffinity": required}})));
        assert_eq!(asks.weight() - plain.weight(), EACH * 1001);
    }

    #[test]
    fn taints_keep_pods_away_or_make_them_go() {
        let taint = |key: &str, effect: &str| json!([{"key": key, "value": "x", "effect": effect}]);
        let bears = |toleration: Value| json!({"tolerations": [toleration]});
        for (spec, taints, expected) in [
            (json!({}), taint("mine", "NoSchedule"), Verdict::Stay),
            (json!({}), taint("mine", "NoExecute"), Verdict::Go),
            (json!({}), taint("mine", "PreferNoSchedule"), Verdict::Run),
            (bears(json!({"operator": "Exists"})), taint("mine", "NoExecute"), Verdict::Run),
            (bears(json!({"key": "mine", "value": "x"})), taint("mine", "NoSchedule"), Verdict::Run),
            (bears(json!({"key": "mine", "value": "y"})), taint("mine", "NoSchedule"), Verdict::Stay),
            (bears(json!({"key": "mine", "operator": "Exists"})), taint("other", "NoSchedule"), Verdict::Stay),
            (json!({}), taint("node.kubernetes.io/unreachable", "NoExecute"), Verdict::Run),
            (json!({}), taint("node.kubernetes.io/unschedulable", "NoSchedule"), Verdict::Run),
            (json!({}), taint("node.kubernetes.io/network-unavailable", "NoSchedule"), Verdict::Stay),
            (json!({"hostNetwork": true}), taint("node.kubernetes.io/network-unavailable", "NoSchedule"), Verdict::Run),
        ] {
            assert_eq!(verdict(spec.clone(), json!({}), taints.clone()), expected, "{spec} {taints}");
        }
    }
}
