//! Jobs: how often they succeed, when they fail, and what stays once they run.

use serde_json::Value;

use super::super::fault::{Faults, Site};
use super::Run;
use super::workloads::{NO_MATCH, is_evaluable, selects, shown_selector, template_labels};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("indexed_job", indexed_job),
    ("exit_codes", exit_codes),
    ("failure_policy", failure_policy),
    ("job_restart", job_restart),
    ("replacement", replacement),
    ("managed_by", managed_by),
    ("failure_action", failure_action),
    ("exit_operator", exit_operator),
    ("needs_index", needs_index),
    ("failure_rule", failure_rule),
    ("generated_selector", generated_selector),
    ("own_selector", own_selector),
    ("completions_kept", completions_kept),
    ("job_template_kept", job_template_kept),
    ("success_policy", success_policy),
    ("job_name", job_name),
];

/// The most pods of an indexed job that run at once.
const INDEXED_PARALLELISM_MAX: i64 = 100_000;
/// The most indexes of a job that may fail.
const FAILED_INDEXES_MAX: i64 = 100_000;
/// From how many completions on a job with a limit for each index has narrower limits, and these.
const COMPLETIONS_SOFT_MAX: i64 = 100_000;
const MANY_COMPLETIONS_MAX: i64 = 10_000;

/// What indexed jobs need, and what only they may have. Stands at the job's spec.
fn indexed_job(site: &Site<'_>, faults: &mut Faults) {
    let number = |field: &str| site.map.get(field).and_then(Value::as_i64);
    if site.text("completionMode") == "Indexed" {
        if number("completions").is_none() {
            faults.required(&site.sub("completions"), "when completion mode is Indexed");
        }
        if let Some(count) = number("parallelism").filter(|count| *count > INDEXED_PARALLELISM_MAX) {
            let why =
                format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
            faults.invalid(&site.sub("parallelism"), &Value::from(count), &why);
        }
    }
    many_completions(site, faults);
    if let Some(most) = number("maxFailedIndexes") {
        if site.text("completionMode") == "Indexed" && most > FAILED_INDEXES_MAX {
            let why = format!("must be less than or equal to {FAILED_INDEXES_MAX}");
            faults.invalid(&site.sub("maxFailedIndexes"), &Value::from(most), &why);
        }
        if number("backoffLimitPerIndex").is_none() {
            faults.required(&site.sub("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
        }
        if site.text("completionMode") == "Indexed" && number("completions").is_some_and(|count| most > count) {
            let why = "must be less than or equal to completions";
            faults.invalid(&site.sub("maxFailedIndexes"), &Value::from(most), why);
        }
    }
}

fn many_completions(site: &Site<'_>, faults: &mut Faults) {
    let number = |field: &str| site.map.get(field).and_then(Value::as_i64);
    let many = number("completions").is_some_and(|count| count > COMPLETIONS_SOFT_MAX);
    if !many || site.text("completionMode") != "Indexed" || number("backoffLimitPerIndex").is_none() {
        return;
    }
    if number("maxFailedIndexes").is_none() {
        let why = format!("must be specified when completions is above {COMPLETIONS_SOFT_MAX}");
        faults.required(&site.sub("maxFailedIndexes"), &why);
    }
    for field in ["parallelism", "maxFailedIndexes"] {
        if let Some(count) = number(field).filter(|count| *count > MANY_COMPLETIONS_MAX) {
            let why = format!(
                "must be less than or equal to {MANY_COMPLETIONS_MAX} when completions are above \
                 {COMPLETIONS_SOFT_MAX} and used with backoff limit per index"
            );
            faults.invalid(&site.sub(field), &Value::from(count), &why);
        }
    }
}

/// How many exit codes, and how many rules, a failure policy may name.
const EXIT_CODES_MAX: usize = 255;
const FAILURE_RULES_MAX: usize = 20;

fn exit_codes(site: &Site<'_>, faults: &mut Faults) {
    let (codes, path) = (site.list("values"), site.sub("values"));
    if codes.is_empty() {
        let sent = site.map.get("values").unwrap_or(&Value::Null);
        return faults.invalid(&path, sent, "at least one value is required");
    }
    if codes.len() > EXIT_CODES_MAX {
        faults.too_many(&path, codes.len() as u64, EXIT_CODES_MAX as u64);
    }
    let number = |code: &Value| code.as_i64().unwrap_or_default();
    let mut ordered = true;
    for (index, code) in codes.iter().enumerate() {
        let at = format!("{path}[{index}]");
        if number(code) == 0 && site.text("operator") == "In" {
            faults.invalid(&at, code, "must not be 0 for the In operator");
        }
        let before = codes.get(..index).unwrap_or_default();
        if before.iter().any(|other| number(other) == number(code)) {
            faults.duplicate(&at, code);
        }
        ordered &= before.last().is_none_or(|last| number(last) <= number(code));
    }
    if !ordered {
        faults.invalid(&path, &Value::from(codes), "must be ordered");
    }
}

/// Stands at the spec of a job that has a failure policy.
fn failure_policy(site: &Site<'_>, faults: &mut Faults) {
    let Some(policy) = site.map.get("podFailurePolicy").filter(|policy| !policy.is_null()) else { return };
    let restarts = site.map.get("template").and_then(|template| template.pointer("/spec/restartPolicy"));
    if let Some(restarts) = restarts.filter(|restarts| *restarts == "OnFailure") {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        faults.invalid(&site.sub("template.spec.restartPolicy"), restarts, why);
    }
    let rules = policy["rules"].as_array().map_or(&[][..], Vec::as_slice);
    if rules.len() > FAILURE_RULES_MAX {
        faults.too_many(&site.sub("podFailurePolicy.rules"), rules.len() as u64, FAILURE_RULES_MAX as u64);
    }
    for (index, rule) in rules.iter().enumerate() {
        named_by_rule(site, &format!("podFailurePolicy.rules[{index}]"), rule, faults);
    }
}

/// What a rule of a failure policy names: a container of the template, a limit of the job.
fn named_by_rule(site: &Site<'_>, at: &str, rule: &Value, faults: &mut Faults) {
    if rule["action"] == "FailIndex" && !site.sets("backoffLimitPerIndex") {
        let why = "requires the backoffLimitPerIndex to be set";
        faults.invalid(&site.sub(&format!("{at}.action")), &rule["action"], why);
    }
    let name = &rule["onExitCodes"]["containerName"];
    let pod = site.map.get("template").map(|template| &template["spec"]);
    let known = ["containers", "initContainers"].iter().any(|list| {
        let mut containers = pod.and_then(|pod| pod[*list].as_array()).into_iter().flatten();
        containers.any(|container| container["name"] == *name)
    });
    if !name.is_null() && !known {
        let why = "must be one of the container or initContainer names in the pod template";
        faults.invalid(&site.sub(&format!("{at}.onExitCodes.containerName")), name, why);
    }
}

/// Whoever looks after a job: a path that begins with a domain.
fn managed_by(site: &Site<'_>, faults: &mut Faults) {
    let Some(text) = site.value.and_then(Value::as_str) else { return };
    let path = site.path();
    if text.is_empty() {
        return faults.required(&path, "");
    }
    let parts = text.split_once('/').filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty());
    let Some((domain, rest)) = parts else {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return faults.invalid(&path, &Value::from(text), why);
    };
    for fault in crate::name::subdomain_faults(domain) {
        faults.invalid(&path, &Value::from(domain), &fault);
    }
    if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)) {
        let why = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        faults.invalid(&path, &Value::from(rest), why);
    }
}

/// When a pod that ends is replaced. Whoever looks at failures waits for them.
fn replacement(site: &Site<'_>, faults: &mut Faults) {
    let known: &[&str] = if site.sets("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if let Some(policy) = site.value.filter(|policy| !policy.as_str().is_some_and(|policy| known.contains(&policy))) {
        faults.not_supported(&site.path(), policy, known);
    }
}

/// What becomes of a job when a rule of its failure policy is met.
fn failure_action(site: &Site<'_>, faults: &mut Faults) {
    const KNOWN: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
    match site.value_text() {
        "" => faults.required(&site.path(), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
        other if !KNOWN.contains(&other) => faults.not_supported(&site.path(), &Value::from(other), &KNOWN),
        _ => {}
    }
}

fn exit_operator(site: &Site<'_>, faults: &mut Faults) {
    match site.value_text() {
        "" => faults.required(&site.path(), "valid values: [\"In\" \"NotIn\"]"),
        "In" | "NotIn" => {}
        other => faults.not_supported(&site.path(), &Value::from(other), &["In", "NotIn"]),
    }
}

fn job_restart(site: &Site<'_>, faults: &mut Faults) {
    match site.value_text() {
        "OnFailure" | "Never" => {}
        "" | "Always" => faults.required(&site.path(), "valid values: \"OnFailure\", \"Never\""),
        other => faults.not_supported(&site.path(), &Value::from(other), &["OnFailure", "Never"]),
    }
}

fn needs_index(site: &Site<'_>, faults: &mut Faults) {
    const WHY: &str = "requires indexed completion mode";
    let Some(value) = site.value.filter(|value| !value.is_null()) else { return };
    let mode = site.text("completionMode");
    if value.is_object() && mode != "Indexed" {
        let rules = value["rules"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let shown = rules.map(|rule| {
            format!(
                "{{\"SucceededIndexes\":{},\"SucceededCount\":{}}}",
                rule["succeededIndexes"], rule["succeededCount"]
            )
        });
        let rules = if value["rules"].is_array() {
            format!("[{}]", shown.collect::<Vec<_>>().join(","))
        } else {
            "null".to_owned()
        };
        faults.invalid_text(&site.path(), &format!("{{\"Rules\":{rules}}}"), WHY);
    } else if !value.is_object() && matches!(site.map.get("completionMode"), None | Some(Value::Null))
        || mode == "NonIndexed"
    {
        faults.invalid(&site.path(), value, WHY);
    }
}

fn failure_rule(site: &Site<'_>, faults: &mut Faults) {
    let (codes, conditions) = (site.sets("onExitCodes"), site.has("onPodConditions"));
    let why = match (codes, conditions) {
        (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
        (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
        _ => return,
    };
    faults.invalid_bare(&site.path(), why);
}

/// A job's selector is its own; the pods of its template carry its labels.
fn generated_selector(site: &Site<'_>, faults: &mut Faults) {
    let Some(Value::Object(spec)) = site.map.get("spec") else { return };
    let selector = spec.get("selector");
    let manual = spec.get("manualSelector") == Some(&Value::Bool(true));
    if !manual
        && let Some(uid) = site.map.get("metadata").and_then(|metadata| metadata["uid"].as_str())
        && let Some(selector) = selector
    {
        let name = site.root_name;
        let own = serde_json::json!({
            "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
            "controller-uid": uid, "job-name": name,
        });
        let labels = template_labels(spec);
        // Jobs from before there were the longer keys are not asked for them.
        let longer = ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];
        let before = site.old_map.and_then(|old| old.get("spec")).and_then(Value::as_object).and_then(template_labels);
        let known = |key: &&str| before.is_some_and(|labels| labels.get(*key).is_some());
        let longer = if site.updates && !longer.iter().all(known) { &[][..] } else { &longer[..] };
        for key in ["controller-uid", "job-name"].iter().chain(longer).copied() {
            let (found, wanted) = (labels.and_then(|labels| labels.get(key)), &own[key]);
            let path = format!("spec.template.metadata.labels[{key}]");
            let why = format!("must be '{}'", wanted.as_str().unwrap_or_default());
            match found {
                None => faults.required(&path, &why),
                Some(found) if found != wanted => {
                    faults.invalid(&path, labels.unwrap_or(&Value::Null), &why);
                }
                Some(_) => {}
            }
        }
        if is_evaluable(Some(selector)) && !selects(Some(selector), Some(&own)) {
            faults.invalid_text("spec.selector", &shown_selector(selector), "`selector` not auto-generated");
        }
    }
}

fn own_selector(site: &Site<'_>, faults: &mut Faults) {
    let Some(Value::Object(spec)) = site.map.get("spec") else { return };
    let labels = template_labels(spec);
    let selector = spec.get("selector");
    if is_evaluable(selector) && !selects(selector, labels) {
        faults.invalid("spec.template.metadata.labels", labels.unwrap_or(&Value::Null), NO_MATCH);
    }
}

/// How often an indexed job succeeds may change together with how many run at once; of others it may not. (That an
/// indexed job says it at all is checked elsewhere.)
fn completions_kept(site: &Site<'_>, faults: &mut Faults) {
    if !site.updates || site.old == site.value {
        return;
    }
    let spec = |field: &str| site.map.get("spec").and_then(|spec| spec.get(field));
    let why = match site.value {
        _ if spec("completionMode").is_none_or(|mode| mode != "Indexed") => "field is immutable",
        Some(_) if spec("parallelism") != site.value => "can only be modified in tandem with spec.parallelism",
        _ => return,
    };
    faults.invalid(&site.path(), site.value.unwrap_or(&Value::Null), why);
}

/// A job's template stays, but for where a suspended job's pods may go.
fn job_template_kept(site: &Site<'_>, faults: &mut Faults) {
    let (Some(old), Some(new), true) = (site.old, site.value, site.updates) else { return };
    let spec = |field: &str| site.old_map.and_then(|map| map.get("spec")).and_then(|spec| spec.get(field)).cloned();
    let status = site.old_map.and_then(|map| map.get("status")).cloned().unwrap_or_default();
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let is_suspended = |condition: &Value| condition["type"] == "Suspended" && condition["status"] == "True";
    let waits = status["startTime"].is_null() || conditions.iter().any(is_suspended);
    let suspended = spec("suspend") == Some(Value::Bool(true)) && waits && status["active"].as_i64().unwrap_or(0) == 0;
    let mut new = new.clone();
    let mut old = old.clone();
    if suspended {
        for template in [&mut old, &mut new] {
            for field in ["affinity", "nodeSelector", "tolerations", "schedulingGates"] {
                template["spec"].as_object_mut().and_then(|spec| spec.remove(field));
            }
            for field in ["labels", "annotations"] {
                template["metadata"].as_object_mut().and_then(|metadata| metadata.remove(field));
            }
        }
    }
    let (mut path, mut shown) = (site.path(), new.clone());
    if suspended {
        // What its containers take may change, too; and of the template only the pods' spec is looked at.
        for template in [&mut old, &mut new] {
            *template = template["spec"].take();
        }
        same_resources(&mut old, &new);
        (path, shown) = (format!("{path}.spec"), shown["spec"].take());
    }
    if old != new {
        faults.invalid(&path, &shown, "field is immutable");
    }
}

/// Takes over the resources of containers that stand where they stood.
fn same_resources(old: &mut Value, new: &Value) {
    for list in ["containers", "initContainers"] {
        let wanted = new[list].as_array().map_or(&[][..], Vec::as_slice);
        let containers = old.get_mut(list).and_then(Value::as_array_mut).map_or(&mut [][..], Vec::as_mut_slice);
        if containers.len() != wanted.len() {
            continue;
        }
        for (container, wanted) in containers.iter_mut().zip(wanted).filter(|(old, new)| old["name"] == new["name"]) {
            let Some(fields) = container.as_object_mut() else { continue };
            match wanted.get("resources") {
                Some(resources) => fields.insert("resources".to_owned(), resources.clone()),
                None => fields.remove("resources"),
            };
        }
    }
}

/// How many rules a success policy may have.
const SUCCESS_RULES_MAX: usize = 20;

/// Stands at the spec of a job that has a success policy.
fn success_policy(site: &Site<'_>, faults: &mut Faults) {
    let policy = site.map.get("successPolicy").filter(|policy| !policy.is_null());
    let Some(policy) = policy.filter(|_| site.text("completionMode") == "Indexed") else { return };
    let rules = policy["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let path = site.sub("successPolicy.rules");
    if rules.is_empty() {
        faults.required(&path, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > SUCCESS_RULES_MAX {
        faults.too_many(&path, rules.len() as u64, SUCCESS_RULES_MAX as u64);
    }
    let completions = site.map.get("completions").and_then(Value::as_i64).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        success_rule(&format!("{path}[{index}]"), rule, completions, faults);
    }
}

fn success_rule(path: &str, rule: &Value, completions: i64, faults: &mut Faults) {
    let (indexes, count) = (rule["succeededIndexes"].as_str(), rule["succeededCount"].as_i64());
    if indexes.is_none() && count.is_none() {
        faults.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let named = indexes.map(|indexes| index_count(indexes, completions));
    if let (Some(Err(fault)), Some(indexes)) = (&named, indexes) {
        let why = format!("error parsing succeededIndexes: {fault}");
        faults.invalid(&format!("{path}.succeededIndexes"), &Value::from(indexes), &why);
    }
    let Some(count) = count else { return };
    let (path, sent) = (format!("{path}.succeededCount"), Value::from(count));
    if count < 0 {
        faults.invalid(&path, &sent, "must be greater than or equal to 0");
    }
    if count > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        faults.invalid(&path, &sent, &why);
    }
    if let Some(named) = named.map(Result::unwrap_or_default).filter(|named| count > *named) {
        let why = format!(
            "must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
        );
        faults.invalid(&path, &sent, &why);
    }
}

/// How many indexes a text like `1,3-5` names, of a job with so many.
pub(super) fn index_count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut last, mut total) = (None, 0);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = index_interval(interval, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first and the last index that a text like `3-5` names.
pub(super) fn index_interval(interval: &str, completions: i64) -> Result<(i64, i64), String> {
    let number = |text: &str| -> Result<i64, String> {
        let number: i32 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: \"{text}\""))?;
        match i64::from(number) {
            number if number >= completions => Err(format!("too large index: \"{text}\"")),
            number => Ok(number),
        }
    };
    let parts: Vec<&str> = interval.split('-').collect();
    match parts.as_slice() {
        [one] => number(one).map(|one| (one, one)),
        [first, end] => match (number(first)?, number(end)?) {
            (first, end) if first >= end => Err(format!("non-increasing order, previous: {first}, current: {end}")),
            both => Ok(both),
        },
        _ => Err(format!(
            "the fragment \"{interval}\" violates the requirement that an index interval can have at most two parts \
             separated by '-'"
        )),
    }
}

/// The pods of an indexed job are called after it and their index, and that is their host name, too.
fn job_name(site: &Site<'_>, faults: &mut Faults) {
    let spec = site.map.get("spec");
    let completions = spec.and_then(|spec| spec["completions"].as_i64()).filter(|count| *count > 0);
    let Some(completions) = completions.filter(|_| !site.updates) else { return };
    if spec.is_some_and(|spec| spec["completionMode"] == "Indexed") {
        let name = format!("{}-{}", site.root_name, completions - 1);
        if crate::name::label_fault(&name).is_some() {
            let why = format!("will not able to create pod with invalid DNS label: {name}");
            faults.invalid("metadata.name", &Value::from(site.root_name), &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::admit_update;
    use super::super::super::tests::{changed, created, told};

    #[test]
    fn of_a_suspended_jobs_template_what_its_containers_take_may_change() {
        let container =
            |image: &str, cpu: &str| json!([{"name": "a", "image": image, "resources": {"requests": {"cpu": cpu}}}]);
        let template = json!({"spec": {"restartPolicy": "Never", "containers": container("i", "1")}});
        let job = |suspend: bool| {
            let job =
                json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": suspend, "template": template}});
            created(&job).expect("a good job")
        };
        let update = |suspend: bool, image: &str, cpu: &str| {
            let patch = json!({"spec": {"template": {"spec": {"containers": container(image, cpu)}}}});
            let told = told(changed(admit_update, &job(suspend), &patch));
            told.into_iter().map(|told| told.split(": ").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(update(true, "i", "2"), Vec::<String>::new());
        assert_eq!(update(true, "j", "1"), ["spec.template.spec"]);
        assert_eq!(update(false, "i", "2"), ["spec.template"]);
    }
}
