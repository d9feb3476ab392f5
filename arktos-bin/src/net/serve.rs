//! Serving a `tower::Service` on a socket, with TLS or without, until told to stop.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arktos_api::{PeerAddress, PeerCertificate, PeerRank, PeerRefusals, is_large};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::aside::Aside;
use super::brief::{HEADERS_MAX, UNREAD_MAX};
use super::gathered::gathered;
use super::giving_way::GivingWay;
use super::holders::{Holders, Place, refusal};
use super::prompt::Prompt;

/// The most connections one listener holds at a time; further clients wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;
/// The most of them that one tenant holds, and of those of which nobody knows yet whose they are, one address.
const CONNECTIONS_OF_ONE: usize = CONNECTIONS_MAX / 4;
/// How long a client may take to say who it is, and then what it wants.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection of HTTP/1.1 may take to send the head of its next request, idle or not, before it is closed.
pub(super) const IDLE_TIMEOUT: Duration = HANDSHAKE_TIMEOUT;
/// How long open requests get to end once the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of one answer of HTTP/2 is kept for a client that is yet to read it, in bytes.
const AHEAD: usize = 128 << 10;
/// The most streams of one HTTP/2 connection. Watches hold one each, so this bounds the watches of one client process.
const STREAMS_MAX: u32 = 1000;

/// Tells everything that runs to stop; dropping the sender does so as well.
pub type Stop = watch::Receiver<bool>;

/// Accepts connections and serves each with a clone of `service`, until `stop` says so; then lets open requests end.
///
/// With `tls`, the certificate a client proved to have is put into each request as [`PeerCertificate`].
pub async fn serve<S, B>(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, service: S, stop: Stop)
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limits = Limits { all: CONNECTIONS_MAX, of_one: CONNECTIONS_OF_ONE, to_ask: HANDSHAKE_TIMEOUT };
    serve_within(limits, listener, tls, service, stop).await;
}

/// How many connections there are, and how long one may take until a request comes over it.
#[derive(Clone, Copy)]
struct Limits {
    all: usize,
    of_one: usize,
    to_ask: Duration,
}

async fn serve_within<S, B>(
    limits: Limits,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    service: S,
    mut stop: Stop,
) where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let acceptor = tls.map(TlsAcceptor::from);
    let slots = Arc::new(Semaphore::new(limits.all));
    let (aside, holders) = (Arc::new(Aside::default()), Holders::new(limits.of_one));
    let mut connections = JoinSet::new();
    let mut waiting = None;
    loop {
        let slot = tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener), if waiting.is_none() => {
                waiting = accepted;
                if waiting.is_some() && slots.available_permits() == 0 {
                    holders.make_room();
                }
                continue;
            }
            Ok(slot) = slots.clone().acquire_owned(), if waiting.is_some() => slot,
        };
        let Some(socket) = waiting.take() else { continue };
        let (acceptor, stop) = (acceptor.clone(), stop.clone());
        let served =
            Served { service: service.clone(), aside: aside.clone(), holders: holders.clone(), to_ask: limits.to_ask };
        let (aside, rank) = (aside.clone(), PeerRank::default());
        connections.spawn(async move {
            let connection = connection(socket, acceptor, served, rank.clone(), stop);
            if let Err(error) = aside.see_through(connection, move || rank.is_behind()).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await; // whoever still holds on is cut off by the drop
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((socket, _)) => Some(socket),
        Err(error) => {
            // Out of descriptors, most likely: give running connections a moment to end.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// What requests are given to.
struct Served<S> {
    service: S,
    aside: Arc<Aside>,
    holders: Arc<Holders>,
    to_ask: Duration,
}

/// Who is at the other end of a connection, as each of its requests says.
#[derive(Clone)]
struct Peer {
    address: PeerAddress,
    certificate: Option<PeerCertificate>,
    refusals: PeerRefusals,
    rank: PeerRank,
}

async fn connection<S, B>(
    socket: TcpStream,
    acceptor: Option<TlsAcceptor>,
    served: Served<S>,
    rank: PeerRank,
    stop: Stop,
) -> Result<(), ConnectionError>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    socket.set_nodelay(true)?;
    let address = PeerAddress(socket.peer_addr()?);
    let peer = Peer { address, certificate: None, refusals: PeerRefusals::default(), rank };
    let Some(acceptor) = acceptor else {
        // On loopback alone: nobody is kept apart from anybody else there.
        return exchange(socket, |_| Ok(()), peer, served, None, stop).await;
    };
    let place = Arc::new(served.holders.enter(address.0.ip()));
    let given_up = place.clone();
    let connection = async move {
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await??;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.map(|certificate| PeerCertificate::new(certificate.to_vec()));
        place.shown(certificate.as_ref());
        let (io, turns) = gathered(stream);
        exchange(io, |context| turns.over(context), Peer { certificate, ..peer }, served, Some(place), stop).await
    };
    tokio::select! {
        done = connection => done,
        () = given_up.given_up() => Err("it was given up for a new one: nobody knew whose it was".into()),
    }
}

/// Speaks HTTP on a connection. `turn_over` is called whenever there is nothing more to do for the moment.
async fn exchange<I, S, B>(
    io: I,
    turn_over: impl Fn(&mut Context<'_>) -> std::io::Result<()>,
    peer: Peer,
    served: Served<S>,
    place: Option<Arc<Place>>,
    mut stop: Stop,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (taken, to_ask) = (place.clone(), served.to_ask);
    let handler = service_fn(move |request| handled(request, peer.clone(), &served, taken.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(AHEAD)
        .keep_alive_interval(Duration::from_secs(30));
    if place.as_ref().is_some_and(|place| place.is_of_the_region()) {
        // A gateway speaks for many: what one of them gives up, or does not read, is not held against all.
        builder
            .http2()
            .initial_connection_window_size(UNREAD_MAX)
            .max_header_list_size(HEADERS_MAX)
            .max_pending_accept_reset_streams(100 * STREAMS_MAX as usize)
            .max_local_error_reset_streams(None);
    }
    let io = GivingWay::new(Prompt::within(HANDSHAKE_TIMEOUT, io));
    let connection = builder.serve_connection(TokioIo::new(io), handler);
    let (mut connection, mut stopping) = (pin!(connection), pin!(stopped(&mut stop)));
    let mut stops = false;
    let mut over = pin!(over(place.as_deref(), to_ask));
    poll_fn(|context| {
        if !stops && stopping.as_mut().poll(context).is_ready() {
            stops = true;
            connection.as_mut().graceful_shutdown();
        }
        let mut polled = connection.as_mut().poll(context);
        // Who has no place is told why, if they ask.
        if !stops && polled.is_pending() && place.as_ref().is_some_and(|place| place.is_over()) {
            stops = true;
            connection.as_mut().graceful_shutdown();
            polled = connection.as_mut().poll(context);
        }
        if polled.is_pending() {
            if over.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            turn_over(context)?;
        }
        polled
    })
    .await
}

/// Completes when a connection over which nothing was asked in time is to end, or one that there is no place for has
/// had its time; what it still reads, watches among it, is cut off then.
async fn over(place: Option<&Place>, to_ask: Duration) {
    let Some(place) = place else { return std::future::pending().await };
    tokio::time::sleep(to_ask).await;
    if !place.has_asked() {
        return;
    }
    let is_full = |_: &mut Context<'_>| match place.is_full() {
        true => Poll::Ready(()),
        false => Poll::Pending, // it is asked whenever the connection goes on
    };
    poll_fn(is_full).await;
    tokio::time::sleep(HANDSHAKE_TIMEOUT).await;
}

/// Answers a request that came over a connection with a place, or without one that it needs.
fn handled<S, B>(
    mut request: Request<Incoming>,
    peer: Peer,
    served: &Served<S>,
    place: Option<Arc<Place>>,
) -> impl Future<Output = Result<Response<Either<Full<Bytes>, B>>, Infallible>> + Send + use<S, B>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    let Peer { address, certificate, refusals, rank } = peer;
    let (under_way, of) = (place.as_ref().map(Place::asked), rank.clone());
    request.extensions_mut().insert(address);
    request.extensions_mut().insert(refusals);
    request.extensions_mut().insert(rank);
    if let Some(certificate) = certificate {
        request.extensions_mut().insert(certificate);
    }
    let aside = is_large(request.body()).then(|| served.aside.clone());
    let mut service = served.service.clone();
    async move {
        if matches!(under_way, Some((_, true))) {
            return Ok(refusal().map(Either::Left));
        }
        let Ok(()) = poll_fn(|context| service.poll_ready(context)).await;
        let Ok(response) = match aside {
            Some(aside) => aside.run(service.call(request)).await,
            None => service.call(request).await,
        };
        if let Some((under_way, _)) = under_way {
            under_way.answered(&of);
        }
        Ok(response.map(Either::Right))
    }
}

/// Completes when told to stop.
pub async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await; // a sender that is gone means stop, too
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::kubeconfig::Kubeconfig;
    use crate::net::pki::{Authority, Subject};
    use crate::net::route::Protocols::All;
    use crate::net::tls;
    use arktos_core::TenantName;
    use http_body_util::Empty;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    /// Answers everybody, and says of those with a token that they are of `acme`, as where tokens are checked.
    async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.headers().contains_key(http::header::AUTHORIZATION)
            && let Some(rank) = request.extensions().get::<PeerRank>()
        {
            rank.answered_elsewhere(&TenantName::new("acme").expect("a name"));
        }
        Ok(Response::new(Full::from("well")))
    }

    /// A listener with these limits, and who asks it.
    struct World {
        authority: Authority,
        address: std::net::SocketAddr,
        stop: watch::Sender<bool>,
        serving: tokio::task::JoinHandle<()>,
        _directory: tempfile::TempDir,
    }

    type Asking = Client<crate::net::route::Route, Empty<Bytes>>;

    impl World {
        async fn start(limits: Limits) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let authority = Authority::open(directory.path()).expect("an authority");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let credential = authority.server("test", &[address.ip()], &[]).expect("a certificate");
            let config = tls::server(&credential, authority.certificate()).expect("usable");
            let (stop, stopped) = watch::channel(false);
            let serving =
                tokio::spawn(serve_within(limits, listener, Some(config), tower::service_fn(answer), stopped));
            Self { authority, address, stop, serving, _directory: directory }
        }

        /// What a client is answered, with a certificate for a tenant, a token, or neither. It has a connection of its
        /// own, and keeps it.
        async fn ask(&self, tenant: Option<&str>, token: bool) -> (u16, Asking) {
            let subject =
                |tenant: &str| Subject { user: "u".to_owned(), tenant: Some(tenant.to_owned()), groups: Vec::new() };
            let credential = tenant.map(|tenant| self.authority.client(&subject(tenant)).expect("a certificate"));
            let (server, trusted) = (format!("https://{}", self.address), self.authority.certificate().to_owned());
            let config = Kubeconfig { server: server.clone(), authority: trusted, credential, token: None };
            let route = crate::net::route::Route::fixed(&config, config.shown().expect("usable"), All).expect("usable");
            let client: Asking = Client::builder(TokioExecutor::new()).build(route);
            let mut request = Request::get(server).body(Empty::new()).expect("a request");
            if token {
                request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer t"));
            }
            let answer = client.request(request).await.expect("an answer").status().as_u16();
            (answer, client)
        }

        async fn end(self) {
            self.stop.send_replace(true);
            self.serving.await.expect("it ends");
        }
    }

    /// Whether a connection on which nothing is said is closed by the other side.
    async fn is_closed(mut silent: TcpStream) -> bool {
        use tokio::io::AsyncReadExt;
        let mut byte = [0];
        let read = silent.read(&mut byte);
        let read = tokio::time::timeout(Duration::from_secs(60), read).await.expect("it does not wait for ever");
        read.map_or(true, |count| count == 0)
    }

    #[tokio::test]
    async fn a_tenant_holds_a_part_of_the_connections_and_is_told_so() {
        let world = World::start(Limits { all: 100, of_one: 2, to_ask: HANDSHAKE_TIMEOUT }).await;
        let (first, one) = world.ask(Some("acme"), false).await;
        let (second, two) = world.ask(None, true).await; // it is known whose it is once it was answered
        assert_eq!((first, second), (200, 200));
        let (third, _) = world.ask(Some("acme"), false).await;
        assert_eq!(third, 429);
        assert_eq!(world.ask(Some("umbra"), false).await.0, 200);
        for _ in 0..3 {
            assert_eq!(world.ask(Some("system"), false).await.0, 200);
        }
        drop((one, two));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while world.ask(Some("acme"), false).await.0 != 200 {
            assert!(tokio::time::Instant::now() < deadline, "what is let go can be had anew");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.end().await;
    }

    #[tokio::test]
    async fn who_has_not_said_who_they_are_keep_nobody_out() {
        let world = World::start(Limits { all: 6, of_one: 2, to_ask: Duration::from_secs(3600) }).await;
        let mut held = Vec::new();
        for _ in 0..10 {
            let (answer, client) = world.ask(None, false).await;
            assert_eq!(answer, 200);
            held.push(client);
        }
        let silent = TcpStream::connect(world.address).await.expect("it listens");
        for _ in 0..2 {
            let (answer, client) = world.ask(None, true).await;
            assert_eq!(answer, 200, "a token is heard");
            held.push(client);
        }
        assert_eq!(world.ask(Some("umbra"), false).await.0, 200);
        assert!(is_closed(silent).await, "it has said nothing, and others came");
        drop(held);
        world.end().await;
    }

    #[tokio::test]
    async fn where_all_places_are_taken_who_is_not_known_gives_one_up() {
        let world = World::start(Limits { all: 2, of_one: 50, to_ask: Duration::from_secs(3600) }).await;
        let silent = TcpStream::connect(world.address).await.expect("it listens");
        let (_, known) = world.ask(Some("system"), false).await;
        let (answer, _also) = world.ask(Some("acme"), false).await;
        assert_eq!(answer, 200);
        assert!(is_closed(silent).await);
        drop(known);
        world.end().await;
    }

    #[tokio::test]
    async fn who_asks_for_nothing_in_time_is_cut_off() {
        let world = World::start(Limits { all: 9, of_one: 9, to_ask: Duration::from_millis(200) }).await;
        let config = tls::client(None, world.authority.certificate()).expect("usable");
        let name = world.address.ip().into();
        let socket = TcpStream::connect(world.address).await.expect("it listens");
        let mut stream =
            tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(preface).await.expect("it is open");
        stream.flush().await.expect("it is open");
        let mut said = Vec::new();
        let ends = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut said));
        assert!(ends.await.is_ok(), "HTTP/2 that is spoken and says nothing ends");
        world.end().await;
    }
}
