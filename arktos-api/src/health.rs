//! How the server is doing: `/healthz`, `/livez` and `/readyz`, whole and check by check.

use std::collections::BTreeSet;

use futures::FutureExt;
use http::Response;

use crate::body::Body;
use crate::paths::nothing_there;
use crate::reply;
use crate::server::{Head, State};

/// The endpoints.
const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];

/// What is checked first (what is not the store's is always well), and in which of the endpoints beside `healthz` and
/// `livez` or `readyz`.
const FIRST: [(&str, Where); 6] = [
    ("ping", Where::All),
    ("log", Where::All),
    ("loopback-serving-certificate", Where::Alive),
    (STORE, Where::All),
    (STORE_READY, Where::Ready),
    ("informer-sync", Where::Ready),
];
/// The store, whichever it is.
const STORE: &str = "etcd";
const STORE_READY: &str = "etcd-readiness";

/// What upstream does after it has started, by its names, which monitors know. Here that is done before anything is
/// served, or there is nothing to do.
const STARTED: [&str; 31] = [
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/peer-endpoint-reconciler-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/storage-readiness",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-wait-for-first-sync",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];
/// What is checked last of whether more may be asked.
const LAST: (&str, Where) = ("shutdown", Where::Ready);

/// Where a check belongs.
#[derive(Clone, Copy)]
enum Where {
    All,
    Alive,
    Ready,
}

impl Where {
    fn is(self, endpoint: &str) -> bool {
        match self {
            Self::All => true,
            Self::Alive => endpoint != "readyz",
            Self::Ready => endpoint == "readyz",
        }
    }
}

fn checks(endpoint: &str) -> impl Iterator<Item = &'static str> {
    let started = STARTED.into_iter().map(|check| (check, Where::All));
    let all = FIRST.into_iter().chain(started).chain([LAST]);
    all.filter(move |(_, place)| place.is(endpoint)).map(|(check, _)| check)
}

/// The paths of all checks.
pub(crate) fn paths() -> impl Iterator<Item = String> {
    ENDPOINTS.into_iter().flat_map(|endpoint| checks(endpoint).map(move |check| format!("/{endpoint}/{check}")))
}

/// Whether a request asks how the server is doing: that waits for nobody.
pub(crate) fn is_health(head: &Head) -> bool {
    let first = head.info.path.split('/').nth(1);
    head.info.resource.is_none() && first.is_some_and(|first| ENDPOINTS.contains(&first))
}

/// The answer to such a request.
pub(crate) fn answer(state: &State, head: &Head) -> Option<Response<Body>> {
    let rest = head.info.path.strip_prefix('/')?;
    let (name, check) = rest.split_once('/').map_or((rest, None), |(name, check)| (name, Some(check)));
    if !ENDPOINTS.contains(&name) {
        return None;
    }
    if head.path.ends_with('/') {
        return Some(nothing_there());
    }
    Some(match check {
        Some(check) if checks(name).any(|known| known == check) => one_check(state, check),
        Some(_) => nothing_there(),
        None => all_checks(state, head, name),
    })
}

fn one_check(state: &State, check: &str) -> Response<Body> {
    if !passes(state, check) {
        return reply::text(500, "internal server error: failed");
    }
    let mut fine = reply::text(200, "ok");
    fine.headers_mut().remove(http::header::X_CONTENT_TYPE_OPTIONS); // of one check upstream does not say it
    fine
}

fn passes(state: &State, check: &str) -> bool {
    !matches!(check, STORE | STORE_READY) || is_store_well(state)
}

/// Whether the store is there.
pub(crate) fn is_store_well(state: &State) -> bool {
    // Where the newest state is at hand at once (or is waited for), the store is there. One that has failed answers
    // reads, and nothing but another start mends it.
    let engine = &state.config.engine;
    engine.failure().is_none() && !matches!(engine.latest().now_or_never(), Some(Err(_)))
}

fn all_checks(state: &State, head: &Head, name: &str) -> Response<Body> {
    let mut excluded: BTreeSet<&str> = head.query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = false;
    for check in checks(name) {
        if excluded.remove(check) {
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if passes(state, check) {
            lines.push_str(&format!("[+]{check} ok\n"));
        } else {
            failed = true;
            lines.push_str(&format!("[-]{check} failed: reason withheld\n"));
        }
    }
    if !excluded.is_empty() {
        let unknown = excluded.iter().map(|check| format!("{check:?}")).collect::<Vec<_>>().join(",");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {unknown}\n"));
    }
    if failed {
        return reply::text(500, format!("{lines}{name} check failed\n"));
    }
    if head.query.find("verbose").is_some() {
        return reply::text(200, format!("{lines}{name} check passed\n"));
    }
    reply::text(200, "ok")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arktos_core::{GroupResource, Object, Timestamp, TypeMeta};
    use arktos_store::clock::{ManualClock, SeededRandom};
    use arktos_store::storage::{AppendError, Group, Journal, OpenError, Restore};
    use arktos_store::{Engine, EngineConfig};
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;

    use crate::{ApiConfig, ApiServer, Identity};

    /// A disk that fails at the first write.
    struct Broken;

    impl Journal for Broken {
        fn load(&mut self, _: &mut Restore) -> Result<(), OpenError> {
            Ok(())
        }

        fn append(&mut self, _: &Group) -> Result<(), AppendError> {
            Err(AppendError::Failed("the disk is gone".to_owned()))
        }
    }

    #[tokio::test]
    async fn a_server_whose_store_has_failed_is_not_well() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let engine = Engine::open(Box::new(Broken), EngineConfig::default(), clock.clone()).expect("opens");
        let server = ApiServer::new(ApiConfig::new(engine, clock, Arc::new(SeededRandom::new(1))));
        let ask = async |path: &str| {
            let mut request = Request::get(path).body(Full::new(Bytes::new())).expect("a request");
            request.extensions_mut().insert(Identity::system_component("root"));
            let Ok(answer) = tower::Service::call(&mut server.clone(), request).await;
            answer.status().as_u16()
        };
        assert_eq!((ask("/livez").await, ask("/readyz").await), (200, 200));
        let tenant = Object::new(&TypeMeta::new("", "v1", "Tenant"), "acme");
        let client = server.client(Identity::system_component("root"));
        let made = client.create(&GroupResource::core("tenants"), "", "", tenant).await;
        assert!(made.is_err(), "nothing is written any more");
        for path in ["/livez", "/readyz", "/healthz", "/livez/etcd", "/readyz/etcd-readiness"] {
            assert_eq!(ask(path).await, 500, "{path}");
        }
        assert_eq!(ask("/livez/ping").await, 200);
    }

    #[test]
    fn every_check_stands_where_upstream_has_it() {
        let all: Vec<String> = paths().collect();
        let has = |path: &str| all.iter().any(|known| known == path);
        for path in
            ["/livez/etcd", "/readyz/etcd-readiness", "/readyz/informer-sync", "/healthz/autoregister-completion"]
        {
            assert!(has(path), "{path}");
        }
        assert!(has("/livez/poststarthook/start-kube-aggregator-informers"));
        assert!(
            !has("/livez/shutdown") && !has("/readyz/loopback-serving-certificate") && !has("/healthz/informer-sync")
        );
    }
}
