//! Requests that are sent to other roles.

use arktos_api::trace::TRACEPARENT;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;

use super::{asked, exporter, name_of, place_in};

/// A request to another role: part of the trace of what is being handled, or of one of its own. It ends when it is
/// dropped.
#[derive(Debug)]
pub struct Call {
    span: Option<Span>,
    above: SpanContext,
}

impl Call {
    /// Begins a request of which this is the target.
    #[must_use]
    pub fn begin(method: &Method, server: &str, target: &str) -> Self {
        let (above, traced) = Context::map_current(|current| {
            let above = current.span().span_context().clone();
            let exporter = exporter().filter(|exporter| exporter.begins || above.is_sampled());
            (above, exporter.map(|exporter| (exporter, current.clone())))
        });
        let span = traced.map(|(exporter, current)| {
            let path = target.split('?').next().unwrap_or_default();
            let mut attributes = asked(method, path).to_vec();
            let server = server.parse::<Uri>().ok();
            if let Some(host) = server.as_ref().and_then(Uri::host) {
                attributes.push(KeyValue::new("server.address", host.to_owned()));
            }
            let span = exporter.tracer.span_builder(name_of(method, path)).with_kind(SpanKind::Client);
            span.with_attributes(attributes).start_with_context(&exporter.tracer, &current)
        });
        Self { span, above }
    }

    /// The header to send along, where the request is part of a trace.
    #[must_use]
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let place = place_in(self.span.as_ref().map_or(&self.above, |span| span.span_context()))?;
        Some((HeaderName::from_static(TRACEPARENT), HeaderValue::from_str(&place.to_string()).ok()?))
    }

    /// Notes what was answered.
    pub fn answered(&mut self, code: StatusCode) {
        let Some(span) = &mut self.span else { return };
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(code.as_u16())));
        if code.is_client_error() || code.is_server_error() {
            span.set_status(Status::error(""));
        }
    }
}
