//! What a pod of a daemon set is made of, and which host it is made for.

use arktos_core::typed::{Affinity, DaemonSet, Toleration};
use arktos_core::{Object, OwnerReference};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::history::REVISION;
use crate::pod::PodView;
use crate::pods::from_template;

/// The label that says which template a pod was made from, by the count of the set's templates.
pub(super) const GENERATION: &str = "pod-template-generation";
/// The annotation of a daemon set that counts its templates.
const TEMPLATES: &str = "deprecated.daemonset.template.generation";
/// The taints, by the ends of their keys, that pods of daemon sets put up with.
const BORNE: [(&str, &str); 6] = [
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
];
/// One more for those on their hosts' network.
const BORNE_ON_HOST_NETWORK: (&str, &str) = ("network-unavailable", "NoSchedule");

/// The tolerations of a template, with those that all pods of daemon sets have.
pub(super) fn tolerations(own: &[Toleration], host_network: bool) -> Vec<Toleration> {
    let mut all = own.to_vec();
    for (key, effect) in BORNE.into_iter().chain(host_network.then_some(BORNE_ON_HOST_NETWORK)) {
        let wanted = Toleration {
            key: format!("node.kubernetes.io/{key}"),
            operator: "Exists".to_owned(),
            effect: effect.to_owned(),
            ..Toleration::default()
        };
        let mut there = false;
        for known in &mut all {
            if is_about_the_same(known, &wanted) {
                known.clone_from(&wanted); // without its end
                there = true;
            }
        }
        if !there {
            all.push(wanted);
        }
    }
    all
}

fn is_about_the_same(one: &Toleration, other: &Toleration) -> bool {
    let about = |it: &Toleration| [it.key.clone(), it.operator.clone(), it.value.clone(), it.effect.clone()];
    about(one) == about(other)
}

/// How many templates a daemon set has had, as pods are labelled with it.
pub(super) fn generation(set: &DaemonSet) -> Option<String> {
    let count: i64 = set.metadata.annotations.get(TEMPLATES)?.parse().ok()?;
    Some(count.to_string())
}

/// A pod of a daemon set, for no host yet.
pub(super) fn draft(set: &DaemonSet, template: &Value, owner: &OwnerReference, hash: &str) -> Object {
    let mut pod = from_template(template, &set.metadata.name, owner);
    let labels = pod.map_mut(&["metadata", "labels"]);
    if let Some(generation) = generation(set) {
        labels.insert(GENERATION.to_owned(), Value::from(generation));
    }
    labels.insert(REVISION.to_owned(), Value::from(hash));
    let spec = &set.spec.template.spec;
    pod.set(&["spec", "tolerations"], json!(tolerations(&spec.tolerations, spec.host_network)));
    pod
}

/// Makes a pod one for a host. The host was chosen by what the template requires, which this takes the place of.
pub(super) fn bind(pod: &mut Object, host: &str) {
    let path = ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let by_name = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [host]}]}]);
    pod.map_mut(&path).insert("nodeSelectorTerms".to_owned(), by_name);
}

/// The host that a pod is on, or was made for.
pub(super) fn target(pod: &PodView) -> Option<Box<str>> {
    if !pod.node.is_empty() {
        return Some(pod.node.clone());
    }
    let shape: Shape = pod.object().parse().ok()?;
    let required = shape.spec.affinity?.node_affinity.required_during_scheduling_ignored_during_execution?;
    let mut fields = required.node_selector_terms.iter().flat_map(|term| &term.match_fields);
    let name = fields.find(|field| field.key == "metadata.name" && field.operator == "In")?;
    match name.values.as_slice() {
        [host] => Some(host.as_str().into()),
        _ => None,
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Shape {
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    affinity: Option<Affinity>,
}

#[cfg(test)]
mod tests {
    use arktos_core::typed::KindOf;

    use super::super::plan::tests::pod;
    use super::*;

    #[test]
    fn a_pod_is_made_for_a_host() {
        let set = json!({
            "metadata": {"name": "logs", "annotations": {TEMPLATES: "3"}},
            "spec": {"template": {
                "metadata": {"labels": {"app": "logs"}},
                "spec": {
                    "containers": [{"name": "c"}],
                    "affinity": {"nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": []}]},
                        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}],
                    }},
                },
            }},
        });
        let object = Object::from_value(set).expect("an object");
        let (set, template) = (DaemonSet::from_object(&object).expect("a set"), object.at(&["spec", "template"]));
        let mut made = draft(&set, template.expect("a template"), &OwnerReference::default(), "abc");
        bind(&mut made, "node-7");
        assert_eq!(made.str_at(&["metadata", "generateName"]), "logs-");
        let labels = json!({"app": "logs", REVISION: "abc", GENERATION: "3"});
        assert_eq!(made.at(&["metadata", "labels"]), Some(&labels));
        let affinity = made.at(&["spec", "affinity", "nodeAffinity"]).expect("an affinity");
        let by_name = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]}]);
        assert_eq!(affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"], by_name);
        assert_eq!(affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["weight"], 1);
        let borne = made.at(&["spec", "tolerations"]).and_then(Value::as_array).expect("tolerations");
        assert_eq!(borne.len(), 6);
        let first = json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"});
        assert_eq!(borne[0], first);
        made.set(&["metadata", "name"], "p");
        assert_eq!(target(&pod("p", made.into_value())).as_deref(), Some("node-7"));
    }

    #[test]
    fn a_toleration_of_ones_own_is_replaced_where_it_is_about_the_same() {
        let own = |effect: &str| Toleration {
            key: "node.kubernetes.io/not-ready".to_owned(),
            operator: "Exists".to_owned(),
            effect: effect.to_owned(),
            toleration_seconds: Some(300),
            ..Toleration::default()
        };
        let all = tolerations(&[own("NoExecute"), own("NoSchedule")], true);
        assert_eq!(all.len(), 2 + 5 + 1);
        assert_eq!((all[0].toleration_seconds, all[1].toleration_seconds), (None, Some(300)));
    }
}
