//! The level `restricted`: as little as hardened workloads need.

use serde_json::Value;

use super::baseline::{added_capabilities, any_proc_mount, unconfined};
use super::{Check, Names, Pod, Violation, containers, items, name, plural, quoted, setters};

pub(super) const CHECKS: &[Check] = &[
    Check { id: "allowPrivilegeEscalation", since: 8, replaces: None, run: escalation },
    Check { id: "capabilities_restricted", since: 22, replaces: Some("capabilities_baseline"), run: capabilities },
    Check { id: "procMount_restricted", since: 35, replaces: Some("procMount"), run: any_proc_mount },
    Check { id: "restrictedVolumes", since: 0, replaces: Some("hostPathVolumes"), run: volumes },
    Check { id: "runAsNonRoot", since: 0, replaces: None, run: non_root },
    Check { id: "runAsUser", since: 23, replaces: None, run: user },
    Check { id: "seccompProfile_restricted", since: 19, replaces: Some("seccompProfile_baseline"), run: seccomp },
];

/// Whether a check of what only Linux has leaves the pod alone.
fn spared(pod: &Pod<'_>, minor: u32) -> bool {
    minor >= 25 && pod.is_windows()
}

fn escalation(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let names = pod.containers_that(|one| one["securityContext"]["allowPrivilegeEscalation"] != false);
    (!names.is_empty() && !spared(pod, minor)).then(|| {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
        Violation::new("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if spared(pod, minor) {
        return None;
    }
    let keeps = |one: &Value| !items(&one["securityContext"]["capabilities"]["drop"]).any(|name| name == "ALL");
    let names = pod.containers_that(keeps);
    let kept = (!names.is_empty())
        .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&names)));
    let details: Vec<String> = kept.into_iter().chain(added_capabilities(pod, &["NET_BIND_SERVICE"])).collect();
    (!details.is_empty()).then(|| Violation::new("unrestricted capabilities", details.join("; ")))
}

/// The kinds of volumes that a pod may have.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The kinds that it may not have; the first that a volume has is named.
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

fn volumes(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let is = |volume: &Value, kind: &str| !volume[kind].is_null();
    let bad: Vec<&Value> =
        items(&pod.spec["volumes"]).filter(|volume| !VOLUMES.iter().any(|kind| is(volume, kind))).collect();
    if bad.is_empty() {
        return None;
    }
    let kind = |volume: &&Value| OTHER_VOLUMES.into_iter().find(|kind| is(volume, kind)).unwrap_or("unknown");
    let kinds: Names<'_> = bad.iter().map(kind).collect();
    let names: Vec<&str> = bad.iter().map(|volume| name(volume)).collect();
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", names.len()),
        quoted(names.iter().copied()),
        plural("uses", "use", names.len()),
        plural("restricted volume type", "restricted volume types", kinds.len()),
        quoted(kinds)
    );
    Some(Violation::new("restricted volume types", detail))
}

fn non_root(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if minor >= 35 && pod.has_own_users() {
        return None;
    }
    let says = |context: &Value| context["runAsNonRoot"].as_bool();
    let of_pod = says(pod.context());
    let names = pod.containers_that(|one| says(&one["securityContext"]) == Some(false));
    let who = setters(of_pod == Some(false), &names);
    let detail = if who.is_empty() {
        let names = pod.containers_that(|one| says(&one["securityContext"]).is_none() && of_pod != Some(true));
        if names.is_empty() {
            return None;
        }
        format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&names))
    } else {
        format!("{who} must not set securityContext.runAsNonRoot=false")
    };
    Some(Violation::new("runAsNonRoot != true", detail))
}

fn user(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let root = |context: &Value| context["runAsUser"] == 0;
    let names = pod.containers_that(|one| root(&one["securityContext"]));
    let who = setters(root(pod.context()), &names);
    let spared = minor >= 35 && pod.has_own_users();
    (!who.is_empty() && !spared).then(|| Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn seccomp(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    if spared(pod, minor) {
        return None;
    }
    if let Some(violation) = unconfined(pod) {
        return Some(violation);
    }
    if pod.context()["seccompProfile"].is_object() {
        return None;
    }
    let names = pod.containers_that(|one| !one["securityContext"]["seccompProfile"].is_object());
    (!names.is_empty()).then(|| {
        let who = containers(&names);
        let wanted = "\"RuntimeDefault\" or \"Localhost\"";
        let detail = format!("pod or {who} must set securityContext.seccompProfile.type to {wanted}");
        Violation::new("seccompProfile", detail)
    })
}
