//! The audit log: who asked for what, when, and what came of it, as far as a policy says (`audit.k8s.io/v1`).
//!
//! This crate writes no files: events are handed, as lines of JSON, to an [`AuditSink`] that must not keep requests
//! waiting.

pub(crate) mod passing;
pub mod policy;
pub(crate) mod record;

use std::sync::Arc;

use bytes::Bytes;

pub use passing::{Passing, PassingWatch};
pub use policy::{AuditPolicy, AuditPolicyError};

/// Takes events.
pub trait AuditSink: std::fmt::Debug + Send + Sync + 'static {
    /// Takes one event, a line of JSON without its end. It must return at once: one that has no room drops the event,
    /// and says so somewhere.
    fn take(&self, event: Bytes);
}

/// What is entered, and where.
#[derive(Debug, Clone)]
pub struct Audit {
    /// What is entered.
    pub policy: Arc<AuditPolicy>,
    /// Where.
    pub sink: Arc<dyn AuditSink>,
}
