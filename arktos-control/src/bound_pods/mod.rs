//! How a resource manager shows its hosts the pods that partitions have bound to them.
//!
//! To a host its resource manager looks like a whole API server. The pods of all partitions and tenants appear there in
//! namespaces that stand for (partition, tenant, namespace), one to one ([`projection`]). What hosts write of a pod goes
//! to the partition it came from ([`Origins`]). The pods themselves are read from an engine that an aggregator keeps.

mod origins;
mod project;

pub use origins::Origins;
pub use project::{Origin, projected_namespace, projection};
