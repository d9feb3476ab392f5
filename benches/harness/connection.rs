//! A client of the API as simple as can be: HTTP/2 over TLS, on one connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arktos_bin::net::tls::{self, Credential};
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Outcome;

/// A connection, and the token that is shown on it, if any. Cloning it shares it.
#[derive(Clone)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    token: Option<Arc<str>>,
}

impl Client {
    /// Connects to a server on the loopback whose certificate this authority has signed.
    pub async fn connect(address: SocketAddr, authority: &str, token: &str) -> Outcome<Self> {
        Self::open_to(address, tls::client(None, authority)?, Some(token.into())).await
    }

    /// Connects with a client certificate.
    pub async fn certified(address: SocketAddr, authority: &str, credential: &Credential) -> Outcome<Self> {
        Self::open_to(address, tls::client(Some(credential), authority)?, None).await
    }

    async fn open_to(address: SocketAddr, mut config: ClientConfig, token: Option<Arc<str>>) -> Outcome<Self> {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(Self { sender, token })
    }

    /// Sends a request, whatever the answer is; its body is still to be read.
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Outcome<Response<Incoming>> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://127.0.0.1{path}"))
            .header(header::CONTENT_TYPE, kind)
            .header(
                header::ACCEPT,
                if path.ends_with("/jwks") { "application/jwk-set+json" } else { "application/json" },
            );
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request that is to succeed; the answer's body is still to be read.
    pub async fn open(&mut self, method: Method, path: &str, body: Bytes) -> Outcome<Response<Incoming>> {
        let response = self.send(method, path, body).await?;
        if !response.status().is_success() {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            return Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(response)
    }

    /// Sends a request that is to succeed, and reads the answer.
    pub async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Outcome<Bytes> {
        Ok(self.open(method, path, body).await?.into_body().collect().await?.to_bytes())
    }
}

/// Sends `count` requests over some connections, `at_once` of them under way at any time, each made from its number,
/// from who of them sends it, and from the last answer that it got. How long each took, in seconds.
pub async fn send(
    connections: &[Client],
    at_once: usize,
    count: usize,
    make: impl Fn(usize, usize, &[u8]) -> (Method, String, Bytes) + Send + Sync + 'static,
) -> Outcome<Vec<f64>> {
    let (next, make) = (Arc::new(AtomicUsize::new(0)), Arc::new(make));
    let workers: Vec<_> = (0..at_once)
        .map(|worker| {
            let (mut client, next, make) =
                (connections[worker % connections.len()].clone(), next.clone(), make.clone());
            tokio::spawn(async move {
                let (mut times, mut last) = (Vec::new(), Bytes::new());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Outcome::Ok(times);
                    }
                    let (method, path, body) = make(number, worker, &last);
                    let sent = Instant::now();
                    last = client.ask(method, &path, body).await?;
                    times.push(sent.elapsed().as_secs_f64());
                }
            })
        })
        .collect();
    let mut times = Vec::with_capacity(count);
    for worker in workers {
        times.extend(worker.await??);
    }
    Ok(times)
}
