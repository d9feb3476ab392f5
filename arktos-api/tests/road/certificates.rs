//! What nobody may ask a certificate for (CertificateSubjectRestriction), and what a node may not (NodeRestriction).

use arktos_api::TokenTable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

use crate::{Answer, World};

const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// A request for a certificate that says nothing in particular, in base64.
pub fn signing_request() -> String {
    let made = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    STANDARD.encode(made.pem().unwrap())
}

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

#[tokio::test]
async fn what_is_no_request_for_a_certificate_is_refused_when_it_is_made() {
    let world = World::new().await;
    let refused = |request: String| {
        let spec = json!({"request": request, "signerName": "example.com/own", "usages": ["client auth"]});
        let body = json!({"metadata": {"name": "r"}, "spec": spec});
        let world = world.clone();
        async move {
            let answer = world.post("acme", PATH, body).await;
            let cause = answer.body["details"]["causes"][0].clone();
            let why = cause["message"].as_str().unwrap().rsplit_once("\": ").unwrap().1.to_owned();
            assert_eq!((answer.code, &cause["field"]), (422, &json!("spec.request")), "{}", answer.body);
            why
        }
    };
    let whole = String::from_utf8(STANDARD.decode(signing_request()).unwrap()).unwrap();
    let begin = "-----BEGIN CERTIFICATE REQUEST-----\n";
    let text = "PEM block type must be CERTIFICATE REQUEST";
    assert_eq!(refused(STANDARD.encode("hello")).await, text);
    assert_eq!(refused(STANDARD.encode(whole.replace(" REQUEST", ""))).await, text);
    assert_eq!(refused(STANDARD.encode(format!("{begin}AAAA"))).await, text);
    let broken = whole.replacen(begin, &format!("{begin}MAAA"), 1);
    assert_eq!(refused(STANDARD.encode(broken)).await, "asn1: syntax error: sequence truncated");
    let spec = json!({"request": signing_request(), "signerName": "example.com/own", "usages": ["client auth"]});
    let made = world.post("acme", PATH, json!({"metadata": {"name": "r"}, "spec": spec})).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

/// A server with a node, who may do anything that is not kept from nodes, and once more without rights.
async fn nodes(disabled: &[&str]) -> World {
    World::with(|config| {
        let tokens = "root,admin,,system:masters\n\
                      n1,system:node:n1,,\"system:nodes,system:masters\"\n\
                      weak,system:node:n1,,system:nodes\n";
        config.tokens = TokenTable::parse(tokens).unwrap();
        config.admission.disabled.extend(disabled.iter().map(|name| (*name).to_owned()));
    })
    .await
}

#[tokio::test]
async fn a_node_asks_for_certificates_in_its_own_name_alone() {
    let world = nodes(&[]).await;
    let refused = |answer: &Answer, why: &str| {
        assert_eq!(answer.code, 403, "{}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().ends_with(why), "{}", answer.body);
    };
    let request = |user: &str, signer: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        let made = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let usage = if signer.ends_with("serving") { "server auth" } else { "client auth" };
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "csr-"}, "spec": {
            "request": STANDARD.encode(&made), "signerName": signer, "usages": ["digital signature", usage]}})
    };
    for signer in ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"] {
        for who in ["n1", "weak"] {
            let own = world.post(who, PATH, request("system:node:n1", signer)).await;
            assert_eq!(own.code, 201, "{}", own.body);
            let other = world.post(who, PATH, request("system:node:n2", signer)).await;
            refused(&other, "can only create a node CSR with CN=system:node:n1");
        }
        let asked = world.post("root", PATH, request("system:node:n2", signer)).await;
        assert_eq!(asked.code, 201, "who is no node is not restricted: {}", asked.body);
    }
    let other = world.post("n1", PATH, request("alice", "kubernetes.io/kube-apiserver-client")).await;
    assert_eq!(other.code, 201, "another signer's are looked at by whoever approves them: {}", other.body);
    let plain = nodes(&["NodeRestriction"]).await;
    let kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
    assert_eq!(plain.post("n1", PATH, request("system:node:n2", kubelet)).await.code, 201);
}
