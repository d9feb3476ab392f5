//! A request of one tenant beside few others and beside many: what it costs may not depend on how many there are. And
//! a write beside policies that are about other things.

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
/// What is written beside policies.
const WRITTEN: [&str; 2] = ["create", "create-pod"];
/// How many policies, half of which judge and half change, are about other things.
const POLICIES: [usize; 2] = [1, 20];

pub fn requests(bench: &Bench) -> Outcome<Found> {
    let (few, many): (usize, usize) = bench.scale.pick((2, 20), (10, 2_000), (10, 100_000));
    let asked = bench.scale.pick(2, 200, 400);
    let mut rows = Vec::new();
    for kind in KINDS {
        if bench.scale == Scale::Smoke {
            child(&["requests", kind, &many.to_string(), "0", &asked.to_string()])?; // counting takes minutes
            continue;
        }
        let each = |tenants: usize| instructions_each(&["requests", kind, &tenants.to_string(), "0"], asked);
        if let (Some(beside_few), Some(beside_many)) = (each(few), each(many)) {
            let row = Row::of(format!("a request ({kind}) beside {many} tenants"), figure(beside_many, "instr."));
            rows.push(row.limit(figure(beside_few, "instr.")).goal(Goal::TimesAtMost(1.1)));
        }
        progress(format!("{kind}, beside {few} tenants and {many}"));
    }
    for kind in WRITTEN {
        if bench.scale == Scale::Smoke {
            child(&["requests", kind, &few.to_string(), "2", &asked.to_string()])?;
            continue;
        }
        let each =
            |policies: usize| instructions_each(&["requests", kind, &few.to_string(), &policies.to_string()], asked);
        let Some(alone) = each(0) else { continue };
        for policies in POLICIES {
            let Some(beside) = each(policies) else { continue };
            let row =
                Row::of(format!("{kind} beside {policies} policies about other things"), figure(beside, "instr."));
            rows.push(row.limit(figure(alone, "instr.")));
        }
        progress(format!("{kind}, beside policies"));
    }
    let notes = vec![
        format!("the limit is the same beside {few} tenants; each has a namespace, a binding and ten config maps"),
        "beside policies, the limit is the same without; half of them judge and half change something".to_owned(),
        "a request is the whole road in process, HTTP without a socket: who, may they, what, and the body read back"
            .to_owned(),
        "instructions are counted with valgrind; nothing is measured without it".to_owned(),
    ];
    Ok(Found { rows, notes })
}

/// What is asked, beside how many tenants and how many policies, and how often.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [kind, tenants, policies, asked] = arguments else { return Err("requests KIND TENANTS POLICIES ASKED".into()) };
    let (tenants, policies, asked): (usize, usize, usize) = (tenants.parse()?, policies.parse()?, asked.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let api = runtime.block_on(furnished(tenants))?;
    let whose = plane::name(tenants / 2);
    runtime.block_on(governed(&api, &whose, policies))?;
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

/// Policies of a tenant, all bound, that are about jobs.
async fn governed(api: &ApiServer, tenant: &str, policies: usize) -> Outcome<()> {
    const GROUP: &str = "admissionregistration.k8s.io";
    let client = api.client(Identity::system_component("administrator"));
    let rule = json!({"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["jobs"]});
    let about = json!({"resourceRules": [rule]});
    let demands = json!([{"expression": "object.spec.parallelism <= 5", "message": "too many at once"}]);
    let label = json!({"expression": "Object{metadata: Object.metadata{labels: {'made': 'here'}}}"});
    let changes = json!([{"patchType": "ApplyConfiguration", "applyConfiguration": label}]);
    for number in 0..policies {
        let name = format!("policy-{number}");
        let (kind, policy, binding) = if number % 2 == 0 {
            let binding = json!({"policyName": name, "validationActions": ["Deny"]});
            ("Validating", json!({"matchConstraints": about, "validations": demands}), binding)
        } else {
            let policy = json!({"matchConstraints": about, "mutations": changes, "reinvocationPolicy": "Never"});
            ("Mutating", policy, json!({"policyName": name}))
        };
        let (policies, bindings) = ("policies", "policybindings");
        for (of, resource, spec) in [("Policy", policies, policy), ("PolicyBinding", bindings, binding)] {
            let resource = format!("{}admission{resource}", kind.to_lowercase());
            let mut object = Object::new(&TypeMeta::new(GROUP, "v1", &format!("{kind}Admission{of}")), &name);
            object.set(&["spec"], spec);
            client.create(&GroupResource::new(GROUP, &resource), tenant, "", object).await?;
        }
    }
    Ok(())
}

async fn ask(api: &ApiServer, tenant: &str, kind: &str, number: usize) -> Outcome<()> {
    let maps = "/api/v1/namespaces/default/configmaps";
    let dry = format!(r#"{{"metadata":{{"name":"new-{number}"}},"data":{{"key":"value"}}}}"#);
    let pod = format!(
        r#"{{"metadata":{{"name":"new-{number}"}},"spec":{{"containers":[{{"name":"app","image":"app:1"}}]}}}}"#
    );
    let (method, path, body) = match kind {
        "get" => (Method::GET, format!("{maps}/map-{}", number % 10), String::new()),
        "list" => (Method::GET, maps.to_owned(), String::new()),
        // Only tried: what is made would be listed by the rounds that follow.
        "create" => (Method::POST, format!("{maps}?dryRun=All"), dry),
        "create-pod" => (Method::POST, "/api/v1/namespaces/default/pods?dryRun=All".to_owned(), pod),
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
