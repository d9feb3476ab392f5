//! What pods and their templates are warned of.

use std::collections::{BTreeMap, HashMap, HashSet};

use arktos_core::Quantity;
use arktos_core::rules::armor;
use serde_json::{Map, Value};

/// How many warnings are looked for: fewer fit into an answer.
const TOLD_MAX: usize = 1000;

/// The warnings of a pod's spec and metadata, which stand below a path.
pub(super) fn of_pod(at: &str, pod: &Map<String, Value>) -> Vec<String> {
    let mut told = Vec::new();
    let Some(body) = pod.get("spec") else { return told };
    let spec = format!("{at}spec");
    old_labels(&spec, body, &mut told);
    if let Some(annotations) = pod.get("metadata").and_then(|metadata| metadata["annotations"].as_object()) {
        old_annotations(at, annotations, body, &mut told);
    }
    old_volumes(&spec, body, &mut told);
    named_twice(&spec, body, &mut told);
    fractional_bytes(&format!("{spec}.overhead"), &body["overhead"], &mut told);
    for (path, container) in containers(&spec, body) {
        for list in ["limits", "requests"] {
            fractional_bytes(&format!("{path}.resources.{list}"), &container["resources"][list], &mut told);
        }
        hidden_variables(&path, container, &mut told);
    }
    ports_twice(&spec, body, &mut told);
    port_names(&spec, body, &mut told);
    if body["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        told.push(format!(
            "{spec}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    null_selectors(&spec, body, &mut told);
    for (index, server) in items(&body["dnsConfig"]["nameservers"]).iter().enumerate() {
        told.extend(long_address(&format!("{spec}.dnsConfig.nameservers[{index}]"), server));
    }
    for (index, alias) in items(&body["hostAliases"]).iter().enumerate() {
        told.extend(long_address(&format!("{spec}.hostAliases[{index}].ip"), &alias["ip"]));
    }
    told
}

/// The warnings of what a claim asks for.
pub(super) fn of_claim(at: &str, claim: &Value) -> Vec<String> {
    let mut told = Vec::new();
    for list in ["requests", "limits"] {
        fractional(&format!("{at}.resources.{list}"), &claim["resources"][list], &["storage"], &mut told);
    }
    told
}

/// The warning of an address that is not written in its one short form.
fn long_address(at: &str, address: &Value) -> Option<String> {
    let text = address.as_str()?;
    let short = text.parse::<std::net::Ipv6Addr>().ok()?.to_string();
    (short != text)
        .then(|| format!("{at}: IPv6 address \"{text}\" should be in RFC 5952 canonical format (\"{short}\")"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn containers<'a>(spec: &str, body: &'a Value) -> Vec<(String, &'a Value)> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let all = lists.into_iter().flat_map(|list| {
        let of_list = items(&body[list]).iter().enumerate();
        of_list.map(move |(index, container)| (format!("{spec}.{list}[{index}]"), container))
    });
    all.collect()
}

/// What became of a label of nodes.
fn old_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        _ => return None,
    })
}

fn old_labels(spec: &str, body: &Value, told: &mut Vec<String>) {
    for key in body["nodeSelector"].as_object().into_iter().flat_map(|selector| selector.keys()) {
        told.extend(old_label(key).map(|what| format!("{spec}.nodeSelector[{key}]: {what}")));
    }
    let node = &body["affinity"]["nodeAffinity"];
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(&node[required]["nodeSelectorTerms"]).iter().enumerate() {
        let path = format!("{spec}.affinity.nodeAffinity.{required}.nodeSelectorTerms[{index}]");
        told.extend(old_in_term(&path, term));
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(&node[preferred]).iter().enumerate() {
        let path = format!("{spec}.affinity.nodeAffinity.{preferred}[{index}].preference");
        told.extend(old_in_term(&path, &term["preference"]));
    }
    for (index, constraint) in items(&body["topologySpreadConstraints"]).iter().enumerate() {
        let at = format!("{spec}.topologySpreadConstraints[{index}]");
        let key = constraint["topologyKey"].as_str().unwrap_or_default();
        told.extend(old_label(key).map(|what| format!("{at}.topologyKey: {key} is {what}")));
        if constraint["labelSelector"].is_null() {
            told.push(format!("{at}.labelSelector: a null labelSelector results in matching no pod"));
        }
    }
}

/// The warnings of what a term asks for of nodes.
pub(super) fn old_in_term(at: &str, term: &Value) -> Vec<String> {
    let wanted = items(&term["matchExpressions"]).iter().enumerate();
    let told = wanted.filter_map(|(index, wanted)| {
        let key = wanted["key"].as_str()?;
        old_label(key).map(|what| format!("{at}.matchExpressions[{index}].key: {key} is {what}"))
    });
    told.collect()
}

fn old_annotations(at: &str, annotations: &Map<String, Value>, body: &Value, told: &mut Vec<String>) {
    const OLD: [(&str, &str); 3] = [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
        ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
        ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ];
    for (key, what) in OLD {
        if annotations.contains_key(key) {
            told.push(format!("{at}metadata.annotations[{key}]: {what}"));
        }
    }
    const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    let profiled = |context: &Value| !context["seccompProfile"].is_null();
    let key = "seccomp.security.alpha.kubernetes.io/pod";
    if annotations.contains_key(key) && !profiled(&body["securityContext"]) {
        told.push(format!("{at}metadata.annotations[{key}]: {SECCOMP}"));
    }
    if !at.is_empty() {
        told.extend(old_profiles(at, annotations, body));
    }
    for (_, container) in containers("", body) {
        let name = container["name"].as_str().unwrap_or_default();
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
        if annotations.contains_key(&key) && !profiled(&container["securityContext"]) {
            told.push(format!("{at}metadata.annotations[{key}]: {SECCOMP}"));
        }
    }
}

/// The warnings of profiles of AppArmor that annotations name, and no field does.
pub(super) fn old_profiles(at: &str, annotations: &Map<String, Value>, body: &Value) -> Vec<String> {
    const OLD: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
    let whole = Some(&body["securityContext"]["appArmorProfile"]).filter(|profile| !profile.is_null());
    let told = containers("", body).into_iter().filter_map(|(_, container)| {
        let key = format!("{}{}", armor::ANNOTATION, container["name"].as_str().unwrap_or_default());
        let text = annotations.get(&key)?.as_str()?;
        let said = !container["securityContext"]["appArmorProfile"].is_null();
        let same = whole.is_some() && armor::named(text).as_ref() == whole;
        (!said && !same).then(|| format!("{at}metadata.annotations[{key}]: {OLD}"))
    });
    told.collect()
}

fn old_volumes(spec: &str, body: &Value, told: &mut Vec<String>) {
    const OLD: [(&str, &str, &str); 9] = [
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ];
    let volumes = items(&body["volumes"]);
    for (index, volume) in volumes.iter().enumerate() {
        for (field, shown, what) in OLD {
            if !volume[field].is_null() {
                told.push(format!("{spec}.volumes[{index}].{shown}: {what}"));
            }
        }
        let claim = &volume["ephemeral"]["volumeClaimTemplate"]["spec"];
        told.extend(of_claim(&format!("{spec}.volumes[{index}].ephemeral.volumeClaimTemplate.spec"), claim));
    }
    for volume in volumes {
        let name = volume["name"].as_str().unwrap_or_default();
        for (field, kind, by) in [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")] {
            let source = volume[field][by].as_str().unwrap_or_default();
            overlaps(
                &volume[field]["items"],
                &format!("volume \"{name}\" ({kind} \"{source}\"): overlapping paths"),
                told,
            );
        }
        let why = format!("volume \"{name}\" (DownwardAPI): overlapping paths");
        overlaps(&volume["downwardAPI"]["items"], &why, told);
        projected(name, &volume["projected"]["sources"], told);
    }
}

/// Files of one volume of which one's path leads through the other.
fn overlaps(files: &Value, why: &str, told: &mut Vec<String>) {
    let files = items(files).iter().map(|file| (file["path"].as_str().unwrap_or_default(), String::new()));
    collisions(files, why, told);
}

/// As `overlaps`, for what comes from several sources.
fn projected(name: &str, sources: &Value, told: &mut Vec<String>) {
    let mut files: Vec<(&str, String)> = Vec::new();
    for source in items(sources) {
        if source.as_object().is_some_and(Map::is_empty) {
            told.push(format!("volume \"{name}\" (Projected) has no sources provided"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, list) = if !source["configMap"]["items"].is_null() {
            (format!("ConfigMap \"{}\"", text(&source["configMap"]["name"])), &source["configMap"]["items"])
        } else if !source["secret"]["items"].is_null() {
            (format!("Secret \"{}\"", text(&source["secret"]["name"])), &source["secret"]["items"])
        } else {
            ("DownwardAPI".to_owned(), &source["downwardAPI"]["items"])
        };
        files.extend(items(list).iter().map(|file| (file["path"].as_str().unwrap_or_default(), kind.clone())));
        if let (true, Some(path)) = (list.is_null(), source["serviceAccountToken"]["path"].as_str()) {
            files.push((path, "ServiceAccountToken".to_owned()));
        }
    }
    collisions(files.into_iter(), &format!("volume \"{name}\" (Projected): overlapping paths"), told);
}

fn collisions<'a>(files: impl Iterator<Item = (&'a str, String)>, why: &str, told: &mut Vec<String>) {
    let mut all: Vec<(&str, String)> = Vec::new();
    let mut seen: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let shown = |(path, source): &(&str, String)| match source.as_str() {
        "" => format!("\"{path}\""),
        source => format!("\"{path}\" ({source})"),
    };
    for (path, source) in files {
        let file = (path.trim_end_matches('/'), source);
        if file.0.is_empty() {
            continue;
        }
        let begin = format!("{}/", file.0);
        let below = seen.range(begin.as_str()..).take_while(|(other, _)| other.starts_with(&begin)).map(|(_, at)| at);
        let above = file.0.match_indices('/').filter_map(|(at, _)| seen.get(file.0.get(..at)?));
        let mut met: Vec<usize> = below.chain(above).chain(seen.get(file.0)).flatten().copied().collect();
        met.sort_unstable();
        for other in met.into_iter().filter_map(|at| all.get(at)) {
            if told.len() >= TOLD_MAX {
                return;
            }
            told.push(format!("{why}: {} with {}", shown(&file), shown(other)));
        }
        seen.entry(file.0).or_default().push(all.len());
        all.push(file);
    }
}

fn named_twice(spec: &str, body: &Value, told: &mut Vec<String>) {
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (index, item) in items(&body[list]).iter().enumerate() {
            if !seen.insert(&item[field]) {
                let value = item[field].as_str().unwrap_or_default();
                told.push(format!("{spec}.{list}[{index}].{field}: duplicate {field} \"{value}\""));
            }
        }
    }
    for (index, secret) in items(&body["imagePullSecrets"]).iter().enumerate() {
        if secret["name"].as_str().is_none_or(str::is_empty) {
            told.push(format!("{spec}.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
}

fn fractional_bytes(at: &str, amounts: &Value, told: &mut Vec<String>) {
    fractional(at, amounts, &["memory", "ephemeral-storage"], told);
}

fn fractional(at: &str, amounts: &Value, resources: &[&str], told: &mut Vec<String>) {
    for resource in resources {
        let Some(text) = amounts[*resource].as_str() else { continue };
        if Quantity::parse(text).is_ok_and(|amount| amount.milli() % 1000 != 0) {
            told.push(format!("{at}[{resource}]: fractional byte value \"{text}\" is invalid, must be an integer"));
        }
    }
}

/// Variables that stand twice, where the later one is not made of the earlier.
fn hidden_variables(at: &str, container: &Value, told: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (index, variable) in items(&container["env"]).iter().enumerate() {
        let name = variable["name"].as_str().unwrap_or_default();
        let (value, named) = (variable["value"].as_str().unwrap_or_default(), format!("$({name})"));
        let is_made_of_it = variable["valueFrom"].is_null() && value != named && value.contains(&named);
        let twice = variable["name"].as_str().is_some_and(|name| !seen.insert(name));
        if twice && !is_made_of_it {
            told.push(format!(
                "{at}.env[{index}]: hides previous definition of \"{name}\", which may be dropped when using apply"
            ));
        }
    }
}

fn ports_twice(spec: &str, body: &Value, told: &mut Vec<String>) {
    let mut seen: HashMap<_, Vec<(String, i64, &str)>> = HashMap::new();
    for (path, container) in containers(spec, body) {
        for (index, port) in items(&container["ports"]).iter().enumerate() {
            let text = |field: &str| port[field].as_str().unwrap_or_default();
            let key = (port["containerPort"].as_i64().unwrap_or_default(), text("protocol"));
            let (at, number, ip) =
                (format!("{path}.ports[{index}]"), port["hostPort"].as_i64().unwrap_or_default(), text("hostIP"));
            if number == 0 && !ip.is_empty() {
                told.push(format!(
                    "{at}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} \
                     HostIP:{ip}}}",
                    text("name"),
                    key.0,
                    key.1
                ));
            }
            let others = seen.entry(key).or_default();
            for (other, other_number, other_ip) in &*others {
                let how = if number == *other_number && ip == *other_ip {
                    "duplicate"
                } else if number == 0 || *other_number == 0 {
                    "overlapping"
                } else if number == *other_number && (ip.is_empty() != other_ip.is_empty()) {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                if told.len() >= TOLD_MAX {
                    return;
                }
                told.push(format!("{at}: {how} port definition with {other}"));
            }
            others.push((at, number, ip));
        }
    }
    port_names_twice(spec, body, told);
}

fn port_names_twice(spec: &str, body: &Value, told: &mut Vec<String>) {
    let mut seen: HashMap<&str, String> = HashMap::new();
    for (path, container) in containers(spec, body) {
        for (index, port) in items(&container["ports"]).iter().enumerate() {
            let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) else { continue };
            let at = format!("{path}.ports[{index}]");
            match seen.get(name) {
                Some(other) => told.push(format!(
                    "{at}: duplicate port name {name:?} with {other}, services and probes that select ports by name \
                     will use {other}"
                )),
                None => drop(seen.insert(name, at)),
            }
        }
    }
}

fn port_names(spec: &str, body: &Value, told: &mut Vec<String>) {
    let mut seen: HashMap<&str, String> = HashMap::new();
    for (path, container) in containers(spec, body) {
        for (index, port) in items(&container["ports"]).iter().enumerate() {
            let (name, at) = (port["name"].as_str().unwrap_or_default(), format!("{path}.ports[{index}]"));
            if let Some(other) = seen.get(name) {
                told.push(format!(
                    "{at}: duplicate port name \"{name}\" with {other}, services and probes that select ports by name \
                     will use {other}"
                ));
            } else if !name.is_empty() {
                seen.insert(name, at);
            }
        }
    }
}

fn null_selectors(spec: &str, body: &Value, told: &mut Vec<String>) {
    const NULL: &str = "a null labelSelector results in matching no pod";
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (list, inner) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", ""),
            ("preferredDuringSchedulingIgnoredDuringExecution", ".podAffinityTerm"),
        ] {
            for (index, term) in items(&body["affinity"][kind][list]).iter().enumerate() {
                let selector = match inner {
                    "" => &term["labelSelector"],
                    _ => &term["podAffinityTerm"]["labelSelector"],
                };
                if selector.is_null() {
                    told.push(format!("{spec}.affinity.{kind}.{list}[{index}]{inner}.labelSelector: {NULL}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut told = Vec::new();
        collisions(paths.into_iter().map(|path| (path, String::new())), "overlap", &mut told);
        told
    }

    #[test]
    fn files_at_one_path_and_below_one_another_collide_and_others_do_not() {
        let wanted = ["\"a/b\" with \"a\"", "\"a\" with \"a\"", "\"a\" with \"a/b\"", "\"a/b/c\" with \"a\""];
        let all = told(["a", "ab", "a/b", "", "a/", "a/b/c"]);
        assert_eq!(all.len(), 6);
        for (wanted, told) in wanted.iter().zip(&all) {
            assert_eq!(told, &format!("overlap: {wanted}"));
        }
        assert!(told(["a", "b/a", "a-b", "a.b"]).is_empty());
    }

    #[test]
    fn of_many_collisions_no_more_are_told_than_fit() {
        assert_eq!(told(std::iter::repeat_n("a", 100_000)).len(), TOLD_MAX);
    }
}
