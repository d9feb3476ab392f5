//! Clients and informers over real sockets: against a server of our own, and against one that knows no tenants and does
//! what a test says.

mod own;
mod plain;
mod script;

use std::time::Duration;

use arktos_core::GroupResource;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

fn maps() -> GroupResource {
    GroupResource::core("configmaps")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
