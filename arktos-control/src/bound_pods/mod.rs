//! How a resource manager shows its hosts the pods that partitions have bound to them.
//!
//! To a host its resource manager looks like a whole API server. The pods of all partitions and tenants appear there in
//! namespaces that stand for (partition, tenant, namespace), one to one ([`projection`]). What hosts write of a pod
//! goes to the partition it came from ([`Origins`]). The pods themselves are read from an engine that an aggregator
//! keeps. What the pods name (secrets, config maps, accounts' tokens) stays where it is, and is asked for there in the
//! host's name ([`HostViews`]), and so are the volumes that their claims are bound to; of services, those in the
//! namespaces of its pods are shown to a host as one list ([`HostServices`]), and of the classes that say what is
//! installed on hosts the region's own ([`HostClasses`]).

mod classes;
mod origins;
mod project;
mod services;
mod views;
mod volumes;

pub use classes::HostClasses;
pub use origins::Origins;
pub use project::{Origin, projected_namespace, projection};
pub use services::HostServices;
pub use views::HostViews;
pub use volumes::projected_volume;
