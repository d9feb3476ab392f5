//! What nobody may ask a certificate for (CertificateSubjectRestriction).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use crate::World;

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

fn request(name: &str, group: &str, signer: &str) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "alice");
    params.distinguished_name.push(DnType::OrganizationName, group);
    let pem = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let spec = json!({"request": STANDARD.encode(pem), "signerName": signer, "usages": ["client auth"]});
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": spec})
}

#[tokio::test]
async fn no_client_certificate_is_asked_for_those_who_may_everything() {
    let world = World::new().await;
    for token in ["root", "acme"] {
        for group in ["system:masters", "arktos:components"] {
            let refused = world.post(token, PATH, request("r", group, CLIENT)).await;
            assert_eq!(refused.code, 403, "{}", refused.body);
            let why = format!("use of {CLIENT} signer with {group} group is not allowed");
            assert!(refused.body["message"].as_str().unwrap().ends_with(&why), "{}", refused.body);
        }
        assert_eq!(world.post(token, PATH, request("dev", "dev", CLIENT)).await.code, 201);
        assert_eq!(world.post(token, PATH, request("own", "system:masters", "example.com/own")).await.code, 201);
    }
}
