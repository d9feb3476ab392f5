//! Requests that come in.

use std::convert::Infallible;
use std::task::{Context as Polled, Poll};

use arktos_api::trace::TRACEPARENT;
use arktos_api::{PeerCertificate, TraceParent};
use futures::future::{BoxFuture, Either};
use http::{HeaderValue, Request, Response};
use opentelemetry::trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use tower::Service;
use tracing::Instrument;

use super::{asked, context_of, exporter, name_of, place_in, strangers};

/// A role's service whose requests are part of traces. A header that is malformed counts for nothing, and goes no
/// further; what the service sees is the header that it may send on.
#[derive(Debug, Clone)]
pub struct Traced<S>(S);

impl<S> Traced<S> {
    /// The service, with traces.
    pub fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, B, R> Service<Request<B>> for Traced<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<R>, Infallible>>>;

    fn poll_ready(&mut self, polled: &mut Polled<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(polled)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let begins = exporter().is_some_and(|exporter| exporter.begins);
        if !begins && !request.headers().contains_key(TRACEPARENT) {
            return Either::Left(self.0.call(request));
        }
        let Some(context) = enter(&mut request) else { return Either::Left(self.0.call(request)) };
        // Of the highest level, so that whatever is logged meanwhile has it.
        let line = tracing::error_span!("request", trace_id = %context.span().span_context().trace_id());
        let handled = self.0.call(request).with_context(context.clone()).instrument(line);
        Either::Right(Box::pin(async move {
            let response = handled.await?;
            leave(&context, &response);
            Ok(response)
        }))
    }
}

/// Finds, or makes, a request's place in a trace, and writes it into the request.
fn enter<B>(request: &mut Request<B>) -> Option<Context> {
    let mut named = TraceParent::of(request.headers());
    if named.is_none() {
        request.headers_mut().remove(TRACEPARENT);
        request.headers_mut().remove("tracestate");
    }
    if let Some(place) = &mut named
        && place.sampled
        && !request.extensions().get::<PeerCertificate>().is_some_and(PeerCertificate::is_component)
        && !strangers::may()
    {
        place.sampled = false;
        request.headers_mut().insert(TRACEPARENT, HeaderValue::from_str(&place.to_string()).ok()?);
    }
    let above = named.map_or_else(Context::new, context_of);
    let Some(exporter) = exporter().filter(|exporter| exporter.begins || named.is_some()) else {
        return named.is_some().then_some(above);
    };
    let span = exporter.tracer.span_builder(name_of(request.method(), request.uri().path()));
    let span = span.with_kind(SpanKind::Server).with_attributes(asked(request.method(), request.uri().path()));
    let context = above.with_span(span.start_with_context(&exporter.tracer, &above));
    let place = place_in(context.span().span_context())?;
    request.headers_mut().insert(TRACEPARENT, HeaderValue::from_str(&place.to_string()).ok()?);
    Some(context)
}

/// Notes what was answered. The span ends with the last who has it.
fn leave<R>(context: &Context, response: &Response<R>) {
    let (span, code) = (context.span(), response.status());
    if !span.is_recording() {
        return;
    }
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(code.as_u16())));
    if let Some(id) = response.headers().get("audit-id").and_then(|id| id.to_str().ok()) {
        span.set_attribute(KeyValue::new("arktos.audit_id", id.to_owned()));
    }
    if code.is_server_error() {
        span.set_status(Status::error(""));
    }
    span.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stranger_has_some_of_its_requests_sampled_and_not_all() {
        let service = tower::service_fn(|request: Request<()>| async move {
            let place = TraceParent::of(request.headers()).expect("a place");
            Ok::<_, Infallible>(Response::new(place.sampled))
        });
        let mut traced = Traced::new(service);
        let mut sampled = 0;
        for _ in 0..10_000 {
            let named = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            let request = Request::get("/version").header(TRACEPARENT, named).body(()).expect("a request");
            sampled += usize::from(traced.call(request).await.expect("an answer").into_body());
        }
        assert!((100..10_000).contains(&sampled), "{sampled}");
    }
}
