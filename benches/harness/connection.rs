//! A client of the API as simple as can be: HTTP/2 over TLS, on one connection.

use std::net::SocketAddr;
use std::sync::Arc;

use arktos_bin::net::tls;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Outcome;

/// A connection, and the token that is shown on it. Cloning it shares it.
#[derive(Clone)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    token: Arc<str>,
}

impl Client {
    /// Connects to a server on the loopback whose certificate this authority has signed.
    pub async fn connect(address: SocketAddr, authority: &str, token: &str) -> Outcome<Self> {
        let mut config = tls::client(None, authority)?;
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
        Ok(Self { sender, token: token.into() })
    }

    /// Sends a request, whatever the answer is; its body is still to be read.
    pub async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Outcome<Response<Incoming>> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder()
            .method(method)
            .uri(format!("https://127.0.0.1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, kind)
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body))?;
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
