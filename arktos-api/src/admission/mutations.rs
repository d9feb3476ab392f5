//! Policies that change a write on its way, the tenant's own. (MutatingAdmissionPolicy)

use std::sync::LazyLock;

use arktos_core::cel::{CONDITIONS_BUDGET, Unevaluated};
use arktos_core::merge::{self, Patched};
use arktos_core::status::StatusDetails;
use arktos_core::{Dialect, Object, Reason, Status, StatusCause, schema};
use serde_json::Value;

use super::Review;
use super::again::Again;
use super::declared::{Binding, Mutation, Policy};
use super::decoded::One;
use super::policies::{self, Bound, Invocation, Resources, Unasked};
use super::request::{Request, Target};
use crate::call::Call;
use crate::verbs::patch;

/// A policy with its binding and the object that it is parametrized by, by name.
pub(super) type Who = [String; 4];

/// How many faults are told of.
const FAULTS_MAX: usize = 100;

/// Why a policy changes nothing.
enum Fault {
    /// What the policy answers for: it may say to ignore it.
    Said(String),
    /// What it does not.
    Status(Box<Status>),
}

impl From<Unevaluated> for Fault {
    fn from(why: Unevaluated) -> Self {
        Self::Said(why.to_string())
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// The resources of policies that change something, and of their bindings.
pub(super) static MUTATING: LazyLock<Resources> =
    LazyLock::new(|| policies::resources("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"));

/// The tenant's policies that are about a write.
pub(super) fn bound(target: &Target<'_>) -> Vec<Bound> {
    policies::bound(target, &MUTATING)
}

/// Changes a write as the tenant's policies say.
///
/// # Errors
/// 403 when a policy cannot be asked, or what it says cannot be done, and it does not say to ignore that; 500 when
/// what it makes is no object of the kind.
pub(super) fn mutate(
    call: &Call<'_>,
    review: &Review<'_>,
    bound: &[Bound],
    object: &mut Object,
    again: &mut Again<Who>,
) -> Result<(), Status> {
    let now = object.clone();
    let request = Request::of(call, &Review { new: Some(&now), ..*review })?;
    let (asked, unasked) = policies::invocations(&request, bound);
    let mut faults: Vec<(String, Option<Reason>)> = Vec::new();
    for Unasked { policy, binding, why } in unasked.into_iter().filter(|one| !one.policy.ignores_faults()) {
        faults.push((told(policy, binding, &policies::unconfigured(binding, &why)), None));
    }
    let mut dirty = false;
    for invocation in &asked {
        let Invocation { policy, binding, .. } = invocation;
        let mut fail = |why: &str| {
            if !policy.ignores_faults() && faults.len() < FAULTS_MAX {
                faults.push((told(policy, Some(binding), why), Some(Reason::Invalid)));
            }
        };
        match fits(call, review, invocation, object)? {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                fail(&why);
                continue;
            }
        }
        let who = who(invocation);
        if !again.asks(&who) {
            continue;
        }
        let before = object.fields.clone();
        for mutation in &policy.mutations {
            match change(call, review, invocation, mutation, object) {
                Ok(()) => dirty = true,
                Err(Fault::Said(why)) => fail(&why),
                Err(Fault::Status(status)) => return Err(*status),
            }
        }
        if object.fields != before {
            again.change();
        }
        if policy.reinvocation_policy == "IfNeeded" {
            again.ask(who);
        }
    }
    if dirty {
        // Whatever a policy made counts as a change, as upstream has it.
        again.change();
    }
    again.end(&object.fields);
    if faults.is_empty() { Ok(()) } else { Err(refusal(call, object.name(), &faults)) }
}

fn who(Invocation { policy, binding, params }: &Invocation<'_>) -> Who {
    let path = params.as_ref().map(|params| &params.path);
    let namespace = path.map_or("", |path| path.namespace());
    let name = path.map_or("", |path| path.name());
    [policy.name(), binding.name(), namespace, name].map(str::to_owned)
}

fn told(policy: &One<Policy>, binding: Option<&One<Binding>>, why: &str) -> String {
    match binding {
        Some(binding) => {
            format!("policy '{}' with binding '{}' denied request: {why}", policy.name(), binding.name())
        }
        None => format!("policy {:?} denied request: {why}", policy.name()),
    }
}

fn refusal(call: &Call<'_>, name: &str, faults: &[(String, Option<Reason>)]) -> Status {
    let mut status = Status::forbidden(&call.kind.group_resource, name, "");
    if let Some((message, reason)) = faults.first() {
        status.message.clone_from(message);
        status.reason = reason.or(status.reason);
    }
    let cause =
        |message: &String| StatusCause { reason: String::new(), message: message.clone(), field: String::new() };
    status.details.get_or_insert_default().causes.extend(faults.iter().map(|(message, _)| cause(message)));
    status
}

/// Whether the conditions hold upon which a policy is asked, or why that cannot be told.
fn fits(
    call: &Call<'_>,
    review: &Review<'_>,
    invocation: &Invocation<'_>,
    object: &Object,
) -> Result<Result<bool, String>, Status> {
    let conditions = &invocation.policy.match_conditions;
    if conditions.is_empty() {
        return Ok(Ok(true));
    }
    if let Err(why) = call.purse.holds() {
        return Ok(Err(why));
    }
    let request = Request::of(call, &Review { new: Some(object), ..*review })?;
    let mut names = policies::names(&request, invocation);
    names.set("namespaceObject", &Value::Null);
    names.set_budget(CONDITIONS_BUDGET);
    Ok(call.state.expressions.of(call).all_hold(conditions, &names))
}

/// Makes one change.
fn change(
    call: &Call<'_>,
    review: &Review<'_>,
    invocation: &Invocation<'_>,
    mutation: &Mutation,
    object: &mut Object,
) -> Result<(), Fault> {
    call.purse.holds().map_err(Fault::Said)?;
    let request = Request::of(call, &Review { new: Some(object), ..*review })?;
    let mut names = policies::names(&request, invocation);
    policies::set_variables(call, invocation.policy, &mut names);
    let patches = mutation.patch_type == "JSONPatch";
    let how = if patches { &mutation.json_patch } else { &mutation.apply_configuration };
    let patch = call.state.expressions.of(call).change(&how.expression, &names, !patches)?;
    let mut value = request.new.map(Object::into_value).unwrap_or_default();
    if patches {
        let steps = patch.as_array().cloned().unwrap_or_default();
        match merge::json_patch_told(&mut value, steps).map_err(|why| Fault::Said(format!("JSON Patch: {why}")))? {
            Patched::Done => {}
            Patched::Refused => return Ok(()),
        }
    } else {
        let failed = |why: merge::apply::Unmerged| Fault::Said(format!("error applying patch: {why}"));
        value = merge::apply::merged(&call.kind.schema, &value, &patch).map_err(failed)?;
    }
    *object = read(call, value, object, patches)?;
    Ok(())
}

/// What a patch has made is no object of the kind.
fn broken(why: &str) -> Status {
    let cause = StatusCause { reason: String::new(), message: why.to_owned(), field: String::new() };
    Status::internal(why).with_details(StatusDetails { causes: vec![cause], ..StatusDetails::default() })
}

/// What a change has made of an object, in the stored version.
fn read(call: &Call<'_>, value: Value, before: &Object, strict: bool) -> Result<Object, Fault> {
    let types = &call.kind.type_meta;
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    if strict && (text("apiVersion"), text("kind")) != (types.api_version.clone(), types.kind.clone()) {
        let why = format!("no kind {:?} is registered for version {:?}", text("kind"), text("apiVersion"));
        return Err(broken(&why).into());
    }
    let refused = |status: Status| {
        let why = patch::unhandled(call, &status.message).to_owned();
        if strict {
            return Fault::from(broken(&why));
        }
        Fault::Said(patch::unconverted(call, &why))
    };
    let decoded = schema::decode(&call.kind, value, Dialect::Region).map_err(refused)?;
    if strict && call.kind.builtin && !decoded.faults.list.is_empty() {
        return Err(broken(&decoded.faults.strict_text()).into());
    }
    let made = decoded.object;
    let namespace = made.str_at(&["metadata", "namespace"]);
    if !namespace.is_empty() && namespace != before.str_at(&["metadata", "namespace"]) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why).into());
    }
    if made.name() != before.name() {
        let why = format!("the name of an object cannot be changed from {:?} to {:?}", before.name(), made.name());
        return Err(Fault::Said(why));
    }
    Ok(policies::kept(call, made, before))
}
