//! What makes a pod one of a stateful set's: a name with a number, the labels that say so, the volumes of its claims.

use std::collections::HashSet;

use arktos_core::Object;
use serde_json::{Value, json};

use crate::history::REVISION;
use crate::pod::PodView;

/// The label that has the pod's name, so that a service can select one pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label that has the pod's number.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// A volume of a pod that comes from a claim of the pod's own.
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) claim: String,
}

/// The number in the name of a pod of a set; `None` where the name is not one that the set gives.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<i64> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal: i64 = digits.parse().ok()?;
    (ordinal >= 0 && ordinal.to_string() == digits).then_some(ordinal)
}

/// The name of the set that gives its pods such names, if any does.
pub(super) fn set_of(pod: &str) -> Option<&str> {
    let (set, _) = pod.rsplit_once('-')?;
    ordinal(set, pod).map(|_| set)
}

/// The revision of the template that a pod was made from.
pub(super) fn revision(pod: &PodView) -> &str {
    pod.object().header().label(REVISION).unwrap_or_default()
}

/// Says of a new pod from which revision of the template it is made.
pub(super) fn note_revision(pod: &mut Object, revision: &str) {
    pod.set(&["metadata", "labels", REVISION], revision);
}

/// Whether a pod has the label with its name.
pub(super) fn is_labelled(pod: &PodView) -> bool {
    pod.object().header().label(POD_NAME) == Some(pod.name())
}

/// Gives a pod the labels with its name and number.
pub(super) fn label(pod: &mut Object, name: &str, ordinal: i64) {
    pod.set(&["metadata", "labels", POD_NAME], name);
    pod.set(&["metadata", "labels", POD_INDEX], ordinal.to_string());
}

/// Whether a pod uses all of its claims.
pub(super) fn has_volumes(pod: &PodView, volumes: &[Volume]) -> bool {
    let used: HashSet<&str> = pod.claims.iter().map(|claim| &**claim).collect(); // there may be thousands
    volumes.iter().all(|volume| used.contains(volume.claim.as_str()))
}

/// Gives a pod the volumes of its claims, in place of others of their names.
pub(super) fn put_volumes(pod: &mut Object, volumes: &[Volume]) {
    if volumes.is_empty() {
        return;
    }
    let claim = |it: &Volume| json!({"name": it.name, "persistentVolumeClaim": {"claimName": it.claim}});
    let mut all: Vec<Value> = volumes.iter().map(claim).collect();
    if let Some(Value::Array(others)) = pod.remove(&["spec", "volumes"]) {
        let names: HashSet<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
        let is_other = |other: &Value| other["name"].as_str().is_none_or(|name| !names.contains(name));
        all.extend(others.into_iter().filter(is_other));
    }
    pod.set(&["spec", "volumes"], all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_set_gives_are_those_of_its_pods() {
        assert_eq!(ordinal("web", "web-0"), Some(0));
        assert_eq!(ordinal("web", "web-12"), Some(12));
        assert_eq!(ordinal("web", "web-2147483648"), Some(2_147_483_648));
        for name in
            ["web", "web-", "web-01", "web-+1", "web--1", "web-1-2", "web-x", "db-0", "web-99999999999999999999"]
        {
            assert_eq!(ordinal("web", name), None, "{name}");
        }
        assert_eq!(set_of("web-1-2"), Some("web-1"));
        assert_eq!((set_of("web-7f9c"), set_of("web"), set_of("web-01")), (None, None, None));
    }

    #[test]
    fn volumes_of_claims_come_in_place_of_those_of_their_names() {
        let spec = json!({"volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]});
        let mut pod = Object::from_value(json!({"metadata": {"name": "web-1"}, "spec": spec})).expect("an object");
        put_volumes(&mut pod, &[]);
        assert_eq!(pod.at(&["spec"]), Some(&spec));
        put_volumes(&mut pod, &[Volume { name: "data".to_owned(), claim: "data-web-1".to_owned() }]);
        let expected = json!([
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}},
            {"name": "tmp", "emptyDir": {}},
        ]);
        assert_eq!(pod.at(&["spec", "volumes"]), Some(&expected));
    }
}
