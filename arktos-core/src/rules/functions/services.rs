//! Services.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::check::{cidr_fault, ip_fault};
use super::super::fault::{Faults, Site, join};
use super::Run;
use super::networking::special_address_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("service_ports", service_ports),
    ("service_update", service_update),
    ("external_ip", external_ip),
    ("external_name", external_name),
    ("external_policy", external_policy),
    ("health_port", health_port),
    ("source_ranges", source_ranges),
    ("cluster_ips", cluster_ips),
    ("affinity_timeout", affinity_timeout),
    ("one_family", one_family),
];

fn is_external(site: &Site<'_>) -> bool {
    matches!(site.text("type"), "NodePort" | "LoadBalancer")
}

/// How many ports a service has at most: each is compared with those before it.
pub const PORTS_MAX: usize = 1000;

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
        let name = &port["name"];
        if ports.len() > 1 && name.as_str().is_none_or(str::is_empty) {
            faults.required(&at(".name"), "");
        }
        let earlier = || ports.iter().take(index);
        if !name.is_null() && earlier().any(|other| other["name"] == *name) {
            faults.duplicate(&at(".name"), name);
        }
        if earlier().any(|other| other["port"] == port["port"] && other["protocol"] == port["protocol"]) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                port["protocol"], port["port"]
            );
            faults.duplicate_text(&at(""), &shown);
        }
        if port["nodePort"].as_i64().is_some_and(|port| port != 0) && !is_external(site) {
            faults.forbidden(&at(".nodePort"), &format!("may not be used when `type` is '{kind}'"));
        }
    }
}

/// What a service was given stays.
fn service_update(site: &Site<'_>, faults: &mut Faults) {
    let (Some(old), Some(new)) = (site.old_map.and_then(|old| old.get("spec")), site.map.get("spec")) else { return };
    if old["type"] == "ExternalName" || new["type"] == "ExternalName" {
        return;
    }
    let (before, after) = (&old["clusterIPs"], &new["clusterIPs"]);
    let first = |ips: &Value| ips.get(0).and_then(Value::as_str).unwrap_or_default().to_owned();
    if !first(before).is_empty() && first(before) != first(after) {
        faults.invalid("spec.clusterIPs[0]", after, "may not change once set");
    }
    let class = |spec: &Value| spec["loadBalancerClass"].clone();
    if old["type"] == "LoadBalancer" && new["type"] == "LoadBalancer" && class(old) != class(new) {
        faults.invalid("spec.loadBalancerClass", &class(new), "may not change once set");
    }
}

fn external_ip(site: &Site<'_>, faults: &mut Faults) {
    let text = site.value_text();
    let fault = match text.parse::<IpAddr>() {
        Ok(address) => special_address_fault(address).map(str::to_owned),
        Err(_) => ip_fault(text),
    };
    fault.into_iter().for_each(|fault| faults.invalid(&site.path(), &Value::from(text), &fault));
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
    if !is_external(site) && !site.has("externalIPs") {
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
    }
}

fn source_ranges(site: &Site<'_>, faults: &mut Faults) {
    let ranges = site.list("loadBalancerSourceRanges");
    let path = site.sub("LoadBalancerSourceRanges");
    if !ranges.is_empty() && site.text("type") != "LoadBalancer" {
        return faults.forbidden(&path, "may only be used when `type` is 'LoadBalancer'");
    }
    for (index, range) in ranges.iter().enumerate() {
        if let Some(fault) = cidr_fault(range.as_str().unwrap_or_default()) {
            faults.invalid(&format!("{path}[{index}]"), range, &fault);
        }
    }
}

/// The addresses of a service: one that is only a name has none, and the first stands by itself, too.
fn cluster_ips(site: &Site<'_>, faults: &mut Faults) {
    let (all, alone) = (site.list("clusterIPs"), site.text("clusterIP"));
    if site.text("type") == "ExternalName" {
        for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if site.has(field) || field == "clusterIPs" && !alone.is_empty() {
                faults.forbidden(&site.sub(field), "may not be set for ExternalName services");
            }
        }
        return;
    }
    let first = all.first().map_or(alone, |first| first.as_str().unwrap_or_default());
    if first != alone {
        let why = if alone.is_empty() {
            "must be empty when `clusterIP` is not specified"
        } else {
            "first value must match `clusterIP`"
        };
        faults.invalid(&site.sub("clusterIPs"), &Value::from(all), why);
    }
    let sent = Value::from(first);
    let path = site.sub("clusterIPs[0]");
    match first {
        "" => {}
        "None" if is_external(site) => {
            let why = format!("may not be set to 'None' for {} services", site.text("type"));
            faults.invalid(&path, &sent, &why);
        }
        "None" => {}
        address => ip_fault(address).into_iter().for_each(|fault| faults.invalid(&path, &sent, &fault)),
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
    if site.value_text() == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        faults.invalid(&site.path(), &json!("RequireDualStack"), why);
    }
    for (index, family) in site.list("ipFamilies").iter().enumerate().filter(|(_, family)| *family == "IPv6") {
        let path = join(site.at, &format!("ipFamilies[{index}]"));
        faults.invalid(&path, family, "not configured on this cluster");
    }
}
