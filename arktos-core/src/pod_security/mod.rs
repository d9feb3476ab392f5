//! The pod security standards: what pods may ask of their host at each level, as it was in each version.
//!
//! | question | where |
//! |---|---|
//! | which level holds in a namespace | [`Policy::of`] |
//! | what of a pod breaks a level | [`violations`] |
//! | the checks of the level `baseline`, of `restricted` | `baseline`, `restricted` |
//!
//! Source of the levels, their order and their words: the pod security standards and the admission plugin of
//! Kubernetes 1.36.

mod baseline;
mod restricted;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::status::StatusCause;

/// The minor version (of 1.x) up to which there are checks; `latest`, and what is newer, means this one.
const NEWEST: u32 = 36;

/// What a pod may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Anything.
    Privileged,
    /// Nothing that is known to lead out of the container.
    Baseline,
    /// As little as hardened workloads need.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "privileged" => Self::Privileged,
            "baseline" => Self::Baseline,
            "restricted" => Self::Restricted,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// Which version of the standards is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The newest that the server knows.
    Latest,
    /// 1.x.
    Minor(u32),
}

impl Version {
    /// Reads `latest` or `v1.x`.
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let plain = minor == "0" || (!minor.starts_with('0') && minor.bytes().all(|byte| byte.is_ascii_digit()));
        plain.then(|| minor.parse().ok().map(Self::Minor)).flatten()
    }

    fn minor(self) -> u32 {
        match self {
            Self::Latest => NEWEST,
            Self::Minor(minor) => minor.min(NEWEST),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Minor(minor) => write!(f, "v1.{minor}"),
        }
    }
}

/// A level, as it was in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standard {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

impl Standard {
    const PRIVILEGED: Self = Self { level: Level::Privileged, version: Version::Latest };
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace asks of its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Pods that break this are refused.
    pub enforce: Standard,
    /// Pods that break this are noted in the audit log.
    pub audit: Standard,
    /// Who makes pods that break this is warned.
    pub warn: Standard,
}

impl Policy {
    /// Reads the labels of a namespace. Labels that cannot be read are faults; what holds nevertheless is the strictest
    /// for enforcement and nothing for the rest.
    #[must_use]
    pub fn of(labels: Option<&Map<String, Value>>) -> (Self, Vec<StatusCause>) {
        let mut policy =
            Self { enforce: Standard::PRIVILEGED, audit: Standard::PRIVILEGED, warn: Standard::PRIVILEGED };
        let mut faults = Vec::new();
        let text = |name: &str| labels?.get(&format!("pod-security.kubernetes.io/{name}"))?.as_str();
        let mut read_level = |name: &str, otherwise: Level, standard: &mut Standard| {
            let Some(value) = text(name) else { return false };
            let level = Level::parse(value);
            standard.level = level.unwrap_or(otherwise);
            if level.is_none() {
                faults.push(fault(name, value, "must be one of privileged, baseline, restricted"));
            }
            level.is_some()
        };
        let enforces = read_level("enforce", Level::Restricted, &mut policy.enforce);
        read_level("audit", Level::Privileged, &mut policy.audit);
        read_level("warn", Level::Privileged, &mut policy.warn);
        let standards = [
            ("enforce-version", &mut policy.enforce),
            ("audit-version", &mut policy.audit),
            ("warn-version", &mut policy.warn),
        ];
        for (name, standard) in standards {
            let Some(value) = text(name) else { continue };
            let version = Version::parse(value);
            standard.version = version.unwrap_or(Version::Latest);
            if version.is_none() {
                faults.push(fault(name, value, "must be \"latest\" or \"v1.x\""));
            }
        }
        // Who makes a workload whose pods will be refused is to know at once.
        if text("warn").is_none() && enforces && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if text("warn-version").is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, faults)
    }

    /// Whether nothing is asked of pods at all.
    #[must_use]
    pub fn asks_nothing(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|standard| standard.level == Level::Privileged)
    }
}

fn fault(label: &str, value: &str, why: &str) -> StatusCause {
    StatusCause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {value:?}: {why}"),
        field: format!("metadata.labels[pod-security.kubernetes.io/{label}]"),
    }
}

/// Something that a standard does not allow, and where a pod does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What it is, in a few words.
    pub reason: String,
    /// Who does it.
    pub detail: String,
}

impl Violation {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.detail)
    }
}

/// What of a pod (or of the pods of a template) breaks a standard. `pod` has `metadata` and `spec`.
#[must_use]
pub fn violations(standard: Standard, pod: &Map<String, Value>) -> Vec<Violation> {
    let pod = Pod::new(pod);
    let minor = standard.version.minor();
    let (baseline, restricted) = match standard.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => (baseline::CHECKS, &[][..]),
        Level::Restricted => (baseline::CHECKS, restricted::CHECKS),
    };
    let in_force = |check: &&Check| check.since <= minor;
    let replaced: Vec<&str> = restricted.iter().filter(in_force).filter_map(|check| check.replaces).collect();
    let checks = baseline.iter().filter(|check| !replaced.contains(&check.id)).chain(restricted);
    checks.filter(in_force).filter_map(|check| (check.run)(&pod, minor)).collect()
}

/// One thing that a level does not allow. `CHECKS` of a level are in the order in which they are named to clients.
struct Check {
    id: &'static str,
    /// The minor version that brought it.
    since: u32,
    /// The check of the level below that it stands for.
    replaces: Option<&'static str>,
    run: fn(&Pod<'_>, u32) -> Option<Violation>,
}

/// A pod as the checks see it.
struct Pod<'a> {
    annotations: &'a Value,
    spec: &'a Value,
}

impl<'a> Pod<'a> {
    fn new(pod: &'a Map<String, Value>) -> Self {
        let field = |name: &str| pod.get(name).unwrap_or(&Value::Null);
        Self { annotations: &field("metadata")["annotations"], spec: field("spec") }
    }

    /// All containers, those that start first first.
    fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |list| items(&spec[list]))
    }

    fn context(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    /// The names of the containers of which something holds.
    fn containers_that(&self, mut holds: impl FnMut(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| holds(container)).map(name).collect()
    }

    fn is_windows(&self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// Whether the users of its containers are not those of the host.
    fn has_own_users(&self) -> bool {
        self.spec["hostUsers"] == false
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

/// A value as text, and an absent one as nothing.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names.iter().copied()))
}

/// `pod`, `container "a"`, `pod and container "a"`: who sets something. Empty when nobody does.
fn setters(pod: bool, names: &[&str]) -> String {
    match (pod, names) {
        (true, []) => "pod".to_owned(),
        (false, []) => String::new(),
        (true, names) => format!("pod and {}", containers(names)),
        (false, names) => containers(names),
    }
}

type Names<'a> = BTreeSet<&'a str>;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(labels: Value) -> (Policy, Vec<StatusCause>) {
        let named: Map<String, Value> = labels
            .as_object()
            .expect("a map")
            .iter()
            .map(|(name, value)| (format!("pod-security.kubernetes.io/{name}"), value.clone()))
            .collect();
        Policy::of(Some(&named))
    }

    fn broken(level: Level, version: Version, spec: Value) -> Vec<String> {
        let pod = json!({"metadata": {}, "spec": spec});
        let found = violations(Standard { level, version }, pod.as_object().expect("a map"));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_namespace_that_enforces_warns_as_well_unless_it_says_otherwise() {
        let (policy, faults) = labels(json!({"enforce": "baseline", "enforce-version": "v1.20"}));
        assert!(faults.is_empty());
        assert_eq!(policy.warn.to_string(), "baseline:v1.20");
        assert_eq!(policy.audit.level, Level::Privileged);
        let (policy, _) = labels(json!({"enforce": "baseline", "warn": "privileged"}));
        assert_eq!(policy.warn.level, Level::Privileged);
        assert!(labels(json!({})).0.asks_nothing());
    }

    #[test]
    fn a_label_that_cannot_be_read_closes_enforcement_and_opens_the_rest() {
        let (policy, faults) = labels(json!({"enforce": "odd", "warn": "odd", "audit-version": "1.2"}));
        assert_eq!(policy.enforce.level, Level::Restricted);
        assert_eq!(policy.warn.level, Level::Privileged);
        assert_eq!(faults.len(), 3);
        for bad in ["v1.01", "v1.", "v2.0", "v1.x", ""] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        assert_eq!(Version::parse("v1.0"), Some(Version::Minor(0)));
    }

    #[test]
    fn what_came_with_a_later_version_does_not_hold_in_an_earlier_one() {
        let spec = json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}]});
        assert_eq!(
            broken(Level::Baseline, Version::Latest, spec.clone()),
            ["probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")"]
        );
        assert!(broken(Level::Baseline, Version::Minor(33), spec).is_empty());
        let engine = json!({"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}});
        assert!(broken(Level::Baseline, Version::Latest, engine.clone()).is_empty());
        assert_eq!(broken(Level::Baseline, Version::Minor(30), engine).len(), 1);
        let root = json!({"securityContext": {"runAsUser": 0, "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"}}});
        assert_eq!(broken(Level::Restricted, Version::Latest, root.clone()).len(), 1);
        assert!(broken(Level::Restricted, Version::Minor(22), root).is_empty());
    }

    #[test]
    fn a_restricted_check_stands_for_the_baseline_check_it_sharpens() {
        let spec = json!({
            "hostUsers": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Unconfined"}},
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {}}],
            "containers": [
                {"name": "a", "securityContext": {"allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "CHOWN"]}}},
            ],
        });
        assert_eq!(
            broken(Level::Restricted, Version::Latest, spec),
            [
                "unrestricted capabilities (container \"a\" must not include \"CHOWN\", \"NET_ADMIN\" in \
                 securityContext.capabilities.add)",
                "restricted volume types (volumes \"v\", \"n\" use restricted volume types \"hostPath\", \"nfs\")",
                "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
            ]
        );
    }

    #[test]
    fn windows_pods_are_spared_what_only_linux_has() {
        let spec = json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true},
            "containers": [{"name": "a"}]});
        assert!(broken(Level::Restricted, Version::Latest, spec.clone()).is_empty());
        assert_eq!(broken(Level::Restricted, Version::Minor(24), spec).len(), 3);
    }
}
