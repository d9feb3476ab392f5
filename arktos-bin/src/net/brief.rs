//! Brief requests to a backend: they share one connection.
//!
//! Over HTTP/1.1, a request costs a write and a read at both ends. Where many are under way, those that are brief, and
//! have brief answers, go over one connection of HTTP/2, many in each write. Where there are few, nothing would be
//! written together, and each is quicker over a connection of its own. What may be long or last (lists, watches, large
//! bodies) has one of its own in any case: so nobody's reading holds up what others ask for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body::Body;
use hyper_util::client::legacy::Client;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::route::Route;
use crate::roles::gateway::RequestBody;

/// How many of them are under way at a time: half of what a server lets one connection have. Further ones go as others
/// do.
const PLACES: usize = 500;
/// So many of them have a connection each.
const FEW: usize = 4;
/// How long their bodies are at most, in bytes.
const BODY_MAX: u64 = 16 << 10;
/// How many bytes of bodies that nobody has read yet a server of the region takes from another: those of all.
pub(super) const UNREAD_MAX: u32 = (PLACES as u32) * (BODY_MAX as u32);
/// How much of an answer is under way that its client has not read, in bytes.
const STREAM_WINDOW: u32 = 64 << 10;
/// How much of all answers is: so much that those which nobody reads never hold up others.
const CONNECTION_WINDOW: u32 = (PLACES as u32) * STREAM_WINDOW;
/// When a connection that says nothing is asked whether it is there, and how long it has to say so: as long as the
/// system gives any connection of ours.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
/// The most bytes of the headers of an answer, and of a request: a gateway adds a line for each of a user's groups.
const ANSWER_HEADERS_MAX: u32 = 64 << 10;
pub(super) const HEADERS_MAX: u32 = 256 << 10;
/// Of so many requests that were given up it is remembered that what is still said of them is to be ignored.
const GIVEN_UP: usize = 20 * PLACES;

/// For how long requests go over one connection. Those that come later go over a new one, to whichever process answers
/// then, with the certificates of that time; on the old one, what is under way comes to its end.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The connection that they share, and their places. Cloning it shares them.
#[derive(Clone)]
pub(super) struct Brief {
    route: Route,
    /// What has the connection, and since when. Written by the first that finds it too old.
    current: Arc<Mutex<(Shared, Instant)>>,
    places: Arc<Semaphore>,
    age_max: Duration,
}

/// What has a connection that is shared.
pub(super) type Shared = Client<Route, RequestBody>;

/// The place of one of them, until its answer has been read.
pub(super) type Place = OwnedSemaphorePermit;

impl Brief {
    /// One over a route that speaks HTTP/2.
    pub(super) fn over(route: Route) -> Self {
        let current = Arc::new(Mutex::new((shared(&route), Instant::now())));
        Self { route, current, places: Arc::new(Semaphore::new(PLACES)), age_max: AGE_MAX }
    }

    /// The place of a request, whose body is in one piece, among those that are brief, if it is and there is one; and
    /// what they share, where it is to go over that.
    pub(super) fn place(&self, request: &Request<RequestBody>) -> Option<(Place, Option<Shared>)> {
        if !is_brief(request) {
            return None;
        }
        let place = self.places.clone().try_acquire_owned().ok()?;
        let many = PLACES - self.places.available_permits() > FEW;
        Some((place, many.then(|| self.shared())))
    }

    fn shared(&self) -> Shared {
        let mut current = self.current.lock();
        if current.1.elapsed() >= self.age_max {
            *current = (shared(&self.route), Instant::now());
        }
        current.0.clone()
    }
}

/// What has a connection of its own, once it is asked for.
fn shared(route: &Route) -> Shared {
    let home = route.home();
    Client::builder(home.clone())
        .timer(home.clone())
        .pool_timer(home)
        .http2_only(true)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .http2_keep_alive_timeout(KEEPALIVE.1)
        .http2_max_header_list_size(ANSWER_HEADERS_MAX)
        // Many clients give up what they asked for: that is no abuse of the connection, which others need.
        .http2_max_concurrent_reset_streams(GIVEN_UP)
        .http2_max_local_error_reset_streams(None)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build(route.clone())
}

fn is_brief(request: &Request<RequestBody>) -> bool {
    request.body().size_hint().upper().is_some_and(|length| length <= BODY_MAX)
        && is_about_one(request.method(), request.uri().path())
}

/// Whether a request is about one object. What it has of its own to say (the log of a pod, say) may be long.
fn is_about_one(method: &Method, path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let mut first = parts.next();
    if first == Some("tenants") {
        parts.next();
        first = parts.next();
    }
    match first {
        Some("api") => drop(parts.next()),
        Some("apis") => drop((parts.next(), parts.next())),
        _ => return false,
    }
    for scope in ["tenants", "namespaces"] {
        if parts.peek() == Some(&scope) {
            let (_resource, name) = (parts.next(), parts.next());
            if parts.peek().is_none() {
                return name.is_some() || *method == Method::POST;
            }
        }
    }
    let (resource, name, part) = (parts.next(), parts.next(), parts.next());
    match (resource, name, part) {
        (Some("watch" | "proxy"), ..) => false,
        (Some(_), None, _) => *method == Method::POST,
        (Some(_), Some(_), None | Some("status" | "scale" | "binding" | "eviction" | "token")) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::future::Future;

    use bytes::Bytes;
    use futures::future::join_all;
    use http::{Response, Version};
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use tokio::sync::{Barrier, watch};

    use crate::net::forward::Forward;
    use crate::net::kubeconfig::Kubeconfig;
    use crate::net::pki::{Authority, Subject};
    use crate::net::route::Protocols;
    use crate::net::{serve, tls};

    #[test]
    fn what_is_about_one_object_is_brief_and_what_may_be_long_is_not() {
        for (method, path, brief) in [
            (Method::GET, "/api/v1/namespaces/default/pods/web", true),
            (Method::GET, "/tenants/acme/api/v1/namespaces/default/pods/web", true),
            (Method::GET, "/apis/apps/v1/tenants/acme/namespaces/default/deployments/web/scale", true),
            (Method::GET, "/api/v1/nodes/n-1", true),
            (Method::GET, "/api/v1/namespaces/default", true),
            (Method::GET, "/api/v1/tenants/acme", true),
            (Method::POST, "/api/v1/namespaces", true),
            (Method::POST, "/api/v1/namespaces/default/pods", true),
            (Method::POST, "/api/v1/namespaces/default/serviceaccounts/ci/token", true),
            (Method::PATCH, "/apis/apps/v1/namespaces/default/deployments/web", true),
            (Method::GET, "/api/v1/namespaces", false),
            (Method::GET, "/api/v1/namespaces/default/pods", false),
            (Method::DELETE, "/api/v1/namespaces/default/pods", false),
            (Method::GET, "/api/v1/namespaces/default/pods/web/log", false),
            (Method::POST, "/api/v1/namespaces/default/pods/web/exec", false),
            (Method::GET, "/api/v1/watch/namespaces/default", false),
            (Method::GET, "/openapi/v2", false),
            (Method::GET, "/apis", false),
            (Method::GET, "/", false),
        ] {
            assert_eq!(is_about_one(&method, path), brief, "{method} {path}");
        }
    }

    /// A backend of which nobody but its gateway knows.
    struct Backend {
        forward: Forward,
        stop: watch::Sender<bool>,
        serving: tokio::task::JoinHandle<()>,
        _directory: tempfile::TempDir,
    }

    impl Backend {
        /// It answers a request when this has come to its end.
        async fn start<A: Future<Output = ()> + Send + 'static>(
            meanwhile: impl Fn(Request<Incoming>) -> A + Clone + Send + 'static,
        ) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let authority = Authority::open(directory.path()).expect("an authority");
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let credential = authority.server("test", &[address.ip()], &[]).expect("a certificate");
            let config = tls::server(&credential, authority.certificate()).expect("usable");
            let (stop, stopped) = watch::channel(false);
            let service = tower::service_fn(move |request| {
                let meanwhile = meanwhile(request);
                async move {
                    meanwhile.await;
                    Ok::<_, Infallible>(Response::new(Full::from("well")))
                }
            });
            let serving = tokio::spawn(serve::serve(listener, Some(config), service, stopped));
            let subject = Subject { user: "gateway".to_owned(), tenant: Some("system".to_owned()), groups: Vec::new() };
            let credential = Some(authority.client(&subject).expect("a certificate"));
            let (server, authority) = (format!("https://{address}"), authority.certificate().to_owned());
            let config = Kubeconfig { server, authority, credential, token: None };
            let forward = Forward::new(&config).expect("a backend");
            Self { forward, stop, serving, _directory: directory }
        }

        async fn ask(&self, method: &Method, path: &str) {
            let body = Full::<Bytes>::default().map_err(|never| match never {}).boxed_unsync();
            let request = Request::builder().method(method).uri(path).body(body).expect("a request");
            let answer = self.forward.send(request, None).await;
            assert_eq!(answer.status().as_u16(), 200);
            let read = answer.into_body().collect().await.expect("an answer").to_bytes();
            assert_eq!(&*read, b"well");
        }

        async fn end(self) {
            self.stop.send_replace(true);
            self.serving.await.expect("it ends");
        }
    }

    /// How many of some requests, which are answered when all are there, come over HTTP/2.
    async fn shared(method: &Method, paths: &[String]) -> usize {
        let (came, all) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Barrier::new(paths.len())));
        let versions = came.clone();
        let backend = Backend::start(move |request: Request<Incoming>| {
            came.lock().push(request.version());
            let all = all.clone();
            async move {
                all.wait().await;
            }
        })
        .await;
        join_all(paths.iter().map(|path| backend.ask(method, path))).await;
        backend.end().await;
        let versions = versions.lock();
        versions.iter().filter(|version| **version == Version::HTTP_2).count()
    }

    #[tokio::test]
    async fn where_many_are_under_way_they_share_a_connection() {
        let paths: Vec<String> = (0..FEW + 40).map(|number| format!("/api/v1/nodes/n-{number}")).collect();
        assert_eq!(shared(&Method::GET, &paths).await, 40);
        assert_eq!(shared(&Method::PUT, &paths[..FEW]).await, 0);
        assert_eq!(shared(&Method::GET, &vec!["/api/v1/nodes".to_owned(); FEW + 40]).await, 0);
    }

    #[tokio::test]
    async fn a_connection_that_is_old_is_not_used_for_what_comes() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority").certificate().to_owned();
        let server = "https://127.0.0.1:1".to_owned();
        let config = Kubeconfig { server, authority, credential: None, token: None };
        let mut brief = Brief::over(Route::fixed(&config, None, Protocols::Two).expect("usable"));
        let since = |brief: &Brief| {
            drop(brief.shared());
            brief.current.lock().1
        };
        let first = since(&brief);
        assert_eq!(since(&brief), first);
        brief.age_max = Duration::ZERO;
        assert!(since(&brief) > first);
    }

    #[tokio::test]
    async fn what_some_give_up_does_not_end_what_others_ask_for() {
        let (go_on, waits) = watch::channel(false);
        let backend = Backend::start(move |request: Request<Incoming>| {
            let (of_others, mut waits) = (request.method() == Method::PUT, waits.clone());
            async move {
                if of_others {
                    let _ = waits.wait_for(|go_on| *go_on).await;
                } else {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await;
        let written = join_all((0..2 * FEW).map(|_| backend.ask(&Method::PUT, "/api/v1/nodes/n-1")));
        let given_up = async {
            for _ in 0..40 {
                let some = join_all((0..100).map(|_| backend.ask(&Method::GET, "/api/v1/nodes/n-2")));
                let _ = tokio::time::timeout(Duration::from_millis(5), some).await;
            }
            go_on.send_replace(true);
        };
        tokio::join!(written, given_up);
        backend.end().await;
    }
}
