//! Sockets, TLS, certificates and the API over HTTP: everything about the network, and nothing else.

pub mod address;
pub mod forward;
pub mod kubeconfig;
pub mod pki;
pub mod remote;
pub mod serve;
pub mod tls;
