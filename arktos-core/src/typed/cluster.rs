//! Tenants, namespaces and leases.

use super::condition::Condition;
use super::kind;
use super::record::record;
use super::value::MicroTime;
use super::{Nothing, Typed};

/// One of the organisations that share the region.
pub type Tenant = Typed<TenantSpec, TenantStatus>;
kind!(Tenant, "tenants", "v1", "Tenant");

/// A division of a tenant.
pub type Namespace = Typed<NamespaceSpec, NamespaceStatus>;
kind!(Namespace, "namespaces", "v1", "Namespace");

/// Who holds something, and until when.
pub type Lease = Typed<LeaseSpec, Nothing>;
kind!(Lease, "leases.coordination.k8s.io", "coordination.k8s.io/v1", "Lease");

record! {
    /// What is wanted of a tenant.
    pub struct TenantSpec {
        /// The storage cluster that its objects are kept in. Arktos's field; `0` unless said otherwise.
        storage_cluster_id: String,
        /// What must be done before it may go.
        finalizers: Vec<String>,
    }
}

record! {
    /// How a tenant is doing.
    pub struct TenantStatus {
        /// `Active` or `Terminating`.
        phase: String,
        /// What holds up its deletion.
        conditions: Vec<Condition>,
    }
}

record! {
    /// What is wanted of a namespace.
    pub struct NamespaceSpec {
        /// What must be done before it may go.
        finalizers: Vec<String>,
    }
}

record! {
    /// How a namespace is doing.
    pub struct NamespaceStatus {
        /// `Active` or `Terminating`.
        phase: String,
        /// What holds up its deletion.
        conditions: Vec<Condition>,
    }
}

record! {
    /// Who holds a lease, and until when.
    pub struct LeaseSpec {
        /// The holder.
        holder_identity: Option<String>,
        /// How long it is held after it was renewed.
        lease_duration_seconds: Option<i32>,
        /// When the holder took it.
        acquire_time: Option<MicroTime>,
        /// When the holder last renewed it.
        renew_time: Option<MicroTime>,
        /// How often it changed hands.
        lease_transitions: Option<i32>,
    }
}
