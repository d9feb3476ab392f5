//! Limits on what one container, pod or volume claim may ask for, and what it asks for when it does not say.
//! (LimitRanger)

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use arktos_core::{GroupResource, Object, Quantity, Status};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::decoded::{Declared, List};
use super::{Review, list};
use crate::authorize::null_is_empty;
use crate::call::Call;
use crate::verbs::modify::Part;

/// The annotation that says what was filled in.
const SAID: &str = "kubernetes.io/limit-ranger";

const CLAIM: &str = "PersistentVolumeClaim";

/// How many amounts of limits are looked at for one pod: those of all limits, once for each container.
const LOOKED_AT_MAX: usize = 50_000;

type Amounts = BTreeMap<String, Quantity>;

static RANGES: LazyLock<GroupResource> = LazyLock::new(|| GroupResource::core("limitranges"));

/// What is looked at of a limit range.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LimitRange {
    spec: LimitRangeSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LimitRangeSpec {
    #[serde(deserialize_with = "null_is_empty")]
    limits: Vec<Value>,
}

impl Declared for LimitRange {
    /// Each of its small maps is a tree of its own.
    const TIMES: usize = 24;
}

/// Fills in what a new pod, or one that is to have other resources, does not say.
///
/// # Errors
/// 400 where no tenant is named.
pub(super) fn fill_in(call: &Call<'_>, pod: &mut Object) -> Result<(), Status> {
    let (mut said, ranges) = (Vec::new(), ranges(call)?);
    not_too_much(call, pod, &ranges)?;
    for limit in ranges.iter().flat_map(|range| &range.spec.limits).filter(|limit| limit["type"] == "Container") {
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            fill(pod, list, word, limit, &mut said);
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        pod.set(&["metadata", "annotations", SAID], text);
    }
    Ok(())
}

/// Checks new pods and claims, pods that are to have other resources, and claims that change. What is being deleted may
/// be as it is.
///
/// # Errors
/// 403 with every limit of a range that is broken.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let Some(new) = review.new else { return Ok(()) };
    let pod = match (call.kind.storage_resource.as_str(), review.part) {
        ("pods", Part::Whole) if review.old.is_none() => true,
        ("pods", Part::Other("resize")) => true,
        ("persistentvolumeclaims", Part::Whole) => false,
        _ => return Ok(()),
    };
    if review.old.is_some_and(|old| !old.str_at(&["metadata", "deletionTimestamp"]).is_empty()) {
        return Ok(());
    }
    let ranges = ranges(call)?;
    not_too_much(call, new, &ranges)?;
    for range in ranges.iter() {
        let mut faults = Vec::new();
        for limit in &range.spec.limits {
            match limit["type"].as_str().unwrap_or("") {
                "Container" if pod => {
                    for container in containers(new, "containers").chain(containers(new, "initContainers")) {
                        let (requests, limits) = (amounts(container, "requests"), amounts(container, "limits"));
                        check("Container", limit, &requests, &limits, &mut faults);
                    }
                }
                "Pod" if pod => check("Pod", limit, &total(new, "requests"), &total(new, "limits"), &mut faults),
                CLAIM if !pod => {
                    let requests = of(new.at(&["spec", "resources", "requests"]));
                    check(CLAIM, limit, &requests, &Amounts::new(), &mut faults);
                }
                _ => {}
            }
        }
        refuse(call, new.name(), &faults)?;
    }
    Ok(())
}

/// Refuses a pod for which too much would be filled in, or told: each limit is about each of its containers, and what
/// is filled in may be a thousand times what was sent.
fn not_too_much(call: &Call<'_>, pod: &Object, ranges: &List<LimitRange>) -> Result<(), Status> {
    let containers = containers(pod, "containers").chain(containers(pod, "initContainers")).count().max(1);
    let named = |limit: &Value| -> usize {
        let lists = limit.as_object().into_iter().flat_map(Map::values);
        1 + lists.filter_map(Value::as_object).map(Map::len).sum::<usize>()
    };
    let limited: usize = ranges.iter().flat_map(|range| &range.spec.limits).map(named).sum();
    if containers.saturating_mul(limited) <= LOOKED_AT_MAX {
        return Ok(());
    }
    let why = "the limit ranges of the namespace name too many resources for so many containers";
    Err(Status::forbidden(&call.kind.group_resource, pod.name(), why))
}

fn refuse(call: &Call<'_>, name: &str, faults: &[String]) -> Result<(), Status> {
    // What is wrong with several containers in the same words is told once.
    let mut seen = HashSet::new();
    let told: Vec<&str> = faults.iter().map(String::as_str).filter(|fault| seen.insert(*fault)).collect();
    match told.as_slice() {
        [] => Ok(()),
        [one] => Err(Status::forbidden(&call.kind.group_resource, name, one)),
        many => Err(Status::forbidden(&call.kind.group_resource, name, format!("[{}]", many.join(", ")))),
    }
}

/// The limit ranges of the namespace.
fn ranges(call: &Call<'_>) -> Result<Arc<List<LimitRange>>, Status> {
    call.one_tenant()?;
    Ok(list(call, &RANGES, &call.namespace))
}

fn of(list: Option<&Value>) -> Amounts {
    let fields = list.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), Quantity::parse(value.as_str()?).ok()?))).collect()
}

fn containers<'a>(pod: &'a Object, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    pod.at(&["spec", list]).and_then(Value::as_array).into_iter().flatten()
}

fn amounts(container: &Value, kind: &str) -> Amounts {
    of(container.get("resources").and_then(|resources| resources.get(kind)))
}

/// What a pod asks for in all: what it says itself, else the sum of what runs together, or what it needs to start where
/// that is more.
fn total(pod: &Object, kind: &str) -> Amounts {
    let mut sum = Amounts::new();
    for container in containers(pod, "containers") {
        add(&mut sum, &amounts(container, kind));
    }
    let (mut beside, mut start) = (Amounts::new(), Amounts::new());
    for container in containers(pod, "initContainers") {
        let mut needed = amounts(container, kind);
        if container.get("restartPolicy").is_some_and(|policy| policy == "Always") {
            // It goes on running beside all that follow.
            add(&mut sum, &needed);
            add(&mut beside, &needed);
            needed.clone_from(&beside);
        } else {
            add(&mut needed, &beside);
        }
        at_least(&mut start, needed);
    }
    at_least(&mut sum, start);
    let whole = of(pod.at(&["spec", "resources", kind]));
    sum.extend(whole.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")));
    sum
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let total = sum.get(name).map_or_else(|| amount.clone(), |total| total.plus(amount));
        sum.insert(name.clone(), total);
    }
}

fn at_least(sum: &mut Amounts, least: Amounts) {
    for (name, amount) in least {
        if sum.get(&name).is_none_or(|total| *total < amount) {
            sum.insert(name, amount);
        }
    }
}

/// Gives containers that say nothing the defaults, and notes what was given.
fn fill(pod: &mut Object, list: &str, word: &str, limit: &Value, said: &mut Vec<String>) {
    let Some(containers) = pod.map_mut(&["spec"]).get_mut(list).and_then(Value::as_array_mut) else { return };
    for container in containers.iter_mut().filter_map(Value::as_object_mut) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
        for (kind, defaults, one) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
            let given = give(container, kind, limit.get(defaults).and_then(Value::as_object));
            if !given.is_empty() {
                said.push(format!("{} {one} for {word} {name}", given.join(", ")));
            }
        }
    }
}

fn give(container: &mut Map<String, Value>, kind: &str, defaults: Option<&Map<String, Value>>) -> Vec<String> {
    let Some(defaults) = defaults else { return Vec::new() };
    let resources = container.entry("resources").or_insert_with(|| Value::Object(Map::new()));
    let Some(resources) = resources.as_object_mut() else { return Vec::new() };
    let mut own = resources.get(kind).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut given = Vec::new();
    for (name, value) in defaults {
        if !own.contains_key(name) {
            own.insert(name.clone(), value.clone());
            given.push(name.clone());
        }
    }
    if !given.is_empty() {
        resources.insert(kind.to_owned(), Value::Object(own));
    }
    given
}

/// Checks amounts against one limit: at least, at most, and how far a limit may be above its request.
fn check(what: &str, limit: &Value, requests: &Amounts, limits: &Amounts, faults: &mut Vec<String>) {
    let claim = what == CLAIM;
    for (name, least) in of(limit.get("min")) {
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => faults.push(format!("minimum {name} usage per {what} is {least}.  No request is specified")),
            (Some(request), _) if request.milli() < least.milli() => {
                faults.push(format!("minimum {name} usage per {what} is {least}, but request is {request}"));
            }
            (_, Some(top)) if top.milli() < least.milli() => {
                faults.push(format!("minimum {name} usage per {what} is {least}, but limit is {top}"));
            }
            _ => {}
        }
    }
    for (name, most) in of(limit.get("max")) {
        match (requests.get(&name), limits.get(&name)) {
            (Some(request), _) if claim && request.milli() > most.milli() => {
                faults.push(format!("maximum {name} usage per {what} is {most}, but request is {request}"));
            }
            (None, _) if claim => {
                faults.push(format!("maximum {name} usage per {what} is {most}.  No request is specified"));
            }
            _ if claim => {}
            (_, None) => faults.push(format!("maximum {name} usage per {what} is {most}.  No limit is specified")),
            (_, Some(top)) if top.milli() > most.milli() => {
                faults.push(format!("maximum {name} usage per {what} is {most}, but limit is {top}"));
            }
            (Some(request), _) if request.milli() > most.milli() => {
                faults.push(format!("maximum {name} usage per {what} is {most}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, ratio) in of(limit.get("maxLimitRequestRatio")) {
        let some = |of: &Amounts| of.get(&name).filter(|amount| !amount.is_zero()).cloned();
        let (request, top) = match (some(requests), some(limits)) {
            (Some(request), Some(top)) => (request, top),
            (request, _) => {
                let missing = if request.is_none() { "request" } else { "limit" };
                let why = format!("but no {missing} is specified or {missing} is 0");
                faults.push(format!("{name} max limit to request ratio per {what} is {ratio}, {why}"));
                continue;
            }
        };
        #[allow(clippy::cast_precision_loss)] // as upstream compares them
        let found = top.milli() as f64 / (request.milli().max(1)) as f64;
        #[allow(clippy::cast_precision_loss)]
        if found * 1000.0 > ratio.milli() as f64 {
            faults.push(format!(
                "{name} max limit to request ratio per {what} is {ratio}, but provided ratio is {found:.6}"
            ));
        }
    }
}
