//! Expressions of all tenants' policies and webhooks, compiled once by what they say.

use std::collections::HashMap;
use std::sync::Arc;

use arktos_core::cel::{Expression, Scope};
use parking_lot::Mutex;
use serde_json::Value;

/// How many are kept; then it begins anew.
const KEPT: usize = 4096;
/// How long these may be together, in bytes.
const LENGTH_KEPT: usize = 1 << 20;
/// The names that one of them may use.
const NAMES: [&str; 9] =
    ["object", "oldObject", "request", "authorizer", "params", "namespaceObject", "variables", "Object", "JSONPatch"];

/// The expressions that were needed so far. Written by whoever first needs one.
#[derive(Default)]
pub(crate) struct Expressions(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_source: HashMap<String, Result<Arc<Expression>, String>>,
    /// How long all sources are: the trees are some hundred times as large.
    length: usize,
}

impl Expressions {
    fn get(&self, source: &str) -> Result<Arc<Expression>, String> {
        if let Some(known) = self.0.lock().by_source.get(source) {
            return known.clone();
        }
        let compiled = Expression::compile(source, &NAMES).map(Arc::new).map_err(|error| error.to_string());
        let mut known = self.0.lock();
        if known.by_source.len() >= KEPT || known.length + source.len() > LENGTH_KEPT {
            *known = Known::default();
        }
        known.length += source.len();
        known.by_source.insert(source.to_owned(), compiled.clone());
        compiled
    }

    /// What an expression comes to.
    ///
    /// # Errors
    /// A sentence that says why it comes to nothing.
    pub(super) fn evaluate(&self, source: &str, names: &Scope) -> Result<Value, String> {
        let expression = self.get(source)?;
        expression.evaluate(names).map_err(|why| format!("expression '{source}' resulted in error: {why}"))
    }

    /// Lets a field of what a name stands for be what an expression comes to.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub(super) fn set(&self, source: &str, names: &mut Scope, (map, field): (&str, &str)) -> Result<(), String> {
        let found = self.get(source)?.evaluate_into(names, map, field);
        found.map_err(|why| format!("expression '{source}' resulted in error: {why}"))
    }

    /// Whether all of a list of match conditions hold.
    ///
    /// # Errors
    /// Why that cannot be told: only where none of them is false.
    pub(super) fn all_hold(&self, conditions: &Value, names: &Scope) -> Result<bool, String> {
        let mut faults = Vec::new();
        for condition in conditions.as_array().into_iter().flatten() {
            match self.evaluate(condition["expression"].as_str().unwrap_or_default(), names) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => faults.push("a match condition did not evaluate to bool".to_owned()),
                Err(why) => faults.push(why),
            }
        }
        if faults.is_empty() { Ok(true) } else { Err(faults.join(", ")) }
    }
}
