//! Serving a `tower::Service` on a socket, with TLS or without, until told to stop.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use arktos_api::{PeerAddress, PeerCertificate, PeerRank, PeerRefusals, is_large};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::aside::Aside;
use super::gathered::gathered;
use super::giving_way::GivingWay;
use super::prompt::Prompt;

/// The most connections one listener holds at a time; further clients wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;
/// How long a client may take to say who it is and what it wants.
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
pub async fn serve<S, B>(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, service: S, mut stop: Stop)
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let acceptor = tls.map(TlsAcceptor::from);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let aside = Arc::new(Aside::default());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = accept(&listener, &slots) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((socket, slot)) = accepted else { continue };
        let (acceptor, stop) = (acceptor.clone(), stop.clone());
        let served = Served { service: service.clone(), aside: aside.clone() };
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

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, _)) => Some((socket, slot)),
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
    let Some(acceptor) = acceptor else { return exchange(socket, |_| Ok(()), peer, served, stop).await };
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.map(|certificate| PeerCertificate::new(certificate.to_vec()));
    let (io, turns) = gathered(stream);
    exchange(io, |context| turns.over(context), Peer { certificate, ..peer }, served, stop).await
}

/// Speaks HTTP on a connection. `turn_over` is called whenever there is nothing more to do for the moment.
async fn exchange<I, S, B>(
    io: I,
    turn_over: impl Fn(&mut Context<'_>) -> std::io::Result<()>,
    peer: Peer,
    served: Served<S>,
    mut stop: Stop,
) -> Result<(), ConnectionError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Served { service, aside } = served;
    let handler = service_fn(move |mut request: Request<Incoming>| {
        let Peer { address, certificate, refusals, rank } = peer.clone();
        request.extensions_mut().insert(address);
        request.extensions_mut().insert(refusals);
        request.extensions_mut().insert(rank);
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        let aside = is_large(request.body()).then(|| aside.clone());
        let mut service = service.clone();
        async move {
            match poll_fn(|context| service.poll_ready(context)).await {
                Ok(()) => match aside {
                    Some(aside) => aside.run(service.call(request)).await,
                    None => service.call(request).await,
                },
            }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(AHEAD)
        .keep_alive_interval(Duration::from_secs(30));
    let io = GivingWay::new(Prompt::within(HANDSHAKE_TIMEOUT, io));
    let connection = builder.serve_connection(TokioIo::new(io), handler);
    let (mut connection, mut stopping) = (pin!(connection), pin!(stopped(&mut stop)));
    let mut stops = false;
    poll_fn(|context| {
        if !stops && stopping.as_mut().poll(context).is_ready() {
            stops = true;
            connection.as_mut().graceful_shutdown();
        }
        let polled = connection.as_mut().poll(context);
        if polled.is_pending() {
            turn_over(context)?;
        }
        polled
    })
    .await
}

/// Completes when told to stop.
pub async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stop| *stop).await; // a sender that is gone means stop, too
}
