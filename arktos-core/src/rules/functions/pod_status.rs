//! What is said of a pod that is there.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::super::addresses::{ip_faults, parse_ip};
use super::super::check::qualified_name_faults;
use super::super::fault::{Faults, Site};
use super::Run;
use crate::name::{label_faults, subdomain_fault, subdomain_faults};

pub(super) const CHECKS: &[(&str, Run)] = &[("pod_status", pod_status)];

/// How long the message on the health of a device may be, in bytes.
const HEALTH_MESSAGE_MAX: usize = 1024;

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[][..], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// What a node says of a pod. Stands at the status.
fn pod_status(site: &Site<'_>, faults: &mut Faults) {
    let Some(status) = site.value else { return };
    for (index, condition) in items(status, "conditions").iter().enumerate() {
        let kind = text(condition, "type");
        for fault in qualified_name_faults(kind) {
            faults.invalid(&site.sub(&format!("conditions[{index}].Type")), &json!(kind), &fault);
        }
        let path = site.sub(&format!("conditions[{index}].observedGeneration"));
        observed_faults(&path, &condition["observedGeneration"], faults);
    }
    observed_faults(&site.sub("observedGeneration"), &status["observedGeneration"], faults);
    for field in ["podIPs", "hostIPs"] {
        address_faults(site, status, field, faults);
    }
    let node = &status["nominatedNodeName"];
    let changed = site.old.is_none_or(|old| old["nominatedNodeName"] != *node);
    if let Some(fault) = node.as_str().filter(|name| changed && !name.is_empty()).and_then(subdomain_fault) {
        faults.invalid(&site.sub("nominatedNodeName"), node, &fault);
    }
    let Some(old) = site.old_map else { return };
    kept(site, status, old, faults);
    if site.old != site.value {
        let spec = site.map.get("spec").unwrap_or(&Value::Null);
        transitions(site, status, spec, faults);
        claims(site, status, spec, faults);
        extended_claim(site, &status["extendedResourceClaimStatus"], spec, faults);
        containers(site, status, spec, faults);
    }
}

fn observed_faults(path: &str, generation: &Value, faults: &mut Faults) {
    if generation.as_i64().is_some_and(|generation| generation < 0) {
        faults.invalid(path, generation, "must be a non-negative integer");
    }
}

/// A pod, and its host, has an address of each family at most.
fn address_faults(site: &Site<'_>, status: &Value, field: &str, faults: &mut Faults) {
    let list = items(status, field);
    let before = site.old.map_or(&[][..], |old| items(old, field));
    for (index, address) in list.iter().enumerate() {
        let address = text(address, "ip");
        if before.iter().any(|before| text(before, "ip") == address) {
            continue;
        }
        for fault in ip_faults(address) {
            faults.invalid(&site.sub(&format!("{field}[{index}]")), &json!(address), &fault);
        }
    }
    if list.len() < 2 {
        return;
    }
    let path = site.sub(field);
    let read: Vec<_> = list.iter().map(|address| parse_ip(text(address, "ip"))).collect();
    if let Some(index) = read.iter().position(Option::is_none) {
        let odd = text(&list[index], "ip");
        faults.internal(&path, &format!("failed to check for dual stack with error:invalid IP[{index}]: {odd}"));
    }
    let (mut has_v4, mut has_v6) = (false, false);
    for address in read.iter().flatten() {
        if address.to_canonical().is_ipv4() {
            has_v4 = true;
        } else {
            has_v6 = true;
        }
    }
    let dual = has_v4 && has_v6 && read.iter().all(Option::is_some);
    if !dual || list.len() > 2 {
        let shown: Vec<String> = list.iter().map(|address| json!({"IP": text(address, "ip")}).to_string()).collect();
        let why = "may specify no more than one IP for each IP family";
        faults.invalid_text(&path, &format!("[{}]", shown.join(",")), why);
    }
}

/// What a report keeps, or says alike: the class of service, the host, and the host's address.
fn kept(site: &Site<'_>, status: &Value, old: &Map<String, Value>, faults: &mut Faults) {
    let before = old.get("status").unwrap_or(&Value::Null);
    let bound = old.get("spec").is_some_and(|spec| !text(spec, "nodeName").is_empty());
    let node = text(status, "nominatedNodeName");
    if bound && !node.is_empty() && node != text(before, "nominatedNodeName") {
        let why = "may not be set on pods that are already bound to a node";
        faults.forbidden(&site.sub("nominatedNodeName"), why);
    }
    let class = text(status, "qosClass");
    if class != text(before, "qosClass") {
        faults.invalid(&site.sub("qosClass"), &json!(class), "field is immutable");
    }
    if let Some(first) = items(status, "hostIPs").first().map(|first| text(first, "ip"))
        && first != text(status, "hostIP")
    {
        faults.invalid(&site.sub("hostIPs[0].ip"), &json!(first), "must be equal to `hostIP`");
    }
}

/// A container that has ended runs again only where it may be restarted.
fn transitions(site: &Site<'_>, status: &Value, spec: &Value, faults: &mut Faults) {
    let of = |list: &str| items(spec, list).iter();
    let restarts_all = of("initContainers")
        .chain(of("containers"))
        .flat_map(|container| items(container, "restartPolicyRules"))
        .any(|rule| rule["action"] == "RestartAllContainers");
    for (field, list) in [
        ("containerStatuses", Some("containers")),
        ("initContainerStatuses", Some("initContainers")),
        ("ephemeralContainerStatuses", None),
    ] {
        let before = site.old.map_or(&[][..], |old| items(old, field));
        for (index, ended) in before.iter().enumerate().filter(|(_, before)| before["state"]["terminated"].is_object())
        {
            let now = items(status, field).iter().find(|now| now["name"] == ended["name"]);
            if now.is_none_or(|now| now["state"]["terminated"].is_object()) {
                continue;
            }
            let container = list.and_then(|list| of(list).find(|container| container["name"] == ended["name"]));
            let code = &ended["state"]["terminated"]["exitCode"];
            let may = container.is_some_and(|container| is_restarted(container, spec, code.as_i64().unwrap_or(0)));
            if !(may || restarts_all && list.is_some()) {
                let path = site.sub(&format!("{field}[{index}].state"));
                faults.forbidden(&path, "may not be transitioned to non-terminated state");
            }
        }
    }
}

/// Whether a container that ended with this code is restarted.
fn is_restarted(container: &Value, spec: &Value, code: i64) -> bool {
    let own = container["restartPolicy"].as_str();
    let meets = |rule: &&Value| {
        let codes = &rule["exitCodes"];
        let named = items(codes, "values").iter().any(|value| value.as_i64() == Some(code));
        match text(codes, "operator") {
            "In" => named,
            "NotIn" => !named,
            _ => false,
        }
    };
    let rule = items(container, "restartPolicyRules").iter().find(meets);
    if own.is_some() && rule.is_some_and(|rule| rule["action"] == "Restart") {
        return true;
    }
    match own.unwrap_or(text(spec, "restartPolicy")) {
        "OnFailure" => code != 0,
        "Never" => false,
        _ => true,
    }
}

/// The claims that were made for a pod are those that it asks for.
fn claims(site: &Site<'_>, status: &Value, spec: &Value, faults: &mut Faults) {
    let asked = items(spec, "resourceClaims");
    let mut seen = HashSet::new();
    for (index, claim) in items(status, "resourceClaimStatuses").iter().enumerate() {
        let at = |field: &str| site.sub(&format!("resourceClaimStatuses[{index}].{field}"));
        let name = text(claim, "name");
        if !asked.iter().any(|asked| text(asked, "name") == name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            faults.invalid(&at("name"), &json!(name), why);
        }
        if !seen.insert(name) {
            faults.duplicate(&at("name"), &json!(name));
        }
        if let Some(made) = claim["resourceClaimName"].as_str() {
            for fault in subdomain_faults(made) {
                faults.invalid(&at("resourceClaimName"), &json!(made), &fault);
            }
        }
    }
}

/// The claim that was made for the extended resources of a pod.
fn extended_claim(site: &Site<'_>, claim: &Value, spec: &Value, faults: &mut Faults) {
    if !claim.is_object() {
        return;
    }
    let at = |field: &str| site.sub(&format!("extendedResourceClaimStatus.{field}"));
    let mappings = items(claim, "requestMappings");
    if mappings.is_empty() {
        faults.required(&at("requestMappings"), "at least one request mapping is required");
    }
    let mut seen = HashSet::new();
    for (index, mapping) in mappings.iter().enumerate() {
        let at_mapping = |field: &str| at(&format!("requestMappings[{index}].{field}"));
        let names = ["containerName", "resourceName", "requestName"].map(|field| text(mapping, field));
        let [container, resource, request] = names;
        let named = |list: &str| items(spec, list).iter().find(|one| text(one, "name") == container);
        match named("containers").or_else(|| named("initContainers")) {
            None => {
                let why = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                faults.invalid(&at_mapping("containerName"), &json!(container), why);
            }
            Some(found) if found["resources"]["requests"].get(resource).is_none() => {
                let why = "must match the extended resource name of an entry in spec.initContainers.resources.requests \
                           or spec.containers.resources.requests";
                faults.invalid(&at_mapping("resourceName"), &json!(resource), why);
            }
            Some(_) => {}
        }
        for fault in label_faults(request) {
            faults.invalid(&at("requestName"), &json!(request), &fault);
        }
        if !seen.insert(names) {
            for (field, name) in [("containerName", container), ("resourceName", resource), ("requestName", request)] {
                faults.duplicate(&at_mapping(field), &json!(name));
            }
        }
    }
    let name = text(claim, "resourceClaimName");
    if name.is_empty() {
        faults.required(&at("resourceClaimName"), "");
    } else {
        for fault in subdomain_faults(name) {
            faults.invalid(&at("resourceClaimName"), &json!(name), &fault);
        }
    }
}

/// As whom containers run, and how their devices are.
fn containers(site: &Site<'_>, status: &Value, spec: &Value, faults: &mut Faults) {
    let windows = spec["os"]["name"] == "windows";
    for (field, list) in [
        ("containerStatuses", Some("containers")),
        ("initContainerStatuses", Some("initContainers")),
        ("ephemeralContainerStatuses", None),
    ] {
        for (index, container) in items(status, field).iter().enumerate() {
            let path = site.sub(&format!("{field}[{index}]"));
            let user = &container["user"]["linux"];
            if windows && user.is_object() {
                faults.forbidden(&format!("{path}.user.linux"), "cannot be set for a windows pod");
            } else if user.is_object() {
                user_faults(&format!("{path}.user.linux"), user, faults);
            }
            let path = format!("{path}.allocatedResourcesStatus");
            let devices = items(container, "allocatedResourcesStatus");
            let Some(list) = list else {
                if !devices.is_empty() {
                    faults.forbidden(&path, "must not be specified in container status");
                }
                continue;
            };
            let asks = items(spec, list).iter().find(|one| one["name"] == container["name"]);
            for (index, device) in devices.iter().enumerate() {
                device_faults(&format!("{path}[{index}]"), device, asks, faults);
            }
        }
    }
}

fn user_faults(path: &str, user: &Value, faults: &mut Faults) {
    let mut check = |field: &str, id: &Value| {
        if !(0..=i64::from(i32::MAX)).contains(&id.as_i64().unwrap_or_default()) {
            faults.invalid(&format!("{path}.{field}"), id, "must be between 0 and 2147483647, inclusive");
        }
    };
    check("uid", &user["uid"]);
    check("gid", &user["gid"]);
    for (index, group) in items(user, "supplementalGroups").iter().enumerate() {
        check(&format!("supplementalGroups[{index}]"), group);
    }
}

/// The health of what a container was given, which it must have asked for.
fn device_faults(path: &str, device: &Value, container: Option<&Value>, faults: &mut Faults) {
    const HEALTH: [&str; 3] = ["Healthy", "Unhealthy", "Unknown"];
    let name = text(device, "name");
    if let Some(container) = container {
        let resources = &container["resources"];
        let (known, why) = if let Some(claim) = name.strip_prefix("claim:") {
            let known = items(resources, "claims").iter().any(|one| match text(one, "request") {
                "" => text(one, "name") == claim,
                request => format!("{}/{request}", text(one, "name")) == claim,
            });
            let why = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
                       'claim:<claimName>' if request is empty";
            (known, why)
        } else {
            (resources["requests"].get(name).is_some(), "must match one of the container's resource requests")
        };
        if !known {
            faults.invalid(&format!("{path}.name"), &json!(name), why);
        }
    }
    let mut seen = HashSet::new();
    for (index, one) in items(device, "resources").iter().enumerate() {
        let at = |field: &str| format!("{path}.resources[{index}].{field}");
        let health = text(one, "health");
        if !HEALTH.contains(&health) {
            faults.not_supported(&at("health"), &json!(health), &HEALTH);
        }
        match one["message"].as_str() {
            Some("") => faults.required(&at("message"), "must be non-empty if specified"),
            Some(message) if message.len() > HEALTH_MESSAGE_MAX => faults.too_long(&at("message"), HEALTH_MESSAGE_MAX),
            _ => {}
        }
        let id = text(one, "resourceID");
        if !seen.insert(id) {
            faults.duplicate(&at("resourceID"), &json!(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::admit_status;
    use super::super::super::tests::{changed, created, told};
    use super::*;
    use crate::object::Object;

    fn pod(policy: &str) -> Object {
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]});
        created(&json!({"apiVersion": "v1", "kind": "Pod", "spec": spec})).expect("a good pod")
    }

    fn said(status: &Value) -> Vec<String> {
        told(changed(admit_status, &pod("Always"), &json!({ "status": status })))
    }

    #[test]
    fn a_pod_and_its_host_have_an_address_of_each_family() {
        let why = "may specify no more than one IP for each IP family";
        let both = r#"[{"IP":"1.2.3.4"},{"IP":"1.2.3.5"}]"#;
        assert_eq!(
            said(&json!({"podIPs": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.5"}]})),
            [format!("status.podIPs: Invalid value: {both}: {why}")]
        );
        let hosts = json!([{"ip": "1.2.3.4"}, {"ip": "1.2.3.5"}]);
        assert_eq!(
            said(&json!({"hostIP": "1.2.3.4", "hostIPs": hosts})),
            [format!("status.hostIPs: Invalid value: {both}: {why}")]
        );
        assert!(said(&json!({"podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}, {"ip": "fd00::1"}]})).is_empty());
    }

    #[test]
    fn a_report_names_what_the_pod_asked_for() {
        assert_eq!(
            said(&json!({"observedGeneration": -1, "resourceClaimStatuses": [{"name": "x"}]})),
            [
                "status.observedGeneration: Invalid value: -1: must be a non-negative integer",
                "status.resourceClaimStatuses[0].name: Invalid value: \"x\": must match the name of an entry in \
                 `spec.resourceClaims`",
            ]
        );
        let none = json!({"extendedResourceClaimStatus": {"resourceClaimName": "x", "requestMappings": []}});
        let path = "status.extendedResourceClaimStatus.requestMappings";
        assert_eq!(said(&none), [format!("{path}: Required value: at least one request mapping is required")]);
    }

    #[test]
    fn what_has_ended_for_good_does_not_run_again() {
        let report = |state: Value| {
            let container =
                json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            json!({"status": {"containerStatuses": [container]}})
        };
        let again = |policy: &str, code: i64| {
            let ended = report(json!({"terminated": {"exitCode": code}}));
            let ended = changed(admit_status, &pod(policy), &ended).expect("a good report");
            told(changed(admit_status, &ended, &report(json!({"running": {}}))))
        };
        let why = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
        assert_eq!(again("Never", 1), [why]);
        assert_eq!(again("OnFailure", 0), [why]);
        assert!(again("OnFailure", 1).is_empty());
        assert!(again("Always", 0).is_empty());
    }
}
