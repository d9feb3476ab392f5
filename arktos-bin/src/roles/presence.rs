//! The Lease by which an API server shows that it serves: `kube-system/apiserver-NAME`, as upstream's servers have it.
//!
//! It also moves the revisions of a store that nobody else writes to. Clients expect that of a cluster: a list that
//! they began long ago is too old one day, and is gone on with at a newer revision.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{KindOf, Lease};
use arktos_core::{ObjectKey, ObjectPath, TenantName, Timestamp};
use arktos_store::client::Patch;
use arktos_store::{Client, Clock};
use serde_json::{Value, json};

/// How often it is renewed: several times while a list stays good. Upstream's servers do so every ten seconds.
const PERIOD: Duration = Duration::from_secs(60);
/// For how long it holds; whoever has not renewed it since is gone.
const LEASE_DURATION_SECONDS: u32 = 3600;

/// Renews the lease for ever.
pub(super) async fn show(client: Arc<dyn Client>, clock: Arc<dyn Clock>, server: String) {
    let path = ObjectPath::new(TenantName::SYSTEM, "kube-system", &format!("apiserver-{server}"));
    let key = ObjectKey { resource: Lease::resource(), path };
    loop {
        let config = lease(&key, &server, clock.now());
        let patch = Patch::Apply { config, manager: "kube-apiserver".to_owned(), force: true };
        if let Err(error) = client.patch(&key, None, patch).await {
            tracing::warn!(server, %error, "the lease of this API server could not be renewed");
        }
        clock.sleep(PERIOD).await;
    }
}

fn lease(key: &ObjectKey, server: &str, now: Timestamp) -> Value {
    let name = key.path.name();
    let labels = json!({"apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": server});
    let (api_version, kind) = Lease::TYPE;
    json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels},
        "spec": {
            "holderIdentity": name, "leaseDurationSeconds": LEASE_DURATION_SECONDS, "renewTime": now.to_micro_string(),
        },
    })
}
