//! A request of one tenant beside few others and beside many: what it costs may not depend on how many there are.

use std::sync::Arc;

use arktos::api::{ApiConfig, ApiServer, Body};
use arktos::core::{GroupResource, TypeMeta};
use arktos::store::Engine;
use arktos::{Identity, Object, SystemClock, SystemRandom, TenantName};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::callgrind::{counted, instructions_each};
use crate::harness::Scale;
use crate::part::child;
use crate::report::{Found, Goal, Row, figure};
use crate::{Bench, Outcome, plane, progress};

/// What is asked, over and over.
const KINDS: [&str; 4] = ["get", "list", "create", "whoami"];

pub fn requests(bench: &Bench) -> Outcome<Found> {
    let (few, many): (usize, usize) = bench.scale.pick((2, 20), (10, 2_000), (10, 100_000));
    let asked = bench.scale.pick(2, 200, 400);
    let mut rows = Vec::new();
    for kind in KINDS {
        if bench.scale == Scale::Smoke {
            child(&["requests", kind, &many.to_string(), &asked.to_string()])?; // counting takes minutes
            continue;
        }
        let each = |tenants: usize| instructions_each(&["requests", kind, &tenants.to_string()], asked);
        if let (Some(beside_few), Some(beside_many)) = (each(few), each(many)) {
            let row = Row::of(format!("a request ({kind}) beside {many} tenants"), figure(beside_many, "instr."));
            rows.push(row.limit(figure(beside_few, "instr.")).goal(Goal::TimesAtMost(1.1)));
        }
        progress(format!("{kind}, beside {few} tenants and {many}"));
    }
    let notes = vec![
        format!("the limit is the same beside {few} tenants; each has a namespace, a binding and ten config maps"),
        "a request is the whole road in process, HTTP without a socket: who, may they, what, and the body read back"
            .to_owned(),
        "instructions are counted with valgrind; nothing is measured without it".to_owned(),
    ];
    Ok(Found { rows, notes })
}

/// What is asked, beside how many tenants, and how often.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [kind, tenants, asked] = arguments else { return Err("requests KIND TENANTS ASKED".into()) };
    let (tenants, asked): (usize, usize) = (tenants.parse()?, asked.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let api = runtime.block_on(furnished(tenants))?;
    let whose = plane::name(tenants / 2);
    counted(|| {
        runtime.block_on(async {
            for number in 0..asked {
                ask(&api, &whose, kind, number).await?;
            }
            Outcome::Ok(())
        })
    })?;
    Ok(json!({"asked": asked}))
}

/// A server with tenants, each with a namespace, a user who may do everything by its rules, and ten config maps.
async fn furnished(tenants: usize) -> Outcome<ApiServer> {
    let clock = Arc::new(SystemClock::new());
    let engine = Engine::memory(clock.clone());
    let mut config = ApiConfig::new(engine, clock, Arc::new(SystemRandom));
    config.admission.disabled.insert("ServiceAccount".to_owned());
    let api = ApiServer::new(config);
    api.bootstrap().await?;
    let client = api.client(Identity::system_component("administrator"));
    let subject = json!([{"kind": "User", "name": "admin", "apiGroup": "rbac.authorization.k8s.io"}]);
    let role = json!({"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"});
    let bindings = GroupResource::new("rbac.authorization.k8s.io", "clusterrolebindings");
    for number in 0..tenants {
        let name = plane::name(number);
        let object = |group: &str, kind: &str, name: &str| Object::new(&TypeMeta::new(group, "v1", kind), name);
        client.create(&plane::tenants(), "", "", object("", "Tenant", &name)).await?;
        client.create(&GroupResource::core("namespaces"), &name, "", object("", "Namespace", "default")).await?;
        let mut binding = object("rbac.authorization.k8s.io", "ClusterRoleBinding", "admins");
        binding.set(&["subjects"], subject.clone());
        binding.set(&["roleRef"], role.clone());
        client.create(&bindings, &name, "", binding).await?;
        for map in 0..10 {
            let mut object = object("", "ConfigMap", &format!("map-{map}"));
            object.set(&["data"], json!({"key": "value"}));
            client.create(&GroupResource::core("configmaps"), &name, "default", object).await?;
        }
    }
    Ok(api)
}

async fn ask(api: &ApiServer, tenant: &str, kind: &str, number: usize) -> Outcome<()> {
    let maps = "/api/v1/namespaces/default/configmaps";
    let dry = format!(r#"{{"metadata":{{"name":"new-{number}"}},"data":{{"key":"value"}}}}"#);
    let (method, path, body) = match kind {
        "get" => (Method::GET, format!("{maps}/map-{}", number % 10), String::new()),
        "list" => (Method::GET, maps.to_owned(), String::new()),
        // Only tried: what is made would be listed by the rounds that follow.
        "create" => (Method::POST, format!("{maps}?dryRun=All"), dry),
        _ => (Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned(), "{}".to_owned()),
    };
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let mut request = request.body(Body::full(body))?;
    request.extensions_mut().insert(Identity::user("admin", &[], &TenantName::new(tenant)?));
    let response = api.clone().oneshot(request).await?;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    if code / 100 == 2 { Ok(()) } else { Err(format!("{kind}: {code} {}", String::from_utf8_lossy(&body)).into()) }
}
