//! Containers: environment, probes, resources and mounts.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site, join};
use super::Run;
use crate::quantity::Quantity;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("image", image),
    ("resize_policy", resize_policy),
    ("resize_policies", resize_policies),
    ("restart_rules", restart_rules),
    ("claimed_devices", claimed_devices),
    ("sleeps", sleeps),
    ("positive_grace", positive_grace),
    ("handler", handler),
    ("header_names", header_names),
    ("exactly_one", exactly_one),
    ("never_for_readiness", never_for_readiness),
    ("container_resources", container_resources),
    ("pod_resources", pod_resources),
    ("container_ports", container_ports),
    ("host_ports", host_ports),
    ("plain_init", plain_init),
    ("overhead", overhead),
    ("class_overhead", overhead),
];

fn image(site: &Site<'_>, faults: &mut Faults) {
    let image = site.value_text();
    if site.root_kind == "Pod" && image.trim() != image {
        faults.invalid(&site.path(), &Value::from(image), "must not have leading or trailing whitespace");
    }
}

/// Stands at the list of a container's ports.
fn container_ports(site: &Site<'_>, faults: &mut Faults) {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (index, port) in site.items().iter().enumerate() {
        let path = |field: &str| format!("{}[{index}].{field}", site.path());
        let name = port["name"].as_str().unwrap_or_default();
        let found = if name.is_empty() { Vec::new() } else { super::super::check::port_name_faults(name) };
        for fault in &found {
            faults.invalid(&path("name"), &port["name"], fault);
        }
        if !names.insert(name) && found.is_empty() && !name.is_empty() {
            faults.duplicate(&path("name"), &port["name"]);
        }
        match port["containerPort"].as_i64().unwrap_or_default() {
            0 => faults.required(&path("containerPort"), ""),
            _ => port_faults(&path("containerPort"), &port["containerPort"], faults),
        }
        if port["hostPort"].as_i64().is_some_and(|port| port != 0) {
            port_faults(&path("hostPort"), &port["hostPort"], faults);
        }
    }
}

fn port_faults(path: &str, port: &Value, faults: &mut Faults) {
    for fault in super::super::check::port_faults(port) {
        faults.invalid(path, port, &fault);
    }
}

/// The ports of a pod's host: none is taken twice, and on the host's own network they are the containers' ports. Init
/// containers run one by one.
fn host_ports(site: &Site<'_>, faults: &mut Faults) {
    let on_host = site.map.get("hostNetwork") == Some(&Value::Bool(true));
    let is_pod = site.root_kind == "Pod";
    for list in ["initContainers", "containers"] {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for (index, container) in site.list(list).iter().enumerate() {
            // What is told of an init container has a path of its own.
            let shown = if list == "containers" {
                taken_by(&mut taken, container)
            } else {
                taken_by(&mut BTreeSet::new(), container)
            };
            for (at, place) in shown {
                let index = if list == "containers" { index } else { 0 };
                let path = site.sub(&format!("{list}[{index}].ports[{at}].hostPort"));
                faults.duplicate(&path, &Value::from(place));
            }
            for (at, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
                let host = port["hostPort"].as_i64().unwrap_or_default();
                let matches = host == port["containerPort"].as_i64().unwrap_or_default();
                if on_host && list == "containers" && !matches && (is_pod || host != 0) {
                    let why = "must match `containerPort` when `hostNetwork` is true";
                    let path = site.sub(&format!("{list}[{index}].ports[{at}].hostPort"));
                    faults.invalid(&path, &Value::from(host), why);
                }
            }
        }
    }
}

/// Takes a container's ports of its host; tells which were taken before.
fn taken_by(taken: &mut BTreeSet<String>, container: &Value) -> Vec<(usize, String)> {
    let mut twice = Vec::new();
    for (at, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let (host, text) = (port["hostPort"].as_i64().unwrap_or_default(), |field: &str| port[field].as_str());
        let [protocol, address] = ["protocol", "hostIP"].map(|field| text(field).unwrap_or_default());
        let place = format!("{protocol}/{address}/{host}");
        if host != 0 && taken.contains(&place) {
            twice.push((at, place));
        } else if host != 0 {
            taken.insert(place);
        }
    }
    twice
}
/// What runs to its end before the pod does is not looked after while it runs. Stands at the list.
fn plain_init(site: &Site<'_>, faults: &mut Faults) {
    for (index, container) in site.items().iter().enumerate() {
        if container["restartPolicy"] == "Always" {
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.get(field).is_some_and(|value| !value.is_null()) {
                let why = "may not be set for init containers without restartPolicy=Always";
                faults.forbidden(&format!("{}[{index}].{field}", site.path()), why);
            }
        }
    }
}

pub(super) fn set_fields<'a>(map: &Map<String, Value>, fields: &[&'a str]) -> Vec<&'a str> {
    fields.iter().filter(|field| map.get(**field).is_some_and(|value| !value.is_null())).copied().collect()
}

fn handler(site: &Site<'_>, faults: &mut Faults) {
    const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    let set = set_fields(site.map, &HANDLERS);
    match set.as_slice() {
        [] => faults.required(&site.path(), "must specify a handler type"),
        [_, others @ ..] => {
            for other in others {
                faults.forbidden(&site.sub(other), "may not specify more than 1 handler type");
            }
        }
    }
}

fn header_names(site: &Site<'_>, faults: &mut Faults) {
    for header in site.items() {
        let name = header["name"].as_str().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
                       used for validation is '[-A-Za-z0-9]+')";
            faults.invalid(&site.path(), &Value::from(name), why);
        }
    }
}

fn exactly_one(site: &Site<'_>, faults: &mut Faults) {
    if let Some(value) = site.value.filter(|value| value.as_i64() != Some(1)) {
        faults.invalid(&site.path(), value, "must be 1");
    }
}

fn never_for_readiness(site: &Site<'_>, faults: &mut Faults) {
    if let Some(value) = site.value {
        faults.invalid(&site.path(), value, "must not be set for readinessProbes");
    }
}

/// How much time a container that is not well has to end. Of those that are only not ready, nothing is to end.
fn positive_grace(site: &Site<'_>, faults: &mut Faults) {
    if let Some(value) = site.value.filter(|value| value.as_i64().is_some_and(|seconds| seconds <= 0)) {
        faults.invalid(&site.path(), value, "must be greater than 0");
    }
}

/// What becomes of a container whose resources change. Stands at the list.
fn resize_policy(site: &Site<'_>, faults: &mut Faults) {
    let path = site.path();
    let mut seen: Vec<&Value> = Vec::new();
    for (index, policy) in site.items().iter().enumerate() {
        let name = &policy["resourceName"];
        if seen.contains(&name) {
            faults.duplicate(&format!("{path}[{index}]"), name);
        }
        seen.push(name);
        for (field, known) in
            [("resourceName", ["cpu", "memory"]), ("restartPolicy", ["NotRequired", "RestartContainer"])]
        {
            match policy[field].as_str().unwrap_or_default() {
                "" => faults.required(&path, ""),
                other if !known.contains(&other) => faults.not_supported(&path, &policy[field], &known),
                _ => {}
            }
        }
    }
}

/// What never runs again is not restarted for its resources, nor is what runs to its end. Stands at the pod's spec.
fn resize_policies(site: &Site<'_>, faults: &mut Faults) {
    for list in super::mounts::CONTAINERS {
        for (index, container) in site.list(list).iter().enumerate() {
            let path = site.sub(&format!("{list}[{index}].resizePolicy"));
            let plain = list == "initContainers" && container["restartPolicy"] != "Always";
            for (at, policy) in container["resizePolicy"].as_array().into_iter().flatten().enumerate() {
                let how = &policy["restartPolicy"];
                let sent = Value::from(how.as_str().unwrap_or_default());
                if site.text("restartPolicy") == "Never" && how != "NotRequired" {
                    faults.invalid(&path, &sent, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
                }
                if plain && how == "RestartContainer" {
                    let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                    faults.invalid(&format!("{path}[{at}].restartPolicy"), how, why);
                }
            }
        }
    }
}

/// How many rules a container may have that say when it is started again, and how many exit codes each.
const RESTART_RULES_MAX: usize = 20;
const RESTART_CODES_MAX: usize = 255;

/// When a container is started again, other than its pod says. Stands at the container.
fn restart_rules(site: &Site<'_>, faults: &mut Faults) {
    const POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
    let rules = site.list("restartPolicyRules");
    match site.map.get("restartPolicy").filter(|policy| !policy.is_null()) {
        None if rules.is_empty() => return,
        None => {
            faults.required(&site.sub("restartPolicy"), "must specify restartPolicy when restart rules are used");
            if site.path().rsplit('.').next().is_some_and(|last| last.starts_with("initContainers[")) {
                return;
            }
        }
        Some(policy) if !policy.as_str().is_some_and(|policy| POLICIES.contains(&policy)) => {
            faults.not_supported(&site.sub("restartPolicy"), policy, &POLICIES);
        }
        Some(_) => {}
    }
    let path = site.sub("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        faults.too_many(&path, rules.len() as u64, RESTART_RULES_MAX as u64);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        if !matches!(rule["action"].as_str(), Some("Restart" | "RestartAllContainers")) {
            let sent = rule["action"].as_str().unwrap_or_default();
            faults.not_supported(&at("action"), &Value::from(sent), &["Restart", "RestartAllContainers"]);
        }
        let Some(codes) = rule["exitCodes"].as_object() else {
            faults.required(&at("exitCodes"), "must be specified");
            continue;
        };
        let operator = codes.get("operator").and_then(Value::as_str).unwrap_or_default();
        if !matches!(operator, "In" | "NotIn") {
            faults.not_supported(&at("exitCodes.operator"), &Value::from(operator), &["In", "NotIn"]);
        }
        let values = codes.get("values").and_then(Value::as_array).map_or(0, Vec::len);
        if values > RESTART_CODES_MAX {
            faults.too_many(&at("exitCodes.values"), values as u64, RESTART_CODES_MAX as u64);
        }
    }
}

/// What containers claim of devices their pod claims. Stands at the pod's spec.
fn claimed_devices(site: &Site<'_>, faults: &mut Faults) {
    let names = site.list("resourceClaims").iter().filter_map(|claim| claim["name"].as_str());
    let known: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    for list in super::mounts::CONTAINERS {
        for (index, container) in site.list(list).iter().enumerate() {
            let at = site.sub(&format!("{list}[{index}].resources.claims"));
            claim_faults(&at, &container["resources"]["claims"], &known, faults);
        }
    }
    if let Some(whole) =
        site.map.get("resources").filter(|_| site.map.get("os").is_none_or(|os| os["name"] != "windows"))
    {
        claim_faults(&site.sub("resources.claims"), &whole["claims"], &known, faults);
    }
}

fn claim_faults(at: &str, claims: &Value, known: &BTreeSet<&str>, faults: &mut Faults) {
    let detail = match known.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => "must be one of the names in pod.spec.resourceClaims which is empty".to_owned(),
        known => format!("must be one of the names in pod.spec.resourceClaims: {}", known.join(", ")),
    };
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (index, claim) in claims.as_array().into_iter().flatten().enumerate() {
        let path = format!("{at}[{index}]");
        let [name, request] = ["name", "request"].map(|field| claim[field].as_str().unwrap_or_default());
        if name.is_empty() {
            faults.required(&path, "");
            continue;
        }
        if taken.contains(name) {
            faults.duplicate(&path, &claim["name"]);
        } else {
            let mut key = name.to_owned();
            if !request.is_empty() {
                for fault in crate::name::label_faults(request) {
                    faults.invalid(&format!("{path}.request"), &claim["request"], &fault);
                }
                key = format!("{name}/{request}");
            }
            if taken.contains(&key) {
                faults.duplicate(&path, &Value::from(key.as_str()));
            } else if request.is_empty() {
                // All of a claim is more than the parts of it that were named before.
                let parts = format!("{name}/");
                let within = taken.range(parts.clone()..).take_while(|other| other.starts_with(&parts));
                within.for_each(|_| faults.duplicate(&path, &claim["name"]));
            }
            taken.insert(key);
        }
        if !known.contains(name) {
            faults.not_found_text(&path, &claim["name"], &detail);
        }
    }
}

/// How long a container sleeps before it ends: no longer than its pod is given to end. Stands at the pod's spec.
fn sleeps(site: &Site<'_>, faults: &mut Faults) {
    let Some(grace) = site.map.get("terminationGracePeriodSeconds").and_then(Value::as_i64) else { return };
    for list in ["containers", "initContainers"] {
        for (index, container) in site.list(list).iter().enumerate() {
            for when in ["postStart", "preStop"] {
                let seconds = &container["lifecycle"][when]["sleep"]["seconds"];
                if seconds.as_i64().is_some_and(|seconds| !(0..=grace).contains(&seconds)) {
                    let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    let path = format!("{list}[{index}].lifecycle.{when}.sleep");
                    faults.invalid(&site.sub(&path), seconds, &why);
                }
            }
        }
    }
}

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether a resource belongs to somebody else than Kubernetes. Such amounts are whole numbers that cannot be shared.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

fn container_resources(site: &Site<'_>, faults: &mut Faults) {
    requirements(site, |path, name, faults| resource_name_faults(path, name, true, faults), faults);
}

/// What a pod as a whole asks for and may have: no less than its containers ask for, and no container may have more.
fn pod_resources(site: &Site<'_>, faults: &mut Faults) {
    if site.sets("resources") && site.map.get("os").is_some_and(|os| os["name"] == "windows") {
        return faults.forbidden(&site.path(), "may not be set for a windows pod");
    }
    requirements(site, whole_name_faults, faults);
    let Some(resources) = site.value.filter(|resources| resources.is_object()) else { return };
    if !resources["claims"].is_null() {
        faults.forbidden(&site.sub("claims"), "claims may not be set for Resources at pod-level");
    }
    let parse = |amount: &Value| amount.as_str().and_then(|text| Quantity::parse(text).ok());
    for (name, asked) in crate::quota::of_containers(site.map, "requests") {
        let whole = &resources["requests"][&name];
        if parse(whole).is_some_and(|whole| whole < asked) {
            let why = format!("must be greater than or equal to aggregate container requests of {asked}");
            faults.invalid(&site.sub(&format!("requests[{name}]")), whole, &why);
        }
    }
    for (name, most) in crate::quota::of_containers(site.map, "limits").iter().filter(|(name, _)| is_huge(name)) {
        let whole = &resources["limits"][name];
        if parse(whole).is_some_and(|whole| whole < *most) {
            let why = format!("must be greater than or equal to aggregate container limits of {most}");
            faults.invalid(&site.sub(&format!("limits[{name}]")), whole, &why);
        }
    }
    for (index, container) in site.list("containers").iter().enumerate() {
        for (name, limit) in container["resources"]["limits"].as_object().into_iter().flatten() {
            let whole = &resources["limits"][name];
            if parse(limit).zip(parse(whole)).is_some_and(|(limit, whole)| limit > whole) {
                let why = format!("must be less than or equal to pod limits of {}", whole.as_str().unwrap_or_default());
                faults.invalid(&site.sub(&format!("containers[{index}][{name}].limits")), limit, &why);
            }
        }
    }
}

/// The faults of the name of a resource that a pod has as a whole.
fn whole_name_faults(path: &str, name: &str, faults: &mut Faults) {
    let before = faults.0.len();
    resource_name_faults(path, name, false, faults);
    if faults.0.len() == before && !matches!(name, "cpu" | "memory") && !is_huge(name) {
        faults.not_supported(path, &Value::from(name), &["cpu", "hugepages-", "memory"]);
    }
}

fn requirements(site: &Site<'_>, name_faults: fn(&str, &str, &mut Faults), faults: &mut Faults) {
    let Some(Value::Object(resources)) = site.value else { return };
    let empty = Map::new();
    let of = |field: &str| resources.get(field).and_then(Value::as_object).unwrap_or(&empty);
    let (limits, requests) = (of("limits"), of("requests"));
    for (name, limit) in limits {
        let path = site.sub(&format!("limits[{name}]"));
        name_faults(&path, name, faults);
        amount_faults(&path, name, limit, faults);
    }
    for (name, request) in requests {
        let path = site.sub(&format!("requests[{name}]"));
        name_faults(&path, name, faults);
        amount_faults(&path, name, request, faults);
        within_limit(site, name, request, limits.get(name), faults);
    }
    let named = |test: &dyn Fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| test(name));
    if named(&is_huge) && !named(&|name| name == "cpu" || name == "memory") {
        faults.forbidden(&site.path(), "HugePages require cpu or memory");
    }
}

/// Resources that Kubernetes knows beside those of containers.
const OTHERS: [&str; 12] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "services.nodeports",
    "services.loadbalancers",
    "requests.cpu",
    "requests.memory",
];

/// The faults of a resource's name; `contained` where it must be one that containers have.
pub(super) fn resource_name_faults(path: &str, name: &str, contained: bool, faults: &mut Faults) {
    let sent = Value::from(name);
    let of_container = STANDARD.contains(&name) || is_huge(name);
    let unnamed = qualified_name_faults(name);
    if unnamed.is_empty() && !name.contains('/') && !of_container && !OTHERS.contains(&name) {
        faults.invalid(path, &sent, "must be a standard resource type or fully qualified");
    }
    for fault in unnamed {
        faults.invalid(path, &sent, &fault);
    }
    if !contained {
        return;
    }
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    let quota = format!("requests.{name}");
    if !name.contains('/') && !of_container {
        faults.invalid(path, &sent, "must be a standard resource for containers");
    } else if !native && (name.starts_with("requests.") || !qualified_name_faults(&quota).is_empty()) {
        faults.invalid(path, &sent, "doesn't follow extended resource name standard");
    }
}

/// What is counted, and so a whole number.
pub(super) const WHOLE: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

fn amount_faults(path: &str, name: &str, amount: &Value, faults: &mut Faults) {
    let Some(quantity) = amount.as_str().and_then(|text| Quantity::parse(text).ok()) else { return };
    if quantity < Quantity::from_value(0) {
        faults.invalid(path, amount, "must be greater than or equal to 0");
    }
    if (is_extended(name) || WHOLE.contains(&name)) && quantity.milli() % 1000 != 0 {
        faults.invalid(path, amount, "must be an integer");
    }
    if let Some(size) = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok())
        && (size.value() <= 0 || size.milli() % 1000 != 0 || quantity.value() % size.value() != 0)
    {
        let text = amount.as_str().unwrap_or_default();
        faults.invalid(path, amount, &format!("{text} is not positive integer multiple of {name}"));
    }
}

fn within_limit(site: &Site<'_>, name: &str, request: &Value, limit: Option<&Value>, faults: &mut Faults) {
    let shared = !is_extended(name) && !is_huge(name);
    let Some(limit) = limit else {
        if !shared {
            faults.required(&site.sub("limits"), "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let parse = |amount: &Value| amount.as_str().and_then(|text| Quantity::parse(text).ok());
    let (Some(asked), Some(most)) = (parse(request), parse(limit)) else { return };
    let shown = limit.as_str().unwrap_or_default();
    if !shared && asked != most {
        faults.invalid(&site.sub("requests"), request, &format!("must be equal to {name} limit of {shown}"));
    } else if shared && asked > most {
        faults.invalid(
            &site.sub("requests"),
            request,
            &format!("must be less than or equal to {name} limit of {shown}"),
        );
    }
}

/// What a pod costs beside its containers. The path in messages is that of limits.
fn overhead(site: &Site<'_>, faults: &mut Faults) {
    let at = site.path();
    let at = at.strip_suffix(".podFixed").unwrap_or(&at);
    for (name, amount) in site.value.and_then(Value::as_object).into_iter().flatten() {
        let path = join(&at, &format!("limits[{name}]"));
        resource_name_faults(&path, name, true, faults);
        amount_faults(&path, name, amount, faults);
    }
    let names: Vec<&String> = site.value.and_then(Value::as_object).into_iter().flat_map(|all| all.keys()).collect();
    let plain = names.iter().any(|name| matches!(name.as_str(), "cpu" | "memory"));
    if !plain && names.iter().any(|name| is_huge(name)) {
        faults.forbidden(at, "HugePages require cpu or memory");
    }
}
