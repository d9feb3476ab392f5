//! From request to response.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arktos_core::{Reason, Status};
use arktos_store::Client;
use futures::future::BoxFuture;
use http::{Request, Response};

use crate::body::Body;
use crate::client::InProcessClient;
use crate::config::ApiConfig;
use crate::identity::Identity;

/// One API server: a [`tower::Service`] from HTTP request to HTTP response. Cloning it shares it.
#[derive(Clone)]
pub struct ApiServer(pub(crate) Arc<State>);

/// What all requests share.
pub(crate) struct State {
    pub(crate) config: ApiConfig,
}

impl ApiServer {
    /// A server. Call [`bootstrap`](Self::bootstrap) before the first request is served.
    #[must_use]
    pub fn new(config: ApiConfig) -> Self {
        Self(Arc::new(State { config }))
    }

    /// Makes what must be there before anyone asks: the tenant `system`, its namespaces, the `kubernetes` service.
    /// Idempotent.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn bootstrap(&self) -> Result<(), Status> {
        Ok(())
    }

    /// The same API in process, as an identity: no HTTP, no encoding but the one for the store. What it does is
    /// authorized and admitted as over HTTP.
    #[must_use]
    pub fn client(&self, identity: Identity) -> Arc<dyn Client> {
        Arc::new(InProcessClient::new(self.clone(), identity))
    }

    async fn answer<B>(self, _request: Request<B>) -> Response<Body> {
        let status = Status::failure(Reason::NotImplemented, "not served yet");
        let body = serde_json::to_vec(&status).unwrap_or_default();
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
        response
    }
}

impl<B> tower::Service<Request<B>> for ApiServer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.answer(request).await) })
    }
}
