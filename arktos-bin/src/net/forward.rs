//! Forwarding a request to a partition or a resource manager elsewhere, with the client's identity in headers.

use std::sync::Arc;
use std::time::Duration;

use arktos_api::Identity;
use arktos_control::directory::Contact;
use arktos_core::{Reason, Status};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self as client, Client};
use tokio::sync::{Semaphore, watch};

use super::brief::{Brief, Shared};
use super::kubeconfig::Kubeconfig;
use super::remote::describe;
use super::route::{Home, Protocols, Route, Trust};
use super::serve::IDLE_TIMEOUT;
use super::tls::{Shown, TlsError};
use crate::roles::gateway::{GatewayBody, RequestBody, refuse, until_read};

const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
const REMOTE_UID: HeaderName = HeaderName::from_static("x-remote-uid");
const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const REMOTE_TENANT: HeaderName = HeaderName::from_static("x-remote-extra-arktos-tenant");

/// Bodies of up to so many bytes are sent on in one piece.
const GATHERED: u64 = 64 << 10;
/// How many of them are waited for at a time. Further ones are passed on as they come.
const GATHERINGS: usize = 256;
/// How long a client may take to send such a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a backend may take to begin its answer: longer than any API server works on a request. One that stands
/// still, and keeps its connections, would never be given up.
const PATIENCE: Duration = Duration::from_secs(70);

/// A backend over mutual TLS. Cloning it shares the connections.
#[derive(Clone)]
pub struct Forward {
    http: Client<Route, RequestBody>,
    /// What is brief, where the backend is reached over TLS.
    brief: Option<Brief>,
    base: Arc<str>,
    /// What its clients know it as.
    called: &'static str,
    gatherings: Arc<Semaphore>,
    patience: Duration,
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
        let route = |protocols| Route::fixed(config, shown.clone(), protocols);
        let (one, two) = (route(Protocols::One)?, route(Protocols::Two)?);
        Ok(Self::over((one, two), config.server.trim_end_matches('/').into()))
    }

    /// A member of the region's directory, wherever its processes are at a time. What is trusted is the gateway's.
    #[must_use]
    pub fn member(contact: watch::Receiver<Contact>, trust: &Trust) -> Self {
        let base = format!("https://{}", contact.borrow().name).into();
        let route = |protocols| Route::member(contact.clone(), trust.clone(), protocols);
        Self::over((route(Protocols::One), route(Protocols::Two)), base)
    }

    fn over((one, two): (Route, Route), base: Arc<str>) -> Self {
        let (called, gatherings) = ("the partition of this tenant", Arc::new(Semaphore::new(GATHERINGS)));
        let brief = base.starts_with("https:").then(|| Brief::over(two));
        Self { http: pool(one), brief, base, called, gatherings, patience: PATIENCE }
    }

    /// The same, called something else than a tenant's partition where clients are told that it does not answer.
    #[must_use]
    pub fn called(self, called: &'static str) -> Self {
        Self { called, ..self }
    }

    /// Sends a request on, and the answer back as it comes. What only reads is sent once more where the answer was
    /// lost; what may have been carried out is not, and its client is not told to.
    pub async fn send(&self, request: Request<RequestBody>, identity: Option<Identity>) -> Response<GatewayBody> {
        let request = match self.rewrite(request, identity) {
            Ok(request) => request,
            Err(status) => return refuse(&status),
        };
        let (request, whole) = match self.gathered(request).await {
            Ok(gathered) => gathered,
            Err(status) => return refuse(&status),
        };
        let reads = only_reads(&request);
        let brief = self.brief.as_ref().filter(|_| whole.is_some());
        let (place, shared) = brief.and_then(|brief| brief.place(&request)).unzip();
        let shared = shared.flatten();
        let asked = self.ask(request, whole, reads, shared.as_ref());
        match tokio::time::timeout(self.patience, asked).await {
            Err(_) => refuse(&self.unanswered(reads, &"no answer in time")),
            Ok(Err(error)) if !reads && !error.is_connect() => refuse(&self.unanswered(reads, &describe(&error))),
            Ok(Ok(response)) => {
                let (mut parts, body) = response.into_parts();
                remove_hop_headers(&mut parts.headers);
                Response::from_parts(parts, until_read(body, place))
            }
            Ok(Err(error)) => {
                tracing::warn!(backend = &*self.base, error = describe(&error), "a backend cannot be reached");
                let message = format!("{} cannot be reached now; try again", self.called);
                refuse(&Status::failure(Reason::ServiceUnavailable, message).retry_after(1))
            }
        }
    }

    /// Asks over the connection that brief requests share, or over one of its own. Where the first was not there,
    /// nothing was sent: it is asked over the other. What only reads is asked once more where the answer was lost.
    async fn ask(
        &self,
        request: Request<RequestBody>,
        whole: Option<Bytes>,
        reads: bool,
        shared: Option<&Shared>,
    ) -> Result<Response<Incoming>, client::Error> {
        let again = whole.filter(|_| reads || shared.is_some()).map(|body| copy_of(&request, body));
        let may_again = |error: &client::Error| if error.is_connect() { shared.is_some() } else { reads };
        match (shared.unwrap_or(&self.http).request(request).await, again) {
            (Err(error), Some(again)) if may_again(&error) => self.http.request(again).await,
            (answer, _) => answer,
        }
    }

    /// A request whose body is in one piece, and that, where it is a small one: head and body go out together then, and
    /// whoever answers has nothing to wait for.
    async fn gathered(&self, request: Request<RequestBody>) -> Result<(Request<RequestBody>, Option<Bytes>), Status> {
        if request.body().is_end_stream() {
            return Ok((request, Some(Bytes::new())));
        }
        let small = request.body().size_hint().upper().is_some_and(|length| length <= GATHERED);
        let Some(_waits) = small.then(|| self.gatherings.try_acquire().ok()).flatten() else {
            return Ok((request, None));
        };
        let (parts, body) = request.into_parts();
        let bytes = match tokio::time::timeout(BODY_TIMEOUT, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(Status::bad_request(format!("the body cannot be read: {error}"))),
            Err(_) => return Err(Status::failure(Reason::Timeout, "the body did not come in time")),
        };
        Ok((Request::from_parts(parts, whole_body(bytes.clone())), Some(bytes)))
    }

    /// A request that was sent, or begun to be, and not answered.
    fn unanswered(&self, reads: bool, error: &dyn std::fmt::Display) -> Status {
        tracing::warn!(backend = &*self.base, %error, "a backend did not answer");
        let message = match reads {
            true => format!("{} does not answer; try again", self.called),
            false => format!("{} did not answer: it is not known whether the request was carried out", self.called),
        };
        Status::failure(Reason::Timeout, message)
    }

    fn rewrite(
        &self,
        request: Request<RequestBody>,
        identity: Option<Identity>,
    ) -> Result<Request<RequestBody>, Status> {
        let (mut parts, body) = request.into_parts();
        let source = arktos_api::source(&parts);
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
        if let Some(Ok(source)) = source.map(|source| HeaderValue::from_str(&source.to_string())) {
            parts.headers.insert(arktos_api::SOURCE, source);
        }
        if let (true, Some(token)) = (unchecked, token) {
            parts.headers.insert(AUTHORIZATION, token);
        } else if let Some(identity) = identity {
            write_identity(&mut parts.headers, &identity)?;
        }
        Ok(Request::from_parts(parts, body))
    }
}

/// Whether a request can be sent twice: it changes nothing, and nothing of it has to be read from its client.
fn only_reads(request: &Request<RequestBody>) -> bool {
    [Method::GET, Method::HEAD].contains(request.method()) && request.body().is_end_stream()
}

fn whole_body(bytes: Bytes) -> RequestBody {
    Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The same request, whose body this is.
fn copy_of(request: &Request<RequestBody>, body: Bytes) -> Request<RequestBody> {
    let mut copy = Request::new(whole_body(body));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// A connection for each request that is under way (HTTP/1.1), but for those that are brief ([`Brief`]): who speaks for
/// many clients must not let one of them use up what the others need. One that is idle is given up before the server
/// does so: a request that meets the server's closing it fails, and only its sender can know whether it may be sent
/// again.
fn pool(route: Route) -> Client<Route, RequestBody> {
    let home = Home::here();
    Client::builder(home.clone()).pool_timer(home).pool_idle_timeout(IDLE_TIMEOUT / 2).build(route)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use arktos_core::TenantName;
    use http_body::Frame;
    use http_body_util::{Limited, StreamBody};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::net::pki::Authority;
    use crate::roles::gateway::BodyError;

    /// A backend that hangs up on the first request that it gets, and answers the others; how many came.
    async fn hangs_up_once() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let came = Arc::new(AtomicUsize::new(0));
        let counted = came.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut read = vec![0; 4096];
                let length = stream.read(&mut read).await.expect("a request");
                if length > 0 && counted.fetch_add(1, Ordering::SeqCst) > 0 {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                    stream.write_all(answer).await.expect("it takes the answer");
                }
            }
        });
        (format!("http://{address}"), came)
    }

    async fn sent(server: &str, method: Method, body: &'static str) -> (u16, Option<String>) {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority").certificate().to_owned();
        let config = Kubeconfig { server: server.to_owned(), authority, credential: None, token: None };
        let forward = Forward::new(&config).expect("a backend");
        let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
        let request = Request::builder().method(method).uri("/api/v1/pods").body(body).expect("a request");
        let answer = forward.send(request, None).await;
        let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().expect("text").to_owned());
        (answer.status().as_u16(), wait)
    }

    #[tokio::test]
    async fn what_only_reads_is_sent_again_and_what_may_have_been_done_is_not() {
        let (server, came) = hangs_up_once().await;
        assert_eq!(sent(&server, Method::GET, "").await, (200, None));
        assert_eq!(came.load(Ordering::SeqCst), 2);
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let (server, came) = hangs_up_once().await;
            assert_eq!(sent(&server, method.clone(), "{}").await, (504, None), "{method}");
            assert_eq!(came.load(Ordering::SeqCst), 1, "{method}");
        }
    }

    #[tokio::test]
    async fn a_backend_that_takes_requests_and_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                held.push(listener.accept().await.expect("a connection"));
            }
        });
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority").certificate().to_owned();
        let config = Kubeconfig { server, authority, credential: None, token: None };
        let patience = Duration::from_millis(50);
        let forward = Forward { patience, ..Forward::new(&config).expect("a backend") };
        for (method, told) in [(Method::GET, "does not answer; try again"), (Method::PUT, "is not known")] {
            let body = Full::from("").map_err(|never| match never {}).boxed_unsync();
            let request = Request::builder().method(method).uri("/api/v1/pods").body(body).expect("a request");
            let answer = forward.send(request, None).await;
            assert_eq!(answer.status().as_u16(), 504);
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            assert!(String::from_utf8_lossy(&body).contains(told), "{body:?}");
        }
    }

    #[tokio::test]
    async fn a_small_body_that_breaks_off_reaches_nobody() {
        let (server, came) = hangs_up_once().await;
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority").certificate().to_owned();
        let config = Kubeconfig { server, authority, credential: None, token: None };
        let forward = Forward::new(&config).expect("a backend");
        let pieces = [Ok(Frame::data(Bytes::from_static(b"{"))), Err(BodyError::new("it broke off"))];
        let body = Limited::new(StreamBody::new(futures::stream::iter(pieces)), 100);
        let body = body.map_err(BodyError::new).boxed_unsync();
        let request = Request::post("/api/v1/pods").body(body).expect("a request");
        assert_eq!(forward.send(request, None).await.status().as_u16(), 400);
        assert_eq!(came.load(Ordering::SeqCst), 0);
        assert_eq!(forward.gatherings.available_permits(), GATHERINGS);
    }

    #[tokio::test]
    async fn what_could_not_be_sent_may_be_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        for method in [Method::GET, Method::POST] {
            assert_eq!(sent(&server, method, "").await, (503, Some("1".to_owned())));
        }
    }

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
