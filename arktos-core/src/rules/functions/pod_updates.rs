//! What may become of a pod once it is there.

use serde_json::{Map, Value, json};

use super::super::armor;
use super::super::fault::{Faults, Looked, Site};
use super::Run;
use super::pods::MIRROR;
use crate::object::Object;
use crate::status::StatusCause;

pub(super) const CHECKS: &[(&str, Run)] =
    &[("only_later", only_later), ("pod_update", pod_update), ("mirror_kept", mirror_kept), ("ephemeral", ephemeral)];

fn only_later(site: &Site<'_>, faults: &mut Faults) {
    if !site.updates && !site.items().is_empty() {
        faults.forbidden(&site.path(), "cannot be set on create");
    }
}

/// Of a pod's spec, an update may change images, the deadline, and what has been opened since.
fn pod_update(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
                       `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                       existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                       previously negative)";
    let (Some(old), Some(new)) = (site.old_map.and_then(|old| old.get("spec")), site.map.get("spec")) else { return };
    if old == new {
        return;
    }
    // Images and tolerations are looked at once more, for themselves.
    let tolerations = faults.0.iter().filter(|fault| fault.field.starts_with("spec.tolerations["));
    let tolerations: Vec<StatusCause> = tolerations.cloned().collect();
    if !containers_stay(old, new, faults) || !deadline_shrinks(old, new, faults) {
        return;
    }
    if tolerations_stay(old, new, faults) {
        faults.extend(Faults(tolerations, Vec::new(), Looked::default()));
    }
    gates_only_open(old, new, faults);
    let gated = !items(old, "schedulingGates").is_empty();
    if gated {
        places_only_narrow(old, new, faults);
    }
    let (mut before, mut after) = (old.clone(), new.clone());
    for spec in [&mut before, &mut after] {
        let Some(spec) = spec.as_object_mut() else { return };
        for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
            spec.remove(field);
        }
        if gated {
            spec.remove("nodeSelector");
            if let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) {
                affinity.remove("nodeAffinity");
                if affinity.is_empty() {
                    spec.remove("affinity");
                }
            }
        }
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container.as_object_mut().and_then(|container| container.remove("image"));
            }
        }
    }
    if before != after {
        faults.forbidden("spec", &format!("{WHY}\n"));
    }
}

/// Whether there are as many containers as there were. Each is of an image.
fn containers_stay(old: &Value, new: &Value, faults: &mut Faults) -> bool {
    for list in ["containers", "initContainers"] {
        if items(old, list).len() != items(new, list).len() {
            faults.forbidden(&format!("spec.{list}"), "pod updates may not add or remove containers");
            return false;
        }
        for (index, container) in items(new, list).iter().enumerate() {
            let (image, path) =
                (container["image"].as_str().unwrap_or_default(), format!("spec.{list}[{index}].image"));
            if image.is_empty() {
                faults.required(&path, "");
            } else if image.trim() != image {
                faults.invalid(&path, &container["image"], "must not have leading or trailing whitespace");
            }
        }
    }
    true
}

/// Whether a deadline comes no later than it did. Where there was none, one may be set.
fn deadline_shrinks(old: &Value, new: &Value, faults: &mut Faults) -> bool {
    let seconds = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    let (path, sent) = ("spec.activeDeadlineSeconds", &new["activeDeadlineSeconds"]);
    let why = match (seconds(old), seconds(new)) {
        (Some(_), None) => "must not update from a positive integer to nil value",
        (Some(old), Some(new)) if old < new => "must be less than or equal to previous value",
        _ => return true,
    };
    faults.invalid(path, sent, why);
    false
}

/// Whether all tolerations are still there. They may be added, and last longer or shorter.
fn tolerations_stay(old: &Value, new: &Value, faults: &mut Faults) -> bool {
    let list = |spec: &Value| -> Vec<Value> {
        let mut list = spec["tolerations"].as_array().cloned().unwrap_or_default();
        list.iter_mut().filter_map(Value::as_object_mut).for_each(|toleration| {
            toleration.remove("tolerationSeconds");
        });
        list
    };
    let after = list(new);
    let stay = list(old).iter().all(|toleration| after.contains(toleration));
    if !stay {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        faults.forbidden("spec.tolerations", why);
    }
    stay
}

fn gates_only_open(old: &Value, new: &Value, faults: &mut Faults) {
    let before = items(old, "schedulingGates");
    for (index, gate) in items(new, "schedulingGates").iter().enumerate() {
        if !before.iter().any(|known| known["name"] == gate["name"]) {
            let why = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                gate["name"].as_str().unwrap_or_default()
            );
            faults.forbidden(&format!("spec.schedulingGates[{index}].name"), &why);
        }
    }
}

/// The items of a list of an object; none when it has no such list.
fn items<'a>(of: &'a Value, list: &str) -> &'a [Value] {
    of[list].as_array().map_or(&[], Vec::as_slice)
}

/// Where a pod that waits behind gates may be placed: there may be more that a host must have, and not less.
fn places_only_narrow(old: &Value, new: &Value, faults: &mut Faults) {
    const REQUIRED: &str = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let kept = |(key, value): (&String, &Value)| new["nodeSelector"].get(key) == Some(value);
    if !old["nodeSelector"].as_object().into_iter().flatten().all(kept) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        faults.invalid("spec.nodeSelector", &new["nodeSelector"], why);
    }
    let terms = |spec: &Value| spec.pointer(REQUIRED).map(|required| items(required, "nodeSelectorTerms").to_vec());
    let (before, after) = (terms(old).unwrap_or_default(), terms(new));
    let path = format!("spec{}.nodeSelectorTerms", REQUIRED.replace('/', "."));
    if !before.is_empty() && after.as_ref().is_none_or(|after| after.len() != before.len()) {
        let sent = after.map_or(Value::Null, |after| after.iter().map(as_shown).collect());
        return faults.invalid(&path, &sent, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    }
    for (index, (old, new)) in before.iter().zip(after.unwrap_or_default()).enumerate() {
        let lists = ["matchExpressions", "matchFields"];
        let empty = |term: &Value| lists.iter().all(|list| items(term, list).is_empty());
        // A term that is empty selects nothing, and would select something.
        let opens = empty(old) && !empty(&new);
        if opens || !lists.iter().all(|list| items(&new, list).starts_with(items(old, list))) {
            let why = "only additions are allowed (no mutations or deletions)";
            faults.invalid(&format!("{path}[{index}]"), &as_shown(&new), why);
        }
    }
}

/// A term that selects hosts, as messages show it.
fn as_shown(term: &Value) -> Value {
    let shown = |one: &Value| json!({ "Key": one["key"], "Operator": one["operator"], "Values": one["values"] });
    let list = |list: &str| term[list].as_array().map(|list| list.iter().map(shown).collect::<Value>());
    json!({ "MatchExpressions": list("matchExpressions"), "MatchFields": list("matchFields") })
}

/// Why a pod cannot be resized at all.
pub(in crate::rules) fn never_resized(pod: &Object) -> Option<&'static str> {
    if pod.at(&["metadata", "annotations", MIRROR]).is_some() {
        return Some("static pods cannot be resized");
    }
    (pod.str_at(&["spec", "os", "name"]) == "windows").then_some("windows pods cannot be resized")
}

/// Whether the host of a pod knows of resizes: then it says which resources a running container has.
fn is_resizable(pod: &Object) -> bool {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    let running = statuses.into_iter().flatten().find(|status| status["state"]["running"].is_object());
    running.is_none_or(|status| status["resources"].is_object())
}

/// What new resources of a running pod and its containers may not be.
pub(in crate::rules) fn resize_faults(old: &Object, new: &Object, faults: &mut Faults) {
    if !is_resizable(old) {
        faults.forbidden("spec", "Pod running on node without support for resize");
    }
    let spec = |pod: &Object| pod.at(&["spec"]).cloned().unwrap_or_default();
    let (old, new) = (spec(old), spec(new));
    whole_resized(&old["resources"], &new["resources"], faults);
    let known = faults.0.len();
    reordered(&old, &new, faults);
    if faults.0.len() > known {
        return; // what follows compares them one by one
    }
    for list in ["initContainers", "containers"] {
        for (index, (old, new)) in items(&old, list).iter().zip(items(&new, list)).enumerate() {
            let (sidecar, path) = (list == "initContainers", format!("spec.{list}[{index}].resources"));
            if sidecar && old["restartPolicy"] != "Always" {
                if old != new {
                    faults.forbidden("spec", "resources for non-sidecar init containers are immutable");
                }
                continue;
            }
            for what in ["requests", "limits"] {
                let kept = |(name, _): (&String, &Value)| new["resources"][what].get(name).is_some();
                if !old["resources"][what].as_object().into_iter().flatten().all(kept) {
                    faults.forbidden(&format!("{path}.{what}"), &format!("resource {what} cannot be removed"));
                }
            }
            if fixed_resources(old) != fixed_resources(new) {
                match sidecar {
                    true => faults.forbidden(
                        &format!("spec.{list}[{index}]"),
                        "only cpu and memory resources for init or sidecar containers are mutable",
                    ),
                    false => faults.forbidden("spec", "only cpu and memory resources are mutable"),
                }
            }
        }
    }
}

/// What becomes of the resources that a pod has as a whole.
fn whole_resized(old: &Value, new: &Value, faults: &mut Faults) {
    const AT: &str = "spec.resources";
    if old.is_object() && !new.is_object() {
        return faults.forbidden(AT, "pod-level resources cannot be removed");
    }
    for what in ["requests", "limits"] {
        let kept = |(name, _): (&String, &Value)| new[what].get(name).is_some();
        if !old[what].as_object().into_iter().flatten().all(kept) {
            faults.forbidden(&format!("{AT}.{what}"), &format!("pod-level resource {what} cannot be removed"));
        }
    }
    if amounts_of_others(old) != amounts_of_others(new) {
        faults.forbidden("spec", "only cpu and memory resources are mutable at pod-level");
    }
}

/// A resize leaves a pod the containers that it has, in their order.
fn reordered(old: &Value, new: &Value, faults: &mut Faults) {
    for list in ["containers", "initContainers"] {
        let (old, new) = (items(old, list), items(new, list));
        if old.len() != new.len() {
            faults.forbidden(&format!("spec.{list}"), &format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (index, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old["name"] != new["name"]) {
            let path = format!("spec.{list}[{index}].name");
            faults.forbidden(&path, &format!("{list} may not be renamed or reordered on resize"));
        }
    }
}

/// What is said of a container's resources that cannot be otherwise while it runs.
fn fixed_resources(container: &Value) -> (&Value, Vec<(&str, &String, &Value)>) {
    (&container["resizePolicy"], amounts_of_others(&container["resources"]))
}

/// The amounts of what neither CPU nor memory is.
fn amounts_of_others(resources: &Value) -> Vec<(&str, &String, &Value)> {
    let of = |what: &'static str| {
        let amounts = resources[what].as_object().into_iter().flatten();
        let amounts = amounts.filter(|(name, _)| !matches!(name.as_str(), "cpu" | "memory"));
        amounts.map(move |(name, amount)| (what, name, amount))
    };
    of("requests").chain(of("limits")).collect()
}

fn annotations(pod: &Map<String, Value>) -> Option<&Map<String, Value>> {
    pod.get("metadata")?.get("annotations")?.as_object()
}

/// The profiles that annotations name stay, and whether a pod mirrors one of its node's own. Stands at the pod.
fn mirror_kept(site: &Site<'_>, faults: &mut Faults) {
    let Some(old) = site.old_map else { return };
    let (before, now) = (annotations(old), annotations(site.map));
    let mut forbid = |key: &str, why: &str| faults.forbidden(&format!("metadata.annotations[{key}]"), why);
    for (key, value) in before.into_iter().flatten().filter(|(key, _)| key.starts_with(armor::ANNOTATION)) {
        if now.and_then(|now| now.get(key)) != Some(value) {
            forbid(key, "may not remove or update AppArmor annotations");
        }
    }
    for (key, _) in now.into_iter().flatten().filter(|(key, _)| key.starts_with(armor::ANNOTATION)) {
        if before.is_none_or(|before| !before.contains_key(key)) {
            forbid(key, "may not add AppArmor annotations");
        }
    }
    let mark = |annotations: Option<&Map<String, Value>>| annotations.and_then(|all| all.get(MIRROR)).cloned();
    let why = match (mark(before).filter(Value::is_string), mark(now).filter(Value::is_string)) {
        (None, Some(_)) => "may not add mirror pod annotation",
        (Some(old), new) if new.as_ref() != Some(&old) => "may not remove or update mirror pod annotation",
        _ => return,
    };
    forbid(MIRROR, why);
}

/// Containers that are added to a pod while it runs: nothing relies on them.
/// Stands at the pod's spec.
fn ephemeral(site: &Site<'_>, faults: &mut Faults) {
    const NOT_THEIRS: [&str; 9] = [
        "ports",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
    ];
    const WHY: &str = "cannot be set for an Ephemeral Container";
    let list = site.list("ephemeralContainers");
    let named = |list: &str, name: &Value| site.list(list).iter().any(|container| container["name"] == *name);
    for (index, container) in list.iter().enumerate() {
        let at = |field: &str| site.sub(&format!("ephemeralContainers[{index}].{field}"));
        let target = &container["targetContainerName"];
        let known = target.as_str().is_none_or(str::is_empty) || named("containers", target);
        if !known && !named("initContainers", target) {
            faults.not_found(&at("targetContainerName"), target);
        }
        for field in NOT_THEIRS {
            let is_said = |value: &Value| {
                !value.is_null() && *value != json!([]) && *value != json!({}) || {
                    value.is_object() && field != "resources"
                }
            };
            if container.get(field).is_some_and(is_said) {
                faults.forbidden(&at(field), WHY);
            }
        }
        for (mount, of) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if of[field].as_str().is_some_and(|path| !path.is_empty()) {
                    faults.forbidden(&at(&format!("volumeMounts[{mount}].{field}")), WHY);
                }
            }
        }
    }
}

/// Containers that were added to a running pod stay as they were added.
pub(in crate::rules) fn ephemeral_kept(old: &Object, new: &Object, faults: &mut Faults) {
    const AT: [&str; 2] = ["spec", "ephemeralContainers"];
    let list = |pod: &Object| pod.at(&AT).and_then(Value::as_array).cloned().unwrap_or_default();
    let new = list(new);
    for container in &list(old) {
        let name = &container["name"];
        let why = match new.iter().find(|new| new["name"] == *name) {
            None => format!("existing ephemeral containers {name} may not be removed\n"),
            Some(new) if new != container => format!("existing ephemeral containers {name} may not be changed\n"),
            Some(_) => continue,
        };
        faults.forbidden(&AT.join("."), &why);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{changed, created, told};
    use super::super::super::{admit_ephemeral, admit_resize, admit_status, admit_update};
    use super::*;

    fn pod() -> Object {
        let container = json!({"name": "a", "image": "i", "resources": {"requests": {"cpu": "1"}}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}});
        created(&pod).expect("a good pod")
    }

    fn begin_alike(told: &[String], wanted: &[&str]) {
        let alike = told.iter().zip(wanted).all(|(told, wanted)| told.starts_with(wanted));
        assert!(told.len() == wanted.len() && alike, "{told:?} {wanted:?}");
    }

    #[test]
    fn an_update_looks_at_images_and_tolerations_once_more() {
        let update = |patch: &Value| told(changed(admit_update, &pod(), patch));
        let missing = "spec.containers[0].image: Required value";
        let resources = json!({"requests": {"cpu": "1"}});
        let imageless = json!([{"name": "a", "imagePullPolicy": "Always", "resources": resources}]);
        let imageless = json!({"spec": {"containers": imageless}});
        begin_alike(&update(&imageless), &[missing, missing]);
        let wrong = "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute'";
        let tolerant = json!({"spec": {"tolerations": [{"operator": "Exists", "tolerationSeconds": 5}]}});
        begin_alike(&update(&tolerant), &[wrong, wrong]);
    }

    #[test]
    fn an_update_says_neither_where_a_pod_runs_nor_what_is_added_while_it_does() {
        const NO: &[&str] = &["spec: Forbidden: pod updates may not change fields other than"];
        let update = |patch: &Value| told(changed(admit_update, &pod(), patch));
        begin_alike(&update(&json!({"spec": {"nodeName": "n"}})), NO);
        let added = json!({"spec": {"ephemeralContainers": [{"name": "b", "image": "i"}]}});
        begin_alike(&update(&added), NO);
        let with = changed(admit_ephemeral, &pod(), &added).expect("a container is added");
        let other = json!({"spec": {"ephemeralContainers": [{"name": "b", "image": "j"}]}});
        let kept = &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"b\" may not be changed"];
        begin_alike(&told(changed(admit_ephemeral, &with, &other)), kept);
    }

    #[test]
    fn a_container_that_has_ended_stays_so_unless_it_is_to_be_started_again() {
        let rule = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "OnFailure",
            "initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always"}],
            "containers": [{"name": "c", "image": "i"},
                {"name": "r", "image": "i", "restartPolicy": "Never", "restartPolicyRules": rule}]}});
        let made = created(&pod).expect("a good pod");
        let report = |state: Value| {
            let of = |name: &str| json!({"name": name, "image": "i", "imageID": "", "state": state});
            json!({"status": {"containerStatuses": [of("c"), of("r"), of("x")], "initContainerStatuses": [of("s")],
                "ephemeralContainerStatuses": [of("e")]}})
        };
        let ended = |code: u8| report(json!({"terminated": {"exitCode": code}}));
        let running = report(json!({"running": {}}));
        let at =
            |place: &str| format!("status.{place}.state: Forbidden: may not be transitioned to non-terminated state");
        let [c, r, x] = [0, 1, 2].map(|index| at(&format!("containerStatuses[{index}]")));
        let e = at("ephemeralContainerStatuses[0]");
        for (code, wanted) in [(0, vec![&*c, &*r, &*x, &*e]), (1, vec![&*r, &*x, &*e]), (3, vec![&*x, &*e])] {
            let old = changed(admit_status, &made, &ended(code)).expect("a good report");
            begin_alike(&told(changed(admit_status, &old, &running)), &wanted);
            begin_alike(&told(changed(admit_status, &old, &ended(code))), &[]);
        }
    }

    #[test]
    fn not_every_pod_is_resized() {
        let more = json!([{"name": "a", "image": "i", "resources": {"requests": {"cpu": "2"}}}]);
        let resize = |pod: &Object| told(changed(admit_resize, pod, &json!({"spec": {"containers": more}})));
        begin_alike(&resize(&pod()), &[]);
        let mut windows = pod();
        windows.set(&["spec", "os"], json!({"name": "windows"}));
        begin_alike(&resize(&windows), &["[]: Forbidden: windows pods cannot be resized"]);
        let mut running = pod();
        running.set(&["status", "containerStatuses"], json!([{"name": "a", "state": {"running": {}}}]));
        let old = &["spec: Forbidden: Pod running on node without support for resize"];
        begin_alike(&resize(&running), old);
        let status = json!({"name": "a", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}, "resources": {}});
        let told = json!({"status": {"containerStatuses": [status]}});
        let running = changed(admit_status, &pod(), &told).expect("a good report");
        begin_alike(&resize(&running), &[]);
    }

    #[test]
    fn what_a_pod_has_as_a_whole_is_resized_too() {
        let mut pod = pod();
        pod.set(&["spec", "resources"], json!({"requests": {"cpu": "2", "hugepages-2Mi": "2Mi"}}));
        let resize = |resources: Value| {
            let mut faults = Faults::default();
            let mut new = pod.clone();
            new.set(&["spec", "resources"], resources);
            resize_faults(&pod, &new, &mut faults);
            faults.0.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect::<Vec<_>>()
        };
        begin_alike(&resize(json!({"requests": {"cpu": "3", "hugepages-2Mi": "2Mi"}})), &[]);
        begin_alike(
            &resize(json!({"requests": {"hugepages-2Mi": "4Mi"}})),
            &[
                "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed",
                "spec: Forbidden: only cpu and memory resources are mutable at pod-level",
            ],
        );
        begin_alike(&resize(Value::Null), &["spec.resources: Forbidden: pod-level resources cannot be removed"]);
    }
}
