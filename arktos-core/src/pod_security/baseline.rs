//! The level `baseline`: nothing that is known to lead out of a container.

use serde_json::Value;

use super::{Check, Names, Pod, Violation, containers, items, name, plural, quoted, setters, text};

pub(super) const CHECKS: &[Check] = &[
    Check { id: "appArmorProfile", since: 0, replaces: None, run: app_armor },
    Check { id: "capabilities_baseline", since: 0, replaces: None, run: capabilities },
    Check { id: "hostNamespaces", since: 0, replaces: None, run: host_namespaces },
    Check { id: "hostPathVolumes", since: 0, replaces: None, run: host_paths },
    Check { id: "hostPorts", since: 0, replaces: None, run: host_ports },
    Check { id: "hostProbesAndHostLifecycle", since: 34, replaces: None, run: probe_hosts },
    Check { id: "privileged", since: 0, replaces: None, run: privileged },
    Check { id: "procMount", since: 0, replaces: None, run: proc_mount },
    Check { id: "seLinuxOptions", since: 0, replaces: None, run: se_linux },
    Check { id: "seccompProfile_baseline", since: 0, replaces: None, run: seccomp },
    Check { id: "sysctls", since: 0, replaces: None, run: sysctls },
    Check { id: "windowsHostProcess", since: 0, replaces: None, run: host_process },
];

fn app_armor(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let mut values = Names::new();
    let bad = |context: &Value| {
        let profile = &context["appArmorProfile"];
        let kind = text(&profile["type"]);
        let bad = profile.is_object() && !matches!(kind, "RuntimeDefault" | "Localhost");
        bad.then(|| kind.to_owned())
    };
    let of_pod = bad(pod.context());
    let of_containers: Vec<(&str, String)> =
        pod.containers().filter_map(|one| Some((name(one), bad(&one["securityContext"])?))).collect();
    values.extend(of_pod.as_deref());
    values.extend(of_containers.iter().map(|(_, value)| value.as_str()));
    let fine = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = pod.annotations.as_object().into_iter().flatten();
    let mut annotations: Vec<String> = annotations
        .filter(|(key, value)| key.starts_with(ANNOTATION) && !fine(text(value)))
        .map(|(key, value)| format!("{key}={:?}", text(value)))
        .collect();
    annotations.sort();
    let names: Vec<&str> = of_containers.iter().map(|(name, _)| *name).collect();
    let mut who = Vec::new();
    who.extend(Some(setters(of_pod.is_some(), &names)).filter(|who| !who.is_empty()));
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<&str> = values.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values));
    Some(Violation::new(reason, detail))
}

/// What containers have anyway.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let detail = added_capabilities(pod, &CAPABILITIES)?;
    Some(Violation::new("non-default capabilities", detail))
}

/// Who adds capabilities that are none of these.
pub(super) fn added_capabilities(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let added = |one: &Value| -> Vec<String> {
        let added = items(&one["securityContext"]["capabilities"]["add"]).map(text);
        added.filter(|capability| !allowed.contains(capability)).map(str::to_owned).collect()
    };
    let names = pod.containers_that(|one| !added(one).is_empty());
    let all: Vec<String> = pod.containers().flat_map(added).collect();
    let all: Names<'_> = all.iter().map(String::as_str).collect();
    (!names.is_empty())
        .then(|| format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(all)))
}

fn host_namespaces(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.spec[*field] == true);
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    (!shared.is_empty()).then(|| Violation::new("host namespaces", shared.join(", ")))
}

fn host_paths(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let volumes: Vec<&str> =
        items(&pod.spec["volumes"]).filter(|volume| !volume["hostPath"].is_null()).map(name).collect();
    let what = plural("volume", "volumes", volumes.len());
    (!volumes.is_empty())
        .then(|| Violation::new("hostPath volumes", format!("{what} {}", quoted(volumes.iter().copied()))))
}

fn host_ports(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let ports = |one: &Value| -> Vec<String> {
        let ports = items(&one["ports"]).filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let names = pod.containers_that(|one| !ports(one).is_empty());
    let all: std::collections::BTreeSet<String> = pod.containers().flat_map(ports).collect();
    (!names.is_empty()).then(|| {
        let uses = plural("uses", "use", names.len());
        let what = plural("hostPort", "hostPorts", all.len());
        let all = all.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Violation::new("hostPort", format!("{} {uses} {what} {all}", containers(&names)))
    })
}

fn probe_hosts(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    fn hosts(container: &Value) -> impl Iterator<Item = &str> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let handlers = ["postStart", "preStop"].map(|handler| &container["lifecycle"][handler]);
        let actions = probes.into_iter().chain(handlers);
        let hosts = actions.flat_map(|action| ["httpGet", "tcpSocket"].map(|how| text(&action[how]["host"])));
        hosts.filter(|host| !host.is_empty())
    }
    let names: Names<'_> = pod.containers().filter(|one| hosts(one).next().is_some()).map(name).collect();
    let all: Names<'_> = pod.containers().flat_map(hosts).collect();
    (!names.is_empty()).then(|| {
        let uses = plural("uses", "use", names.len());
        let what = plural("probe or lifecycle host", "probe or lifecycle hosts", all.len());
        let names: Vec<&str> = names.into_iter().collect();
        let detail = format!("{} {uses} {what} {}", containers(&names), quoted(all));
        Violation::new("probe or lifecycle host", detail)
    })
}

fn privileged(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let names = pod.containers_that(|one| one["securityContext"]["privileged"] == true);
    (!names.is_empty()).then(|| {
        let detail = format!("{} must not set securityContext.privileged=true", containers(&names));
        Violation::new("privileged", detail)
    })
}

fn proc_mount(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && pod.has_own_users() { None } else { any_proc_mount(pod, minor) }
}

/// As the check of this level, without exceptions.
pub(super) fn any_proc_mount(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    fn mount(container: &Value) -> Option<&str> {
        container["securityContext"]["procMount"].as_str().filter(|mount| *mount != "Default")
    }
    let names = pod.containers_that(|one| mount(one).is_some());
    let mounts: Names<'_> = pod.containers().filter_map(mount).collect();
    (!names.is_empty()).then(|| {
        let who = containers(&names);
        let detail = format!("{who} must not set securityContext.procMount to {}", quoted(mounts));
        Violation::new("procMount", detail)
    })
}

fn se_linux(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let fine = |kind: &str| {
        matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || (minor >= 31 && kind == "container_engine_t")
    };
    let bad = |options: &Value| {
        !fine(text(&options["type"])) || !text(&options["user"]).is_empty() || !text(&options["role"]).is_empty()
    };
    let of_pod = bad(&pod.context()["seLinuxOptions"]);
    let names = pod.containers_that(|one| bad(&one["securityContext"]["seLinuxOptions"]));
    if !of_pod && names.is_empty() {
        return None;
    }
    let all: Vec<&Value> = std::iter::once(pod.context())
        .chain(pod.containers().map(|one| &one["securityContext"]))
        .map(|context| &context["seLinuxOptions"])
        .collect();
    let types: Names<'_> = all.iter().map(|options| text(&options["type"])).filter(|kind| !fine(kind)).collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural("type", "types", types.len()), quoted(types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| !text(&options[field]).is_empty()) {
            data.push(format!("{field} may not be set"));
        }
    }
    let who = setters(of_pod, &names);
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", data.join("; "));
    Some(Violation::new("seLinuxOptions", detail))
}

fn seccomp(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 19 { unconfined(pod) } else { seccomp_annotations(pod) }
}

/// Before there were fields for them, profiles were annotations.
fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let of_pod = "seccomp.security.alpha.kubernetes.io/pod".to_owned();
    let of_containers =
        pod.containers().map(|one| format!("container.seccomp.security.alpha.kubernetes.io/{}", name(one)));
    let fine = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let bad: std::collections::BTreeSet<String> = std::iter::once(of_pod)
        .chain(of_containers)
        .filter_map(|key| pod.annotations.get(&key)?.as_str().map(|value| (key.clone(), value)))
        .filter(|(_, value)| !fine(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    (!bad.is_empty()).then(|| {
        let what = plural("annotation", "annotations", bad.len());
        let bad = bad.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Violation::new("seccompProfile", format!("forbidden {what} {bad}"))
    })
}

/// Who asks for a profile that does not confine.
pub(super) fn unconfined(pod: &Pod<'_>) -> Option<Violation> {
    fn bad(context: &Value) -> Option<&str> {
        let profile = &context["seccompProfile"];
        let kind = text(&profile["type"]);
        (profile.is_object() && !matches!(kind, "Localhost" | "RuntimeDefault")).then_some(kind)
    }
    let of_pod = bad(pod.context());
    let names = pod.containers_that(|one| bad(&one["securityContext"]).is_some());
    let who = setters(of_pod.is_some(), &names);
    let kinds = pod.containers().filter_map(|one| bad(&one["securityContext"]));
    let kinds: Names<'_> = of_pod.into_iter().chain(kinds).collect();
    (!who.is_empty()).then(|| {
        let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(kinds));
        Violation::new("seccompProfile", detail)
    })
}

/// Kernel parameters that are a pod's own, and the version that allowed them.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let fine = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && *since <= minor);
    let bad: Vec<&str> = items(&pod.context()["sysctls"]).map(name).filter(|name| !fine(name)).collect();
    (!bad.is_empty()).then(|| Violation::new("forbidden sysctls", bad.join(", ")))
}

fn host_process(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let sets = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let names = pod.containers_that(|one| sets(&one["securityContext"]));
    let who = setters(sets(pod.context()), &names);
    (!who.is_empty()).then(|| {
        let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
        Violation::new("hostProcess", detail)
    })
}
