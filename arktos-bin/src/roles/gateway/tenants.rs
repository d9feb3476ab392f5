//! Creating tenants, which are placed in a partition first, and their quotas, which live in the same partition.

use arktos_api::Identity;
use arktos_core::{Object, Status, TenantName};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

use super::{Backend, Gateway, GatewayBody, RequestBody};

/// The longest body of a tenant or a quota, in bytes.
const LENGTH_MAX: usize = 128 << 10;

/// What the type of a server-side apply's body begins with.
const APPLY: &str = "application/apply-patch+";

impl Gateway {
    /// Makes a tenant where it belongs. The partition that it would be placed in is asked first whether it would make
    /// the tenant, so that who may not make it, and what could not be made, never takes a place.
    pub(super) async fn make_tenant(
        &self,
        parts: Parts,
        body: RequestBody,
        identity: Identity,
    ) -> Result<Response<GatewayBody>, Status> {
        let (tenant, bytes) = object_in(body).await?;
        let mut query = parts.uri.query().unwrap_or_default().split('&');
        // An empty one says nothing.
        let tries = query.any(|one| one.strip_prefix("dryRun=").is_some_and(|value| !value.is_empty()));
        let name = TenantName::new(tenant.name());
        let (backend, name) = match name {
            // What is wrong with the name, any partition says.
            Err(_) => (self.first()?, None),
            Ok(name) if name == TenantName::system() => (self.first()?, None),
            Ok(name) => (self.backend(&self.0.directory.expect(&tenant).await?)?, Some(name)),
        };
        let Some(_) = name.filter(|_| !tries) else {
            return Ok(backend.send(with(&parts, &bytes), Some(identity)).await);
        };
        let mut trial = with(&parts, &bytes);
        *trial.uri_mut() = as_trial(&parts.uri)?;
        let tried = backend.send(trial, Some(identity.clone())).await;
        if !tried.status().is_success() {
            return Ok(tried);
        }
        let backend = self.backend(&self.0.directory.place(&tenant).await?)?;
        Ok(backend.send(with(&parts, &bytes), Some(identity)).await)
    }

    /// Makes a tenant's quota in the partition that has the tenant.
    pub(super) async fn make_quota(
        &self,
        parts: Parts,
        body: RequestBody,
        identity: Identity,
    ) -> Result<Response<GatewayBody>, Status> {
        let (quota, bytes) = object_in(body).await?;
        let backend = self.partition_for(quota.name(), Some(&identity)).await?;
        Ok(backend.send(with(&parts, &bytes), Some(identity)).await)
    }

    /// Sends on what whoever it comes from may not do: the partition that they belong to says so. Nothing is placed.
    pub(super) async fn refuse_tenant(
        &self,
        request: Request<RequestBody>,
        identity: Option<Identity>,
    ) -> Result<Response<GatewayBody>, Status> {
        let backend = match identity.as_ref().and_then(|identity| identity.tenant.clone()) {
            Some(own) => self.partition_for(own.as_str(), identity.as_ref()).await?,
            None => self.first()?,
        };
        Ok(backend.send(request, identity).await)
    }
}

impl Backend {
    /// Sends a request on.
    pub(super) async fn send(
        self,
        request: Request<RequestBody>,
        _identity: Option<Identity>,
    ) -> Response<GatewayBody> {
        match self {
            Self::Local(mut server) => {
                let Ok(response) = tower::Service::call(&mut server, request).await;
                response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
            }
            #[cfg(feature = "net")]
            Self::Remote(forward) => forward.send(request, _identity).await,
        }
    }
}

/// A request with a body that is known whole.
fn with(parts: &Parts, bytes: &Bytes) -> Request<RequestBody> {
    let body = Full::from(bytes.clone()).map_err(|never| match never {}).boxed_unsync();
    Request::from_parts(parts.clone(), body)
}

/// The same, done as if.
fn as_trial(uri: &http::Uri) -> Result<http::Uri, Status> {
    let (path, query) = (uri.path(), uri.query().map(|query| format!("{query}&")).unwrap_or_default());
    let text = format!("{path}?{query}dryRun=All");
    text.parse().map_err(|_| Status::bad_request("the request's path cannot be sent on"))
}

/// Whether a request applies (server-side) something, which makes it where there is none.
pub(super) fn applies(parts: &Parts) -> bool {
    let content = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    parts.method == http::Method::PATCH && content.is_some_and(|content| content.starts_with(APPLY))
}

/// Whether that is the tenant of a name.
pub(super) fn applies_tenant(parts: &Parts, tenant: &str) -> bool {
    applies(parts) && parts.uri.path().trim_end_matches('/') == format!("/api/v1/tenants/{tenant}")
}

/// The object that a body is to create, and the body.
async fn object_in(body: RequestBody) -> Result<(Object, Bytes), Status> {
    let body = http_body_util::Limited::new(body, LENGTH_MAX).collect().await;
    let bytes = body.map_err(|error| Status::bad_request(format!("the body cannot be read: {error}")))?.to_bytes();
    let readable =
        || Status::bad_request("at a gateway, tenants and their quotas are created with a JSON or YAML body");
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).or_else(|_| arktos_core::media::yaml::parse(&bytes).map_err(|_| readable()))?;
    let object = Object::from_value(value).ok_or_else(readable)?;
    if object.name().is_empty() {
        let text = "at a gateway, tenants and their quotas are created with a name, not with generateName";
        return Err(Status::bad_request(text));
    }
    Ok((object, bytes))
}
