//! How another role is reached: at the one address that a kubeconfig names, or at whichever of its processes answers,
//! as the directory of the region names them.
//!
//! A member of the directory is known by its name and not by its addresses: its certificate must be valid for the name.
//! So a process of another role that has taken over an old address is never taken for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arktos_control::directory::Contact;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Sleep, Timer};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service;

use super::kubeconfig::Kubeconfig;
use super::remote::describe;
use super::tls::{self, Shown, TlsError};

type AnyError = Box<dyn std::error::Error + Send + Sync>;
type Https = HttpsConnector<HttpConnector>;

/// How long one process may take to take a connection and to show who it is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may say nothing before the other side is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Which protocols are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocols {
    /// HTTP/1.1 and HTTP/2.
    All,
    /// HTTP/1.1 alone.
    One,
    /// HTTP/2 alone: what brief requests share.
    #[cfg(feature = "net")]
    Two,
}

/// Whom the processes of a region trust, and as whom they come.
#[derive(Clone)]
pub struct Trust {
    /// What shows their certificate.
    pub shown: Arc<Shown>,
    /// The region's authority, PEM.
    pub authority: String,
}

/// Opens connections to one role. Cloning it shares what it has learned.
#[derive(Clone)]
pub struct Route {
    way: Way,
    home: Home,
}

/// The runtime that connections live on: that on which their pool was made, and not whichever a request happens to be
/// worked on when one is opened. They outlive the request, and carry others'.
#[derive(Clone)]
pub(super) struct Home(Option<Handle>);

impl Home {
    /// The runtime that this is called on, if it is called on one.
    pub(super) fn here() -> Self {
        Self(Handle::try_current().ok())
    }

    /// Opens a connection there. Given up when the future is dropped.
    fn open<T: Send + 'static>(
        &self,
        opening: BoxFuture<'static, Result<T, AnyError>>,
    ) -> BoxFuture<'static, Result<T, AnyError>> {
        let Some(handle) = self.0.clone() else { return opening };
        Box::pin(async move {
            let mut only = JoinSet::new();
            only.spawn_on(opening, &handle);
            only.join_next().await.unwrap_or_else(|| Ok(Err("the runtime has ended".into())))?
        })
    }
}

impl<F> hyper::rt::Executor<F> for Home
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        match &self.0 {
            Some(handle) => drop(handle.spawn(future)),
            None => drop(tokio::spawn(future)),
        }
    }
}

/// What a connection sleeps on lives where the connection does: whoever asks for one may be worked on by a runtime that
/// ends earlier.
impl Timer for Home {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let _there = self.0.as_ref().map(Handle::enter);
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let _there = self.0.as_ref().map(Handle::enter);
        TokioTimer::new().sleep_until(deadline)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        TokioTimer::new().reset(sleep, deadline);
    }
}

#[derive(Clone)]
enum Way {
    Fixed(Https),
    Member(Arc<Member>),
}

struct Member {
    contact: watch::Receiver<Contact>,
    trust: Trust,
    protocols: Protocols,
    /// What connects, for as long as the member's certificates are signed by the same authority.
    https: Mutex<Option<(String, Https)>>,
    /// Which server answered last.
    answered: AtomicUsize,
}

impl Route {
    /// To the server of a kubeconfig, with a certificate to show.
    ///
    /// # Errors
    /// [`TlsError`] when its authority's certificate is unusable.
    pub(super) fn fixed(
        config: &Kubeconfig,
        shown: Option<Arc<Shown>>,
        protocols: Protocols,
    ) -> Result<Self, TlsError> {
        let tls = tls::client_showing(shown, &config.authority)?;
        Ok(Self { way: Way::Fixed(https(tls, protocols, None)), home: Home::here() })
    }

    /// To a member of the directory.
    pub(super) fn member(contact: watch::Receiver<Contact>, trust: Trust, protocols: Protocols) -> Self {
        let (https, answered) = (Mutex::new(None), AtomicUsize::new(0));
        let way = Way::Member(Arc::new(Member { contact, trust, protocols, https, answered }));
        Self { way, home: Home::here() }
    }

    /// Where its connections live.
    #[cfg(feature = "net")]
    pub(super) fn home(&self) -> Home {
        self.home.clone()
    }
}

fn https(tls: rustls::ClientConfig, protocols: Protocols, name: Option<ServerName<'static>>) -> Https {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // A machine that is gone says nothing: watches, which wait for long, find out all the same.
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE / 2));
    tcp.set_keepalive_retries(Some(3));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(KEEPALIVE * 2));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let builder = match name {
        Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => builder,
    };
    match protocols {
        Protocols::All => builder.enable_all_versions().wrap_connector(tcp),
        Protocols::One => builder.enable_http1().wrap_connector(tcp),
        #[cfg(feature = "net")]
        Protocols::Two => builder.enable_http2().wrap_connector(tcp),
    }
}

impl Member {
    /// Connects to the first of its processes that answers, beginning with the one that did last.
    async fn connect(&self) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, AnyError> {
        let contact = self.contact.borrow().clone();
        let https = self.https(&contact)?;
        let count = contact.servers.len();
        let first = self.answered.load(Ordering::Relaxed);
        let mut failure: AnyError = format!("{} has no address", contact.name).into();
        for at in (0..count).map(|step| first.wrapping_add(step) % count) {
            let server: Uri = contact.servers[at].parse()?;
            match tokio::time::timeout(CONNECT_TIMEOUT, https.clone().call(server)).await {
                Ok(Ok(stream)) => {
                    self.answered.store(at, Ordering::Relaxed);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = format!("{}: {}", contact.servers[at], describe(&*error)).into(),
                Err(_) => failure = format!("{} does not answer", contact.servers[at]).into(),
            }
        }
        Err(failure)
    }

    fn https(&self, contact: &Contact) -> Result<Https, AnyError> {
        let mut known = self.https.lock();
        if let Some((authority, https)) = &*known
            && *authority == contact.ca_bundle
        {
            return Ok(https.clone());
        }
        let authority = match contact.ca_bundle.as_str() {
            "" => self.trust.authority.clone(),
            bundle => String::from_utf8(STANDARD.decode(bundle)?)?,
        };
        let tls = tls::client_showing(Some(self.trust.shown.clone()), &authority)?;
        let name = ServerName::try_from(contact.name.clone())?;
        let made = https(tls, self.protocols, Some(name));
        *known = Some((contact.ca_bundle.clone(), made.clone()));
        Ok(made)
    }
}

impl Service<Uri> for Route {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = AnyError;
    type Future = BoxFuture<'static, Result<Self::Response, AnyError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        Poll::Ready(Ok(())) // what is below is always ready
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let opening: Self::Future = match &self.way {
            Way::Fixed(https) => {
                let mut https = https.clone();
                Box::pin(async move {
                    let silent = format!("{server} does not answer");
                    let opened = tokio::time::timeout(CONNECT_TIMEOUT, https.call(server)).await;
                    opened.map_err(|_| AnyError::from(silent))?
                })
            }
            Way::Member(member) => {
                let member = member.clone();
                Box::pin(async move { member.connect().await })
            }
        };
        self.home.open(opening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_sleeps_on_lives_as_long_as_the_connection() {
        let home = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let here = home.block_on(async { Home::here() });
        let asks = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let soon = Duration::from_millis(1);
        let (one, other) = asks.block_on(async { (here.sleep(soon), here.sleep_until(Timer::now(&here) + soon)) });
        drop(asks);
        home.block_on(async {
            one.await;
            other.await;
        });
    }

    #[tokio::test]
    async fn who_takes_a_connection_and_does_not_show_who_it_is_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("https://{}", listener.local_addr().expect("an address"));
        let directory = tempfile::tempdir().expect("a directory");
        let authority = crate::net::pki::Authority::open(directory.path()).expect("an authority");
        let authority = authority.certificate().to_owned();
        let config = Kubeconfig { server: server.clone(), authority, credential: None, token: None };
        let mut route = Route::fixed(&config, None, Protocols::One).expect("usable");
        let (asked, held) = tokio::join!(route.call(server.parse().expect("a URL")), listener.accept());
        let refused = asked.expect_err("nobody shows who it is").to_string();
        assert!(refused.contains("does not answer"), "{refused}");
        drop(held);
    }

    #[tokio::test]
    async fn a_member_that_is_not_reached_is_named_by_the_address_that_was_tried() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("https://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let directory = tempfile::tempdir().expect("a directory");
        let authority = crate::net::pki::Authority::open(directory.path()).expect("an authority");
        let credential = authority.server("me", &[], &["me".to_owned()]).expect("a certificate");
        let trust =
            Trust { shown: Shown::new(&credential).expect("usable"), authority: authority.certificate().to_owned() };
        let contact = Contact { name: "tp-1".to_owned(), servers: vec![server.clone()], ca_bundle: String::new() };
        let mut route = Route::member(watch::channel(contact).1, trust, Protocols::All);
        let refused = route.call("https://tp-1".parse().expect("a URL")).await.expect_err("nobody is there");
        assert!(refused.to_string().starts_with(&server), "{refused}");
    }
}
