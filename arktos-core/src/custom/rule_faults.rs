//! Whether the rules of a schema may be taken: what is said beside them, whether they can be read, what they may cost.

use std::collections::HashSet;

use serde_json::Value;

use super::cel_types::{Seen, cel_type, count};
use super::schema_faults::field_path_leads;
use super::structural::{Structural, Values};
use crate::cel::tree::Tree;
use crate::cel::types::Type;
use crate::cel::{self, Environment};
use crate::rules::fault::Faults;
use crate::schema::ListKind;

/// What one rule may cost.
const RULE_BUDGET: u64 = 10_000_000;
/// What all rules of a schema may cost together.
const SCHEMA_BUDGET: u64 = 100_000_000;
/// Checks all rules of a schema; those that `old` has as well may cost what they did.
pub(super) fn check(schema: &Value, old: Option<&Value>, at: &str, faults: &mut Faults) {
    let compiled = Structural::compile(schema);
    if !compiled.ruled {
        return;
    }
    let mut walk = Walk { total: 0, known: HashSet::new(), faults };
    if let Some(old) = old {
        rules_of(old, &mut walk.known);
    }
    walk.node(schema, &compiled, at, &Place { times: 1, correlates: true, root: true });
    if walk.total > SCHEMA_BUDGET {
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let why = over_budget(name, walk.total, SCHEMA_BUDGET);
        walk.faults.forbidden(at, &why);
    }
}

fn rules_of(schema: &Value, all: &mut HashSet<String>) {
    match schema {
        Value::Object(map) => {
            for (name, value) in map {
                match (name.as_str(), value) {
                    ("x-kubernetes-validations", Value::Array(rules)) => {
                        all.extend(rules.iter().filter_map(|rule| rule["rule"].as_str().map(str::to_owned)));
                    }
                    _ => rules_of(value, all),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| rules_of(item, all)),
        _ => {}
    }
}

fn over_budget(name: &str, cost: u64, budget: u64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let factor = cost as f64 / budget as f64;
    let factor = match factor {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// Where a part of a schema stands.
struct Place {
    /// How often its value may be there.
    times: u64,
    /// Whether its value can be found in the old object.
    correlates: bool,
    root: bool,
}

struct Walk<'a> {
    total: u64,
    /// The rules that were there before.
    known: HashSet<String>,
    faults: &'a mut Faults,
}

impl Walk<'_> {
    fn node(&mut self, schema: &Value, compiled: &Structural, at: &str, place: &Place) {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
        for (index, rule) in rules.enumerate() {
            self.rule(rule, schema, compiled, &format!("{at}.x-kubernetes-validations[{index}]"), place);
        }
        for (name, field) in &compiled.properties {
            let below = Place { root: false, ..*place };
            self.node(&schema["properties"][&**name], field, &format!("{at}.properties[{name}]"), &below);
        }
        if let Some(items) = &compiled.items {
            let times = place.times.saturating_mul(count(compiled.limits.max_items, items));
            let below = Place { times, correlates: place.correlates && compiled.list == ListKind::Map, root: false };
            self.node(&schema["items"], items, &format!("{at}.items"), &below);
        }
        if let Values::Schema(values) = &compiled.values {
            let times = place.times.saturating_mul(count(compiled.limits.max_properties, values));
            let below = Place { times, root: false, ..*place };
            self.node(&schema["additionalProperties"], values, &format!("{at}.additionalProperties"), &below);
        }
    }

    fn rule(&mut self, rule: &Value, schema: &Value, compiled: &Structural, at: &str, place: &Place) {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or("");
        self.words(rule, schema, at);
        let source = text("rule");
        if source.trim().is_empty() {
            return;
        }
        let seen = Seen { schema: compiled, root: place.root, optional: rule["optionalOldSelf"] == true };
        let own = cel_type(compiled, place.root);
        let old = if seen.optional { Type::optional(own.clone()) } else { own.clone() };
        let patterns = &self.faults.2.patterns;
        let environment = Environment::default().counting(patterns).with("self", own).with("oldSelf", old);
        // What was taken before stays, though it would not be taken today.
        let known = self.known.contains(source);
        match cel::type_of(source, &environment) {
            Err(_) if known => {}
            Err(why) => self.faults.invalid_text(&format!("{at}.rule"), &shown(rule), &why.to_string()),
            Ok(found) if !known && !matches!(found, Type::Bool | Type::Dyn) => {
                let why = "cel expression must evaluate to a bool";
                self.faults.invalid_text(&format!("{at}.rule"), &shown(rule), why);
            }
            Ok(_) => {
                let compares = Tree::read(source).is_some_and(|tree| tree.has_variable("oldSelf"));
                if compares && !place.correlates {
                    let why = "oldSelf cannot be used on the uncorrelatable portion of the schema";
                    self.faults.invalid(&format!("{at}.rule"), &source.into(), why);
                }
                let once = seen.compile(source).map_or(0, |typed| typed.cost);
                let cost = once.saturating_mul(place.times);
                self.total = self.total.saturating_add(cost);
                if cost > RULE_BUDGET && !known {
                    let why = over_budget("estimated rule cost", cost, RULE_BUDGET);
                    self.faults.forbidden(&format!("{at}.rule"), &why);
                }
            }
        }
        let message = text("messageExpression");
        if message.trim().is_empty() {
            return;
        }
        match cel::type_of(message, &environment) {
            Err(why) => {
                let why = format!("messageExpression {why}");
                self.faults.invalid_text(&format!("{at}.messageExpression"), &shown(rule), &why);
            }
            Ok(found) if !matches!(found, Type::String | Type::Dyn) => {
                let why = "messageExpression must evaluate to a string";
                self.faults.invalid_text(&format!("{at}.messageExpression"), &shown(rule), why);
            }
            Ok(_) => {}
        }
    }

    /// What is said beside the rule.
    fn words(&mut self, rule: &Value, schema: &Value, at: &str) {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or("");
        let faults = &mut *self.faults;
        if text("rule").trim().is_empty() {
            faults.required(&format!("{at}.rule"), "rule is not specified");
        }
        if text("rule").contains('\n') && text("message").is_empty() {
            let why = "message must be specified if rule contains line breaks";
            faults.required(&format!("{at}.message"), why);
        }
        let message = text("message");
        if !message.is_empty() && message.trim().is_empty() {
            faults.invalid(&format!("{at}.message"), &message.into(), "must be non-empty if specified");
        } else if message.trim().contains('\n') {
            faults.invalid(&format!("{at}.message"), &message.into(), "must not contain line breaks");
        }
        let expression = text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            faults.required(&format!("{at}.messageExpression"), why);
        }
        let reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
        if rule.get("reason").is_some_and(Value::is_string) && !reasons.contains(&text("reason")) {
            faults.not_supported(&format!("{at}.reason"), &text("reason").into(), &reasons);
        }
        if rule["optionalOldSelf"].is_boolean()
            && !Tree::read(text("rule")).is_some_and(|tree| tree.has_variable("oldSelf"))
        {
            let why = "may not be set if oldSelf is not used in rule";
            faults.invalid(&format!("{at}.optionalOldSelf"), &rule["optionalOldSelf"], why);
        }
        let path = text("fieldPath");
        if path.contains('\n') {
            faults.invalid(&format!("{at}.fieldPath"), &path.into(), "must not contain line breaks");
        }
        if !path.is_empty() && !field_path_leads(schema, path) {
            let why = "must be a valid path";
            faults.invalid(&format!("{at}.fieldPath"), &path.into(), why);
        }
    }
}

/// A rule as upstream holds it, which is how its messages show it.
fn shown(rule: &Value) -> String {
    let text = |field: &str| Value::from(rule.get(field).and_then(Value::as_str).unwrap_or(""));
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        rule["reason"],
        text("fieldPath"),
        rule["optionalOldSelf"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(schema: &Value) -> Vec<(String, String)> {
        let mut faults = Faults::default();
        check(schema, None, "s", &mut faults);
        faults.0.into_iter().map(|fault| (fault.field, fault.message)).collect()
    }

    fn one(schema: Value, rule: &str) -> Vec<(String, String)> {
        let mut schema = schema;
        schema["x-kubernetes-validations"] = json!([{ "rule": rule }]);
        told(&json!({"type": "object", "properties": {"a": schema}}))
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let text = json!({"type": "string", "maxLength": 10});
        let object = json!({"type": "object", "properties": {"b": {"type": "integer"}}});
        for (schema, rule, what) in [
            (
                &text,
                "self.foo == 1",
                "ERROR: <input>:1:5: type 'string' does not support field selection\n | self.foo == 1\n | ....^",
            ),
            (&text, "self +", "ERROR: <input>:1:7: Syntax error"),
            (&text, "other == 1", "ERROR: <input>:1:1: undeclared reference to 'other' (in container '')"),
            (
                &text,
                "self == 1",
                "ERROR: <input>:1:6: found no matching overload for '_==_' applied to '(string, int)'",
            ),
            (&object, "self.c == 1", "ERROR: <input>:1:5: undefined field 'c'"),
            (&text, "self.odd()", "undeclared reference to 'odd'"),
            (&object, "self.b", "must evaluate to a bool"),
        ] {
            let told = one(schema.clone(), rule);
            let [(field, message)] = told.as_slice() else { panic!("{rule}: {told:?}") };
            assert_eq!(field, "s.properties[a].x-kubernetes-validations[0].rule");
            assert!(message.contains(what), "{rule}: {message}");
        }
        for rule in ["self.b > 1 && self.b < 3.5", "has(self.b)", "type(self.b) == int", "self.b in [1, 2]"] {
            assert_eq!(one(object.clone(), rule), [], "{rule}");
        }
    }

    #[test]
    fn rules_over_what_has_no_limit_cost_too_much() {
        let list = |limit: bool| {
            let mut list = json!({"type": "array", "items": {"type": "string"}});
            if limit {
                list["maxItems"] = json!(10);
                list["items"]["maxLength"] = json!(20);
            }
            list
        };
        let rule = "self.all(x, self.exists_one(y, x == y))";
        assert_eq!(one(list(true), rule), []);
        let told = one(list(false), rule);
        assert!(told[0].1.contains("estimated rule cost exceeds budget by factor of more than 100x"), "{told:?}");
    }
}
