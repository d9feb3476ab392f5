//! Expressions in webhooks, policies and selectors of devices.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::super::fault::{Faults, Site, is_empty};
use super::Run;
use crate::cel::types::Type;
use crate::cel::{self, CompileError, Environment, Variables};

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("webhook_conditions", webhook_conditions),
    ("policy_expressions", policy_expressions),
    ("device_expression", device_expression),
];

/// An expression that must come to a value of one of some types.
fn expression(path: &str, source: &Value, environment: &Environment<'_>, wanted: &[&str], faults: &mut Faults) {
    let text = source.as_str().unwrap_or_default();
    if text.trim().is_empty() || !faults.may_read(path, text) {
        return;
    }
    let why = match cel::type_of(text, environment) {
        Err(fault @ CompileError::Constant(_)) => return faults.internal(path, &fault.to_string()),
        Err(fault) => fault.to_string(),
        Ok(found) if wanted.contains(&found.name().as_str()) => return,
        Ok(found) => match wanted {
            [wanted] => format!("must evaluate to {wanted} but got {}", found.name()),
            wanted => format!("must evaluate to one of [{}] but got {}", wanted.join(" "), found.name()),
        },
    };
    faults.invalid(path, source, &why);
}

/// An expression as it is looked at, and shown, where what stands around it does not count.
fn trimmed(source: &Value) -> Value {
    Value::from(source.as_str().unwrap_or_default().trim())
}

/// How many bytes an expression has at most whose value is entered in the audit log.
const AUDIT_EXPRESSION_MAX: usize = 5 * 1024;

/// Upon what something is asked.
fn condition_faults(path: &str, source: &Value, environment: &Environment<'_>, faults: &mut Faults) {
    if source.as_str().is_some_and(|text| !text.is_empty() && text.trim().is_empty()) {
        return faults.required(path, "");
    }
    expression(path, &trimmed(source), environment, &["bool"], faults);
}

/// Upon what webhooks are asked. Stands at the configuration; conditions that an update leaves as they were are not
/// looked at, so that what was taken once keeps nothing else from being changed.
fn webhook_conditions(site: &Site<'_>, faults: &mut Faults) {
    let webhooks = site.list("webhooks");
    let conditions = |webhook: &Value| webhook["matchConditions"].as_array().filter(|all| !all.is_empty()).cloned();
    if let Some(old) = site.old_map.filter(|_| site.updates) {
        let before = old.get("webhooks").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if before.iter().map(conditions).eq(webhooks.iter().map(conditions)) {
            return;
        }
    }
    let environment = Environment::of_request(false, true, false).counting(&faults.2.patterns);
    for (at, webhook) in webhooks.iter().enumerate() {
        for (index, condition) in conditions(webhook).iter().flatten().enumerate() {
            let path = format!("webhooks[{at}].matchConditions[{index}].expression");
            condition_faults(&path, &condition["expression"], &environment, faults);
        }
    }
}

/// The expressions of a policy that an update leaves as they were, and that know what they knew.
struct Kept<'a> {
    all: HashSet<(&'static str, &'static str, &'a str)>,
    conditions: bool,
}

/// Where a policy has expressions that may be kept, beside its conditions.
const PLACES: [(&str, &[&str]); 6] = [
    ("variables", &["expression"]),
    ("validations", &["expression"]),
    ("validations", &["messageExpression"]),
    ("auditAnnotations", &["valueExpression"]),
    ("mutations", &["applyConfiguration", "expression"]),
    ("mutations", &["jsonPatch", "expression"]),
];

/// The expressions of a policy, with where they stand.
fn in_places(policy: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
    PLACES.into_iter().flat_map(|(list, path)| {
        let items = policy.get(list).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(move |item| Some((list, path[0], path.iter().fold(item, |at, step| &at[*step]).as_str()?)))
    })
}

impl<'a> Kept<'a> {
    fn of(site: &'a Site<'_>) -> Self {
        let Some(old) = site.old_map.filter(|_| site.updates) else {
            return Self { all: HashSet::new(), conditions: false };
        };
        let same = |field: &str| {
            let value = |map: &'a Map<String, Value>| map.get(field).filter(|value| !is_empty(value));
            value(old) == value(site.map)
        };
        let (params, variables) = (same("paramKind"), same("variables"));
        let all = if params && variables { in_places(old).collect() } else { HashSet::new() };
        Self { all, conditions: params && same("matchConditions") }
    }

    /// Counts those that are still there, so that others have less room.
    fn count(&self, site: &Site<'_>, faults: &mut Faults) {
        let conditions = site.list("matchConditions").iter().filter(|_| self.conditions);
        conditions.filter_map(|one| one["expression"].as_str()).for_each(|source| faults.keep(source));
        let still = in_places(site.map).filter(|one| one.0 != "variables" && self.all.contains(one));
        still.for_each(|(_, _, source)| faults.keep(source));
    }

    /// Whether an expression was there before: then it was taken before.
    fn has(&self, list: &'static str, path: &[&'static str], source: &Value) -> bool {
        source.as_str().is_some_and(|source| self.all.contains(&(list, path[0], source)))
    }
}

/// The expressions of a policy: each knows the variables, and a variable those before it. Stands at the spec.
fn policy_expressions(site: &Site<'_>, faults: &mut Faults) {
    let params = site.sets("paramKind");
    let patterns = faults.2.patterns.clone();
    let of_request = |authorizer, patches| Environment::of_request(params, authorizer, patches).counting(&patterns);
    // What changes something knows of variables, even where there are none.
    let has_variables = site.has("variables") || site.has("mutations");
    let kept = Kept::of(site);
    kept.count(site, faults);
    for (index, condition) in site.list("matchConditions").iter().enumerate().filter(|_| !kept.conditions) {
        let path = site.sub(&format!("matchConditions[{index}].expression"));
        condition_faults(&path, &condition["expression"], &of_request(true, false), faults);
    }
    let mut variables = Variables::new();
    for (index, variable) in site.list("variables").iter().enumerate() {
        let source = variable["expression"].as_str().unwrap_or_default();
        let path = site.sub(&format!("variables[{index}].expression"));
        if source.trim().is_empty() || !faults.may_read(&path, source) {
            continue;
        }
        let found = match cel::type_of(source, &of_request(true, false).with_variables(&variables)) {
            Ok(found) => Environment::as_variable(&found),
            Err(_) if kept.has("variables", &["expression"], &variable["expression"]) => Type::Dyn,
            Err(fault) => {
                match fault {
                    CompileError::Constant(_) => faults.internal(&path, &fault.to_string()),
                    CompileError::Faulty(_) => faults.invalid(&path, &variable["expression"], &fault.to_string()),
                }
                Type::Dyn
            }
        };
        variables.insert(variable["name"].as_str().unwrap_or_default().to_owned(), found);
    }
    let told = |authorizer, patches| match of_request(authorizer, patches) {
        plain if !has_variables => plain,
        plain => plain.with_variables(&variables),
    };
    for (index, validation) in site.list("validations").iter().enumerate() {
        for (field, authorizer, wanted) in [("expression", true, "bool"), ("messageExpression", false, "string")] {
            if !kept.has("validations", &[field], &validation[field]) {
                let path = site.sub(&format!("validations[{index}].{field}"));
                expression(&path, &validation[field], &told(authorizer, false), &[wanted], faults);
            }
        }
    }
    for (index, annotation) in site.list("auditAnnotations").iter().enumerate() {
        let source = &annotation["valueExpression"];
        if source.as_str().is_some_and(|text| text.trim().len() > AUDIT_EXPRESSION_MAX) {
            let why = format!("must not exceed {AUDIT_EXPRESSION_MAX} bytes in length");
            faults.required(&site.sub(&format!("auditAnnotations[{index}].valueExpression")), &why);
        } else if !kept.has("auditAnnotations", &["valueExpression"], source) {
            let path = site.sub(&format!("auditAnnotations[{index}].valueExpression"));
            expression(&path, source, &told(true, false), &["string", "null_type"], faults);
        }
    }
    for (index, mutation) in site.list("mutations").iter().enumerate() {
        for (kind, field, wanted) in
            [("ApplyConfiguration", "applyConfiguration", "Object"), ("JSONPatch", "jsonPatch", "list(JSONPatch)")]
        {
            let source = &mutation[field]["expression"];
            if mutation["patchType"] == kind && !kept.has("mutations", &[field, "expression"], source) {
                let path = site.sub(&format!("mutations[{index}].{field}.expression"));
                expression(&path, &trimmed(source), &told(true, true), &[wanted], faults);
            }
        }
    }
}

/// How many bytes an expression that selects devices has at most.
const DEVICE_EXPRESSION_MAX: usize = 10 * 1024;

fn device_expression(site: &Site<'_>, faults: &mut Faults) {
    if site.value_text().len() > DEVICE_EXPRESSION_MAX {
        return faults.too_long(&site.path(), DEVICE_EXPRESSION_MAX);
    }
    if site.value_text().is_empty() {
        let why = "compilation failed: ERROR: <input>:1:0: Syntax error: mismatched input '<EOF>' expecting {'[', '{', \
                   '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, \
                   IDENTIFIER}";
        return faults.invalid(&site.path(), &json!(""), why);
    }
    let device = Type::Named("kubernetes.DRADevice");
    let environment = Environment::default().with("device", device).counting(&faults.2.patterns);
    if !faults.may_read(&site.path(), site.value_text()) {
        return;
    }
    let why = match cel::type_of(site.value_text(), &environment) {
        Err(fault) => fault.to_string(),
        Ok(Type::Bool | Type::Dyn) => return,
        Ok(found) => format!("must evaluate to bool or the unknown type, not {}", found.name()),
    };
    faults.invalid(&site.path(), &json!(site.value_text()), &why);
}
