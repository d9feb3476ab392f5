//! Expressions of all tenants' policies and webhooks, compiled once by what they say.

use std::collections::HashMap;
use std::sync::Arc;

use arktos_core::TenantName;
use arktos_core::cel::{Expression, Purse, Scope, Unevaluated};
use parking_lot::Mutex;
use serde_json::Value;

use crate::call::Call;

/// How many are kept of one tenant's; then it begins anew.
const KEPT: usize = 4096;
/// How long these may be together, in bytes: more than those of the largest policy.
const LENGTH_OF_TENANT: usize = 512 * 1024;
/// How long all tenants' may be together. The trees are some hundred times as large.
const LENGTH_KEPT: usize = 2 << 20;
/// The names that one of them may use.
const NAMES: [&str; 9] =
    ["object", "oldObject", "request", "authorizer", "params", "namespaceObject", "variables", "Object", "JSONPatch"];

/// The expressions that were needed so far, by tenant: what one has forgets no other's, unless those of many are too
/// much together; then whoever has asked for none the longest. Written by whoever first needs one.
#[derive(Default)]
pub(crate) struct Expressions(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_tenant: HashMap<Option<TenantName>, Share>,
    /// How long all sources are.
    length: usize,
    /// How often something was asked for.
    asked: u64,
}

#[derive(Default)]
struct Share {
    by_source: HashMap<String, Result<Arc<Expression>, String>>,
    length: usize,
    /// When something was asked for last.
    asked: u64,
}

impl Known {
    fn get(&mut self, tenant: &Option<TenantName>, source: &str) -> Option<Result<Arc<Expression>, String>> {
        self.asked += 1;
        let share = self.by_tenant.get_mut(tenant)?;
        share.asked = self.asked;
        share.by_source.get(source).cloned()
    }

    fn keep(&mut self, tenant: &Option<TenantName>, source: &str, compiled: Result<Arc<Expression>, String>) {
        let share = self.by_tenant.entry(tenant.clone()).or_default();
        if share.by_source.len() >= KEPT || share.length + source.len() > LENGTH_OF_TENANT {
            self.length -= share.length;
            *share = Share::default();
        }
        share.asked = self.asked;
        if share.by_source.insert(source.to_owned(), compiled).is_none() {
            share.length += source.len();
            self.length += source.len();
        }
        while self.length > LENGTH_KEPT {
            let others = self.by_tenant.iter().filter(|(other, _)| *other != tenant);
            let Some(oldest) = others.min_by_key(|(_, share)| share.asked).map(|(other, _)| other.clone()) else {
                return;
            };
            self.length -= self.by_tenant.remove(&oldest).map_or(0, |share| share.length);
        }
    }
}

impl Expressions {
    /// Those of a call's tenant, which the call pays for.
    pub(super) fn of<'a>(&'a self, call: &'a Call<'_>) -> OfTenant<'a> {
        OfTenant { all: self, tenant: &call.tenant, purse: &call.purse }
    }
}

/// The expressions of one tenant's policies and webhooks.
#[derive(Clone, Copy)]
pub(super) struct OfTenant<'a> {
    all: &'a Expressions,
    tenant: &'a Option<TenantName>,
    purse: &'a Purse,
}

impl OfTenant<'_> {
    /// An expression, compiled, or why it is none.
    pub(super) fn get(&self, source: &str) -> Result<Arc<Expression>, String> {
        if let Some(known) = self.all.0.lock().get(self.tenant, source) {
            return known;
        }
        self.purse.compile(source)?;
        let compiled = Expression::compile(source, &NAMES).map(Arc::new).map_err(|error| error.to_string());
        self.all.0.lock().keep(self.tenant, source, compiled.clone());
        compiled
    }

    fn known(&self, source: &str) -> Result<Arc<Expression>, Unevaluated> {
        if self.purse.holds().is_err() {
            return Err(Unevaluated::Budget);
        }
        self.get(source).map_err(Unevaluated::Said)
    }

    /// What an expression comes to.
    ///
    /// # Errors
    /// Why it comes to nothing.
    pub(super) fn evaluate(&self, source: &str, names: &Scope) -> Result<Value, Unevaluated> {
        let expression = self.known(source)?;
        expression.evaluate(names).map_err(|why| told(source, why))
    }

    /// The change that an expression comes to: an object that is `applied`, or the steps of a patch.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub(super) fn change(&self, source: &str, names: &Scope, applied: bool) -> Result<Value, Unevaluated> {
        let expression = self.known(source)?;
        expression.evaluate_change(names, applied).map_err(|why| told(source, why))
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
                Err(why @ Unevaluated::Budget) => return Err(why.to_string()),
                Err(why) => faults.push(why.to_string()),
            }
        }
        match faults.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

fn told(source: &str, why: Unevaluated) -> Unevaluated {
    match why {
        Unevaluated::Said(why) => Unevaluated::Said(format!("expression '{source}' resulted in error: {why}")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_tenant_has_forgets_no_others() {
        let (all, purse) = (Expressions::default(), Purse::default());
        let tenant = |name: &str| Some(TenantName::new(name).expect("a name"));
        let get = |tenant: &Option<TenantName>, source: &str| {
            OfTenant { all: &all, tenant, purse: &purse }.get(source).expect("an expression")
        };
        let (quiet, noisy) = (tenant("quiet"), tenant("noisy"));
        let known = get(&quiet, "1 == 1");
        let long = |at: usize| format!("'{at}' == '{}'", "x".repeat(60_000));
        let first = get(&noisy, &long(0));
        assert!(Arc::ptr_eq(&first, &get(&noisy, &long(0))));
        let left = purse.left();
        (0..40).for_each(|at| drop(get(&noisy, &long(at))));
        assert!(purse.left() < left, "who compiles pays");
        assert!(Arc::ptr_eq(&known, &get(&quiet, "1 == 1")));
        assert!(!Arc::ptr_eq(&first, &get(&noisy, &long(0))), "its own is only so long");
        for at in 0..8 {
            let tenant = tenant(&format!("t{at}"));
            let purse = Purse::default();
            (0..8).for_each(|at| drop(OfTenant { all: &all, tenant: &tenant, purse: &purse }.get(&long(at))));
            get(&quiet, "1 == 1");
        }
        assert!(all.0.lock().length <= LENGTH_KEPT);
        assert!(Arc::ptr_eq(&known, &get(&quiet, "1 == 1")), "who has asked for none the longest goes first");
    }

    #[test]
    fn a_call_compiles_only_so_much() {
        let (all, purse) = (Expressions::default(), Purse::default());
        let mine = OfTenant { all: &all, tenant: &None, purse: &purse };
        let long = |at: usize| format!("'{at}' == '{}'", "x".repeat(60_000));
        let compiled = (0..200).take_while(|at| mine.get(&long(*at)).is_ok()).count();
        assert!((30..60).contains(&compiled), "{compiled}");
        assert!(mine.get("2 == 2").expect_err("all is spent").contains("running out of cost budget"));
    }
}
