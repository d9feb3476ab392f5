//! One request over a connection of its own, to somebody the operator trusts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// How long an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a request with an absolute `https` URL, and reads the answer.
///
/// # Errors
/// A sentence that says what failed.
pub async fn exchange(config: ClientConfig, request: Request<Bytes>) -> Result<(StatusCode, Bytes), String> {
    let within = tokio::time::timeout(TIMEOUT, send(config, request));
    within.await.unwrap_or_else(|_| Err("no answer came in time".to_owned()))
}

async fn send(mut config: ClientConfig, request: Request<Bytes>) -> Result<(StatusCode, Bytes), String> {
    let uri: Uri = request.uri().clone();
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or("the URL is not https://host[/path]")?;
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let place = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(443));
    let stream = TcpStream::connect(place).await.map_err(|error| format!("{host}: {error}"))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|error| format!("{host}: tls: {error}"))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let (mut head, body) = request.into_parts();
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    head.uri = path.parse().map_err(|error| format!("{path}: {error}"))?;
    let authority = uri.authority().map_or(host, http::uri::Authority::as_str);
    head.headers.insert(header::HOST, authority.parse().map_err(|_| format!("{authority} is no host"))?);
    let exchange = async {
        let sent = sender.send_request(Request::from_parts(head, Full::new(body))).await;
        let answer = sent.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        body.map(|body| (status, body.to_bytes())).map_err(|error| format!("reading the answer: {error}"))
    };
    // The connection lives as long as the exchange, which sees for itself when it ends too early.
    let driven = async {
        drop(connection.await);
        std::future::pending().await
    };
    tokio::select! {
        answer = exchange => answer,
        never = driven => never,
    }
}
