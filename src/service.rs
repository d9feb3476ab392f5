//! The API of one tenant, as a service without a socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arktos_api::Identity;
use arktos_bin::roles::gateway::{AnyError, Gateway, GatewayBody};
use arktos_core::TenantName;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};

/// The API as one identity sees one tenant: requests for `/api/…` are sent to `/tenants/{tenant}/api/…`, as the
/// identity. Cloning it shares the control plane.
#[derive(Clone)]
pub struct TenantService {
    gateway: Gateway,
    prefix: Arc<str>,
    identity: Identity,
}

impl TenantService {
    pub(crate) fn new(gateway: Gateway, tenant: &TenantName, identity: Identity) -> Self {
        Self { gateway, prefix: format!("/tenants/{tenant}").into(), identity }
    }

    /// The same URI below the tenant's prefix.
    fn prefixed(&self, uri: &Uri) -> Option<Uri> {
        let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        format!("{}{target}", self.prefix).parse().ok()
    }
}

impl<B> tower::Service<Request<B>> for TenantService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<AnyError>,
{
    type Response = Response<GatewayBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(uri) = self.prefixed(request.uri()) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(self.identity.clone());
        tower::Service::call(&mut self.gateway, request)
    }
}
