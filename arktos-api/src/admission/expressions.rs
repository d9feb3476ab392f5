//! Expressions of all tenants' policies and webhooks, compiled once by what they say.

use std::sync::Arc;

use arktos_core::TenantName;
use arktos_core::cel::{Expression, Purse, Scope, Unevaluated};
use parking_lot::Mutex;
use serde_json::Value;

use super::declared::Condition;
use crate::call::Call;
use crate::kept::Kept;

/// How long those of one tenant may be together, in bytes, and those of all: of one, more than those of the largest
/// policy. The trees are some hundred times as large.
const LENGTHS: (usize, usize) = (512 * 1024, 2 << 20);
/// What a short one counts as.
const LENGTH_LEAST: usize = 64;
/// The names that one of them may use.
const NAMES: [&str; 9] =
    ["object", "oldObject", "request", "authorizer", "params", "namespaceObject", "variables", "Object", "JSONPatch"];

/// The expressions that were needed so far, by tenant and what they say. Written by whoever first needs one.
pub(crate) struct Expressions(Mutex<Kept<String, Result<Arc<Expression>, String>>>);

impl Default for Expressions {
    fn default() -> Self {
        Self(Mutex::new(Kept::new(LENGTHS)))
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
        let tenant = self.tenant.as_ref().map_or("", TenantName::as_str);
        if let Some(known) = self.all.0.lock().get(tenant, source) {
            return known;
        }
        self.purse.compile(source)?;
        let compiled = Expression::compile(source, &NAMES).map(Arc::new).map_err(|error| error.to_string());
        let length = source.len().max(LENGTH_LEAST);
        self.all.0.lock().keep(tenant, source.to_owned(), compiled.clone(), length);
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
    pub(super) fn all_hold(&self, conditions: &[Condition], names: &Scope) -> Result<bool, String> {
        let mut faults = Vec::new();
        for condition in conditions {
            match self.evaluate(&condition.expression, names) {
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
        assert!(all.0.lock().weight() <= LENGTHS.1);
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
