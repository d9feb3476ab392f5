//! Where a pod may, must and should run.

use std::collections::{BTreeMap, HashMap};

use super::record::record;
use crate::header::Header;
use crate::selector::FEW;

record! {
    /// A label selector as objects hold it.
    pub struct LabelSelectorSpec {
        /// Labels that must have these values.
        match_labels: BTreeMap<String, String>,
        /// Further requirements; all must hold.
        match_expressions: Vec<SelectorRequirement>,
    }
}

record! {
    /// A requirement on one label.
    pub struct SelectorRequirement {
        /// The values to compare with.
        values: Vec<String>,
    } always {
        /// The label.
        key: String,
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        operator: String,
    }
}

impl LabelSelectorSpec {
    /// Whether a set of labels, given as a look-up, fulfils the selector. An empty selector fits everything; a
    /// requirement with an unknown operator fits nothing.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// As [`matches`](Self::matches), for the labels of an encoded object.
    #[must_use]
    pub fn matches_header(&self, header: &Header) -> bool {
        if self.match_labels.len() + self.match_expressions.len() <= FEW {
            return self.matches(|key| header.label(key));
        }
        let labels: HashMap<&str, &str> = header.labels().collect();
        self.matches(|key| labels.get(key).copied())
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl SelectorRequirement {
    fn matches(&self, label: Option<&str>) -> bool {
        let among = || label.is_some_and(|label| self.values.iter().any(|value| value == label));
        match self.operator.as_str() {
            "In" => among(),
            "NotIn" => !among(),
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            _ => false,
        }
    }
}

record! {
    /// Which taints of a node a pod puts up with.
    pub struct Toleration {
        /// The taint's key; empty with operator `Exists` is any.
        key: String,
        /// `Equal` (the default), `Exists`, `Lt` or `Gt`.
        operator: String,
        /// The taint's value.
        value: String,
        /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; empty is any.
        effect: String,
        /// How long a `NoExecute` taint is put up with; for ever when absent.
        toleration_seconds: Option<i64>,
    }
}

record! {
    /// What a pod asks of its surroundings.
    pub struct Affinity {
        /// Of the node.
        node_affinity: NodeAffinity,
        /// Of the pods it wants near.
        pod_affinity: PodAffinity,
        /// Of the pods it wants far.
        pod_anti_affinity: PodAffinity,
    }
}

record! {
    /// What a pod asks of its node.
    pub struct NodeAffinity {
        /// Must hold.
        required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
        /// Should hold, each with a weight.
        preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
    }
}

record! {
    /// Terms of which one must hold.
    pub struct NodeSelector {
    } always {
        /// The terms.
        node_selector_terms: Vec<NodeSelectorTerm>,
    }
}

record! {
    /// Requirements that must all hold. One without any requirement holds for no node.
    pub struct NodeSelectorTerm {
        /// On the node's labels.
        match_expressions: Vec<NodeSelectorRequirement>,
        /// On the node's fields (`metadata.name`).
        match_fields: Vec<NodeSelectorRequirement>,
    }
}

record! {
    /// A requirement on one label or field of a node.
    pub struct NodeSelectorRequirement {
        /// The values to compare with.
        values: Vec<String>,
    } always {
        /// The label or field.
        key: String,
        /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt` or `Lt`.
        operator: String,
    }
}

record! {
    /// A term with a weight.
    pub struct PreferredSchedulingTerm {
    } always {
        /// 1 to 100.
        weight: i32,
        /// The term.
        preference: NodeSelectorTerm,
    }
}

record! {
    /// Which pods a pod wants near (or far).
    pub struct PodAffinity {
        /// Must hold.
        required_during_scheduling_ignored_during_execution: Vec<PodAffinityTerm>,
        /// Should hold, each with a weight.
        preferred_during_scheduling_ignored_during_execution: Vec<WeightedPodAffinityTerm>,
    }
}

record! {
    /// Pods, and what "near" means.
    pub struct PodAffinityTerm {
        /// The pods' labels. Absent fits none.
        label_selector: Option<LabelSelectorSpec>,
        /// The namespaces to look in; the pod's own when this and the selector are absent.
        namespaces: Vec<String>,
        /// The labels of further namespaces to look in; an empty selector is all.
        namespace_selector: Option<LabelSelectorSpec>,
        /// Labels of the incoming pod that must be equal.
        match_label_keys: Vec<String>,
        /// Labels of the incoming pod that must differ.
        mismatch_label_keys: Vec<String>,
    } always {
        /// The node label that makes a topology domain.
        topology_key: String,
    }
}

record! {
    /// A term with a weight.
    pub struct WeightedPodAffinityTerm {
    } always {
        /// 1 to 100.
        weight: i32,
        /// The term.
        pod_affinity_term: PodAffinityTerm,
    }
}

record! {
    /// How evenly pods are to be spread over topology domains.
    pub struct TopologySpreadConstraint {
        /// The pods to count.
        label_selector: Option<LabelSelectorSpec>,
        /// How many domains there must be at least.
        min_domains: Option<i32>,
        /// `Honor` or `Ignore` the pod's node affinity when domains are found.
        node_affinity_policy: Option<String>,
        /// `Honor` or `Ignore` taints when domains are found.
        node_taints_policy: Option<String>,
        /// Labels of the incoming pod that must be equal.
        match_label_keys: Vec<String>,
    } always {
        /// How many more pods a domain may have than the emptiest.
        max_skew: i32,
        /// The node label that makes a topology domain.
        topology_key: String,
        /// `DoNotSchedule` or `ScheduleAnyway`.
        when_unsatisfiable: String,
    }
}
