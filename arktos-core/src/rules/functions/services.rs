//! Services.

use serde_json::{Value, json};

use super::super::addresses::{cidr_faults, ip_faults, parse_ip};
use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use super::networking::{host_faults, special_address_fault};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("ip_mode", ip_mode),
    ("service_ports", service_ports),
    ("service_update", service_update),
    ("external_ip", external_ip),
    ("endpoint_ip", endpoint_ip),
    ("external_name", external_name),
    ("external_policy", external_policy),
    ("health_port", health_port),
    ("source_ranges", source_ranges),
    ("balancer_class", balancer_class),
    ("cluster_ips", cluster_ips),
    ("affinity_timeout", affinity_timeout),
];

fn is_external(site: &Site<'_>) -> bool {
    matches!(site.text("type"), "NodePort" | "LoadBalancer")
}

/// How many ports a service has at most: each is compared with those before it.
pub const PORTS_MAX: usize = 1000;

fn is_headless(spec: &Value) -> bool {
    spec["clusterIP"] == "None" || spec["clusterIPs"] == json!(["None"])
}

fn service_ports(site: &Site<'_>, faults: &mut Faults) {
    let ports = site.list("ports");
    let kind = site.text("type");
    if ports.is_empty() && kind != "ExternalName" && site.text("clusterIP") != "None" {
        faults.required(&site.sub("ports"), "");
    }
    if ports.len() > PORTS_MAX {
        return faults.too_many(&site.sub("ports"), ports.len() as u64, PORTS_MAX as u64);
    }
    for (index, port) in ports.iter().enumerate() {
        let at = |field: &str| site.sub(&format!("ports[{index}]{field}"));
        let name = port["name"].as_str().unwrap_or_default();
        if ports.len() > 1 && name.is_empty() {
            faults.required(&at(".name"), "");
        }
        let earlier = || ports.iter().take(index);
        if !name.is_empty() && earlier().any(|other| other["name"] == name) {
            faults.duplicate(&at(".name"), &port["name"]);
        }
        let alike = |other: &Value, field: &str| other[field] == port[field] && other["protocol"] == port["protocol"];
        if earlier().any(|other| alike(other, "port")) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                port["protocol"], port["port"]
            );
            faults.duplicate_text(&at(""), &shown);
        }
        if port["nodePort"].as_i64().is_none_or(|port| port == 0) {
            continue;
        }
        if kind == "ClusterIP" {
            faults.forbidden(&at(".nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        if earlier().any(|other| alike(other, "nodePort")) {
            faults.duplicate(&at(".nodePort"), &port["nodePort"]);
        }
    }
}

/// What a service was given stays; only the second of two addresses, or families, may come and go.
fn service_update(site: &Site<'_>, faults: &mut Faults) {
    const SET: &str = "may not change once set";
    let (Some(old), Some(new)) = (site.old_map.and_then(|old| old.get("spec")), site.map.get("spec")) else { return };
    if old["type"] == "LoadBalancer"
        && new["type"] == "LoadBalancer"
        && old["loadBalancerClass"] != new["loadBalancerClass"]
    {
        faults.invalid("spec.loadBalancerClass", &new["loadBalancerClass"], SET);
    }
    let checked = |spec: &Value| spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
    if checked(old) && checked(new) && old["healthCheckNodePort"] != new["healthCheckNodePort"] {
        faults.forbidden("spec.healthCheckNodePort", "field is immutable");
    }
    if old["type"] == "ExternalName" || new["type"] == "ExternalName" {
        return;
    }
    let (was_headless, headless) = (is_headless(old), is_headless(new));
    let list = |spec: &Value, field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let (ips, families) = (list(new, "clusterIPs"), list(new, "ipFamilies"));
    if !(was_headless && headless) {
        for (index, (was, is)) in list(old, "clusterIPs").iter().zip(&ips).enumerate() {
            if was != is && (index == 0 || list(old, "clusterIPs").len() == ips.len()) {
                faults.invalid(&format!("spec.clusterIPs[{index}]"), &Value::from(ips.clone()), SET);
            }
        }
    }
    if !was_headless && !headless {
        let same_length = list(old, "ipFamilies").len() == families.len();
        for (index, (was, is)) in list(old, "ipFamilies").iter().zip(&families).enumerate() {
            if was != is && (index == 0 || same_length) {
                let shown = if same_length { families.clone() } else { ips.clone() };
                faults.invalid("spec.ipFamilies[0]", &Value::from(shown), SET);
            }
        }
    }
}

fn external_ip(site: &Site<'_>, faults: &mut Faults) {
    let text = site.value_text();
    let mut why = ip_faults(text);
    if why.is_empty() {
        why.extend(parse_ip(text).and_then(special_address_fault));
    }
    why.iter().for_each(|fault| faults.invalid(&site.path(), &Value::from(text), fault));
}

/// An endpoint's address is looked at as a text, and as where traffic goes.
fn endpoint_ip(site: &Site<'_>, faults: &mut Faults) {
    let text = site.value_text();
    let mut why = ip_faults(text);
    match parse_ip(text) {
        None => why.push("must be a valid IP address".to_owned()),
        Some(address) => why.extend(special_address_fault(address)),
    }
    why.iter().for_each(|fault| faults.invalid(&site.path(), &Value::from(text), fault));
}

/// A name elsewhere; a dot at its end says that it is whole.
fn external_name(site: &Site<'_>, faults: &mut Faults) {
    let text = site.value_text();
    match text.strip_suffix('.').unwrap_or(text) {
        "" => faults.required(&site.path(), ""),
        name => {
            let fault = crate::name::subdomain_fault(name);
            fault.into_iter().for_each(|fault| faults.invalid(&site.path(), &Value::from(name), &fault));
        }
    }
}

fn external_policy(site: &Site<'_>, faults: &mut Faults) {
    let Some(policy) = site.value.filter(|policy| !policy.is_null() && *policy != "") else { return };
    if !(is_external(site) || site.text("type") == "ClusterIP" && site.has("externalIPs")) {
        faults.invalid(&site.path(), policy, "may only be set for externally-accessible services");
    } else if policy != "Cluster" && policy != "Local" {
        faults.not_supported(&site.path(), policy, &["Cluster", "Local"]);
    }
}

fn health_port(site: &Site<'_>, faults: &mut Faults) {
    let Some(port) = site.value.filter(|port| port.as_i64().is_some_and(|port| port != 0)) else { return };
    if site.text("type") != "LoadBalancer" || site.text("externalTrafficPolicy") != "Local" {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        faults.invalid(&site.path(), port, why);
    } else if !port.as_i64().is_some_and(|port| (1..=65535).contains(&port)) {
        faults.invalid(&site.path(), port, "must be between 1 and 65535, inclusive");
    }
}

fn source_ranges(site: &Site<'_>, faults: &mut Faults) {
    let ranges = site.list("loadBalancerSourceRanges");
    let path = site.sub("LoadBalancerSourceRanges");
    if !ranges.is_empty() && site.text("type") != "LoadBalancer" {
        faults.forbidden(&path, "may only be used when `type` is 'LoadBalancer'");
    }
    for (index, range) in ranges.iter().enumerate() {
        let text = range.as_str().unwrap_or_default().trim();
        for fault in cidr_faults(text) {
            faults.invalid(&format!("{path}[{index}]"), &Value::from(text), &fault);
        }
    }
}

/// An update looks at the class twice.
fn balancer_class(site: &Site<'_>, faults: &mut Faults) {
    let Some(class) = site.value.filter(|class| class.is_string()) else { return };
    for _ in 0..if site.updates { 2 } else { 1 } {
        if site.text("type") == "LoadBalancer" {
            for fault in qualified_name_faults(site.value_text()) {
                faults.invalid(&site.path(), class, &fault);
            }
        } else {
            faults.forbidden(&site.path(), "may only be used when `type` is 'LoadBalancer'");
        }
    }
}

/// The addresses of a service, and of which families they are. Upstream looks at them when it gives out addresses, and
/// tells what it finds before the rest of the service is looked at.
fn cluster_ips(site: &Site<'_>, faults: &mut Faults) {
    let (all, alone) = (site.list("clusterIPs"), site.text("clusterIP"));
    if site.text("type") == "ExternalName" {
        for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let said = site.has(field) || field == "ipFamilyPolicy" && site.sets(field);
            if said || field == "clusterIPs" && !alone.is_empty() {
                faults.forbidden(&site.sub(field), "may not be set for ExternalName services");
            }
        }
        return;
    }
    let mut first = Faults::default();
    cluster_addresses(site, &mut first);
    if first.0.is_empty() {
        second_family(site, &mut first);
    }
    if first.0.is_empty() {
        one_family(site, &mut first);
    }
    faults.1.extend(first.0);
    if is_external(site) && all.first().map_or(alone, |first| first.as_str().unwrap_or_default()) == "None" {
        let why = format!("may not be set to 'None' for {} services", site.text("type"));
        faults.invalid(&site.sub("clusterIPs[0]"), &json!("None"), &why);
    }
}

const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

fn cluster_addresses(site: &Site<'_>, faults: &mut Faults) {
    let (all, alone) = (site.list("clusterIPs"), site.text("clusterIP"));
    let path = site.sub("clusterIPs");
    let sent = Value::from(all);
    let first = all.first().map_or(alone, |first| first.as_str().unwrap_or_default());
    if !all.is_empty() && alone.is_empty() {
        faults.invalid(&path, &sent, "must be empty when `clusterIP` is not specified");
    } else if first != alone {
        faults.invalid(&path, &sent, "first value must match `clusterIP`");
    }
    let families = site.list("ipFamilies");
    for (index, family) in families.iter().enumerate() {
        let at = site.sub(&format!("ipFamilies[{index}]"));
        if family != "IPv4" && family != "IPv6" {
            faults.not_supported(&at, family, &["IPv4", "IPv6"]);
        }
        if families[..index].contains(family) {
            faults.duplicate(&at, family);
        }
    }
    if let Some(policy) = site.map.get("ipFamilyPolicy").and_then(Value::as_str)
        && !POLICIES.contains(&policy)
    {
        faults.not_supported(&site.sub("ipFamilyPolicy"), &Value::from(policy), &POLICIES);
    }
    let own = [Value::from(alone)];
    let all = if all.is_empty() && !alone.is_empty() { &own[..] } else { all };
    let mut odd = false;
    for (index, ip) in all.iter().enumerate() {
        if index == 0 && ip == "None" {
            if all.len() > 1 {
                odd = true;
                faults.invalid(&path, &sent, "'None' must be the first and only value");
            }
            continue;
        }
        for fault in ip_faults(ip.as_str().unwrap_or_default()) {
            odd = true;
            faults.invalid(&format!("{path}[{index}]"), ip, &fault);
        }
    }
    if all.len() > 2 {
        faults.invalid(&path, &sent, "may only hold up to 2 values");
    }
    if odd {
        return;
    }
    let is_v6 = |ip: &Value| ip.as_str().and_then(parse_ip).is_some_and(|ip| ip.is_ipv6());
    let sixes = all.iter().filter(|ip| is_v6(ip)).count();
    if all.len() > 1 && (sixes == 0 || sixes == all.len()) {
        faults.invalid(&path, &sent, "may specify no more than one IP for each IP family");
    }
    for (index, (ip, family)) in all.iter().zip(families).enumerate().filter(|(_, (ip, _))| *ip != "None") {
        let fits = if family == "IPv4" { !is_v6(ip) } else { is_v6(ip) };
        if !fits && (family == "IPv4" || family == "IPv6") {
            let family = family.as_str().unwrap_or_default();
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            faults.invalid(&format!("{path}[{index}]"), ip, &why);
        }
    }
}

/// Who has two of something says so.
fn second_family(site: &Site<'_>, faults: &mut Faults) {
    let policy = site.text("ipFamilyPolicy");
    let default = site.text("clusterIP") == "None" && !site.has("selector");
    let single = policy == "SingleStack" || policy.is_empty() && !default;
    for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if single && site.list(field).len() == 2 {
            let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            let sent = if policy.is_empty() { "SingleStack" } else { policy };
            faults.invalid(&site.sub("ipFamilyPolicy"), &Value::from(sent), &why);
        }
    }
    let families = site.list("ipFamilies").len();
    for (index, ip) in site.list("clusterIPs").iter().enumerate().skip(families) {
        if ip.as_str().and_then(parse_ip).is_some_and(|ip| ip.is_ipv6()) {
            let sent = Value::from(site.list("clusterIPs"));
            faults.invalid(&site.sub(&format!("clusterIPs[{index}]")), &sent, "IPv6 is not configured on this cluster");
        }
    }
}

fn affinity_timeout(site: &Site<'_>, faults: &mut Faults) {
    if let Some(value) = site.value
        && !value.as_i64().is_some_and(|seconds| (1..=86400).contains(&seconds))
    {
        faults.invalid(&site.path(), value, "must be greater than 0 and less than 86400");
    }
}

/// Services have addresses of one family.
fn one_family(site: &Site<'_>, faults: &mut Faults) {
    // One that has no addresses and selects nothing says what others may give it: both families.
    if site.text("clusterIP") == "None" && !site.has("selector") {
        return;
    }
    if site.text("ipFamilyPolicy") == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        faults.invalid(&site.sub("ipFamilyPolicy"), &json!("RequireDualStack"), why);
    }
    for (index, family) in site.list("ipFamilies").iter().enumerate().filter(|(_, family)| *family == "IPv6") {
        faults.invalid(&site.sub(&format!("ipFamilies[{index}]")), family, "not configured on this cluster");
    }
}

/// How an address of a load balancer is reached, and by which name. Stands at the entry.
fn ip_mode(site: &Site<'_>, faults: &mut Faults) {
    let Some(entry) = site.value else { return };
    host_faults(&site.sub("hostname"), entry["hostname"].as_str().unwrap_or_default(), faults);
    let (mode, path) = (&entry["ipMode"], site.sub("ipMode"));
    let addressed = entry["ip"].as_str().is_some_and(|ip| !ip.is_empty());
    match mode.as_str() {
        Some(_) if !addressed => faults.forbidden(&path, "may not be specified when `ip` is not set"),
        Some("Proxy" | "VIP") | None => {}
        Some(_) => faults.not_supported(&path, mode, &["Proxy", "VIP"]),
    }
}
