//! Whether the rules of a schema may be taken: what is said beside them, whether they can be read, what they may cost.

use serde_json::Value;

use super::declared::{Seen, cel_type, times};
use super::field_path;
use super::structural::{Structural, Values};
use crate::cel::tree::Tree;
use crate::cel::types::Type;
use crate::cel::{self, Environment};
use crate::media::go_escaped;
use crate::rules::fault::Faults;
use crate::schema::ListKind;

/// What one rule may cost.
const RULE_BUDGET: u64 = 10_000_000;
/// What all rules of a schema may cost together.
const SCHEMA_BUDGET: u64 = 100_000_000;

/// Checks all rules of a schema. Where it is `old` as it stands, they may be what they are: nothing that was taken once
/// is in the way of other changes.
pub(super) fn check(schema: &Value, old: Option<&Value>, at: &str, faults: &mut Faults) {
    let compiled = Structural::compile(schema);
    if !compiled.ruled {
        return;
    }
    let mut walk = Walk { total: 0, dear: Vec::new(), known: old == Some(schema), faults };
    walk.node(schema, &compiled, at, &Place { times: Some(1), apart: None, root: true });
    let Walk { total, mut dear, faults, .. } = walk;
    if total > SCHEMA_BUDGET {
        dear.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, at) in dear.iter().take(4) {
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            faults.forbidden(at, why);
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        faults.forbidden(at, &over_budget(name, total, SCHEMA_BUDGET));
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
struct Place<'a> {
    /// How often its value may be there; none where nothing limits that.
    times: Option<u64>,
    /// The outermost part around it in which values cannot be found again in the old object.
    apart: Option<&'a str>,
    root: bool,
}

struct Walk<'a> {
    total: u64,
    /// What adds most to it, and where.
    dear: Vec<(u64, String)>,
    /// Whether the schema was there before.
    known: bool,
    faults: &'a mut Faults,
}

impl Walk<'_> {
    /// Whether no part is said wrongly beside its rules: only then the rules are looked at, as upstream does.
    fn node(&mut self, schema: &Value, compiled: &Structural, at: &str, place: &Place<'_>) -> bool {
        let mut fine = true;
        if let Values::Schema(values) = &compiled.values {
            let below = Place { times: many(place, compiled.limits.max_properties), root: false, ..*place };
            fine &= self.node(&schema["additionalProperties"], values, &format!("{at}.additionalProperties"), &below);
        }
        for (name, field) in &compiled.properties {
            let below = Place { root: false, ..*place };
            fine &= self.node(&schema["properties"][&**name], field, &format!("{at}.properties[{name}]"), &below);
        }
        if let Some(items) = &compiled.items {
            let apart = place.apart.or((compiled.list != ListKind::Map).then_some(at));
            let below = Place { times: many(place, compiled.limits.max_items), apart, root: false };
            fine &= self.node(&schema["items"], items, &format!("{at}.items"), &below);
        }
        let rules: Vec<&Value> =
            schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().collect();
        let before = self.faults.0.len();
        for (index, rule) in rules.iter().enumerate() {
            self.words(rule, compiled, &format!("{at}.x-kubernetes-validations[{index}]"));
        }
        fine &= self.faults.0.len() == before;
        if !fine || rules.is_empty() {
            return fine;
        }
        if !compiled.seen {
            let why = "internal error: failed to construct type information for x-kubernetes-validations rules: unable \
                       to convert structural schema to CEL declarations";
            self.faults.internal(&format!("{at}.x-kubernetes-validations"), why);
            return fine;
        }
        for (index, rule) in rules.iter().enumerate() {
            self.rule(rule, compiled, &format!("{at}.x-kubernetes-validations[{index}]"), place);
        }
        fine
    }

    fn rule(&mut self, rule: &Value, compiled: &Structural, at: &str, place: &Place<'_>) {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or("");
        let own = cel_type(compiled, place.root);
        let old = if rule["optionalOldSelf"] == true { Type::optional(own.clone()) } else { own.clone() };
        let patterns = &self.faults.2.patterns;
        let environment = Environment::default().counting(patterns).with("self", own).with("oldSelf", old);
        let seen = Seen::Value(compiled, place.root);
        let read = |source: &str| cel::type_and_cost(source, &environment, seen);
        let source = text("rule");
        let compares = match read(source) {
            Err(why) => {
                self.invalid(&format!("{at}.rule"), rule, &why.to_string());
                None
            }
            Ok((found, _)) if !matches!(found, Type::Bool) => {
                self.invalid(&format!("{at}.rule"), rule, "cel expression must evaluate to a bool");
                None
            }
            Ok((_, once)) => {
                let cost = once.saturating_mul(place.times.unwrap_or_else(|| times(compiled)));
                self.pay(&format!("{at}.rule"), "estimated rule cost", cost);
                Some(Tree::read(source).is_some_and(|tree| tree.has_variable("oldSelf")))
            }
        };
        let message = text("messageExpression");
        if compares.is_some() && !message.is_empty() {
            let at = format!("{at}.messageExpression");
            match read(message) {
                Err(why) => {
                    let why = why.to_string();
                    let why = why.strip_prefix("program ").unwrap_or(&why);
                    self.invalid(&at, rule, &format!("messageExpression {why}"));
                }
                Ok((found, _)) if !matches!(found, Type::String) => {
                    self.invalid(&at, rule, "messageExpression must evaluate to a string");
                }
                Ok((_, cost)) => self.pay(&at, "estimated messageExpression cost", cost),
            }
        }
        if compares == Some(true) {
            if let Some(apart) = place.apart {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}");
                self.faults.invalid(&format!("{at}.rule"), &source.into(), &why);
            }
        } else if rule["optionalOldSelf"].is_boolean() {
            let why = "may not be set if oldSelf is not used in rule";
            self.faults.invalid(&format!("{at}.optionalOldSelf"), &rule["optionalOldSelf"], why);
        }
    }

    fn invalid(&mut self, at: &str, rule: &Value, why: &str) {
        if !self.known {
            self.faults.invalid_text(at, &shown(rule), why);
        }
    }

    fn pay(&mut self, at: &str, name: &str, cost: u64) {
        if cost > RULE_BUDGET && !self.known {
            self.faults.forbidden(at, &over_budget(name, cost, RULE_BUDGET));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_BUDGET / 100 {
            self.dear.push((cost, at.to_owned()));
        }
    }

    /// What is said beside the rule.
    fn words(&mut self, rule: &Value, compiled: &Structural, at: &str) {
        const LINES: [char; 2] = ['\n', '\r'];
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or("");
        let faults = &mut *self.faults;
        let message = text("message");
        if text("rule").trim().is_empty() {
            faults.required(&format!("{at}.rule"), "rule is not specified");
        } else if !message.is_empty() && message.trim().is_empty() {
            faults.invalid(&format!("{at}.message"), &message.into(), "must be non-empty if specified");
        } else if message.trim().contains(LINES) {
            faults.invalid(&format!("{at}.message"), &message.into(), "must not contain line breaks");
        } else if text("rule").trim().contains(LINES) && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            faults.required(&format!("{at}.message"), why);
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
        let path = text("fieldPath");
        if !path.is_empty() && path.trim().is_empty() {
            faults.invalid(&format!("{at}.fieldPath"), &path.into(), "must be non-empty if specified");
        }
        if path.contains(LINES) {
            faults.invalid(&format!("{at}.fieldPath"), &path.into(), "must not contain line breaks");
        }
        if !path.is_empty() && field_path::follow(compiled, path, true).is_err() {
            let why = "must be a valid path";
            faults.invalid(&format!("{at}.fieldPath"), &path.into(), why);
        }
    }
}

/// How often what is in a list or a map may be there.
fn many(place: &Place<'_>, limit: Option<u64>) -> Option<u64> {
    Some(place.times?.saturating_mul(limit?))
}

/// A rule as upstream holds it, which is how its messages show it.
fn shown(rule: &Value) -> String {
    let text =
        |field: &str| go_escaped(&Value::from(rule.get(field).and_then(Value::as_str).unwrap_or("")).to_string());
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
        let (field, why) = &told[1];
        assert_eq!(field, "s.properties[a].x-kubernetes-validations[0].rule");
        assert!(why.contains("contributed to estimated rule cost total"), "{why}");
    }

    #[test]
    fn what_is_in_lists_without_a_limit_is_as_often_there_as_a_request_has_room_for_it() {
        let rule = json!([{"rule": "self.x > 0"}]);
        let item = json!({
            "type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}},
            "x-kubernetes-validations": rule,
        });
        let list = |items: Value| json!({"type": "array", "items": items});
        let nested = json!({"type": "object", "properties": {"a": list(list(list(item)))}});
        assert_eq!(told(&nested), [], "the lists do not multiply each other");
    }

    #[test]
    fn a_rule_may_end_with_a_line_and_must_not_have_several_without_a_message() {
        let of = |rule: Value| {
            let at =
                json!({"type": "object", "properties": {"b": {"type": "integer"}}, "x-kubernetes-validations": [rule]});
            told(&json!({"type": "object", "properties": {"a": at}}))
        };
        assert_eq!(of(json!({"rule": "self.b > 1\n"})), []);
        let lines = of(json!({"rule": "self.b > 1 &&\nself.b < 3"}));
        assert_eq!(lines[0].1, "Required value: message must be specified if rule contains line breaks");
        let empty = of(json!({"rule": " ", "message": " ", "messageExpression": " "}));
        let whys: Vec<&str> = empty.iter().map(|(_, why)| why.as_str()).collect();
        assert_eq!(
            whys,
            [
                "Required value: rule is not specified",
                "Required value: messageExpression must be non-empty if specified"
            ]
        );
    }

    #[test]
    fn rules_see_what_the_schema_declares_and_nothing_else() {
        let open = json!({"x-kubernetes-preserve-unknown-fields": true});
        let whole = |rule: &str| {
            let rules = json!([{ "rule": rule }]);
            let properties =
                json!({"open": open, "text": {"type": "string"}, "n": {"x-kubernetes-int-or-string": true}});
            told(&json!({"type": "object", "properties": properties, "x-kubernetes-validations": rules}))
        };
        for fine in ["self.metadata.name.size() > 1", "self.kind == self.apiVersion", "type(self.n) == int"] {
            assert_eq!(whole(fine), [], "{fine}");
        }
        for (rule, why) in [
            ("self.metadata.labels.size() > 1", "undefined field 'labels'"),
            ("self.open == 1", "undefined field 'open'"),
            ("self.n", "cel expression must evaluate to a bool"),
        ] {
            let found = whole(rule);
            assert!(found[0].1.contains(why), "{rule}: {found:?}");
        }
    }

    #[test]
    fn a_schema_that_stays_as_it_is_keeps_its_rules_and_another_does_not() {
        let with = |rule: &str, more: &str| {
            json!({"type": "object", "description": more, "properties": {"a": {"type": "string"}},
                "x-kubernetes-validations": [{ "rule": rule }]})
        };
        let faults = |new: &Value, old: &Value| {
            let mut faults = Faults::default();
            check(new, Some(old), "s", &mut faults);
            faults.0.len()
        };
        let wrong = with("self.none == 1", "");
        assert_eq!(faults(&wrong, &wrong), 0);
        assert_eq!(faults(&with("self.none == 1", "changed"), &wrong), 1);
    }

    #[test]
    fn an_old_value_is_not_looked_for_where_it_cannot_be_found() {
        let rules = json!([{"rule": "self == oldSelf"}]);
        let text = json!({"type": "string", "maxLength": 9, "x-kubernetes-validations": rules});
        let list = json!({"type": "array", "maxItems": 9, "items": text});
        let atomic = json!({"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"t": text}});
        let found = told(&json!({"type": "object", "properties": {"l": list, "m": atomic, "t": text}}));
        let whys: Vec<&str> = found.iter().map(|(_, why)| why.rsplit("within ").next().unwrap_or_default()).collect();
        assert_eq!(whys, ["s.properties[l]"]); // an object has its fields, whoever owns it
    }
}
