//! Validation of access reviews.

use arktos_core::{Object, Status, StatusCause};
use serde_json::{Map, Value};

use crate::query::cause;

/// The faults of a question, told together.
struct Faults(Vec<StatusCause>);

impl Faults {
    fn invalid(&mut self, field: &str, shown: &Value, why: &str) {
        self.0.push(cause("FieldValueInvalid", field, &format!("Invalid value: {shown}: {why}")));
    }
}

/// Checks what is asked for; `namespace` is that of a question about one, and `whom` says whether it names somebody.
///
/// # Errors
/// 422 with a cause for each fault.
pub(super) fn check(group: &str, review: &Object, whom: bool, namespace: Option<&str>) -> Result<(), Status> {
    let mut faults = Faults(Vec::new());
    let resource = review.at(&["spec", "resourceAttributes"]).filter(|value| !value.is_null());
    let path = review.at(&["spec", "nonResourceAttributes"]).filter(|value| !value.is_null());
    match (resource, path) {
        (Some(_), Some(path)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            faults.invalid("spec.nonResourceAttributes", &held(path), why);
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            faults.invalid("spec.resourceAttributes", &Value::Null, why);
        }
        _ => {}
    }
    let groups = review.at(&["spec", "groups"]).and_then(Value::as_array).is_some_and(|groups| !groups.is_empty());
    if whom && review.str_at(&["spec", "user"]).is_empty() && !groups {
        faults.invalid("spec.user", &"".into(), "at least one of user or group must be specified");
    }
    for (name, labels) in [("fieldSelector", false), ("labelSelector", true)] {
        let selector = resource.and_then(|resource| resource.get(name)).and_then(Value::as_object);
        if let Some(selector) = selector {
            check_selector(&format!("spec.resourceAttributes.{name}"), selector, labels, &mut faults);
        }
    }
    if let Some(namespace) = namespace {
        if let Some(asked) = resource.map(|resource| resource["namespace"].as_str().unwrap_or_default())
            && asked != namespace
        {
            let why = "must match metadata.namespace";
            faults.invalid("spec.resourceAttributes.namespace", &asked.into(), why);
        }
        if let Some(path) = path {
            faults.invalid("spec.nonResourceAttributes", &held(path), "disallowed on this kind of request");
        }
    }
    let said = review.at(&["metadata"]).and_then(Value::as_object).into_iter().flatten();
    let said: Map<String, Value> = said
        .filter(|(field, _)| *field != "managedFields" && !(namespace.is_some() && *field == "namespace"))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    if !said.is_empty() {
        let except = if namespace.is_some() { " except for namespace" } else { "" };
        faults.invalid("metadata", &Value::Object(said), &format!("must be empty{except}"));
    }
    // Upstream leaves the kind out of these.
    if faults.0.is_empty() { Ok(()) } else { Err(Status::invalid(group, "", "", faults.0)) }
}

/// A path that is asked for, as upstream holds it: so its messages show it.
fn held(path: &Value) -> Value {
    let text = |field: &str| path.get(field).and_then(Value::as_str).unwrap_or_default();
    serde_json::json!({"Path": text("path"), "Verb": text("verb")})
}

fn check_selector(at: &str, selector: &Map<String, Value>, labels: bool, faults: &mut Faults) {
    let raw = selector.get("rawSelector").and_then(Value::as_str).unwrap_or_default();
    let terms = selector.get("requirements").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !raw.is_empty() && !terms.is_empty() {
        faults.invalid(&format!("{at}.rawSelector"), &raw.into(), "may not specified at the same time as requirements");
    }
    let mut tell = |reason: &str, field: &str, text: String| faults.0.push(cause(reason, field, &text));
    if raw.is_empty() && terms.is_empty() {
        let text = format!("Required value: when {at} is specified, requirements or rawSelector is required");
        tell("FieldValueRequired", &format!("{at}.requirements"), text);
    }
    for (index, term) in terms.iter().enumerate() {
        let at = format!("{at}.requirements[{index}]");
        let key = term["key"].as_str().unwrap_or_default();
        if labels {
            for fault in arktos_core::rules::qualified_name_faults(key) {
                tell("FieldValueInvalid", &format!("{at}.key"), format!("Invalid value: {key:?}: {fault}"));
            }
        } else if key.is_empty() {
            tell("FieldValueRequired", &format!("{at}.key"), "Required value: must be specified".to_owned());
        }
        let given = term["values"].as_array().map_or(&[][..], Vec::as_slice);
        for (index, value) in given.iter().enumerate().filter(|_| labels) {
            let value = value.as_str().unwrap_or_default();
            if let Some(fault) = arktos_core::selector::label_value_fault(value) {
                tell(
                    "FieldValueInvalid",
                    &format!("{at}.values[{index}]"),
                    format!("Invalid value: {value:?}: {fault}"),
                );
            }
        }
        let values = !given.is_empty();
        match term["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if !values => {
                let text = "Required value: must be specified when `operator` is 'In' or 'NotIn'";
                tell("FieldValueRequired", &format!("{at}.values"), text.to_owned());
            }
            "Exists" | "DoesNotExist" if values => {
                let text = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                tell("FieldValueForbidden", &format!("{at}.values"), text.to_owned());
            }
            _ => {} // of others, who asks may know, and what they say is left out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_is_told_all_that_is_wrong_with_it() {
        let told = |spec: Value, namespace: Option<&str>| -> Vec<String> {
            let review = Object::from_value(json!({ "spec": spec })).unwrap_or_default();
            let fault = check("authorization.k8s.io", &review, true, namespace).err();
            let causes = fault.and_then(|fault| fault.details).map(|details| details.causes).unwrap_or_default();
            causes.into_iter().map(|cause| cause.field).collect()
        };
        let (resource, path) = (json!({"verb": "get", "namespace": "a"}), json!({"path": "/", "verb": "get"}));
        assert_eq!(told(json!({"user": "u", "resourceAttributes": resource}), Some("a")), Vec::<String>::new());
        assert_eq!(told(json!({}), None), ["spec.resourceAttributes", "spec.user"]);
        assert_eq!(
            told(json!({"user": "u", "resourceAttributes": resource, "nonResourceAttributes": path}), Some("b")),
            ["spec.nonResourceAttributes", "spec.resourceAttributes.namespace", "spec.nonResourceAttributes"]
        );
        let selected = json!({"verb": "list", "labelSelector": {"requirements": [{"key": "a", "operator": "In"}]}});
        assert_eq!(
            told(json!({"user": "u", "resourceAttributes": selected}), None),
            ["spec.resourceAttributes.labelSelector.requirements[0].values"]
        );
    }
}
