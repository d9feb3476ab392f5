//! Traces: what the roles of a region do for one request, as OpenTelemetry spans with one trace id.
//!
//! A request that comes in with a `traceparent` belongs to that trace ([`Traced`]); what is asked of other roles
//! meanwhile is part of it ([`Call`]). Where the operator named a collector, what is sampled is sent there
//! ([`start`]). A request that belongs to no trace costs one look into its headers.
//!
//! As with log lines, there is one of it in a process.

mod call;
mod export;
mod request;
mod strangers;

use std::sync::OnceLock;

use arktos_api::TraceParent;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

pub use self::call::Call;
pub use self::export::{Counts, ExportError, counts};
pub use self::request::Traced;

use self::export::{Queue, Sender};

/// How much of a text goes into a span, in bytes: more than any path that leads to an object has.
const TEXT_MAX: usize = 1024;

/// What is exported, and where to.
#[derive(Debug, Clone, Default)]
pub struct TraceOptions {
    /// The collector's base URL, to which `/v1/traces` is added.
    pub endpoint: String,
    /// The authority that signed the collector's certificate, as PEM; those that the machine trusts where it is empty.
    pub authority: String,
    /// How many of the requests that come without a trace begin one that is kept: from 0 to 1.
    pub rate: f64,
    /// Which role this is, such as `partition`.
    pub role: String,
    /// Which of them.
    pub name: String,
}

/// The process's exporter.
struct Exporter {
    tracer: SdkTracer,
    /// Whether requests without a trace may begin one.
    begins: bool,
    sender: Sender,
}

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// Begins to export. Only the first call in a process does, and it needs a tokio runtime.
///
/// # Errors
/// When the authority's certificate is unusable.
pub fn start(options: &TraceOptions) -> Result<(), ExportError> {
    let identity = [
        KeyValue::new("service.instance.id", options.name.clone()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let service = format!("arktos-{}", options.role);
    let resource = Resource::builder_empty().with_service_name(service).with_attributes(identity).build();
    let (queue, sender) = Queue::start(options, &resource)?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.rate)));
    let provider = SdkTracerProvider::builder().with_sampler(sampler).with_resource(resource);
    let tracer = provider.with_span_processor(queue).build().tracer("arktos");
    let _ = EXPORTER.set(Exporter { tracer, begins: options.rate > 0.0, sender }); // the first one stays
    Ok(())
}

/// Sends what is still queued, for as long as a process that was told to stop may take.
pub async fn stop() {
    if let Some(exporter) = EXPORTER.get() {
        exporter.sender.stop().await;
    }
}

fn exporter() -> Option<&'static Exporter> {
    EXPORTER.get()
}

/// The place in a trace that somebody else has named.
fn context_of(place: TraceParent) -> Context {
    let flags = if place.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (place.trace_id.into(), place.parent_id.into());
    Context::new().with_remote_span_context(SpanContext::new(trace, span, flags, true, TraceState::default()))
}

/// The place that what is asked of others has in a trace; nothing in none.
fn place_in(context: &SpanContext) -> Option<TraceParent> {
    context.is_valid().then(|| TraceParent {
        trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
        parent_id: u64::from_be_bytes(context.span_id().to_bytes()),
        sampled: context.is_sampled(),
    })
}

/// What a span of a request is called: by what was asked, and not by whose it is or what it is called.
fn name_of(method: &http::Method, path: &str) -> String {
    let method = short(method.as_str());
    match arktos_api::resource_in(path) {
        Some((group, _, resource)) if group.is_empty() => format!("{method} {}", short(&resource)),
        Some((group, _, resource)) => format!("{method} {}.{}", short(&resource), short(&group)),
        None => method.to_owned(),
    }
}

/// What a span says of what was asked.
fn asked(method: &http::Method, path: &str) -> [KeyValue; 2] {
    let said = |key: &'static str, text: &str| KeyValue::new(key, short(text).to_owned());
    [said("http.request.method", method.as_str()), said("url.path", path)]
}

/// As much of a text as a span has. Methods and paths are what anybody sends, before it is known who; and spans wait.
fn short(text: &str) -> &str {
    let end = (0..=text.len().min(TEXT_MAX)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_small_whatever_was_asked() {
        let long = "x".repeat(60_000);
        let method = http::Method::from_bytes(long.as_bytes()).expect("a method");
        let path = format!("/apis/{long}/v1/{long}");
        let name = name_of(&method, &path);
        assert!(name.ends_with('x') && name.len() < 4 * TEXT_MAX, "{}", name.len());
        for attribute in asked(&method, &path) {
            assert_eq!(attribute.value.as_str().len(), TEXT_MAX, "{}", attribute.key);
        }
        assert_eq!(short(&"é".repeat(60_000)).len(), TEXT_MAX);
        let (method, path) = (http::Method::GET, "/api/v1/namespaces/default/pods/web");
        assert_eq!(name_of(&method, path), "GET pods");
        assert_eq!(asked(&method, path).map(|said| said.value.to_string()), ["GET", path]);
    }
}
