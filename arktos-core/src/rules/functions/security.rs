//! As whom and with what rights pods and containers run.

use serde_json::Value;

use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("sysctls", sysctls),
    ("escalation", escalation),
    ("shared_processes", shared_processes),
    ("profile", profile),
    ("armor", armor),
];

/// The longest name of a kernel parameter, in characters.
const SYSCTL_LENGTH_MAX: usize = 253;

fn sysctls(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, sysctl) in site.items().iter().enumerate() {
        let (name, path) = (sysctl["name"].as_str().unwrap_or_default(), format!("{}[{index}].name", site.path()));
        if name.is_empty() {
            faults.required(&path, "");
        } else if name.len() > SYSCTL_LENGTH_MAX || !is_sysctl(name) {
            let why = format!(
                "must have at most {SYSCTL_LENGTH_MAX} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            faults.invalid(&path, &sysctl["name"], &why);
        } else if seen.contains(&name) {
            faults.duplicate(&path, &sysctl["name"]);
        }
        seen.push(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.split(['.', '/']).all(|part| {
        let bytes = part.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        ends.iter().all(|end| end.is_some_and(|end| plain(*end)))
            && bytes.iter().all(|byte| plain(*byte) || matches!(byte, b'-' | b'_'))
    })
}

/// Whoever has all rights, or those of the system's administrator, cannot be kept from getting more.
fn escalation(site: &Site<'_>, faults: &mut Faults) {
    if site.map.get("allowPrivilegeEscalation") != Some(&Value::Bool(false)) {
        return;
    }
    let shown = Value::Object(site.map.clone());
    if site.map.get("privileged") == Some(&Value::Bool(true)) {
        faults.invalid(&site.path(), &shown, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    let added = site.map.get("capabilities").and_then(|capabilities| capabilities["add"].as_array());
    if added.into_iter().flatten().any(|added| added == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        faults.invalid(&site.path(), &shown, why);
    }
}

/// Stands at the spec of a pod.
fn shared_processes(site: &Site<'_>, faults: &mut Faults) {
    let set = |field: &str| site.map.get(field) == Some(&Value::Bool(true));
    if set("shareProcessNamespace") && set("hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        faults.invalid(&site.sub("securityContext.shareProcessNamespace"), &Value::Bool(true), why);
    }
}

fn profile(site: &Site<'_>, faults: &mut Faults) {
    match (site.text("type") == "Localhost", site.map.get("localhostProfile")) {
        (true, local) if local.is_none_or(|local| local == "") => {
            faults.required(&site.sub("localhostProfile"), "must be set when seccomp type is Localhost");
        }
        (false, Some(local)) => {
            faults.invalid(&site.sub("localhostProfile"), local, "can only be set when seccomp type is Localhost");
        }
        _ => {}
    }
}

fn armor(site: &Site<'_>, faults: &mut Faults) {
    let path = site.sub("localhostProfile");
    match (site.text("type") == "Localhost", site.map.get("localhostProfile")) {
        (true, local) if local.is_none_or(|local| local.as_str().is_some_and(|local| local.trim().is_empty())) => {
            faults.required(&path, "must be set when AppArmor type is Localhost");
        }
        (true, Some(local)) if local.as_str().is_some_and(|local| local.trim() != local) => {
            faults.invalid(&path, local, "must not be padded with whitespace");
        }
        (false, Some(local)) => faults.invalid(&path, local, "can only be set when AppArmor type is Localhost"),
        _ => {}
    }
}
