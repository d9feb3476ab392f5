//! Where requests go, and what is told of tenants that are not there.

use super::*;
use http::Method;

/// Two partitions; the first has `acme`, the second `globex`, and nobody has any other.
struct Two(Arc<Backends>);

#[async_trait]
impl Directory for Two {
    fn backends(&self) -> Arc<Backends> {
        self.0.clone()
    }

    fn find(&self, tenant: &str) -> Option<String> {
        let partition = ["acme", "globex"].iter().position(|known| *known == tenant);
        let partition = if tenant == TenantName::SYSTEM { Some(0) } else { partition };
        partition.map(|number| format!("tp-{number}"))
    }

    async fn expect(&self, _: &Object) -> Result<String, Status> {
        Ok("tp-0".to_owned())
    }
}

fn server(seed: u64) -> ApiServer {
    use arktos_store::clock::{ManualClock, SeededRandom};
    let clock = Arc::new(ManualClock::new(arktos_core::Timestamp::from_micros(0)));
    let engine = arktos_store::Engine::memory(clock.clone());
    ApiServer::new(arktos_api::ApiConfig::new(engine, clock, Arc::new(SeededRandom::new(seed))))
}

/// A gateway before two partitions and a resource manager.
fn gateway() -> Gateway {
    let partitions = [1, 2].map(|at| (format!("tp-{}", at - 1).into(), Backend::Local(server(at)))).to_vec();
    let identify: Identify = Arc::new(|parts| Ok(parts.extensions.get::<Identity>().cloned().unwrap_or_default()));
    let backends = Backends { partitions, managers: vec![Backend::Local(server(3))], directory: None };
    Gateway::new(Two(Arc::new(backends)), identify)
}

/// The code and the body of an answer.
fn asked(gateway: &Gateway, identity: &Identity, method: Method, path: &str, body: &str) -> (u16, String) {
    let kind = if method == Method::PATCH { "application/apply-patch+yaml" } else { "application/json" };
    let body = Full::new(Bytes::from(body.to_owned()));
    let mut request = Request::builder().method(method).uri(path).body(body).expect("a request");
    let json = http::HeaderValue::from_static(kind);
    request.headers_mut().insert(http::header::CONTENT_TYPE, json);
    request.extensions_mut().insert(identity.clone());
    let answer = futures::executor::block_on(gateway.clone().answer(request));
    let code = answer.status().as_u16();
    let body = futures::executor::block_on(answer.into_body().collect()).expect("a body").to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

/// Makes a tenant in a partition.
fn have(gateway: &Gateway, partition: usize, name: &str) {
    let backends = gateway.0.directory.backends();
    let Backend::Local(server) = &backends.partitions[partition].1 else { panic!("it is in this process") };
    let client = server.client(Identity::system_component("root"));
    let tenant = serde_json::json!({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": name}});
    let tenant = Object::from_value(tenant).expect("an object");
    futures::executor::block_on(client.create(&GroupResource::core("tenants"), "", "", tenant)).expect("created");
}

#[test]
fn a_quota_is_kept_where_its_tenant_is() {
    let (gateway, root) = (gateway(), Identity::system_component("root"));
    let quotas = "/apis/region.arktos.io/v1/tenantquotas";
    let quota = |name: &str| {
        let (version, spec) = ("region.arktos.io/v1", r#"{"hard":{"pods":"5"}}"#);
        format!(r#"{{"apiVersion":"{version}","kind":"TenantQuota","metadata":{{"name":"{name}"}},"spec":{spec}}}"#)
    };
    assert_eq!(asked(&gateway, &root, Method::POST, quotas, &quota("nobody")).0, 404);
    let applied = format!("{quotas}/nobody?fieldManager=m");
    assert_eq!(asked(&gateway, &root, Method::PATCH, &applied, &quota("nobody")).0, 404);
    assert_eq!(asked(&gateway, &Identity::anonymous(), Method::POST, quotas, &quota("acme")).0, 403);
    for (partition, name) in ["acme", "globex"].into_iter().enumerate() {
        have(&gateway, partition, name);
        let made = asked(&gateway, &root, Method::POST, quotas, &quota(name));
        assert_eq!(made.0, 201, "{}", made.1);
        let (path, backends) = (format!("{quotas}/{name}"), gateway.0.directory.backends());
        assert_eq!(asked(&gateway, &root, Method::GET, &path, "").0, 200);
        for (at, (_, backend)) in backends.partitions.iter().enumerate() {
            let empty = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
            let mut request = Request::get(&path).body(empty).expect("a request");
            request.extensions_mut().insert(root.clone());
            let found = futures::executor::block_on(backend.clone().send(request, None)).status().as_u16();
            assert_eq!(found, if at == partition { 200 } else { 404 }, "{name} at {at}");
        }
    }
}

#[test]
fn a_node_is_at_home_at_the_only_resource_manager() {
    let at_home = |gateway: &Gateway, identity: Identity, path: &str| {
        let (mut parts, ()) = Request::get(path).body(()).expect("a request").into_parts();
        parts.extensions.insert(identity);
        let backends = gateway.0.directory.backends();
        gateway.is_at_home(&destination(&Method::GET, &parts.uri), &parts, &backends, None)
    };
    let gateway = gateway();
    let node = || Identity::user("system:node:n1", &["system:nodes"], &TenantName::system());
    let pods = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1";
    assert!(at_home(&gateway, node(), pods));
    assert!(at_home(&gateway, node(), "/api/v1/namespaces/default-x/secrets/s"));
    assert!(!at_home(&gateway, node(), "/apis/certificates.k8s.io/v1/certificatesigningrequests"));
    assert!(!at_home(&gateway, node(), "/tenants/acme/api/v1/pods"));
    assert!(!at_home(&gateway, Identity::user("n1", &["system:nodes"], &TenantName::system()), pods));
    let acme = TenantName::new("acme").expect("a name");
    assert!(!at_home(&gateway, Identity::user("system:node:n1", &["system:nodes"], &acme), pods));
    let mut two = Backends::clone(&gateway.0.directory.backends());
    two.managers.push(Backend::Local(server(4)));
    let identify = gateway.0.identify.clone();
    assert!(!at_home(&Gateway::new(Two(Arc::new(two)), identify), node(), pods));
}

#[test]
fn what_a_token_says_of_itself_makes_nobody_one_of_the_region_s_own() {
    let said = Identity { tenant: Some(TenantName::system()), ..Identity::default() };
    let gateway = gateway();
    let ask = |tenant: &str| {
        let path = format!("/tenants/{tenant}/api/v1/namespaces/default/secrets");
        let (code, body) = asked(&gateway, &said, Method::GET, &path, "");
        (code, body.replace(tenant, "…"))
    };
    assert_eq!(ask("acme"), ask("nobody"));
}

#[test]
fn one_tenant_of_all_is_found_where_it_is_though_nobody_sees_all() {
    let (gateway, root) = (gateway(), Identity::system_component("root"));
    have(&gateway, 1, "globex");
    let list = |selector: &str| asked(&gateway, &root, Method::GET, &format!("/api/v1/tenants{selector}"), "");
    let found = list("?fieldSelector=metadata.name%3Dglobex");
    assert_eq!(found.0, 200, "{}", found.1);
    assert!(found.1.contains(r#""name":"globex""#), "{}", found.1);
    let gone = list("?fieldSelector=metadata.name%3Dnobody");
    assert_eq!((gone.0, gone.1.contains(r#""items":[]"#)), (200, true), "{}", gone.1);
    assert_eq!(list("").0, 501);
    let carol = Identity::user("carol", &["system:masters"], &TenantName::new("acme").expect("a name"));
    let path = "/api/v1/tenants?fieldSelector=metadata.name%3Dglobex";
    assert_eq!(asked(&gateway, &carol, Method::GET, path, "").0, 403, "it is none of hers");
}

/// A region that no partition has joined yet.
struct Nobody;

#[async_trait]
impl Directory for Nobody {
    fn backends(&self) -> Arc<Backends> {
        Arc::new(Backends { partitions: Vec::new(), managers: Vec::new(), directory: None })
    }

    fn find(&self, _: &str) -> Option<String> {
        None
    }

    async fn expect(&self, _: &Object) -> Result<String, Status> {
        Err(Status::failure(Reason::ServiceUnavailable, "there is no partition"))
    }
}

#[test]
fn before_a_first_partition_has_joined_who_asks_is_told_to_try_again() {
    let identify: Identify = Arc::new(|parts| Ok(parts.extensions.get::<Identity>().cloned().unwrap_or_default()));
    let (gateway, root) = (Gateway::new(Nobody, identify), Identity::system_component("root"));
    let (code, text) = asked(&gateway, &root, Method::GET, "/api", "");
    assert_eq!(code, 503, "{text}");
    assert!(text.contains("no partition is known here yet"), "{text}");
    assert_eq!(asked(&gateway, &root, Method::GET, "/tenants/acme/api", "").0, 404);
}

#[test]
fn whether_there_is_a_tenant_is_not_told() {
    let gateway = gateway();
    let ask = |identity: &Identity, tenant: &str| {
        let path = format!("/tenants/{tenant}/api/v1/namespaces/default/secrets");
        let (code, body) = asked(&gateway, identity, Method::GET, &path, "");
        (code, body.replace(tenant, "…"))
    };
    let globex = Identity::user("carol", &["system:masters"], &TenantName::new("globex").expect("a name"));
    for identity in [globex, Identity::anonymous()] {
        let (there, nobody) = (ask(&identity, "acme"), ask(&identity, "nobody"));
        assert_eq!(there.0, 403, "{}", there.1);
        assert_eq!(there, nobody);
    }
    assert_eq!(ask(&Identity::system_component("root"), "nobody").0, 404);
}

#[test]
fn who_counts_at_home_alone_is_vouched_for_where_something_else_is_asked_for() {
    let gateway = gateway();
    let mut backends = Backends::clone(&gateway.0.directory.backends());
    let of = |tenant: &str, user: &str, uid: &str| Identity {
        user: user.to_owned(),
        tenant: Some(TenantName::new(tenant).expect("a name")),
        tenant_uid: uid.to_owned(),
        ..Identity::default()
    };
    let needs = |identity: &Identity, backends: &Backends, target: &'static str| {
        gateway.needs_voucher(&destination(&Method::GET, &http::Uri::from_static(target)), identity, backends)
    };
    let (token, dated, plain) = (of("acme", "", ""), of("acme", "ann", "7"), of("acme", "ann", ""));
    for (target, expected) in [
        ("/api/v1/pods", false),
        ("/tenants/acme/api/v1/pods", false),
        ("/tenants/system/api/v1/pods", false), // both are in one partition
        ("/tenants/nobody/api/v1/pods", false), // what is there is not told
        ("/tenants/globex/api/v1/pods", true),
        ("/api/v1/tenants/globex/pods", true),
        ("/api/v1/tenants/all/pods", false),
        ("/api/v1/nodes", false),
    ] {
        assert_eq!(needs(&token, &backends, target), expected, "{target}");
        assert_eq!(needs(&dated, &backends, target), expected, "{target}");
        assert!(!needs(&plain, &backends, target), "{target}");
    }
    let (system, placements) = (of("system", "", ""), "/apis/region.arktos.io/v1/tenantplacements");
    assert!(needs(&system, &backends, "/api/v1/tenants/all/pods"));
    assert!(needs(&system, &backends, "/tenants/globex/api/v1/pods"));
    assert!(!needs(&system, &backends, "/tenants/acme/api/v1/pods"));
    assert!(!needs(&system, &backends, "/api/v1/nodes"), "partitions show it the hosts");
    assert!(!needs(&system, &backends, placements), "there is no directory");
    backends.directory = Some(backends.managers[0].clone());
    assert!(needs(&system, &backends, placements) && !needs(&token, &backends, placements));
}

#[test]
fn who_comes_with_a_token_is_who_the_partition_of_its_tenant_says() {
    let gateway = gateway();
    let backends = gateway.0.directory.backends();
    let Backend::Local(second) = &backends.partitions[1].1 else { panic!("it is in this process") };
    let client = second.client(Identity::system_component("root"));
    let make = |resource: &str, tenant: &str, namespace: &str, (kind, name): (&str, &str)| {
        let object = serde_json::json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        let object = Object::from_value(object).expect("an object");
        let resource = GroupResource::core(resource);
        futures::executor::block_on(client.create(&resource, tenant, namespace, object)).expect("created");
    };
    make("tenants", "", "", ("Tenant", "globex"));
    make("namespaces", "globex", "", ("Namespace", "default"));
    make("serviceaccounts", "globex", "default", ("ServiceAccount", "robot"));
    let globex = TenantName::new("globex").expect("a name");
    let account =
        arktos_core::ObjectKey::namespaced(GroupResource::core("serviceaccounts"), &globex, "default", "robot");
    let request = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let request = Object::from_value(request).expect("an object");
    let given = futures::executor::block_on(client.post(&account, "token", request)).expect("a token");
    let token = given.str_at(&["status", "token"]);
    let said = Identity { tenant: Some(globex.clone()), ..Identity::default() };
    let vouched = |token: &str| {
        let request = Request::get("/tenants/acme/api/v1/pods").header("authorization", format!("Bearer {token}"));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        futures::executor::block_on(gateway.vouched(&parts, &said)).expect("it answers")
    };
    let found = vouched(token).expect("somebody");
    assert_eq!((&*found.user, found.tenant.as_ref()), ("system:serviceaccount:default:robot", Some(&globex)));
    assert!(found.is_in("system:serviceaccounts:default") && found.is_in("system:authenticated"));
    let refused = vouched(&token[..token.len() - 4]).expect_err("nobody");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

/// Takes events of an audit log.
#[derive(Debug, Default)]
struct Entered(parking_lot::Mutex<Vec<serde_json::Value>>);

impl arktos_api::AuditSink for Entered {
    fn take(&self, event: Bytes) {
        self.0.lock().push(serde_json::from_slice(&event).expect("JSON"));
    }
}

#[test]
fn what_no_backend_hears_of_is_entered_in_the_audit_log() {
    use arktos_store::clock::{ManualClock, SeededRandom};
    let entered = Arc::new(Entered::default());
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
    let policy = Arc::new(arktos_api::AuditPolicy::parse(policy).expect("a policy"));
    let clock = Arc::new(ManualClock::new(arktos_core::Timestamp::from_micros(0)));
    let audit = Audit { policy, sink: entered.clone() };
    let gateway = gateway().measured(Metrics::new(), clock).audited(audit, Arc::new(SeededRandom::new(1)));
    let root = Identity::system_component("root");
    assert_eq!(asked(&gateway, &root, Method::GET, "/tenants/nobody/api/v1/pods", "").0, 404);
    assert_eq!(asked(&gateway, &root, Method::GET, "/tenants/acme/version", "").0, 200);
    let events = entered.0.lock();
    let complete: Vec<_> = events.iter().filter(|event| event["stage"] == "ResponseComplete").collect();
    let told = |at: usize| (complete[at]["responseStatus"]["code"].clone(), complete[at]["user"]["username"].clone());
    assert_eq!((told(0), told(1)), ((404.into(), "root".into()), (200.into(), "root".into())));
    assert_ne!(complete[0]["auditID"], complete[1]["auditID"]);
    assert_eq!(complete[0]["responseStatus"]["reason"], "NotFound");
}
