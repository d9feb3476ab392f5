//! What all evaluations may cost together that one request asks for, however many policies and parameters there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::run::Fault;

/// What they may cost: four times as much as all expressions of one policy.
const BUDGET: u64 = 40_000_000;
/// What a letter of an expression costs that is compiled.
const COMPILED: u64 = 16;

/// What is left to spend for one request. Copies are the same purse.
#[derive(Debug, Clone)]
pub struct Purse(Arc<AtomicU64>);

impl Default for Purse {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(BUDGET)))
    }
}

impl Purse {
    /// What is left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes something; all, where that is not there.
    pub(super) fn take(&self, cost: u64) {
        let known = self.left();
        self.0.store(known.saturating_sub(cost), Ordering::Relaxed);
    }

    /// Pays for an expression that is going to be compiled.
    ///
    /// # Errors
    /// Where nothing is left: it is not to be compiled, then.
    pub fn compile(&self, source: &str) -> Result<(), String> {
        self.holds()?;
        self.take(COMPILED * source.len() as u64);
        Ok(())
    }

    /// Whether anything is left.
    ///
    /// # Errors
    /// Where nothing is, in the words of an evaluation that is not made.
    pub fn holds(&self) -> Result<(), String> {
        if self.left() == 0 { Err(Fault::Budget.to_string()) } else { Ok(()) }
    }
}
