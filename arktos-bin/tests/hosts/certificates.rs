//! A host's own certificates: the next one is asked for with the one it has.

use arktos_core::GroupResource;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use crate::world::{World, object, runtime, until};
use arktos_api::Identity;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// A request for a certificate of a node, as node agents make it.
fn request(name: &str, node: &str, signer: &str, address: Option<&str>) -> Value {
    let mut params = CertificateParams::new(address.map(str::to_owned).into_iter().collect::<Vec<_>>()).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    let pem = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request").pem().expect("PEM");
    let usage = if address.is_some() { "server auth" } else { "client auth" };
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": ["digital signature", usage]}})
}

#[test]
fn a_host_renews_its_certificate_by_itself_and_nobody_else_s() {
    let (client, server) = ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving");
    runtime().block_on(async {
        let world = World::new().await;
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "node-renew"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]});
        let bindings = GroupResource::new("rbac.authorization.k8s.io", "clusterrolebindings");
        let administrator = world.manager.api().client(Identity::system_component("test"));
        administrator.create(&bindings, "system", "", object(binding)).await.expect("is bound");

        let asked = world.ask("n1", Method::POST, REQUESTS, request("own", "n1", client, None)).await;
        assert_eq!(asked.code, 201, "{}", asked.body);
        let path = format!("{REQUESTS}/own");
        let mut signed = String::new();
        until("the certificate is signed", async || {
            let found = world.get("n1", &path).await.body;
            signed = found["status"]["certificate"].as_str().unwrap_or_default().to_owned();
            !signed.is_empty()
        })
        .await;
        let approved = &world.get("n1", &path).await.body["status"]["conditions"][0];
        let why = "Auto approving self kubelet client certificate after SubjectAccessReview.";
        assert_eq!((&approved["type"], &approved["message"]), (&json!("Approved"), &json!(why)));
        let pem = String::from_utf8(STANDARD.decode(signed).expect("base64")).expect("PEM");
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
        let mut parts = http::Request::new(()).into_parts().0;
        parts.extensions.insert(arktos_api::PeerCertificate::new(pem.contents));
        let who = arktos_api::authenticator(arktos_api::TokenTable::default(), false)(&parts).expect("it is known");
        assert_eq!((who.node(), who.is_system()), (Some("n1"), true));

        for (name, signer, address) in [("other", client, None), ("serves", server, Some("n2.example"))] {
            let refused = world.ask("n1", Method::POST, REQUESTS, request(name, "n2", signer, address)).await;
            assert_eq!(refused.code, 403, "{}", refused.body);
            let why = "can only create a node CSR with CN=system:node:n1";
            assert!(refused.body["message"].as_str().expect("a message").ends_with(why), "{}", refused.body);
        }

        // A server's certificate is asked for, and looked at by a person.
        let asked = world.ask("n1", Method::POST, REQUESTS, request("serves", "n1", server, Some("n1.example"))).await;
        assert_eq!(asked.code, 201, "{}", asked.body);
        let approval = json!({"status": {"conditions": [
            {"type": "Approved", "status": "True", "reason": "Mine", "message": "by itself"}]}});
        let itself = world.ask("n1", Method::PATCH, &format!("{REQUESTS}/serves/approval"), approval).await;
        assert_eq!(itself.code, 403, "{}", itself.body);
        world.stop().await;
    });
}
