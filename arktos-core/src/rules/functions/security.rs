//! As whom and with what rights pods and containers run.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::check::descending_faults;
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

/// The kernel's parameters that a pod asks for: of what it shares with its host, it may ask for none. Stands at the
/// spec.
fn sysctls(site: &Site<'_>, faults: &mut Faults) {
    let mut seen: HashSet<&str> = HashSet::new();
    let list = site.map.get("securityContext").and_then(|context| context["sysctls"].as_array());
    for (index, sysctl) in list.into_iter().flatten().enumerate() {
        let name = sysctl["name"].as_str().unwrap_or_default();
        let path = site.sub(&format!("securityContext.sysctls[{index}].name"));
        if name.is_empty() {
            faults.required(&path, "");
        } else if name.len() > SYSCTL_LENGTH_MAX || !is_sysctl(name) {
            let why = format!(
                "must have at most {SYSCTL_LENGTH_MAX} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            );
            faults.invalid(&path, &sysctl["name"], &why);
        } else if seen.contains(name) {
            faults.duplicate(&path, &sysctl["name"]);
        }
        // Both ways of writing a parameter are told apart by what comes first.
        let of_network = name.replace('/', ".").starts_with("net.");
        if of_network && site.map.get("hostNetwork") == Some(&Value::Bool(true)) {
            faults.invalid(&path, &sysctl["name"], "may not be specified when 'hostNetwork' is true");
        }
        if is_of_ipc(&name.replace('/', ".")) && site.map.get("hostIPC") == Some(&Value::Bool(true)) {
            faults.invalid(&path, &sysctl["name"], "may not be specified when 'hostIPC' is true");
        }
        seen.insert(name);
    }
}

/// Whether a parameter is about how processes talk to one another.
fn is_of_ipc(name: &str) -> bool {
    ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| name.starts_with(prefix)) || name == "kernel.sem"
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
    let shown = as_shown(site.map);
    if site.map.get("privileged") == Some(&Value::Bool(true)) {
        faults.invalid_text(
            &site.path(),
            &shown,
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        );
    }
    let added = site.map.get("capabilities").and_then(|capabilities| capabilities["add"].as_array());
    for _ in added.into_iter().flatten().filter(|added| *added == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        faults.invalid_text(&site.path(), &shown, why);
    }
}

/// A security context, as messages show it: each field, under the name it has within the API server.
fn as_shown(context: &Map<String, Value>) -> String {
    type Fields = [(&'static str, &'static str)];
    const FIELDS: &Fields = &[
        ("Capabilities", "capabilities"),
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ];
    const CAPABILITIES: &Fields = &[("Add", "add"), ("Drop", "drop")];
    const LABELS: &Fields = &[("User", "user"), ("Role", "role"), ("Type", "type"), ("Level", "level")];
    const WINDOWS: &Fields = &[
        ("GMSACredentialSpecName", "gmsaCredentialSpecName"),
        ("GMSACredentialSpec", "gmsaCredentialSpec"),
        ("RunAsUserName", "runAsUserName"),
        ("HostProcess", "hostProcess"),
    ];
    const PROFILE: &Fields = &[("Type", "type"), ("LocalhostProfile", "localhostProfile")];
    fn show(map: &Map<String, Value>, fields: &Fields, absent: &str) -> String {
        let shown = fields.iter().map(|(name, field)| {
            let value = match (*field, map.get(*field)) {
                (_, None) => absent.to_owned(),
                ("capabilities", Some(Value::Object(map))) => show(map, CAPABILITIES, "null"),
                ("seLinuxOptions", Some(Value::Object(map))) => show(map, LABELS, "\"\""),
                ("windowsOptions", Some(Value::Object(map))) => show(map, WINDOWS, "null"),
                ("seccompProfile" | "appArmorProfile", Some(Value::Object(map))) => show(map, PROFILE, "null"),
                (_, Some(value)) => value.to_string(),
            };
            format!("\"{name}\":{value}")
        });
        format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
    }
    show(context, FIELDS, "null")
}

/// Stands at the spec of a pod.
fn shared_processes(site: &Site<'_>, faults: &mut Faults) {
    let set = |field: &str| site.map.get(field) == Some(&Value::Bool(true));
    if set("shareProcessNamespace") && set("hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        faults.invalid(&site.sub("securityContext.shareProcessNamespace"), &Value::Bool(true), why);
    }
}

/// A profile of system calls.
fn profile(site: &Site<'_>, faults: &mut Faults) {
    let path = site.sub("localhostProfile");
    match (site.text("type") == "Localhost", site.map.get("localhostProfile")) {
        (true, None) => faults.required(&path, "must be set when seccomp type is Localhost"),
        (true, Some(local)) => {
            for fault in descending_faults(local.as_str().unwrap_or_default()) {
                faults.invalid(&path, local, &fault);
            }
        }
        (false, Some(local)) => {
            let shown = format!("{{\"Type\":{},\"LocalhostProfile\":{local}}}", Value::from(site.text("type")));
            faults.invalid_text(&path, &shown, "can only be set when seccomp type is Localhost");
        }
        (false, None) => {}
    }
}

/// The longest path of a profile.
const PROFILE_LENGTH_MAX: usize = 4095;

fn armor(site: &Site<'_>, faults: &mut Faults) {
    const MISSING: &str = "must be set when AppArmor type is Localhost";
    let path = site.sub("localhostProfile");
    let local = site.map.get("localhostProfile");
    match (site.text("type"), local.and_then(Value::as_str)) {
        ("Localhost", None) => faults.required(&path, MISSING),
        ("Localhost", Some(text)) => {
            if text.trim() != text {
                faults.invalid(&path, &Value::from(text), "must not be padded with whitespace");
            } else if text.is_empty() {
                faults.required(&path, MISSING);
            }
            if text.len() > PROFILE_LENGTH_MAX {
                faults.too_long(&path, PROFILE_LENGTH_MAX);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(text)) => {
            faults.invalid(&path, &Value::from(text), "can only be set when AppArmor type is Localhost");
        }
        _ => {}
    }
}
