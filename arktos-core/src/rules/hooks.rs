//! What the server does to objects of a few kinds and no line of the rules files can say.

use serde_json::{Map, Value, json};

use super::{armor, disabled};
use crate::catalog::Kind;
use crate::custom;
use crate::object::Object;

/// The annotation in which a daemon set counts its templates.
pub(super) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The note on a job whose labels are as they are read, and not yet as they are stored: they are filled in from the
/// labels that its template was given only afterwards. So the first write to it, whatever it says, changes it.
pub(super) const LABELS_AS_READ: &str = "labels-as-read";

/// The note on a claim whose phase is one that it is read with: it is stored without, until the first write to it,
/// whatever that says, changes it.
const PHASE_AS_READ: &str = "phase-as-read";

/// From where nodes were configured once. Nobody reads it any more.
const CONFIG_SOURCE: [&str; 2] = ["spec", "configSource"];

/// After what the rules files say of a creation.
pub(super) fn created(kind: &Kind, object: &mut Object) {
    disabled::drop_fields(kind, object);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("batch", "Job") => select_own_pods(object),
        ("", "PersistentVolumeClaim") => {
            settle_source(object, false);
            object.notes.insert(PHASE_AS_READ.to_owned(), String::new());
        }
        ("", "Pod") => {
            armor::settle(object);
            select_by_own_labels(object);
        }
        ("", "Node") => {
            object.remove(&CONFIG_SOURCE);
        }
        ("", "ServiceAccount") => only_name_secrets(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom::prepare_create(object),
        ("apiregistration.k8s.io", "APIService") => answered_here(object),
        ("discovery.k8s.io", "EndpointSlice") => forget_topology(object),
        ("resource.k8s.io", "ResourceSlice") => {
            let now = object.str_at(&["metadata", "creationTimestamp"]).to_owned();
            date_taints(kind, object, &now);
        }
        ("apps", "DaemonSet") => object.set(&["metadata", "annotations", TEMPLATE_GENERATION], "1"),
        _ => {}
    }
}

/// Before the new state of an object is compared with the old.
pub(super) fn updated(kind: &Kind, old: &Object, new: &mut Object) {
    if !disabled::is_in_use(kind, old) {
        disabled::drop_fields(kind, new);
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "DaemonSet") => count_templates(old, new),
        ("", "Node") if old.at(&CONFIG_SOURCE).is_none() => {
            new.remove(&CONFIG_SOURCE);
        }
        ("", "Service") => keep_allocations(old, new),
        ("", "ServiceAccount") => only_name_secrets(new),
        ("", "PersistentVolumeClaim") => settle_source(new, has_source(old)),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom::prepare_update(old, new),
        _ => {}
    }
}

/// After what a write to an object's status may change of it.
pub(super) fn reported(kind: &Kind, old: &Object, new: &mut Object) {
    let noted = old.notes.get(LABELS_AS_READ).map(String::as_str);
    written(kind, new);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "DaemonSet") => {
            // How often its template changed is part of what is asked for.
            let path = ["metadata", "annotations", TEMPLATE_GENERATION];
            if let Some(count) = old.at(&path).cloned() {
                new.set(&path, count);
            }
        }
        ("batch", "Job") if new.at(&["metadata", "labels"]).is_none_or(super::fault::is_empty) => {
            // A job without labels has its template's, read as its own; each time that it is written so is a change.
            if let Some(labels) = old.at(&["spec", "template", "metadata", "labels"]).cloned() {
                new.set(&["metadata", "labels"], labels);
                let again = if noted == Some("") { "again" } else { "" };
                new.notes.insert(LABELS_AS_READ.to_owned(), again.to_owned());
            }
        }
        _ => {}
    }
}

/// After any write to an object, of its status as well.
pub(super) fn written(kind: &Kind, object: &mut Object) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("batch", "Job") => {
            object.notes.remove(LABELS_AS_READ);
        }
        ("", "PersistentVolumeClaim") => {
            object.notes.remove(PHASE_AS_READ);
        }
        ("discovery.k8s.io", "EndpointSlice") => forget_topology(object),
        _ => {}
    }
}

/// A version that no service is named for is the server's own, and available from the start.
fn answered_here(service: &mut Object) {
    if service.at(&["spec", "service"]).is_some() {
        return;
    }
    let now = service.str_at(&["metadata", "creationTimestamp"]).to_owned();
    let condition = json!({"type": "Available", "status": "True", "lastTransitionTime": now, "reason": "Local",
        "message": "Local APIServices are always available"});
    service.set(&["status"], json!({"conditions": [condition]}));
}

/// What this form of a slice does not know is not kept, though it counts as a change.
fn forget_topology(slice: &mut Object) {
    let endpoints = slice.fields.get_mut("endpoints").and_then(Value::as_array_mut);
    for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_object_mut) {
        endpoint.remove("deprecatedTopology");
    }
}

/// Taints of devices say since when they are there: whoever writes one without saying so adds it `now`.
pub fn date_taints(kind: &Kind, slice: &mut Object, now: &str) {
    if (kind.group.as_str(), kind.kind.as_str()) != ("resource.k8s.io", "ResourceSlice") {
        return;
    }
    for device in items_at(slice, &["devices"]) {
        let taints = device.get_mut("taints").and_then(Value::as_array_mut);
        for taint in taints.into_iter().flatten().filter_map(Value::as_object_mut) {
            taint.entry("timeAdded").or_insert_with(|| Value::from(now));
        }
    }
}

/// Of the secrets of an account only the names are kept.
fn only_name_secrets(account: &mut Object) {
    let secrets = account.fields.get_mut("secrets").and_then(Value::as_array_mut);
    for secret in secrets.into_iter().flatten().filter_map(Value::as_object_mut) {
        secret.retain(|field, _| field == "name");
    }
}

fn has_source(claim: &Object) -> bool {
    ["dataSource", "dataSourceRef"].iter().any(|field| claim.at(&["spec", field]).is_some())
}

/// A source in another namespace is as good as none, and so is one in the older form that this form does not know:
/// unless the claim `had` a source. What is said in one form is said in both.
fn settle_source(claim: &mut Object, had: bool) {
    if !had && !claim.str_at(&["spec", "dataSourceRef", "namespace"]).is_empty() {
        claim.remove(&["spec", "dataSourceRef"]);
    }
    let said = |field: &str| claim.at(&["spec", field]).and_then(Value::as_object).cloned();
    match (said("dataSource"), said("dataSourceRef")) {
        (Some(mut source), None) if had || is_data_source(&source) => {
            source.entry("apiGroup").or_insert(Value::Null);
            claim.set(&["spec", "dataSourceRef"], source);
        }
        (Some(_), None) => {
            claim.remove(&["spec", "dataSource"]);
        }
        (None, Some(mut source)) => {
            source.entry("apiGroup").or_insert(Value::Null);
            if source.remove("namespace").is_none_or(|namespace| namespace == "") {
                claim.set(&["spec", "dataSource"], source);
            }
        }
        _ => {}
    }
}

/// Whether the older form of a data source knows this one: another claim, or a snapshot.
fn is_data_source(source: &Map<String, Value>) -> bool {
    let text = |field: &str| source.get(field).and_then(Value::as_str).unwrap_or_default();
    matches!(
        (text("apiGroup"), text("kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// A job selects its pods by its own uid, unless it brings a selector.
fn select_own_pods(job: &mut Object) {
    let noted = job.notes.remove(super::LABELS_OF_TEMPLATE).is_some();
    // Admission may have labelled the one or the other since.
    let shares = noted && job.at(&["metadata", "labels"]) == job.at(&["spec", "template", "metadata", "labels"]);
    if job.at(&["spec", "manualSelector"]) == Some(&Value::Bool(true)) {
        return;
    }
    let (uid, name) = (job.uid().to_owned(), job.name().to_owned());
    let own = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    if job.map_mut(&["metadata", "labels"]).is_empty() {
        job.remove(&["metadata", "labels"]);
        job.notes.insert(LABELS_AS_READ.to_owned(), String::new());
    }
    let labels = job.map_mut(&["spec", "template", "metadata", "labels"]);
    for (key, value) in own {
        labels.entry(key).or_insert_with(|| Value::from(value.as_str()));
    }
    let labels = Value::Object(labels.clone());
    if shares && job.at(&["metadata", "labels"]).is_some() {
        job.set(&["metadata", "labels"], labels);
    }
    job.map_mut(&["spec", "selector", "matchLabels"])
        .entry("batch.kubernetes.io/controller-uid")
        .or_insert_with(|| Value::from(uid));
}

/// What a pod shares with the pods that it is placed beside, or does not: its own labels' values become a part of the
/// selectors.
fn select_by_own_labels(pod: &mut Object) {
    let labels = pod.at(&["metadata", "labels"]).cloned().unwrap_or_default();
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (list, weighted) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", false),
            ("preferredDuringSchedulingIgnoredDuringExecution", true),
        ] {
            for term in items_at(pod, &["affinity", kind, list]) {
                let term = if weighted { &mut term["podAffinityTerm"] } else { term };
                add_label_keys(term, "matchLabelKeys", "In", &labels);
                add_label_keys(term, "mismatchLabelKeys", "NotIn", &labels);
            }
        }
    }
    for constraint in items_at(pod, &["topologySpreadConstraints"]) {
        add_label_keys(constraint, "matchLabelKeys", "In", &labels);
    }
}

/// The items of a list in a spec.
fn items_at<'a>(object: &'a mut Object, path: &[&str]) -> &'a mut [Value] {
    let spec = object.fields.get_mut("spec");
    let list = path.iter().try_fold(spec, |at, field| at.map(|at| at.get_mut(*field)));
    list.flatten().and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

fn add_label_keys(term: &mut Value, list: &str, operator: &str, labels: &Value) {
    let keys = term[list].as_array().cloned().unwrap_or_default();
    let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
    for key in keys {
        let Some(value) = key.as_str().and_then(|key| labels.get(key)).filter(|value| value.is_string()) else {
            continue;
        };
        let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
        if let Some(expressions) = expressions.as_array_mut() {
            expressions.push(json!({ "key": key, "operator": operator, "values": [value] }));
        }
    }
}

/// Each change of a daemon set's template has a number.
fn count_templates(old: &Object, new: &mut Object) {
    let before = old.str_at(&["metadata", "annotations", TEMPLATE_GENERATION]).parse::<i64>().unwrap_or(0);
    let changed = old.at(&["spec", "template"]) != new.at(&["spec", "template"]);
    let now = before + i64::from(changed);
    new.set(&["metadata", "annotations", TEMPLATE_GENERATION], now.to_string());
}

/// What was allocated for a service stays when an update does not speak of it, and goes when the type needs it no
/// more. (Who gives out ports of hosts knows which of them stay.)
fn keep_allocations(old: &Object, new: &mut Object) {
    let kind_of = |service: &Object| service.str_at(&["spec", "type"]).to_owned();
    let (before, now) = (kind_of(old), kind_of(new));
    if now != "LoadBalancer" && new.at(&["status", "loadBalancer"]).is_some() {
        new.set(&["status", "loadBalancer"], json!({}));
    }
    let has_node_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if has_node_ports(&before) && !has_node_ports(&now) {
        drop_external(old, new);
    }
    let same = |field: &str, new: &Object| new.at(&["spec", field]) == old.at(&["spec", field]);
    if before == "LoadBalancer" && now != "LoadBalancer" {
        for field in ["loadBalancerClass", "allocateLoadBalancerNodePorts"] {
            if same(field, new) {
                new.remove(&["spec", field]);
            }
        }
    }
    let is_reached = |service: &Object, kind: &str| {
        let addresses = service.at(&["spec", "externalIPs"]).is_some_and(|value| !is_empty(value));
        has_node_ports(kind) || kind == "ClusterIP" && addresses
    };
    if is_reached(old, &before) && !is_reached(new, &now) && same("externalTrafficPolicy", new) {
        new.remove(&["spec", "externalTrafficPolicy"]);
    }
    if now == "ExternalName" {
        drop_internal(old, new);
        return;
    }
    if before != "ExternalName" {
        let absent = |new: &Object, field: &str| new.at(&["spec", field]).is_none_or(is_empty);
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if absent(new, field) {
                copy(old, new, field);
            }
        }
        // Who changes the one address means the list as well, unless that is changed, too.
        let ip = new.str_at(&["spec", "clusterIP"]).to_owned();
        if ip != old.str_at(&["spec", "clusterIP"]) && same("clusterIPs", new) {
            new.set(&["spec", "clusterIPs"], json!([ip]));
        }
    }
}

/// A service that is only a name keeps nothing that an address is for.
fn drop_internal(old: &Object, new: &mut Object) {
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
        if new.at(&["spec", field]) == old.at(&["spec", field]) {
            new.remove(&["spec", field]);
        }
    }
}

fn copy(old: &Object, new: &mut Object, field: &str) {
    if let Some(value) = old.at(&["spec", field]) {
        new.set(&["spec", field], value.clone());
    }
}

fn is_empty(value: &Value) -> bool {
    super::fault::is_empty(value)
}

/// A service that is no longer reached from outside keeps nothing that only served that.
fn drop_external(old: &Object, new: &mut Object) {
    let same = |field: &str, new: &Object| new.at(&["spec", field]) == old.at(&["spec", field]);
    let ports_same = |new: &Object| {
        let ports = |object: &Object| -> Vec<Option<Value>> {
            let ports = object.at(&["spec", "ports"]).and_then(Value::as_array);
            ports.into_iter().flatten().map(|port| port.get("nodePort").cloned()).collect()
        };
        ports(old) == ports(new)
    };
    let drop_ports = ports_same(new);
    if same("healthCheckNodePort", new) {
        new.remove(&["spec", "healthCheckNodePort"]);
    }
    if drop_ports && let Some(ports) = new.map_mut(&["spec"]).get_mut("ports").and_then(Value::as_array_mut) {
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
}
