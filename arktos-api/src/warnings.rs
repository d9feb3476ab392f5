//! What a client is warned of though its object is taken: fields that are on their way out, or do not do what they say.

use std::collections::{BTreeSet, HashSet};

use arktos_core::rules::addresses::{cidr_warnings, ip_warning};
use arktos_core::{Object, Quantity};
use base64::Engine as _;
use serde_json::{Map, Value};

use crate::call::Call;

mod pods;

/// Warns of what a new object says, or of what a changed one does: `old` is what it was.
pub(crate) fn of_object(call: &Call<'_>, object: &Object, old: Option<&Object>) {
    let resource = call.kind.storage_resource.as_str();
    match resource {
        "services" => service(call, object),
        "csidrivers.storage.k8s.io" => {
            let tokens = |object: &Object| object.at(&["spec", "tokenRequests"]).cloned();
            if old.is_none_or(|old| tokens(old) != tokens(object)) {
                csi_driver(call, object);
            }
        }
        "endpoints" => endpoint_addresses(call, object),
        "endpointslices.discovery.k8s.io" if old.is_none() && object.str_at(&["addressType"]) == "FQDN" => {
            call.warn("spec.addressType: FQDN endpoints are deprecated");
        }
        "pods" if old.is_none() => of_template(call, "", Some(&object.fields)),
        "ingresses.networking.k8s.io" if old.is_none() => ingress(call, object),
        "persistentvolumes" => volume(call, object),
        "persistentvolumeclaims" => claim(call, object),
        "serviceaccounts" => {
            let key = "kubernetes.io/enforce-mountable-secrets";
            if old.is_none_or(|old| old.at(&["metadata", "annotations", key]).is_none()) {
                let what = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
                annotated(call, object, key, what);
            }
        }
        "nodes" => node(call, object),
        "secrets" => secret(call, object),
        "resourcequotas" if old.is_none() => quota(call, object),
        "statefulsets.apps" => stateful_set(call, object),
        "customresourcedefinitions.apiextensions.k8s.io" => formats(call, object, old),
        _ => {}
    }
    if let Some(path) = template_path(resource)
        && warns_of_template(resource, old, object)
    {
        of_template(call, &format!("{}.", path.join(".")), object.at(path).and_then(Value::as_object));
    }
    if old.is_none() {
        of_name(call, resource, object.name());
    }
    if !call.kind.builtin {
        of_finalizers(call, object, old);
    }
}

/// Warns of what a new object says before it is prepared: a pod's annotations become fields then.
pub(crate) fn of_sent(call: &Call<'_>, object: &Object) {
    if call.kind.storage_resource.as_str() != "pods" || object.str_at(&["spec", "os", "name"]) == "windows" {
        return;
    }
    let annotations = object.at(&["metadata", "annotations"]).and_then(Value::as_object);
    if let (Some(annotations), Some(spec)) = (annotations, object.fields.get("spec")) {
        pods::old_profiles("", annotations, spec).into_iter().for_each(|warning| call.warn(warning));
    }
}

/// What a quota lets be asked for is not more than what it lets be had.
fn quota(call: &Call<'_>, quota: &Object) {
    let Some(hard) = quota.at(&["spec", "hard"]).and_then(Value::as_object) else { return };
    for resource in ["cpu", "memory", "storage", "ephemeral-storage"] {
        let (asked, had) = (format!("requests.{resource}"), format!("limits.{resource}"));
        let bare = matches!(resource, "cpu" | "memory").then_some(resource);
        let mut names = std::iter::once(asked.as_str()).chain(bare);
        let Some((name, asked)) = names.find_map(|name| Some((name, hard.get(name)?.as_str()?))) else {
            continue;
        };
        let Some(most) = hard.get(&had).and_then(Value::as_str) else { continue };
        if let (Ok(request), Ok(limit)) = (Quantity::parse(asked), Quantity::parse(most))
            && request > limit
        {
            call.warn(format!("ResourceQuota {name} ({asked}) should be less than {had} ({most})"));
        }
    }
}

/// Formats in the schemas of a definition that nobody knows, and that it did not have before.
fn formats(call: &Call<'_>, definition: &Object, old: Option<&Object>) {
    let known: HashSet<&str> = old.into_iter().flat_map(unrecognized).collect();
    for format in unrecognized(definition).into_iter().filter(|format| !known.contains(format)) {
        call.warn(format!("unrecognized format {format:?}"));
    }
}

fn unrecognized(definition: &Object) -> Vec<&str> {
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten();
    let schemas = versions.filter_map(|version| version.pointer("/schema/openAPIV3Schema"));
    schemas.flat_map(arktos_core::custom::unrecognized_formats).collect()
}

/// Addresses of endpoints that are not in their usual form.
fn endpoint_addresses(call: &Call<'_>, endpoints: &Object) {
    let subsets = endpoints.at(&["subsets"]).and_then(Value::as_array).into_iter().flatten();
    for (index, subset) in subsets.enumerate() {
        for list in ["addresses", "notReadyAddresses"] {
            for (place, address) in subset[list].as_array().into_iter().flatten().enumerate() {
                let at = format!("subsets[{index}].{list}[{place}].ip");
                let warning = ip_warning(&at, address["ip"].as_str().unwrap_or_default());
                warning.into_iter().for_each(|warning| call.warn(warning));
            }
        }
    }
}

/// Finalizers of custom objects that are new and might be somebody else's as well.
fn of_finalizers(call: &Call<'_>, object: &Object, old: Option<&Object>) {
    const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
    let all = |object: &Object| -> BTreeSet<String> {
        let finalizers = object.at(&["metadata", "finalizers"]).and_then(Value::as_array);
        finalizers.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let before = old.map(all).unwrap_or_default();
    for finalizer in all(object).difference(&before) {
        if finalizer.contains('/') || STANDARD.contains(&finalizer.as_str()) {
            continue;
        }
        let path = if finalizer.contains('.') { " including a path (/)" } else { "" };
        call.warn(format!(
            "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name{path} to avoid accidental \
             conflicts with other finalizer writers"
        ));
    }
}

/// How many characters all warnings of an answer have together, and one where there are more.
const ALL_MAX: usize = 4096;
const ONE_MAX: usize = 256;

/// What the client of a call is warned of, once in the same words: no more than is sent.
#[derive(Default)]
pub(crate) struct Warnings {
    told: Vec<String>,
    known: HashSet<String>,
    /// How many characters of them are sent where they are too long together.
    length: usize,
}

impl Warnings {
    pub(crate) fn add(&mut self, warning: String) {
        if self.length > ALL_MAX || self.known.contains(&warning) {
            return;
        }
        self.length += warning.chars().take(ONE_MAX).count();
        self.known.insert(warning.clone());
        self.told.push(warning);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes those of another, which has none then.
    pub(crate) fn take_from(&mut self, other: &mut Self) {
        std::mem::take(other).told.into_iter().for_each(|warning| self.add(warning));
    }

    pub(crate) fn into_told(self) -> Vec<String> {
        self.told
    }
}

/// The warnings of an answer, and before them that of its kind: when they are too long together, the beginning of each
/// of the first.
pub(crate) fn shortened(of_kind: Option<&str>, told: Vec<String>) -> Vec<String> {
    let warnings: Vec<String> = of_kind.map(str::to_owned).into_iter().chain(told).collect();
    if warnings.iter().map(|warning| warning.chars().count()).sum::<usize>() <= ALL_MAX {
        return warnings;
    }
    let mut written = 0;
    let short = warnings.into_iter().map(|warning| warning.chars().take(ONE_MAX).collect::<String>());
    short
        .take_while(|warning| {
            let fits = written < ALL_MAX;
            written += warning.chars().count();
            fits
        })
        .collect()
}

/// Whether a write is warned of what is in a template: a new one, and one whose owner asks for something else. Of a
/// replication controller only the first.
fn warns_of_template(resource: &str, old: Option<&Object>, object: &Object) -> bool {
    let differs = |old: &Object, path: &[&str]| old.at(path) != object.at(path);
    match old {
        None => true,
        Some(old) if resource == "podtemplates" => old.fields.get("template") != object.fields.get("template"),
        Some(old) if resource == "daemonsets.apps" => differs(old, &["spec", "template"]),
        Some(old) if resource == "deployments.apps" && differs(old, &["metadata", "annotations"]) => true,
        Some(old) => resource != "replicationcontrollers" && old.fields.get("spec") != object.fields.get("spec"),
    }
}

/// Where a kind has the template of its pods.
fn template_path(resource: &str) -> Option<&'static [&'static str]> {
    Some(match resource {
        "deployments.apps"
        | "replicasets.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "jobs.batch"
        | "replicationcontrollers" => &["spec", "template"],
        "cronjobs.batch" => &["spec", "jobTemplate", "spec", "template"],
        "podtemplates" => &["template"],
        _ => return None,
    })
}

fn of_template(call: &Call<'_>, at: &str, pod: Option<&Map<String, Value>>) {
    if let Some(pod) = pod {
        pods::of_pod(at, pod).into_iter().for_each(|warning| call.warn(warning));
    }
}

/// Pods have their names for host names, in whole or in part.
fn of_name(call: &Call<'_>, resource: &str, name: &str) {
    let what = match resource {
        "pods" => "the Pod's hostname",
        "deployments.apps" | "replicasets.apps" | "jobs.batch" | "cronjobs.batch" | "replicationcontrollers" => {
            "Pod names and hostnames"
        }
        _ => return,
    };
    let faults = arktos_core::name::label_faults(name);
    if !faults.is_empty() {
        call.warn(format!(
            "metadata.name: this is used in {what}, which can result in surprising behavior; a DNS label is recommended: \
             [{}]",
            faults.join(" ")
        ));
    }
}

fn annotated(call: &Call<'_>, object: &Object, key: &str, what: &str) {
    if object.at(&["metadata", "annotations", key]).is_some() {
        call.warn(format!("metadata.annotations[{key}]: {what}"));
    }
}

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const CLASS_WAS: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";

fn volume(call: &Call<'_>, volume: &Object) {
    annotated(call, volume, CLASS, CLASS_WAS);
    let mount = "volume.beta.kubernetes.io/mount-options";
    annotated(call, volume, mount, "deprecated since v1.31; use \"mountOptions\" attribute instead");
    if volume.str_at(&["spec", "persistentVolumeReclaimPolicy"]) == "Recycle" {
        call.warn(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning.",
        );
    }
    for (field, what) in [
        ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if volume.at(&["spec", field]).is_some() {
            call.warn(format!("spec.{}: {what}", if field == "storageos" { "storageOS" } else { field }));
        }
    }
    let terms = ["spec", "nodeAffinity", "required", "nodeSelectorTerms"];
    for (index, term) in volume.at(&terms).and_then(Value::as_array).into_iter().flatten().enumerate() {
        let path = format!("{}[{index}]", terms.join("."));
        pods::old_in_term(&path, term).into_iter().for_each(|warning| call.warn(warning));
    }
}

fn claim(call: &Call<'_>, claim: &Object) {
    annotated(call, claim, CLASS, CLASS_WAS);
    let told = pods::of_claim("spec", claim.at(&["spec"]).unwrap_or(&Value::Null));
    told.into_iter().for_each(|warning| call.warn(warning));
}

fn node(call: &Call<'_>, node: &Object) {
    if !node.str_at(&["spec", "externalID"]).is_empty() {
        call.warn("spec.externalID: this field is deprecated, and is unused by Kubernetes");
    }
}

/// Certificates and keys that are none. What is in those that are, nobody looks at here.
fn secret(call: &Call<'_>, secret: &Object) {
    if secret.str_at(&["type"]) != "kubernetes.io/tls" {
        return;
    }
    let has_block = |key: &str| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret.str_at(&["data", key]));
        bytes.is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("-----BEGIN "))
    };
    for (key, what) in [("tls.crt", "certificate"), ("tls.key", "key")] {
        if !has_block(key) {
            return call.warn(format!("tls: failed to find any PEM data in {what} input"));
        }
    }
}

fn ingress(call: &Call<'_>, ingress: &Object) {
    if ingress.at(&["metadata", "annotations", "kubernetes.io/ingress.class"]).is_some() {
        call.warn(
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
        );
    }
}

fn stateful_set(call: &Call<'_>, set: &Object) {
    let claims = set.at(&["spec", "volumeClaimTemplates"]).and_then(Value::as_array);
    for (index, claim) in claims.into_iter().flatten().enumerate() {
        let told = pods::of_claim(&format!("spec.volumeClaimTemplates[{index}]"), &claim["spec"]);
        told.into_iter().for_each(|warning| call.warn(warning));
    }
    if set.at(&["spec", "revisionHistoryLimit"]).and_then(Value::as_i64).is_some_and(|limit| limit < 0) {
        call.warn(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
        );
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    value.and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn service(call: &Call<'_>, service: &Object) {
    let annotations = ["service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"];
    if service.at(&["metadata", "annotations", annotations[0]]).is_some() {
        call.warn(format!("annotation {} is deprecated, please use {} instead", annotations[0], annotations[1]));
    }
    let text = |field: &str| service.str_at(&["spec", field]);
    let addresses = |field: &str| {
        let list = service.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten();
        let texts = list.enumerate().map(|(index, item)| (index, item.as_str().unwrap_or_default().to_owned()));
        texts.filter_map(|(index, text)| ip_warning(&format!("spec.{field}[{index}]"), &text)).collect::<Vec<_>>()
    };
    let headless = text("type") == "ClusterIP" && text("clusterIP") == "None";
    let (external, by_name) = (!is_empty(service.at(&["spec", "externalIPs"])), text("type") == "ExternalName");
    if !headless && !by_name {
        addresses("clusterIPs").into_iter().for_each(|warning| call.warn(warning));
    }
    if headless {
        for (field, name, set) in [
            ("loadBalancerIP", "loadBalancerIP", !text("loadBalancerIP").is_empty()),
            ("externalIPs", "externalIPs", external),
            ("sessionAffinity", "SessionAffinity", text("sessionAffinity") != "None"),
        ] {
            if set && service.at(&["spec", field]).is_some() {
                call.warn(format!("spec.{name} is ignored for headless services"));
            }
        }
    }
    addresses("externalIPs").into_iter().for_each(|warning| call.warn(warning));
    if external && !headless && !by_name {
        call.warn("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    if let Some(warning) = ip_warning("spec.loadBalancerIP", text("loadBalancerIP")) {
        call.warn(warning);
    }
    let ranges = service.at(&["spec", "loadBalancerSourceRanges"]).and_then(Value::as_array);
    for (index, range) in ranges.into_iter().flatten().enumerate() {
        let at = format!("spec.loadBalancerSourceRanges[{index}]");
        cidr_warnings(&at, range.as_str().unwrap_or_default()).into_iter().for_each(|warning| call.warn(warning));
    }
    if by_name && external {
        call.warn("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if !by_name && !text("externalName").is_empty() {
        call.warn("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if service.str_at(&["spec", "trafficDistribution"]) == "PreferClose" {
        call.warn("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
}

fn csi_driver(call: &Call<'_>, driver: &Object) {
    let unset = driver.at(&["spec", "serviceAccountTokenInSecrets"]).is_none();
    if unset && !is_empty(driver.at(&["spec", "tokenRequests"])) {
        call.warn(
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
             possible logging of tokens in volume attributes",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_is_sent() {
        let mut warnings = Warnings::default();
        let said = |n: usize| format!("line {n}: key \"a\" already set in map");
        (0..40_000).for_each(|n| warnings.add(said(n / 2)));
        let mut all = Warnings::default();
        all.take_from(&mut warnings);
        assert!(warnings.into_told().is_empty());
        let told = all.into_told();
        assert!(told.len() < 300, "{}", told.len());
        let sent = shortened(None, told);
        assert_eq!(sent, shortened(None, (0..20_000).map(said).collect()));
        assert_eq!(sent[..2], [said(0), said(1)]);
    }
}
