//! A certificate that is asked for through the API, by a tenant of a whole region: it is its tenant's and no more.

mod process;

use std::time::{Duration, Instant};

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::remote::Remote;
use arktos_bin::net::tls::Credential;
use arktos_core::catalog::Catalog;
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Reason};
use arktos_store::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use process::{PATIENCE, Region};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

fn requests() -> GroupResource {
    GroupResource::new("certificates.k8s.io", "certificatesigningrequests")
}

/// A request for `alice`, in the group `admins` of whoever reads it, and its key.
fn request() -> (String, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.distinguished_name.push(DnType::OrganizationName, "admins");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "system:masters");
    (params.serialize_request(&key).expect("a request").pem().expect("PEM"), key)
}

fn client(config: &Kubeconfig) -> Remote {
    Remote::new(config, Catalog::builtin()).expect("a client")
}

async fn signed(admin: &Remote, pem: &str) -> String {
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "alice"},
        "spec": {"request": STANDARD.encode(pem), "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
    });
    let request = Object::from_value(request).expect("an object");
    let stored = admin.create(&requests(), "acme", "", request).await.expect("is asked for");
    let key = ObjectKey { resource: requests(), path: ObjectPath::new("acme", "", "alice") };
    let mut request = stored.object.decode(Some(stored.revision)).expect("decodes");
    let approved = json!([{"type": "Approved", "status": "True", "reason": "Looked", "message": "by hand"}]);
    request.set(&["status", "conditions"], approved);
    admin.update(&key, Some("approval"), request).await.expect("is approved");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = admin.get(&key).await.expect("is there");
        let request = stored.object.decode(None).expect("decodes");
        let certificate = STANDARD.decode(request.str_at(&["status", "certificate"])).expect("base64");
        if !certificate.is_empty() {
            return String::from_utf8(certificate).expect("PEM");
        }
        assert!(Instant::now() < deadline, "it is not signed: {request:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_tenants_certificate_is_of_its_tenant_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let region = Region::start(directory.path(), &["--hosts", "0", "--tenants", "acme,umbra"]);
    let mut config = Kubeconfig::read(&region.kubeconfig(None)).expect("a kubeconfig");
    let admin = client(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "admins"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "admins"}],
        });
        let bindings = GroupResource::new("rbac.authorization.k8s.io", "clusterrolebindings");
        for tenant in ["acme", "umbra", "system"] {
            let binding = Object::from_value(binding.clone()).expect("an object");
            admin.create(&bindings, tenant, "", binding).await.expect("is bound");
        }
        let (pem, key) = request();
        let certificate = signed(&admin, &pem).await;
        config.credential = Some(Credential { certificate, key: key.serialize_pem() });
        let alice = client(&config);
        let namespace = |tenant: &str| ObjectKey {
            resource: GroupResource::core("namespaces"),
            path: ObjectPath::new(tenant, "", "default"),
        };
        alice.get(&namespace("acme")).await.expect("is her own");
        for tenant in ["umbra", "system"] {
            let refused = alice.get(&namespace(tenant)).await.expect_err("is another's");
            assert!(refused.is(Reason::Forbidden), "{tenant}: {refused}");
        }
        let tenants = ObjectKey { resource: GroupResource::core("tenants"), path: ObjectPath::new("", "", "acme") };
        assert!(alice.get(&tenants).await.expect_err("is the region's").is(Reason::Forbidden));
    });
}
