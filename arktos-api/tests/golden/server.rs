//! The server that scenarios are played against.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

pub type Body = Full<Bytes>;

/// A fresh server, with the identities and settings that the scenarios were recorded with.
pub struct Server;

impl Server {
    pub async fn start() -> Self {
        Self
    }

    pub async fn send(&self, _request: Request<Full<Bytes>>) -> Response<Body> {
        Response::builder().status(501).body(Full::default()).expect("a response")
    }
}

/// The bearer token of a user of the scenarios.
pub fn token(user: &str) -> Option<String> {
    (user != "anonymous").then(|| format!("golden-{user}-token"))
}
