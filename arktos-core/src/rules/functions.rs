//! Checks that no line of the rules files can say: functions that the files call by name.

use std::fmt;

use serde_json::Value;

use super::fault::{Faults, Site};

/// A function that checks a field.
#[derive(Clone, Copy)]
pub(super) struct Function {
    name: &'static str,
    run: fn(&Site<'_>, &mut Faults),
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// Checks the field.
    pub(super) fn run(self, site: &Site<'_>, faults: &mut Faults) {
        (self.run)(site, faults);
    }
}

const FUNCTIONS: &[Function] = &[Function { name: "selects_template", run: selects_template }];

/// A function by the name that the rules files know it by.
pub(super) fn function(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|function| function.name == name).copied()
}

/// A workload's selector must select the pods of its template. Stands at the spec.
fn selects_template(site: &Site<'_>, faults: &mut Faults) {
    use crate::selector::LabelSelectorSpec;
    let labels = site.map.get("template").and_then(|template| template.pointer("/metadata/labels"));
    let selector = site.map.get("selector").cloned().unwrap_or(Value::Null);
    let path = super::fault::join(site.at, "template.metadata.labels");
    let spec: Option<LabelSelectorSpec> = serde_json::from_value(selector).ok();
    let selector = spec.and_then(|spec| spec.selector().ok()).filter(|selector| !selector.is_everything());
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    if selector.is_none_or(|selector| !selector.matches(label)) {
        faults.invalid(&path, labels.unwrap_or(&Value::Null), "`selector` does not match template `labels`");
    }
}
