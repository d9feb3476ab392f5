//! Ingresses, network policies and endpoint slices.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::addresses::{
    canonical_cidr_faults, canonical_ip_faults, cidr_faults, ip_faults, parse_cidr, parse_ip,
};
use super::super::check::{port_faults, port_name_faults};
use super::super::fault::{Faults, Site, is_empty};
use super::Run;
use crate::name::{label_fault, path_segment_faults, subdomain_fault};
use crate::selector::label_value_fault;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("ingress_rules", ingress_rules),
    ("host", host),
    ("tls_host", tls_host),
    ("ingress_path", ingress_path),
    ("status_host", status_host),
    ("one_class", one_class),
    ("hints", hints),
    ("peer", peer),
    ("within_block", within_block),
    ("end_port", end_port),
    ("policy_count", policy_count),
    ("parameters_namespace", parameters_namespace),
    ("port_names", port_names),
    ("endpoint_addresses", endpoint_addresses),
    ("service_ranges", service_ranges),
    ("endpoint_subset", endpoint_subset),
];

/// The ranges that services' addresses come from: one of each family, and no others later than they are set. Stands at
/// the list.
fn service_ranges(site: &Site<'_>, faults: &mut Faults) {
    let (path, new) = (site.path(), site.items());
    let old = site.old.and_then(Value::as_array).filter(|_| site.updates);
    let mut kept = |count: usize| {
        for (index, range) in new.iter().enumerate().take(count) {
            if old.is_some_and(|old| old.get(index) != Some(range)) {
                faults.invalid(&format!("{path}[{index}]"), range, "field is immutable");
            }
        }
    };
    match old.map(Vec::len) {
        Some(count) if count == new.len() => return kept(count),
        Some(1) if new.len() == 2 => kept(1),
        Some(_) => {
            let shown = site.value.filter(|_| !new.is_empty()).unwrap_or(&Value::Null);
            return faults.invalid(&path, shown, "field is immutable");
        }
        None => {}
    }
    if new.is_empty() {
        return faults.required(&path, "at least one CIDR required");
    }
    if new.len() > 2 {
        let texts: Vec<String> = new.iter().map(ToString::to_string).collect();
        let shown = format!("{{\"CIDRs\":[{}]}}", texts.join(","));
        return faults.invalid_text(&path, &shown, "may only hold up to 2 values");
    }
    let families: Vec<Option<bool>> =
        new.iter().map(|range| parse_cidr(range.as_str().unwrap_or_default()).map(|(ip, _)| ip.is_ipv4())).collect();
    for (index, range) in new.iter().enumerate() {
        for fault in canonical_cidr_faults(range.as_str().unwrap_or_default()) {
            faults.invalid(&format!("{path}[{index}]"), range, &fault);
        }
    }
    if let [Some(first), Some(second)] = families.as_slice()
        && first == second
    {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        faults.invalid(&path, &Value::from(new), why);
    }
}

/// Stands at one subset of endpoints.
fn endpoint_subset(site: &Site<'_>, faults: &mut Faults) {
    if !site.has("addresses") && !site.has("notReadyAddresses") {
        faults.required(&site.path(), "must specify `addresses` or `notReadyAddresses`");
    }
    let ports = site.list("ports");
    for (index, port) in ports.iter().enumerate() {
        if ports.len() > 1 && port["name"].as_str().is_none_or(str::is_empty) {
            faults.required(&site.sub(&format!("ports[{index}].name")), "");
        }
    }
}

fn ingress_rules(site: &Site<'_>, faults: &mut Faults) {
    if !site.has("rules") && !site.sets("defaultBackend") {
        faults.invalid(&site.path(), &Value::Null, "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(backend) = site.map.get("defaultBackend").filter(|backend| backend.is_object()) {
        backend_faults(&site.sub("defaultBackend"), backend, faults);
    }
}

fn host(site: &Site<'_>, faults: &mut Faults) {
    let host = site.value_text();
    if host.parse::<IpAddr>().is_ok() {
        faults.invalid(&site.path(), &Value::from(host), "must be a DNS name, not an IP address");
    } else if !host.is_empty() {
        tls_host(site, faults);
    }
}

/// As `host`; it may not be empty, and may look like an address.
fn tls_host(site: &Site<'_>, faults: &mut Faults) {
    let host = site.value_text();
    let sent = Value::from(host);
    if host.contains('*') {
        if host.strip_prefix("*.").is_none_or(|rest| subdomain_fault(rest).is_some()) {
            let why = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                       consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character \
                       (e.g. '*.example.com', regex used for validation is \
                       '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
            faults.invalid(&site.path(), &sent, why);
        }
    } else if let Some(fault) = subdomain_fault(host) {
        faults.invalid(&site.path(), &sent, &fault);
    }
}

/// Stands at what a path of an ingress leads to.
fn ingress_path(site: &Site<'_>, faults: &mut Faults) {
    let (at, path) = (site.sub("path"), site.text("path"));
    let sent = Value::from(path);
    let Some(kind) = site.map.get("pathType").and_then(Value::as_str) else {
        return faults.required(&site.sub("pathType"), "pathType must be specified");
    };
    match kind {
        "Exact" | "Prefix" => {
            if !path.starts_with('/') {
                faults.invalid(&at, &sent, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"] {
                if path.contains(part) {
                    faults.invalid(&at, &sent, &format!("must not contain '{part}'"));
                }
            }
            for end in ["/..", "/."] {
                if path.ends_with(end) {
                    faults.invalid(&at, &sent, &format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.starts_with('/') {
                faults.invalid(&at, &sent, "must be an absolute path");
            }
        }
        other => {
            let known = ["Exact", "ImplementationSpecific", "Prefix"];
            faults.not_supported(&site.sub("pathType"), &Value::from(other), &known);
        }
    }
    let nothing = json!({});
    backend_faults(&site.sub("backend"), site.map.get("backend").unwrap_or(&nothing), faults);
}

/// Where a load balancer is: no address, but a name.
fn status_host(site: &Site<'_>, faults: &mut Faults) {
    host_faults(&site.path(), site.value_text(), faults);
}

/// What is wrong with the name of a load balancer, if it has one.
pub(super) fn host_faults(path: &str, host: &str, faults: &mut Faults) {
    if host.is_empty() {
        return;
    }
    if let Some(fault) = subdomain_fault(host) {
        faults.invalid(path, &Value::from(host), &fault);
    }
    if host.parse::<IpAddr>().is_ok() {
        faults.invalid(path, &Value::from(host), "must be a DNS name, not an IP address");
    }
}

fn backend_faults(path: &str, backend: &Value, faults: &mut Faults) {
    let mut invalid = |why: &str| faults.invalid(path, &json!(""), why);
    let resource = Some(&backend["resource"]).filter(|resource| !resource.is_null());
    match (Some(&backend["service"]).filter(|service| !service.is_null()), resource) {
        (Some(_), Some(_)) => invalid("cannot set both resource and service backends"),
        (None, None) => invalid("resource or service backend is required"),
        (Some(service), None) => {
            let named = service["name"].as_str().unwrap_or_default();
            if named.is_empty() {
                faults.required(&format!("{path}.service.name"), "");
            } else if let Some(fault) = label_fault(named) {
                faults.invalid(&format!("{path}.service.name"), &service["name"], &fault);
            }
            let mut invalid = |why: &str| faults.invalid(path, &json!(""), why);
            let number = service["port"]["number"].as_i64().unwrap_or_default();
            let name = service["port"]["name"].as_str().unwrap_or_default();
            match (name.is_empty(), number == 0) {
                (true, true) => faults.required(path, "port name or number is required"),
                (false, false) => invalid("cannot set both port name & port number"),
                (false, true) => {
                    for fault in port_name_faults(name) {
                        faults.invalid(&format!("{path}.service.port.name"), &Value::from(name), &fault);
                    }
                }
                (true, false) => {
                    for fault in port_faults(&Value::from(number)) {
                        faults.invalid(&format!("{path}.service.port.number"), &Value::from(number), &fault);
                    }
                }
            }
        }
        (None, Some(resource)) => {
            if let Some(fault) = resource["apiGroup"].as_str().and_then(subdomain_fault) {
                faults.invalid(&format!("{path}.resource.apiGroup"), &resource["apiGroup"], &fault);
            }
            for field in ["kind", "name"] {
                let at = format!("{path}.resource.{field}");
                if is_empty(&resource[field]) {
                    faults.required(&at, "");
                }
                for fault in path_segment_faults(resource[field].as_str().unwrap_or_default()) {
                    faults.invalid(&at, &resource[field], &fault);
                }
            }
        }
    }
}

/// A class is named in one place. Stands at the ingress.
fn one_class(site: &Site<'_>, faults: &mut Faults) {
    const CLASS: &str = "kubernetes.io/ingress.class";
    let annotation = site.map.get("metadata").map(|metadata| &metadata["annotations"][CLASS]);
    let named = site.map.get("spec").is_some_and(|spec| spec["ingressClassName"].is_string());
    if let Some(annotation) = annotation.filter(|annotation| annotation.is_string() && named && !site.updates) {
        let why = "can not be set when the class field is also set";
        faults.invalid(&format!("annotations.{CLASS}"), annotation, why);
    }
}

/// The zones and nodes that an endpoint is meant for. Stands at the hints.
fn hints(site: &Site<'_>, faults: &mut Faults) {
    for (list, valid) in [("forZones", label_value_fault as fn(&str) -> Option<String>), ("forNodes", subdomain_fault)]
    {
        let hints = site.value.and_then(|hints| hints[list].as_array()).map_or(&[][..], Vec::as_slice);
        if hints.len() > HINTS_MAX {
            faults.too_many(&site.sub(list), hints.len() as u64, HINTS_MAX as u64);
            continue;
        }
        for (index, hint) in hints.iter().enumerate() {
            let path = site.sub(&format!("{list}[{index}].name"));
            if hints.iter().take(index).any(|other| other["name"] == hint["name"]) {
                faults.duplicate(&path, &hint["name"]);
            }
            if let Some(fault) = valid(hint["name"].as_str().unwrap_or_default()) {
                faults.invalid(&path, &hint["name"], &fault);
            }
        }
    }
}

/// How many zones, and how many nodes, an endpoint may be meant for.
const HINTS_MAX: usize = 8;

fn peer(site: &Site<'_>, faults: &mut Faults) {
    let selects = site.sets("podSelector") || site.sets("namespaceSelector");
    match (selects, site.sets("ipBlock")) {
        (false, false) => faults.required(&site.path(), "must specify a peer"),
        (true, true) => faults.forbidden(&site.path(), "may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn within_block(site: &Site<'_>, faults: &mut Faults) {
    let Some((block, length)) = parse_cidr(site.text("cidr")) else { return };
    // What is odd of a range is told, and it is looked at all the same.
    for (index, except) in site.items().iter().enumerate() {
        let path = format!("{}[{index}]", site.path());
        for fault in cidr_faults(except.as_str().unwrap_or_default()) {
            faults.invalid(&path, except, &fault);
        }
        let Some((address, inner)) = except.as_str().and_then(parse_cidr) else { continue };
        if inner <= length || !same_prefix(block, address, length) {
            faults.invalid(&path, except, "must be a strict subset of `cidr`");
        }
    }
}

fn same_prefix(a: IpAddr, b: IpAddr, length: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    a.is_ipv4() == b.is_ipv4() && bits(a) & mask == bits(b) & mask
}

/// A policy is about what comes in, what goes out, or both.
fn policy_count(site: &Site<'_>, faults: &mut Faults) {
    if site.items().len() > 2 {
        faults.invalid(&site.path(), &Value::from(site.items()), "may not specify more than two policyTypes");
    }
}

/// Where the parameters of a class are: in a namespace that is named, or in none.
fn parameters_namespace(site: &Site<'_>, faults: &mut Faults) {
    let named = site.value.filter(|name| name.is_string());
    match (site.text("scope"), named) {
        ("Namespace", None) => faults.required(&site.path(), "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", Some(name)) => {
            let fault = label_fault(site.value_text());
            fault.into_iter().for_each(|fault| faults.invalid(&site.path(), name, &fault));
        }
        ("Cluster", Some(_)) => faults.forbidden(&site.path(), "`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}

/// The ports of a slice differ in their names; one may have none. Stands at the ports.
fn port_names(site: &Site<'_>, faults: &mut Faults) {
    let mut seen = std::collections::HashSet::new();
    for (index, port) in site.items().iter().enumerate() {
        let name = port["name"].as_str().unwrap_or_default();
        if !seen.insert(name) {
            faults.duplicate(&format!("{}[{index}].name", site.path()), &Value::from(name));
        }
    }
}

fn end_port(site: &Site<'_>, faults: &mut Faults) {
    let Some(end) = site.map.get("endPort") else { return };
    let path = site.sub("endPort");
    match site.map.get("port") {
        None => faults.invalid(&path, end, "may not be specified when `port` is not specified"),
        Some(Value::String(_)) => faults.invalid(&path, end, "may not be specified when `port` is non-numeric"),
        Some(port) => {
            if port.as_i64() > end.as_i64() {
                faults.invalid(&path, port, "must be greater than or equal to `port`");
            }
            port_faults(end).iter().for_each(|fault| faults.invalid(&path, end, fault));
        }
    }
}

fn endpoint_addresses(site: &Site<'_>, faults: &mut Faults) {
    let family = site.text("addressType");
    if site.old_map.is_some_and(|old| old.get("addressType") != site.map.get("addressType")) {
        return;
    }
    for (index, endpoint) in site.list("endpoints").iter().enumerate() {
        for (at, address) in endpoint["addresses"].as_array().into_iter().flatten().enumerate() {
            let path = format!("endpoints[{index}].addresses[{at}]");
            let text = address.as_str().unwrap_or_default();
            match family {
                "FQDN" => {
                    if text.is_empty() {
                        faults.required(&path, "");
                        continue;
                    }
                    let fault = label_fault(text).and_then(|_| subdomain_fault(text));
                    fault.into_iter().for_each(|fault| faults.invalid(&path, address, &fault));
                }
                "IPv4" | "IPv6" => {
                    let odd = if family == "IPv4" { ip_faults(text) } else { canonical_ip_faults(text) };
                    if !odd.is_empty() {
                        odd.iter().for_each(|why| faults.invalid(&path, address, why));
                        continue;
                    }
                    let parsed = parse_ip(text);
                    if parsed.is_some_and(|parsed| parsed.is_ipv4() != (family == "IPv4")) {
                        let whole = format!("endpoints[{index}].addresses");
                        faults.invalid(&whole, address, &format!("must be an {family} address"));
                    }
                    let special = parsed.and_then(special_address_fault);
                    special.into_iter().for_each(|why| faults.invalid(&path, address, &why));
                }
                _ => {}
            }
        }
    }
}

/// Why traffic cannot be sent to an address from elsewhere.
pub(super) fn special_address_fault(address: IpAddr) -> Option<String> {
    let address = address.to_canonical(); // `::ffff:127.0.0.1` is this host, too
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_unspecified() {
        return Some(format!("may not be unspecified ({address})"));
    }
    let near = match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    let why = if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if near {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    };
    why.map(str::to_owned)
}
