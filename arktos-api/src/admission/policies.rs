//! Policies in CEL, the tenant's own: what a write must fulfil. (ValidatingAdmissionPolicy)
//!
//! Which of them are asked, and what they are told, is the same for those that change something (`mutations`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arktos_core::catalog::Kind;
use arktos_core::cel::{BUDGET, CONDITIONS_BUDGET, LazyVariables, Scope as Names, Unevaluated};
use arktos_core::selector::LabelSelectorSpec;
use arktos_core::{Dialect, GroupResource, Object, Reason, Scope, Status, StatusCause, TypeMeta, schema};
use arktos_store::{Stored, Within};
use serde_json::{Value, json};

use super::request::Request;
use super::{Review, objects};
use crate::call::Call;

pub(super) const GROUP: &str = "admissionregistration.k8s.io";
/// Under what the audit log says which validations failed whose bindings have the action `Audit`.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";
/// How much of a value is entered in the audit log.
const NOTE_MAX: usize = 10 * 1024;

/// How many objects one binding parametrizes its policy by.
const PARAMS_MAX: usize = 100;

/// A policy with one of its bindings and one of the objects that it is parametrized by.
pub(super) struct Invocation<'a> {
    pub(super) policy: &'a Object,
    pub(super) binding: &'a Object,
    pub(super) params: Option<Arc<Stored>>,
}

/// Why a policy cannot be asked.
pub(super) struct Unasked<'a> {
    pub(super) policy: &'a Object,
    pub(super) binding: Option<&'a Object>,
    pub(super) why: String,
}

/// The policies of a tenant that are bound, with their bindings, by name.
pub(super) fn bound(call: &Call<'_>, policies: &str, bindings: &str) -> Vec<(Object, Vec<Object>)> {
    let mut by_policy: BTreeMap<String, Vec<Object>> = BTreeMap::new();
    for binding in objects(call, GROUP, bindings) {
        let policy = binding.str_at(&["spec", "policyName"]).to_owned();
        by_policy.entry(policy).or_default().push(binding);
    }
    if by_policy.is_empty() {
        return Vec::new();
    }
    let policies = objects(call, GROUP, policies);
    policies.into_iter().filter_map(|policy| by_policy.remove(policy.name()).map(|bound| (policy, bound))).collect()
}

/// Whether what a policy or a binding asks for fits the request. What it leaves open, everything fits.
fn fits(request: &Request<'_>, constraints: Option<&Value>) -> Result<bool, String> {
    let Some(constraints) = constraints else { return Ok(true) };
    let equivalent = constraints["matchPolicy"] != "Exact";
    let rules = &constraints["resourceRules"];
    let ruled = rules.as_array().is_none_or(Vec::is_empty) || request.matches_rules(rules, equivalent);
    Ok(ruled
        && !request.matches_rules(&constraints["excludeResourceRules"], equivalent)
        && request.in_namespaces(&constraints["namespaceSelector"])?
        && request.is_object(&constraints["objectSelector"])?)
}

/// What is to be asked about a request, and what cannot be.
pub(super) fn invocations<'a>(
    request: &Request<'_>,
    bound: &'a [(Object, Vec<Object>)],
) -> (Vec<Invocation<'a>>, Vec<Unasked<'a>>) {
    let (mut asked, mut unasked) = (Vec::new(), Vec::new());
    for (policy, bindings) in bound {
        match fits(request, policy.at(&["spec", "matchConstraints"])) {
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
            let params = match fits(request, binding.at(&["spec", "matchResources"])) {
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

/// The kind of what a policy is parametrized by.
fn param_kind(policy: &Object) -> Option<TypeMeta> {
    let types = policy.at(&["spec", "paramKind"])?;
    let text = |field: &str| types[field].as_str().unwrap_or_default().to_owned();
    Some(TypeMeta { api_version: text("apiVersion"), kind: text("kind") })
}

/// Why a policy cannot be parametrized: nobody knows the kind.
fn unknown_params(call: &Call<'_>, policy: &Object) -> Option<String> {
    let types = param_kind(policy)?;
    let told = call.state.kinds.described(call.tenant.as_ref());
    let known = told.catalog.kinds().any(|kind| *kind.type_meta == types);
    (!known).then(|| {
        let core = if types.api_version.contains('/') { "" } else { "/" };
        let (version, kind) = (types.api_version, types.kind);
        format!("failed to find resource referenced by paramKind: '{core}{version}, Kind={kind}'")
    })
}

/// The objects that a binding parametrizes its policy by; one `None` where there are to be none.
fn params(call: &Call<'_>, policy: &Object, binding: &Object) -> Result<Vec<Option<Arc<Stored>>>, String> {
    let Some(types) = param_kind(policy) else { return Ok(vec![None]) };
    let Some(reference) = binding.at(&["spec", "paramRef"]) else { return Ok(vec![None]) };
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let told = call.state.kinds.described(call.tenant.as_ref());
    let kind = told.catalog.kinds().find(|kind| *kind.type_meta == types);
    let kind = kind.ok_or_else(|| format!("paramKind kind `{}, Kind={}` not known", types.api_version, types.kind))?;
    let found = referred(call, kind, reference, &text(reference, "namespace"), &text(reference, "name"))?;
    match (found.is_empty(), reference["parameterNotFoundAction"].as_str()) {
        (false, _) => Ok(found.into_iter().map(Some).collect()),
        (true, Some("Allow")) => Ok(Vec::new()),
        (true, _) => Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()),
    }
}

fn referred(
    call: &Call<'_>,
    kind: &Kind,
    reference: &Value,
    namespace: &str,
    name: &str,
) -> Result<Vec<Arc<Stored>>, String> {
    let tenant = call.tenant.clone().ok_or("policies are a tenant's")?;
    let within = match kind.scope {
        Scope::Namespace => {
            let own = if namespace.is_empty() { &*call.namespace } else { namespace };
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
    let selector: Option<LabelSelectorSpec> =
        reference.get("selector").and_then(|selector| serde_json::from_value(selector.clone()).ok());
    let selector = selector.map(|spec| spec.selector().map_err(|error| error.to_string())).transpose()?;
    let snapshot = call.state.config.engine.snapshot();
    let found = snapshot.range(&kind.storage_resource, &within, None).filter(|stored| match &selector {
        Some(selector) => selector.matches_header(stored.object.header()),
        None => stored.path.name() == name,
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
pub(super) fn set_variables(call: &Call<'_>, policy: &Object, names: &mut Names) {
    if call.purse.holds().is_err() {
        return;
    }
    let expressions = call.state.expressions.of(call);
    let mut variables = LazyVariables::default();
    for variable in policy.at(&["spec", "variables"]).and_then(Value::as_array).into_iter().flatten() {
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        variables.add(text("name"), expressions.get(text("expression")));
    }
    names.set_variables(variables);
}

/// Why a policy cannot be asked, as it is said.
pub(super) fn unconfigured(binding: Option<&Object>, why: &str) -> String {
    format!("failed to configure {}: {why}", if binding.is_some() { "binding" } else { "policy" })
}

pub(super) fn ignores_faults(policy: &Object) -> bool {
    policy.str_at(&["spec", "failurePolicy"]) == "Ignore"
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

/// Judges a write by the tenant's policies.
///
/// # Errors
/// 422, or as the policy says, for what a policy denies.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let bound = bound(call, "validatingadmissionpolicies", "validatingadmissionpolicybindings");
    if bound.is_empty() || call.kind.group == GROUP {
        return Ok(());
    }
    judge(&Request::of(call, review)?, &bound)
}

/// The same of a connection, which is no write.
///
/// # Errors
/// As [`validate`].
pub(super) fn connect(request: &Request<'_>) -> Result<(), Status> {
    judge(request, &bound(request.call, "validatingadmissionpolicies", "validatingadmissionpolicybindings"))
}

fn judge(request: &Request<'_>, bound: &[(Object, Vec<Object>)]) -> Result<(), Status> {
    let call = request.call;
    let (asked, unasked) = invocations(request, bound);
    let mut denied: Vec<(String, Finding)> = Vec::new();
    let (mut notes, mut failures) = (BTreeMap::new(), Vec::new());
    for Unasked { policy, binding, why } in unasked.into_iter().filter(|unasked| !ignores_faults(unasked.policy)) {
        let message = unconfigured(binding, &why);
        denied.push((who(policy, binding), Finding { message, reason: String::new(), at: 0 }));
    }
    for invocation in asked {
        let actions = invocation.binding.at(&["spec", "validationActions"]).and_then(Value::as_array);
        let acts = |action: &str| actions.is_some_and(|actions| actions.iter().any(|one| one == action));
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

fn who(policy: &Object, binding: Option<&Object>) -> String {
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
        |message: String, at: usize| (!ignores_faults(policy)).then(|| Finding { message, reason: String::new(), at });
    let alone = |message: String| Verdict { findings: fault(message, 0).into_iter().collect(), notes: Vec::new() };
    let mut names = names(request, invocation);
    let conditions = policy.at(&["spec", "matchConditions"]).unwrap_or(&Value::Null);
    if conditions.as_array().is_some_and(|conditions| !conditions.is_empty()) {
        // As upstream has it, conditions do not know the namespace.
        let mut known = self::names(request, invocation);
        known.set("namespaceObject", &Value::Null);
        known.set_budget(CONDITIONS_BUDGET);
        match expressions.all_hold(conditions, &known) {
            Ok(true) => {}
            Ok(false) => return Verdict::default(),
            Err(why) => return alone(why),
        }
    }
    set_variables(request.call, policy, &mut names);
    let list = |field: &str| policy.at(&["spec", field]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let validations = list("validations");
    let mut held: Vec<Result<bool, String>> = Vec::with_capacity(validations.len());
    for validation in validations {
        match expressions.evaluate(validation["expression"].as_str().unwrap_or_default(), &names) {
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
    for note in list("auditAnnotations") {
        let text = |field: &str| note[field].as_str().unwrap_or_default();
        match expressions.evaluate(text("valueExpression"), &names) {
            Ok(Value::String(value)) if !value.trim().is_empty() => {
                verdict.notes.push((text("key").to_owned(), cut(value.trim(), NOTE_MAX).to_owned()));
            }
            Ok(Value::String(_) | Value::Null) => {}
            Ok(_) => verdict.findings.extend(fault(
                format!("valueExpression {:?} resulted in neither a string nor null", text("valueExpression")),
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
    fn of(request: &Request<'_>, validations: &[Value], held: &[Result<bool, String>], names: &mut Names) -> Self {
        let source = |validation: &'_ Value| validation["messageExpression"].as_str().unwrap_or_default().to_owned();
        let count = validations.iter().filter(|one| !source(one).trim().is_empty()).count() as u64;
        // What holds needs no words, unless there are so many expressions that they could cost too much.
        if held.iter().all(|held| matches!(held, Ok(true))) && count.saturating_mul(2 << 20) <= names.budget() {
            return Self::Each(Vec::new());
        }
        names.renew();
        let mut said = Vec::with_capacity(validations.len());
        for validation in validations {
            let source = source(validation);
            said.push(match source.trim() {
                "" => None,
                _ => match request.call.state.expressions.of(request.call).evaluate(&source, names) {
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
fn failed_validation(validation: &Value, said: &Said, at: usize) -> Finding {
    let text = |field: &str| validation[field].as_str().unwrap_or_default().trim();
    let said = said.at(at).trim();
    let said = if said.contains('\n') || said.len() > 5 * 1024 { "" } else { said };
    let message = match (said, text("message")) {
        ("", "") => format!("failed expression: {}", text("expression")),
        ("", message) => message.to_owned(),
        (said, _) => said.to_owned(),
    };
    Finding { message, reason: text("reason").to_owned(), at }
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
