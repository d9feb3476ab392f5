//! The way out: spans are queued, and one task sends what has gathered to the collector, as OTLP over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{TraceOptions, exporter};
use crate::net::kubeconfig::Kubeconfig;
use crate::net::remote::{self, Http};
use crate::net::tls::{self, TlsError};

/// How many spans wait to be sent at most; further ones are dropped, and counted.
const QUEUE: usize = 8192;
/// How many spans are sent at once at most.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a process that is told to stop waits for the collector.
const FLUSH: Duration = Duration::from_secs(3);
/// How much of an answer is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The collector's URL is none.
    #[error("{0:?} is not the URL of a collector, such as http://127.0.0.1:4318")]
    Endpoint(String),
    /// The authority's certificate is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What has become of this process's spans.
#[derive(Debug, Default)]
pub struct Counts {
    /// Taken by the collector.
    pub exported: AtomicU64,
    /// Dropped, because the queue was full.
    pub dropped: AtomicU64,
    /// Lost, because the collector did not take them.
    pub failed: AtomicU64,
}

/// What has become of this process's spans; nothing where none are exported.
#[must_use]
pub fn counts() -> Option<&'static Counts> {
    exporter().map(|exporter| &*exporter.sender.counts)
}

/// Takes spans as they end. It never waits.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counts: Arc<Counts>,
}

/// The task that sends.
pub(super) struct Sender {
    counts: Arc<Counts>,
    /// Absent once it was told to stop.
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Queue {
    /// Makes a queue, and a task that empties it.
    pub(super) fn start(options: &TraceOptions, resource: &Resource) -> Result<(Self, Sender), ExportError> {
        let endpoint = options.endpoint.trim_end_matches('/');
        let url: http::Uri = format!("{endpoint}/v1/traces").parse().map_err(|_| bad(&options.endpoint))?;
        if url.host().is_none() || !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(bad(&options.endpoint));
        }
        let authority = match options.authority.as_str() {
            "" if url.scheme_str() == Some("https") => tls::machines_authorities(),
            named => named.to_owned(),
        };
        let config = Kubeconfig { server: endpoint.to_owned(), authority, credential: None, token: None };
        let (http, resource) = (remote::connect(&config)?, ResourceAttributesWithSchema::from(resource));
        let (spans, queued) = mpsc::channel(QUEUE);
        let (stop, stopping) = oneshot::channel();
        let counts = Arc::new(Counts::default());
        let mut collector = Collector { http, url, resource, counts: counts.clone(), reached: true };
        let task = tokio::spawn(async move { collector.send_all(queued, stopping).await });
        let running = Mutex::new(Some((stop, task)));
        Ok((Self { spans, counts: counts.clone() }, Sender { counts, running }))
    }
}

fn bad(endpoint: &str) -> ExportError {
    ExportError::Endpoint(endpoint.to_owned())
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // the sender does
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Sender {
    pub(super) async fn stop(&self) {
        let Some((stop, task)) = self.running.lock().take() else { return };
        let _ = stop.send(()); // it is gone only with the runtime
        if tokio::time::timeout(FLUSH, task).await.is_err() {
            tracing::warn!("the collector of traces does not answer: the last spans are lost");
        }
    }
}

struct Collector {
    http: Http<Full<Bytes>>,
    url: http::Uri,
    resource: ResourceAttributesWithSchema,
    counts: Arc<Counts>,
    /// Whether it took the last batch.
    reached: bool,
}

impl Collector {
    /// Sends batch after batch. Once told to stop, no more than is queued by then.
    async fn send_all(&mut self, mut queued: mpsc::Receiver<SpanData>, mut stopping: oneshot::Receiver<()>) {
        let mut stopped = false;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                count = queued.recv_many(&mut batch, BATCH) => if count == 0 { return },
                _ = &mut stopping, if !stopped => stopped = true,
            }
            if !stopped && batch.len() < BATCH {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    _ = &mut stopping => stopped = true,
                }
            }
            if stopped {
                queued.close();
            }
            while batch.len() < BATCH
                && let Ok(span) = queued.try_recv()
            {
                batch.push(span);
            }
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let sent = tokio::time::timeout(TIMEOUT, self.post(batch)).await;
        let failure = match sent {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(_) => Some("no answer came in time".to_owned()),
        };
        let counted = if failure.is_none() { &self.counts.exported } else { &self.counts.failed };
        counted.fetch_add(count, Ordering::Relaxed);
        match &failure {
            Some(why) if self.reached => {
                tracing::warn!(collector = %self.url, why, "the collector takes no traces: they are lost");
            }
            None if !self.reached => tracing::info!(collector = %self.url, "the collector takes traces again"),
            _ => {}
        }
        self.reached = failure.is_none();
    }

    async fn post(&self, batch: Vec<SpanData>) -> Result<(), String> {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, concat!("arktos/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(body))
            .map_err(|error| error.to_string())?;
        let answer = self.http.request(request).await.map_err(|error| remote::describe(&error))?;
        let code = answer.status();
        // Read, so that the connection can be used again.
        let _ = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        if code == StatusCode::OK { Ok(()) } else { Err(format!("it answered {code}")) }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    #[test]
    fn what_has_no_room_is_dropped_and_counted_and_nobody_waits() {
        let (spans, mut queued) = mpsc::channel(2);
        let counts = Arc::new(Counts::default());
        let queue = Queue { spans, counts: counts.clone() };
        let tracer = SdkTracerProvider::builder().with_span_processor(queue).build().tracer("test");
        for _ in 0..5 {
            drop(tracer.start("a span"));
        }
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 3);
        assert!(queued.try_recv().is_ok() && queued.try_recv().is_ok() && queued.try_recv().is_err());
    }
}
