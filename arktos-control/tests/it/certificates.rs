//! Requests for certificates: who is approved by itself, what is signed and for whom, and when a request goes.

use arktos_control::certificates::{Asked, Certificate, CertificateSigner};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{World, condition};

const REQUESTS: &str = "certificatesigningrequests.certificates.k8s.io";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODE_SERVER: &str = "kubernetes.io/kubelet-serving";

/// A certificate that holds nothing but a text, as far as it is looked into.
fn holding(text: &str) -> String {
    let length = u8::try_from(text.len()).expect("a short text");
    let mut content = vec![0x30, 0, 0x04, 0x81, length];
    content.extend(text.as_bytes());
    let whole = u8::try_from(content.len()).expect("a short text");
    let der = [&[0x30, 0x81, whole], &*content].concat();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

/// A signer whose certificates say in words what they are for; so do requests to it: a user and groups, in lines.
#[derive(Debug)]
pub struct Echo;

impl CertificateSigner for Echo {
    fn read(&self, request: &[u8]) -> Result<Asked, String> {
        let text = String::from_utf8_lossy(request);
        let mut lines = text.lines().skip_while(|line| !line.starts_with("-----END")).skip(1).map(str::to_owned);
        let user = lines.next().ok_or("it is empty")?;
        let (names, groups) = lines.partition(|line| line.starts_with("dns:"));
        Ok(Asked { user, groups, dns_names: names, ..Asked::default() })
    }

    fn sign(&self, _: &[u8], certificate: &Certificate) -> Result<String, String> {
        if certificate.groups.len() > 1 {
            return Err("that is too much".to_owned());
        }
        let lasts = certificate.ends.since(certificate.begins).as_secs();
        let Certificate { user, tenant, groups, serves, .. } = certificate;
        Ok(holding(&format!("{user} of {tenant:?} in {groups:?}, serves {serves}, for {lasts} s")))
    }
}

/// A request, after which comes what the signer of these tests reads.
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHGMG4CAQAwDDEKMAgGA1UEAwwBdTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BJlbLhevLs7vvAKJ1UDaEGquDuunHESu6OdELptd8jPDx8qI3JEME9UbCDkrzhKb
/ApGqDbyEwX3Z+5U5mwS2fGgADAKBggqhkjOPQQDAgNIADBFAiA1YmPm6SuefHsN
LI3iVYKbSmCy/VgpDRc9ykvAwDNVJQIhAJxl1eNb0YrAjlwEwtUz5Gb/930iX3uf
JKk4U8CjQ3CD
-----END CERTIFICATE REQUEST-----
";

/// A request by a component, in whose name it is then set.
fn request(name: &str, signer: &str, subject: &[&str], more: Value) -> Value {
    let pem = format!("{REQUEST}{}", subject.join("\n"));
    let usage = if signer == NODE_SERVER { "server auth" } else { "client auth" };
    let mut spec =
        json!({"request": STANDARD.encode(pem), "signerName": signer, "usages": ["digital signature", usage]});
    spec.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    json!({"metadata": {"name": name}, "spec": spec})
}

fn create(world: &mut World, tenant: &str, request: Value) -> String {
    let path = format!("{tenant}//{}", request["metadata"]["name"].as_str().expect("a name"));
    world.create(REQUESTS, tenant, "", request).expect("created");
    world.settle();
    path
}

fn decide(world: &mut World, path: &str, kind: &str) {
    world.decide(REQUESTS, path, json!([{"type": kind, "status": "True", "reason": "Looked", "message": "by hand"}]));
    world.settle();
}

fn certificate(world: &World, path: &str) -> String {
    let encoded = world.get(REQUESTS, path)["status"]["certificate"].as_str().unwrap_or_default().to_owned();
    let pem = String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text");
    let Some(der) = pem.lines().nth(1).map(|line| STANDARD.decode(line).expect("base64")) else { return String::new() };
    String::from_utf8(der[8..].to_vec()).expect("text")
}

#[test]
fn what_is_approved_is_signed_for_the_tenant_it_is_in() {
    let mut world = World::on_the_road();
    let path = create(&mut world, "acme", request("alice", CLIENT, &["alice", "dev"], json!({})));
    assert_eq!(certificate(&world, &path), "", "nobody has looked");
    decide(&mut world, &path, "Approved");
    let uid = world.get("tenants", "//acme")["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let year = 365 * 24 * 3600 + 300;
    let said = format!(r#"alice of Some("acme:{uid}") in ["dev"], serves false, for {year} s"#);
    assert_eq!(certificate(&world, &path), said);

    let short = request("short", CLIENT, &["alice"], json!({"expirationSeconds": 1200}));
    let path = create(&mut world, "system", short);
    decide(&mut world, &path, "Approved");
    assert_eq!(certificate(&world, &path), "alice of None in [], serves false, for 1500 s");

    let path = create(&mut world, "acme", request("denied", CLIENT, &["alice"], json!({})));
    decide(&mut world, &path, "Denied");
    let own = create(&mut world, "acme", request("own", "example.com/own", &["alice"], json!({})));
    decide(&mut world, &own, "Approved");
    assert_eq!((certificate(&world, &path), certificate(&world, &own)), (String::new(), String::new()));
}

#[test]
fn what_a_signer_does_not_sign_has_failed_and_says_why() {
    let mut world = World::on_the_road();
    let node = ["system:node:n1", "system:nodes", "dns:n1"];
    for (number, (tenant, signer, subject, reason, why)) in [
        ("acme", CLIENT, &["eve", "system:masters"][..], "SignerValidationFailure", "system:masters"),
        ("acme", CLIENT, &["eve", "tenant:umbra"], "SignerValidationFailure", "tenant:umbra"),
        ("system", CLIENT, &["eve", "arktos:components"], "SignerValidationFailure", "arktos:components"),
        ("acme", NODE_SERVER, &node, "SignerValidationFailure", "signs no server certificates"),
        ("system", NODE_CLIENT, &node, "SignerValidationFailure", "DNS subjectAltNames are not allowed"),
        ("system", NODE_CLIENT, &["n1", "system:nodes"], "SignerValidationFailure", "common name"),
        ("system", CLIENT, &["eve", "a", "b"], "SigningError", "too much"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = create(&mut world, tenant, request(&format!("r{number}"), signer, subject, json!({})));
        decide(&mut world, &path, "Approved");
        let failed = condition(&world.get(REQUESTS, &path), "Failed");
        assert_eq!(failed["reason"], reason, "{path}: {failed}");
        assert!(failed["message"].as_str().expect("text").contains(why), "{failed}");
        assert_eq!(certificate(&world, &path), "");
    }
    let path = create(&mut world, "system", request("serving", NODE_SERVER, &node, json!({})));
    decide(&mut world, &path, "Approved");
    assert!(certificate(&world, &path).contains("serves true"));
}

/// The requests of the test are a component's, who may everything.
#[test]
fn a_nodes_request_is_approved_where_a_role_says_so() {
    let mut world = World::on_the_road();
    let path = create(&mut world, "system", request("n1", NODE_CLIENT, &["system:node:n1", "system:nodes"], json!({})));
    let approved = condition(&world.get(REQUESTS, &path), "Approved");
    assert_eq!(approved["reason"], "AutoApproved", "{approved}");
    assert_eq!(approved["message"], "Auto approving kubelet client certificate after SubjectAccessReview.");
    assert!(certificate(&world, &path).starts_with("system:node:n1 of None"));
    let path = create(&mut world, "system", request("other", CLIENT, &["system:node:n1", "system:nodes"], json!({})));
    assert_eq!(condition(&world.get(REQUESTS, &path), "Approved"), Value::Null, "another signer's");
}

#[test]
fn requests_go_an_hour_after_they_were_answered_and_a_day_after_nobody_did() {
    let mut world = World::on_the_road();
    let signed = create(&mut world, "acme", request("signed", CLIENT, &["a"], json!({})));
    let brief = create(&mut world, "acme", request("brief", CLIENT, &["a"], json!({"expirationSeconds": 600})));
    let denied = create(&mut world, "acme", request("denied", CLIENT, &["a"], json!({})));
    let failed = create(&mut world, "acme", request("failed", CLIENT, &["a", "b", "c"], json!({})));
    let pending = create(&mut world, "acme", request("pending", CLIENT, &["a"], json!({})));
    for (path, kind) in [(&signed, "Approved"), (&brief, "Approved"), (&denied, "Denied"), (&failed, "Approved")] {
        decide(&mut world, path, kind);
    }
    let there = |world: &World, path: &str| world.find(REQUESTS, path).is_some();
    world.jump(601);
    assert!(!there(&world, &brief), "it is no longer valid");
    world.jump(2998);
    for path in [&signed, &denied, &failed, &pending] {
        assert!(there(&world, path), "{path}");
    }
    world.jump(2);
    for path in [&signed, &denied, &failed] {
        assert!(!there(&world, path), "{path}");
    }
    world.jump(22 * 3600);
    assert!(there(&world, &pending));
    world.jump(3600);
    assert!(!there(&world, &pending));
}
