//! The running program, as a user of a tenant reaches it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub use hyper::body::Incoming as Body;

/// Where it is, and in which tenant the scenarios are played.
pub struct Server {
    pub address: SocketAddr,
    pub tenant: &'static str,
}

/// The users of the scenarios, in each tenant.
pub fn tokens(tenants: &[&str]) -> String {
    let of = |tenant: &&str| {
        format!(
            "{tenant}-admin-token,admin,admin-uid,system:masters,,{tenant}\n{tenant}-nobody-token,nobody,,,,{tenant}\n\
             {tenant}-viewer-token,viewer,,\"viewers,staff\",,{tenant}\n"
        )
    };
    tenants.iter().map(of).collect()
}

/// The bearer token of a user of the scenarios; whose tenant it is, is put in when it is sent.
pub fn token(user: &str) -> Option<String> {
    (user != "anonymous").then(|| format!("TENANT-{user}-token"))
}

impl Server {
    /// Sends a request, over a connection of its own.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Response<Body> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let prefix = if self.tenant == "system" { String::new() } else { format!("/tenants/{}", self.tenant) };
        *request.uri_mut() = format!("{prefix}{path}").parse::<Uri>().expect("a path");
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&self.address.to_string()).expect("an address"));
        if let Some(token) = headers.get(AUTHORIZATION).and_then(|token| token.to_str().ok()) {
            let token = token.replace("TENANT-", &format!("{}-", self.tenant));
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&token).expect("a token"));
        }
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("it answers");
        tokio::spawn(connection);
        sender.send_request(request).await.expect("it answers")
    }
}
