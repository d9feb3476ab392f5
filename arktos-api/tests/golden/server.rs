//! The server that scenarios are played against: a fresh one each, with a clock that moves only when nothing else can.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arktos_api::{ApiConfig, ApiServer, TokenTable};
use arktos_core::Timestamp;
use arktos_store::clock::SeededRandom;
use arktos_store::{Clock, Engine};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tower::ServiceExt;

pub use arktos_api::Body;

/// The day of the recording: some answers say how long ago a fixed date was.
const TODAY: &str = "2026-11-23T12:00:00Z";
/// Whose tokens the scenarios use.
const TOKENS: &str = "golden-admin-token,admin,admin-uid,system:masters
golden-nobody-token,nobody,
golden-viewer-token,viewer,,\"viewers,staff\"
";

/// A fresh server, with the identities and settings that the scenarios were recorded with.
pub struct Server {
    api: ApiServer,
    definitions: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.definitions.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        let start = Timestamp::parse(TODAY).expect("a moment");
        let clock = Arc::new(VirtualClock { start, began: Instant::now() });
        let mut config = ApiConfig::new(Engine::memory(clock.clone()), clock, Arc::new(SeededRandom::new(7)));
        config.tokens = TokenTable::parse(TOKENS).expect("a token file");
        config.admission.disabled.insert("ServiceAccount".to_owned());
        let server = ApiServer::new(config);
        server.bootstrap().await.expect("an empty store takes the bootstrap");
        let definitions = tokio::spawn(server.clone().look_after(|_| {}));
        Self { api: server, definitions }
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        let answer: Result<_, Infallible> = self.api.clone().oneshot(request).await;
        answer.expect("a server always answers")
    }
}

/// The bearer token of a user of the scenarios.
pub fn token(user: &str) -> Option<String> {
    (user != "anonymous").then(|| format!("golden-{user}-token"))
}

/// The runtime's own virtual time, from the day of the recording on.
struct VirtualClock {
    start: Timestamp,
    began: Instant,
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.start.later(self.began.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
