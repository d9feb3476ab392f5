//! Whose a client's connection to a gateway is, and whether it is served after others.

use arktos_api::{Identity, Passed, PeerRank};
use arktos_core::TenantName;
use http::{Request, Response, StatusCode};

use super::destination::watches;
use super::{Backend, Gateway, GatewayBody, RequestBody, until_read};

impl Gateway {
    /// Sends a request on. The connection of who comes with a token that counts is its tenant's from then on.
    pub(super) async fn send_on(
        &self,
        backend: Backend,
        request: Request<RequestBody>,
        identity: Option<Identity>,
    ) -> Response<GatewayBody> {
        let connection = request.extensions().get::<PeerRank>().cloned();
        let known = identity.as_ref().filter(|identity| !identity.is_in("system:unauthenticated"));
        let tenant = known.and_then(|identity| identity.tenant.clone());
        let Some((connection, tenant)) = connection.zip(tenant) else { return backend.send(request, identity).await };
        let claimed = known.is_some_and(|identity| identity.user.is_empty());
        let counts = known.is_some_and(|identity| !identity.is_component());
        if !claimed || connection.whose() == Some(tenant.as_str()) {
            let watches = watches(request.uri());
            let passed = self.note(&tenant, counts, &connection);
            let answer = backend.send(request, identity).await;
            return match passed.filter(|_| !watches) {
                Some(passed) => answer.map(|body| until_read(body, passed)),
                None => answer,
            };
        }
        let answer = backend.send(request, identity).await;
        // What else is said may be said to anybody.
        if answer.status().is_success() || [StatusCode::FORBIDDEN, StatusCode::CONFLICT].contains(&answer.status()) {
            drop(self.note(&tenant, counts, &connection)); // as its partition has found
        }
        answer
    }

    fn note(&self, tenant: &TenantName, counts: bool, connection: &PeerRank) -> Option<Passed> {
        let Some(shares) = self.0.shares.as_ref().filter(|_| counts) else {
            connection.answered_elsewhere(tenant);
            return None;
        };
        Some(shares.note(tenant, connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;

    use arktos_core::Timestamp;
    use arktos_store::clock::ManualClock;
    use bytes::Bytes;
    use http_body_util::Full;
    use tower::Service;

    use crate::metrics::Metrics;
    use crate::net::forward::Forward;
    use crate::net::kubeconfig::Kubeconfig;
    use crate::net::pki::Authority;
    use crate::roles::gateway::{Identify, OneOfEach};

    /// A gateway that runs by itself, before what cannot be reached.
    fn gateway() -> Gateway {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::open(directory.path()).expect("an authority").certificate().to_owned();
        let config = Kubeconfig { server: "http://127.0.0.1:1".to_owned(), authority, credential: None, token: None };
        let backend = Backend::Remote(Box::new(Forward::new(&config).expect("a backend")));
        let identify: Identify = Arc::new(|parts| Ok(parts.extensions.get::<Identity>().cloned().unwrap_or_default()));
        let clock = ManualClock::new(Timestamp::parse("2026-01-01T00:00:00Z").expect("a moment"));
        Gateway::new(OneOfEach::new(backend.clone(), backend), identify).measured(Metrics::new(), Arc::new(clock))
    }

    async fn ask(gateway: &Gateway, identity: &Identity, connection: &PeerRank, times: usize) {
        let at_once = (0..times).map(|_| async {
            let mut request =
                Request::get("/api/v1/namespaces/default/pods").body(Full::new(Bytes::new())).expect("one");
            request.extensions_mut().insert(identity.clone());
            request.extensions_mut().insert(connection.clone());
            let answer: Result<_, Infallible> = gateway.clone().call(request).await;
            assert_eq!(answer.expect("an answer").status(), 503);
        });
        futures::future::join_all(at_once).await;
    }

    #[tokio::test]
    async fn the_connections_of_who_asks_for_more_than_others_stand_behind_theirs() {
        let (gateway, noisy, quiet) = (gateway(), PeerRank::default(), PeerRank::default());
        let of = |tenant: &str| Identity::user("u", &[], &TenantName::new(tenant).expect("a name"));
        ask(&gateway, &of("quiet"), &quiet, 2).await;
        ask(&gateway, &of("noisy"), &noisy, 150).await;
        ask(&gateway, &of("quiet"), &quiet, 2).await;
        assert_eq!((noisy.whose(), noisy.is_behind()), (Some("noisy"), true));
        assert_eq!((quiet.whose(), quiet.is_behind()), (Some("quiet"), false));
    }

    #[tokio::test]
    async fn a_connection_is_nobody_s_by_what_a_token_says_of_itself() {
        let (gateway, connection) = (gateway(), PeerRank::default());
        let claimed = Identity { tenant: Some(TenantName::new("acme").expect("a name")), ..Identity::default() };
        ask(&gateway, &claimed, &connection, 1).await;
        ask(&gateway, &Identity::anonymous(), &connection, 1).await;
        assert_eq!(connection.whose(), None);
    }
}
