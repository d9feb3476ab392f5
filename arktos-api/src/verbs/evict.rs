//! Eviction: a pod is deleted if its disruption budget allows, and the budget notes it first.

use std::sync::Arc;

use arktos_core::typed::{Condition, KindOf, PodDisruptionBudget, PodDisruptionBudgetStatus};
use arktos_core::{Encoded, GroupResource, Object, ObjectKey, Reason, Status};
use arktos_store::client::DeleteOptions;
use arktos_store::{Change, Commit, CommitError, Expect, Stored, Within};
use serde_json::{Value, json};

use super::modify::{self, Part};
use super::subresource::done;
use super::{delete, managers};
use crate::admission::node_restriction;
use crate::call::{Call, commit_fault};

/// How often the budget is read again when somebody else has written it meanwhile.
const RETRIES: usize = 20;
/// The manager of what the server writes of its own accord.
const SERVER: &str = "kube-apiserver";
/// How many evictions a budget notes that are not seen to have happened.
const NOTED_MAX: usize = 2000;

/// Evicts a pod.
///
/// # Errors
/// 404, 409; 429 when the budget has nothing left; 500 when several budgets are about the pod.
pub(crate) async fn evict(call: &Call<'_>, eviction: &Object) -> Result<Status, Status> {
    if eviction.name() != call.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let body = eviction.at(&["deleteOptions"]).and_then(|options| Object::from_value(options.clone()));
    same_dry_run(call, eviction)?;
    let delete::Asked { mut options, dry, .. } = delete::options(body.as_ref(), &crate::query::QueryMap::default())?;
    let stored = call.found().await?;
    let pod = stored.object.decode(None).map_err(Status::internal)?;
    node_restriction::act(call, "eviction", pod.str_at(&["spec", "nodeName"]))?;
    let mut write = call.options.clone();
    write.dry_run |= dry;
    if let Some(delegate) = call.state.config.delegates.get(&call.kind.storage_resource) {
        delete::preconditions(call, &stored, &options)?;
        delegate.writes.post(&call.key()?, "eviction", elsewhere(eviction, write.dry_run)).await?;
        return Ok(done());
    }
    let one = Call {
        state: call.state,
        identity: call.identity,
        kind: call.kind.clone(),
        tenant: call.tenant.clone(),
        namespace: call.namespace.clone(),
        name: call.name.clone(),
        options: write,
        warnings: parking_lot::Mutex::default(),
        old: call.old,
        record: call.record.clone(),
        purse: call.purse.clone(),
    };
    if !may_go_anyway(&pod) && spend(&one, &stored, &pod).await? == Leave::AsSeen {
        pin(&mut options, &stored);
    }
    mark(&one, &mut options).await?;
    delete::delete(&one, &options).await?;
    Ok(done())
}

/// Has the pod say why it goes: who looks at it while it does, or at what is left of it, can tell.
async fn mark(call: &Call<'_>, options: &mut DeleteOptions) -> Result<(), Status> {
    if call.options.dry_run {
        return Ok(());
    }
    for _ in 0..RETRIES {
        let stored = call.found().await?;
        delete::preconditions(call, &stored, options)?;
        let mut pod = stored.object.decode_apart(None).map_err(Status::internal)?;
        if !targeted(&mut pod, &call.state.config.clock.now().to_string()) {
            return Ok(());
        }
        let encoded = call.stored_kind().encode(&pod).map_err(Status::internal)?;
        let commit = Commit::one(call.key()?, Expect::At(stored.revision), Change::put(encoded));
        match call.engine().commit(commit).await {
            Ok(done) => {
                // What is said of the pod as it was is said of it as it is now.
                options.revision = options.revision.map(|_| done.revision);
                return Ok(());
            }
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(commit_fault(&error)),
        }
    }
    Err(modify::modified(call))
}

/// Sets the condition of a pod that is evicted. Whether it was another one before.
fn targeted(pod: &mut Object, now: &str) -> bool {
    const TARGET: &str = "DisruptionTarget";
    let mut wanted = json!({
        "type": TARGET, "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    });
    let conditions = pod.map_mut(&["status"]).entry("conditions").or_insert_with(|| json!([]));
    if conditions.is_null() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return false };
    let Some(known) = conditions.iter_mut().find(|condition| condition["type"] == TARGET) else {
        conditions.push(wanted);
        return true;
    };
    if known["status"] == "True" {
        wanted["lastTransitionTime"] = known["lastTransitionTime"].clone();
    }
    let told = |one: &Value| ["status", "reason", "message"].map(|field| one[field].clone());
    let differs = told(known) != told(&wanted);
    if differs {
        *known = wanted;
    }
    differs
}

/// Refuses an eviction that is tried, and says of itself something else.
fn same_dry_run(call: &Call<'_>, eviction: &Object) -> Result<(), Status> {
    let said = eviction.at(&["deleteOptions", "dryRun"]).and_then(Value::as_array);
    let said: Vec<&str> = said.into_iter().flatten().filter_map(Value::as_str).collect();
    if !call.options.dry_run || said.is_empty() || said == ["All"] {
        return Ok(());
    }
    let said = said.join(" ");
    Err(Status::unexplained(format!("Non-matching dry-run options in request and content: [All] and [{said}]")))
}

/// The eviction as whoever has the pod, and its budgets, is asked for it. Our revision means nothing there.
fn elsewhere(eviction: &Object, dry_run: bool) -> Object {
    let mut sent = eviction.clone();
    sent.set(&["apiVersion"], "policy/v1");
    sent.set(&["kind"], "Eviction");
    sent.remove(&["deleteOptions", "preconditions", "resourceVersion"]);
    if dry_run {
        sent.set(&["deleteOptions", "dryRun"], serde_json::json!(["All"]));
    }
    sent
}

/// What the budget's leave is about.
#[derive(PartialEq, Eq)]
enum Leave {
    /// The pod of this name.
    Given,
    /// The pod as it was looked at: one that has become healthy since needs another leave.
    AsSeen,
}

/// Whether no budget is asked: nothing runs any more, or yet, or the pod is going already.
fn may_go_anyway(pod: &Object) -> bool {
    matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed" | "Pending")
        || !pod.str_at(&["metadata", "deletionTimestamp"]).is_empty()
}

fn pin(options: &mut DeleteOptions, stored: &Stored) {
    options.revision.get_or_insert(stored.revision);
}

/// Takes the eviction off the pod's budget.
async fn spend(call: &Call<'_>, stored: &Stored, pod: &Object) -> Result<Leave, Status> {
    for _ in 0..RETRIES {
        let Some(budget) = budget_of(call, stored)? else { return Ok(Leave::Given) };
        let mut object = PodDisruptionBudget::from_encoded(&budget.object, None).map_err(Status::internal)?;
        if !is_ready(pod) {
            let status = &object.status;
            let enough = status.current_healthy >= status.desired_healthy && status.desired_healthy > 0;
            let always = object.spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow");
            if always || enough {
                return Ok(Leave::AsSeen);
            }
        }
        charge(call, &budget, &mut object)?;
        if call.options.dry_run {
            return Ok(Leave::Given);
        }
        let encoded = charged(call, &budget, &object)?;
        let key = ObjectKey { resource: budgets(), path: budget.path.clone() };
        let commit = Commit::one(key, Expect::At(budget.revision), Change::put(encoded));
        match call.engine().commit(commit).await {
            Ok(_) => return Ok(Leave::Given),
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(commit_fault(&error)),
        }
    }
    Err(busy(10, "", ""))
}

/// The budget with its new status, which is noted as the server's own work.
fn charged(call: &Call<'_>, budget: &Stored, object: &PodDisruptionBudget) -> Result<Encoded, Status> {
    let kind = arktos_core::Catalog::builtin().storage(&budgets()).ok_or_else(|| Status::internal("no budgets"))?;
    let mut old = budget.object.decode_apart(None).map_err(Status::internal)?;
    let mut new = old.clone();
    let mut status = serde_json::to_value(&object.status).map_err(Status::internal)?;
    // A condition says that it has no message.
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten();
    for condition in conditions.filter_map(Value::as_object_mut) {
        condition.entry("message").or_insert_with(|| Value::from(""));
    }
    new.set(&["status"], status);
    let one = Call {
        state: call.state,
        identity: call.identity,
        kind: kind.clone(),
        tenant: call.tenant.clone(),
        namespace: call.namespace.clone(),
        name: budget.path.name().to_owned().into(),
        options: crate::query::WriteOptions { manager: SERVER.to_owned(), ..call.options.clone() },
        warnings: parking_lot::Mutex::default(),
        old: call.old,
        record: call.record.clone(),
        purse: call.purse.clone(),
    };
    let managed = managers::noted(&one, Part::Status, Some(&mut old), &mut new)?;
    managers::settle(&old, &mut new, managed);
    kind.encode(&new).map_err(Status::internal)
}

/// The budget that is about a pod.
fn budget_of(call: &Call<'_>, pod: &Stored) -> Result<Option<Stored>, Status> {
    let within = Within::Namespace(call.one_tenant()?.clone(), call.namespace.clone().into_owned());
    let header = pod.object.header();
    let mut found: Vec<Stored> = Vec::new();
    for stored in call.engine().snapshot().range(&budgets(), &within, None) {
        let Ok(budget) = PodDisruptionBudget::from_encoded(&stored.object, None) else { continue };
        if budget.spec.selector.is_some_and(|selector| selector.matches_header(header)) {
            found.push(Arc::unwrap_or_clone(stored));
        }
    }
    if found.len() > 1 {
        let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::unexplained(why));
    }
    Ok(found.pop())
}

/// Notes the eviction in a budget's status.
fn charge(call: &Call<'_>, stored: &Stored, budget: &mut PodDisruptionBudget) -> Result<(), Status> {
    let (name, generation) = (stored.path.name(), budget.metadata.generation);
    let status = &mut budget.status;
    if status.observed_generation < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(busy(10, name, &why));
    }
    if status.disruptions_allowed < 0 {
        return Err(Status::forbidden(&budgets(), name, "pdb disruptions allowed is negative"));
    }
    if status.disrupted_pods.len() > NOTED_MAX {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden(&budgets(), name, why));
    }
    if status.disruptions_allowed == 0 {
        return Err(busy(0, name, &why_not(name, status)));
    }
    let now = call.state.config.clock.now();
    status.disruptions_allowed -= 1;
    if status.disruptions_allowed == 0 {
        let condition = Condition {
            reason: "InsufficientPods".to_owned(),
            last_transition_time: Some(now),
            observed_generation: generation,
            ..Condition::new("DisruptionAllowed", "False")
        };
        condition.set(&mut status.conditions);
    }
    status.disrupted_pods.insert(call.name.to_string(), now);
    Ok(())
}

/// Why a budget allows no eviction.
fn why_not(name: &str, status: &PodDisruptionBudgetStatus) -> String {
    let (needs, has) = (status.desired_healthy, status.current_healthy);
    let said = Condition::find(&status.conditions, "DisruptionAllowed");
    let said = said.filter(|said| said.status == "False" && !said.message.is_empty());
    match said {
        // The numbers are not to be trusted then.
        Some(said) if said.reason == "SyncFailed" => {
            let why = &said.message;
            format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}")
        }
        _ if has <= needs => format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently"),
        Some(Condition { reason, message, .. }) => {
            format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}")
        }
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// 429: the budget says no, for now.
fn busy(seconds: u32, budget: &str, why: &str) -> Status {
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = Status::failure(Reason::TooManyRequests, text);
    let details = status.details.get_or_insert_default();
    details.retry_after_seconds = seconds;
    if !budget.is_empty() {
        details.causes.push(crate::query::cause("DisruptionBudget", "", why));
    }
    status
}

fn is_ready(pod: &Object) -> bool {
    let conditions = pod.at(&["status", "conditions"]).and_then(Value::as_array);
    conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"))
}

fn budgets() -> GroupResource {
    GroupResource::new("policy", "poddisruptionbudgets")
}
