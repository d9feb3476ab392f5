//! What only pods of one operating system may say.

use serde_json::{Value, json};

use super::super::fault::{Faults, Site};
use super::Run;
use super::mounts::CONTAINERS;

pub(super) const CHECKS: &[(&str, Run)] =
    &[("pod_os", pod_os), ("host_processes", host_processes), ("windows_options", windows_options)];

/// Fields of a pod's spec that Windows does not have.
const NOT_OF_WINDOWS: [&str; 4] = ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"];

/// As `NOT_OF_WINDOWS`, of its security context.
const NOT_OF_WINDOWS_PODS: [&str; 11] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];

/// As `NOT_OF_WINDOWS`, of its containers' security contexts.
const NOT_OF_WINDOWS_CONTAINERS: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// Stands at a pod's spec.
fn pod_os(site: &Site<'_>, faults: &mut Faults) {
    let Some(os) = site.map.get("os").filter(|os| os.is_object()) else { return };
    let windows = match os["name"].as_str().unwrap_or_default() {
        "" => return faults.required(&site.sub("os.name"), ""),
        "linux" => false,
        "windows" => true,
        _ => return faults.not_supported(&site.sub("os"), &os["name"], &["linux", "windows"]),
    };
    let contexts = contexts(site);
    if !windows {
        for (path, _) in contexts.iter().filter(|(_, context)| context["windowsOptions"].is_object()) {
            faults.forbidden(&format!("{path}.windowsOptions"), "windows options cannot be set for a linux pod");
        }
        return;
    }
    const WHY: &str = "cannot be set for a windows pod";
    for field in NOT_OF_WINDOWS {
        let plain = matches!(field, "hostPID" | "hostIPC");
        if site.map.get(field).is_some_and(|value| if plain { value == true } else { !value.is_null() }) {
            faults.forbidden(&site.sub(field), WHY);
        }
    }
    for (index, (path, context)) in contexts.iter().enumerate() {
        let fields: &[&str] = if index == 0 { &NOT_OF_WINDOWS_PODS } else { &NOT_OF_WINDOWS_CONTAINERS };
        for field in fields.iter().filter(|field| !context[**field].is_null()) {
            faults.forbidden(&format!("{path}.{field}"), WHY);
        }
    }
}

/// The security contexts of a pod and its containers, each with its path: the pod's own is the first.
fn contexts<'a>(site: &'a Site<'_>) -> Vec<(String, &'a Value)> {
    let own = site.map.get("securityContext").unwrap_or(&Value::Null);
    let mut all = vec![(site.sub("securityContext"), own)];
    for list in CONTAINERS {
        for (index, container) in site.list(list).iter().enumerate() {
            all.push((site.sub(&format!("{list}[{index}].securityContext")), &container["securityContext"]));
        }
    }
    all
}

/// A pod runs all of its containers as processes of its host, or none. Stands at the spec.
fn host_processes(site: &Site<'_>, faults: &mut Faults) {
    let contexts = contexts(site);
    let asked = |context: &Value| context["windowsOptions"]["hostProcess"].as_bool();
    let Some(((_, own), of_containers)) = contexts.split_first() else { return };
    let whole = asked(own);
    let mut count = 0;
    for (path, context) in of_containers {
        let one = asked(context);
        if let (Some(whole), Some(one)) = (whole, one)
            && whole != one
        {
            let why = format!("pod hostProcess value must be identical if both are specified, was {whole}");
            faults.invalid(&format!("{path}.windowsOptions.hostProcess"), &Value::from(one), &why);
        }
        count += usize::from(one.or(whole) == Some(true));
    }
    if count == 0 {
        return;
    }
    if count != of_containers.len() {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        faults.invalid(&site.path(), &json!(""), why);
    }
    if site.map.get("hostNetwork") != Some(&Value::Bool(true)) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        faults.invalid(&site.sub("hostNetwork"), &json!(false), why);
    }
}

const SPEC_KIB_MAX: usize = 64;
const DOMAIN_LENGTH_MAX: usize = 256;
const USER_LENGTH_MAX: usize = 104;

/// As whom a container runs. Stands at the options.
fn windows_options(site: &Site<'_>, faults: &mut Faults) {
    if let Some(name) = site.map.get("gmsaCredentialSpecName") {
        for fault in crate::name::subdomain_faults(name.as_str().unwrap_or_default()) {
            faults.invalid(&site.sub("gmsaCredentialSpecName"), name, &fault);
        }
    }
    if let Some(spec) = site.map.get("gmsaCredentialSpec") {
        let (path, length) = (site.sub("gmsaCredentialSpec"), spec.as_str().map_or(0, str::len));
        if length == 0 {
            faults.invalid(&path, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if length > SPEC_KIB_MAX * 1024 {
            faults.invalid(&path, spec, &format!("gmsaCredentialSpec size must be under {SPEC_KIB_MAX} KiB"));
        }
    }
    if let Some(name) = site.map.get("runAsUserName") {
        for fault in user_faults(name.as_str().unwrap_or_default()) {
            faults.invalid(&site.sub("runAsUserName"), name, &format!("runAsUserName{fault}"));
        }
    }
}

/// What is wrong with the name of a user (`[domain\\]user`).
fn user_faults(name: &str) -> Vec<String> {
    let mut parts = name.split('\\');
    let (domain, user) = match (parts.next(), parts.next(), parts.next()) {
        _ if name.is_empty() => return vec![" cannot be an empty string".to_owned()],
        _ if name.chars().any(|letter| letter.is_ascii_control()) => {
            return vec![" cannot contain control characters".to_owned()];
        }
        (Some(user), None, _) => (None, user),
        (Some(domain), Some(user), None) => (Some(domain), user),
        _ => return vec![" cannot contain more than one backslash".to_owned()],
    };
    let mut faults = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= DOMAIN_LENGTH_MAX) {
        faults.push(format!("'s Domain length must be under {DOMAIN_LENGTH_MAX} characters"));
    }
    if domain.is_some_and(|domain| !is_domain(domain)) {
        faults.push("'s Domain doesn't match the NetBios nor the DNS format".to_owned());
    }
    if user.is_empty() {
        faults.push("'s User cannot be empty".to_owned());
    } else if user.len() > USER_LENGTH_MAX {
        faults.push(format!("'s User length must not be longer than {USER_LENGTH_MAX} characters"));
    }
    if !user.is_empty() && user.bytes().all(|byte| b". ".contains(&byte)) {
        faults.push("'s User cannot contain only periods or spaces".to_owned());
    }
    if user.chars().any(|letter| "\"/\\:;|=,+*?<>@[]".contains(letter)) {
        faults.push("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]".to_owned());
    }
    faults
}

/// The domain of a user: of NetBIOS's names, or of DNS's.
fn is_domain(domain: &str) -> bool {
    let plain = |letter: char| !"\\/:*?\"<>|".contains(letter);
    let netbios = (1..=15).contains(&domain.chars().count()) && !domain.starts_with('.') && domain.chars().all(plain);
    let label = |label: &str| {
        let ends = [label.as_bytes().first(), label.as_bytes().last()];
        label.len() <= 63
            && ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric()))
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    netbios || domain.split('.').all(label)
}
