//! What names stand for while expressions are evaluated, and what that may cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube_cel::cel::Value as CelValue;
use serde_json::Value;

use super::authorizer::{self, Authorizer, Question, Stage};
use super::lazy::{Known, Variables};
use super::purse::Purse;
use super::{BUDGET, value};

/// What a variable costs that is there, whether anybody asks for it or not.
const VARIABLE: u64 = 16;

/// Names and what they stand for, for one evaluation or several, which may cost only so much together.
#[derive(Debug)]
pub struct Scope {
    pub(super) variables: Vec<(String, CelValue)>,
    /// The variables of a policy, where there are any.
    lazy: Option<Arc<Known>>,
    /// What is left to spend. Evaluations take from it.
    budget: AtomicU64,
    /// What is left to spend for all scopes that have it in common, where some do.
    purse: Option<Purse>,
}

/// Why an expression comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unevaluated {
    /// Something in it does not work: a field that is not there, a type that does not fit, a loop that takes too long.
    #[error("{0}")]
    Said(String),
    /// All that may be spent is, and no further expression is evaluated.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    Budget,
    /// It makes objects whose types' names do not say where they stand.
    #[error("type mismatch: {0}")]
    Misplaced(String),
}

impl Default for Scope {
    fn default() -> Self {
        Self { variables: Vec::new(), lazy: None, budget: AtomicU64::new(BUDGET), purse: None }
    }
}

impl Scope {
    /// A scope that has a purse in common with others, from which it pays for what names stand for, too.
    #[must_use]
    pub fn paid_from(purse: &Purse) -> Self {
        Self { purse: Some(purse.clone()), ..Self::default() }
    }

    /// A scope of the same names, to be evaluated in by itself. What they stand for is shared.
    #[must_use]
    pub fn again(&self) -> Self {
        let (variables, lazy, purse) = (self.variables.clone(), self.lazy.clone(), self.purse.clone());
        Self { variables, lazy, purse, ..Self::default() }
    }

    /// What an evaluation may cost yet.
    pub(super) fn left(&self) -> u64 {
        let own = self.budget.load(Ordering::Relaxed);
        self.purse.as_ref().map_or(own, |purse| own.min(purse.left()))
    }

    pub(super) fn spend(&self, cost: u64) {
        let own = self.budget.load(Ordering::Relaxed);
        self.budget.store(own.saturating_sub(cost), Ordering::Relaxed);
        self.purse.iter().for_each(|purse| purse.take(cost));
    }

    /// Lets a name stand for a value; a later value goes before.
    pub fn set(&mut self, name: &str, value: &Value) {
        if let Some(purse) = &self.purse {
            if purse.left() == 0 {
                return; // nothing is evaluated any more
            }
            purse.take(value::weight(value));
        }
        self.set_value(name, value::to_cel(value));
    }

    /// Lets `authorizer` ask this, and `authorizer.requestResource` stand for what is asked about.
    pub fn set_authorizer(&mut self, of: Arc<dyn Authorizer>, request: Question) {
        self.set_value("authorizer", authorizer::asking(&of, Stage::Begin, Question::default()));
        self.set_value(authorizer::REQUEST_RESOURCE, authorizer::asking(&of, Stage::Resource, request));
    }

    /// Lets `variables` stand for those of a policy. They come to something when they are asked for, each once.
    pub fn set_variables(&mut self, variables: Variables) {
        self.begin(&Arc::new(variables));
    }

    /// Begins with variables of which none has come to anything, as further expressions of a policy do.
    pub fn renew(&mut self) {
        if let Some(known) = self.lazy.clone() {
            self.begin(known.all());
        }
    }

    fn begin(&mut self, all: &Arc<Variables>) {
        if let Some(purse) = &self.purse {
            purse.take(VARIABLE * all.len() as u64);
        }
        self.variables.retain(|(name, _)| name != "variables");
        let known = Known::nothing_of(all, self.variables.clone());
        self.set_value("variables", known.shown());
        self.lazy = Some(known);
    }

    /// Sets what may be spent from here on.
    pub fn set_budget(&mut self, budget: u64) {
        self.budget = AtomicU64::new(budget);
    }

    /// What is left to spend.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    fn set_value(&mut self, name: &str, value: CelValue) {
        match self.variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }
}
