//! Webhooks over real connections: the real program calls a server of this test over TLS, and only where it may.

mod process;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arktos_bin::net::pki::Authority;
use arktos_bin::net::{serve, tls};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use process::http::Caller;
use process::world::World;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// A server of webhooks: what it does is in the path.
struct Hooks {
    address: SocketAddr,
    /// Who signed its certificate.
    authority: String,
    asked: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Hooks {
    fn start(directory: &Path, address: &str) -> Self {
        let authority = Authority::open(&directory.join("hooks-pki")).expect("an authority");
        let ip = address.parse().expect("an address");
        let credential = authority.server(address, &[ip], &["localhost".to_owned()]).expect("a certificate");
        let tls = tls::server(&credential, authority.certificate()).expect("usable");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { Ok::<_, Infallible>(answer(request).await) }
        });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind((ip, 0))).expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopping) = tokio::sync::watch::channel(false);
        runtime.spawn(serve::serve(listener, Some(tls), service, stopping));
        let authority = authority.certificate().to_owned();
        Self { address, authority, asked, _runtime: runtime, _stop: stop }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut review: Value = serde_json::from_slice(&body).expect("a review");
    let uid = review["request"]["uid"].clone();
    let response = match head.uri.path() {
        "/allow" => json!({"uid": uid, "allowed": true}),
        "/deny" => json!({"uid": uid, "allowed": false, "status": {"message": "not today", "code": 403}}),
        "/redirect" => {
            return Response::builder().status(307).header("location", "/allow").body(Full::default()).expect("one");
        }
        "/slow" => std::future::pending().await,
        "/long" => json!({"uid": uid, "allowed": true, "x": "y".repeat(4 << 20)}),
        "/text" => return Response::new(Full::from("nothing of the sort")),
        "/convert" => {
            let wanted = review["request"]["desiredAPIVersion"].clone();
            let mut objects = review["request"]["objects"].take();
            for object in objects.as_array_mut().expect("a list") {
                object["apiVersion"] = wanted.clone();
            }
            json!({"uid": uid, "result": {"status": "Success"}, "convertedObjects": objects})
        }
        other => panic!("nobody should ask for {other}"),
    };
    let answer = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response});
    Response::new(Full::from(answer.to_string()))
}

/// A region, and webhooks that it may call.
struct Site {
    world: World,
    hooks: Hooks,
}

impl Site {
    /// A region that may call webhooks at 127.0.0.1, and nowhere else on this machine.
    fn start() -> Self {
        Self::allowing("127.0.0.1/32")
    }

    /// A region that may call webhooks in these ranges.
    fn allowing(ranges: &str) -> Self {
        let allowed = ["--webhook-allowed-ranges", ranges];
        let world = World::start(&[&allowed[..], &["--tenants=acme", "--hosts=0", "--store=memory"]].concat());
        let hooks = Hooks::start(world.directory.path(), "127.0.0.1");
        Self { world, hooks }
    }

    fn acme(&self) -> Caller<'static> {
        self.world.acme()
    }

    /// What becomes of a write while a webhook at a URL must be asked.
    fn write_past(&self, url: &str, authority: &str, extra: &Value) -> (u16, Value) {
        let mut webhook = json!({
            "name": "v.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(authority)},
            "timeoutSeconds": if url.ends_with("/slow") { 2 } else { 30 },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        });
        let fields = webhook.as_object_mut().expect("an object");
        fields.extend(extra.as_object().expect("an object").clone());
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "w"}, "webhooks": [webhook],
        });
        let (code, made) = self.acme().post(CONFIGURATIONS, &configuration);
        assert_eq!(code, 201, "{made}");
        let map = json!({"metadata": {"generateName": "m-"}});
        let answer = self.acme().post(MAPS, &map);
        assert_eq!(self.acme().delete(&format!("{CONFIGURATIONS}/w")).0, 200);
        answer
    }

    fn refused(&self, url: &str, authority: &str) -> String {
        let (code, answer) = self.write_past(url, authority, &json!({}));
        assert_eq!(code, 500, "{url}: {answer}");
        let message = answer["message"].as_str().expect("a message").to_owned();
        let head = "Internal error occurred: failed calling webhook \"v.example.com\": ";
        assert!(message.starts_with(head), "{message}");
        // With another policy it is passed over.
        let (code, answer) = self.write_past(url, authority, &json!({"failurePolicy": "Ignore"}));
        assert_eq!(code, 201, "{url}: {answer}");
        message
    }
}

#[test]
fn a_webhook_is_asked_over_tls_and_its_answer_counts() {
    let site = Site::start();
    let (hooks, nothing) = (&site.hooks, json!({}));
    let (code, answer) = site.write_past(&hooks.url("allow"), &hooks.authority, &nothing);
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = site.write_past(&hooks.url("deny"), &hooks.authority, &nothing);
    assert_eq!(
        (code, &answer["message"]),
        (403, &json!("admission webhook \"v.example.com\" denied the request: not today"))
    );
    assert_eq!(hooks.asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_name_may_stand_for_addresses_of_both_families() {
    // Whichever this machine has for `localhost`, and in whichever order: the webhook listens at one of them.
    let site = Site::allowing("127.0.0.1/32,::1/128");
    let url = format!("https://localhost:{}/allow", site.hooks.address.port());
    let (code, answer) = site.write_past(&url, &site.hooks.authority, &json!({}));
    assert_eq!(code, 201, "{answer}");
}

#[test]
fn a_webhook_that_does_not_answer_as_one_refuses_or_is_passed_over() {
    let site = Site::start();
    let (hooks, other) = (&site.hooks, Authority::open(&site.world.directory.path().join("other-pki")).expect("made"));
    assert!(site.refused(&hooks.url("slow"), &hooks.authority).contains("context deadline exceeded"));
    assert_eq!(hooks.asked.load(Ordering::Relaxed), 2, "it was asked, and did not answer in its time");
    assert!(site.refused(&hooks.url("allow"), other.certificate()).contains("tls: "));
    assert!(site.refused(&hooks.url("redirect"), &hooks.authority).contains("the server answered 307"));
    assert!(site.refused(&hooks.url("long"), &hooks.authority).contains("reading the answer: "));
    assert!(site.refused(&hooks.url("text"), &hooks.authority).contains("the answer is not JSON"));
    // A port where nobody listens, and nobody is given by chance; and one that speaks no TLS.
    assert!(site.refused("https://127.0.0.1:1/allow", &hooks.authority).contains("dial tcp 127.0.0.1"));
    let plain = site.world.region.insecure.expect("a plain address");
    assert!(site.refused(&format!("https://{plain}/allow"), &hooks.authority).contains("tls: "));
}

#[test]
fn what_a_tenant_could_not_reach_is_not_reached_for_it() {
    let site = Site::start();
    // It is there, and listens; it just is not at an address that the operator has allowed.
    let inside = Hooks::start(site.world.directory.path(), "127.0.0.2");
    let port = inside.address.port();
    for host in ["127.0.0.2", "[::1]", "[::ffff:127.0.0.2]", "169.254.169.254", "10.0.0.1", "0.0.0.0", "2130706434"] {
        let why = site.refused(&format!("https://{host}:{port}/allow"), &inside.authority);
        assert!(why.contains("webhooks may not be called at") || why.contains("looking up"), "{host}: {why}");
    }
    assert_eq!(inside.asked.load(Ordering::Relaxed), 0);
}

#[test]
fn custom_resources_are_converted_over_tls() {
    let site = Site::start();
    let client = json!({"url": site.hooks.url("convert"), "caBundle": STANDARD.encode(&site.hooks.authority)});
    let version = |name: &str| {
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "links.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"plural": "links", "kind": "Link"},
            "versions": [version("v1"), version("v2")],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": client,
            }},
        },
    });
    let acme = site.acme();
    let (code, made) = acme.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
    assert_eq!(code, 201, "{made}");
    let link = json!({"apiVersion": "example.org/v2", "kind": "Link", "metadata": {"name": "a"}, "color": "red"});
    let (code, made) = acme.post("/apis/example.org/v2/namespaces/default/links", &link);
    assert_eq!((code, &made["apiVersion"], &made["color"]), (201, &json!("example.org/v2"), &json!("red")), "{made}");
    let (code, found) = acme.get("/apis/example.org/v1/namespaces/default/links/a");
    assert_eq!(
        (code, &found["apiVersion"], &found["color"]),
        (200, &json!("example.org/v1"), &json!("red")),
        "{found}"
    );
    assert!(site.hooks.asked.load(Ordering::Relaxed) >= 2);
}
