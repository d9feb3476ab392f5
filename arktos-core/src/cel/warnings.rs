//! What does not fit in the expressions of a policy, given what the kinds look like that it is about. Nothing comes
//! of it but a word to whoever wrote them: the policy is asked as it is.

use std::collections::BTreeMap;

use serde_json::Value;

use super::checker::{Environment, Variables};
use super::types::Type;
use crate::catalog::{Catalog, Kind};
use crate::custom::{Structural, cel_type, resolved};
use crate::object::Object;

/// How many kinds one policy is checked for.
const KINDS_MAX: usize = 10;
/// How much is checked for one policy altogether: its expressions, once for each kind, in bytes.
const CHECKED_MAX: usize = 1 << 20;

/// What does not fit in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeWarning {
    /// Where the expression stands.
    pub field: String,
    /// What does not fit, for each kind of which it does not.
    pub warning: String,
}

/// The warnings about a ValidatingAdmissionPolicy, in a tenant that has some kinds of its own.
#[must_use]
pub fn type_warnings(policy: &Object, own: &[Kind]) -> Vec<TypeWarning> {
    let empty = Value::Null;
    let spec = policy.at(&["spec"]).unwrap_or(&empty);
    let list = |field: &str| spec.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let length = |of: &Value| -> usize {
        of.as_object().into_iter().flatten().filter_map(|(_, text)| text.as_str()).map(str::len).sum()
    };
    let length: usize = list("validations").iter().chain(list("variables")).map(length).sum();
    let builtin = Catalog::builtin();
    let all: Vec<&Kind> = builtin.kinds().map(|kind| &**kind).chain(own).collect();
    let params = spec.get("paramKind").filter(|kind| !kind.is_null()).map(|kind| params(kind, &all));
    let kinds = matched(spec, &all);
    let mut warnings: BTreeMap<(usize, bool), String> = BTreeMap::new();
    for (name, kind) in kinds.iter().take(KINDS_MAX.min(CHECKED_MAX / length.max(1))) {
        let Some(schema) = resolved(kind) else { continue };
        let patterns = std::rc::Rc::default();
        let environment = || {
            let known = params.as_ref().map(|params| params.as_ref().map_or(Type::Dyn, |known| cel_type(known, true)));
            Environment::of_object(cel_type(&schema, true), known).counting(&patterns)
        };
        let mut variables = Variables::new();
        for variable in list("variables") {
            let source = variable["expression"].as_str().unwrap_or_default();
            let found = super::well_typed(source, &environment().with_variables(&variables));
            let of = found.map_or(Type::Dyn, |found| Environment::as_variable(&found));
            variables.insert(variable["name"].as_str().unwrap_or_default().to_owned(), of);
        }
        for (index, validation) in list("validations").iter().enumerate() {
            for (field, is_message) in [("expression", false), ("messageExpression", true)] {
                let Some(source) = validation[field].as_str().filter(|source| !source.is_empty()) else { continue };
                if let Err(why) = super::well_typed(source, &environment().with_variables(&variables)) {
                    let told = warnings.entry((index, is_message)).or_default();
                    if !told.is_empty() {
                        told.push('\n');
                    }
                    *told += &format!("{name}: {why}\n");
                }
            }
        }
    }
    let told = warnings.into_iter().map(|((index, is_message), warning)| {
        let field = if is_message { "messageExpression" } else { "expression" };
        TypeWarning { field: format!("spec.validations[{index}].{field}"), warning }
    });
    told.collect()
}

/// What the parameters of a policy look like, if that is known.
fn params(kind: &Value, all: &[&Kind]) -> Option<Structural> {
    let word = |field: &str| kind.get(field).and_then(Value::as_str).unwrap_or_default();
    let is = |known: &&&Kind| known.type_meta.api_version == word("apiVersion") && known.type_meta.kind == word("kind");
    resolved(all.iter().find(is)?)
}

/// The kinds that a policy names one by one, in their order. What it names by a star is not looked at.
fn matched<'a>(spec: &Value, all: &[&'a Kind]) -> BTreeMap<String, &'a Kind> {
    let mut found = BTreeMap::new();
    let rules = spec.pointer("/matchConstraints/resourceRules").and_then(Value::as_array).into_iter().flatten();
    for rule in rules {
        let words = |field: &str| -> Vec<&str> {
            rule.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let (mut groups, mut versions, mut resources) = (words("apiGroups"), words("apiVersions"), words("resources"));
        if groups.iter().chain(&versions).any(|word| word.contains('*')) {
            continue;
        }
        resources.retain(|resource| !resource.contains(['*', '/']));
        groups.sort_unstable();
        versions.sort_unstable();
        resources.sort_unstable();
        let mut count = 0;
        for group in groups {
            for version in &versions {
                for resource in &resources {
                    // No group is any, as upstream looks kinds up.
                    let is = |kind: &&&Kind| {
                        (group.is_empty() || kind.group == group)
                            && kind.version == *version
                            && kind.resource == *resource
                    };
                    for kind in all.iter().filter(is) {
                        let name = format!("{}/{}, Kind={}", kind.group, kind.version, kind.type_meta.kind);
                        found.insert(name, *kind);
                        count += 1;
                        if count == KINDS_MAX {
                            return found;
                        }
                    }
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(spec: Value, own: &[Kind]) -> Vec<(String, String)> {
        let policy = json!({"metadata": {"name": "p"}, "spec": spec});
        let policy = Object::from_value(policy).expect("an object");
        type_warnings(&policy, own).into_iter().map(|told| (told.field, told.warning)).collect()
    }

    fn about(resources: &[&str], rest: Value) -> Value {
        let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": resources, "operations": ["*"]});
        let mut spec = rest;
        spec["matchConstraints"] = json!({"resourceRules": [rule]});
        spec
    }

    #[test]
    fn what_does_not_fit_a_kind_is_told_with_the_kind() {
        let rules = json!({"validations": [
            {"expression": "object.spec.replicas > 1"},
            {"expression": "object.spec.replicax > 1", "messageExpression": "'a' + object.spec.replicas"},
        ]});
        let found = told(about(&["deployments", "daemonsets"], rules), &[]);
        let [first, second, third] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(first.0, "spec.validations[0].expression");
        assert_eq!(
            first.1,
            "apps/v1, Kind=DaemonSet: ERROR: <input>:1:12: undefined field 'replicas'\n | object.spec.replicas > \
             1\n | ...........^\n"
        );
        assert_eq!(second.0, "spec.validations[1].expression");
        assert_eq!(second.1.matches(": ERROR").count(), 2, "for both");
        assert_eq!(third.0, "spec.validations[1].messageExpression");
    }

    #[test]
    fn variables_params_and_what_a_request_has_are_of_their_types() {
        let spec = json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [
                {"name": "containers", "expression": "object.spec.template.spec.containers"},
                {"name": "odd", "expression": "object.none"},
            ],
            "validations": [
                {"expression": "variables.containers.all(c, c.image == params.data['a']) && variables.odd == 1"},
                {"expression": "object.metadata.labels['a'] == request.userInfo.username"},
                {"expression": "oldObject.metadata.name != ''"},
                {"expression": "object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')"},
                {"expression": "object.spec.strategy.rollingUpdate.maxSurge == '25%' || params.data.size() == 'a'"},
            ],
        });
        let found = told(about(&["deployments"], spec), &[]);
        let [(field, warning)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(field, "spec.validations[4].expression");
        assert!(warning.contains("found no matching overload for '_==_' applied to '(int, string)'"), "{warning}");
    }

    #[test]
    fn nothing_is_told_of_what_is_named_by_a_star_and_of_nobodys_kinds() {
        let wrong = json!({"validations": [{"expression": "object.spec.none == 1"}]});
        for resources in [&["*"][..], &["things"], &["deployments/status"]] {
            assert_eq!(told(about(resources, wrong.clone()), &[]), []);
        }
        assert_eq!(told(wrong, &[]), []);
    }
}
