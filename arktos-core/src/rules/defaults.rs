//! Defaults that no line of the rules files can say: functions that the files call by name.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::quantity::Quantity;
use crate::schema::builtin::is_zero;

/// A function that makes a default from the object that it stands in.
#[derive(Clone, Copy)]
pub(super) struct Function {
    name: &'static str,
    make: fn(&Map<String, Value>) -> Option<Value>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// The default, if there is one.
    pub(super) fn make(self, map: &Map<String, Value>) -> Option<Value> {
        (self.make)(map)
    }
}

const FUNCTIONS: &[Function] = &[
    Function { name: "pull_policy", make: pull_policy },
    Function { name: "requested_as_limited", make: requested_as_limited },
    Function { name: "whole_limits", make: whole_limits },
    Function { name: "whole_requests", make: whole_requests },
    Function { name: "qos_class", make: |pod| Some(Value::from(qos_class(pod.get("spec")?.as_object()?))) },
    Function { name: "string_data", make: string_data },
    Function { name: "subject_group", make: subject_group },
    Function { name: "policy_types", make: policy_types },
    Function { name: "limit_defaults", make: limit_defaults },
    Function { name: "limit_requests", make: limit_requests },
    Function { name: "completions", make: completions },
    Function { name: "volume_source", make: volume_source },
    Function { name: "claim_templates", make: claim_templates },
    Function { name: "template_labels", make: template_labels },
    Function { name: "pod_cidrs", make: |spec| first_said(spec, "podCIDR", "podCIDRs", Clone::clone) },
    Function { name: "pod_cidr", make: |spec| spec.get("podCIDRs")?.get(0).filter(|range| **range != "").cloned() },
    Function {
        name: "pod_ip",
        make: |status| status.get("podIPs")?.get(0)?.get("ip").filter(|ip| **ip != "").cloned(),
    },
    Function { name: "pod_ips", make: |status| first_said(status, "podIP", "podIPs", |ip| json!({ "ip": ip })) },
    Function { name: "namespace_finalizers", make: |namespace| Some(with_finalizer(namespace, "kubernetes")) },
    Function { name: "tenant_finalizers", make: |tenant| Some(with_finalizer(tenant, "arktos")) },
    Function { name: "gated", make: gated },
    Function { name: "target_port", make: target_port },
    Function { name: "grace", make: grace },
    Function { name: "ip_modes", make: ip_modes },
    Function { name: "host_ports", make: host_ports },
    Function { name: "outer_policy", make: outer_policy },
    Function { name: "stored_versions", make: stored_versions },
    Function { name: "volume_pull_policy", make: |volume| pull_policy_of(volume.get("reference")) },
    Function {
        name: "singular_name",
        make: |spec| Some(spec.get("names")?.get("kind")?.as_str()?.to_lowercase().into()),
    },
    Function {
        name: "list_kind",
        make: |spec| {
            let kind = spec.get("names")?.get("kind")?.as_str()?;
            (!kind.is_empty()).then(|| format!("{kind}List").into())
        },
    },
];

/// A function by the name that the rules files know it by.
pub(super) fn function(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|function| function.name == name).copied()
}

/// A list of which the first is said apart, too. What is said apart counts.
fn first_said(map: &Map<String, Value>, one: &str, all: &str, as_item: fn(&Value) -> Value) -> Option<Value> {
    let first = map.get(one).filter(|first| first.as_str().is_some_and(|text| !text.is_empty()));
    let Some(first) = first.map(as_item) else { return map.get(all).cloned() };
    match map.get(all) {
        Some(Value::Array(items)) if items.first() == Some(&first) => map.get(all).cloned(),
        _ => Some(json!([first])),
    }
}

/// The labels of an object's template. What is no map of texts is told where it stands.
fn template_labels(object: &Map<String, Value>) -> Option<Value> {
    let labels = object.get("spec")?.get("template")?.get("metadata")?.get("labels")?;
    let fits = labels.as_object()?.values().all(|value| value.is_string() || value.is_null());
    fits.then(|| labels.clone())
}

/// A service's port leads to the same one of the pods, unless another is named; neither nought nor no name is one.
fn target_port(port: &Map<String, Value>) -> Option<Value> {
    let named = port.get("targetPort").is_some_and(|target| !is_zero(target));
    (!named).then(|| port.get("port").cloned().unwrap_or_else(|| Value::from(0)))
}

/// Images without a tag, or with `latest`, are pulled every time.
fn pull_policy(container: &Map<String, Value>) -> Option<Value> {
    pull_policy_of(container.get("image"))
}

fn pull_policy_of(image: Option<&Value>) -> Option<Value> {
    let latest = crate::image::tag(image.and_then(Value::as_str).unwrap_or_default()) == Some("latest");
    Some(Value::from(if latest { "Always" } else { "IfNotPresent" }))
}

/// Where traffic from outside goes, for a service that it can reach.
fn outer_policy(service: &Map<String, Value>) -> Option<Value> {
    let outer = match service.get("type")?.as_str()? {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !service.get("externalIPs")?.as_array()?.is_empty(),
        _ => false,
    };
    outer.then(|| Value::from("Cluster"))
}

/// What a pod's containers limit and do not request is requested as it is limited.
fn requested_as_limited(pod: &Map<String, Value>) -> Option<Value> {
    let spec = pod.get("spec")?;
    let lists = ["containers", "initContainers"];
    let mut containers = lists.iter().filter_map(|list| spec.get(*list)?.as_array()).flatten();
    if containers.all(requests_all_it_limits) {
        return None;
    }
    let mut spec = spec.clone();
    for list in lists {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(limits) = container.pointer("/resources/limits").and_then(Value::as_object).cloned() else {
                continue;
            };
            let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { continue };
            let requests = resources.entry("requests").or_insert_with(|| json!({}));
            for (name, limit) in limits {
                if let Some(requests) = requests.as_object_mut() {
                    requests.entry(name).or_insert(limit);
                }
            }
        }
    }
    Some(spec)
}

/// What a pod as a whole may have of huge pages, where it says neither that nor what it asks for: what its containers
/// may.
fn whole_limits(pod: &Map<String, Value>) -> Option<Value> {
    let spec = pod.get("spec")?.as_object()?;
    let resources = spec.get("resources")?.as_object()?;
    let amounts = |of: &str| match resources.get(of) {
        None | Some(Value::Null) => Some(Map::new()),
        Some(amounts) => amounts.as_object().cloned(),
    };
    let (mut limits, requests) = (amounts("limits")?, amounts("requests")?);
    if limits.is_empty() && requests.is_empty() {
        return None;
    }
    for (name, most) in crate::quota::of_containers(spec, "limits") {
        if name.starts_with("hugepages-") && !requests.contains_key(&name) {
            limits.entry(name).or_insert_with(|| Value::from(most.to_string()));
        }
    }
    (!limits.is_empty()).then_some(Value::Object(limits))
}

/// What a pod as a whole may have, and does not ask for, it asks for as its containers do, or else all of it.
fn whole_requests(pod: &Map<String, Value>) -> Option<Value> {
    let spec = pod.get("spec")?.as_object()?;
    let limits = spec.get("resources")?.get("limits")?.as_object().filter(|limits| !limits.is_empty())?;
    let mut requests = match spec["resources"].get("requests") {
        None | Some(Value::Null) => Map::new(),
        Some(requests) => requests.as_object()?.clone(),
    };
    let shared = |name: &str| matches!(name, "cpu" | "memory");
    for (name, asked) in crate::quota::of_containers(spec, "requests").into_iter().filter(|(name, _)| shared(name)) {
        requests.entry(name).or_insert_with(|| Value::from(asked.to_string()));
    }
    for (name, limit) in limits.iter().filter(|(name, _)| shared(name) || name.starts_with("hugepages-")) {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    Some(Value::Object(requests))
}

fn requests_all_it_limits(container: &Value) -> bool {
    let Some(Value::Object(resources)) = container.get("resources") else { return true };
    let Some(Value::Object(limits)) = resources.get("limits") else { return true };
    let requests = resources.get("requests");
    requests.is_some_and(|requests| limits.keys().all(|name| requests.get(name).is_some()))
}

/// Objects of a new definition are stored in its storage version.
fn stored_versions(definition: &Map<String, Value>) -> Option<Value> {
    let versions = definition.get("spec")?.get("versions")?.as_array()?;
    let stored = versions.iter().find(|version| version["storage"] == true)?;
    Some(Value::Array(vec![stored["name"].clone()]))
}

/// On the host's network, a container's port is the host's.
fn host_ports(pod: &Map<String, Value>) -> Option<Value> {
    let spec = pod.get("spec")?;
    if spec.get("hostNetwork") != Some(&Value::Bool(true)) {
        return None;
    }
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let ports = container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten();
            for port in ports.filter_map(Value::as_object_mut) {
                let own = port.get("containerPort").cloned().unwrap_or_default();
                if port.get("hostPort").is_none_or(|port| port.as_i64() == Some(0)) {
                    port.insert("hostPort".to_owned(), own);
                }
            }
        }
    }
    Some(spec)
}

/// `stringData` is written into `data`.
fn string_data(secret: &Map<String, Value>) -> Option<Value> {
    use base64::Engine as _;
    let texts = secret.get("stringData")?.as_object()?;
    let mut data = secret.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, text) in texts {
        let bytes = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        data.insert(name.clone(), Value::from(bytes));
    }
    Some(Value::Object(data))
}

/// Users and groups are of RBAC's own group, service accounts of the core group.
fn subject_group(subject: &Map<String, Value>) -> Option<Value> {
    matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group"))
        .then(|| Value::from("rbac.authorization.k8s.io"))
}

/// A policy is about what comes in, and about what goes out when it says something of that.
fn policy_types(spec: &Map<String, Value>) -> Option<Value> {
    let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    Some(if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) })
}

/// The default limit of a resource is its maximum.
fn limit_defaults(item: &Map<String, Value>) -> Option<Value> {
    merged(item, "default", &["max"])
}

/// The default request of a resource is its default limit, or its minimum.
fn limit_requests(item: &Map<String, Value>) -> Option<Value> {
    merged(item, "defaultRequest", &["default", "min"])
}

fn merged(item: &Map<String, Value>, field: &str, from: &[&str]) -> Option<Value> {
    if item.get("type").and_then(Value::as_str) != Some("Container") {
        return item.get(field).cloned();
    }
    let mut merged = item.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    for amounts in from.iter().filter_map(|field| item.get(*field)?.as_object()) {
        for (name, amount) in amounts {
            merged.entry(name.clone()).or_insert_with(|| amount.clone());
        }
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// A job that says neither how many pods must succeed nor how many may run at once runs one.
fn completions(job: &Map<String, Value>) -> Option<Value> {
    job.get("spec").and_then(|spec| spec.get("parallelism")).is_none().then(|| Value::from(1))
}

/// A volume of which nothing is said but its name is an empty directory.
fn volume_source(volume: &Map<String, Value>) -> Option<Value> {
    volume.keys().all(|field| field == "name").then(|| json!({}))
}

/// The templates of a stateful set's claims are whole objects.
fn claim_templates(spec: &Map<String, Value>) -> Option<Value> {
    let mut templates = spec.get("volumeClaimTemplates")?.clone();
    for template in templates.as_array_mut()?.iter_mut().filter_map(Value::as_object_mut) {
        template.insert("apiVersion".to_owned(), Value::from("v1"));
        template.insert("kind".to_owned(), Value::from("PersistentVolumeClaim"));
    }
    Some(templates)
}

/// The finalizers of a namespace or tenant, and the one that makes deletion wait for its contents.
fn with_finalizer(object: &Map<String, Value>, finalizer: &str) -> Value {
    let finalizers = object.get("spec").and_then(|spec| spec.get("finalizers")).and_then(Value::as_array);
    let mut finalizers = finalizers.cloned().unwrap_or_default();
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(Value::from(finalizer));
    }
    Value::Array(finalizers)
}

/// An address of a load balancer is taken for the service's own, unless it says otherwise.
fn ip_modes(service: &Map<String, Value>) -> Option<Value> {
    let mut ingress = service.get("status")?.pointer("/loadBalancer/ingress")?.clone();
    let silent = |one: &&mut Value| one["ip"].as_str().is_some_and(|ip| !ip.is_empty()) && one["ipMode"].is_null();
    for one in ingress.as_array_mut()?.iter_mut().filter(silent) {
        one["ipMode"] = Value::from("VIP");
    }
    Some(ingress)
}

/// A pod that is given less than no time to end has a second. Templates say what they say.
fn grace(pod: &Map<String, Value>) -> Option<Value> {
    let seconds = pod.get("spec")?.get("terminationGracePeriodSeconds")?.as_i64()?;
    (seconds < 0).then(|| Value::from(1))
}

/// A pod that waits behind gates says so.
fn gated(pod: &Map<String, Value>) -> Option<Value> {
    let gates = pod.get("spec")?.get("schedulingGates")?.as_array()?;
    (!gates.is_empty()).then(|| {
        json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastTransitionTime": pod.get("metadata").and_then(|metadata| metadata.get("creationTimestamp")),
        }])
    })
}

/// How a pod's containers are served when the host is short: from their requests and limits, or those of the pod as a
/// whole.
pub(crate) fn qos_class(spec: &Map<String, Value>) -> &'static str {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let amounts = |resources: &Value, of: &str| -> Vec<(String, Quantity)> {
        let amounts = resources[of].as_object();
        let amounts = amounts.into_iter().flatten().filter(|(name, _)| COUNTED.contains(&name.as_str()));
        amounts
            .filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(amount.as_str()?).ok()?)))
            .filter(|(_, amount)| amount.milli() != 0)
            .collect()
    };
    let whole = spec.get("resources").filter(|whole| whole.is_object());
    let lists = ["containers", "initContainers"].into_iter().filter(|_| whole.is_none());
    let containers = lists.filter_map(|field| spec.get(field)?.as_array()).flatten();
    let each = containers.map(|container| container.get("resources").unwrap_or(&Value::Null));
    let (mut any, mut guaranteed) = (false, true);
    for resources in whole.into_iter().chain(each) {
        let (requests, limits) = (amounts(resources, "requests"), amounts(resources, "limits"));
        any |= !requests.is_empty() || !limits.is_empty();
        guaranteed &= limits.len() == COUNTED.len() && requests.iter().all(|request| limits.contains(request));
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
