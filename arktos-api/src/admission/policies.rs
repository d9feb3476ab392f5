//! Policies in CEL, the tenant's own: what a write must fulfil. (ValidatingAdmissionPolicy)
//!
//! Which of them are asked, and what they are told, is the same for those that change something (`mutations`).

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arktos_core::catalog::Kind;
use arktos_core::cel::{BUDGET, CONDITIONS_BUDGET, LazyVariables, Scope as Names, Unevaluated};
use arktos_core::{Dialect, GroupResource, Object, Reason, Scope, Status, StatusCause, schema};
use arktos_store::{Stored, Within};
use serde_json::{Value, json};

use super::declared::{Binding, Matching, ParamRef, Policy, Validation};
use super::decoded::One;
use super::list;
use super::request::{Request, Target};
use crate::call::Call;

pub(super) const GROUP: &str = "admissionregistration.k8s.io";
/// The resources of policies, and of their bindings.
pub(super) type Resources = (GroupResource, GroupResource);
/// Of those that judge.
pub(super) static VALIDATING: LazyLock<Resources> =
    LazyLock::new(|| resources("validatingadmissionpolicies", "validatingadmissionpolicybindings"));
/// Under what the audit log says which validations failed whose bindings have the action `Audit`.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";
/// How much of a value is entered in the audit log.
const NOTE_MAX: usize = 10 * 1024;

/// How many objects one binding parametrizes its policy by.
const PARAMS_MAX: usize = 100;

/// A policy that is about a request, and those of its bindings that are.
pub(super) struct Bound {
    policy: Arc<One<Policy>>,
    bindings: Vec<Arc<One<Binding>>>,
}

/// A policy with one of its bindings and one of the objects that it is parametrized by.
pub(super) struct Invocation<'a> {
    pub(super) policy: &'a One<Policy>,
    pub(super) binding: &'a One<Binding>,
    pub(super) params: Option<Arc<Stored>>,
}

/// Why a policy cannot be asked.
pub(super) struct Unasked<'a> {
    pub(super) policy: &'a One<Policy>,
    pub(super) binding: Option<&'a One<Binding>>,
    pub(super) why: String,
}

pub(super) fn resources(policies: &str, bindings: &str) -> Resources {
    (GroupResource::new(GROUP, policies), GroupResource::new(GROUP, bindings))
}

/// The policies of a tenant that are bound and whose rules are about a request, by name.
pub(super) fn bound(target: &Target<'_>, (policies, bindings): &Resources) -> Vec<Bound> {
    let call = target.call;
    if call.kind.group == GROUP {
        return Vec::new();
    }
    let bindings = list::<Binding>(call, bindings, "");
    if bindings.is_empty() {
        return Vec::new();
    }
    let mut bound = Vec::new();
    for policy in list::<Policy>(call, policies, "").iter() {
        if !target.fits(policy.match_constraints.as_ref()) {
            continue;
        }
        let bindings = bindings.found_by(policy.name());
        if !bindings.is_empty() {
            let about = bindings.iter().filter(|binding| target.fits(binding.match_resources.as_ref()));
            bound.push(Bound { policy: policy.clone(), bindings: about.cloned().collect() });
        }
    }
    bound
}

/// Whether a policy or a binding, whose rules are about a request, selects the object and its namespace.
fn selects(request: &Request<'_>, matching: Option<&Matching>) -> Result<bool, String> {
    let Some(matching) = matching else { return Ok(true) };
    Ok(request.in_namespaces(&matching.namespace_selector)? && request.is_object(&matching.object_selector)?)
}

/// What is to be asked about a request, and what cannot be.
pub(super) fn invocations<'a>(request: &Request<'_>, bound: &'a [Bound]) -> (Vec<Invocation<'a>>, Vec<Unasked<'a>>) {
    let (mut asked, mut unasked) = (Vec::new(), Vec::new());
    for Bound { policy, bindings } in bound {
        let policy: &One<Policy> = policy;
        match selects(request, policy.match_constraints.as_ref()) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(why) => {
                unasked.push(Unasked { policy, binding: None, why });
                continue;
            }
        }
        if let Some(why) = unknown_params(request.call, policy) {
            unasked.push(Unasked { policy, binding: None, why });
            continue;
        }
        for binding in bindings {
            let binding: &One<Binding> = binding;
            let params = match selects(request, binding.match_resources.as_ref()) {
                Ok(true) => params(request.call, policy, binding),
                Ok(false) => continue,
                Err(why) => Err(why),
            };
            match params {
                Ok(params) => asked.extend(params.into_iter().map(|params| Invocation { policy, binding, params })),
                Err(why) => unasked.push(Unasked { policy, binding: Some(binding), why }),
            }
        }
    }
    (asked, unasked)
}

/// Why a policy cannot be parametrized: nobody knows the kind.
fn unknown_params(call: &Call<'_>, policy: &Policy) -> Option<String> {
    let types = policy.params()?;
    let told = call.state.kinds.described(call.tenant.as_ref());
    let known = told.catalog.kinds().any(|kind| *kind.type_meta == types);
    (!known).then(|| {
        let core = if types.api_version.contains('/') { "" } else { "/" };
        let (version, kind) = (types.api_version, types.kind);
        format!("failed to find resource referenced by paramKind: '{core}{version}, Kind={kind}'")
    })
}

/// The objects that a binding parametrizes its policy by; one `None` where there are to be none.
fn params(call: &Call<'_>, policy: &Policy, binding: &Binding) -> Result<Vec<Option<Arc<Stored>>>, String> {
    let Some(types) = policy.params() else { return Ok(vec![None]) };
    let Some(reference) = &binding.param_ref else { return Ok(vec![None]) };
    let told = call.state.kinds.described(call.tenant.as_ref());
    let kind = told.catalog.kinds().find(|kind| *kind.type_meta == types);
    let kind = kind.ok_or_else(|| format!("paramKind kind `{}, Kind={}` not known", types.api_version, types.kind))?;
    let found = referred(call, kind, reference)?;
    match (found.is_empty(), reference.parameter_not_found_action.as_str()) {
        (false, _) => Ok(found.into_iter().map(Some).collect()),
        (true, "Allow") => Ok(Vec::new()),
        (true, _) => Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()),
    }
}

fn referred(call: &Call<'_>, kind: &Kind, reference: &ParamRef) -> Result<Vec<Arc<Stored>>, String> {
    let ParamRef { name, namespace, selector, .. } = reference;
    let tenant = call.tenant.clone().ok_or("policies are a tenant's")?;
    let within = match kind.scope {
        Scope::Namespace => {
            let own = if namespace.is_empty() { &*call.namespace } else { namespace.as_str() };
            if own.is_empty() {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned()
                );
            }
            Within::Namespace(tenant, own.to_owned())
        }
        _ if !namespace.is_empty() => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        Scope::Tenant => Within::Tenant(tenant),
        Scope::Region => return Err(format!("objects of kind {} are no tenant's", kind.kind)),
    };
    let selector = selector.as_ref().map(|spec| spec.selector().map_err(|error| error.to_string())).transpose()?;
    let snapshot = call.state.config.engine.snapshot();
    let found = snapshot.range(&kind.storage_resource, &within, None).filter(|stored| match &selector {
        Some(selector) => selector.matches_header(stored.object.header()),
        None => stored.path.name() == *name,
    });
    let found: Vec<Arc<Stored>> = found.take(PARAMS_MAX + 1).collect();
    if found.len() > PARAMS_MAX {
        return Err(format!("paramRef selects more than {PARAMS_MAX} objects"));
    }
    Ok(found)
}

/// The names that an invocation's expressions know: the request's, and its parameters, which are not read before.
/// Once the call has spent all that it may, nothing is read for what is not evaluated any more.
pub(super) fn names(request: &Request<'_>, invocation: &Invocation<'_>) -> Names {
    let mut names = request.names();
    let params = invocation.params.as_ref().filter(|_| request.call.purse.holds().is_ok());
    let params = params.and_then(|params| params.object.decode(Some(params.revision)).ok());
    names.set("params", &params.map_or(Value::Null, |params| Value::Object(params.fields)));
    names
}

/// Lets the names stand for a policy's variables. Once the call has spent all that it may, nobody asks for them.
pub(super) fn set_variables(call: &Call<'_>, policy: &Policy, names: &mut Names) {
    if call.purse.holds().is_err() {
        return;
    }
    let expressions = call.state.expressions.of(call);
    let mut variables = LazyVariables::default();
    for variable in &policy.variables {
        variables.add(&variable.name, expressions.get(&variable.expression));
    }
    names.set_variables(variables);
}

/// Why a policy cannot be asked, as it is said.
pub(super) fn unconfigured(binding: Option<&One<Binding>>, why: &str) -> String {
    format!("failed to configure {}: {why}", if binding.is_some() { "binding" } else { "policy" })
}

/// What a policy has found against a write.
struct Finding {
    message: String,
    reason: String,
    /// Which of its validations; the first, for what is not about one.
    at: usize,
}

/// What one invocation says of a write.
#[derive(Default)]
struct Verdict {
    findings: Vec<Finding>,
    /// What it wants entered in the audit log.
    notes: Vec<(String, String)>,
}

/// Judges a request by the tenant's policies; it is made only where one of them is about it.
///
/// # Errors
/// 422, or as the policy says, for what a policy denies.
pub(super) fn judge<'a>(
    target: &Target<'a>,
    request: impl FnOnce() -> Result<Request<'a>, Status>,
) -> Result<(), Status> {
    let bound = bound(target, &VALIDATING);
    if bound.is_empty() { Ok(()) } else { ask(&request()?, &bound) }
}

fn ask(request: &Request<'_>, bound: &[Bound]) -> Result<(), Status> {
    let call = request.call;
    let (asked, unasked) = invocations(request, bound);
    let mut denied: Vec<(String, Finding)> = Vec::new();
    let (mut notes, mut failures) = (BTreeMap::new(), Vec::new());
    for Unasked { policy, binding, why } in unasked.into_iter().filter(|unasked| !unasked.policy.ignores_faults()) {
        let message = unconfigured(binding, &why);
        denied.push((who(policy, binding), Finding { message, reason: String::new(), at: 0 }));
    }
    for invocation in asked {
        let actions = &invocation.binding.validation_actions;
        let acts = |action: &str| actions.iter().any(|one| one == action);
        let verdict = verdict(request, &invocation);
        for (key, value) in verdict.notes {
            let of_key: &mut Vec<String> = notes.entry(format!("{}/{key}", invocation.policy.name())).or_default();
            if !of_key.contains(&value) {
                of_key.push(value);
            }
        }
        for finding in verdict.findings {
            if acts("Audit") {
                failures.push(json!({
                    "message": finding.message, "policy": invocation.policy.name(), "binding": invocation.binding.name(),
                    "expressionIndex": finding.at, "validationActions": actions,
                }));
            }
            let who = who(invocation.policy, Some(invocation.binding));
            if acts("Warn") {
                call.warn(format!("Validation failed for {who}: {}", finding.message));
            }
            if acts("Deny") {
                denied.push((who, finding));
            }
        }
    }
    notes.iter().for_each(|(key, values)| call.annotate(key, &values.join(", ")));
    if !failures.is_empty() {
        call.annotate(FAILURE, &Value::Array(failures).to_string());
    }
    match denied.into_iter().next() {
        Some((who, finding)) => Err(refusal(call, &request.name, &who, &finding)),
        None => Ok(()),
    }
}

fn who(policy: &One<Policy>, binding: Option<&One<Binding>>) -> String {
    let binding = binding.map(|binding| format!(" with binding '{}'", binding.name())).unwrap_or_default();
    format!("ValidatingAdmissionPolicy '{}'{binding}", policy.name())
}

fn refusal(call: &Call<'_>, name: &str, who: &str, finding: &Finding) -> Status {
    let message = format!("{who} denied request: {}", finding.message);
    let mut status = Status::forbidden(&call.kind.group_resource, name, &message);
    let (reason, code) = match finding.reason.as_str() {
        "Forbidden" => (Reason::Forbidden, 403),
        "Unauthorized" => (Reason::Unauthorized, 401),
        "RequestEntityTooLarge" => (Reason::RequestEntityTooLarge, 413),
        _ => (Reason::Invalid, 422),
    };
    status.reason = Some(reason);
    status.code = code;
    let cause = StatusCause { reason: String::new(), message, field: String::new() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

/// What one invocation says of the request.
fn verdict(request: &Request<'_>, invocation: &Invocation<'_>) -> Verdict {
    let policy = invocation.policy;
    let expressions = request.call.state.expressions.of(request.call);
    let fault =
        |message: String, at: usize| (!policy.ignores_faults()).then(|| Finding { message, reason: String::new(), at });
    let alone = |message: String| Verdict { findings: fault(message, 0).into_iter().collect(), notes: Vec::new() };
    let mut names = names(request, invocation);
    if !policy.match_conditions.is_empty() {
        // As upstream has it, conditions do not know the namespace.
        let mut known = self::names(request, invocation);
        known.set("namespaceObject", &Value::Null);
        known.set_budget(CONDITIONS_BUDGET);
        match expressions.all_hold(&policy.match_conditions, &known) {
            Ok(true) => {}
            Ok(false) => return Verdict::default(),
            Err(why) => return alone(why),
        }
    }
    set_variables(request.call, policy, &mut names);
    let validations = &policy.validations;
    let mut held: Vec<Result<bool, String>> = Vec::with_capacity(validations.len());
    for validation in validations {
        match expressions.evaluate(&validation.expression, &names) {
            Ok(found) => held.push(Ok(found == Value::Bool(true))),
            Err(Unevaluated::Budget) => return alone(Unevaluated::Budget.to_string()),
            Err(why) => held.push(Err(why.to_string())),
        }
    }
    let said = Said::of(request, validations, &held, &mut names);
    let mut verdict = Verdict::default();
    for (at, (validation, held)) in validations.iter().zip(held).enumerate() {
        match (held, &said) {
            (Err(why), _) => verdict.findings.extend(fault(why, at)),
            (Ok(_), Said::Budget) => {
                verdict.findings.extend(fault(format!("failed messageExpression: {}", Unevaluated::Budget), at));
            }
            (Ok(true), _) => {}
            (Ok(false), said) => verdict.findings.push(failed_validation(validation, said, at)),
        }
    }
    names.renew();
    names.set_budget(BUDGET);
    for note in &policy.audit_annotations {
        match expressions.evaluate(&note.value_expression, &names) {
            Ok(Value::String(value)) if !value.trim().is_empty() => {
                verdict.notes.push((note.key.clone(), cut(value.trim(), NOTE_MAX).to_owned()));
            }
            Ok(Value::String(_) | Value::Null) => {}
            Ok(_) => verdict.findings.extend(fault(
                format!("valueExpression {:?} resulted in neither a string nor null", note.value_expression),
                0,
            )),
            Err(Unevaluated::Budget) => return alone(Unevaluated::Budget.to_string()),
            Err(why) => verdict.findings.extend(fault(why.to_string(), 0)),
        }
    }
    verdict
}

/// What is said where validations do not hold.
enum Said {
    /// For each validation what its expression for that comes to, where it has one.
    Each(Vec<Option<String>>),
    /// They cost more than was left.
    Budget,
}

impl Said {
    /// All are evaluated, also those of what holds: they may cost too much.
    fn of(request: &Request<'_>, validations: &[Validation], held: &[Result<bool, String>], names: &mut Names) -> Self {
        let count = validations.iter().filter(|one| !one.message_expression.trim().is_empty()).count() as u64;
        // What holds needs no words, unless there are so many expressions that they could cost too much.
        if held.iter().all(|held| matches!(held, Ok(true))) && count.saturating_mul(2 << 20) <= names.budget() {
            return Self::Each(Vec::new());
        }
        names.renew();
        let mut said = Vec::with_capacity(validations.len());
        for validation in validations {
            let source = &validation.message_expression;
            said.push(match source.trim() {
                "" => None,
                _ => match request.call.state.expressions.of(request.call).evaluate(source, names) {
                    Ok(Value::String(text)) => Some(text),
                    Ok(_) | Err(Unevaluated::Said(_) | Unevaluated::Misplaced(_)) => None,
                    Err(Unevaluated::Budget) => return Self::Budget,
                },
            });
        }
        Self::Each(said)
    }

    fn at(&self, at: usize) -> &str {
        match self {
            Self::Each(all) => all.get(at).and_then(Option::as_deref).unwrap_or_default(),
            Self::Budget => "",
        }
    }
}

/// As much of a text as fits, of whole letters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a validation that does not hold says.
fn failed_validation(validation: &Validation, said: &Said, at: usize) -> Finding {
    let said = said.at(at).trim();
    let said = if said.contains('\n') || said.len() > 5 * 1024 { "" } else { said };
    let message = match (said, validation.message.trim()) {
        ("", "") => format!("failed expression: {}", validation.expression.trim()),
        ("", message) => message.to_owned(),
        (said, _) => said.to_owned(),
    };
    Finding { message, reason: validation.reason.trim().to_owned(), at }
}

/// What became of an object on its way, in the stored version. Who it is stays.
///
/// # Errors
/// When it is no object of the kind any more.
pub(super) fn read(call: &Call<'_>, value: Value, before: &Object) -> Result<Object, Status> {
    Ok(kept(call, schema::decode(&call.kind, value, Dialect::Region)?.object, before))
}

/// An object that was made of another, in the stored version. Who it is stays.
pub(super) fn kept(call: &Call<'_>, made: Object, before: &Object) -> Object {
    let mut object = arktos_core::rules::convert::to_storage(&call.kind, made);
    for field in ["apiVersion", "kind"] {
        object.set(&[field], before.str_at(&[field]));
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "tenant"] {
        match before.at(&["metadata", field]).cloned() {
            Some(value) => object.set(&["metadata", field], value),
            None => {
                object.remove(&["metadata", field]);
            }
        }
    }
    object.notes.clone_from(&before.notes);
    object
}

/// The resources that neither policies nor webhooks are asked about: with them one could lock oneself out.
pub(super) fn is_exempt(resource: &GroupResource) -> bool {
    matches!(
        resource.as_str(),
        "validatingwebhookconfigurations.admissionregistration.k8s.io"
            | "mutatingwebhookconfigurations.admissionregistration.k8s.io"
            | "validatingadmissionpolicies.admissionregistration.k8s.io"
            | "validatingadmissionpolicybindings.admissionregistration.k8s.io"
            | "mutatingadmissionpolicies.admissionregistration.k8s.io"
            | "mutatingadmissionpolicybindings.admissionregistration.k8s.io"
    )
}
