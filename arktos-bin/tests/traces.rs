//! One request, seen from a collector of traces: what gateway, partition and resource manager did for it are spans of
//! one trace. Against the real programs, over sockets.

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::Read;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use arktos_bin::net::serve;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use parking_lot::Mutex;
use process::http::Caller;
use process::roles::{Place, Process, caller};
use process::world::World;
use process::{PATIENCE, pause};
use prost::Message;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
const FIRST: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SECOND: &str = "11111111111111111111111111111111";
const THIRD: &str = "22222222222222222222222222222222";

/// What roles have sent: each span with the service that it is of.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector, for as long as the sender is kept.
fn collector(runtime: &tokio::runtime::Runtime) -> (String, Spans, tokio::sync::watch::Sender<bool>) {
    let spans = Spans::default();
    let into = spans.clone();
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let into = into.clone();
        async move {
            assert_eq!((request.uri().path(), request.method().as_str()), ("/v1/traces", "POST"));
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            for of_one in ExportTraceServiceRequest::decode(body).expect("OTLP").resource_spans {
                let resource = of_one.resource.expect("a resource");
                let named = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
                let service = text(named.and_then(|named| named.value.as_ref()).and_then(|value| value.value.as_ref()));
                let all = of_one.scope_spans.into_iter().flat_map(|scope| scope.spans);
                into.lock().extend(all.map(|span| (service.clone(), span)));
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (stop, stopping) = tokio::sync::watch::channel(false);
    runtime.spawn(serve::serve(listener, None, service, stopping));
    (url, spans, stop)
}

fn text(value: Option<&any_value::Value>) -> String {
    match value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[allow(clippy::disallowed_methods)] // other processes have no clock that could be stepped
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what} never came");
        pause();
    }
}

/// Asks a process to stop, and waits until it has.
fn stop(mut process: Process) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    until("the end of a role", || !process.runs());
}

fn pod(name: &str) -> Value {
    let spec = json!({"nodeName": "host-0", "containers": [{"name": "c", "image": "i"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

/// Each span of a trace: `service kind name`, below the one that is its parent.
fn tree(spans: &[(String, Span)], trace: &str) -> Vec<(String, String)> {
    let of_it = || spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace);
    let said = |(service, span): &(String, Span)| {
        let kind = if span.kind == SpanKind::Server as i32 { "serves" } else { "asks" };
        format!("{service} {kind} {}", span.name)
    };
    let names: BTreeMap<String, String> = of_it().map(|span| (hex(&span.1.span_id), said(span))).collect();
    let mut all: Vec<_> = of_it()
        .map(|span| {
            let above = hex(&span.1.parent_span_id);
            (names.get(&above).cloned().unwrap_or(above), said(span))
        })
        .collect();
    all.sort();
    all
}

/// A trace has these spans, each below its parent, and of all its spans the parent is known.
fn has(spans: &[(String, Span)], trace: &str, expected: &[(&str, &str)]) {
    let tree = tree(spans, trace);
    for (above, below) in expected {
        let there = tree.iter().any(|(parent, span)| (&**parent, &**span) == (*above, *below));
        assert!(there, "{below} below {above} is not in {tree:#?}");
    }
    let lost = tree.iter().find(|(above, _)| !above.starts_with("arktos-") && above != "00f067aa0ba902b7");
    assert_eq!(lost, None);
}

#[test]
fn what_the_roles_do_for_a_request_is_one_trace() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (url, spans, _collecting) = collector(&runtime);
    let mut place = Place::new();
    let (policy, audit) = (place.path("policy.yaml"), place.path("audit.log"));
    std::fs::write(&policy, POLICY).expect("written");
    let tokens = place.path("tokens.csv");
    let tokens = ["--token-auth-file", tokens.to_str().expect("a path"), "--insecure-listen", "127.0.0.1:0"];
    let traced = ["--otlp-endpoint", &url];
    let directory = place.keeper("directory", "directory", &traced);
    place.found_at = format!("https://{}", directory.address.expect("it serves"));
    let manager = place.member("resource-manager", "rm-1", &[&traced[..], &tokens].concat());
    let audited = [policy.to_str().expect("a path"), audit.to_str().expect("a path")];
    let audited = ["--audit-policy-file", audited[0], "--audit-log-path", audited[1]];
    let partition = place.member("partition", "tp-1", &[&traced[..], &audited].concat());
    let hosts = place.hosts("rm-1", &manager, 1, "host");
    let gateway = place.gateway(&[&traced[..], &["--log-format", "json"]].concat());
    let root = caller(&gateway, "root-token");
    until("a host that takes pods", || root.post(PODS, &pod("untraced")).0 == 201);

    let header = |trace: &str, flags: &str| format!("traceparent: 00-{trace}-00f067aa0ba902b7-{flags}\r\n");
    let first = header(FIRST, "01");
    // A host that reports at the same moment makes it a conflict.
    until("a pod", || root.saying(&first).post(PODS, &pod("traced")).0 == 201);
    until("a pod", || root.saying(&header(THIRD, "00")).post(PODS, &pod("unsampled")).0 == 201);
    let bad = format!("traceparent: 00-{THIRD}-xyz-01\r\n");
    assert_eq!(root.saying(&bad).get(PODS).0, 200, "a malformed one counts for nothing");
    let at_manager = caller(&manager, "root-token");
    let path = shown_at(&at_manager, "traced");
    let report = json!({"status": {"message": "as a host says it"}});
    let second = header(SECOND, "01");
    until("a report", || at_manager.saying(&second).patch(&format!("{path}/status"), &report).0 == 200);

    for process in [partition, manager, hosts] {
        stop(process);
    }
    assert_eq!(root.saying(&first).get(PODS).0, 503);
    until("a line of the log", || gateway.said.lock().contains("a backend cannot be reached"));
    let said = gateway.said.lock().clone();
    let line = said.lines().find(|line| line.contains("a backend cannot be reached")).expect("a line");
    assert!(line.contains(&format!("\"trace_id\":\"{FIRST}\"")), "{line}");
    stop(gateway);
    stop(directory);

    let spans = spans.lock().clone();
    let (passes, takes) = ("arktos-gateway serves POST pods", "arktos-partition serves POST pods");
    let asks = "arktos-partition asks POST claimreviews.region.arktos.io";
    let claims = "arktos-resource-manager serves POST claimreviews.region.arktos.io";
    has(
        &spans,
        FIRST,
        &[
            ("00f067aa0ba902b7", passes),
            ("00f067aa0ba902b7", "arktos-gateway serves GET pods"),
            (passes, takes),
            (takes, asks),
            (asks, claims),
        ],
    );
    let (reports, sends, keeps) = (
        "arktos-resource-manager serves PATCH pods",
        "arktos-resource-manager asks PATCH pods",
        "arktos-partition serves PATCH pods",
    );
    has(&spans, SECOND, &[("00f067aa0ba902b7", reports), (reports, sends), (sends, keeps)]);
    let others = spans.iter().find(|(_, span)| ![FIRST, SECOND].contains(&&*hex(&span.trace_id)));
    assert_eq!(others, None, "nothing else was to be sampled");

    let taken = spans.iter().find(|(service, span)| service == "arktos-partition" && span.name == "POST pods");
    let id = &taken.expect("a span").1.attributes.iter().find(|it| it.key == "arktos.audit_id").expect("an id").value;
    let id = text(id.as_ref().and_then(|value| value.value.as_ref()));
    let audit = std::fs::read_to_string(&audit).expect("a log");
    let entered: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let trace_of = |name: &str| {
        let event = entered.iter().find(|event| event["stage"] == "ResponseComplete" && event["auditID"] == name);
        event.map(|event| event["annotations"]["arktos.io/trace-id"].clone())
    };
    assert_eq!(trace_of(&id), Some(json!(FIRST)));
    let unsampled = entered.iter().any(|event| event["annotations"]["arktos.io/trace-id"] == THIRD);
    assert!(unsampled, "what is not sampled has an id, too");
}

#[test]
fn a_request_without_a_trace_begins_one_by_the_rate() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (url, spans, _collecting) = collector(&runtime);
    let world = World::start(&["--tenants", "acme", "--otlp-endpoint", &url, "--trace-sampling", "1"]);
    for _ in 0..2 {
        assert_eq!(world.acme().get("/api/v1/namespaces/default/configmaps").0, 200);
    }
    let World { region, directory: _kept } = world;
    assert!(region.stop().success());
    let spans = spans.lock().clone();
    let asked: Vec<&Span> =
        spans.iter().filter(|(_, span)| span.name == "GET configmaps").map(|(_, span)| span).collect();
    let traces: BTreeSet<&[u8]> = asked.iter().map(|span| &span.trace_id[..]).collect();
    assert_eq!(traces.len(), 2, "{spans:?}");
    assert!(asked.iter().all(|span| span.parent_span_id.is_empty()));
}

#[test]
fn a_collector_that_is_not_there_holds_nobody_up_and_what_is_lost_is_counted() {
    let nobody = "https://127.0.0.1:1"; // and no authority is named: the machine's are asked
    let world = World::start(&["--tenants", "acme", "--otlp-endpoint", nobody, "--trace-sampling", "1"]);
    assert_eq!(world.acme().get("/api/v1/namespaces/default/configmaps").0, 200);
    until("a count of lost spans", || {
        let mut text = String::new();
        world.root().stream("/metrics").expect("it listens").read_to_string(&mut text).expect("it answers");
        let line = text.lines().find_map(|line| line.strip_prefix(r#"arktos_trace_spans_total{outcome="failed"} "#));
        line.expect("a count").parse::<u64>().expect("a number") > 0
    });
    let World { region, directory: _kept } = world;
    assert!(region.stop().success());
}

/// Where a resource manager shows a pod of a partition.
fn shown_at(manager: &Caller<'_>, name: &str) -> String {
    let mut found = None;
    until("the pod at its resource manager", || {
        let pods = manager.get("/api/v1/pods").1;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        found = pods.into_iter().map(|pod| pod["metadata"].clone()).find(|meta| meta["name"] == name);
        found.is_some()
    });
    let meta = found.expect("it was found");
    format!("/api/v1/namespaces/{}/pods/{name}", meta["namespace"].as_str().expect("a namespace"))
}
