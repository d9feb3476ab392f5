//! The pods of a stateful set: they are given a name, and volumes, and are checked with these.

use serde_json::Value;

use super::super::fault::Faults;

const AT: &str = "spec.template.spec";

/// Makes of the faults of a stateful set's template those of its pods: their host names are set by the controller, and
/// its claims are their first volumes.
pub(in crate::rules) fn as_of_pods(templates: &[Value], template: Option<&Value>, faults: &mut Faults) {
    let named = [format!("{AT}.hostname"), format!("{AT}.subdomain")];
    faults.0.retain(|fault| !named.contains(&fault.field));
    if templates.is_empty() {
        return;
    }
    let name = |claim: &Value| claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = templates.iter().map(name).collect();
    let volumes = template.and_then(|template| template["spec"]["volumes"].as_array());
    let mut place = templates.len();
    let mut places = Vec::new();
    for volume in volumes.into_iter().flatten() {
        // A claim takes the place of a volume of the same name.
        let own = !names.iter().any(|name| volume["name"] == name.as_str());
        places.push(own.then_some(place));
        place += usize::from(own);
    }
    let list = format!("{AT}.volumes[");
    faults.0.retain_mut(|fault| {
        let Some((index, rest)) = fault.field.strip_prefix(&list).and_then(|rest| rest.split_once(']')) else {
            return true;
        };
        let place = index.parse().ok().and_then(|index: usize| places.get(index).copied().flatten());
        let moved = place.map(|place| format!("{list}{place}]{rest}"));
        moved.is_some_and(|moved| {
            fault.field = moved;
            true
        })
    });
    for (index, name) in names.iter().enumerate() {
        let at = |field: &str| format!("{list}{index}].{field}");
        if name.is_empty() {
            faults.required(&at("name"), "");
            faults.required(&at("persistentVolumeClaim.claimName"), "");
        }
        for fault in crate::name::label_faults(name).into_iter().filter(|_| !name.is_empty()) {
            faults.invalid(&at("name"), &Value::from(name.as_str()), &fault);
        }
    }
}
