//! Forwarding a request to a partition or a resource manager elsewhere, with the client's identity in headers.

use std::sync::Arc;

use arktos_api::Identity;
use arktos_control::directory::Contact;
use arktos_core::{Reason, Status};
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;

use super::kubeconfig::Kubeconfig;
use super::route::{Protocols, Route, Trust};
use super::serve::IDLE_TIMEOUT;
use super::tls::{Shown, TlsError};
use crate::roles::gateway::{BodyError, GatewayBody, RequestBody, refuse};

const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
const REMOTE_UID: HeaderName = HeaderName::from_static("x-remote-uid");
const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const REMOTE_TENANT: HeaderName = HeaderName::from_static("x-remote-extra-arktos-tenant");

/// A backend over mutual TLS. Cloning it shares the connections.
#[derive(Clone)]
pub struct Forward {
    http: Client<Route, RequestBody>,
    base: Arc<str>,
}

impl Forward {
    /// The backend a kubeconfig names; its certificate must be the gateway's.
    ///
    /// # Errors
    /// [`TlsError`] when its certificates are unusable.
    pub fn new(config: &Kubeconfig) -> Result<Self, TlsError> {
        Self::showing(config, config.shown()?)
    }

    /// The same, with a certificate that can be replaced in the place of the kubeconfig's.
    ///
    /// # Errors
    /// [`TlsError`] when the authority's certificate is unusable.
    pub fn showing(config: &Kubeconfig, shown: Option<Arc<Shown>>) -> Result<Self, TlsError> {
        let route = Route::fixed(config, shown, Protocols::One)?;
        Ok(Self { http: pool(route), base: config.server.trim_end_matches('/').into() })
    }

    /// A member of the region's directory, wherever its processes are at a time. What is trusted is the gateway's.
    #[must_use]
    pub fn member(contact: watch::Receiver<Contact>, trust: &Trust) -> Self {
        let base = format!("https://{}", contact.borrow().name).into();
        Self { http: pool(Route::member(contact, trust.clone(), Protocols::One)), base }
    }

    /// Sends a request on, and the answer back as it comes.
    pub async fn send(&self, request: Request<RequestBody>, identity: Option<Identity>) -> Response<GatewayBody> {
        match self.rewrite(request, identity) {
            Ok(request) => match self.http.request(request).await {
                Ok(response) => {
                    let (mut parts, body) = response.into_parts();
                    remove_hop_headers(&mut parts.headers);
                    Response::from_parts(parts, body.map_err(BodyError::new).boxed_unsync())
                }
                Err(error) => {
                    tracing::warn!(backend = &*self.base, %error, "a backend cannot be reached");
                    let message = "the partition of this tenant cannot be reached now; try again";
                    refuse(&Status::failure(Reason::ServiceUnavailable, message).retry_after(1))
                }
            },
            Err(status) => refuse(&status),
        }
    }

    fn rewrite(
        &self,
        request: Request<RequestBody>,
        identity: Option<Identity>,
    ) -> Result<Request<RequestBody>, Status> {
        let (mut parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        parts.uri = format!("{}{target}", self.base)
            .parse::<Uri>()
            .map_err(|_| Status::bad_request("the request's path cannot be sent on"))?;
        parts.version = http::Version::HTTP_11; // what goes on the wire is negotiated anew
        remove_hop_headers(&mut parts.headers);
        let token = parts.headers.get(AUTHORIZATION).cloned();
        remove_identity_headers(&mut parts.headers);
        // A tenant without a user stands for a token that only the tenant's partition can check.
        let unchecked = identity.as_ref().is_some_and(|identity| identity.user.is_empty());
        if let (true, Some(token)) = (unchecked, token) {
            parts.headers.insert(AUTHORIZATION, token);
        } else if let Some(identity) = identity {
            write_identity(&mut parts.headers, &identity)?;
        }
        Ok(Request::from_parts(parts, body))
    }
}

/// A connection for each request that is under way (HTTP/1.1): who speaks for many clients must not let one of them use
/// up what the others need. One that is idle is given up before the server does so: a request that meets the server's
/// closing it fails, and only its sender can know whether it may be sent again.
fn pool(route: Route) -> Client<Route, RequestBody> {
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT / 2).build(route)
}

fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, HOST] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("te");
}

/// What clients say of themselves in these headers does not count, so it is not sent on.
fn remove_identity_headers(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn write_identity(headers: &mut HeaderMap, identity: &Identity) -> Result<(), Status> {
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| Status::bad_request("the user's name cannot be written in a header"))
    };
    headers.insert(REMOTE_USER, value(&identity.user)?);
    if !identity.uid.is_empty() {
        headers.insert(REMOTE_UID, value(&identity.uid)?);
    }
    for group in &identity.groups {
        headers.append(REMOTE_GROUP, value(group)?);
    }
    if let Some(tenant) = &identity.tenant {
        let of = &identity.tenant_uid;
        let tenant = if of.is_empty() { tenant.to_string() } else { format!("{tenant}:{of}") };
        headers.insert(REMOTE_TENANT, value(&tenant)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::TenantName;

    #[test]
    fn what_clients_claim_in_headers_is_replaced_by_what_the_gateway_knows() {
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", HeaderValue::from_static("root"));
        headers.append("x-remote-group", HeaderValue::from_static("system:masters"));
        headers.insert("x-remote-extra-other", HeaderValue::from_static("x"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer t"));
        remove_identity_headers(&mut headers);
        assert!(headers.is_empty());
        let mut alice = Identity::user("alice", &["dev"], &TenantName::new("acme").expect("a name"));
        alice.uid = "7".to_owned();
        write_identity(&mut headers, &alice).expect("writes");
        assert_eq!(
            (&headers["x-remote-user"], &headers["x-remote-uid"]),
            (&"alice".parse().expect("a value"), &"7".parse().expect("a value"))
        );
        assert_eq!(headers["x-remote-extra-arktos-tenant"], "acme");
        assert_eq!(headers.get_all("x-remote-group").iter().count(), 2);
    }
}
